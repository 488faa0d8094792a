"""What a cohort's query may be, and when two are the same."""

from __future__ import annotations

import pytest

from batch.asked import NoTable
from batch.cohorts import cohort_id
from batch.lineage import NotThere as NoId
from batch.selection import digest, normal, parsed
from batch.snapshot import Held, Part, Snapshot
from batch.trail import Place, place_named
from contracts.errors import Poison


def held(until: int = 10, rows: int = 100, files: tuple[str, ...] = ("/a",)) -> Snapshot:
    vitals = Held(
        table="vitals", topic="t", until={"0": until}, rows=rows, files=tuple(Part(path, 1, 1) for path in files)
    )
    return Snapshot((vitals,))


def test_case_spaces_and_comments_do_not_count_and_what_is_quoted_does() -> None:
    one = normal("SELECT patient FROM vitals -- all\n WHERE bed = 'B  1' /* one */ ;")
    assert one == normal("select patient\tfrom vitals where bed = 'B  1'")
    assert one != normal("select patient from vitals where bed = 'B 1'")
    assert normal("select '-- no comment'") == "select '-- no comment'"


def test_the_id_follows_from_query_data_and_code_and_from_nothing_else() -> None:
    query = parsed("select patient from vitals")
    first = cohort_id(query, "duckdb", held(), "1")
    assert first == cohort_id(parsed("SELECT patient FROM vitals;"), "duckdb", held(files=("/b", "/c")), "1")
    others = (
        cohort_id(parsed("select patient from alerts"), "duckdb", held(), "1"),
        cohort_id(query, "spark", held(), "1"),
        cohort_id(query, "duckdb", held(until=11), "1"),
        cohort_id(query, "duckdb", held(rows=99), "1"),
        cohort_id(query, "duckdb", held(), "2"),
    )
    assert len({first, *others}) == 6
    assert len(first) == 16


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("selec patient", "bad_sql"),
        ("", "bad_sql"),
        ("select 1", "bad_sql"),
        ("drop table vitals", "bad_sql"),
        ("select patient from vitals; select 2", "bad_sql"),
        ("copy (select patient from vitals) to '/tmp/x'", "bad_sql"),
        ("select patient from ward.vitals", "closed_table"),
        ("select patient from vitals where event_ms < epoch_ms(now())", "volatile_sql"),
        ("select patient from vitals where date = current_date", "volatile_sql"),
        ("select patient from vitals order by random() limit 5", "volatile_sql"),
        ("select patient from vitals tablesample 10%", "volatile_sql"),
        ("select patient from read_csv('/etc/passwd')", "bad_sql"),
    ],
)
def test_only_a_repeatable_select_over_deidentified_tables_is_taken(sql: str, reason: str) -> None:
    with pytest.raises(Poison) as wrong:
        parsed(sql)
    assert wrong.value.reason == reason


@pytest.mark.parametrize("table", ["records", "access", "dead_letters", "nothing", "'/etc/passwd'"])
def test_other_tables_are_not_there_for_a_cohort(table: str) -> None:
    with pytest.raises(NoTable, match="no table"):
        parsed(" ".join(("select patient from", table)))


def test_tables_inside_joins_and_subqueries_are_seen() -> None:
    query = parsed(
        "with low as (select patient from alerts where condition = 'spo2_low') "
        "select patient from vitals where patient in (select patient from low) and ward = 'it''s'"
    )
    assert query.tables == ("alerts", "vitals")
    assert query.literals == ("it's", "spo2_low")


def test_the_order_of_rows_does_not_count_and_everything_else_does() -> None:
    import pyarrow as pa

    one = pa.table({"patient": ["a", "b"], "value": [1.0, None]})
    assert digest(one) == digest(one.take([1, 0]).select(["value", "patient"]))
    assert digest(one) != digest(pa.table({"patient": ["a", "b"], "value": [1.0, 2.0]}))
    assert digest(one) != digest(one.rename_columns(["patient", "other"]))
    assert digest(one) != digest(pa.concat_tables([one, one]))


def test_a_place_is_a_topic_and_two_or_three_numbers() -> None:
    assert place_named("alerts/3/12") == (Place("alerts", 3, 12), None)
    assert place_named("alerts/3/12/0") == (Place("alerts", 3, 12), 0)
    for other in ("alerts/3", "alerts/3/x", "nothing/1/2", "a4374bd3d66af412", "alerts/1/2/3/4"):
        assert place_named(other) is None
    assert str(NoId("x", ["y"])) == "nothing in the lake has the id x; near it: y"
