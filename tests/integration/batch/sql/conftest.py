"""What tests of SQL share: the small lake, filled for each module, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from batch.storage import Storage
from contracts.settings import Settings
from infra.stack import wait_until
from tests.integration.batch.conftest import empty_roots
from tests.integration.batch.sql.rows import put
from tests.integration.batch.sql.small import ROWS, Query, connected, images, vitals


@pytest.fixture(scope="module")
def filled(thrift: Settings, storage: Storage, superuser: Storage) -> Iterator[Storage]:
    """A small lake: two days of two wards, alarms with names of staff, a year of DICOM metadata in buckets."""
    empty_roots(superuser)
    for seed, place in enumerate(
        f"date={day}/ward={ward}" for day in ("2026-01-02", "2026-01-03") for ward in ("W1", "W3%2Fa")
    ):
        put(storage, "vitals", f"{place}/b000000000001-0.parquet", vitals(seed))
    alerts: dict[str, Sequence[Any]] = {
        "alert_id": ["a", "b"],
        "patient": ["p0", "p1"],
        "actor": ["nurse.kim", None],
        "note": ["fell out of bed", None],
        "drivers": [[{"what": "spo2 fell", "share": 0.5, "vital": "spo2"}], None],
        "value": [84.0, None],
    }
    put(storage, "alerts", "date=2026-01-02/ward=W1/b000000000001-0.parquet", alerts)
    put(storage, "actions", "date=2026-01-02/ward=W1/b000000000001-0.parquet", {"actor": ["nurse.kim"]})
    with connected(thrift) as query:
        images(storage, query)
        vitals_of_both_days = "select count(*) from ward.vitals"
        assert wait_until(lambda: query(vitals_of_both_days) == [(4 * ROWS,)], 30)
        assert wait_until(lambda: query("select count(*) from ward.image_metadata")[0][0] == 3 * 2 * 12, 30)
    yield storage
    empty_roots(superuser)


@pytest.fixture
def query(thrift: Settings, filled: Storage) -> Iterator[Query]:
    """PyHive, as any analyst has it."""
    assert filled
    with connected(thrift) as asked:
        yield asked
