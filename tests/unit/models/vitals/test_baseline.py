"""What is usual: held against river, started from anyone's usual, not moved by one odd value."""

from __future__ import annotations

import numpy as np
import pytest
from river import stats

from models.vitals.baseline import CLIP, Baseline, Population, folded

ANYONE = Population(np.array([80.0]), np.array([12.0]), np.array([4.0]), np.array([2.0]), 8.0, 60.0)


def test_mean_and_spread_are_rivers_exponentially_weighted_ones() -> None:
    values = np.random.default_rng(1).normal(80, 5, 400)
    mean, spread = stats.EWMean(0.02), stats.EWVar(0.02)
    base = Baseline.new(1, 1).learned(values[:1, None], 0.02)._replace(steps=np.full((1, 1), 1e9))
    mean.update(values[0])
    spread.update(values[0])
    for value in values[1:]:
        base = base.learned(np.array([[value]]), 0.02)
        mean.update(value)
        spread.update(value)
        assert base.mean[0, 0] == pytest.approx(mean.get(), abs=1e-9)
        assert base.spread()[0, 0] == pytest.approx(spread.get(), abs=1e-7)


def test_the_first_steps_are_rivers_plain_mean_and_variance() -> None:
    values = np.random.default_rng(2).normal(80, 5, 60)
    mean, spread = stats.Mean(), stats.Var(ddof=0)
    base = Baseline.new(1, 1)
    for value in values:
        base = base.learned(np.array([[value]]), 0.001)
        mean.update(value)
        spread.update(value)
    assert base.mean[0, 0] == pytest.approx(mean.get(), abs=1e-9)
    assert base.spread()[0, 0] == pytest.approx(spread.get(), abs=1e-7)


def test_missing_values_teach_nothing() -> None:
    base = Baseline.new(1, 1).learned(np.array([[75.0]]), 0.1)
    after = base.learned(np.array([[np.nan]]), 0.1)
    assert all((one == other).all() for one, other in zip(base, after, strict=True))


def test_a_new_patient_is_as_anyone_and_becomes_their_own() -> None:
    nothing_mean, nothing_spread = Baseline.new(1, 1).usual(ANYONE)
    assert nothing_mean[0, 0] == 80.0
    assert nothing_spread[0, 0] == pytest.approx(np.hypot(12, 4))
    hour = np.full((1, 240, 1), 60.0, np.float32) + np.random.default_rng(3).normal(0, 3, (1, 240, 1)).astype("f4")
    mean, deviation = folded(hour, 0.003, ANYONE).usual(ANYONE)
    assert mean[0, 0] == pytest.approx(60.8, abs=1.0)
    assert 2.5 < deviation[0, 0] < 5.0


def test_one_odd_value_moves_the_baseline_by_no_more_than_its_clip() -> None:
    base = folded(np.full((1, 100, 1), 80.0, np.float32), 0.01, ANYONE)
    _, deviation = base.usual(ANYONE)
    after = base.robustly(np.array([[250.0]]), 0.01, ANYONE)
    assert 0 < after.mean[0, 0] - base.mean[0, 0] <= 0.011 * CLIP * deviation[0, 0] + 0.02


def test_a_flat_patient_keeps_a_deviation_to_divide_by() -> None:
    _, deviation = folded(np.full((1, 5000, 1), 80.0, np.float32), 0.01, ANYONE).usual(ANYONE)
    assert deviation[0, 0] >= ANYONE.floor[0]
