"""A span of a topic by time, and what stood before it: where each partition begins, with which state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from contracts import codec
from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import SourceOffset, WardSnapshot
from contracts.topology import CLOCK_KEY, SNAPSHOTS, VITALS
from streams.ledger import SILENCE_S, WAIT_S, read
from streams.snapshots import CUT_KEY, unpacked
from streams.wardlog import LogRecord

BATCH: Final = 1000
AFTER_MS: Final = 120_000
LEADER_S: Final = 5.0
"""So long a partition may be without a leader after its topic was made."""
NEVER: Final = 2**62
"""The end of a span that has none."""
WARM_UP_S: Final = 900.0
"""Of the log before a span, where no state from before is to be had or wanted."""
LOOKS_MS: Final = (60_000, 86_400_000)
"""How far back is looked for a patient: first where those are who are there, then where those were who have gone."""


@dataclass(frozen=True)
class Cut:
    """States of a partition's wards, as the core's bytes, after every record below ``offset``; ``own`` by ward."""

    offset: int
    states: Mapping[str, bytes] = field(default_factory=dict)
    own: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One partition's share of the span: decided from ``begin``, counted from ``start``, up to before ``stop``."""

    begin: int
    start: int
    stop: int
    cut: Cut | None = None


@dataclass(frozen=True)
class Span:
    """What is to be decided. ``since`` says in words what stood at its start."""

    topic: str
    partitions: int
    from_ms: int | None
    to_ms: int | None
    parts: Mapping[int, Part]
    since: str

    @property
    def records(self) -> int:
        """How many offsets are to be read, the warm-up included."""
        return sum(part.stop - part.begin for part in self.parts.values())

    def counts(self, source: SourceOffset) -> bool:
        """Whether that record belongs to the span, its warm-up excluded."""
        part = self.parts.get(source.partition)
        return part is not None and source.topic == self.topic and part.start <= source.offset < part.stop


def there(bootstrap: str, topic: str) -> bool:
    """Whether the broker has the topic. Raises Transient without a broker."""
    from confluent_kafka import Consumer, KafkaException

    consumer = Consumer(_settings(bootstrap))
    try:
        return topic in consumer.list_topics(timeout=10).topics
    except KafkaException as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    finally:
        consumer.close()


def survey(
    bootstrap: str,
    topic: str,
    from_ms: int | None,
    to_ms: int | None,
    warm_up_s: float | None,
    most_s: float = WARM_UP_S,
) -> Span:
    """Where the span lies. None: from the log's start, up to its end.

    The state before it comes from the newest whole cut of the worker's snapshots that lies before it; where there is
    none, or ``warm_up_s`` is given, from a warm-up of that length (``most_s`` by default). Raises Misconfigured when
    the topic is not there or the span holds nothing, Transient without a broker.
    """
    from confluent_kafka import Consumer, KafkaException

    consumer = Consumer(_settings(bootstrap))
    try:
        known = consumer.list_topics(timeout=10).topics
        if topic not in known:
            raise Misconfigured(f"no topic {topic} at {bootstrap}; there are {', '.join(sorted(known)) or 'none'}")
        partitions = sorted(known[topic].partitions)
        bounds = _bounds(consumer, topic, partitions)
        starts = _offsets(consumer, topic, from_ms, bounds, 0)
        stops = _offsets(consumer, topic, to_ms, bounds, 1)
        early_s = most_s if warm_up_s is None else warm_up_s
        begins = _offsets(consumer, topic, None if from_ms is None else from_ms - int(early_s * 1000), bounds, 0)
    except KafkaException as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    finally:
        consumer.close()
    if all(starts[p] >= stops[p] for p in partitions):
        raise Misconfigured(f"{topic} holds nothing in that span: {_held(bounds)}")
    wanted = {p: starts[p] for p in partitions if starts[p] < stops[p]}
    fresh = topic != VITALS.name or warm_up_s is not None or all(starts[p] == bounds[p][0] for p in wanted)
    cuts = {} if fresh else whole_cuts(bootstrap, wanted, {p: bounds[p][0] for p in wanted})
    parts = {
        p: Part(cuts[p].offset if p in cuts else begins[p], starts[p], stops[p], cuts.get(p)) for p in sorted(wanted)
    }
    return Span(topic, len(partitions), from_ms, to_ms, parts, _said(parts, bounds, early_s))


