"""Which vitals and horizons the near-term head may speak of: those where it beat persistence on real minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.registry import Interval
from models.training import intervals
from models.training.forecast_grid import AHEAD_MINUTES, last_known
from models.training.forecast_minutes import MinuteExamples, cuffs, monitors
from models.training.forecast_net import MEDIAN
from models.vitals.history import CHANNELS

Floats = NDArray[np.float32]
LEAST: Final = 100
"""Real minutes that must have been judged."""


def halves(real: MinuteExamples) -> tuple[MinuteExamples, MinuteExamples]:
    """The first half of each record in time, and the rest. Whatever is decided is decided on the first."""
    first = np.zeros(len(real), bool)
    for record in np.unique(real.record):
        rows = np.flatnonzero(real.record == record)
        first[rows[: len(rows) // 2]] = True
    return real.of(first), real.of(~first)


def may_speak(
    folder: Path, said: Callable[[MinuteExamples], Floats], stale: int, least: int
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """(6, horizons), and a sentence for each that was judged. ``said`` gives the quantiles of examples."""
    speaks = np.zeros((len(CHANNELS), len(AHEAD_MINUTES)), np.bool_)
    why = []
    for name, real in (
        ("monitors, first half", halves(monitors(folder))[0]),
        ("cuffs, validation", cuffs(folder, "validation")),
    ):
        quantiles = said(real)
        for channel, vital in enumerate(CHANNELS):
            for horizon, minutes in enumerate(AHEAD_MINUTES):
                found = skill(real, quantiles, channel, horizon, stale, least)
                if found is None or found.n < LEAST:
                    continue
                good = found.low > 0
                speaks[channel, horizon] |= good
                why.append(
                    f"{vital.value} {minutes} min, {name}: skill {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] "
                    f"over {found.n} real minutes: {'speaks' if good else 'silent'}"
                )
    return speaks, tuple(why)


def scored(real: MinuteExamples, channel: int, horizon: int, stale: int, least: int) -> NDArray[np.bool_]:
    """Rows in which this vital would have been forecast and has come true."""
    _, ago = last_known(real.windows)
    enough = (ago[:, channel] < stale) & (np.isfinite(real.windows[:, :, channel]).sum(1) >= least)
    rows: NDArray[np.bool_] = enough & np.isfinite(real.truth[:, channel, horizon])
    return rows


def skill(
    real: MinuteExamples, quantiles: Floats, channel: int, horizon: int, stale: int, least: int
) -> Interval | None:
    """Against the last known value, bootstrapped over patients (blocks of two hours of a monitor record)."""
    rows = scored(real, channel, horizon, stale, least)
    if not rows.any():
        return None
    last, _ = last_known(real.windows)
    truth = real.truth[rows, channel, horizon]
    ours = np.abs(truth - quantiles[rows, channel, horizon, MEDIAN])
    return intervals.skill(ours, np.abs(truth - last[rows, channel]), real.patient[rows])
