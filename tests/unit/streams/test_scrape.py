"""What is scraped: declared metrics only, quantiles of what came since, restarts seen by counters that fell."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from contracts import metrics
from contracts.errors import Misconfigured
from contracts.settings import Settings
from streams.sink.gauges import SinkMetrics
from streams.sink.scrape import Scraper, quantile, targets


@pytest.fixture
def scraper() -> Iterator[Scraper]:
    one = Scraper(Settings(kafka="127.0.0.1:1"), SinkMetrics(), lambda lines: None)
    yield one
    one._http.close()


def page(readings: float, delays: tuple[float, ...] = ()) -> str:
    registry = CollectorRegistry()
    declared = metrics.READINGS
    Counter(declared.name, "x", declared.labels, registry=registry).labels("measured, good").inc(readings)
    Gauge("ward_not_declared", "x", registry=registry).set(1)
    histogram = Histogram(metrics.STEP_SECONDS.name, "x", registry=registry, buckets=(0.1, 1.0))
    for delay in delays:
        histogram.observe(delay)
    return generate_latest(registry).decode()


def test_only_declared_metrics_become_points_and_labels_are_escaped(scraper: Scraper) -> None:
    assert scraper.of_page("vitals", page(5), 7) == [
        r"ward_readings_total,process=vitals,quality=measured\,\ good value=5.0 7"
    ]


def test_a_histogram_tells_what_came_since_the_last_look(scraper: Scraper) -> None:
    scraper.of_page("vitals", page(1, (0.05,) * 10), 1)
    line = scraper.of_page("vitals", page(1, (0.05,) * 10 + (0.5,) * 2), 2)[-1]
    assert line == "ward_step_seconds,process=vitals count=2.0,sum=1.0,p50=0.55,p99=0.991 2"
    assert len(scraper.of_page("vitals", page(1, (0.05,) * 10 + (0.5,) * 2), 3)) == 1, "nothing came: no point"


def test_counters_that_fall_tell_of_a_restart(scraper: Scraper) -> None:
    for readings in (5, 9, 2, 3):
        scraper.of_page("vitals", page(readings), 1)
    counted = scraper._metrics.restarts.labels("vitals")._value.get()
    assert counted == 1


def test_a_process_that_does_not_answer_is_down_and_the_look_goes_on() -> None:
    got: list[list[str]] = []
    scraper = Scraper(
        Settings(kafka="127.0.0.1:1", scrape="vitals=http://127.0.0.1:1/metrics"), SinkMetrics(), got.append
    )
    scraper.look(5)
    scraper._http.close()
    assert "ward_process_up,process=vitals value=0.0 5" in got[0]


def test_quantiles_are_those_of_prometheus() -> None:
    assert quantile({0.1: 5, 1.0: 10, float("inf"): 10}, 0.5) == 0.1
    assert quantile({0.1: 0, 1.0: 0, float("inf"): 4}, 0.5) == 1.0, "beyond the last bound nobody knows"


@pytest.mark.parametrize("listed", ["vitals", "vitals=127.0.0.1", "=http://x/metrics"])
def test_a_target_that_is_none_is_refused(listed: str) -> None:
    with pytest.raises(Misconfigured, match="WARD_SCRAPE"):
        targets(listed)
