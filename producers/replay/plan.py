"""What a replay would do, known before it does anything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.errors import Misconfigured, Transient
from contracts.topology import CLOCK_KEY
from producers.replay import shift, source, topics
from producers.replay.merge import Merge, Message
from producers.replay.source import Log, Reader, Span
from producers.replay.topics import Found, NotFound
from producers.replay.window import Window, rfc3339

_CLOCK: Final = CLOCK_KEY.encode()


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. ``speed`` None: as fast as it goes."""

    sources: tuple[str, ...]
    to: str
    window: Window = Window()
    speed: float | None = 1.0
    keys: tuple[str, ...] = ()
    shift_to_now: bool = False


class LogPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One partition: offsets [start, end) and what they hold. Times are the log's; None when it holds nothing."""

    topic: str
    target: str
    partition: int
    start: int
    end: int
    records: int
    first_ms: int | None = None
    last_ms: int | None = None
    has_key: bool = True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A replay to be made. ``records`` is exact unless ``counted`` is ``offsets`` and offsets are missing in the log.

    ``seconds`` is how long it will take; None when nothing is known of how fast this machine is. ``shift_ms`` is added
    to every time; None keeps them.
    """

    wish: Wish
    bootstrap: str
    made_ms: int
    logs: tuple[LogPlan, ...]
    counted: str
    records: int
    first_ms: int
    last_ms: int
    shift_ms: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def span_ms(self) -> int:
        """From the first record's time to the last one's."""
        return self.last_ms - self.first_ms

    @property
    def targets(self) -> dict[str, str]:
        """Source of each target topic."""
        return {log.target: log.topic for log in self.logs}

    def keeps(self, message: Message) -> bool:
        """Whether the message is one of those asked for: of these keys, or a tick of the clock that goes with them."""
        if not self.wish.keys:
            return True
        if message.key == _CLOCK:
            return self.logs[message.log].has_key
        return message.key is not None and message.key.decode(errors="replace") in self.wish.keys


def make(wish: Wish, bootstrap: str, now_ms: int, rate: float | None = None) -> Plan:
    """The plan for ``wish``; ``rate`` is records a second that an unpaced replay reached here before.

    Raises Misconfigured for a live target or a topic whose times cannot be moved, NotFound for a missing topic or a
    span without records, Transient when the broker does not answer.
    """
    named = dict(zip(wish.sources, topics.targets(wish.sources, wish.to), strict=True))
    if wish.shift_to_now and (cannot := sorted(shift.CANNOT.intersection(wish.sources))):
        raise Misconfigured(
            f"--shift-to-now: only the core can read the times in {', '.join(cannot)}; use --keep-times"
        )
    found = topics.find(bootstrap, [*wish.sources, *named.values()])
    for name in wish.sources:
        if name not in found:
            raise NotFound(f"no topic {name} at {bootstrap}: {topics.names_like(bootstrap, name)}")
    logs = [Log(name, partition) for name in wish.sources for partition in range(found[name].partitions)]
    spans = source.spans(bootstrap, logs, wish.window.start_ms, wish.window.end_ms)
    read = bool(wish.keys) or any(found[name].is_compacted for name in wish.sources)
    planned = _counted(bootstrap, logs, spans, named, wish) if read else _edges(bootstrap, logs, spans, named)
    held = [log for log in planned if log.first_ms is not None and log.last_ms is not None]
    if not held:
        raise NotFound(_nothing(bootstrap, logs, wish))
    first_ms = min(log.first_ms for log in held if log.first_ms is not None)
    last_ms = max(log.last_ms for log in held if log.last_ms is not None)
    records = sum(log.records for log in planned)
    at_most = None if rate is None else records / rate
    paced = None if wish.speed is None else (last_ms - first_ms) / 1000 / wish.speed
    return Plan(
        wish=wish,
        bootstrap=bootstrap,
        made_ms=now_ms,
        logs=tuple(planned),
        counted="read" if read else "offsets",
        records=records,
        first_ms=first_ms,
        last_ms=last_ms,
        shift_ms=shift.to_now(first_ms, now_ms) if wish.shift_to_now else None,
        seconds=at_most if paced is None else max(paced, at_most or 0.0),
        notes=tuple(_notes(wish, planned, found, first_ms, named)),
    )


def _notes(
    wish: Wish, logs: Sequence[LogPlan], found: dict[str, Found], first_ms: int, named: dict[str, str]
) -> list[str]:
    notes = []
    for target in named.values():
        if target in found:
            notes.append(f"topic {target} is there already: name a fresh one, or go on by --resume")
    start_ms = wish.window.start_ms
    if start_ms is not None and first_ms - start_ms > 60_000:
        notes.append(f"nothing is kept before {rfc3339(first_ms)}: the span begins there, not at {rfc3339(start_ms)}")
    for name in wish.sources:
        if not any(log.records for log in logs if log.topic == name):
            notes.append(f"{name} has no record in this span")
    if wish.keys and any(log.has_key for log in logs):
        notes.append("with the keys come the ticks of the clock in their partitions")
    return notes


def _nothing(bootstrap: str, logs: Sequence[Log], wish: Wish) -> str:
    whole = source.spans(bootstrap, logs, None, None)
    there = [
        log
        for log in _edges(bootstrap, list(logs), whole, {name: name for name in wish.sources})
        if log.first_ms is not None and log.last_ms is not None
    ]
    what = f"{', '.join(wish.sources)}{f' with key {chr(32).join(wish.keys)}' if wish.keys else ''}"
    if not there:
        return f"{what}: no record at all; is anything playing?"
    first = min(log.first_ms for log in there if log.first_ms is not None)
    last = max(log.last_ms for log in there if log.last_ms is not None)
    return f"{what}: no record from {wish.window}; it holds {rfc3339(first)} to {rfc3339(last)}"


def _edges(bootstrap: str, logs: Sequence[Log], spans: dict[Log, Span], named: dict[str, str]) -> list[LogPlan]:
    """The plan of each log by its offsets, and the times of its first and last record."""
    first = _times_at(bootstrap, {log: start for log, (start, end) in spans.items() if start < end}, spans)
    last = _times_at(bootstrap, {log: end - 1 for log, (_, end) in spans.items() if log in first}, spans)
    return [
        LogPlan(
            topic=log.topic,
            target=named[log.topic],
            partition=log.partition,
            start=spans[log][0],
            end=spans[log][1],
            records=spans[log][1] - spans[log][0] if log in first else 0,
            first_ms=first.get(log),
            last_ms=None if log not in first else max(first[log], last.get(log, first[log])),
        )
        for log in logs
    ]


def _times_at(bootstrap: str, places: dict[Log, int], spans: dict[Log, Span]) -> dict[Log, int]:
    """The time of the first record at or after each offset, where there is one within the span."""
    if not places:
        return {}
    from confluent_kafka import TopicPartition

    reader = source.consumer(bootstrap)
    found: dict[Log, int] = {}
    waiting = set(places)
    heard_s = time.monotonic()
    try:
        reader.assign([TopicPartition(*log, offset) for log, offset in places.items()])
        while waiting:
            message = reader.poll(0.5)
            if message is None:
                if time.monotonic() - heard_s > source.SILENCE_S:
                    raise Transient(f"the broker at {bootstrap} has been silent for {source.SILENCE_S:.0f} s")
                continue
            log = Log(message.topic(), message.partition())
            if log not in waiting:
                continue
            heard_s = time.monotonic()
            waiting.discard(log)
            if message.error() is None and message.offset() < spans[log][1]:
                found[log] = message.timestamp()[1]
            reader.incremental_unassign([TopicPartition(*log)])
    finally:
        reader.close()
    return found


def _counted(
    bootstrap: str, logs: Sequence[Log], spans: dict[Log, Span], named: dict[str, str], wish: Wish
) -> list[LogPlan]:
    """The plan of each log by reading it: keys are not to be found any other way, nor is what a compaction left."""
    merge = Merge(range(len(logs)))
    reader = Reader(bootstrap, logs, {n: spans[log] for n, log in enumerate(logs)}, merge)
    keys = {key.encode() for key in wish.keys}
    tally: list[dict[bool, _Tally]] = [{False: _Tally(), True: _Tally()} for _ in logs]
    try:
        while not merge.over:
            while merge.due_ms() is not None:
                message = merge.take()
                if not keys or message.key in keys or message.key == _CLOCK:
                    tally[message.log][not keys or message.key in keys].note(message.at_ms)
            if not merge.over:
                reader.fill(0.5)
    finally:
        reader.close()
    planned = []
    for log, counts in zip(logs, tally, strict=True):
        asked, ticks = counts[True], counts[False]
        both = [one for one in (asked, ticks) if one.records] if asked.records else []
        planned.append(
            LogPlan(
                topic=log.topic,
                target=named[log.topic],
                partition=log.partition,
                start=spans[log][0],
                end=spans[log][1],
                records=sum(one.records for one in both),
                first_ms=min((one.first_ms for one in both), default=None),
                last_ms=max((one.last_ms for one in both), default=None),
                has_key=bool(asked.records),
            )
        )
    return planned


class _Tally:
    def __init__(self) -> None:
        self.records = 0
        self.first_ms = 0
        self.last_ms = 0

    def note(self, at_ms: int) -> None:
        self.first_ms = min(self.first_ms, at_ms) if self.records else at_ms
        self.last_ms = max(self.last_ms, at_ms) if self.records else at_ms
        self.records += 1
