"""Frames to Kafka: in order per ward, kept while the broker is away, every delivery counted.

One ``Publisher`` holds one idempotent producer. What the broker has not yet taken waits in the producer's own queue, a
spool bounded by ``spool_mb`` that keeps its order: an outage costs delay, never a frame. A full spool makes ``send``
wait, so the source slows down instead of dropping.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from contracts.codec import encode
from contracts.errors import Misconfigured, Poison, Transient
from contracts.topology import VITALS, Topic, partition_for

if TYPE_CHECKING:
    from contracts.records import VitalsFrame

log = logging.getLogger(__name__)

LINGER_MS: Final = 5
SPOOL_MB: Final = 256
"""About a quarter of an hour of 1,000 beds at one frame a second."""
LARGEST_BYTES: Final = 8 * 1024 * 1024
_AWAY: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE})  # noqa: SLF001 the client's names
_SLICE_S: Final = 0.1


class Publisher:
    """Writes frames to one topic. Not for use by several threads at once.

    ``delivered`` and ``failed`` count acknowledged frames and those that the broker refused for good;
    ``len(publisher)`` is how many wait in the spool. ``stop``, when given and set, ends every wait.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: Topic[Any] = VITALS,
        *,
        spool_mb: int = SPOOL_MB,
        linger_ms: float = LINGER_MS,
        client_id: str = "ward-producer",
        stop: threading.Event | None = None,
    ) -> None:
        self.topic = topic
        self.bootstrap = bootstrap
        self.delivered = 0
        self.failed = 0
        self.last_failure: str | None = None
        self.sent_bytes = 0
        self._stop = stop or threading.Event()
        self._away = False
        self._fatal: str | None = None
        self._partitions: dict[str, int] = {}
        try:
            self._producer = Producer(
                {
                    "bootstrap.servers": bootstrap,
                    "client.id": client_id,
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "lz4",
                    "linger.ms": linger_ms,
                    # the spool: frames wait as long as it takes, within these bounds
                    "message.timeout.ms": 0,
                    "queue.buffering.max.messages": 0,
                    "queue.buffering.max.kbytes": spool_mb * 1024,
                    "message.max.bytes": LARGEST_BYTES,
                    "reconnect.backoff.max.ms": 1000,
                    "retry.backoff.max.ms": 1000,
                    "error_cb": self._on_error,
                },
                logger=log,
            )
        except KafkaException as wrong:
            raise Misconfigured(f"WARD_KAFKA={bootstrap!r}: {wrong.args[0].str()}") from wrong

    def connect(self, timeout_s: float = 30.0) -> None:
        """Wait until the broker answers and the topic is as the topology says.

        Raises Transient when no broker answers in time, Misconfigured when the topic is missing or has another number
        of partitions (wards would land in logs that nobody reads in order).
        """
        try:
            found = self._producer.list_topics(self.topic.name, timeout=timeout_s).topics[self.topic.name]
        except KafkaException as failure:
            raise Transient(
                f"no Kafka broker at {self.bootstrap} ({failure.args[0].str()}): start one with `ward up kafka` "
                "or set WARD_KAFKA"
            ) from failure
        if found.error is not None:
            raise Misconfigured(
                f"topic {self.topic.name} at {self.bootstrap}: {found.error.str()}; `ward up topics` makes it"
            )
        if len(found.partitions) != self.topic.partitions:
            raise Misconfigured(
                f"topic {self.topic.name} has {len(found.partitions)} partitions, the topology says "
                f"{self.topic.partitions}: make it anew or change the topology"
            )

    def publish(self, frame: VitalsFrame) -> None:
        """Send one frame under its ward's key. Failures as ``send``."""
        self.send(frame.ward, encode(frame))

    def send(self, key: str, value: bytes | None, partition: int | None = None) -> None:
        """Send bytes under ``key``, by default to the key's own partition. Waits while the spool is full.

        Raises Transient when the wait is ended by ``stop`` or the producer is beyond repair, Poison for a value that
        no broker would take.
        """
        if partition is None:
            partition = self._partitions.get(key)
            if partition is None:
                partition = self._partitions[key] = partition_for(key, self.topic.partitions)
        while True:
            if self._fatal:
                raise Transient(f"the producer cannot go on: {self._fatal}; start this process again")
            try:
                self._producer.produce(self.topic.name, value, key.encode(), partition, on_delivery=self._on_delivery)
            except BufferError:
                self._producer.poll(_SLICE_S)
                if self._stop.is_set():
                    raise Transient(f"stopped with a full spool of {len(self)} frames") from None
            except KafkaException as wrong:
                if wrong.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise Poison("too_large", f"{len(value or b'')} bytes; at most {LARGEST_BYTES}") from wrong
                raise Transient(f"the producer refuses a frame: {wrong.args[0].str()}") from wrong
            else:
                break
        self.sent_bytes += len(value or b"")
        self._producer.poll(0)

    def poll(self) -> None:
        """Serve delivery reports; call it now and then when nothing is sent."""
        self._producer.poll(0)

    def flush(self, timeout_s: float = 10.0) -> int:
        """Wait until all is delivered, at most ``timeout_s``; how many frames are left undelivered."""
        left: int = self._producer.flush(timeout_s)
        if left:
            log.warning("%d frames undelivered after %.0f s", left, timeout_s)
        return left

    def __len__(self) -> int:
        return len(self._producer)

    def __bool__(self) -> bool:
        return True

    def _on_delivery(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self.delivered += 1
            if self._away:
                self._away = False
                log.info("the broker is back; %d frames waited", len(self) + 1)
            return
        self.failed += 1
        self.last_failure = error.str()
        if self.failed & (self.failed - 1) == 0:  # 1, 2, 4, 8...: loud at first, never a flood
            log.error("frame for %s not delivered: %s (%d so far)", message.key(), error.str(), self.failed)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error.str()
        elif error.code() in _AWAY:
            if not self._away:
                self._away = True
                log.warning("the broker is away (%s); frames wait in the spool", error.str())
        else:
            log.warning("kafka: %s", error.str())
