"""The feed's metrics, made from the names that contracts declares."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from contracts import metrics
from streams.feed.fanout import Flush

_DELAYS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Gauges:
    """Counts of one feed, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        clients, cut, events = metrics.FEED_CLIENTS, metrics.FEED_CUT, metrics.FEED_EVENTS
        delay, untold = metrics.FEED_DELAY_SECONDS, metrics.FEED_UNTOLD
        self.clients = Gauge(clients.name, clients.meaning, registry=self.registry)
        self.cut = Counter(cut.name, cut.meaning, registry=self.registry)
        self.events = Counter(events.name, events.meaning, events.labels, registry=self.registry)
        self.untold = Counter(untold.name, untold.meaning, registry=self.registry)
        self.delay = Histogram(delay.name, delay.meaning, registry=self.registry, buckets=_DELAYS)
        reads, uploads, verdicts = metrics.FEED_IMAGE_READS, metrics.FEED_UPLOADS, metrics.FEED_VERDICTS
        self.image_reads = Counter(reads.name, reads.meaning, reads.labels, registry=self.registry)
        self.uploads = Counter(uploads.name, uploads.meaning, uploads.labels, registry=self.registry)
        self.verdicts = Counter(verdicts.name, verdicts.meaning, verdicts.labels, registry=self.registry)
        self.waiting_ms: list[int] = []

    def watch(self, streams: Callable[[], int]) -> None:
        """Let the gauge of clients follow the count of open streams."""
        self.clients.set_function(streams)

    def flushed(self, flush: Flush, clients: int, now_ms: int) -> None:
        """Count what one flush gave to so many clients, and how old its records are."""
        self.events.labels("tiles").inc(len(flush.tiles) * clients)
        self.events.labels("outlook").inc(len(flush.outlooks) * clients)
        self.events.labels("alarm").inc(len(flush.alarms) * clients)
        if flush.heartbeat is not None:
            self.events.labels("heartbeat").inc(clients)
        for at_ms in self.waiting_ms:
            self.delay.observe(max(0, now_ms - at_ms) / 1000)
        self.waiting_ms.clear()

    def exposition(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self.registry)
