"""Prometheus metrics of the workers, made from the declarations in contracts.metrics. No identities in labels."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from contracts import metrics as declared
from contracts.metrics import Metric

SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


class _Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a line each."""


class Exported:
    """Metrics of one process; ``registry`` is its own, so that tests may make many."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def serve(self, port: int, health: Callable[[], dict[str, Any]] = dict, host: str = "127.0.0.1") -> None:
        """Answer ``/metrics``, and ``/healthz`` with ``health`` as JSON, from a thread of its own.

        Raises OSError when the port is taken.
        """
        pages = make_wsgi_app(self.registry)

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if environ["PATH_INFO"] != "/healthz":
                page: Iterable[bytes] = pages(environ, start)
                return page
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"status": "ok", **health()}).encode()]

        server = make_server(host, port, answer, _Threads, handler_class=_Silent)
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()

    def _counter(self, metric: Metric) -> Any:
        return Counter(metric.name, metric.meaning, metric.labels, registry=self.registry)

    def _gauge(self, metric: Metric) -> Any:
        return Gauge(metric.name, metric.meaning, metric.labels, registry=self.registry)

    def _histogram(self, metric: Metric) -> Any:
        return Histogram(metric.name, metric.meaning, metric.labels, registry=self.registry, buckets=SECONDS)


class WorkerMetrics(Exported):
    """Those of the vitals worker."""

    def __init__(self) -> None:
        super().__init__()
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
        self.snapshot_bytes = self._gauge(declared.SNAPSHOT_BYTES)
        self.model_asks = self._counter(declared.MODEL_ASKS)
        self.model_beds = self._counter(declared.MODEL_BEDS)
        self.model_seconds = self._histogram(declared.MODEL_SECONDS)
        self.model_wait_seconds = self._histogram(declared.MODEL_WAIT_SECONDS)
        self.model_in_force = self._gauge(declared.MODEL_IN_FORCE)
        self.model_refused = self._gauge(declared.MODEL_REFUSED)
        self.model_refusals = self._counter(declared.MODEL_REFUSALS)
        self.model_faults = self._counter(declared.MODEL_FAULTS)
        self.drift_events = self._counter(declared.DRIFT_EVENTS)
        self.forecast_skill = self._gauge(declared.FORECAST_SKILL)
        self.forecast_fallback = self._gauge(declared.FORECAST_FALLBACK)
        self.backfills = self._counter(declared.BACKFILLS)
