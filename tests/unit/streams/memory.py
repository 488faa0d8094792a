"""A broker in memory for the shells: ordered, acknowledged at once, and able to die after so many records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from contracts import codec
from contracts.errors import Transient
from contracts.records import (
    SCHEMA_VERSION,
    AlertTransition,
    BedReadings,
    DeadLetter,
    ModelRef,
    Reading,
    ScoreFrame,
    Vital,
    VitalsForecast,
    VitalsFrame,
)
from contracts.topology import ALERTS, CLOCK_KEY, DEAD_LETTERS, FORECASTS, SCORES, SNAPSHOTS, VITALS, partition_for
from models.ward.core import WardCore
from models.ward.policy import load_policy
from streams.agents.vitals import VitalsShell
from streams.backfill import BackFill
from streams.counsel import Counsel
from streams.logreader import LogReader
from streams.metrics import WorkerMetrics
from streams.outbox import Lane, Outbox
from streams.snapshots import Snapshots
from streams.wardlog import LogRecord

START_MS = 1_767_340_800_000
POLICY = load_policy(None)


class MemoryBroker:
    """Topics as lists. ``dies_after`` counts down with each record of a worker; at zero nothing more is written."""

    def __init__(self) -> None:
        self.topics: defaultdict[tuple[str, int], list[LogRecord]] = defaultdict(list)
        self.now_ms = START_MS
        self.dies_after: int | None = None
        self.reads: list[tuple[int, int, int]] = []
        self.champions: tuple[ModelRef, ...] = ()

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> LogRecord:
        records = self.topics[topic, partition]
        record = LogRecord(topic, partition, len(records), self.now_ms, key, value)
        records.append(record)
        return record

    def frame(self, frame: VitalsFrame) -> LogRecord:
        key = frame.ward.encode()
        return self.append(VITALS.name, partition_for(frame.ward, VITALS.partitions), key, codec.encode(frame))

    def tick(self, partition: int) -> LogRecord:
        frame = VitalsFrame(
            version=SCHEMA_VERSION,
            ward=CLOCK_KEY,
            gateway=CLOCK_KEY,
            seq=0,
            at_ms=self.now_ms,
            models=self.champions,
        )
        return self.append(VITALS.name, partition, CLOCK_KEY.encode(), codec.encode(frame))

    def log(self, partition: int) -> list[LogRecord]:
        return self.topics[VITALS.name, partition]

    def transitions(self) -> list[AlertTransition]:
        return [codec.decode(r.value, AlertTransition) for r in self._all(ALERTS.name)]

    def letters(self) -> list[DeadLetter]:
        return [codec.decode(r.value, DeadLetter) for r in self._all(DEAD_LETTERS.name)]

    def scores(self) -> list[LogRecord]:
        return self._all(SCORES.name)

    def forecasts(self) -> list[VitalsForecast]:
        return [codec.decode(r.value, VitalsForecast) for r in self._all(FORECASTS.name)]

    def outlooks(self) -> list[ScoreFrame]:
        """The score frames in which models speak."""
        frames = (codec.decode(r.value, ScoreFrame) for r in self.scores())
        return [frame for frame in frames if frame.outlooks]

    def _all(self, topic: str) -> list[LogRecord]:
        return [r for (name, _), records in sorted(self.topics.items()) if name == topic for r in records]


class MemoryOutbox(Outbox):
    """Writes into the memory broker; a dead worker's records go nowhere and nothing of it settles."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(_no_producer, lambda reason: None)
        self.broker = broker

    async def put(
        self,
        lane: Lane,
        topic: str,
        key: bytes | None,
        value: bytes,
        partition: int | None = None,
        acked: Callable[[Any], None] | None = None,
    ) -> None:
        if self.broker.dies_after is not None:
            if self.broker.dies_after <= 0:
                raise Transient("the worker is dead")
            self.broker.dies_after -= 1
        record = self.broker.append(topic, 0 if partition is None else partition, key, value)
        if acked is not None:
            acked(record)


def _no_producer() -> Any:
    raise AssertionError("the memory outbox has no producer")


class MemoryReader(LogReader):
    """Reads spans of the memory broker."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__("nowhere:0")
        self.broker = broker

    async def bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        return {p: (0, len(self.broker.topics[topic, p])) for p in partitions}

    async def span(self, topic: str, partition: int, start: int, stop: int) -> AsyncIterator[list[LogRecord]]:
        if topic == VITALS.name:
            self.broker.reads.append((partition, start, stop))
        for at in range(start, stop, 3):
            yield self.broker.topics[topic, partition][at : min(at + 3, stop)]

    async def close(self) -> None:
        """Nothing is open."""


class Worker:
    """The shell over a memory broker, as ``streams.app`` wires it over Kafka."""

    def __init__(
        self, broker: MemoryBroker, poison_limit: int = 1000, core: Any = None, counsel: Counsel | None = None
    ) -> None:
        self.broker = broker
        self.halts: list[str] = []
        core = WardCore(POLICY) if core is None else core
        self.outbox = MemoryOutbox(broker)
        self.reader = MemoryReader(broker)
        self.snapshots = Snapshots(core, self.outbox, self.reader, clock=lambda: broker.now_ms / 1000)
        self.metrics = WorkerMetrics()
        self.backfill = BackFill(core, self.outbox, self.reader, self.metrics, wall=lambda: broker.now_ms / 1000)
        self.shell = VitalsShell(
            core,
            self.outbox,
            self.snapshots,
            self.reader,
            self.metrics,
            self.halts.append,
            poison_limit,
            counsel,
            self.backfill,
        )

    def start(self, *partitions: int) -> Worker:
        self.shell.assigned(partitions)
        return self

    async def run(self, records: Iterable[LogRecord]) -> None:
        for record in records:
            await self.shell.handle(record)


def frame(ward: str, second: int, heart_rate: float = 72.0, patient: str = "p1") -> VitalsFrame:
    """One bed with one pulse, at a second after the start."""
    at_ms = START_MS + second * 1000
    readings = (Reading(vital=Vital.HEART_RATE, value=heart_rate), Reading(vital=Vital.SPO2, value=97.0))
    beds = (BedReadings(bed=f"{ward}-01", patient=f"{ward}-{patient}", readings=readings),)
    return VitalsFrame(version=SCHEMA_VERSION, ward=ward, gateway=f"{ward}-gw", seq=second, at_ms=at_ms, beds=beds)


def two_wards_of_one_partition() -> tuple[str, str, int]:
    """Names of two wards that share a partition, and that partition."""
    first = "W1"
    partition = partition_for(first, VITALS.partitions)
    second = next(w for n in range(2, 999) if partition_for(w := f"W{n}", VITALS.partitions) == partition)
    return first, second, partition


def snapshots(broker: MemoryBroker, partition: int) -> list[LogRecord]:
    """The snapshot records of a partition."""
    return broker.topics[SNAPSHOTS.name, partition]


def stormy_log(broker: MemoryBroker, seconds: int) -> int:
    """Fill one partition's log: two wards, one appearing late, alarms coming and going, ticks; the partition."""
    first, second, partition = two_wards_of_one_partition()
    for n in range(seconds):
        broker.now_ms = START_MS + n * 1000
        broker.frame(frame(first, n, 180.0 if n % 40 > 15 else 72.0))
        if n >= seconds // 3:
            broker.frame(frame(second, n, 190.0 if n % 30 > 12 else 80.0))
        broker.tick(partition)
    return partition


Check = Callable[[], Awaitable[None]]
