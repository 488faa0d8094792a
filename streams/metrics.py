"""The worker's Prometheus metrics, made from the declarations in contracts.metrics. No identities in labels."""

from __future__ import annotations

from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from contracts import metrics as declared
from contracts.metrics import Metric

SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


class WorkerMetrics:
    """One object a worker; ``registry`` is its own, so that tests may make many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.readings = self._counter(declared.READINGS)
        self.frames = self._counter(declared.FRAMES)
        self.scores = self._counter(declared.SCORES)
        self.transitions = self._counter(declared.TRANSITIONS)
        self.dead_letters = self._counter(declared.DEAD_LETTERS)
        self.step_seconds = self._histogram(declared.STEP_SECONDS)
        self.log_delay_seconds = self._histogram(declared.LOG_DELAY_SECONDS)
        self.next_offset = self._gauge(declared.EXPECTED_OFFSET)
        self.gap_records = self._counter(declared.GAPS_REREAD)
        self.redelivered = self._counter(declared.DUPLICATES_SKIPPED)
        self.snapshot_seconds = self._histogram(declared.SNAPSHOT_SECONDS)

    def serve(self, port: int, host: str = "127.0.0.1") -> None:
        """Answer ``/metrics`` on that port from a thread of its own. Raises OSError when the port is taken."""
        start_http_server(port, addr=host, registry=self.registry)

    def _counter(self, metric: Metric) -> Any:
        return Counter(metric.name, metric.meaning, metric.labels, registry=self.registry)

    def _gauge(self, metric: Metric) -> Any:
        return Gauge(metric.name, metric.meaning, metric.labels, registry=self.registry)

    def _histogram(self, metric: Metric) -> Any:
        return Histogram(metric.name, metric.meaning, metric.labels, registry=self.registry, buckets=SECONDS)
