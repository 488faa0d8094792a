"""95 % intervals by bootstrap over patients: a patient's rows stand or fall together. Percentiles, seeded, vectorised.

All functions take one value a row and the patient of each row, and return None where the figure is not defined on the
rows (no row, one class only). The same patients and seed give the same draws, so that figures of two models are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.registry import Interval

DRAWS: Final = 1000
SEED: Final = 20260102
LEVEL: Final = 95.0
BINS: Final = 10
CHUNK_CELLS: Final = 4_000_000
"""Weights held at a time (draws x rows): 32 MB."""

Floats = NDArray[np.float64]
Patients = Sequence[str] | NDArray[Any]
_Statistic = Callable[[Floats], Floats]


def resamples(patients: Patients, draws: int = DRAWS, seed: int = SEED) -> Iterator[NDArray[np.intp]]:
    """Row numbers of each draw: as many patients as there are, with replacement, each with all its rows."""
    _, which = np.unique(np.asarray(patients), return_inverse=True)
    order = np.argsort(which, kind="stable")
    sizes = np.bincount(which)
    starts = np.cumsum(sizes) - sizes
    for picked in _picks(len(sizes), draws, seed):
        lengths = sizes[picked]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield order[np.repeat(starts[picked], lengths) + within]


def interval(
    statistic: Callable[[NDArray[np.intp]], float], patients: Patients, draws: int = DRAWS, seed: int = SEED
) -> Interval | None:
    """Any statistic of row numbers. Slow for large data: the functions below do not call it a thousand times."""
    n = len(patients)
    if n == 0:
        return None
    values = np.array([statistic(rows) for rows in resamples(patients, draws, seed)], np.float64)
    return _interval(float(statistic(np.arange(n))), values, n)


def ratio(
    numerator: ArrayLike, denominator: ArrayLike, patients: Patients, draws: int = DRAWS, seed: int = SEED
) -> Interval | None:
    """Sum over sum: a recall, a PPV, alarms a patient-day. A row that takes no part has 0 in both."""
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    sums = _by_patient(patients, above, below)
    weights = _weights(len(sums), draws, seed) @ sums
    whole = _over(above.sum(keepdims=True), below.sum(keepdims=True))
    return _interval(float(whole[0]), _over(weights[:, 0], weights[:, 1]), len(above))


def mean(values: ArrayLike, patients: Patients, draws: int = DRAWS, seed: int = SEED) -> Interval | None:
    """Mean of rows: an MAE of absolute errors, a coverage of hits, a Brier score of squared errors."""
    given = np.asarray(values, np.float64)
    return ratio(given, np.ones_like(given), patients, draws, seed)


def skill(
    errors: ArrayLike, baseline: ArrayLike, patients: Patients, draws: int = DRAWS, seed: int = SEED
) -> Interval | None:
    """1 - MAE / MAE of a baseline on the same rows, of absolute errors."""
    return _complement(ratio(errors, baseline, patients, draws, seed))


def brier(truth: ArrayLike, probability: ArrayLike, patients: Patients, draws: int = DRAWS) -> Interval | None:
    """Mean squared error of probabilities."""
    return mean((np.asarray(probability, np.float64) - np.asarray(truth, np.float64)) ** 2, patients, draws)


def auroc(truth: ArrayLike, score: ArrayLike, patients: Patients, draws: int = DRAWS) -> Interval | None:
    """Area under the receiver operating characteristic, ties counting half, as scikit-learn's ``roc_auc_score``."""
    return _ranked(truth, patients, draws, _auroc(truth, score))


def auprc(truth: ArrayLike, score: ArrayLike, patients: Patients, draws: int = DRAWS) -> Interval | None:
    """Average precision, as scikit-learn's ``average_precision_score``."""
    return _ranked(truth, patients, draws, _auprc(truth, score))


def auroc_gain(
    truth: ArrayLike, score: ArrayLike, other: ArrayLike, patients: Patients, draws: int = DRAWS
) -> Interval | None:
    """AUROC of ``score`` less that of ``other``, paired draw by draw."""
    ours, theirs = _auroc(truth, score), _auroc(truth, other)
    return _ranked(truth, patients, draws, lambda weights: ours(weights) - theirs(weights))


def ece(
    truth: ArrayLike, probability: ArrayLike, patients: Patients, bins: int = BINS, draws: int = DRAWS
) -> Interval | None:
    """Expected calibration error over ``bins`` of equally many rows (risks crowd near zero: equal widths hide them).

    Even a perfectly calibrated model has some, the more the fewer the rows.
    """
    true, told = np.asarray(truth, np.float64), np.asarray(probability, np.float64)
    if not len(true):
        return None
    edges = np.unique(np.quantile(told, np.arange(1, bins) / bins))
    at = np.searchsorted(edges, told, side="right")
    gaps = np.zeros((len(true), len(edges) + 1))
    gaps[np.arange(len(true)), at] = told - true
    sums = _by_patient(patients, *gaps.T, np.ones_like(true))
    drawn = _weights(len(sums), draws, SEED) @ sums
    spread = np.abs(drawn[:, :-1]).sum(axis=1) / drawn[:, -1]
    return _interval(float(np.abs(gaps.sum(axis=0)).sum() / len(true)), spread, len(true))


