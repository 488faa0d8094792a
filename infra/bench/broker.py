"""A broker of the bench's own, in a folder that is gone afterwards, and its topics made anew for every run."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from contracts.errors import Transient
from contracts.topology import SNAPSHOTS, TOPICS, VITALS
from infra.bench.backlog import Entry
from infra.site import cache_dir
from infra.stack import Say, Stack

PATIENCE_S: Final = 60.0
QUIET: Final = 2
"""The client's log level: a broker that is stopped at the end is no news."""
POLL_S: Final = 0.05


@contextlib.contextmanager
def own_stack(say: Say) -> Iterator[Stack]:
    """A topology of the bench's own; whatever runs in it is down, and its folder gone, at the end."""
    with tempfile.TemporaryDirectory(prefix="ward-bench-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Path(folder), cache_dir(os.environ), say)
        try:
            yield stack
        finally:
            stack.down()


class Broker:
    """Topics, offsets and bytes of one broker."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._admin = AdminClient({"bootstrap.servers": address, "log_level": QUIET})

    def renew(self) -> None:
        """Every topic of the topology, empty. Records keep the times that their producer gives, and are kept."""
        there = [name for name in self._admin.list_topics(timeout=PATIENCE_S).topics if not name.startswith("__")]
        if there:
            for done in self._admin.delete_topics(there).values():
                done.result(PATIENCE_S)
        self._await(lambda found: not found & set(there))
        made = [NewTopic(t.name, t.partitions, 1, config=_config(t)) for t in TOPICS]
        self._make(made)
        self._await(lambda found: {t.name for t in TOPICS} <= found)

    def _make(self, topics: list[NewTopic]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        left = topics
        while left:
            refused = []
            for topic, done in zip(left, self._admin.create_topics(left).values(), strict=True):
                try:
                    done.result(PATIENCE_S)
                except KafkaException as failure:
                    if time.monotonic() > deadline:
                        raise Transient(f"topic {topic.topic}: {failure}") from failure
                    refused.append(topic)  # its predecessor is still being deleted
            left = refused

    def _await(self, met: Any) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not met(set(self._admin.list_topics(timeout=PATIENCE_S).topics)):
            if time.monotonic() > deadline:
                raise Transient("the broker does not make and delete topics in time")

    def fill(self, records: Iterable[Entry]) -> None:
        """Append them to patient_vitals."""
        producer = Producer(
            {
                "bootstrap.servers": self.address,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 20,
                "compression.type": "lz4",
                "queue.buffering.max.kbytes": 64 * 1024,
                "queue.buffering.max.messages": 0,
                "log_level": QUIET,
            }
        )
        for entry in records:
            while True:
                try:
                    producer.produce(VITALS.name, entry.value, entry.key, entry.partition, timestamp=entry.at_ms)
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
        if producer.flush(PATIENCE_S):
            raise Transient("the broker does not take the backlog")

    def count(self, topic: str, partitions: int) -> int:
        """How many records were ever appended to the topic."""
        wanted = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
        try:
            return sum(done.result(PATIENCE_S).offset for done in self._admin.list_offsets(wanted).values())
        except KafkaException as failure:
            raise Transient(f"the broker does not tell its offsets: {failure}") from failure

    def newest(self, topic: str, partition: int) -> bytes | None:
        """The value of the last record of a partition; None while there is none."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "bench-reader", "log_level": QUIET})
        try:
            where = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(where, timeout=PATIENCE_S)
            if low == high:
                return None
            consumer.assign([TopicPartition(topic, partition, high - 1)])
            message = consumer.poll(PATIENCE_S)
            return None if message is None or message.error() else bytes(message.value())
        finally:
            consumer.close()

    def read(self, topic: str, partitions: Sequence[int]) -> list[bytes]:
        """The values of everything in these partitions of a topic."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": "bench-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": QUIET,
            }
        )
        values: list[bytes] = []
        try:
            consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
            open_ones = set(partitions)
            while open_ones:
                for message in consumer.consume(1000, 1.0):
                    if message.error() is None:
                        values.append(message.value())
                    else:
                        open_ones.discard(message.partition())
        finally:
            consumer.close()
        return values


def _config(topic: Any) -> dict[str, str]:
    if topic is SNAPSHOTS:
        return dict(topic.config)
    return {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}
