"""Publishing on a real HDFS: whatever dies in between, what was begun is finished once, and nobody sees half of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from batch import manifests
from batch.manifests import Span
from batch.publish import publish
from batch.storage import Storage
from batch.version import code_version
from contracts.errors import Misconfigured, Transient
from contracts.lake import CLINICAL, MANIFESTS, STAGING, VITALS_TABLE
from tests.integration.batch.handmade import Failing

pytestmark = [pytest.mark.hdfs]

WARDS = ("W1", "W3/a")
SPAN = Span(topic="t", partition=0, first=0, until=5, records=5)


class Killed(BaseException):
    """The process ends here."""


def filled(storage: Storage, wards: Sequence[str] = WARDS) -> Any:
    """Writes three readings of each ward, as Spark would."""

    def fill(folder: str) -> tuple[Span, ...]:
        import pyarrow as pa
        import pyarrow.dataset as ds

        table = pa.table(
            {
                "row": pa.array(list(range(3)) * len(wards), pa.int32()),
                "date": ["2026-01-02"] * 3 * len(wards),
                "ward": [ward for ward in wards for _ in range(3)],
            }
        )
        ds.write_dataset(
            table,
            f"{folder}/{VITALS_TABLE.name}",
            filesystem=storage.arrow(),
            format="parquet",
            partitioning=ds.partitioning(pa.schema([("date", pa.string()), ("ward", pa.string())]), flavor="hive"),
        )
        return (SPAN,)

    return fill


def seen(storage: Storage) -> int:
    """Rows that a plain reader of the table's folder counts."""
    import pyarrow.dataset as ds

    if not storage.exists(VITALS_TABLE.path):
        return 0
    rows: int = ds.dataset(VITALS_TABLE.path, filesystem=storage.arrow(), format="parquet").count_rows()
    return rows


def test_what_is_published_stands_under_its_name_and_is_told(lake: Storage) -> None:
    told = publish(lake, "b000000000007", filled(lake), kind="batch", batch=7)
    assert [file.path for file in told.files] == [
        f"{VITALS_TABLE.path}/date=2026-01-02/ward=W1/b000000000007-0.parquet",
        f"{VITALS_TABLE.path}/date=2026-01-02/ward=W3%2Fa/b000000000007-0.parquet",
    ]
    assert [entry.path for entry in lake.entries(VITALS_TABLE.path)] == [file.path for file in told.files]
    assert [entry.size for entry in lake.entries(VITALS_TABLE.path)] == [file.size for file in told.files]
    assert [file.rows for file in told.files] == [3, 3]
    assert (told.kind, told.batch, told.spans, told.code) == ("batch", 7, (SPAN,), code_version())
    assert manifests.load(lake) == (told,)
    assert list(lake.entries(STAGING, hidden=True)) == []


def test_the_same_name_twice_is_published_once(lake: Storage) -> None:
    first = publish(lake, "one", filled(lake))
    assert publish(lake, "one", filled(lake)) == first
    assert seen(lake) == 6


def test_a_crash_at_any_step_leaves_nothing_half_seen_and_the_next_run_finishes(lake: Storage) -> None:
    for lives in range(20):
        name, before = f"crash-{lives}", seen(lake)
        try:
            publish(Failing(lake, lives, Killed), name, filled(lake))
        except Killed:
            left = seen(lake)
            assert left - before in (0, 3, 6), "whole files only"
            publish(lake, name, filled(lake))
        else:
            break
        assert seen(lake) == before + 6
    assert 5 <= lives < 20, "every step was a place to die"
    assert list(lake.entries(STAGING, hidden=True)) == []
    told = manifests.current(manifests.load(lake))
    assert sorted(told) == [entry.path for entry in lake.entries(VITALS_TABLE.path)]


def test_a_writer_that_was_thought_dead_does_no_harm(lake: Storage) -> None:
    def slow(folder: str) -> tuple[Span, ...]:
        publish(lake, "both", filled(lake))  # another one takes over and is done before this one is
        filled(lake)(folder)
        return ()

    publish(lake, "both", slow)
    assert seen(lake) == 6
    publish(lake, "both", filled(lake))
    assert seen(lake) == 6


def test_what_cannot_be_published_leaves_no_trace(lake: Storage) -> None:
    def fails(folder: str) -> tuple[Span, ...]:
        filled(lake)(folder)
        raise Transient("no room")

    with pytest.raises(Transient, match="no room"):
        publish(lake, "full", fails)
    assert seen(lake) == 0
    assert not lake.exists(f"{MANIFESTS}/full.json")

    def elsewhere(folder: str) -> tuple[Span, ...]:
        filled(lake)(folder)
        lake.rename(f"{folder}/{VITALS_TABLE.name}", f"{folder}/{CLINICAL.name}")
        return ()

    with pytest.raises(Misconfigured, match="is partitioned by"):
        publish(lake, "elsewhere", elsewhere)
    with pytest.raises(Misconfigured, match="cannot name"):
        publish(lake, "../up", filled(lake))
    assert seen(lake) == 0
