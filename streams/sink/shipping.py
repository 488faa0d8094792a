"""Topics into InfluxDB, at least once and never twice: an offset is committed after its points were taken.

Kafka itself is the spool. While InfluxDB is away nothing is committed and little is held in memory; when it is back,
reading goes on from where the last batch ended, however long that is ago.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from contracts import codec, topology
from contracts.errors import Poison, Transient
from contracts.records import Record, ScoreFrame, VitalsForecast
from contracts.settings import Settings
from contracts.topology import Topic
from streams.sink import lines as lined
from streams.sink.gauges import SinkMetrics
from streams.sink.hindsight import Keeper
from streams.sink.writer import Writer

log = structlog.get_logger(__name__)

BATCH_LINES: Final = 5_000
BATCH_S: Final = 1.0
POLL_S: Final = 0.2
POLL_RECORDS: Final = 200
BACK_OFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
BROKER_S: Final = 15.0
SCRAPES_KEPT: Final = 720
"""An hour of the platform's metrics; they come from no topic, so memory is their spool."""

Lines = Callable[[Any], list[str]]


def makers(keeper: Keeper) -> Mapping[str, tuple[Topic[Any], Lines]]:
    """Which topics are read, and what makes points of their records."""
    newest_minute: dict[str, int] = {}

    def scores(frame: ScoreFrame) -> list[str]:
        return lined.of_scores(frame) + keeper.of_scores(frame)

    def forecast(frame: VitalsForecast) -> list[str]:
        minute = frame.now_ms // lined.MINUTE_MS
        if newest_minute.get(frame.ward) == minute:
            return []
        newest_minute[frame.ward] = minute
        keeper.forecast(frame)
        return lined.of_forecast(frame)

    rows: tuple[tuple[Topic[Any], Lines], ...] = (
        (topology.SCORES, scores),
        (topology.FORECASTS, forecast),
        (topology.ALERTS, lined.Answers().of_transition),
        (topology.IMAGE_RESULTS, lined.of_image),
        (topology.IMAGE_REFUSALS, lined.of_image_refusal),
        (topology.IMAGE_FINDINGS, lined.of_finding),
    )
    return {topic.name: (topic, make) for topic, make in rows}


class Shipper:
    """Reads, makes points, has them written, commits; ``run`` until ``stop`` is set.

    It takes every partition itself: no group has to meet before the first point, and a second sink by mistake would
    write the same points.
    """

    def __init__(
        self, settings: Settings, writer: Writer, metrics: SinkMetrics, stop: threading.Event, batch: int = BATCH_LINES
    ) -> None:
        self._settings, self._writer, self._metrics, self._stop, self._batch = settings, writer, metrics, stop, batch
        self._keeper = Keeper(Path(settings.state_dir) / "data" / "sink" if settings.state_dir else None)
        self._makers = makers(self._keeper)
        self._pending: list[str] = []
        self._next: dict[tuple[str, int], int] = {}
        self._since = 0.0
        self.scraped: deque[list[str]] = deque(maxlen=SCRAPES_KEPT)

    def run(self) -> None:
        """Work until told to stop. Raises Transient when no broker answers at first, Misconfigured as the writer."""
        consumer: Any = Consumer(
            {
                "bootstrap.servers": self._settings.kafka,
                "group.id": self._settings.sink_group,
                "client.id": "ward-influx",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": 32_768,
                "max.poll.interval.ms": 86_400_000,  # it owns its partitions by itself, however long InfluxDB is away
                "reconnect.backoff.max.ms": 2_000,
            },
            logger=_quiet(),
        )
        try:
            consumer.assign(self._from_where(consumer))
            self._since = time.monotonic()
            while not self._stop.is_set():
                self.step(consumer)
            self._try_once_more(consumer)
        finally:
            consumer.close()

    def step(self, consumer: Any) -> None:
        """One look at Kafka, and a batch when one is due."""
        for message in consumer.consume(POLL_RECORDS, POLL_S):
            if message.error() is not None:
                self._complain(message.error())
                continue
            self._take(message.topic(), message.partition(), message.offset(), message.value())
            if len(self._pending) >= self._batch:
                self._flush(consumer)
            if self._stop.is_set():
                return
        if time.monotonic() - self._since >= BATCH_S:
            self._flush(consumer)

    def _from_where(self, consumer: Any) -> list[TopicPartition]:
        wanted = [TopicPartition(t.name, p) for t, _ in self._makers.values() for p in range(t.partitions)]
        give_up = time.monotonic() + BROKER_S
        while True:
            try:
                rows = consumer.committed(wanted, timeout=BROKER_S)
                break
            except KafkaException as away:  # a broker that has just started has no coordinator for a moment
                if time.monotonic() > give_up or self._stop.wait(POLL_S):
                    raise Transient(f"no Kafka broker at {self._settings.kafka}: {away}; is it up?") from away
        return [TopicPartition(r.topic, r.partition, r.offset if r.offset >= 0 else OFFSET_BEGINNING) for r in rows]

    def _take(self, topic: str, partition: int, offset: int, value: bytes | None) -> None:
        kind, make = self._makers[topic]
        try:
            record: Record = codec.decode(value, kind.record)
            self._pending += make(record)
        except Poison as bad:
            self._metrics.unreadable.labels(bad.reason).inc()
            log.warning("a record cannot be read", topic=topic, partition=partition, offset=offset, reason=bad.reason)
        self._next[topic, partition] = offset + 1

    def _flush(self, consumer: Any) -> None:
        """Have what is pending taken, however long that needs, then commit; gives up only when told to stop."""
        self._since = time.monotonic()
        while self.scraped:
            self._pending += self.scraped.popleft()
        tries = 0
        while self._pending:
            try:
                self._writer.write(self._pending)
                if tries:
                    log.info("InfluxDB takes points again", after_tries=tries)
                self._pending.clear()
            except Transient as away:
                if tries == 0:
                    log.warning("points wait in Kafka", why=str(away))
                tries += 1
                self._metrics.failing.set(tries)
                if self._stop.wait(BACK_OFF_S[min(tries, len(BACK_OFF_S)) - 1]):
                    return
        self._metrics.failing.set(0)
        if self._commit(consumer):
            self._keeper.keep()

    def _try_once_more(self, consumer: Any) -> None:
        """What is pending when told to stop is written if InfluxDB answers; if not, it is read again another time."""
        try:
            if self._pending:
                self._writer.write(self._pending)
            if self._commit(consumer):
                self._keeper.keep(now=True)
        except Transient as away:
            log.warning("left without the last batch, it is read again", why=str(away))

    def _commit(self, consumer: Any) -> bool:
        """Whether nothing that was taken is uncommitted now."""
        if not self._next:
            return True
        try:
            consumer.commit(
                offsets=[TopicPartition(topic, p, offset) for (topic, p), offset in self._next.items()],
                asynchronous=False,
            )
            self._next.clear()
            return True
        except KafkaException as away:  # the next commit covers these too; until then a restart writes them again
            log.warning("Kafka takes no commit now", why=str(away))
            return False

    def _complain(self, error: Any) -> None:
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning("a topic is not there", why=error.str())
        else:
            log.info("Kafka says", why=error.str())


def _quiet() -> Any:
    import logging

    logger = logging.getLogger("ward.sink.kafka")
    logger.setLevel(logging.ERROR)
    return logger
