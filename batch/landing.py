"""A batch of Kafka records as the rows of every table: parsed once, in the JVM, then written table by table."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from batch import rows as shapes
from batch.rows import Rows
from batch.schemas import CORRUPT, fields_ddl, json_ddl, required
from contracts import records as r
from contracts.lake import LANDED, RECORDS
from contracts.topology import VITALS, Topic

ROWS_A_TASK: Final = 400_000
"""Above this many rows of a table, two tasks write them, each partition still in one file."""
READERS: Final = 2
_BLANK: Final = r"^\\s*$"
_RECORD: Final = re.compile(r"(?<![\w.])r(?=[.])")
"""The parsed record, as the shapes call it in what they say of a whole record."""
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


def landed(batch: Any, topics: Iterable[Topic[Any]] = LANDED) -> Any:
    """One row a record of ``batch`` (Kafka's columns with headers), which holds these ``topics``: the columns of
    ``records``, the record of its topic parsed (``p_<topic>``; null in those of others, and where no schema fits), and
    how many rows it becomes in each table of these topics (``n_<table>``)."""
    from pyspark.sql import functions as sql

    held = tuple(topics)
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
    parsed = kafka.selectExpr("*", *(f"{_of(topic, _parse(topic))} as {_parsed(topic)}" for topic in held))
    if VITALS in held:
        parsed = parsed.withColumn(_parsed(VITALS), sql.expr(_salvaged(_parsed(VITALS))))
    judged = parsed.selectExpr("*", f"{_by_topic(held, _misfit)} as misfit")
    sized = judged.selectExpr("*", *(f"{_sizes(one)} as {_sizes_of(one)}" for one in shapes_of(held)))
    counted = sized.selectExpr("*", *(f"{_count(one)} as {count_of(one)}" for one in shapes_of(held)))
    total = " + ".join(count_of(one) for one in shapes_of(held))
    judged = counted.selectExpr("*", f"{total} as `rows`", f"{_by_topic(held, _corrupt)} as corrupt")
    return judged.selectExpr(
        *(f"`{column.name}`" for column in RECORDS.columns[:-1]),
        "case when misfit is not null then misfit"
        " when `rows` = 0 and corrupt then 'wrong_type: a part of it' end as unreadable",
        "topic",
        f"{shapes.ingest_date()} as `date`",
        *(f"case when misfit is null then {_parsed(topic)} end as {_parsed(topic)}" for topic in held),
        *(name(one) for one in shapes_of(held) for name in (count_of, _sizes_of)),
    )


def shapes_of(topics: Iterable[Topic[Any]]) -> tuple[Rows, ...]:
    """The tables of these topics."""
    names = {topic.name for topic in topics}
    return tuple(one for one in shapes.FROM_TOPICS if _topic(one).name in names)


def count_of(one: Rows) -> str:
    """The column of ``landed`` with the number of a table's rows."""
    return f"n_{one.table.name}"


def records_of(batch: Any) -> Any:
    """The rows of ``records``."""
    names = [column.name for column in (*RECORDS.columns, *RECORDS.partitions)]
    return batch.selectExpr(*(f"`{name}`" for name in names))


def rows_of(batch: Any, one: Rows) -> Any:
    """The rows of one table, its partitions behind its columns, in the types that the contract gives them."""
    kept = ["kafka_partition", "kafka_offset", "ingest_ms", "r"]
    found = batch.where(f"{count_of(one)} > 0").selectExpr(
        *kept[:-1], f"{_parsed(_topic(one))} as r", "0 as before", f"{_sizes_of(one)} as sizes"
    )
    for depth, level in enumerate(one.levels):
        inner, sizes = [level.name, f"{level.name}_at"], "sizes" if level.sizes and not depth else level.sizes
        found = found.selectExpr(*kept, "before", "sizes", f"posexplode({level.array}) as ({inner[1]}, {inner[0]})")
        found = found.selectExpr(*kept, *inner, f"before + {level.before(sizes)} as before", "sizes")
        kept += inner
    return found.selectExpr(*one.select())


def tally(batch: Any, topics: Iterable[Topic[Any]] = LANDED) -> Tally:
    """Count what ``landed`` holds."""
    from pyspark.sql import functions as sql

    held = shapes_of(topics)
    found = (
        batch.withColumn("reason", sql.expr("substring_index(unreadable, ':', 1)"))
        .groupBy("topic", "kafka_partition", "reason")
        .agg(
            sql.expr("count(*) as records"),
            sql.expr("min(kafka_offset) as first"),
            sql.expr("min(ingest_ms) as oldest"),
            sql.expr("max(ingest_ms) as newest"),
            *(sql.expr(f"sum({count_of(one)}) as {count_of(one)}") for one in held),
        )
    )
    return _summed(found.collect(), held)


def _summed(found: Iterable[Any], held: Iterable[Rows]) -> Tally:
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
        for shape in held:
            one.rows[shape.table.name] += group[count_of(shape)]
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


def _by_topic(topics: Iterable[Topic[Any]], expression: Callable[[Topic[Any]], str]) -> str:
    cases = " ".join(f"when topic = '{topic.name}' then {expression(topic)}" for topic in topics)
    return f"case {cases} end"


def _parse(topic: Topic[Any]) -> str:
    return f"from_json(text, '{json_ddl(topic.record)}', {_STRICT})"


def _salvaged(at: str) -> str:
    """A frame of which a part did not fit: read once more, bed by bed and reading by reading, as the codec does.

    Spark gives up a whole list for one element that is no object; no other bed may go missing for it.
    """
    beds = f"from_json(text, 'beds array<string>', {_STRICT}).beds"
    bed = f"from_json(e, 'bed string, patient string, readings array<string>', {_STRICT})"
    reading = f"from_json(e, '{fields_ddl(r.Reading)}', {_STRICT})"
    part = f"named_struct('bed', b.bed, 'patient', b.patient, 'readings', transform(b.readings, e -> {reading}))"
    kept = ", ".join(f"'{name}', {at}.`{name}`" for name in required(r.VitalsFrame))
    read = f"transform(transform({beds}, e -> {bed}), b -> {part})"
    whole = f"named_struct({kept}, 'beds', {read}, '{CORRUPT}', {at}.{CORRUPT})"
    return f"case when {at}.{CORRUPT} is not null and {at}.version is not null then {whole} else {at} end"


def _misfit(topic: Topic[Any]) -> str:
    """Why the record is none of its topic's, null when it is one."""
    at, names = _parsed(topic), required(topic.record)
    gaps = ", ".join(f"case when {at}.`{name}` is null then '{name}' end" for name in names)
    missing = f"array_compact(array({gaps}))"
    return (
        "case when value is null then 'tombstone: no value'"
        f" when text rlike '{_BLANK}' then 'empty: no value'"
        " when not is_valid_utf8(text) then 'not_utf8: bytes that are no text'"
        f" when {at} is null or ({at}.{CORRUPT} is not null and size({missing}) = {len(names)})"
        " then 'not_json: no JSON object'"
        f" when size({missing}) > 0 then concat('missing_field: ', array_join({missing}, ', ')) end"
    )


def _corrupt(topic: Topic[Any]) -> str:
    return f"{_parsed(topic)}.{CORRUPT} is not null"


def _sizes_of(one: Rows) -> str:
    return f"s_{one.table.name}"


def _sizes(one: Rows) -> str:
    topic = _topic(one)
    return f"case when topic = '{topic.name}' then cast({_RECORD.sub(_parsed(topic), one.sizes)} as array<int>) end"


def _count(one: Rows) -> str:
    topic = _topic(one)
    count = _RECORD.sub(_parsed(topic), one.count(_sizes_of(one)))
    return f"case when topic = '{topic.name}' and misfit is null then {count} else 0 end"


def _topic(one: Rows) -> Topic[Any]:
    if one.table.topic is None:
        raise KeyError(f"{one.table.name} is of no topic")
    return one.table.topic