def ahead(bootstrap: str, topic: str, warm_up_s: float | None) -> Span:
    """All that comes from now on, in every partition. The state before it is found as ``survey`` finds it.

    Raises Misconfigured when the topic is not there, Transient without a broker.
    """
    from confluent_kafka import Consumer, KafkaException

    consumer = Consumer(_settings(bootstrap))
    try:
        known = consumer.list_topics(timeout=10).topics
        if topic not in known:
            raise Misconfigured(f"no topic {topic} at {bootstrap}; there are {', '.join(sorted(known)) or 'none'}")
        bounds = _bounds(consumer, topic, sorted(known[topic].partitions))
        early_s = WARM_UP_S if warm_up_s is None else warm_up_s
        from_ms = time.time_ns() // 1_000_000
        begins = _offsets(consumer, topic, from_ms - int(early_s * 1000), bounds, 0)
    except KafkaException as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    finally:
        consumer.close()
    ends = {p: high for p, (_, high) in bounds.items()}
    fresh = topic != VITALS.name or warm_up_s is not None
    cuts = {} if fresh else whole_cuts(bootstrap, ends, {p: low for p, (low, _) in bounds.items()})
    parts = {p: Part(cuts[p].offset if p in cuts else begins[p], end, NEVER, cuts.get(p)) for p, end in ends.items()}
    return Span(topic, len(parts), from_ms, None, parts, _said(parts, bounds, early_s))


def before(bootstrap: str, topic: str, starts: Mapping[int, int], first_ms: int) -> Span:
    """What leads to the state at these offsets, by partition, of which the first record is of ``first_ms``.

    Found as ``survey`` finds it; empty where the broker no longer has the topic or what stood there. Raises Transient
    without a broker.
    """
    from confluent_kafka import Consumer, KafkaException

    early_ms = first_ms - int(WARM_UP_S * 1000)
    consumer = Consumer(_settings(bootstrap))
    try:
        held = topic in consumer.list_topics(timeout=10).topics
        bounds = _bounds(consumer, topic, sorted(starts)) if held else dict.fromkeys(starts, (NEVER, NEVER))
        begins = _offsets(consumer, topic, early_ms, bounds, 0) if held else dict(starts)
    except KafkaException as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    finally:
        consumer.close()
    lows = {p: low for p, (low, _) in bounds.items()}
    cuts = whole_cuts(bootstrap, starts, lows) if held and topic == VITALS.name else {}
    parts = {
        p: Part(cuts[p].offset if p in cuts else min(begins[p], start), start, start, cuts.get(p))
        for p, start in sorted(starts.items())
    }
    return Span(topic, len(parts), early_ms, first_ms, parts, _said(parts, bounds, WARM_UP_S))


def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """The next offset of each partition, also of a topic that was made a moment ago.

    Raises Misconfigured when it is not there, Transient without a broker.
    """
    from confluent_kafka import Consumer, KafkaException

    consumer = Consumer(_settings(bootstrap))
    until_s = time.monotonic() + LEADER_S
    try:
        while True:
            try:
                known = consumer.list_topics(timeout=10).topics
                if topic not in known:
                    raise Misconfigured(f"no topic {topic} at {bootstrap}")
                return {p: high for p, (_, high) in _bounds(consumer, topic, sorted(known[topic].partitions)).items()}
            except KafkaException as failure:
                if time.monotonic() > until_s:
                    raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
                consumer.poll(WAIT_S)
    finally:
        consumer.close()


def follow(bootstrap: str, span: Span) -> Iterator[LogRecord | None]:
    """The records of a span without end as they come; None when nothing has come for a moment.

    A broker that goes away is waited for. Raises Transient for what retention took away before it was read.
    """
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    consumer = Consumer(_settings(bootstrap))
    try:
        consumer.assign([TopicPartition(span.topic, p, part.begin) for p, part in span.parts.items()])
        while True:
            batch = consumer.consume(BATCH, timeout=WAIT_S)
            if not batch:
                yield None
            for message in batch:
                error = message.error()
                if error is None:
                    p, offset = message.partition(), message.offset()
                    yield LogRecord(span.topic, p, offset, message.timestamp()[1], message.key(), message.value())
                elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
                    raise Transient(f"{span.topic} of {bootstrap} no longer holds what comes next: {error.str()}")
    finally:
        consumer.close()


def around(bootstrap: str, topic: str, who: str, at_ms: int, warm_up_s: float | None) -> Span | None:
    """The span of the one partition that speaks of a patient or bed around a moment: a minute before, two after.

    None when no frame of that minute, nor of the day before it, has the name. Raises as ``survey`` does.
    """
    to_ms = at_ms + AFTER_MS
    for early_ms in LOOKS_MS:
        try:
            look = survey(bootstrap, topic, at_ms - early_ms, at_ms, 0.0, 0.0)
        except Misconfigured:
            if early_ms == LOOKS_MS[-1]:
                raise
            continue
        found = {record.partition for record in records(bootstrap, look) if spoken_of(record, who)}
        if found:
            span = survey(bootstrap, topic, at_ms - early_ms, to_ms, warm_up_s)
            return replace(span, parts={p: part for p, part in span.parts.items() if p in found})
    return None


def spoken_of(record: LogRecord, who: str) -> bool:
    """Whether the record may be a frame that speaks of that patient or bed."""
    return record.value is not None and record.key != CLOCK_KEY.encode() and msgspec.json.encode(who) in record.value


