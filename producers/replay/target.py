"""Writes records as they were into fresh topics: bytes, key, headers, partition, order, time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from contracts.errors import Poison, Transient
from producers.replay import source
from producers.replay.merge import Message
from producers.replay.source import SILENCE_S, Log

log = logging.getLogger(__name__)

LARGEST_BYTES: Final = 32 * 1024 * 1024
SPOOL_MB: Final = 64
_SLICE_S: Final = 0.1
_NOTICE_MS: Final = 5000
"""The client sends again only after so long: time enough to notice, and not to."""
_SETTLED_S: Final = 0.5
"""Between two looks at the target: nothing else tells that what a killed process had on its way has arrived."""
_ASK_S: Final = 10.0


class Disturbed(Transient):
    """The connection broke while records were on their way: nobody but the target knows which have arrived."""


class Writer:
    """One idempotent producer: what a partition of the target holds is always what was sent first, whatever dies when.

    A broker that starts again forgets producers whose records are older than a day, by the times in the records; what
    was on its way would then be doubled. So a broken connection ends the writer (Disturbed) before it sends again.
    ``sent`` counts records handed over, ``acknowledged`` those that the broker has. Not for several threads at once.
    """

    def __init__(self, bootstrap: str, linger_ms: float, clock: Callable[[], float] = time.monotonic) -> None:
        from confluent_kafka import Producer

        self.sent = 0
        self.sent_bytes = 0
        self._bootstrap, self._clock = bootstrap, clock
        self._failure: str | None = None
        self._disturbance: str | None = None
        self._moved = (0, clock())
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "ward-replay",
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "max.in.flight": 1,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": linger_ms,
                "message.timeout.ms": 0,
                "queue.buffering.max.messages": 0,
                "queue.buffering.max.kbytes": SPOOL_MB * 1024,
                "message.max.bytes": LARGEST_BYTES,
                "reconnect.backoff.ms": _NOTICE_MS,
                "reconnect.backoff.max.ms": _NOTICE_MS,
                "retry.backoff.ms": _NOTICE_MS,
                "retry.backoff.max.ms": _NOTICE_MS,
                "delivery.report.only.error": True,
                "on_delivery": self._on_failure,
                "error_cb": self._on_error,
                "log_level": 2,
            },
            logger=log,
        )

    @property
    def acknowledged(self) -> int:
        """Records that the broker has taken."""
        return self.sent - len(self._producer)

    def send(self, topic: str, partition: int, message: Message, value: bytes | None, at_ms: int) -> None:
        """Hand over one record. Waits while the spool is full; raises as ``watch``, and Poison for one too large."""
        from confluent_kafka import KafkaError, KafkaException

        while True:
            try:
                self._producer.produce(
                    topic, value, message.key, partition, timestamp=at_ms, headers=message.headers or None
                )
            except BufferError:
                self._producer.poll(_SLICE_S)
                self.watch()
            except KafkaException as wrong:
                if wrong.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise Poison("too_large", f"{message.size} bytes; at most {LARGEST_BYTES}") from wrong
                raise Transient(f"the producer refuses a record: {wrong.args[0].str()}") from wrong
            else:
                break
        self.sent += 1
        self.sent_bytes += message.size

    def drop(self) -> None:
        """Forget what has not arrived; the writer is of no more use."""
        self._producer.purge()

    def watch(self) -> None:
        """Raise Disturbed for a broken connection, Transient for a record refused for good, or none taken for long."""
        self._producer.poll(0)
        if self._disturbance is not None:
            raise Disturbed(f"the broker at {self._bootstrap} went away: {self._disturbance}")
        if self._failure is not None:
            raise Transient(f"the broker at {self._bootstrap} refuses: {self._failure}")
        done, now_s = self.acknowledged, self._clock()
        if done != self._moved[0] or not len(self._producer):
            self._moved = (done, now_s)
        elif now_s - self._moved[1] > SILENCE_S:
            raise Transient(f"the broker at {self._bootstrap} has taken no record for {SILENCE_S:.0f} s")

    def flush(self) -> None:
        """Wait until the broker has everything. Raises as ``watch``."""
        while self._producer.flush(_SLICE_S):
            self.watch()
        self.watch()

    def _on_failure(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failure = error.str()

    def _on_error(self, error: Any) -> None:
        from confluent_kafka import KafkaError

        if error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):  # noqa: SLF001 the client's names
            if len(self._producer):
                self._disturbance = error.str()
        elif error.fatal():
            self._failure = error.str()


def held(bootstrap: str, logs: Sequence[Log], settle: bool) -> dict[Log, int]:
    """How many records each partition of the target holds; ``settle`` waits until what a killed process sent last is
    there too.

    Raises Transient when the broker does not answer or records of the target have been deleted.
    """
    seen = source.spans(bootstrap, logs, None, None)
    while settle:
        time.sleep(_SETTLED_S)
        again = source.spans(bootstrap, logs, None, None)
        if again == seen:
            break
        seen = again
    for one, (first, _) in seen.items():
        if first:
            raise Transient(f"topic {one.topic} has lost its first {first} records; make the replay anew")
    return {one: end for one, (_, end) in seen.items()}


def last_records(bootstrap: str, ends: Mapping[Log, int]) -> dict[Log, tuple[int, bytes | None]]:
    """Time and key of the last record of each partition that holds any."""
    from confluent_kafka import TopicPartition

    wanted = {one for one, end in ends.items() if end}
    found: dict[Log, tuple[int, bytes | None]] = {}
    if not wanted:
        return found
    reader = source.consumer(bootstrap)
    until_s = time.monotonic() + SILENCE_S
    try:
        reader.assign([TopicPartition(*one, ends[one] - 1) for one in wanted])
        while wanted - found.keys():
            message = reader.poll(0.5)
            if message is not None and message.error() is None:
                found[Log(message.topic(), message.partition())] = (message.timestamp()[1], message.key())
            elif time.monotonic() > until_s:
                raise Transient(f"the broker at {bootstrap} does not give the last records of the target")
    finally:
        reader.close()
    return found
