"""The backlog that the rivals drain: the same bytes for the same seed, about one bed in a hundred alarming."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from contracts import codec
from contracts.records import SCHEMA_VERSION, AlertTransition, VitalsFrame
from contracts.topology import ALERTS, CLOCK_KEY, PARTITIONS, SCORES, VITALS, partition_for
from infra.bench.work import Partition
from models.ward.core import WardCore
from models.ward.policy import load_policy
from producers.scenario import Event, Kind, Script
from producers.ward import Hospital

START_MS: Final = 1_767_340_800_000
FRAME_AFTER_MS: Final = 40
TICK_AFTER_MS: Final = 500
SCRIPT: Final = Script(
    name="bench",
    about="one bed in a hundred alarms, of the patient or of the equipment",
    lenient=True,
    event=(
        Event(kind=Kind.DESATURATION, share=0.005, at_s=10, for_s=60),
        Event(kind=Kind.ARRHYTHMIA, share=0.003, at_s=20, for_s=40),
        Event(kind=Kind.SILENT_BED, share=0.001, at_s=15, for_s=30),
        Event(kind=Kind.LEAD_OFF, share=0.001, at_s=25, for_s=30),
    ),
)

Identity = tuple[str, int]
"""(alert id, seq): what a transition is."""


class Entry(NamedTuple):
    """One record of the log, with the log's own time of it."""

    partition: int
    at_ms: int
    key: bytes
    value: bytes


@dataclass(frozen=True)
class Backlog:
    """Records in the order in which they are appended. ``frames`` have beds, the others are clock ticks.

    ``ends``: the next offset of each partition once all of it is appended.
    """

    frame_beds: int
    records: tuple[Entry, ...]
    ends: tuple[int, ...]
    frames: int
    bed_readings: int
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return sum(len(entry.value) for entry in self.records)


@dataclass(frozen=True)
class Answer:
    """What the backlog must lead to, by the core alone in this process; ``state_bytes`` of all wards at the end."""

    identities: frozenset[Identity]
    digest: str
    scores: int
    state_bytes: int


def make(beds: int, seconds: int, frame_beds: int, seed: int) -> Backlog:
    """The frames of a simulated hospital for so many seconds, and the clock's tick a second in every partition."""
    hospital = Hospital(beds, seed=seed, script=SCRIPT, start_ms=START_MS, frame_beds=frame_beds)
    records: list[Entry] = []
    frames = bed_readings = 0
    for entry, spoken in entries(hospital, seconds):
        records.append(entry)
        frames += entry.key != CLOCK_KEY.encode()
        bed_readings += spoken
    digest = hashlib.sha256()
    for entry in records:
        digest.update(b"%d %d " % (entry.partition, entry.at_ms) + entry.key + entry.value)
    ends = Counter(entry.partition for entry in records)
    return Backlog(
        frame_beds,
        tuple(records),
        tuple(ends[partition] for partition in range(PARTITIONS)),
        frames,
        bed_readings,
        digest.hexdigest(),
    )


def entries(hospital: Hospital, seconds: int) -> Iterator[tuple[Entry, int]]:
    """Its records in the order in which they are appended, each with how many beds speak in it."""
    partitions: dict[str, int] = {}
    for second in range(seconds):
        for frame in hospital.tick():
            partition = partitions.get(frame.ward)
            if partition is None:
                partition = partitions[frame.ward] = partition_for(frame.ward, PARTITIONS)
            at_ms = START_MS + second * 1000 + FRAME_AFTER_MS
            yield Entry(partition, at_ms, frame.ward.encode(), codec.encode(frame)), len(frame.beds)
        at_ms = START_MS + second * 1000 + TICK_AFTER_MS
        tick = codec.encode(
            VitalsFrame(version=SCHEMA_VERSION, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=second, at_ms=at_ms)
        )
        for partition in range(PARTITIONS):
            yield Entry(partition, at_ms, CLOCK_KEY.encode(), tick), 0


def answer(backlog: Backlog) -> Answer:
    """Work the backlog off in this process, without a broker."""
    core = WardCore(load_policy())
    partitions = [Partition(core, number) for number in range(PARTITIONS)]
    offsets = [0] * PARTITIONS
    alerts: list[bytes] = []
    scores = 0
    for entry in backlog.records:
        offset = offsets[entry.partition]
        offsets[entry.partition] = offset + 1
        for output in partitions[entry.partition].take(VITALS.name, offset, entry.at_ms, entry.value):
            if output.topic == SCORES.name:
                scores += 1
            elif output.topic == ALERTS.name:
                alerts.append(output.value)
    state_bytes = sum(len(core.dump(state)) for partition in partitions for state in partition.wards.values())
    return Answer(*identify(alerts, backlog), scores, state_bytes)


def identify(alerts: list[bytes], backlog: Backlog) -> tuple[frozenset[Identity], str]:
    """The identities of the transitions that the backlog led to, and a digest of their distinct bytes.

    What comes from records after it is left out: our worker goes on writing its clock's ticks into the log.
    """
    decoded = [(codec.decode(raw, AlertTransition), raw) for raw in alerts]
    found = sorted(
        {(t.alert_id, t.seq, raw) for t, raw in decoded if t.source.offset < backlog.ends[t.source.partition]}
    )
    digest = hashlib.sha256(b"\n".join(raw for _, _, raw in found)).hexdigest()
    return frozenset((ident, seq) for ident, seq, _ in found), digest