def _said(parts: Mapping[int, Part], bounds: Mapping[int, tuple[int, int]], early_s: float) -> str:
    by_cut = sum(part.cut is not None for part in parts.values())
    at_start = sum(part.cut is None and part.start <= bounds[p][0] for p, part in parts.items())
    whole = sum(part.cut is None and part.start > part.begin == bounds[p][0] for p, part in parts.items())
    warmed = len(parts) - by_cut - at_start - whole
    words = [
        (by_cut, "the newest snapshot before the span"),
        (at_start, "nothing: the log begins with the span"),
        (whole, "the log from its start"),
        (warmed, f"a warm-up of {early_s:g} s before the span"),
    ]
    told = [(n, what) for n, what in words if n]
    return told[0][1] if len(told) == 1 else ", ".join(f"{what} ({n} partitions)" for n, what in told)


def whole_cuts(bootstrap: str, starts: Mapping[int, int], lows: Mapping[int, int]) -> dict[int, Cut]:
    """By partition the newest cut at or before ``starts`` of which everything is still there.

    The topic is compacted, so most cuts of long ago are gone.
    """
    newest: dict[int, dict[str, tuple[int, bytes]]] = {p: {} for p in starts}
    found: dict[int, Cut] = {}
    for record in read(bootstrap, SNAPSHOTS.name):
        p = record.partition
        if p not in starts or record.value is None:
            continue
        try:
            snapshot = codec.decode(record.value, WardSnapshot)
            if snapshot.next_offset > starts[p]:
                continue
            if snapshot.ward != CUT_KEY:
                newest[p][snapshot.ward] = (snapshot.next_offset, snapshot.state)
                continue
            listed: dict[str, int] = msgspec.json.decode(snapshot.state)["wards"]
        except (Poison, msgspec.MsgspecError, KeyError):
            continue  # a damaged cut is none: an older one, or a warm-up, is as good
        whole = all(newest[p].get(ward, (None,))[0] == offset for ward, offset in listed.items())
        if whole and snapshot.next_offset >= lows[p]:
            own = {ward: max(offset, snapshot.next_offset) for ward, offset in listed.items()}
            found[p] = Cut(snapshot.next_offset, {ward: newest[p][ward][1] for ward in listed}, own)
    return {
        p: replace(cut, states={ward: unpacked(raw) for ward, raw in cut.states.items()}) for p, cut in found.items()
    }


def records(bootstrap: str, span: Span) -> Iterator[LogRecord]:
    """The records of the span and of what is decided before it; each partition in order, partitions interleaved.

    Raises Transient when the broker does not answer.
    """
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    consumer = Consumer(_settings(bootstrap))
    topic = span.topic
    try:
        at = {p: part.begin for p, part in span.parts.items() if part.begin < part.stop}
        consumer.assign([TopicPartition(topic, p, offset) for p, offset in at.items()])
        heard = time.monotonic()
        while at:
            left = sum(span.parts[p].stop - offset for p, offset in at.items())
            batch = consumer.consume(min(BATCH, left), timeout=WAIT_S)
            if batch:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_S:
                raise Transient(f"{topic} of {bootstrap} stops at {at}")
            for message in batch:
                if message.error():
                    raise Transient(f"{topic} of {bootstrap}: {message.error()}")
                p, offset = message.partition(), message.offset()
                if p not in at:
                    continue
                if offset < span.parts[p].stop:
                    at[p] = offset + 1
                    yield LogRecord(topic, p, offset, message.timestamp()[1], message.key(), message.value())
                if at[p] >= span.parts[p].stop or offset >= span.parts[p].stop:
                    del at[p]
                    consumer.incremental_unassign([TopicPartition(topic, p)])
    except KafkaException as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    finally:
        consumer.close()


def _settings(bootstrap: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap,
        "group.id": "ward-compare",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",  # what retention took away meanwhile must not be passed over in silence
        "log_level": 2,
    }


def _bounds(consumer: Any, topic: str, partitions: list[int]) -> dict[int, tuple[int, int]]:
    from confluent_kafka import TopicPartition

    return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions}


def _offsets(
    consumer: Any, topic: str, at_ms: int | None, bounds: Mapping[int, tuple[int, int]], side: int
) -> dict[int, int]:
    """Of each partition the first offset whose log time is at or after ``at_ms``; without one its bound."""
    if at_ms is None:
        return {p: bound[side] for p, bound in bounds.items()}
    from confluent_kafka import TopicPartition

    wanted = [TopicPartition(topic, p, max(0, at_ms)) for p in bounds]
    found = consumer.offsets_for_times(wanted, timeout=10)
    return {tp.partition: tp.offset if tp.offset >= 0 else bounds[tp.partition][1] for tp in found}


def _held(bounds: Mapping[int, tuple[int, int]]) -> str:
    records = sum(high - low for low, high in bounds.values())
    return f"it has {records} records" if records else "it is empty"
