"""Records of one topic in their order, one at a time, each committed when it is done and not before."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from contracts.codec import decode
from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import ImageResult
from contracts.topology import Topic
from producers.returned_gauges import Gauges

log = logging.getLogger(__name__)

CONNECT_S: Final = 30.0
SESSION_MS: Final = 8000
"""After so long the broker gives a killed process's partitions to the one that was started in its place."""
_SLICE_S: Final = 0.2


class Results:
    """A consumer of one group from the log's beginning, or from what it committed. For one thread.

    Raises Transient when no broker answers, Misconfigured when the topic is missing.
    """

    def __init__(self, bootstrap: str, group: str, topic: Topic[ImageResult], gauges: Gauges) -> None:
        self._topic, self._gauges = topic, gauges
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "client.id": "ward-image-return",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": SESSION_MS // 4,
                "reconnect.backoff.max.ms": 1000,
                "log_level": 2,
            },
            logger=log,
        )
        try:
            found = self._consumer.list_topics(topic.name, timeout=CONNECT_S).topics[topic.name]
        except KafkaException as away:
            self._consumer.close()
            raise Transient(f"no Kafka broker at {bootstrap} ({away.args[0].str()}): `ward up kafka`") from away
        if found.error is not None:
            self._consumer.close()
            raise Misconfigured(f"topic {topic.name} at {bootstrap}: {found.error.str()}; `ward up topics` makes it")
        self._consumer.subscribe([topic.name])

    def next(self, within_s: float) -> tuple[ImageResult | None, Callable[[], None]] | None:
        """The next record and what to call when it is done; None when none came in time.

        A record that no schema fits is None with its call: ``streams.imaging``, which reads the same log, sets it
        aside among the dead letters.
        """
        message = self._consumer.poll(within_s)
        if message is None:
            self._look()
            return None
        if (error := message.error()) is not None:
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 the client's name
                log.warning("kafka: %s", error.str())
            return None
        self._look()
        return self._decoded(message), lambda: self._commit(message)

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """Wait without losing the partitions, which the broker would give away after minutes of silence.

        True when told to stop.
        """
        until_s = time.monotonic() + seconds
        held = self._consumer.assignment()
        self._consumer.pause(held)
        try:
            while (left_s := until_s - time.monotonic()) > 0:
                self._consumer.poll(0)
                if stop.wait(min(left_s, _SLICE_S)):
                    return True
            return stop.is_set()
        finally:
            self._consumer.resume(held)

    def close(self) -> None:
        """Leave the group. Nothing is committed that was not done."""
        self._consumer.close()

    def _decoded(self, message: Message) -> ImageResult | None:
        raw = message.value()
        try:
            return decode(raw, self._topic.record) if raw else None
        except Poison as wrong:
            log.error("a record of %s at %s/%s is none: %s", self._topic.name, *_place(message), wrong.reason)
            return None

    def _commit(self, message: Message) -> None:
        try:
            self._consumer.commit(message=message, asynchronous=False)
        except KafkaException as failed:
            # the partition may have moved: whoever has it now does the result again, which changes nothing
            log.warning("what is done could not be committed: %s", failed.args[0].str())

    def _look(self) -> None:
        """How many records wait, as far as the client knows without asking."""
        waiting = 0
        for place in self._consumer.position(self._consumer.assignment()):
            waiting += self._left(place)
        self._gauges.waiting.set(waiting)

    def _left(self, place: TopicPartition) -> int:
        bounds: Any = self._consumer.get_watermark_offsets(place, cached=True)
        if bounds is None or bounds[1] < 0 or place.offset < 0:
            return 0
        return max(0, int(bounds[1]) - int(place.offset))


def _place(message: Message) -> tuple[int | None, int | None]:
    return message.partition(), message.offset()
