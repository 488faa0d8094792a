"""Hourly windows of stays and what came after them: the examples that the forecaster's hour head learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.training.stays import Stay
from models.vitals.history import CHANNELS, HOURS

AHEAD_H: Final = (1, 2, 4, 6)
"""Horizons of the hour head, in hours."""
AHEAD_MINUTES: Final = (5, 10, 15, 30)
"""Horizons of the near-term head, in minutes."""
STALE_H: Final = 12
"""A vital last known longer ago than this is not forecast."""

Floats = NDArray[np.float32]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Examples:
    """Moments of many stays, each looked at from the end of one hour.

    ``grid`` is float32 (rows, 6): all stays one under another, with unknown hours between them, so that ``windows``
    (24 h up to a moment) and ``truth`` (the hours after it) are gathered and never stored. ``at`` are the rows of the
    moments; ``patient`` numbers them for bootstraps.
    """

    grid: Floats
    at: Places
    age_years: Floats
    stay_h: Floats
    patient: Places

    def __len__(self) -> int:
        return len(self.at)

    def windows(self, chosen: Places | slice = slice(None)) -> Floats:
        """(n, 24, 6), newest hour last."""
        found: Floats = self.grid[self.at[chosen][:, None] + np.arange(1 - HOURS, 1)]
        return found

    def truth(self, chosen: Places | slice = slice(None)) -> Floats:
        """(n, 6, 4): each vital at each of ``AHEAD_H``; NaN where it was not measured."""
        return np.swapaxes(self.grid[self.at[chosen][:, None] + np.array(AHEAD_H)], 1, 2)

    def following(self, chosen: Places | slice = slice(None)) -> Floats:
        """(n, 6 hours, 6): every hour up to the longest horizon."""
        found: Floats = self.grid[self.at[chosen][:, None] + np.arange(1, AHEAD_H[-1] + 1)]
        return found

    def of(self, chosen: Places) -> Examples:
        """Only these moments."""
        return Examples(self.grid, self.at[chosen], self.age_years[chosen], self.stay_h[chosen], self.patient[chosen])


def examples(stays: Sequence[Stay]) -> Examples:
    """Every hour of every stay after which anything is known within the longest horizon."""
    gap = np.full((HOURS, len(CHANNELS)), np.nan, np.float32)
    grid, at, age, hour, patient = [gap], [], [], [], []
    numbers: dict[str, int] = {}
    row = HOURS
    for stay in stays:
        length = len(stay.vitals)
        grid += [stay.vitals, gap]
        at.append(np.arange(row, row + length - 1))
        age.append(np.full(length - 1, stay.age_years, np.float32))
        hour.append(np.arange(1, length, dtype=np.float32))
        patient.append(np.full(length - 1, numbers.setdefault(stay.patient, len(numbers))))
        row += length + HOURS
    everything = Examples(
        np.concatenate(grid), np.concatenate(at), np.concatenate(age), np.concatenate(hour), np.concatenate(patient)
    )
    useful = np.isfinite(everything.truth()).any((1, 2)) & np.isfinite(everything.windows()).any((1, 2))
    return everything.of(np.flatnonzero(useful))


def last_known(windows: Floats) -> tuple[Floats, Floats]:
    """(n, 6) each: the last known value (NaN: none), and how many steps ago it was (the window's length: never)."""
    steps = windows.shape[1]
    known = np.isfinite(windows)
    ago = np.where(known.any(1), np.argmax(known[:, ::-1], axis=1), steps)
    value = np.take_along_axis(windows, (steps - 1 - np.minimum(ago, steps - 1))[:, None], axis=1)[:, 0]
    return value, ago.astype(np.float32)
