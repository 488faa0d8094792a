"""A small lake to ask in SQL, and a client as any analyst has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from batch.storage import Storage
from contracts.settings import Settings
from tests.integration.batch.sql.rows import put

T0_MS = 1_767_312_000_000
BEDS = 4
ROWS = 400
Query = Callable[[str], list[tuple[Any, ...]]]


def vitals(seed: int) -> dict[str, list[Any]]:
    """Readings of some beds, one a second, SpO2 and heart rate in turn, some without a value."""
    dice = np.random.default_rng(seed)
    values = [
        None if gap else float(v) for v, gap in zip(dice.normal(92, 3, ROWS), dice.random(ROWS) < 0.1, strict=True)
    ]
    return {
        "kafka_partition": [seed] * ROWS,
        "kafka_offset": list(range(ROWS)),
        "event_ms": [T0_MS + 1000 * n for n in range(ROWS)],
        "bed": [f"B{n % BEDS}" for n in range(ROWS)],
        "patient": [f"p{n % BEDS}" for n in range(ROWS)],
        "vital": ["spo2" if n // BEDS % 2 else "heart_rate" for n in range(ROWS)],
        "value": values,
    }


def images(storage: Storage, query: Query) -> None:
    """DICOM metadata: CR, CT and MR of two years, each patient's rows in the bucket that Spark's hash says."""
    buckets: dict[int, list[str]] = {}
    for patient, bucket in query("select p, pmod(hash(p), 8) from (select concat('p', id) p from range(12))"):
        buckets.setdefault(bucket, []).append(patient)
    for year in (2025, 2026):
        for modality in ("CR", "CT", "MR"):
            for bucket, patients in buckets.items():
                place = f"year={year}/month=3/modality={modality}/images-x-0_{bucket:05d}.c000.parquet"
                ids = [f"{year}{modality}{patient}" for patient in patients]
                put(storage, "image_metadata", place, {"image_id": ids, "patient": patients, "mean": [0.5] * len(ids)})


class connected:
    """A JDBC-like client: ``with connected(settings) as query``."""

    def __init__(self, settings: Settings, database: str = "default", user: str = "kim") -> None:
        from pyhive import hive

        assert settings.hive is not None
        host, _, port = settings.hive.partition(":")
        self._connection = hive.connect(host, int(port), username=user, database=database)

    def __enter__(self) -> Query:
        def query(text: str) -> list[tuple[Any, ...]]:
            cursor = self._connection.cursor()
            cursor.execute(text)
            return list(cursor.fetchall()) if cursor.description else []

        return query

    def __exit__(self, *_: object) -> None:
        self._connection.close()
