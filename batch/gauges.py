"""The lake's own metrics, made from the declarations in contracts.metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from contracts import lake
from contracts import metrics as declared

SECONDS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0, 60.0, 120.0, 300.0)


class LakeMetrics:
    """One object a stream, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        rows, seconds, delay = declared.LAKE_ROWS, declared.LAKE_BATCH_SECONDS, declared.LAKE_DELAY_SECONDS
        looked, published, unreadable = declared.LAKE_LOOKED, declared.LAKE_PUBLISHED, declared.LAKE_UNREADABLE
        behind, lost, failures = declared.LAKE_BEHIND, declared.LAKE_LOST, declared.LAKE_FAILURES
        self.rows = Counter(rows.name, rows.meaning, rows.labels, registry=self.registry)
        for table in (lake.RECORDS, *lake.FROM_TOPICS):
            self.rows.labels(table.name)  # a counter that stands at zero can be seen to grow
        self.batch_seconds = Histogram(seconds.name, seconds.meaning, registry=self.registry, buckets=SECONDS)
        self.delay = Histogram(delay.name, delay.meaning, registry=self.registry, buckets=SECONDS)
        self.looked = Gauge(looked.name, looked.meaning, registry=self.registry)
        self.published = Gauge(published.name, published.meaning, registry=self.registry)
        self.unreadable = Counter(unreadable.name, unreadable.meaning, registry=self.registry)
        self.behind = Gauge(behind.name, behind.meaning, registry=self.registry)
        self.lost = Counter(lost.name, lost.meaning, registry=self.registry)
        self.failures = Counter(failures.name, failures.meaning, registry=self.registry)
