"""The plain confluent-kafka loop that a careful team writes: batches in, outputs acknowledged, then a commit by hand.

Its durable form writes every changed ward to the compacted snapshot topic and, after a restart, reads the state back
and goes on from there, as the worker does.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from contracts import codec
from contracts.errors import Transient
from contracts.records import SCHEMA_VERSION, WardSnapshot
from contracts.topology import SNAPSHOTS, VITALS
from infra.bench.rivals.job import COMMIT_EVERY_S, FETCH_MAX, LINGER_MS, Job
from infra.bench.work import Partition
from models.ward.core import WardCore, WardState
from models.ward.policy import load_policy

BATCH: Final = 500
WAIT_S: Final = 0.1


class Loop:
    """One consumer, one producer, the state of the partitions it has."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.core = WardCore(load_policy())
        self.partitions: dict[int, Partition] = {}
        self.next_offset: dict[int, int] = {}
        self.written: dict[tuple[int, str], WardState] = {}
        self.lost: str | None = None
        self.stopping = False
        self.consumer = Consumer(
            {
                "bootstrap.servers": job.kafka,
                "group.id": job.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 2000,
                "fetch.message.max.bytes": FETCH_MAX,
                "check.crcs": True,
            }
        )
        self.producer = Producer(
            {
                "bootstrap.servers": job.kafka,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": LINGER_MS,
                "compression.type": "lz4",
                "on_delivery": self._delivered,
            }
        )

    def run(self) -> None:
        """Until stopped."""
        self.consumer.subscribe([VITALS.name], on_assign=self._assigned, on_revoke=self._revoked)
        committed = saved = time.monotonic()
        while not self.stopping:
            for message in self.consumer.consume(BATCH, WAIT_S):
                self._take(message)
            now = time.monotonic()
            if now - committed >= COMMIT_EVERY_S:
                save = self.job.durable and now - saved >= self.job.snapshot_every_s
                self._settle(save)
                committed = now
                saved = now if save else saved
        self._settle(self.job.durable)
        self.consumer.close()

    def _take(self, message: Message) -> None:
        if message.error():
            raise Transient(f"the log cannot be read: {message.error()}")
        partition, offset = message.partition(), message.offset()
        if partition is None or offset is None:
            raise Transient("a record without a place")
        for output in self.partitions[partition].take(VITALS.name, offset, message.timestamp()[1], message.value()):
            self._produce(output.topic, output.key, output.value)
        self.next_offset[partition] = offset + 1

    def _produce(self, topic: str, key: bytes, value: bytes, partition: int = -1) -> None:
        while True:
            try:
                self.producer.produce(topic, value, key, partition)
            except BufferError:
                self.producer.poll(WAIT_S)
            else:
                break
        self.producer.poll(0)

    def _settle(self, save: bool) -> None:
        """Outputs acknowledged, then the state, then the offsets."""
        self._flush()
        if save:
            for number, partition in self.partitions.items():
                self._save(number, partition)
            self._flush()
        if self.next_offset:
            self.consumer.commit(
                offsets=[TopicPartition(VITALS.name, p, at) for p, at in self.next_offset.items()], asynchronous=False
            )

    def _save(self, number: int, partition: Partition) -> None:
        for ward, state in partition.wards.items():
            if self.written.get((number, ward)) is not state:
                snapshot = WardSnapshot(
                    version=SCHEMA_VERSION,
                    ward=ward,
                    partition=number,
                    next_offset=self.next_offset.get(number, 0),
                    at_ms=time.time_ns() // 1_000_000,
                    state=self.core.dump(state),
                )
                self._produce(SNAPSHOTS.name, ward.encode(), codec.encode(snapshot), number)
                self.written[number, ward] = state

    def _flush(self) -> None:
        if self.producer.flush(30.0):
            raise Transient("the broker does not take the outputs")
        if self.lost is not None:
            raise Transient(f"an output was lost: {self.lost}")

    def _delivered(self, error: Any, _message: Message) -> None:
        if error is not None:
            self.lost = str(error)

    # -- partitions --------------------------------------------------------------------------------------------------

    def _assigned(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        committed = consumer.committed(assigned, timeout=30.0)
        for place in committed:
            partition = self.partitions[place.partition] = Partition(self.core, place.partition)
            if self.job.durable:
                snapshots = _read_back(self.job.kafka, place.partition)
                partition.wards = {s.ward: self.core.load(s.state) for s in snapshots}
                partition.own = {s.ward: s.next_offset for s in snapshots}
                # a ward without a snapshot is younger than the oldest one: its records are read again too
                place.offset = min((s.next_offset for s in snapshots), default=0)
            elif place.offset < 0:
                place.offset = 0
        consumer.assign(committed)

    def _revoked(self, _consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._settle(self.job.durable)
        for place in revoked:
            self.partitions.pop(place.partition, None)
            self.next_offset.pop(place.partition, None)


def _read_back(kafka: str, partition: int) -> list[WardSnapshot]:
    """The newest snapshot of each ward of a partition."""
    reader = Consumer({"bootstrap.servers": kafka, "group.id": "bench-reader", "enable.auto.commit": False})
    try:
        place = TopicPartition(SNAPSHOTS.name, partition, 0)
        first, end = reader.get_watermark_offsets(place, timeout=30.0)
        place.offset = first
        reader.assign([place])
        newest: dict[str, WardSnapshot] = {}
        while reader.position([place])[0].offset < end and first < end:
            message = reader.poll(1.0)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            snapshot = codec.decode(message.value(), WardSnapshot)
            newest[snapshot.ward] = snapshot
        return list(newest.values())
    finally:
        reader.close()


def run(job: Job) -> None:
    """Until SIGTERM."""
    loop = Loop(job)

    def stop(_number: int, _frame: object) -> None:
        loop.stopping = True

    handler: Callable[[int, object], None] = stop
    signal.signal(signal.SIGTERM, handler)
    loop.run()
