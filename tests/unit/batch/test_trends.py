"""A vital over a span: gaps are gaps, what is beyond a limit is beyond it for as long as it was."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch import trends
from batch.trends import Trend, beyond, gaps_of, points_of, trend
from contracts.records import Quality, Reading, Vital
from models.ward.policy import Limits, load_policy
from models.ward.tagging import USABLE, tag_of

POLICY = load_policy()
LIMITS = Limits(extreme_low=85, low=90, high=120, extreme_high=140)
READINGS = st.lists(st.tuples(st.integers(0, 400), st.integers(60, 160)), max_size=80)


def drawn(vital: Vital, readings: list[tuple[int, float]], to_s: int = 400, limits: Limits | None = LIMITS) -> Trend:
    times, values = np.array([s * 1000 for s, _ in readings], np.int64), np.array([v for _, v in readings], np.float64)
    return trend(vital, times, values, 0, to_s * 1000, POLICY, limits)


def in_force(readings: list[tuple[int, float]], at_ms: int, after_ms: int) -> float | None:
    """By brute force: the value that holds at that moment, None where nothing is known."""
    before = [(s * 1000, n, v) for n, (s, v) in enumerate(readings) if s * 1000 <= at_ms]
    if not before:
        return None
    last_ms, _, value = max(before)
    return value if at_ms - last_ms < after_ms else None


@settings(max_examples=40, deadline=None)
@given(READINGS)
def test_every_second_is_within_limits_beyond_them_or_in_a_gap(readings: list[tuple[int, float]]) -> None:
    one = drawn(Vital.HEART_RATE, readings)
    times = np.array(sorted({s * 1000 for s, _ in readings if s < 400}), np.int64)
    after_ms = trends.missing_after_ms(Vital.HEART_RATE, times, POLICY)
    readings = [(s, v) for s, v in readings if s < 400]
    for at_ms in range(500, 400_000, 1000):
        value = in_force(readings, at_ms, after_ms)
        gap = any(start <= at_ms < end for start, end in one.gaps)
        first = readings and at_ms < min(s for s, _ in readings) * 1000 <= min(after_ms, 10_000)
        assert gap == (value is None and not first), at_ms
        sides = [out.side for out in one.beyond if out.from_ms <= at_ms < out.to_ms]
        wanted = [] if value is None or 90 <= value <= 120 else ["low" if value < 90 else "high"]
        assert sides == wanted, at_ms
    assert one.beyond_ms == sum(out.to_ms - out.from_ms for out in one.beyond)


@settings(max_examples=40, deadline=None)
@given(READINGS, st.integers(2, 40))
def test_points_keep_the_extremes_and_never_join_over_a_gap(readings: list[tuple[int, float]], points: int) -> None:
    kept = sorted(dict(readings).items())
    times, values = np.array([s * 1000 for s, _ in kept], np.int64), np.array([v for _, v in kept], np.float64)
    found = points_of(times, values, 0, 401_000, 30_000, points)
    assert len(found["at_ms"]) <= max(
        points + len(gaps_of(times, 0, 401_000, 30_000)), len(kept) if len(kept) <= points else 0
    )
    if kept:
        assert (min(found["low"]), max(found["high"])) == (values.min(), values.max())
        assert all(
            low <= mid <= high for low, mid, high in zip(found["low"], found["middle"], found["high"], strict=True)
        )
        assert sum(found["begins"]) == 1 + sum(b - a > 30 for (a, _), (b, _) in pairwise(kept))


def test_one_reading_alone_is_a_point_a_gap_after_it_and_nothing_more() -> None:
    one = drawn(Vital.HEART_RATE, [(100, 80)])
    assert (one.at_ms, one.begins, one.last, one.readings) == ((100_000,), (True,), 80.0, 1)
    assert one.gaps == ((0, 100_000), (110_000, 400_000))
    assert one.missing_ms == 390_000


def test_what_was_read_before_the_span_holds_into_it() -> None:
    one = drawn(Vital.SYSTOLIC, [(-3500, 110), (300, 112)])
    assert (one.gaps, one.readings, one.at_ms) == (((100_000, 300_000),), 1, (300_000,))
    assert drawn(Vital.SYSTOLIC, [(300, 112)]).gaps == ((0, 300_000),)


def test_nothing_read_is_one_gap() -> None:
    one = drawn(Vital.TEMPERATURE, [])
    assert (one.gaps, one.least, one.last, one.at_ms, one.beyond) == (((0, 400_000),), None, None, (), ())


def test_a_cuff_pressure_holds_for_an_hour_but_heart_rate_is_missing_after_ten_seconds() -> None:
    assert not drawn(Vital.SYSTOLIC, [(0, 110), (300, 112)]).gaps
    assert drawn(Vital.HEART_RATE, [(0, 80), (1, 80), (2, 80), (60, 80)], to_s=61).gaps == ((12_000, 60_000),)


def test_without_limits_nothing_is_beyond_them() -> None:
    assert drawn(Vital.HEART_RATE, [(0, 200)], limits=None).beyond == ()
    assert drawn(Vital.HEART_RATE, [(0, 200)], limits=None).limits["high"] is None


def test_a_stretch_tells_the_worst_value_and_whether_it_was_extreme() -> None:
    times, values = np.arange(0, 5000, 1000), np.array([100.0, 88, 84, 91, 130])
    low, high = beyond(times, values, 5000, 10_000, LIMITS)
    assert (low.from_ms, low.to_ms, low.side, low.worst, low.extreme) == (1000, 3000, "low", 84.0, True)
    assert (high.side, high.worst, high.extreme) == ("high", 130.0, False)


@pytest.mark.parametrize("vital", trends.SHOWN)
@settings(max_examples=25, deadline=None)
@given(
    value=st.one_of(st.none(), st.floats(-200, 400), st.sampled_from([-100.0, -1.0, 0.0])),
    quality=st.sampled_from(list(Quality)),
    unit=st.sampled_from([None, "/min", "bpm", "%", "mm[Hg]", "Cel", "[degF]", "kPa"]),
)
def test_a_reading_is_believed_exactly_where_the_core_does(
    vital: Vital, value: Any, quality: Quality, unit: Any
) -> None:
    number = np.array([math.nan if value is None else value])
    fine = trends.believable(
        vital, number, np.array([trends.is_measured(str(quality))]), np.array([trends.is_in(vital, unit)])
    )
    reading = Reading(vital=vital, value=value, quality=quality, unit=unit)
    assert bool(fine[0]) == (tag_of(reading) in USABLE)
