"""The ledger of alarms: what a log must have led to, decided anew from the log alone, against what was written.

Decisions are a pure function of one partition's records, so this is the yardstick for every restart, rebalance and
outage: no transition missing, none that the log does not explain, no (alert id, seq) with two contents.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from contracts import codec
from contracts.errors import Transient
from contracts.records import AlertTransition, DeadLetter, SourceOffset, WardSnapshot
from contracts.topology import ALERTS, DEAD_LETTERS, SNAPSHOTS, VITALS
from models.vitals.engine import VitalsModels
from streams.counsel import Inline
from streams.snapshots import CUT_KEY
from streams.wardlog import Core, LogRecord, WardLog

SILENCE_S: Final = 30.0
WAIT_S: Final = 0.5
Identity = tuple[str, int]
Place = tuple[str, int, int, str]


@dataclass
class Ledger:
    """Transitions by (alert id, seq), dead letters by place; ``repeats`` counts records written again with the same
    content, ``conflicts`` lists identities with two contents."""

    transitions: dict[Identity, bytes] = field(default_factory=dict)
    sources: dict[Identity, SourceOffset] = field(default_factory=dict)
    letters: dict[Place, bytes] = field(default_factory=dict)
    repeats: int = 0
    conflicts: list[Identity | Place] = field(default_factory=list)

    def add(self, transition: AlertTransition) -> None:
        """Enter one transition."""
        identity = (transition.alert_id, transition.seq)
        self.sources.setdefault(identity, transition.source)
        self._enter(self.transitions, identity, codec.encode(transition))

    def add_letter(self, letter: DeadLetter) -> None:
        """Enter one dead letter."""
        source = letter.source
        place = (source.topic, source.partition, source.offset, letter.field)
        self._enter(self.letters, place, codec.encode(letter))

    def _enter(self, book: dict[Any, bytes], identity: Any, content: bytes) -> None:
        known = book.setdefault(identity, content)
        if known is not content:
            if known == content:
                self.repeats += 1
            else:
                self.conflicts.append(identity)


@dataclass(frozen=True)
class Difference:
    """Written against decided; all empty when the ledgers agree."""

    missing: list[Identity]
    unexplained: list[Identity]
    changed: list[Identity]
    conflicts: list[Identity | Place]

    @property
    def none(self) -> bool:
        """Whether both ledgers say the same."""
        return not (self.missing or self.unexplained or self.changed or self.conflicts)


def compare(decided: Ledger, written: Ledger, done: Mapping[int, int] | None = None) -> Difference:
    """What the written ledger lacks, has too much, or says otherwise.

    ``done``: next offset of each partition that the worker has answered for; what comes from later records may be
    missing. Without it everything must be there.
    """
    ours, theirs = decided.transitions, written.transitions

    def due(identity: Identity) -> bool:
        source = decided.sources[identity]
        return done is None or source.offset < done.get(source.partition, 0)

    return Difference(
        sorted(key for key in ours.keys() - theirs.keys() if due(key)),
        sorted(theirs.keys() - ours.keys()),
        sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]),
        written.conflicts,
    )


def decided(records: Iterable[LogRecord], core: Core, models: VitalsModels | None = None) -> Ledger:
    """The ledger of these records of patient_vitals, each partition from its start and in order.

    ``models`` must have every version that the log names, else it is not what the worker was told.
    """

    return asyncio.run(decide(records, core, models))


async def decide(records: Iterable[LogRecord], core: Core, models: VitalsModels | None = None) -> Ledger:
    """As ``decided``, inside a running event loop."""
    counsel = None if models is None else Inline(models)
    ledger = Ledger()
    logs: dict[int, WardLog] = {}
    for record in records:
        wards = logs.get(record.partition)
        if wards is None:
            wards = logs[record.partition] = WardLog(record.partition, core, record.offset, counsel=counsel)
        effects = await wards.take(record)
        for transition in effects.transitions:
            ledger.add(transition)
        for letter in effects.letters:
            ledger.add_letter(letter)
    return ledger


def written(bootstrap: str) -> Ledger:
    """The ledger in the topics ``alerts`` and ``dead_letters`` of a broker."""
    ledger = Ledger()
    for record in read(bootstrap, ALERTS.name):
        ledger.add(codec.decode(record.value, AlertTransition))
    for record in read(bootstrap, DEAD_LETTERS.name):
        ledger.add_letter(codec.decode(record.value, DeadLetter))
    return ledger


def cuts(bootstrap: str) -> dict[int, int]:
    """The next offset of each partition in its newest cut: all outputs of earlier records are acknowledged."""
    markers = (r for r in read(bootstrap, SNAPSHOTS.name) if r.key == CUT_KEY.encode())
    return {r.partition: codec.decode(r.value, WardSnapshot).next_offset for r in markers}


def audit(bootstrap: str, core: Core, models: VitalsModels | None = None) -> tuple[Ledger, Ledger, Difference]:
    """Decide the broker's whole patient_vitals anew and compare with what was written up to the newest cuts."""
    done = cuts(bootstrap)
    theirs, ours = written(bootstrap), decided(read(bootstrap, VITALS.name), core, models)
    return ours, theirs, compare(ours, theirs, done)


def read(bootstrap: str, topic: str) -> Iterator[LogRecord]:
    """Every record of the topic as it stands now; each partition in order, partitions interleaved.

    Raises Transient when the broker does not answer.
    """
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "ward-ledger", "enable.auto.commit": False, "log_level": 2}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
        bounds = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions}
        at = {p: low for p, (low, high) in bounds.items() if low < high}
        consumer.assign([TopicPartition(topic, p, low) for p, low in at.items()])
        heard = time.monotonic()
        while left := sum(bounds[p][1] - offset for p, offset in at.items()):
            # a short wait: a compacted topic holds fewer records than its offsets promise
            batch = consumer.consume(min(1000, left), timeout=WAIT_S)
            if batch:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_S:
                raise Transient(f"{topic} of {bootstrap} stops at {at}, promised was {bounds}")
            for message in batch:
                if message.error():
                    raise Transient(f"{topic} of {bootstrap}: {message.error()}")
                partition, offset = message.partition(), message.offset()
                if offset < bounds[partition][1]:
                    at[partition] = offset + 1
                    yield LogRecord(topic, partition, offset, message.timestamp()[1], message.key(), message.value())
    except KafkaException as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    finally:
        consumer.close()


def by_ward(records: Iterable[LogRecord]) -> dict[str, list[int]]:
    """Append times of keyed records, per key, in ms: where a ward's scores have gaps."""
    times: defaultdict[str, list[int]] = defaultdict(list)
    for record in records:
        if record.key is not None:
            times[record.key.decode()].append(record.at_ms)
    return {ward: sorted(at) for ward, at in times.items()}
