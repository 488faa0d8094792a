"""What a demo measured: a client of its own on the feed, and a count of the log from where the demo began."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import httpx
import msgspec

from contracts import codec
from contracts.errors import Poison, Transient
from contracts.records import (
    AlertTransition,
    Category,
    ImageArrival,
    ImageRefusal,
    ImageResult,
    ScoreFrame,
    VitalsForecast,
    VitalsFrame,
)
from contracts.settings import Settings
from contracts.topology import (
    ALERTS,
    DEAD_LETTERS,
    FORECASTS,
    IMAGE_ARRIVALS,
    IMAGE_JOBS,
    IMAGE_REFUSALS,
    IMAGE_RESULTS,
    SCORES,
    VITALS,
    Topic,
)
from infra.archive import Lake
from infra.stack import wait_until
from infra.topics import Offsets, end_offsets

RECONNECT_S: Final = 0.2
IMAGES: Final = (IMAGE_ARRIVALS, IMAGE_REFUSALS, IMAGE_RESULTS)
OF_IMAGES: Final = frozenset(topic.name for topic in IMAGES)
COUNTED: Final[tuple[Topic[Any], ...]] = (VITALS, SCORES, FORECASTS, ALERTS, DEAD_LETTERS, *IMAGES)


class Spread(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds."""

    p50: float
    p99: float


class Summary(msgspec.Struct, kw_only=True, frozen=True):
    """The one document of ``ward demo --json``. What is not built yet is None, never invented.

    ``forecasts`` and ``outlooks`` count beds that models spoke of, ``first_forecast_s`` is from the log's first reading
    to its first forecast; ``models`` are those last named in the log. ``advisories`` are among ``alerts``. ``images``
    counts those that arrived, were classified, were refused (by the gateway or before a model). It and ``lake`` are
    None when they were left out.
    """

    readings: int
    frames: int
    scores: int
    forecasts: int
    first_forecast_s: float | None
    outlooks: int
    models: dict[str, str]
    alerts: int
    advisories: int
    alert_transitions: int
    dead_letters: int
    alert_latency_ms: Spread | None
    alerts_on_the_feed: int
    first_tile_s: float | None
    first_alarm_s: float | None
    ready_s: float
    played_s: float
    images: dict[str, int] | None
    lake: Lake | None
    processes: dict[str, str]
    restarts: dict[str, int]
    memory_mb: float
    feed: str


class Watcher:
    """A client of the feed, as a browser would be: notes when tiles and alarms arrive. It acknowledges nothing."""

    def __init__(self, feed: str, began: float) -> None:
        self._feed = feed
        self._began = began
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="demo-client", daemon=True)
        self.first_tile_s: float | None = None
        self.first_alarm_s: float | None = None
        self.seen_ms: dict[tuple[str, int], float] = {}
        self.source_of: dict[tuple[str, int], tuple[int, int]] = {}

    def start(self) -> None:
        """Begin; tries until the feed answers."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns when the client has gone."""
        self._ending.set()
        self._thread.join(timeout=5)

    def _watch(self) -> None:
        last_id = ""
        with httpx.Client(base_url=self._feed, timeout=httpx.Timeout(5.0, read=5.0), trust_env=False) as client:
            while not self._ending.is_set():
                try:
                    client.get("/").raise_for_status()  # the demo's page comes with a session
                    headers = {"Last-Event-ID": last_id} if last_id else {}
                    with client.stream("GET", "/api/stream", headers=headers) as answer:
                        answer.raise_for_status()
                        last_id = self._read(answer.iter_lines(), last_id)
                except httpx.HTTPError:
                    self._ending.wait(RECONNECT_S)

    def _read(self, lines: Iterable[str], last_id: str) -> str:
        event, data = "", ""
        for line in lines:
            if self._ending.is_set():
                break
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                last_id = value
            elif name == "event":
                event = value
            elif name == "data":
                data = value
            elif not line:
                self._take(event, data)
                event, data = "", ""
        return last_id

    def _take(self, event: str, data: str) -> None:
        now = time.monotonic() - self._began
        if event == "tiles" and self.first_tile_s is None:
            self.first_tile_s = round(now, 2)
        elif event == "alarm":
            transition = msgspec.json.decode(data, type=AlertTransition)
            if self.first_alarm_s is None:
                self.first_alarm_s = round(now, 2)
            key = (transition.alert_id, transition.seq)
            self.seen_ms.setdefault(key, time.time() * 1000)
            if transition.source.topic == VITALS.name:
                self.source_of[key] = (transition.source.partition, transition.source.offset)


def ends(bootstrap: str) -> Offsets:
    """The next offset of every partition of the topics that a demo counts."""
    return end_offsets(bootstrap, COUNTED)


