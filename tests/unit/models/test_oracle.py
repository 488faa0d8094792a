"""The core against a slow and obvious second opinion, on series that neither was written for."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.records import AlarmEvent
from tests.unit.models.bedside import REAL, T0, Bedside, Lab, check_ledger, expected_id
from tests.unit.models.oracle import Happened, Side, what_happens

DEEP = os.environ.get("WARDSTREAM_TEST_DEPTH", "") == "deep"

POLICY = """
version = 1
name = "oracle"
[limits.{vital}]
extreme_low = {extreme_low}
low = {low}
high = {high}
extreme_high = {extreme_high}
hysteresis = {hysteresis}
delay_s = {delay}
extreme_delay_s = {extreme_delay}
[stale_after_s]
heart_rate = 60.0
respiration = 60.0
spo2 = 60.0
systolic = 3600.0
diastolic = 3600.0
mean_pressure = 3600.0
temperature = 14400.0
supplemental_oxygen = 43200.0
consciousness = 43200.0
[technical]
continuous = ["heart_rate"]
[news2]
medium_from = 20
high_from = 20
[alarm]
latch = {latch}
escalation_levels = 0
"""


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Limits of a heart rate and a series that lives around them, at 1 to 3 s."""
    case: dict[str, Any] = {
        "vital": "heart_rate",
        "extreme_low": 40.0,
        "low": 50.0,
        "high": 120.0,
        "extreme_high": 140.0,
        "hysteresis": float(draw(st.integers(0, 5))),
        "delay": float(draw(st.integers(0, 8))),
        "extreme_delay": float(draw(st.integers(0, 5))),
        "latch": draw(st.sampled_from(['["high"]', "[]"])),
    }
    zones = st.sampled_from([39.0, 40.0, 45.0, 49.0, 50.0, 52.0, 55.0, 80.0, 115.0, 118.0, 120.0, 121.0, 140.0, 141.0])
    spells = draw(st.lists(st.tuples(zones, st.integers(1, 10)), min_size=1, max_size=14))
    case["values"] = [value for value, length in spells for _ in range(length)]
    case["steps"] = draw(st.lists(st.integers(1, 3), min_size=len(case["values"]), max_size=len(case["values"])))
    return case


def agree(case: dict[str, Any], lab: Lab = REAL, repeat: tuple[int, ...] = ()) -> None:
    """Runs core and oracle over the case; ``repeat``: frames that are sent twice."""
    ward = Bedside(lab, policy=POLICY.format_map(case))
    second, times = 0, []
    for n, (value, step) in enumerate(zip(case["values"], case["steps"], strict=True)):
        second += step
        times.append(T0 + second * 1000)
        for _ in range(2 if n in repeat else 1):
            ward.read(second, heart_rate=value)
    check_ledger(ward.told)
    for low in (True, False):
        condition = f"heart_rate_{'low' if low else 'high'}"
        side = Side(
            low,
            case["low"] if low else case["high"],
            case["extreme_low"] if low else case["extreme_high"],
            case["hysteresis"],
            int(case["delay"] * 1000),
            int(case["extreme_delay"] * 1000),
        )
        expected = what_happens(side, times, case["values"], "high" in case["latch"])
        told = ward.of(condition)
        assert [Happened(t.event, t.at_ms, t.priority, t.onset_ms) for t in told] == expected
        for t in told:
            if t.event is AlarmEvent.RAISED:
                assert t.alert_id == expected_id(ward.core.policy_hash, "p-1", condition, t.onset_ms)


@settings(max_examples=5000 if DEEP else 80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_core_and_oracle_raise_and_end_the_same_alerts_at_the_same_times(case: dict[str, Any]) -> None:
    agree(case)


@settings(max_examples=2000 if DEEP else 40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.randoms(use_true_random=False))
def test_they_still_agree_when_one_frame_in_twenty_comes_twice(case: dict[str, Any], random: Any) -> None:
    agree(case, repeat=tuple(n for n in range(len(case["values"])) if random.random() < 0.05))
