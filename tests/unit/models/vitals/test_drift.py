"""Drift by river's ADWIN, rebuilt from bytes: found when planted, rare when nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from river.drift import ADWIN

from models.vitals.drift import KEPT, Drift, Trace

BEDS = 40


def nothing(beds: int = 1, channels: int = 1) -> Trace:
    shape = (beds, channels)
    return Trace(np.zeros(shape, np.uint8), np.zeros(shape, np.int16), np.zeros((*shape, KEPT), np.int8))


def drift() -> Drift:
    return Drift(np.array([0.5]), np.array([4.0]), 1e-9, 15)


def run(values: np.ndarray) -> list[tuple[int, int]]:
    """(bed, minute) of each drift found in (beds, minutes)."""
    detector, trace, found = drift(), nothing(len(values)), []
    for minute in range(values.shape[1]):
        trace = detector.noted(trace, values[:, minute : minute + 1].astype(np.float64))
        drifted, trace = detector.found(trace, minute, np.ones(len(values), np.bool_))
        found += [(int(bed), minute) for bed in np.flatnonzero(drifted[:, 0])]
    return found


def test_a_planted_shift_is_found_soon_and_once() -> None:
    values = np.random.default_rng(5).normal(80, 4, (BEDS, 240))
    values[:, 120:] += 20
    found = run(values)
    assert {bed for bed, _ in found} == set(range(BEDS))
    assert len(found) == BEDS
    assert all(120 < minute <= 180 for _, minute in found)


def test_stationary_noise_hardly_ever_drifts() -> None:
    found = run(np.random.default_rng(6).normal(80, 4, (BEDS, 480)))
    assert len(found) <= 2  # in 320 hours


def test_missing_values_are_not_noted() -> None:
    before = drift().noted(nothing(), np.array([[80.0]]))
    after = drift().noted(before, np.array([[np.nan]]))
    assert after.filled[0, 0] == 1
    assert (after.steps == before.steps).all()


def test_a_full_trace_lets_its_older_half_go() -> None:
    detector, trace = drift(), nothing()
    for value in range(KEPT + 1):
        trace = detector.noted(trace, np.array([[80.0 + value / 10]]))
    assert trace.filled[0, 0] == KEPT // 2 + 1
    assert trace.steps[0, 0, trace.filled[0, 0] - 1] == round(KEPT / 10 / 0.5)


@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_what_is_kept_tells_adwin_what_the_values_would(shift: float) -> None:
    values = np.random.default_rng(7).normal(80, 4, 150)
    values[75:] += shift
    detector, trace = drift(), nothing()
    window = ADWIN(delta=1e-9, clock=4, min_window_length=15, grace_period=30)
    plain = False
    for value in values:
        trace = detector.noted(trace, np.array([[value]]))
        window.update((value - values[0]) / 4.0)
        plain = plain or window.drift_detected
    assert detector.tells(trace.steps[0, 0, :150].tolist(), 0.5 / 4.0) == plain == bool(shift)
