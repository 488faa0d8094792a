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

    def words(self, channel: int, index: int | NDArray[np.int64], beds: Indices | slice = slice(None)) -> _Words:
        """One mixed word a bed for this channel and index (one index for all, or one a bed)."""
        keys = self._beds[beds]
        indices = np.broadcast_to(np.asarray(index, dtype=np.int64).astype(np.uint64), keys.shape)
        channels = np.full(1, (channel * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
        return mixed(mixed(keys ^ channels) + indices * np.uint64(_STREAM))


class _Wave:
    """Smooth noise of one length on one channel: random knots with a soft curve between them."""

    def __init__(self, noise: Noise, channel: int, length_s: int, beds: int) -> None:
        self._noise = noise
        self._channel = channel
        self._length_s = length_s
        self._phase_s = (noise.words(channel + _PHASE, length_s) % np.uint64(length_s)).astype(np.int64)
        self._knot = np.full(beds, np.iinfo(np.int64).min)
        self._left = np.zeros(beds)
        self._right = np.zeros(beds)

    def at(self, second: int) -> Floats:
        knot, within_s = np.divmod(second + self._phase_s, self._length_s)
        moved = np.flatnonzero(knot != self._knot)
        if moved.size:
            index = knot[moved]
            self._left[moved] = gaussian(self._noise.words(self._channel, index, moved))
            self._right[moved] = gaussian(self._noise.words(self._channel, index + 1, moved))
            self._knot = knot
        x = within_s / self._length_s
        weight = x * x * (3.0 - 2.0 * x)
        return self._left + (self._right - self._left) * weight


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
        self._waves = [
            [
                (_Wave(self.noise, channel * 8 + n, length_s, beds), float(_WAVE_SD[channel, n]))
                for n, length_s in enumerate(_WAVES_S)
                if _WAVE_SD[channel, n]
            ]
            for channel in range(_CHANNELS)
        ]

    def at(self, second: int, day_s: float) -> Floats:
        """One row a vital (``Row``), one column a bed, at this second of the run and this second of the UTC day."""
        swing = -np.cos((day_s - 5 * 3600) / _DAY_S * 2 * np.pi)
        tone = self._channel(_TONE, second)
        table: Floats = self.baseline + (_DAY_SWING * swing)[:, None]
        for row in Row:
            table[row] += (
                self._channel(row, second) + _TONE_GAIN[row] * tone + _JITTER_SD[row] * self.jitter(row, second)
            )
        return table

    def jitter(self, channel: int, second: int, beds: Indices | slice = slice(None)) -> Floats:
        """Fresh unit noise a bed for this second."""
        return gaussian(self.noise.words(channel * 8 + 7, second, beds))

    def _channel(self, channel: int, second: int) -> Floats:
        total = np.zeros(self.beds)
        for wave, deviation in self._waves[channel]:
            total += deviation * wave.at(second)
        return total