def taken(bootstrap: str, group: str, topic: Topic[Any]) -> dict[int, int]:
    """How far a consumer group has committed a topic, by partition; 0 where it has committed nothing."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    try:
        rows = consumer.committed([TopicPartition(topic.name, p) for p in range(topic.partitions)], timeout=10)
        return {row.partition: max(0, row.offset) for row in rows}
    except KafkaException as failure:
        raise Transient(f"cannot tell how far {group} is: {failure}") from failure
    finally:
        consumer.close()


def ends_once_taken(bootstrap: str, settings: Settings, images: bool, within_s: float) -> Offsets:
    """The ends of the log once the worker has taken every record of the wards that stands in it now, and every image
    that arrived has been read; or when the time is over."""
    now = ends(bootstrap)
    wait_until(lambda: _has_taken(bootstrap, settings.worker_group, VITALS, now), within_s)
    if images:  # which jobs there are is known once the arrivals have been taken
        readers = ((settings.imaging_group, IMAGE_ARRIVALS), (settings.image_worker_group, IMAGE_JOBS))
        wait_until(
            lambda: all(
                _has_taken(bootstrap, group, topic, end_offsets(bootstrap, (topic,))) for group, topic in readers
            ),
            within_s,
        )
    return ends(bootstrap)


def _has_taken(bootstrap: str, group: str, topic: Topic[Any], until: Offsets) -> bool:
    so_far = taken(bootstrap, group, topic)
    return all(so_far[p] >= end for (name, p), end in until.items() if name == topic.name)


class Counts(msgspec.Struct):
    """What stands in the log since the demo began."""

    readings: int = 0
    frames: int = 0
    scores: int = 0
    transitions: int = 0
    alert_ids: set[str] = set()
    advisory_ids: set[str] = set()
    dead_letters: int = 0
    forecasts: int = 0
    outlooks: int = 0
    models: dict[str, str] = {}
    first_reading_ms: int | None = None
    first_forecast_ms: int | None = None
    appended_ms: dict[tuple[int, int], int] = {}
    arrivals: set[tuple[str, int]] = set()
    classified: set[str] = set()
    refusals: set[str] = set()
    _named_ms: int = 0

    def frame(self, frame: VitalsFrame, at_ms: int) -> None:
        """A record of the wards' log."""
        self.frames += bool(frame.beds)
        self.readings += sum(len(bed.readings) for bed in frame.beds)
        if frame.beds:
            self.first_reading_ms = _earlier(self.first_reading_ms, at_ms)
        if frame.models and at_ms >= self._named_ms:
            self._named_ms = at_ms
            self.models = {model.name: model.version for model in frame.models}

    @property
    def images(self) -> dict[str, int]:
        """Images that arrived, were classified, were refused; one that was told twice counts once."""
        return {"arrived": len(self.arrivals), "classified": len(self.classified), "refused": len(self.refusals)}

    def image(self, topic: str, value: bytes) -> None:
        """A record of an image: it came, was kept out, was read."""
        if topic == IMAGE_ARRIVALS.name:
            arrival = codec.decode(value, ImageArrival)
            self.arrivals.add((arrival.instance, arrival.revision))
        elif topic == IMAGE_REFUSALS.name:
            self.refusals.add(codec.decode(value, ImageRefusal).refusal_id)
        else:
            result = codec.decode(value, ImageResult)
            (self.classified if result.refusal is None else self.refusals).add(result.job_id)

    @property
    def first_forecast_s(self) -> float | None:
        """From the first reading in the log to the first forecast."""
        if self.first_reading_ms is None or self.first_forecast_ms is None:
            return None
        return round((self.first_forecast_ms - self.first_reading_ms) / 1000, 1)


def _earlier(known: int | None, at_ms: int) -> int:
    return at_ms if known is None else min(known, at_ms)


def count(bootstrap: str, since: Offsets, until: Offsets) -> Counts:
    """Read the log between two sets of offsets and count what is in it."""
    from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, TopicPartition

    counts = Counts()
    left = {where: end for where, end in until.items() if end > since.get(where, 0)}
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "ward-demo",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, p, since.get((topic, p), 0)) for topic, p in left])
        while left:
            records = consumer.consume(2000, timeout=10)
            if not records:
                raise Transient("the broker stopped answering while the demo counted its log")
            for record in records:
                where = (record.topic(), record.partition())
                error = record.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public constant
                        left.pop(where, None)
                    continue
                if where in left and record.offset() < left[where]:
                    _add(counts, record)
                if record.offset() not in (None, OFFSET_INVALID) and record.offset() + 1 >= left.get(where, 0):
                    left.pop(where, None)
    finally:
        consumer.close()
    return counts


def _add(counts: Counts, record: Any) -> None:
    topic, value, at_ms = record.topic(), record.value(), record.timestamp()[1]
    try:
        if topic == VITALS.name:
            counts.appended_ms[record.partition(), record.offset()] = at_ms
            counts.frame(codec.decode(value, VitalsFrame), at_ms)
        elif topic == SCORES.name:
            scores = codec.decode(value, ScoreFrame)
            counts.scores += len(scores.beds)
            counts.outlooks += len(scores.outlooks)
        elif topic == FORECASTS.name:
            forecast = codec.decode(value, VitalsForecast)
            counts.forecasts += len(forecast.beds)
            counts.first_forecast_ms = _earlier(counts.first_forecast_ms, forecast.now_ms)
        elif topic == ALERTS.name:
            transition = codec.decode(value, AlertTransition)
            counts.transitions += 1
            counts.alert_ids.add(transition.alert_id)
            if transition.category is Category.ADVISORY:
                counts.advisory_ids.add(transition.alert_id)
        elif topic in OF_IMAGES:
            counts.image(topic, value)
        else:
            counts.dead_letters += 1
    except Poison:
        return  # an unreadable record is counted where it ends up, among the dead letters


def latency(watcher: Watcher, appended_ms: Mapping[tuple[int, int], int]) -> Spread | None:
    """From the append of the record behind an alarm to the arrival of the alarm at the demo's client."""
    import numpy as np

    delays = [
        watcher.seen_ms[key] - appended_ms[source] for key, source in watcher.source_of.items() if source in appended_ms
    ]
    if not delays:
        return None
    p50, p99 = np.percentile(delays, (50, 99))
    return Spread(round(float(p50), 1), round(float(p99), 1))
