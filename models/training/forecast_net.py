"""The forecaster's networks: an LSTM over a window, a head that starts at persistence, quantiles that cannot cross.

``features`` says in numpy what the exported graph (``forecast_export``) does to raw windows before the LSTM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.training.forecast_grid import last_known

Floats = NDArray[np.float32]

LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
MEDIAN: Final = LEVELS.index(0.5)
NORMAL_QUARTILES: Final = 1.349
"""The distance between the quartiles of a normal distribution, in standard deviations."""
BENDS: Final = (-1.0, 0.7)
"""The head also sees how far the last value is above these (in deviations): SpO2 near its ceiling moves otherwise."""
FAR: Final = 8.0
"""Inputs further than this many deviations from the middle look alike."""


@dataclass(frozen=True)
class Shape:
    """What one head looks like: its window, its horizons (in steps), and how inputs and outputs are scaled.

    ``mean`` and ``deviation`` (6,) are of the training values; ``reach`` (6, horizons) is the mean absolute change to
    each horizon, the unit in which the network speaks. ``spans`` are the lengths of the recent past whose mean and
    spread the head sees beside the LSTM's state.
    """

    steps: int
    horizons: tuple[int, ...]
    mean: Floats
    deviation: Floats
    reach: Floats
    spans: tuple[int, ...]
    age_mean: float = 63.0
    age_deviation: float = 17.0

    @property
    def facts(self) -> int:
        """How many numbers the head sees beside the LSTM's state."""
        return len(self.mean) * (3 + len(BENDS) + 2 * len(self.spans)) + 3


def features(shape: Shape, windows: Floats, age_years: Floats, stay_h: Floats) -> tuple[Floats, Floats]:
    """(sequence (n, steps, 18), facts (n, ``shape.facts``)) of raw windows with NaN for unknown.

    A step shows each vital as its distance from the last known value, whether it was known, and for how long it had not
    been. Unknown is 0 beside its mask.
    """
    known = np.isfinite(windows)
    z = np.where(known, ((windows - shape.mean) / shape.deviation).clip(-FAR, FAR), 0).astype(np.float32)
    place = np.where(known, np.arange(shape.steps)[None, :, None], 0)
    place = np.maximum.accumulate(place, axis=1)
    held = np.take_along_axis(z, place, axis=1)
    ever = np.maximum.accumulate(known, axis=1)
    ago = np.where(ever, np.arange(shape.steps)[None, :, None] - place, shape.steps) / np.float32(shape.steps)
    anchor = held[:, -1]
    moved = np.where(ever, held - anchor[:, None], 0)
    sequence = np.concatenate([moved, known, ago], axis=2).astype(np.float32)
    recent = [anchor, ever[:, -1], ago[:, -1]]
    recent += [np.maximum(anchor - bend, 0) for bend in BENDS]
    for span in shape.spans:
        count = known[:, -span:].sum(1)
        mean = z[:, -span:].sum(1) / np.maximum(count, 1)
        off = np.where(known[:, -span:], z[:, -span:] - mean[:, None], 0)
        spread = np.sqrt((off**2).sum(1) / np.maximum(count, 1) + 1e-4)
        recent += [np.where(count > 0, mean - anchor, 0), spread]
    told = np.isfinite(age_years)
    age = np.where(told, (age_years - shape.age_mean) / shape.age_deviation, 0)
    hours = np.log1p(np.where(np.isfinite(stay_h), stay_h, 24.0).clip(0)) - 3.0
    facts = np.concatenate([*recent, np.stack([age, told, hours], axis=1)], axis=1).astype(np.float32)
    return sequence, facts


class Settle(NamedTuple):
    """How a median is told, (6, horizons) each in the vitals' units: drawn ``shrink`` nearer to persistence, and then
    as a whole number of ``grain`` away from it.

    Vitals are told in whole numbers and often repeat: SpO2 stays exactly as it was in a third of all hours, which a
    smooth function cannot say.
    """

    shrink: Floats
    grain: Floats


