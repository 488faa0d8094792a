"""Intervals over patients against closed forms, scikit-learn and slow bootstraps that are plain to read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.registry import Interval
from models.training import intervals

Floats = NDArray[np.float64]
CHANCE = np.random.default_rng(5)
PATIENTS = np.repeat([f"p{i}" for i in range(300)], CHANCE.integers(1, 6, 300))
RISK = np.round(CHANCE.beta(1, 6, len(PATIENTS)), 2)
TRUE = CHANCE.random(len(PATIENTS)) < RISK


def known(found: Interval | None) -> Interval:
    assert found is not None
    return found


def test_a_mean_over_single_rows_has_the_width_of_the_normal_law() -> None:
    values = np.random.default_rng(1).normal(3, 2, 2000)
    found = known(intervals.mean(values, np.arange(2000)))
    half = 1.96 * values.std() / np.sqrt(2000)
    assert found.value == pytest.approx(values.mean())
    assert found.n == 2000
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_a_share_has_the_width_of_the_binomial_law() -> None:
    hits = np.arange(1000) < 900
    found = known(intervals.mean(hits, np.arange(1000)))
    half = 1.96 * np.sqrt(0.9 * 0.1 / 1000)
    assert (found.low, found.high) == pytest.approx((0.9 - half, 0.9 + half), abs=0.1 * half)


def test_rows_of_one_patient_stand_or_fall_together() -> None:
    """100 rows a patient that all say the same are worth one row a patient."""
    each = np.random.default_rng(2).normal(size=200)
    alone = known(intervals.mean(each, np.arange(200)))
    repeated = known(intervals.mean(np.repeat(each, 100), np.repeat(np.arange(200), 100)))
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high))
    assert repeated.n == 20_000


def test_the_order_and_the_names_of_patients_do_not_matter() -> None:
    order = np.random.default_rng(3).permutation(len(RISK))
    a, b = intervals.auroc(TRUE, RISK, PATIENTS), intervals.auroc(TRUE[order], RISK[order], PATIENTS[order])
    assert known(a).low == pytest.approx(known(b).low)
    assert intervals.mean(RISK, PATIENTS) == intervals.mean(RISK, [str(name) for name in PATIENTS])


def test_a_draw_takes_all_rows_of_as_many_patients_as_there_are() -> None:
    sizes = {name: int((name == PATIENTS).sum()) for name in np.unique(PATIENTS)}
    for rows in intervals.resamples(PATIENTS, draws=20):
        drawn, counts = np.unique(PATIENTS[rows], return_counts=True)
        times = {name: count / sizes[name] for name, count in zip(drawn, counts, strict=True)}
        assert all(float(each).is_integer() for each in times.values())
        assert sum(times.values()) == len(sizes)


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert intervals.mean(RISK, PATIENTS) == intervals.mean(RISK, PATIENTS)
    assert intervals.mean(RISK, PATIENTS) != intervals.mean(RISK, PATIENTS, seed=1)


def test_a_ratio_is_of_sums_and_not_a_mean_of_ratios() -> None:
    found = known(intervals.ratio([1, 0, 3], [2, 0, 10], ["a", "b", "c"]))
    assert found.value == pytest.approx(4 / 12)


def test_skill_is_one_less_the_ratio_of_errors() -> None:
    found = known(intervals.skill([1.0] * 50, [2.0] * 50, np.arange(50)))
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    worse = known(intervals.skill(RISK + 1, RISK + 0.5, PATIENTS))
    assert worse.low <= worse.value <= worse.high < 0


@pytest.mark.parametrize("name", ["auroc", "auprc", "brier", "slope"])
def test_a_quick_figure_is_the_slow_one_of_scikit_learn(name: str) -> None:
    from sklearn import metrics
    from sklearn.linear_model import LogisticRegression

    def slope(true: NDArray[np.bool_], told: Floats) -> float:
        p = np.clip(told, 1e-6, 1 - 1e-6)
        model = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(np.log(p / (1 - p))[:, None], true)
        return float(model.coef_[0, 0])

    theirs, ours = {
        "auroc": (metrics.roc_auc_score, intervals.auroc),
        "auprc": (metrics.average_precision_score, intervals.auprc),
        "brier": (metrics.brier_score_loss, intervals.brier),
        "slope": (slope, intervals.calibration_slope),
    }[name]
    expected = intervals.interval(lambda rows: float(theirs(TRUE[rows], RISK[rows])), PATIENTS, draws=50)
    found, wanted = known(ours(TRUE, RISK, PATIENTS, draws=50)), known(expected)
    assert found.value == pytest.approx(wanted.value, rel=1e-5)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-4)


def test_a_perfect_ranking_has_no_spread_and_chance_has_a_half() -> None:
    truth = np.arange(100) % 2
    assert intervals.auroc(truth, truth, np.arange(100)) == Interval(1.0, 1.0, 1.0, 100)
    assert known(intervals.auroc(truth, np.zeros(100), np.arange(100))).value == 0.5


def test_paired_figures_are_sharper_than_their_parts() -> None:
    other = RISK + np.random.default_rng(4).normal(0, 0.02, len(RISK))
    gain = known(intervals.auroc_gain(TRUE, RISK, other, PATIENTS))
    ours, theirs = known(intervals.auroc(TRUE, RISK, PATIENTS)), known(intervals.auroc(TRUE, other, PATIENTS))
    assert gain.value == pytest.approx(ours.value - theirs.value)
    assert gain.high - gain.low < (ours.high - ours.low) / 2


def test_calibration_error_sees_what_is_told_too_high() -> None:
    right, high = known(intervals.ece(TRUE, RISK, PATIENTS)), known(intervals.ece(TRUE, RISK + 0.1, PATIENTS))
    assert right.value < 0.05
    assert high.value == pytest.approx(0.1, abs=0.03)
    assert intervals.ece([0, 1], [0.5, 0.5], ["a", "b"]) == Interval(0.0, 0.0, 0.5, 2)


def test_a_slope_below_one_says_too_extreme() -> None:
    odds = np.log(np.clip(RISK, 0.01, 0.99) / (1 - np.clip(RISK, 0.01, 0.99)))
    extreme = 1 / (1 + np.exp(-2 * odds))
    assert known(intervals.calibration_slope(TRUE, extreme, PATIENTS)).high < 0.75


def test_what_is_not_defined_is_none_and_not_a_number_that_misleads() -> None:
    assert intervals.mean([], []) is None
    assert intervals.ece([], [], []) is None
    assert intervals.interval(lambda rows: 0.0, []) is None
    assert intervals.ratio([0, 0], [0, 0], ["a", "b"]) is None
    assert intervals.auroc([True, True], [0.1, 0.2], ["a", "b"]) is None
    assert intervals.auprc([], [], []) is None
    assert intervals.calibration_slope([0, 1], [0.5, 0.5], ["a", "b"]) is None
    assert intervals.calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], list("abcd")) is None, "told apart: no slope"
