"""The platform watches itself: every few seconds each process's /metrics, and how far the readers of Kafka are."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import httpx
import structlog
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from contracts.errors import Misconfigured
from contracts.metrics import METRICS, Metric
from contracts.settings import Settings
from contracts.topology import TOPICS
from streams.sink.gauges import SinkMetrics
from streams.sink.lines import tag

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0
PATIENCE_S: Final = 2.0
OURSELVES: Final = "sink"
HOST: Final = "localhost"
"""The feed answers to its own names only, against foreign pages in a browser; we ask for no page."""
SUFFIXES: Final = ("_bucket", "_sum", "_count")

Key = tuple[str, str, str]
"""Process, metric, labels as they stand in the line."""


def targets(listed: str) -> dict[str, str]:
    """``vitals=http://127.0.0.1:9100/metrics,feed=...`` as a mapping. Raises Misconfigured for anything else."""
    found = {}
    for part in filter(None, listed.split(",")):
        name, _, url = part.strip().partition("=")
        if not name or not url.startswith(("http://", "https://")):
            raise Misconfigured(f"WARD_SCRAPE has {part!r}; write name=http://host:port/metrics, with commas between")
        found[name] = url
    return found


class Histograms:
    """What came into each histogram since the last look, as count, sum and estimated quantiles."""

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[dict[float, float], float, float]] = {}

    def since(self, key: Key, buckets: dict[float, float], total: float, count: float) -> str | None:
        """The fields of the point; None at the first look, after a restart, or when nothing came."""
        before = self._seen.get(key)
        self._seen[key] = (buckets, total, count)
        if before is None or count <= before[2]:
            return None
        came = {bound: number - before[0].get(bound, 0.0) for bound, number in buckets.items()}
        return (
            f"count={count - before[2]!r},sum={total - before[1]!r},"
            f"p50={quantile(came, 0.5)!r},p99={quantile(came, 0.99)!r}"
        )


def quantile(cumulative: Mapping[float, float], q: float) -> float:
    """A quantile from cumulative buckets, linear within its bucket, as Prometheus estimates it.

    >>> quantile({0.1: 5.0, 1.0: 10.0, float("inf"): 10.0}, 0.75)
    0.55
    """
    bounds = sorted(cumulative)
    wanted, low, below = q * cumulative[bounds[-1]], 0.0, 0.0
    for bound in bounds:
        number = cumulative[bound]
        if number >= wanted:
            if bound == float("inf"):
                return low
            share = (wanted - below) / (number - below) if number > below else 1.0
            return round(low + (bound - low) * share, 6)
        low, below = bound, number
    return low


class Scraper:
    """Looks every ``every_s`` and hands the points to ``give``; a process that does not answer is down, no failure."""

    def __init__(self, settings: Settings, metrics: SinkMetrics, give: Callable[[list[str]], None]) -> None:
        self._targets = targets(settings.scrape)
        self._groups = (
            settings.worker_group,
            settings.sink_group,
            settings.imaging_group,
            settings.image_worker_group,
        )
        self._metrics = metrics
        self._give = give
        self._histograms = Histograms()
        self._counters: dict[Key, float] = {}
        self._admin: Any = AdminClient({"bootstrap.servers": settings.kafka, "client.id": "ward-influx-scrape"})
        for name in self._targets:
            metrics.restarts.labels(name)  # a counter that stands at zero can be seen to grow
        self._http = httpx.Client(timeout=PATIENCE_S, trust_env=False, headers={"Host": HOST})

    def run(self, stop: threading.Event, every_s: float = EVERY_S) -> None:
        """Look until told to stop."""
        while not stop.wait(every_s - time.time() % every_s):
            self.look(int(time.time() // every_s * every_s) * 1_000_000_000)
        self._http.close()

    def look(self, at_ns: int) -> None:
        """One look at everything."""
        self._ask_kafka()
        lines: list[str] = []
        for name, url in self._targets.items():
            try:
                page = self._http.get(url).raise_for_status().text
                lines += self.of_page(name, page, at_ns)
                self._metrics.up.labels(name).set(1)
            except (httpx.HTTPError, ValueError) as down:
                self._metrics.up.labels(name).set(0)
                log.debug("no metrics", process=name, why=str(down))
        lines += self.of_page(OURSELVES, generate_latest(self._metrics.registry).decode(), at_ns)
        self._give(lines)

    def of_page(self, process: str, page: str, at_ns: int) -> list[str]:
        """The declared metrics of one page as points; what is not declared is left out. Raises ValueError for no page.

        Counters that fell tell that the process began anew.
        """
        lines: list[str] = []
        fell = False
        samples: defaultdict[str, list[Any]] = defaultdict(list)
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                samples[sample.name].append(sample)
        for metric in METRICS:
            if metric.kind == "histogram":
                lines += self._histogram(process, metric, samples, at_ns)
                continue
            for sample in samples.get(metric.name, ()):
                labels = _labels(process, sample.labels)
                if metric.kind == "counter":
                    key = (process, metric.name, labels)
                    fell |= sample.value < self._counters.get(key, 0.0)
                    self._counters[key] = sample.value
                lines.append(f"{metric.name},{labels} value={float(sample.value)!r} {at_ns}")
        if fell:
            self._metrics.restarts.labels(process).inc()
        return lines

    def _histogram(self, process: str, metric: Metric, samples: Mapping[str, list[Any]], at_ns: int) -> Iterable[str]:
        rows: defaultdict[str, tuple[dict[float, float], dict[str, float]]] = defaultdict(lambda: ({}, {}))
        for suffix in SUFFIXES:
            for sample in samples.get(metric.name + suffix, ()):
                labels = _labels(process, {k: v for k, v in sample.labels.items() if k != "le"})
                if suffix == "_bucket":
                    rows[labels][0][float(sample.labels["le"])] = sample.value
                else:
                    rows[labels][1][suffix] = sample.value
        for labels, (buckets, rest) in rows.items():
            key = (process, metric.name, labels)
            fields = self._histograms.since(key, buckets, rest.get("_sum", 0.0), rest.get("_count", 0.0))
            if fields is not None:
                yield f"{metric.name},{labels} {fields} {at_ns}"

    def _ask_kafka(self) -> None:
        """How many records each topic has had, how far its readers committed; stale while the broker is away."""
        wanted = {TopicPartition(t.name, p): OffsetSpec.latest() for t in TOPICS for p in range(t.partitions)}
        try:
            asked = self._admin.list_offsets(wanted, request_timeout=PATIENCE_S)
            ends = {(tp.topic, tp.partition): answer.result().offset for tp, answer in asked.items()}
            for topic in TOPICS:
                total = sum(end for (name, _), end in ends.items() if name == topic.name)
                self._metrics.topic_records.labels(topic.name).set(total)
            for group in self._groups:
                self._behind(group, ends)
        except KafkaException as away:
            log.debug("Kafka does not tell its offsets", why=str(away))

    def _behind(self, group: str, ends: Mapping[tuple[str, int], int]) -> None:
        asked = self._admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=PATIENCE_S
        )
        behind: defaultdict[str, int] = defaultdict(int)
        for row in asked[group].result().topic_partitions:
            if row.offset >= 0:
                behind[row.topic] += max(0, ends.get((row.topic, row.partition), 0) - row.offset)
        for topic, records in behind.items():
            self._metrics.behind.labels(group, topic).set(records)


def _labels(process: str, labels: Mapping[str, str]) -> str:
    """Tags in order, as the line wants them."""
    return ",".join(f"{name}={tag(value)}" for name, value in sorted({"process": process, **labels}.items()))
