"""A span as the broker has it: what a plan must know of it, and the way to read it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from contracts.errors import Transient
from contracts.topology import CLOCK_KEY
from producers.replay import source, topics
from producers.replay.merge import Merge
from producers.replay.plan import LogPlan, Wish, empty
from producers.replay.source import Keep, Log, Reader, Span
from producers.replay.topics import Found, NotFound

_CLOCK: Final = CLOCK_KEY.encode()


class Broker:
    """The topics of a broker, as the origin of a replay."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def find(self, wish: Wish) -> dict[str, Found]:
        """The topics that were asked for. Raises NotFound with a hint for one that is missing."""
        found = topics.find(self._bootstrap, wish.sources)
        for name in wish.sources:
            if name not in found:
                raise NotFound(f"no topic {name} at {self._bootstrap}: {topics.names_like(self._bootstrap, name)}")
        return found

    def planned(self, wish: Wish, found: Mapping[str, Found], named: Mapping[str, str]) -> tuple[list[LogPlan], str]:
        """Every partition, and how its records were counted. Raises NotFound for a span without records."""
        logs = [Log(name, partition) for name in wish.sources for partition in range(found[name].partitions)]
        spans = self.spans(logs, wish.window.start_ms, wish.window.end_ms)
        read = bool(wish.keys) or any(found[name].is_compacted for name in wish.sources)
        planned = (
            _counted(self._bootstrap, logs, spans, named, wish) if read else _edges(self._bootstrap, logs, spans, named)
        )
        if not any(log.records for log in planned):
            whole = self.spans(logs, None, None)
            there = _edges(self._bootstrap, list(logs), whole, {name: name for name in wish.sources})
            raise NotFound(empty(wish, there))
        return planned, "read" if read else "offsets"

    def spans(self, logs: Sequence[Log], start_ms: int | None, end_ms: int | None) -> dict[Log, Span]:
        """The offsets of these log times."""
        return source.spans(self._bootstrap, logs, start_ms, end_ms)

    def reading(
        self,
        logs: Sequence[Log],
        wanted: Mapping[int, Span],
        keep: Keep | None,
        leave: Mapping[int, int],
        ahead_bytes: int,
    ) -> tuple[Merge, Reader]:
        """What gives the records by time, and what fills it."""
        merge = Merge(range(len(logs)))
        return merge, Reader(self._bootstrap, logs, wanted, merge, keep, leave, ahead_bytes)


def _edges(bootstrap: str, logs: Sequence[Log], spans: dict[Log, Span], named: Mapping[str, str]) -> list[LogPlan]:
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
    bootstrap: str, logs: Sequence[Log], spans: dict[Log, Span], named: Mapping[str, str], wish: Wish
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
