"""The sink's own metrics, made from the declarations in contracts.metrics."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from contracts import metrics as declared

REFUSALS: Final = (
    "beyond_retention",
    "type_conflict",
    "unparsable",
    "time_out_of_range",
    "too_long",
    "too_many_series",
    "other",
)
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class SinkMetrics:
    """One object a sink, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        points, refused, unreadable = declared.SINK_POINTS, declared.SINK_REFUSED, declared.SINK_UNREADABLE
        failing, seconds = declared.SINK_FAILING, declared.SINK_WRITE_SECONDS
        records, behind = declared.TOPIC_RECORDS, declared.GROUP_BEHIND
        up, restarts = declared.PROCESS_UP, declared.PROCESS_RESTARTS
        self.points = Counter(points.name, points.meaning, points.labels, registry=self.registry)
        self.refused = Counter(refused.name, refused.meaning, refused.labels, registry=self.registry)
        for reason in REFUSALS:
            self.refused.labels(reason)  # a counter that stands at zero can be seen to grow
        self.unreadable = Counter(unreadable.name, unreadable.meaning, unreadable.labels, registry=self.registry)
        self.failing = Gauge(failing.name, failing.meaning, registry=self.registry)
        self.write_seconds = Histogram(seconds.name, seconds.meaning, registry=self.registry, buckets=SECONDS)
        self.topic_records = Gauge(records.name, records.meaning, records.labels, registry=self.registry)
        self.behind = Gauge(behind.name, behind.meaning, behind.labels, registry=self.registry)
        self.up = Gauge(up.name, up.meaning, up.labels, registry=self.registry)
        self.restarts = Counter(restarts.name, restarts.meaning, restarts.labels, registry=self.registry)
