"""Reads the spans of many partitions into a merge, holding back those that run ahead."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from contracts.errors import Transient
from producers.replay.merge import Merge, Message
from producers.replay.topics import NotFound

if TYPE_CHECKING:
    from confluent_kafka import Consumer

log = logging.getLogger(__name__)

SILENCE_S: Final = 30.0
"""So long the broker may be away before a replay gives up, to be resumed later."""
AHEAD_BYTES: Final = 256 * 1024 * 1024
"""What all logs together may hold in memory, about; each its share."""
_SHARE_BYTES: Final = 4 * 1024 * 1024
_BATCH: Final = 1000
_ASK_S: Final = 10.0
_LEADER_S: Final = 15.0


class Log(NamedTuple):
    """A partition of a topic that is read."""

    topic: str
    partition: int


Span = tuple[int, int]
"""Offsets [start, end)."""
Keep = Callable[[Message], bool]


def consumer(bootstrap: str) -> Consumer:
    """A consumer without a group that tells where a partition ends, and never jumps by itself."""
    from confluent_kafka import Consumer

    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "ward-replay",
        "client.id": "ward-replay",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "queued.max.messages.kbytes": 32 * 1024,
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 1000,
        "max.poll.interval.ms": 86_400_000,  # a pause may be long
        "reconnect.backoff.max.ms": 1000,
        "log_level": 2,
    }
    return Consumer(settings, logger=log)


def spans(bootstrap: str, logs: Sequence[Log], start_ms: int | None, end_ms: int | None) -> dict[Log, Span]:
    """The offsets of the log times [start_ms, end_ms) in each partition: from the first record at or after its start
    up to the first one at or after its end, as the log stands now. Raises Transient when the broker does not answer.
    """
    from confluent_kafka import KafkaException

    reader = consumer(bootstrap)
    until_s = time.monotonic() + _LEADER_S
    try:
        while True:
            try:
                return _spans(reader, logs, start_ms, end_ms)
            except KafkaException as failure:
                error = failure.args[0]
                if error.code() not in _leaderless() or time.monotonic() > until_s:
                    raise Transient(f"the broker at {bootstrap} does not tell its offsets: {error.str()}") from failure
                reader.poll(0.1)
    finally:
        reader.close()


def _spans(reader: Consumer, logs: Sequence[Log], start_ms: int | None, end_ms: int | None) -> dict[Log, Span]:
    from confluent_kafka import TopicPartition

    bounds = {
        one: reader.get_watermark_offsets(TopicPartition(one.topic, one.partition), timeout=_ASK_S) for one in logs
    }

    def at(moment_ms: int | None, otherwise: int) -> dict[Log, int]:
        if moment_ms is None:
            return {one: bounds[one][otherwise] for one in logs}
        asked = [TopicPartition(one.topic, one.partition, moment_ms) for one in logs]
        found = {Log(tp.topic, tp.partition): tp.offset for tp in reader.offsets_for_times(asked, timeout=_ASK_S)}
        return {one: found[one] if found[one] >= 0 else bounds[one][1] for one in logs}

    first, last = at(start_ms, 0), at(end_ms, 1)
    return {one: (first[one], max(first[one], min(last[one], bounds[one][1]))) for one in logs}


def _leaderless() -> frozenset[int]:
    """What a broker says of a topic that was made a moment ago, or while it starts."""
    from confluent_kafka import KafkaError

    return frozenset(
        {
            KafkaError.NOT_LEADER_FOR_PARTITION,
            KafkaError.LEADER_NOT_AVAILABLE,
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 the client's name
        }
    )


class Filling(Protocol):
    """Fills a merge."""

    left: dict[int, Message]
    """The last message that was left out, of each log."""

    @property
    def leaving(self) -> bool:
        """Whether there are messages still to be left out."""

    def fill(self, wait_s: float) -> None:
        """Take what has come; wait up to ``wait_s`` when something must be shown first."""

    def close(self) -> None:
        """Leave the source."""


class Sieve:
    """Lets through what ``keep`` keeps, but for the first so many (``leave``) of each log."""

    def __init__(self, keep: Keep | None, leave: Mapping[int, int] | None) -> None:
        self.left: dict[int, Message] = {}
        """The last message that was left out, of each log."""
        self._keep = keep
        self._leave = {log: n for log, n in (leave or {}).items() if n}

    @property
    def leaving(self) -> bool:
        """Whether there are messages still to be left out."""
        return any(self._leave.values())

    def passes(self, message: Message) -> bool:
        """Whether it goes on."""
        if self._keep is not None and not self._keep(message):
            return False
        if self._leave.get(message.log):
            self._leave[message.log] -= 1
            self.left[message.log] = message
            return False
        return True


class Reader(Sieve):
    """Fills ``merge`` with the messages of ``wanted`` (span of each numbered log) that ``keep`` lets through.

    ``leave`` says how many kept messages of a log to leave out at first. Raises Transient when the broker stays away,
    NotFound when the log no longer holds what was promised.
    """

    def __init__(
        self,
        bootstrap: str,
        logs: Sequence[Log],
        wanted: Mapping[int, Span],
        merge: Merge,
        keep: Keep | None = None,
        leave: Mapping[int, int] | None = None,
        ahead_bytes: int = AHEAD_BYTES,
    ) -> None:
        from confluent_kafka import TopicPartition

        super().__init__(keep, leave)
        self._bootstrap, self._merge = bootstrap, merge
        # to read on after a pause takes the client a moment: a share must outlast it
        self._most = max(ahead_bytes // max(len(wanted), 1), min(_SHARE_BYTES, ahead_bytes))
        self._number = {one: number for number, one in enumerate(logs)}
        self._end = {number: end for number, (_, end) in wanted.items()}
        self._next = {number: start for number, (start, _) in wanted.items()}
        self._place = {number: TopicPartition(*logs[number]) for number in wanted}
        self._held: set[int] = set()
        self._heard_s = time.monotonic()
        self._consumer = consumer(bootstrap)
        begin = []
        for number, (start, end) in wanted.items():
            if start < end:
                begin.append(TopicPartition(*logs[number], start))
            else:
                merge.end(number)
        self._consumer.assign(begin)

    def fill(self, wait_s: float) -> None:
        """Take what has come; wait up to ``wait_s`` when a log must show something first."""
        self._let_go()
        bare = self._merge.bare
        came = self._come(wait_s if bare else 0.0)
        for message in came:
            self._take(message)
        if came or not bare:
            self._heard_s = time.monotonic()
        elif time.monotonic() - self._heard_s > SILENCE_S:
            raise Transient(f"the broker at {self._bootstrap} has been silent for {SILENCE_S:.0f} s")

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _come(self, wait_s: float) -> list[Any]:
        from confluent_kafka import KafkaException

        try:
            came: list[Any] = self._consumer.consume(_BATCH, 0)
            if not came and wait_s and (one := self._consumer.poll(wait_s)) is not None:
                came = [one, *self._consumer.consume(_BATCH, 0)]
        except KafkaException as failure:
            raise Transient(f"the broker at {self._bootstrap}: {failure.args[0].str()}") from failure
        return came

    def _take(self, message: Any) -> None:
        number = self._number[Log(message.topic(), message.partition())]
        if message.error() is not None:
            self._hear(number, message)
            return
        offset = message.offset()
        if not self._merge.is_open(number) or offset < self._next[number]:
            return
        if offset >= self._end[number]:
            self._finish(number)
            return
        self._next[number] = offset + 1
        got = Message(number, offset, message.timestamp()[1], message.key(), message.value(), message.headers())
        if self.passes(got):
            self._merge.add(got)
        if offset + 1 >= self._end[number]:
            self._finish(number)
        elif self._merge.held(number) > self._most and number not in self._held:
            self._held.add(number)
            self._consumer.pause([self._place[number]])

    def _hear(self, number: int, message: Any) -> None:
        from confluent_kafka import KafkaError

        code = message.error().code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 the client's name
            # a span may end in offsets that hold no record
            if message.offset() >= self._end[number]:
                self._finish(number)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
            raise NotFound(
                f"{message.topic()} partition {message.partition()} no longer holds offset {self._next[number]}: "
                "its retention has passed; begin later"
            )
        elif code == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise NotFound(f"topic {message.topic()} is gone")
        else:
            log.warning("kafka: %s", message.error().str())

    def _finish(self, number: int) -> None:
        if self._merge.is_open(number):
            self._merge.end(number)
            self._consumer.incremental_unassign([self._place[number]])

    def _let_go(self) -> None:
        if self._held:
            low = [n for n in self._held if self._merge.held(n) < self._most * 3 // 4]
            if low:
                self._held.difference_update(low)
                reading = [self._place[n] for n in low if self._merge.is_open(n)]
                if reading:
                    self._consumer.resume(reading)
