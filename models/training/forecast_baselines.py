"""What a forecast has to beat: persistence, drift, the patient's mean, and gradient boosting on a few numbers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.training.forecast_grid import AHEAD_H, Examples, last_known
from models.vitals.history import CHANNELS, HOURS, known_mean

Floats = NDArray[np.float32]
DRIFT_H: Final = 12
TREES: Final = 200


def persistence(windows: Floats) -> Floats:
    """(n, 6, 4): the last known value, at every horizon."""
    last, _ = last_known(windows)
    return np.repeat(last[:, :, None], len(AHEAD_H), axis=2)


def drift(windows: Floats) -> Floats:
    """(n, 6, 4): the last known value and what it moved an hour, on average, over the last half day."""
    last, ago = last_known(windows)
    recent = windows[:, -DRIFT_H:]
    first, back = last_known(recent[:, ::-1])
    hours = (DRIFT_H - 1 - back) - ago
    slope = np.where(hours > 0, (last - first) / np.maximum(hours, 1), 0)
    ahead = np.array(AHEAD_H, np.float32) + ago[:, :, None]
    result: Floats = (last[:, :, None] + np.where(np.isfinite(slope), slope, 0)[:, :, None] * ahead).astype(np.float32)
    return result


def mean(windows: Floats) -> Floats:
    """(n, 6, 4): the mean of what is known of the last day, at every horizon."""
    return np.repeat(known_mean(windows)[:, :, None], len(AHEAD_H), axis=2)


def boosting_inputs(examples: Examples, channel: int) -> Floats:
    """(n, 6): last value, change over 3 h, mean and spread of 12 h, age, hour of the stay."""
    windows = examples.windows()[:, :, channel : channel + 1]
    last, _ = last_known(windows)
    middle = known_mean(windows[:, -12:])
    spread = np.sqrt(np.maximum(known_mean(windows[:, -12:] ** 2) - middle**2, 0))
    columns = [last[:, 0], last[:, 0] - windows[:, HOURS - 4, 0], middle[:, 0], spread[:, 0]]
    return np.stack([*columns, examples.age_years, examples.stay_h], axis=1)


def boosting(train: Examples, judged: Examples, seed: int, done: Callable[[int, int], None]) -> Floats:
    """(n, 6, 4) of ``judged`` by scikit-learn's gradient boosting for the median, one model a vital and horizon.

    ``done(models, of)`` is told of progress.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    threads = importlib.import_module("threadpoolctl")  # comes with scikit-learn, untyped
    result = np.full((len(judged), len(CHANNELS), len(AHEAD_H)), np.nan, np.float32)
    truth = train.truth()
    for channel in range(len(CHANNELS)):
        learned, asked = boosting_inputs(train, channel), boosting_inputs(judged, channel)
        for horizon in range(len(AHEAD_H)):
            moves = truth[:, channel, horizon] - learned[:, 0]
            rows = np.isfinite(moves)
            model = HistGradientBoostingRegressor(
                loss="absolute_error", max_iter=TREES, learning_rate=0.06, max_leaf_nodes=15, random_state=seed
            )
            known = np.isfinite(asked[:, 0])
            with threads.threadpool_limits(
                1
            ):  # its threads wait for each other by spinning: a busy machine stands still
                model.fit(learned[rows], moves[rows])
                result[known, channel, horizon] = asked[known, 0] + model.predict(asked[known])
            done(channel * len(AHEAD_H) + horizon + 1, len(CHANNELS) * len(AHEAD_H))
    return result
