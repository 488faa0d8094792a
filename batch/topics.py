"""The topics as they stand in Kafka now: their offsets, and their records by offset, beside any consumer group."""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final

from contracts.errors import Transient

WAIT_S: Final = 10.0
SILENCE_S: Final = 30.0
BATCH: Final = 500

Headers = Sequence[tuple[str, bytes | None]]


class Topics:
    """A reader of topics. Raises Transient when the broker does not answer."""

    def __init__(self, bootstrap: str) -> None:
        from confluent_kafka import Consumer

        self.bootstrap = bootstrap
        self._consumer: Any = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "none",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": False,
                "log_level": 2,
                "fetch.message.max.bytes": 8 * 1024 * 1024,
                "queued.max.messages.kbytes": 32 * 1024,
            }
        )

    def __enter__(self) -> Topics:
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        self._consumer.close()

    def bounds(self, names: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
        """(first offset still there, next offset to be written) of each partition of those topics that exist."""
        from confluent_kafka import KafkaException, TopicPartition

        try:
            known = self._consumer.list_topics(timeout=WAIT_S).topics
            return {
                (name, number): self._consumer.get_watermark_offsets(TopicPartition(name, number), timeout=WAIT_S)
                for name in names
                if name in known
                for number in known[name].partitions
            }
        except KafkaException as away:
            raise Transient(f"Kafka at {self.bootstrap} does not answer: {away}; `./ward up kafka` starts it") from away

    def records(self, topic: str, partition: int, first: int, until: int) -> Iterator[tuple[int, int]]:
        """(offset, digest) of every record of [first, until), in order. Offsets without a record are passed over."""
        from confluent_kafka import KafkaException, TopicPartition

        if first >= until:
            return
        here = TopicPartition(topic, partition, first)
        try:
            self._consumer.assign([here])
            heard = time.monotonic()
            while self._position(here, first) < until:
                for message in self._consumer.consume(BATCH, 0.5):
                    heard = time.monotonic()
                    if message.error() is not None:
                        raise Transient(f"{topic}/{partition}: {message.error()}")
                    if message.offset() >= until:
                        return
                    yield (
                        message.offset(),
                        digest(message.key(), message.value(), message.headers() or (), message.timestamp()[1]),
                    )
                if time.monotonic() - heard > SILENCE_S:
                    raise Transient(f"{topic}/{partition} gives nothing from {self._position(here, first)} on")
        except KafkaException as away:
            raise Transient(f"Kafka at {self.bootstrap} does not answer: {away}") from away
        finally:
            self._consumer.unassign()

    def _position(self, here: Any, first: int) -> int:
        at: int = self._consumer.position([here])[0].offset
        return max(at, first)


def digest(key: bytes | None, value: bytes | None, headers: Headers, at_ms: int) -> int:
    """64 bits of the sha256 over a whole record: key, value, headers, time. Absent and empty are told apart."""
    found = hashlib.sha256(struct.pack("<q", at_ms))
    for part in (key, value, *(part for name, content in headers for part in (name.encode(), content))):
        found.update(struct.pack("<q", -1 if part is None else len(part)))
        found.update(part or b"")
    return int.from_bytes(found.digest()[:8], "little")
