"""What the gateway tells of itself, made from the names that contracts declares. No identities, no reasons in words."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from contracts import metrics

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SOURCES: Final = ("c_store", "folder", "submit", "upload")
OUTCOMES: Final = {"stored": "stored", "known": "again", "refused": "refused", "failed": "failed"}


class Gauges:
    """Counts of one gateway, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        taken, seconds = metrics.IMAGES_TAKEN, metrics.IMAGE_INTAKE_SECONDS
        self._taken = Counter(taken.name, taken.meaning, taken.labels, registry=self.registry)
        self._seconds = Histogram(
            seconds.name, seconds.meaning, seconds.labels, registry=self.registry, buckets=_SECONDS
        )
        for source in SOURCES:
            for outcome in OUTCOMES.values():
                self._taken.labels(source, outcome)

    def took(self, source: str, outcome: str, seconds: float) -> None:
        """Count one image that came by this door."""
        self._taken.labels(source, OUTCOMES[outcome]).inc()
        self._seconds.labels(source).observe(seconds)

    def exposition(self) -> bytes:
        """Everything in the Prometheus text format."""
        return generate_latest(self.registry)
