"""What the forecaster's heads start from: stretches, offsets, shrinkage and how crossings hang together, from
validation."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.training.forecast_grid import last_known
from models.training.forecast_net import LEVELS, MEDIAN, Settle, settled
from models.vitals import conformal
from models.vitals.conformal import HORIZONS, WIDTH, Start
from models.vitals.history import CHANNELS
from models.ward.policy import load_policy

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

SHRINKS: Final = (0.0, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3)
FINE: Final = 0.001
GRAINS: Final = (FINE, 0.5, 1.0)
APARTS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
FLOOR: Final = 0.2
"""No side of an interval is reckoned narrower than this share of the usual change."""
LEAST_EVENTS: Final = 30


@cache
def usual_limits() -> Floats:
    """(6, 2): the alarm limits of the policy that is shipped, NaN where it has none."""
    limits = load_policy().limits
    sides = [(limits[v].low, limits[v].high) if v in limits else (None, None) for v in CHANNELS]
    return np.array([[np.nan if side is None else side for side in pair] for pair in sides], np.float64)


def best_settle(moves: Singles, truth_moves: Singles) -> Settle:
    """How medians are best told, by mean absolute error; (n, 6, horizons, ...) in the vitals' units, NaN unknown."""
    cells = moves.shape[1:3]
    choices = [(shrink, grain) for grain in GRAINS for shrink in SHRINKS]
    usual = np.nanmean(np.abs(truth_moves), axis=0)
    errors = []
    for shrink, grain in choices:
        tried = Settle((shrink * usual).astype(np.float32), np.full(cells, grain, np.float32))
        errors.append(np.nanmean(np.abs(truth_moves - settled(moves, tried)[..., MEDIAN]), axis=0))
    best = np.argmin(np.stack(errors), axis=0)
    shrink, grain = (np.array(each, np.float32)[best] for each in zip(*choices, strict=True))
    return Settle(np.round(shrink * usual, 4).astype(np.float32), grain)


def start(quantiles: Singles, windows: Singles, truth: Singles, reach: Floats) -> Start:
    """Where books begin. ``quantiles`` (n, 6, horizons, 5) and ``reach`` (6, horizons) in the vitals' units."""
    last, _ = last_known(windows)
    off = truth.astype(np.float64) - last[:, :, None]
    miss = np.abs(truth - quantiles[..., MEDIAN])
    known = np.isfinite(miss)
    naive = np.where(known, np.abs(off), 0).sum(0)
    skill = 1 - np.where(known, miss, 0).sum(0) / np.maximum(naive, 1e-9)
    floor = FLOOR * reach
    middle = quantiles[..., MEDIAN].astype(np.float64)
    below = (middle - truth) / np.maximum(middle - quantiles[..., 0], floor)
    above = (truth - middle) / np.maximum(quantiles[..., 4] - middle, floor)
    stretch = np.stack([_highest(below), _highest(above)])
    offsets = np.stack([_level(off, level, reach) for level in LEVELS if level != 0.5])
    return Start(np.round(skill, 4), np.round(stretch.clip(*conformal.BOUNDS), 4), np.round(floor, 5), offsets)


def _highest(scores: Floats) -> Floats:
    """The score that ``TAIL`` of the cases are above, with split conformal prediction's finite-sample correction."""
    found = np.ones((WIDTH, HORIZONS))
    for cell in np.ndindex(WIDTH, HORIZONS):
        known = np.sort(scores[(slice(None), *cell)])
        known = known[np.isfinite(known)]
        if len(known) >= 1 / conformal.TAIL:
            rank = min(len(known), int(np.ceil((len(known) + 1) * (1 - conformal.TAIL))))
            found[cell] = known[rank - 1]
    return found


def _level(off: Floats, level: float, reach: Floats) -> Floats:
    side = -1 if level < 0.5 else 1
    found = side * reach * 2 * abs(level - 0.5)
    for cell in np.ndindex(WIDTH, HORIZONS):
        known = off[(slice(None), *cell)]
        known = known[np.isfinite(known)]
        if len(known) >= 1 / conformal.TAIL:
            found[cell] = np.quantile(known, level)
    least = FLOOR * reach
    result: Floats = np.round(np.minimum(found, -least) if side < 0 else np.maximum(found, least), 4).astype(float)
    return result


def crossed(following: Singles, limits: Floats, ends: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(happened (n, 2, 6, horizons), known (n, 6, horizons)): whether each vital was beyond its low or high limit at
    some step up to each of ``ends``, and whether it was measured at all by then.
    """
    happened, known = [], []
    with np.errstate(invalid="ignore"):
        for end in ends:
            span = following[:, :end]
            happened.append(np.stack([(span < limits[:, 0]).any(1), (span > limits[:, 1]).any(1)], axis=1))
            known.append(np.isfinite(span).any(1))
    return np.stack(happened, axis=-1), np.stack(known, axis=-1)


def best_apart(
    quantiles: Singles, windows: Singles, following: Singles, begin: Start, reach: Floats, ends: tuple[int, ...]
) -> Floats:
    """(2, 6): for below and above, the ``apart`` of ``conformal.beyond`` with the lowest Brier score over all horizons.

    Judged with the shipped policy's limits where the last known value is within them; 0.5 where there are too few
    crossings to tell.
    """
    limits = usual_limits()
    last, _ = last_known(windows)
    book = conformal.opened(begin, reach)
    with np.errstate(invalid="ignore"):
        band = conformal.network_band(book, begin, quantiles.astype(np.float64))
        within = ~((last < limits[:, 0]) | (last > limits[:, 1]))
    happened, known = crossed(following, limits, ends)
    found = np.full((2, WIDTH), 0.5)
    each = np.broadcast_to(limits[None], (len(band), WIDTH, 2))
    for side in (0, 1):
        scores = []
        for amount in APARTS:
            with np.errstate(invalid="ignore"):
                told = conformal.beyond(band, each, np.full((2, WIDTH), amount))[..., side]
            counted = known & within[:, :, None] & np.isfinite(told)
            loss = np.where(counted, (np.where(counted, told, 0) - happened[:, side]) ** 2, 0)
            scores.append(loss.sum((0, 2)) / np.maximum(counted.sum((0, 2)), 1))
        best = np.array(APARTS)[np.argmin(np.stack(scores), axis=0)]
        enough = (happened[:, side, :, -1] & known[:, :, -1] & within).sum(0) >= LEAST_EVENTS
        found[side] = np.where(enough, best, 0.5)
    return found


def parameters(begin: Start, reach: Floats, apart: Floats, speaks: NDArray[np.bool_], **further: Any) -> dict[str, Any]:
    """What ``models.vitals.forecast_head.Head`` reads of the manifest."""
    tables = {name: getattr(begin, name).tolist() for name in Start._fields}
    return {
        **tables,
        "reach": np.round(reach, 5).tolist(),
        "apart": apart.tolist(),
        "speaks": speaks.astype(int).tolist(),
        **further,
    }
