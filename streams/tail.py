"""The terminal's feed: a topic's records as they come, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from contracts import codec
from contracts.clinical.codes import VITALS
from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import (
    AlertAction,
    AlertTransition,
    BedForecast,
    BedOutlook,
    BedScore,
    Category,
    DeadLetter,
    Priority,
    Record,
    ScoreFrame,
    VitalsForecast,
    VitalsFrame,
)
from contracts.topology import TOPICS, Topic
from streams.wardlog import LogRecord

MARKS: Final = {Priority.HIGH: "***", Priority.MEDIUM: "**", Priority.LOW: "*"}
STYLES: Final = {Priority.HIGH: "bold white on red", Priority.MEDIUM: "black on yellow", Priority.LOW: "cyan"}
TECHNICAL: Final = "!"
ADVISORY: Final = "~"
POLL_MS: Final = 250
DRIVERS: Final = 2
WORTH_TELLING: Final = 0.2
"""A limit that is less likely to be crossed is not spoken of in a line."""

Line = tuple[str, str]
"""A line and the style of its mark."""


def topic_of(name: str) -> Topic[Any]:
    """The topic of that name; Misconfigured with the list when there is none."""
    for topic in TOPICS:
        if topic.name == name:
            return topic
    raise Misconfigured(f"no topic {name!r}; there are {', '.join(topic.name for topic in TOPICS)}")


def follow(bootstrap: str, topic: str, from_beginning: bool) -> Iterator[LogRecord | None]:
    """Records of all partitions as they come, for ever; None whenever a moment passes without one.

    Raises Transient when no broker answers.
    """
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    try:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, bootstrap_timeout_ms=5_000)
    except KafkaError as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    try:
        partitions = consumer.partitions_for_topic(topic)
        if not partitions:
            raise Misconfigured(f"no topic {topic} at {bootstrap}: `ward up topics` makes it")
        assigned = [TopicPartition(topic, p) for p in sorted(partitions)]
        consumer.assign(assigned)
        if from_beginning:
            consumer.seek_to_beginning(*assigned)
        else:
            for tp, end in consumer.end_offsets(assigned).items():
                consumer.seek(tp, end)
        while True:
            batches = consumer.poll(timeout_ms=POLL_MS)
            for records in batches.values():
                for r in records:
                    yield LogRecord(topic, r.partition, r.offset, r.timestamp, r.key, r.value)
            yield None
    except KafkaError as failure:
        raise Transient(f"{bootstrap}: {failure}") from failure
    finally:
        consumer.close()


def matcher(ward: str | None, patient: str | None, severity: Priority | None) -> Callable[[Record], bool]:
    """Whether a record speaks of that ward and patient, at least at that priority."""
    ranks = [Priority.LOW, Priority.MEDIUM, Priority.HIGH]

    def matches(record: Record) -> bool:
        if ward is not None and getattr(record, "ward", None) != ward:
            return False
        if patient is not None:
            patients = {
                one.patient for field in ("beds", "outlooks", "past", "facts") for one in getattr(record, field, ())
            }
            if patient != getattr(record, "patient", None) and patient not in patients:
                return False
        if severity is not None:
            said = getattr(record, "priority", None)
            return said is not None and ranks.index(said) >= ranks.index(severity)
        return True

    return matches


def lines(record: Record, patient: str | None = None) -> Iterator[Line]:
    """The record for people, of one patient where asked for; a mark is never colour alone."""
    if isinstance(record, AlertTransition):
        yield alarm_line(record)
    elif isinstance(record, ScoreFrame):
        for bed in record.beds:
            if patient in (None, bed.patient):
                yield _score_line(record, bed)
        for outlook in record.outlooks:
            if patient in (None, outlook.patient):
                yield _outlook_line(outlook)
    elif isinstance(record, VitalsForecast):
        for ahead in record.beds:
            if patient in (None, ahead.patient):
                yield from _forecast_lines(record, ahead)
    elif isinstance(record, VitalsFrame):
        parts = [f"{len(record.beds)} beds", f"{len(record.actions)} actions"]
        if told := {past.patient for past in record.past} | {facts.patient for facts in record.facts}:
            parts.append(f"past of {len(told)}")
        if record.models:
            parts.append(", ".join(f"{model.name}@{model.version}" for model in record.models))
        yield f"{_clock(record.at_ms)}  {record.ward:10} {record.gateway} seq {record.seq}  {', '.join(parts)}", ""
    elif isinstance(record, AlertAction):
        yield (
            f"{_clock(record.at_ms)}  {record.bed:10} {record.kind} by {record.actor} on {record.alert_id or 'bed'}",
            "",
        )
    elif isinstance(record, DeadLetter):
        s = record.source
        yield (
            f"{_clock(record.at_ms)}  {record.reason:16} {s.topic}/{s.partition}/{s.offset} {record.field} "
            f"{record.detail}",
            "red",
        )
    else:
        yield codec.encode(record).decode(), ""


def _score_line(frame: ScoreFrame, bed: BedScore) -> Line:
    news2 = bed.news2
    score = "" if news2 is None else _interval(news2.minimum, news2.maximum)
    values = "  ".join(f"{v.vital} {v.value}{'' if v.tag == 'ok' else f' ({v.tag})'}" for v in bed.values)
    return f"{_clock(frame.at_ms)}  {bed.bed:10} NEWS2 {score:6} {values}", ""


def _outlook_line(outlook: BedOutlook) -> Line:
    """What the models make of a bed: how odd it is and for what, and what may happen."""
    parts = []
    anomaly = outlook.anomaly
    if anomaly is not None:
        why = ", ".join(driver.what for driver in anomaly.drivers[:DRIVERS])
        parts.append(f"anomaly {anomaly.score:.2f}{f' ({why})' if why else ''}")
        parts += [f"drift of {vital}" for vital in anomaly.drift]
    parts += [f"{risk.name} {_ahead(risk.horizon_s)} {risk.probability:.0%}" for risk in outlook.risks]
    return f"{_clock(outlook.at_ms)}  {outlook.bed:10} {'  '.join(parts)}", ""


def _forecast_lines(made: VitalsForecast, bed: BedForecast) -> Iterator[Line]:
    """A line a vital: the middle quantile between the outer ones for each horizon, and what may cross a limit."""
    middle = len(made.levels) // 2
    for ahead in bed.vitals:
        digits = VITALS[ahead.vital].decimals
        steps = [
            f"{_ahead(horizon_s)} {row[middle]:.{digits}f} [{row[0]:.{digits}f} {row[-1]:.{digits}f}]"
            for horizon_s, row in zip(ahead.horizons_s, ahead.quantiles, strict=True)
        ]
        for word, sides in (("below", ahead.below), ("above", ahead.above)):
            if sides and max(sides) >= WORTH_TELLING:
                steps.append(f"{word} its limit {max(sides):.0%}")
        steps.append(ahead.engine)
        yield f"{_clock(bed.at_ms)}  {bed.bed:10} {ahead.vital:14} {'  '.join(steps)}", ""


def _ahead(seconds: int) -> str:
    if not seconds:
        return "in hospital"
    return f"+{seconds // 3600}h" if seconds % 3600 == 0 else f"+{seconds // 60}min"


def alarm_line(alarm: AlertTransition) -> Line:
    """One transition: time, mark, bed, what, and what became of it."""
    mark = {Category.TECHNICAL: TECHNICAL, Category.ADVISORY: ADVISORY}.get(alarm.category, MARKS[alarm.priority])
    by = f" by {alarm.actor}" if alarm.actor else f" by {alarm.model}" if alarm.model else ""
    style = STYLES[alarm.priority] if alarm.state != "inactive" else "dim"
    return f"{_clock(alarm.at_ms)}  {mark:3} {alarm.bed:10} {alarm.message}  {alarm.event}{by}  {alarm.alert_id}", style


def decoded(topic: Topic[Any], record: LogRecord) -> Record | Poison:
    """The record, or what is wrong with its bytes."""
    try:
        found: Record = codec.decode(record.value, topic.record)
    except Poison as poison:
        return poison
    return found


def _interval(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low}-{high}"


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%H:%M:%S")