def calibration_slope(
    truth: ArrayLike, probability: ArrayLike, patients: Patients, draws: int = 200
) -> Interval | None:
    """Slope of a logistic regression of the truth on the log odds told: 1 is right, below 1 is too extreme."""
    true = np.asarray(truth, np.float64)
    told = np.clip(np.asarray(probability, np.float64), 1e-6, 1 - 1e-6)
    odds = np.log(told / (1 - told))
    if len(true) and np.ptp(odds) < 1e-9:
        return None
    return _ranked(true, patients, draws, lambda weights: _slope(weights, odds, true))


def _picks(patients: int, draws: int, seed: int) -> Iterator[NDArray[np.intp]]:
    chance = np.random.default_rng(seed)
    for _ in range(draws):
        yield chance.integers(patients, size=patients)


def _weights(patients: int, draws: int, seed: int) -> Floats:
    """How often each patient (in sorted order) is in each draw."""
    counts = [np.bincount(picked, minlength=patients) for picked in _picks(patients, draws, seed)]
    return np.array(counts, np.float64).reshape(draws, patients)


def _by_patient(patients: Patients, *columns: Floats) -> Floats:
    """Sums of the columns, a row for each patient."""
    names, which = np.unique(np.asarray(patients), return_inverse=True)
    sums = [np.bincount(which, weights=column, minlength=len(names)) for column in columns]
    return np.array(sums, np.float64).T.reshape(len(names), len(columns))


def _ranked(truth: ArrayLike, patients: Patients, draws: int, statistic: _Statistic) -> Interval | None:
    """Interval of a statistic that needs both classes; it is given weights (draws, rows), a chunk at a time."""
    true = np.asarray(truth, bool)
    if not true.any() or true.all():
        return None
    _, which = np.unique(np.asarray(patients), return_inverse=True)
    weights = _weights(int(which.max()) + 1, draws, SEED)
    step = max(1, CHUNK_CELLS // len(true))
    drawn = [statistic(weights[start : start + step][:, which]) for start in range(0, draws, step)]
    return _interval(float(statistic(np.ones((1, len(true))))[0]), np.concatenate(drawn), len(true))


def _groups(truth: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Order by falling score, where each run of equal scores starts, and the truth in that order."""
    values = np.asarray(score, np.float64)
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    return order, starts, np.asarray(truth, np.float64)[order]


def _auroc(truth: ArrayLike, score: ArrayLike) -> _Statistic:
    order, starts, true = _groups(truth, score)

    def of(weights: Floats) -> Floats:
        ordered = weights[:, order]
        positive = np.add.reduceat(ordered * true, starts, axis=1)
        negative = np.add.reduceat(ordered * (1 - true), starts, axis=1)
        above = np.cumsum(positive, axis=1) - positive / 2
        return _over((above * negative).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))

    return of


def _auprc(truth: ArrayLike, score: ArrayLike) -> _Statistic:
    order, starts, true = _groups(truth, score)

    def of(weights: Floats) -> Floats:
        ordered = weights[:, order]
        positive = np.add.reduceat(ordered * true, starts, axis=1)
        found = np.cumsum(positive, axis=1)
        called = np.cumsum(np.add.reduceat(ordered, starts, axis=1), axis=1)
        precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
        return _over((positive * precision).sum(axis=1), positive.sum(axis=1))

    return of


def _slope(weights: Floats, odds: Floats, true: Floats, steps: int = 12) -> Floats:
    """Newton's method for intercept and slope, all draws at once; not a number where it does not settle.

    It does not where the classes can be told apart: then no slope is steep enough.
    """
    share = np.clip((weights @ true) / weights.sum(axis=1), 1e-9, 1 - 1e-9)
    intercept, slope = np.log(share / (1 - share)), np.zeros(len(weights))
    step = np.full(len(weights), np.nan)
    for _ in range(steps):
        told = 1 / (1 + np.exp(-np.clip(intercept[:, None] + slope[:, None] * odds, -30, 30)))
        off, curve = weights * (true - told), weights * told * (1 - told)
        a, b, c = curve.sum(axis=1), curve @ odds, curve @ odds**2
        g, h = off.sum(axis=1), off @ odds
        flat = a * c - b * b
        intercept = intercept + _over(c * g - b * h, flat)
        step = _over(a * h - b * g, flat)
        slope = slope + step
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(step) < 1e-6, slope, np.nan)


def _over(above: Floats, below: Floats) -> Floats:
    """The quotient, not a number where the divisor is not above zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Floats = np.where(below > 0, np.divide(above, below), np.nan)
    return result


def _interval(value: float, drawn: Floats, n: int) -> Interval | None:
    known = drawn[np.isfinite(drawn)]
    if n == 0 or not np.isfinite(value) or len(known) * 2 < len(drawn):
        return None
    low, high = np.percentile(known, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high), n)


def _complement(found: Interval | None) -> Interval | None:
    return None if found is None else Interval(1 - found.value, 1 - found.high, 1 - found.low, found.n)
