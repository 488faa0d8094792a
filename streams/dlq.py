"""Dead letters as people deal with them: find, look at, mend, send again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from contracts import codec
from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import AlertAction, DeadLetter, SourceOffset
from contracts.topology import ALERT_ACTIONS, DEAD_LETTERS, VITALS, partition_for
from streams import ledger

MARK: Final = "ward-redriven-from"
"""Header of a record that was sent again: topic/partition/offset of the original."""
_PLACE: Final = re.compile(r"^\$\.beds\[(\d+)\](?:\.readings\[(\d+)\])?")
_STEP: Final = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]")


@dataclass(frozen=True)
class Parked:
    """A dead letter and its own offset in dead_letters."""

    offset: int
    letter: DeadLetter


@dataclass(frozen=True)
class Plan:
    """What sending one dead letter again would do; ``value`` is None when it would only come back, ``why`` says it."""

    parked: Parked
    key: bytes | None
    value: bytes | None
    partition: int | None
    why: str


def parked(bootstrap: str, reason: str | None = None) -> list[Parked]:
    """The dead letters, oldest first, each place once however often it was written.

    Raises Transient when the broker does not answer.
    """
    seen: set[tuple[SourceOffset, str]] = set()
    found = []
    for record in ledger.read(bootstrap, DEAD_LETTERS.name):
        letter = codec.decode(record.value, DeadLetter)
        place = (letter.source, letter.field)
        if place not in seen and (reason is None or letter.reason == reason):
            seen.add(place)
            found.append(Parked(record.offset, letter))
    return found


def mend(raw: bytes, fixes: Mapping[str, Any]) -> bytes:
    """The JSON document with the values at these paths (``$.version``, ``beds[0].bed``) set.

    Raises Poison when the bytes are no JSON, Misconfigured for a path that does not lead anywhere.
    """
    if not fixes:
        return raw
    try:
        document = json.loads(raw)
    except ValueError as wrong:
        raise Poison("not_json", f"{wrong}; --fix mends JSON only") from wrong
    for path, value in fixes.items():
        steps = [int(index) if index else name for name, index in _STEP.findall(path.removeprefix("$"))]
        if not steps:
            raise Misconfigured(f"--fix {path}: name a field, as in --fix version=1")
        at = document
        try:
            for step in steps[:-1]:
                at = at[step]
            at[steps[-1]] = value
        except (KeyError, IndexError, TypeError) as wrong:
            raise Misconfigured(f"--fix {path}: no such place in this record ({wrong!r})") from wrong
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def plan(one: Parked, original: bytes | None, fixes: Mapping[str, Any]) -> Plan:
    """What to send for this dead letter. ``original`` is the source record's value, None when it is gone.

    A part is sent as a frame of its own with the header of the frame that it came from. Only what would be read now is
    sent; everything else would come straight back.
    """
    letter = one.letter
    topic = letter.source.topic
    raw = letter.raw if letter.raw is not None or letter.partial else original
    try:
        if letter.partial:
            value = _frame_of_part(letter, original, fixes)
        elif raw is None:
            raise Poison("tombstone", "there are no bytes to send")
        else:
            value = mend(raw, fixes)
        if topic == VITALS.name:
            decoded = codec.decode_frame(value)
            if decoded.faults:
                fault = decoded.faults[0]
                raise Poison(fault.reason, fault.detail, fault.field)
            ward = decoded.frame.ward
            return Plan(one, ward.encode(), value, partition_for(ward, VITALS.partitions), "ready")
        if topic == ALERT_ACTIONS.name:
            return Plan(one, codec.decode(value, AlertAction).ward.encode(), value, None, "ready")
    except Poison as still:
        return Plan(one, letter.key, None, None, f"still unreadable: {still}")
    return Plan(one, letter.key, value, letter.source.partition, "ready")


def _frame_of_part(letter: DeadLetter, original: bytes | None, fixes: Mapping[str, Any]) -> bytes:
    place = _PLACE.match(letter.field)
    if place is None or letter.raw is None:
        raise Poison("missing_field", f"the part at {letter.field} cannot be placed in a frame")
    if original is None:
        raise Poison("missing_field", "the frame around this part is no longer in the log")
    part = json.loads(mend(letter.raw, fixes))
    try:
        frame: dict[str, Any] = json.loads(original)
        bed = frame["beds"][int(place[1])]
    except (ValueError, KeyError, IndexError, TypeError) as wrong:
        raise Poison("missing_field", f"the frame around this part cannot be read: {wrong!r}") from wrong
    if place[2] is not None and not (isinstance(part, dict) and "readings" in part):
        part = {**bed, "readings": [part]}
    header = {name: frame[name] for name in ("version", "ward", "gateway", "seq", "at_ms") if name in frame}
    return json.dumps({**header, "beds": [part]}, separators=(",", ":"), ensure_ascii=False).encode()


def originals(bootstrap: str, places: Iterable[SourceOffset]) -> dict[SourceOffset, bytes | None]:
    """The values that still stand at these places. Raises Transient without a broker."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    wanted = set(places)
    found: dict[SourceOffset, bytes | None] = {}
    if not wanted:
        return found
    try:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, bootstrap_timeout_ms=5_000)
    except KafkaError as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    try:
        for place in sorted(wanted, key=lambda p: (p.topic, p.partition, p.offset)):
            tp = TopicPartition(place.topic, place.partition)
            consumer.assign([tp])
            first, end = consumer.beginning_offsets([tp])[tp], consumer.end_offsets([tp])[tp]
            if first <= place.offset < end:
                consumer.seek(tp, place.offset)
                batch = consumer.poll(timeout_ms=10_000, max_records=1).get(tp, [])
                if batch and batch[0].offset == place.offset:
                    found[place] = batch[0].value
    except KafkaError as failure:
        raise Transient(f"{bootstrap}: {failure}") from failure
    finally:
        consumer.close()
    return found