def settled(moves: Floats, settle: Settle) -> Floats:
    """Moves (n, 6, horizons, 5) in the vitals' units as they are told; the other quantiles stay on their side."""
    median = moves[..., MEDIAN]
    kept = np.sign(median) * np.maximum(np.abs(median) - settle.shrink, 0)
    told = (np.rint(kept / settle.grain) * settle.grain)[..., None]
    under, over = np.minimum(moves[..., :MEDIAN], told), np.maximum(moves[..., MEDIAN + 1 :], told)
    result: Floats = np.concatenate([under, told, over], axis=-1)
    return result


def quantiles(shape: Shape, windows: Floats, moves: Floats, settle: Settle) -> Floats:
    """(n, 6, horizons, 5) in the vitals' units from the network's ``moves``; NaN for a vital that was never known."""
    anchor, _ = last_known(windows)
    scale = (shape.deviation[:, None] * shape.reach)[None, :, :, None]
    return anchor[:, :, None, None] + settled(moves * scale, settle)


def network(shape: Shape, units: int, wide: int, dropout: float, seed: int) -> Any:
    """A Keras model from (sequence, facts) to ``moves`` (n, 6, horizons, 5), in units of ``reach``.

    The last layer starts at zero: before any training the median is the last known value.
    """
    import keras

    keras.utils.set_random_seed(seed)
    sequence = keras.Input((shape.steps, len(shape.mean) * 3), name="sequence")
    facts = keras.Input((shape.facts,), name="facts")
    state = keras.layers.LSTM(units, name="lstm", unroll=False)(sequence)
    both = keras.layers.Concatenate()([keras.layers.Dropout(dropout, name="state_dropout")(state), facts])
    hidden = keras.layers.Dense(wide, activation="tanh", name="hidden")(both)
    hidden = keras.layers.Dropout(dropout, name="hidden_dropout")(hidden)
    outputs = len(shape.mean) * len(shape.horizons)
    raw = keras.layers.Dense(outputs * len(LEVELS), kernel_initializer="zeros", name="raw")(hidden)
    raw = keras.layers.Reshape((len(shape.mean), len(shape.horizons), len(LEVELS)))(raw)
    return keras.Model([sequence, facts], keras.layers.Lambda(ordered, name="ordered")(raw))


def ordered(raw: Any) -> Any:
    """Quantiles from five free numbers: the median, and steps away from it that are never negative."""
    from keras import ops

    step = ops.softplus(raw)
    low = raw[..., MEDIAN] - step[..., 1]
    high = raw[..., MEDIAN] + step[..., 3]
    return ops.stack([low - step[..., 0], low, raw[..., MEDIAN], high, high + step[..., 4]], axis=-1)


def pinball(truth: Any, said: Any) -> Any:
    """Mean pinball loss over what is known; ``truth`` is (n, 6, horizons), NaN unknown, in units of ``reach``."""
    from keras import ops

    known = ops.cast(ops.isfinite(truth), "float32")
    level = ops.convert_to_tensor(np.array(LEVELS, np.float32))
    weight = ops.convert_to_tensor(np.array([1, 1, 2, 1, 1], np.float32))
    miss = ops.where(ops.isfinite(truth), truth, 0.0)[..., None] - said
    loss = ops.sum(ops.maximum(level * miss, (level - 1.0) * miss) * weight, axis=-1)
    return ops.sum(loss * known) / (ops.sum(known) + 1.0)


def scales(windows: Floats, truth: Floats) -> tuple[Floats, Floats, Floats]:
    """(middle, deviation, reach) of training windows and what followed; the first two by quartiles, which outliers
    leave alone."""
    low, mean, high = np.nanpercentile(windows[:, -1], (25, 50, 75), axis=0)
    deviation = (high - low) / NORMAL_QUARTILES
    last, _ = last_known(windows)
    reach = np.nanmean(np.abs(truth - last[:, :, None]), axis=0) / deviation[:, None]
    return mean.astype(np.float32), deviation.astype(np.float32), reach.astype(np.float32)


def weights(model: Any) -> dict[str, Sequence[Floats]]:
    """The trained arrays of a network by layer."""
    return {name: [np.asarray(w) for w in model.get_layer(name).get_weights()] for name in ("lstm", "hidden", "raw")}
