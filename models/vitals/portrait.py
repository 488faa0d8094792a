"""How a patient's last steps look beside the own usual and anyone's: the features of the anomaly detector.

Steps may be minutes, hours or the samples of any series; six channels are vitals and get the features of their pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.records import Vital
from models.ports import Floats
from models.vitals.baseline import Doubles, Population
from models.vitals.history import CHANNEL, CHANNELS

REACH: Final = 12.0
"""Features end here: beyond, more is not odder."""
HARM: Final = np.array([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])
"""Which way each of ``CHANNELS`` goes in most deteriorations."""
KINDS: Final = ("now", "recent", "slope", "spread", "anyone")
LEVEL, RECENT, SLOPE, SPREAD, ANYONE = range(len(KINDS))
DISTANCE: Final = "distance"
PAIRS: Final = ("shock", "shock_anyone", "breath", "stress", "strain", "strain_anyone", DISTANCE)
"""Shock index beside the own usual and in health; breathing up and oxygen down; pulse, breathing and heat up; how far
vitals are on the harmful side, of the own usual and of anyone's; how far they are at all."""


class Shape(NamedTuple):
    """Over how many steps each kind of feature looks; a channel's value is old from so many ``stale`` steps on."""

    recent: int
    slope: int
    spread: int
    stale: tuple[int, ...]


class Portrait(NamedTuple):
    """``features`` (beds, as ``names``), 0 where unknown; ``now`` (beds, channels) the newest values, NaN unknown;
    ``usual`` the means (beds, channels) and ``z`` the deviations by kind (beds, kinds, channels)."""

    features: Floats
    now: Doubles
    usual: Doubles
    z: Doubles


def names(channels: Sequence[str]) -> tuple[str, ...]:
    """Of the features, in order.

    >>> names(["x"])
    ('now x', 'recent x', 'slope x', 'spread x', 'anyone x', 'distance')
    """
    singles = tuple(f"{kind} {channel}" for kind in KINDS for channel in channels)
    if len(channels) != len(CHANNELS):
        return (*singles, DISTANCE)
    return singles + tuple(f"{kind} {channel}" for kind in ("harm", "harm anyone") for channel in channels) + PAIRS


def drawn(window: Floats, usual: tuple[Doubles, Doubles], population: Population, shape: Shape) -> Portrait:
    """The portrait of windows (beds, steps, channels), newest last, beside ``usual`` (mean, deviation) of each bed."""
    mean, deviation = usual
    look = max(shape.recent, shape.slope, shape.spread)
    near = window[:, -look:]
    known = np.isfinite(near)
    away = np.where(known, (near - mean[:, None].astype(np.float32)) / deviation[:, None].astype(np.float32), 0)
    now = _newest(window, shape.stale)
    z = np.zeros((len(window), len(KINDS), window.shape[2]))
    z[:, LEVEL] = (now - mean) / deviation
    z[:, RECENT] = _mean(away[:, -shape.recent :], known[:, -shape.recent :])
    z[:, SLOPE] = _slope(away[:, -shape.slope :], known[:, -shape.slope :])
    z[:, SPREAD] = _spread(away[:, -shape.spread :], known[:, -shape.spread :])
    z[:, ANYONE] = (now - population.mean) / population.between
    z = np.clip(np.where(np.isfinite(z), z, 0.0), -REACH, REACH)
    parts = [z.reshape(len(window), -1)]
    if window.shape[2] == len(CHANNELS):
        parts.append(_pairs(z, now, mean, deviation))
    parts.append(np.sqrt((z[:, LEVEL] * z[:, LEVEL]).mean(axis=1))[:, None])
    return Portrait(np.concatenate(parts, axis=1).astype(np.float32), now, mean, z)


def _newest(window: Floats, stale: tuple[int, ...]) -> Doubles:
    """The newest known value of each channel, NaN where it is older than ``stale`` steps."""
    backwards = window[:, : -max(stale) - 1 : -1]
    known = np.isfinite(backwards)
    back = known.argmax(axis=1)
    value = np.take_along_axis(backwards, back[:, None], axis=1)[:, 0].astype(np.float64)
    fresh: Doubles = np.where(back < np.array(stale), value, np.nan)
    return fresh


def _mean(away: Floats, known: NDArray[np.bool_]) -> Doubles:
    count = known.sum(axis=1)
    mean: Doubles = away.sum(axis=1, dtype=np.float64) / np.maximum(count, 1)
    return mean


def _slope(away: Floats, known: NDArray[np.bool_]) -> Doubles:
    """The least-squares change over the whole stretch in deviations; 0 from fewer known cells than a third of it."""
    steps = away.shape[1]
    at = (np.arange(steps, dtype=np.float32) - (steps - 1) / 2)[None, :, None]
    seen = known.astype(np.float32)
    count, first, second = seen.sum(axis=1), (seen * at).sum(axis=1), (seen * at * at).sum(axis=1)
    total, product = away.sum(axis=1), (away * at).sum(axis=1)
    below = count * second - first * first
    enough = (count >= max(3, steps / 3)) & (below > 0)
    slope: Doubles = np.where(enough, (count * product - first * total) / np.where(enough, below, 1), 0) * steps
    return slope


def _spread(away: Floats, known: NDArray[np.bool_]) -> Doubles:
    """The logarithm (base 2, doubled) of how many times as variable as usual; 0 from fewer than half the cells."""
    count = known.sum(axis=1)
    most = np.maximum(count, 1)
    mean = away.sum(axis=1) / most
    variance = np.maximum((away * away).sum(axis=1) / most - mean * mean, 0)
    spread: Doubles = np.where(count >= max(3, away.shape[1] / 2), 2 * np.log2(np.sqrt(variance) + 0.25) + 1, 0)
    return spread


def _pairs(z: Doubles, now: Doubles, mean: Doubles, deviation: Doubles) -> Doubles:
    pulse, pressure = CHANNEL[Vital.HEART_RATE], CHANNEL[Vital.SYSTOLIC]
    breath, oxygen, heat = CHANNEL[Vital.RESPIRATION], CHANNEL[Vital.SPO2], CHANNEL[Vital.TEMPERATURE]
    level, anyone = z[:, LEVEL], z[:, ANYONE]
    index = now[:, pulse] / now[:, pressure]  # the shock index, 0.5 to 0.7 in health
    relative = np.hypot(deviation[:, pulse] / mean[:, pulse], deviation[:, pressure] / mean[:, pressure])
    harm, harm_anyone = np.maximum(level * HARM, 0), np.maximum(anyone * HARM, 0)
    found = np.stack(
        [
            np.log(index * mean[:, pressure] / mean[:, pulse]) / relative,
            (index - 0.7) / 0.2,
            (level[:, breath] - level[:, oxygen]) / np.sqrt(2),
            (level[:, pulse] + level[:, breath] + level[:, heat]) / np.sqrt(3),
            np.sqrt((harm * harm).sum(axis=1)),
            np.sqrt((harm_anyone * harm_anyone).sum(axis=1)),
        ],
        axis=1,
    )
    pairs: Doubles = np.clip(np.where(np.isfinite(found), found, 0.0), -REACH, REACH)
    return np.concatenate([harm, harm_anyone, pairs], axis=1)