def plans(bootstrap: str, chosen: list[Parked], fixes: Mapping[str, Any]) -> list[Plan]:
    """The plan of each chosen dead letter."""
    around = originals(bootstrap, [p.letter.source for p in chosen if p.letter.partial or p.letter.raw is None])
    return [plan(one, around.get(one.letter.source), fixes) for one in chosen]


def send(bootstrap: str, ready: list[Plan]) -> int:
    """Send what can be sent, every acknowledgement awaited; how many. Raises Transient when one is not acknowledged."""
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    sendable = [p for p in ready if p.value is not None]
    if not sendable:
        return 0
    try:
        producer = KafkaProducer(
            bootstrap_servers=bootstrap, acks="all", max_request_size=8 * 1024 * 1024, bootstrap_timeout_ms=5_000
        )
    except KafkaError as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    try:
        pending = [
            producer.send(
                p.parked.letter.source.topic,
                value=p.value,
                key=p.key,
                partition=p.partition,
                headers=[(MARK, _place(p.parked.letter.source).encode())],
            )
            for p in sendable
        ]
        for future in pending:
            future.get(timeout=30)
    except KafkaError as failure:
        raise Transient(f"{bootstrap}: {failure}") from failure
    finally:
        producer.close()
    return len(sendable)


def _place(source: SourceOffset) -> str:
    return f"{source.topic}/{source.partition}/{source.offset}"


def as_row(one: Parked) -> dict[str, Any]:
    """The dead letter as JSON-ready values, its bytes as text where they are text."""
    row: dict[str, Any] = msgspec.to_builtins(one.letter, builtin_types=(bytes,))
    for name in ("raw", "key"):
        raw = row.get(name)
        if isinstance(raw, bytes):
            row[name] = raw.decode(errors="backslashreplace")
    return {"n": one.offset, **row}
