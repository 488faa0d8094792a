"""Cohorts asked of the Thrift server: the same rows as DuckDB reads, and the same again when there are more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batch.asked import NoTable
from batch.cohorts import freeze, rerun
from batch.compact import compact
from batch.selection import digest, parsed, selected
from batch.selection_spark import Selection
from batch.snapshot import taken
from batch.storage import Storage
from contracts.errors import Poison
from contracts.settings import Settings
from tests.integration.batch.test_cohorts import QUERY, batch_of_vitals

pytestmark = [pytest.mark.spark, pytest.mark.hdfs, pytest.mark.kafka]


@pytest.fixture
def selection(thrift: Settings, lake: Storage) -> Selection:
    """The server, over a lake of one batch."""
    batch_of_vitals(lake, 0, 4)
    return Selection(thrift)


def test_spark_selects_the_rows_that_duckdb_selects(selection: Selection, lake: Storage) -> None:
    sql = QUERY.replace("vital,", "vital, date,")
    snapshot = taken(lake, ["vitals"])
    one = selection(lake, selection.parsed(sql), snapshot)
    other = selected(lake, parsed(sql), snapshot)
    assert one.num_rows > 50
    assert digest(one) == digest(other)
    assert str(one.schema.field("date").type) == "date32[day]"


def test_later_rows_and_merged_files_change_nothing_for_spark_either(selection: Selection, lake: Storage) -> None:
    sql = "select patient, vital_stats(value, event_ms) as stats from vitals where vital = 'spo2' group by patient"
    query = selection.parsed(sql)
    made, _ = freeze(lake, "stats", query, by="r", role="researcher", engine="spark", by_sql=selection)
    batch_of_vitals(lake, 4, 6)
    compact(lake, tables=("vitals",), grace_s=0)
    found = rerun(lake, made, query, selection)
    assert found["same"], found


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("select patient from research.vitals", "bad_sql"),
        ("select patient from vitals where event_ms < unix_millis(now())", "volatile_sql"),
        ("select patient from vitals where date = current_date", "volatile_sql"),
        ("select patient from vitals tablesample (10 percent)", "volatile_sql"),
        ("select nothing from vitals", "bad_sql"),
        ("select 1", "bad_sql"),
        ("drop table vitals", "not_a_read"),
    ],
)
def test_what_cannot_be_frozen_is_refused_by_sparks_own_parser(thrift: Settings, sql: str, reason: str) -> None:
    ask: Callable[[str], object] = Selection(thrift).parsed
    with pytest.raises(Poison) as wrong:
        ask(sql)
    assert wrong.value.reason == reason
    with pytest.raises(NoTable):
        ask("select patient from records")
