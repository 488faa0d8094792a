"""Logs of a simulated ward in memory, and hand-made alarms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contracts import codec
from contracts.records import (
    SCHEMA_VERSION,
    AlarmEvent,
    AlarmState,
    AlertTransition,
    Category,
    ModelRef,
    Priority,
    SourceOffset,
    VitalsFrame,
)
from contracts.topology import CLOCK_KEY, VITALS, partition_for
from models.vitals.engine import VitalsModels
from models.ward.policy import load_policy
from producers.scenario import parse_script
from producers.ward import Hospital
from streams.compare.episodes import Alert, Book
from streams.compare.sides import Decided, Side, decided
from streams.compare.span import Part, Span
from streams.wardlog import LogRecord

T0 = 1_767_340_800_000
POLICY = load_policy(None)
SCRIPT = b"""
name = "busy"
[[event]]
kind = "desaturation"
bed = 1
at_s = 20
for_s = 60
[[event]]
kind = "arrhythmia"
bed = 2
at_s = 30
for_s = 40
[[event]]
kind = "bleed"
bed = 4
at_s = 25
for_s = 120
[[event]]
kind = "silent_bed"
bed = 3
at_s = 40
for_s = 30
"""


def hospital(beds: int = 12, beds_per_ward: int = 3) -> Hospital:
    """Four small wards; in the first two much happens."""
    return Hospital(
        beds, seed=7, script=parse_script(SCRIPT), start_ms=T0, beds_per_ward=beds_per_ward, frame_beds=beds_per_ward
    )


def log_of(source: Hospital, seconds: int, models: Sequence[ModelRef] = ()) -> list[LogRecord]:
    """What a topic of two partitions would hold of it: frames, and a tick a second for each partition."""
    log = Log()
    for second in range(seconds):
        at_ms = T0 + second * 1000
        for frame in source.tick():
            log.append(partition_for(frame.ward, VITALS.partitions), at_ms, frame)
        for partition in sorted({partition_for(ward, VITALS.partitions) for ward in source.roster.wards}):
            log.append(partition, at_ms, tick(at_ms, models))
    return log.records


class Log:
    """Records of any partition, numbered as they come."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self._next: dict[int, int] = {}

    def append(self, partition: int, at_ms: int, frame: VitalsFrame) -> None:
        """One more record of the partition."""
        self.put(LogRecord(VITALS.name, partition, 0, at_ms, frame.ward.encode(), codec.encode(frame)))

    def put(self, record: LogRecord) -> None:
        """The record, at the next offset of its partition."""
        offset = self._next.get(record.partition, 0)
        self._next[record.partition] = offset + 1
        self.records.append(record._replace(offset=offset))


def tick(at_ms: int, models: Sequence[ModelRef] = ()) -> VitalsFrame:
    """A clock tick that names these models."""
    return VitalsFrame(
        version=SCHEMA_VERSION, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=0, at_ms=at_ms, models=tuple(models)
    )


def span_of(records: Iterable[LogRecord], start_ms: int = 0) -> Span:
    """The span of all these records; what lies before ``start_ms`` is its warm-up."""
    parts: dict[int, Part] = {}
    for record in records:
        part = parts.get(record.partition, Part(record.offset, record.offset, record.offset))
        start = part.start if record.at_ms >= start_ms else record.offset + 1
        parts[record.partition] = Part(part.begin, start, record.offset + 1)
    return Span(VITALS.name, VITALS.partitions, None, None, parts, "nothing: the log begins with the span")


def decide(records: list[LogRecord], *sides: Side, models: VitalsModels | None = None) -> list[Decided]:
    """What the records lead to under each side; without sides under the built-in policy."""
    return decided(records, span_of(records), sides or (Side("champion", POLICY),), models)


def alert(
    patient: str,
    raised_s: float,
    ended_s: float | None = None,
    condition: str = "spo2_low",
    onset_s: float | None = None,
    priority: Priority = Priority.MEDIUM,
    category: Category = Category.PHYSIOLOGICAL,
    acknowledged_s: float | None = None,
    ward: str = "W1",
) -> Alert:
    """An alarm with a life of so many seconds after T0; its bed is named like its patient."""
    book = Book()
    onset = raised_s if onset_s is None else onset_s
    steps = [(AlarmEvent.RAISED, AlarmState.ACTIVE, raised_s)]
    if acknowledged_s is not None:
        steps.append((AlarmEvent.ACKNOWLEDGED, AlarmState.ACKNOWLEDGED, acknowledged_s))
    if ended_s is not None:
        steps.append((AlarmEvent.CLEARED, AlarmState.INACTIVE, ended_s))
    for seq, (event, state, at_s) in enumerate(steps):
        book.add(
            AlertTransition(
                version=SCHEMA_VERSION,
                alert_id="a" * 16,
                seq=seq,
                ward=ward,
                bed=f"bed-{patient}",
                patient=patient,
                condition=condition,
                category=category,
                priority=priority,
                event=event,
                state=state,
                at_ms=T0 + int(at_s * 1000),
                onset_ms=T0 + int(onset * 1000),
                message=f"{condition} of {patient}",
                source=SourceOffset(topic=VITALS.name, partition=0, offset=seq),
                policy=POLICY.hash,
            )
        )
    (made,) = book.alerts.values()
    return made
