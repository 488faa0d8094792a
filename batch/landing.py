"""A batch of Kafka records as the rows of every table: parsed once, in the JVM, then written table by table."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from batch import rows as shapes
from batch.rows import Rows
from batch.schemas import CORRUPT, json_ddl, required
from contracts.lake import FROM, LANDED, RECORDS
from contracts.topology import Topic

ROWS_A_TASK: Final = 400_000
"""Above this many rows of a table, two tasks write them, each partition still in one file."""
READERS: Final = 2
_RECORD: Final = re.compile(r"(?<![\w.])r(?=[.])")
"""The parsed record, as the shapes call it."""
_STRICT: Final = (
    "map('mode', 'PERMISSIVE', 'columnNameOfCorruptRecord', '_corrupt', 'allowNonNumericNumbers', 'false',"
    " 'allowSingleQuotes', 'false')"
)


@dataclass
class Tally:
    """What one batch holds: records of each partition, rows of each table, what no schema fits.

    ``ingested_ms`` is the oldest and the newest moment at which the broker took one of them.
    """

    records: Counter[tuple[str, int]] = field(default_factory=Counter)
    first: dict[tuple[str, int], int] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    ingested_ms: tuple[int, int] | None = None


def landed(batch: Any) -> Any:
    """One row a record of ``batch`` (Kafka's columns with headers): the columns of ``records``, and for every table of
    its topic an array of the rows that it becomes, ``t_<table>``; null in those of other topics."""
    kafka = batch.selectExpr(
        "topic",
        "`partition` as kafka_partition",
        "`offset` as kafka_offset",
        "unix_millis(timestamp) as ingest_ms",
        "key",
        "value",
        "coalesce(headers, array()) as headers",
        "cast(value as string) as text",
    )
    parsed = kafka.selectExpr("*", *(f"{_of(topic, _parse(topic))} as {_parsed(topic)}" for topic in LANDED))
    judged = parsed.selectExpr("*", f"{_by_topic(_misfit)} as misfit")
    filled = judged.selectExpr("*", *(f"{_array(one)} as {array_of(one)}" for one in shapes.FROM_TOPICS))
    counted = filled.selectExpr("*", f"{_total()} as `rows`", f"{_by_topic(_corrupt)} as corrupt")
    return counted.selectExpr(
        *(f"`{column.name}`" for column in RECORDS.columns[:-1]),
        "case when misfit is not null then misfit"
        " when `rows` = 0 and corrupt then 'wrong_type: a part that holds the rows' end as unreadable",
        "topic",
        f"{shapes.ingest_date()} as `date`",
        *(array_of(one) for one in shapes.FROM_TOPICS),
    )


def array_of(one: Rows) -> str:
    """The column of ``landed`` with a table's rows."""
    return f"t_{one.table.name}"


def records_of(batch: Any) -> Any:
    """The rows of ``records``."""
    names = [column.name for column in (*RECORDS.columns, *RECORDS.partitions)]
    return batch.selectExpr(*(f"`{name}`" for name in names))


def rows_of(batch: Any, one: Rows) -> Any:
    """The rows of one table, its partitions behind its columns, in the types that the contract gives them."""
    from_kafka = ("kafka_partition", "kafka_offset", "ingest_ms")
    exploded = batch.where(f"size({array_of(one)}) > 0").selectExpr(
        *from_kafka, f"posexplode({array_of(one)}) as (`row`, own)"
    )
    return exploded.selectExpr(
        *(
            f"`{column.name}`" if column.name in (*from_kafka, "row") else f"own.`{column.name}`"
            for column in (*FROM, *one.own, *one.table.partitions)
        )
    )


def tally(batch: Any) -> Tally:
    """Count what ``landed`` holds."""
    counts = [f"sum(coalesce(size({array_of(one)}), 0)) as {array_of(one)}" for one in shapes.FROM_TOPICS]
    grouped = batch.selectExpr(
        "topic",
        "kafka_partition",
        "kafka_offset",
        "ingest_ms",
        "substring_index(unreadable, ':', 1) as reason",
        *(array_of(one) for one in shapes.FROM_TOPICS),
    )
    from pyspark.sql import functions as sql

    found = grouped.groupBy("topic", "kafka_partition", "reason").agg(
        sql.expr("count(*) as records"),
        sql.expr("min(kafka_offset) as first"),
        sql.expr("min(ingest_ms) as oldest"),
        sql.expr("max(ingest_ms) as newest"),
        *(sql.expr(count) for count in counts),
    )
    return _summed(found.collect())


def _summed(found: Iterable[Any]) -> Tally:
    one = Tally()
    firsts: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for group in found:
        where = (group["topic"], group["kafka_partition"])
        one.records[where] += group["records"]
        firsts[where].append(group["first"])
        if group["reason"] is not None:
            one.unreadable[group["reason"]] += group["records"]
        oldest, newest = one.ingested_ms or (group["oldest"], group["newest"])
        one.ingested_ms = (min(oldest, group["oldest"]), max(newest, group["newest"]))
        for shape in shapes.FROM_TOPICS:
            one.rows[shape.table.name] += group[array_of(shape)]
    one.first = {where: min(offsets) for where, offsets in firsts.items()}
    one.rows[RECORDS.name] = one.records.total()
    return one


def write(frame: Any, folder: str, partitions: Iterable[str], expected: int) -> None:
    """Write the rows below ``folder``, one file a partition: by one task, or by two when there are very many."""
    names = list(partitions)
    laid = frame.coalesce(1) if expected <= ROWS_A_TASK else frame.repartition(READERS, *names)
    laid.write.partitionBy(*names).mode("append").parquet(folder)


def _parsed(topic: Topic[Any]) -> str:
    return f"p_{topic.name}"


def _of(topic: Topic[Any], expression: str) -> str:
    return f"case when topic = '{topic.name}' then {expression} end"


def _by_topic(expression: Any) -> str:
    cases = " ".join(f"when topic = '{topic.name}' then {expression(topic)}" for topic in LANDED)
    return f"case {cases} end"


def _parse(topic: Topic[Any]) -> str:
    return f"from_json(text, '{json_ddl(topic.record)}', {_STRICT})"


def _misfit(topic: Topic[Any]) -> str:
    """Why the record is none of its topic's, null when it is one."""
    at, names = _parsed(topic), required(topic.record)
    gaps = ", ".join(f"case when {at}.`{name}` is null then '{name}' end" for name in names)
    missing = f"array_compact(array({gaps}))"
    return (
        "case when value is null then 'tombstone: no value'"
        " when trim(text) = '' then 'empty: no value'"
        " when not is_valid_utf8(text) then 'not_utf8: bytes that are no text'"
        f" when {at} is null or ({at}.{CORRUPT} is not null and size({missing}) = {len(names)})"
        " then 'not_json: no JSON object'"
        f" when size({missing}) > 0 then concat('missing_field: ', array_join({missing}, ', ')) end"
    )


def _corrupt(topic: Topic[Any]) -> str:
    return f"{_parsed(topic)}.{CORRUPT} is not null"


def _array(one: Rows) -> str:
    topic = one.table.topic
    if topic is None:
        raise KeyError(f"{one.table.name} is of no topic")
    return f"case when topic = '{topic.name}' and misfit is null then {_RECORD.sub(_parsed(topic), one.sql())} end"


def _total() -> str:
    return " + ".join(f"coalesce(size({array_of(one)}), 0)" for one in shapes.FROM_TOPICS)
