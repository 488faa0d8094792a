"""What is usual for a patient: exponentially weighted mean and spread of a vital, beside what is usual for anyone."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
CLIP: Final = 2.5
"""A value farther than this many deviations from the usual is learned as if it were just there."""


class Population(NamedTuple):
    """What is usual for anyone, a value a channel: mean of the patients' means, deviation between them and within one.

    ``floor`` is the least deviation believed. A patient's own mean counts as much as the population's after
    ``mean_steps`` steps, the own spread after ``spread_steps``.
    """

    mean: Doubles
    between: Doubles
    within: Doubles
    floor: Doubles
    mean_steps: float
    spread_steps: float


class Baseline(NamedTuple):
    """Of beds: (beds, channels) each. ``steps`` learned, and river's ``EWMean`` of the values and of their squares."""

    steps: Doubles
    mean: Doubles
    square: Doubles

    @classmethod
    def new(cls, beds: int, channels: int) -> Baseline:
        """Nothing learned yet."""
        return cls(np.zeros((beds, channels)), np.zeros((beds, channels)), np.zeros((beds, channels)))

    def learned(self, values: Doubles, fading: Doubles | float, share: Doubles | float = 1.0) -> Baseline:
        """With one more value a bed and channel; NaN teaches nothing, a ``share`` below 1 less than it might.

        The plain mean until ``1 / fading`` steps are learned, then ``river.stats.EWMean(fading)``; ``spread`` likewise
        is ``EWVar``. (The tests hold both against river.)
        """
        known = np.isfinite(values)
        weight = np.where(self.steps > 0, share * np.maximum(fading, 1.0 / (self.steps + 1.0)), 1.0)
        weight = np.where(known, weight, 0.0)
        x = np.where(known, values, 0.0)
        return Baseline(
            self.steps + known,
            self.mean + weight * (x - self.mean),
            self.square + weight * (x * x - self.square),
        )

    def robustly(
        self, values: Doubles, fading: Doubles | float, population: Population, share: Doubles | float = 1.0
    ) -> Baseline:
        """As ``learned``, with values far from the usual drawn in: one odd minute moves no baseline."""
        mean, deviation = self.usual(population)
        reach = CLIP * deviation
        return self.learned(np.clip(values, mean - reach, mean + reach), fading, share)

    def spread(self) -> Doubles:
        """The variance learned."""
        found: Doubles = np.maximum(self.square - self.mean * self.mean, 0.0)
        return found

    def usual(self, population: Population) -> tuple[Doubles, Doubles]:
        """(mean, deviation) expected of the next value: the patient's own as far as it is known, else anyone's."""
        own = self.steps / (self.steps + population.mean_steps)
        mean = own * self.mean + (1.0 - own) * population.mean
        held = self.steps / (self.steps + population.spread_steps)
        variance = held * self.spread() + (1.0 - held) * population.within**2
        variance = variance + (1.0 - own) * population.between**2
        return mean, np.maximum(np.sqrt(variance), population.floor)


def folded(cells: NDArray[np.float32], fading: float, population: Population) -> Baseline:
    """The baseline after (beds, steps, channels) of cells, oldest first."""
    base = Baseline.new(cells.shape[0], cells.shape[2])
    for step in range(cells.shape[1]):
        base = base.robustly(cells[:, step].astype(np.float64), fading, population)
    return base
