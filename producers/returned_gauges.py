"""What the return of results tells of itself, made from the names that contracts declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from contracts import metrics
from contracts.errors import Misconfigured

KINDS: Final = ("report", "capture")
OUTCOMES: Final = ("stored", "sent", "failed", "refused")


class Gauges:
    """Counts of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        done, waiting = metrics.RETURNS, metrics.RETURNS_WAITING
        self._done = Counter(done.name, done.meaning, done.labels, registry=self.registry)
        self.waiting = Gauge(waiting.name, waiting.meaning, waiting.labels, registry=self.registry)
        for kind in KINDS:
            for outcome in OUTCOMES:
                self._done.labels(kind, outcome)

    def count(self, kind: str, outcome: str) -> None:
        """One more object of this kind came to this."""
        self._done.labels(kind, outcome).inc()

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Answer GET on that address, in a thread; what ends it. Raises Misconfigured when it cannot be had."""
        try:
            server, thread = start_http_server(port, host, registry=self.registry)
        except OSError as taken:
            raise Misconfigured(f"WARD_RETURN_METRICS_PORT: cannot listen on {host}:{port}") from taken

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join(5)

        return end
