"""What healthy bodies do, bed by bed: a pure function of seed, bed and second, computed for all beds at once.

Every bed has its own baseline. Around it run slow waves of several lengths (a common tone that moves pulse, breathing
and pressure together, and one wave a vital), beat-to-beat jitter, and the time of day. A bed's numbers do not depend on
how many other beds there are, and any second can be asked for in any order.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]
_Words: TypeAlias = NDArray[np.uint64]


class Row(IntEnum):
    """Rows of a table of vitals, units as in ``contracts.clinical.codes``."""

    HEART_RATE = 0
    RESPIRATION = 1
    SPO2 = 2
    SYSTOLIC = 3
    DIASTOLIC = 4
    TEMPERATURE = 5


_TONE: Final = len(Row)
_CHANNELS: Final = len(Row) + 1
_BASELINE: Final = 64
_PHASE: Final = 96
_WAVES_S: Final = (5, 40, 300, 2400)
_DAY_S: Final = 86_400
_STREAM: Final = 0x9E3779B97F4A7C15
_CHANNEL_STREAM: Final = 0xD1B54A32D192ED03
# Standard deviations of the waves of 5, 40, 300 and 2400 s, per channel; the tone is in its own unit.
_WAVE_SD: Final = np.array(
    [
        [0.9, 1.3, 1.6, 1.2],  # heart rate
        [0.5, 0.7, 0.6, 0.4],  # respiration
        [0.12, 0.25, 0.3, 0.25],  # SpO2
        [1.2, 1.8, 2.2, 1.8],  # systolic
        [0.6, 0.9, 1.1, 0.9],  # diastolic
        [0.0, 0.0, 0.03, 0.08],  # temperature
        [0.1, 0.45, 0.6, 0.5],  # tone
    ]
)
_JITTER_SD: Final = np.array([0.8, 0.35, 0.2, 1.0, 0.7, 0.02])
_TONE_GAIN: Final = np.array([2.6, 0.7, -0.1, 3.2, 1.6, 0.0])
_DAY_SWING: Final = np.array([3.0, 0.6, -0.2, 4.0, 2.5, 0.25])
"""How far each vital swings over the day: highest at 17:00 UTC, lowest at 05:00."""
_BASELINES: Final = np.array(
    [  # mean, standard deviation, lowest, highest
        [76.0, 7.0, 62.0, 90.0],
        [15.0, 1.4, 12.5, 18.0],
        [97.2, 0.7, 95.8, 98.6],
        [122.0, 9.0, 108.0, 138.0],
        [70.0, 4.5, 63.0, 78.0],
        [36.8, 0.2, 36.4, 37.2],
    ]
)


def mixed(words: _Words) -> _Words:
    """Each word through the finaliser of SplitMix64: neighbours become unrelated."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def uniform(words: _Words) -> Floats:
    """Numbers in [0, 1) from mixed words."""
    return (words >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def gaussian(words: _Words) -> Floats:
    """Numbers of mean 0, deviation 1 and at most 3.5 from mixed words (each the sum of its four quarters)."""
    quarters = np.ascontiguousarray(words).view(np.uint16).reshape(*words.shape, 4)
    sums: Floats = quarters.sum(axis=-1, dtype=np.uint32).astype(np.float64)
    return (sums - 131_070.0) / 37_836.9


class Noise:
    """Random numbers that depend on (seed, bed, channel, index) only."""

    def __init__(self, seed: int, beds: int) -> None:
        stream = np.full(beds, (seed * _STREAM) & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
        self._beds: _Words = mixed(stream + np.arange(1, beds + 1, dtype=np.uint64) * np.uint64(_STREAM))

    def words(self, channel: int | Indices, index: int | Indices, beds: Indices | slice = slice(None)) -> _Words:
        """Mixed words for this channel and index; arrays of channels and indices broadcast against the beds."""
        channels = np.atleast_1d(np.asarray(channel, dtype=np.int64)).astype(np.uint64) * np.uint64(_CHANNEL_STREAM)
        indices = np.atleast_1d(np.asarray(index, dtype=np.int64)).astype(np.uint64) * np.uint64(_STREAM)
        return mixed(mixed(self._beds[beds] ^ channels) + indices)


class _Waves:
    """Smooth noise: random knots with a soft curve between them, every wave of every bed at once."""

    def __init__(self, noise: Noise, beds: int) -> None:
        self._noise = noise
        used = [(channel, n) for channel in range(_CHANNELS) for n in range(len(_WAVES_S)) if _WAVE_SD[channel, n]]
        self._channels = np.array([channel * 8 + n for channel, n in used])
        self._lengths_s = np.array([_WAVES_S[n] for _, n in used])[:, None]
        self._deviations = np.array([_WAVE_SD[channel, n] for channel, n in used])[:, None]
        self._starts = [next(i for i, (c, _) in enumerate(used) if c == channel) for channel in range(_CHANNELS)]
        phases = noise.words(self._channels[:, None] + _PHASE, self._lengths_s)
        self._phases_s = (phases % self._lengths_s.astype(np.uint64)).astype(np.int64)
        self._knot = np.full((len(used), beds), np.iinfo(np.int64).min)
        self._left = np.zeros((len(used), beds))
        self._right = np.zeros((len(used), beds))

    def at(self, second: int) -> Floats:
        """The sum of its waves, one row a channel."""
        knot, within_s = np.divmod(second + self._phases_s, self._lengths_s)
        waves, beds = np.nonzero(knot != self._knot)
        if waves.size:
            channels, index = self._channels[waves], knot[waves, beds]
            self._left[waves, beds] = gaussian(self._noise.words(channels, index, beds))
            self._right[waves, beds] = gaussian(self._noise.words(channels, index + 1, beds))
            self._knot = knot
        x = within_s / self._lengths_s
        weight = x * x * (3.0 - 2.0 * x)
        values = (self._left + (self._right - self._left) * weight) * self._deviations
        total: Floats = np.add.reduceat(values, self._starts, axis=0)
        return total


class Physiology:
    """The healthy vitals of ``beds`` beds.

    >>> body = Physiology(seed=7, beds=3)
    >>> bool((body.at(10, 0) == Physiology(seed=7, beds=500).at(10, 0)[:, :3]).all())
    True
    """

    def __init__(self, seed: int, beds: int) -> None:
        self.beds = beds
        self.noise = Noise(seed, beds)
        spread = np.stack([gaussian(self.noise.words(_BASELINE, row)) for row in Row])
        mean, deviation, lowest, highest = (_BASELINES[:, [column]] for column in range(4))
        self.baseline: Floats = np.clip(mean + deviation * spread, lowest, highest)
        self._waves = _Waves(self.noise, beds)

    def at(self, second: int, day_s: float) -> Floats:
        """One row a vital (``Row``), one column a bed, at this second of the run and this second of the UTC day."""
        swing = -np.cos((day_s - 5 * 3600) / _DAY_S * 2 * np.pi)
        waves = self._waves.at(second)
        fresh = gaussian(self.noise.words(np.arange(len(Row))[:, None] * 8 + 7, second))
        table: Floats = self.baseline + (_DAY_SWING * swing)[:, None]
        table += waves[: len(Row)] + _TONE_GAIN[:, None] * waves[_TONE] + _JITTER_SD[:, None] * fresh
        return table

    def jitter(self, channel: int, second: int, beds: Indices | slice = slice(None)) -> Floats:
        """Fresh unit noise a bed for this second."""
        return gaussian(self.noise.words(channel * 8 + 7, second, beds))
