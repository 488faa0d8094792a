"""Spark's rows against plain Python's: every example, and whatever records hypothesis makes up."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from batch import landing
from batch.rows import FROM_TOPICS
from batch.schemas import whole_ddl
from contracts import records as r
from contracts.codec import decode, encode
from contracts.lake import LANDED, RECORDS, VITALS_TABLE
from contracts.topology import VITALS
from tests.contract.real_examples import EXAMPLES
from tests.integration.batch import oracle
from tests.unit.contracts.test_codec import records_of

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.hdfs]

INGEST_MS = 1_767_340_900_123
KAFKA = (
    "topic string, `partition` int, `offset` bigint, timestamp timestamp, key binary, value binary,"
    " headers array<struct<key:string,value:binary>>"
)
Sent = Sequence[tuple[str, bytes | None]]


def landed(spark: Any, sent: Sent) -> Any:
    """The records as they come from Kafka, parsed: offsets count from 0."""
    at = datetime.fromtimestamp(INGEST_MS / 1000, UTC)
    frame = spark.createDataFrame(
        [(topic, 3, offset, at, b"k", value, [("h", b"\x00")]) for offset, (topic, value) in enumerate(sent)], KAFKA
    )
    return landing.landed(frame.coalesce(1))


def by_table(spark: Any, sent: Sent) -> tuple[dict[str, list[dict[str, Any]]], Any]:
    """The rows of every table, and the tally."""
    found = landed(spark, sent).persist()
    try:
        tables = {
            one.table.name: [row.asDict(recursive=True) for row in landing.rows_of(found, one).collect()]
            for one in FROM_TOPICS
        }
        tables[RECORDS.name] = [row.asDict(recursive=True) for row in landing.records_of(found).collect()]
        return tables, landing.tally(found)
    finally:
        found.unpersist()


def expected(sent: Sent) -> dict[str, list[dict[str, Any]]]:
    """The same by the oracle."""
    kinds = {topic.name: topic.record for topic in LANDED}
    tables: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for offset, (topic, value) in enumerate(sent):
        numbers: Counter[str] = Counter()
        for table, row in oracle.rows(decode(value, kinds[topic]), INGEST_MS):
            source = {"kafka_partition": 3, "kafka_offset": offset, "row": numbers[table], "ingest_ms": INGEST_MS}
            tables[table].append(source | row)
            numbers[table] += 1
    return tables


def assert_same(found: dict[str, list[dict[str, Any]]], wanted: dict[str, list[dict[str, Any]]]) -> None:
    for one in FROM_TOPICS:
        rows = sorted(found[one.table.name], key=lambda row: (row["kafka_offset"], row["row"]))
        assert rows == wanted[one.table.name], one.table.name


def test_every_example_becomes_the_rows_that_plain_python_makes_of_it(spark: Any) -> None:
    names = {topic.name for topic in LANDED}
    sent = [
        (path.name.partition(".")[0], path.read_bytes())
        for path in sorted(EXAMPLES.glob("*.json"))
        if path.name.partition(".")[0] in names
    ]
    found, tally = by_table(spark, sent)
    wanted = expected(sent)
    assert_same(found, wanted)
    assert {one.table.name for one in FROM_TOPICS} == wanted.keys(), "every table is shown by an example"
    assert tally.rows == {name: len(rows) for name, rows in wanted.items()} | {RECORDS.name: len(sent)}
    assert not tally.unreadable


def made_up(kind: type[r.Record], number: int) -> list[r.Record]:
    """Records of that kind, as various as hypothesis makes them; Spark takes them all at once."""
    found: list[r.Record] = []

    @settings(
        max_examples=number,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(records_of(kind))
    def collect(one: r.Record) -> None:
        found.append(one)

    collect()
    return found


def test_whatever_fits_the_schema_becomes_those_rows_too(spark: Any) -> None:
    sent = [(topic.name, encode(record)) for topic in LANDED for record in made_up(topic.record, 40)]
    found, tally = by_table(spark, sent)
    assert_same(found, expected(sent))
    assert set(tally.unreadable) <= {"wrong_type"}, "numbers that no column has room for, in frames without rows"


def test_columns_are_those_of_the_contract_in_its_order_and_types(spark: Any) -> None:
    from pyspark.sql.types import StructType

    found = landed(spark, [(VITALS.name, b"{}")])
    for table, frame in [
        (RECORDS, landing.records_of(found)),
        *((one.table, landing.rows_of(found, one)) for one in FROM_TOPICS),
    ]:
        wanted = [(field.name, field.dataType.simpleString()) for field in StructType.fromDDL(whole_ddl(table))]
        assert [(field.name, field.dataType.simpleString()) for field in frame.schema] == wanted


def test_a_record_is_kept_as_it_came_and_tells_what_it_became(spark: Any) -> None:
    good = encode(r.VitalsFrame(version=1, ward="W", gateway="g", seq=0, at_ms=INGEST_MS))
    newer = good[:-1] + b',"colour":"blue","beds":[{"bed":"b","patient":"p","readings":[{"vital":"spo2","value":9}]}]}'
    sent = [
        *((VITALS.name, value) for value in (good, newer.replace(b'"version":1', b'"version":3'))),
        *((VITALS.name, value) for value in (None, b"", b" \n", b"\xff{}", b"{bad", b"[1]", b"7", b'{"a":1}')),
        (VITALS.name, good.replace(b'"seq":0', b'"seq":"x"')),
        (VITALS.name, good[:-1] + b',"beds":"none"}'),
    ]
    found, tally = by_table(spark, sent)
    records = sorted(found[RECORDS.name], key=lambda row: row["kafka_offset"])
    assert [(row["key"], row["value"]) for row in records] == [(b"k", value) for _, value in sent]
    assert all([(one["key"], bytes(one["value"])) for one in row["headers"]] == [("h", b"\x00")] for row in records)
    assert [row["rows"] for row in records] == [0, 1] + [0] * 10
    assert [row["unreadable"] and row["unreadable"].partition(":")[0] for row in records] == [
        *(None, None, "tombstone", "empty", "empty", "not_utf8", "not_json", "not_json", "not_json"),
        *("missing_field", "missing_field", "wrong_type"),
    ]
    assert tally.unreadable.total() == 10
    assert found[VITALS_TABLE.name][0]["schema_version"] == 3


def test_what_does_not_fit_its_column_is_null_and_its_row_stands(spark: Any) -> None:
    frame = (
        b'{"version":1,"ward":"W","gateway":"g","seq":1,"at_ms":%d,"beds":[{"bed":"b","patient":"p","readings":['
        b'{"vital":"spo2","value":97,"at_ms":"soon"},{"vital":"heart_rate","value":[1]},'
        b'{"vital":"respiration","value":1e3,"at_ms":1e40}]},{"bed":"c","patient":"q","readings":['
        b'{"vital":"colour","value":"blue"},7,{"vital":"spo2","value":96}]},5]}' % INGEST_MS
    )
    found, _ = by_table(spark, [(VITALS.name, frame)])
    rows = found[VITALS_TABLE.name]
    assert [(row["row"], row["bed"], row["vital"], row["value"], row["letter"]) for row in rows] == [
        (0, "b", "spo2", 97.0, None),
        (1, "b", "heart_rate", None, "[1]"),
        (2, "b", "respiration", 1000.0, None),
        (3, "c", "colour", None, "blue"),
        (4, "c", None, None, None),
        (5, "c", "spo2", 96.0, None),
    ]
    assert {row["event_ms"] for row in rows} == {INGEST_MS}


@pytest.mark.parametrize(
    ("at_ms", "day"),
    [
        (INGEST_MS - 400 * 86_400_000, "2024-11-28"),  # late data stand in their own date
        (INGEST_MS + 3_600_000, "2026-01-02"),
        (0, "2026-01-02"),
        (-(2**60), "2026-01-02"),
        (2**62, "2026-01-02"),
        (631_152_000_001, "2026-01-02"),
    ],
)
def test_a_clock_that_cannot_be_believed_makes_no_partition(spark: Any, at_ms: int, day: str) -> None:
    frame = r.VitalsFrame(
        version=1,
        ward="W",
        gateway="g",
        seq=0,
        at_ms=INGEST_MS,
        beds=(r.BedReadings(bed="b", patient="p", readings=(r.Reading(vital=r.Vital.SPO2, value=1.0, at_ms=at_ms),)),),
    )
    found = landing.rows_of(landed(spark, [(VITALS.name, encode(frame))]), FROM_TOPICS[0]).collect()
    assert [(str(row["date"]), row["event_ms"]) for row in found] == [(day, at_ms)]
