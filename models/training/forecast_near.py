"""How good minutes ahead are on real minutes: monitor records and cuffs that the near-term head never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.ports import Windows
from models.training import intervals, plots
from models.training.deterioration_findings import Findings
from models.training.evaluation import Cell, Interval, Table
from models.training.forecast_calibration import crossed, usual_limits
from models.training.forecast_grid import AHEAD_MINUTES, last_known
from models.training.forecast_hours import LEAST_EVENTS, SIDES, judge_crossing
from models.training.forecast_minutes import MinuteExamples, cuffs, monitors
from models.training.forecast_speaks import halves, scored
from models.vitals.forecast import VitalsForecaster
from models.vitals.history import CHANNELS, HOURS

Doubles = NDArray[np.float64]
LEAST: Final = 100
CUFF_SPLITS: Final = {"train": "train", "validation": "validation"}


def near_findings(found: Findings, model: VitalsForecaster, folder: Path, split: str | None) -> None:
    """Skill and coverage per vital and horizon, on the second half of each monitor record and on cuffs of the split.

    Where the head is silent, the figures say what it would have told.
    """
    decided, judged = halves(monitors(folder))
    parts = {
        "monitor": decided if split == "validation" else judged,
        "cuff": cuffs(folder, CUFF_SPLITS.get(split or "", "test")),
    }
    rows: list[tuple[Cell, ...]] = []
    series: dict[str, list[tuple[float, Interval]]] = {}
    for source, real in parts.items():
        if not len(real):
            continue
        band, chances = _bands(model, real)
        last = last_known(real.windows)[0].astype(np.float64)
        if source == "monitor":  # between cuffs nobody knows whether a limit was crossed
            _crossings(found, model, real, chances, last)
        for channel, vital in enumerate(CHANNELS):
            for place, ahead in enumerate(AHEAD_MINUTES):
                name = f"{vital.value}_{ahead}min_{source}"
                if not _judge(found, model, real, band, last, channel, place, name):
                    continue
                speaks = bool(model.near.may_speak[channel, place])
                cells = (found.shown(f"skill_{name}"), found.shown(f"coverage_{name}"), found.shown(f"width_{name}", 1))
                n = found.metrics[f"skill_{name}"]
                rows.append((vital.value, f"{ahead} min", source, n.n if n else 0, *cells, "yes" if speaks else "no"))
                if n:
                    series.setdefault(f"{vital.value.replace('_', ' ')}, {source}", []).append((float(ahead), n))
    columns = ("vital", "ahead", "real minutes of", "n", "skill", "coverage", "width", "speaks")
    found.tables.append(Table(title="Minutes ahead, on real minutes", columns=columns, rows=tuple(rows)))
    if series:
        title = "Minutes ahead: skill against persistence on real minutes"
        found.plots["near.png"] = plots.lines(series, title, "minutes ahead", "1 - MAE / MAE", "persistence")
    found.notes.append(
        "The near-term head was trained on simulated minutes only. The second halves of the two real monitor records "
        "(32 h, 72 min) judge it; their first halves and cuffs of eICU validation decided where it speaks. "
        "It tells no chance of crossing a limit: judged here all the same, it is no better than the share."
    )


def _bands(model: VitalsForecaster, real: MinuteExamples) -> tuple[Doubles, Doubles]:
    """(conformal quantiles (n, 6, 4, 5), chances of crossing a limit (n, 6, 4, 2))."""
    limits = usual_limits().astype(np.float32)
    book = model.near.opened()
    bands, chances = [], []
    for start in range(0, len(real), 2048):
        window = real.windows[start : start + 2048]
        n = len(window)
        untold = np.full(n, np.nan, np.float32)
        windows = Windows(
            minutes=window,
            hours=np.empty((n, HOURS, len(CHANNELS)), np.float32),
            at_ms=np.zeros(n, np.int64),
            age_years=untold,
            female=untold,
            stay_h=untold,
            limits=np.broadcast_to(limits, (n, *limits.shape)),
            alarming=np.zeros(n, np.bool_),
        )
        with np.errstate(invalid="ignore"):
            said = model.near.say(window, windows, book)
            chances.append(model.near.crossings(said.quantiles, windows.limits))  # which it does not tell
        bands.append(said.quantiles)
    return np.concatenate(bands), np.concatenate(chances)


def _crossings(found: Findings, model: VitalsForecaster, real: MinuteExamples, chances: Doubles, last: Doubles) -> None:
    """Brier score of P(beyond a limit within h minutes), where the head speaks and the last value is within it."""
    limits = usual_limits()
    happened, known = crossed(real.following, limits, AHEAD_MINUTES)
    for channel, side, place in np.ndindex(len(CHANNELS), 2, len(AHEAD_MINUTES)):
        value, limit = last[:, channel], limits[channel, side]
        within = value >= limit if side == 0 else value <= limit
        rows = within & known[:, channel, place] & scored(real, channel, place, int(model.near.stale), 2)
        truth = happened[rows, side, channel, place]
        if not model.near.may_speak[channel, place] or truth.sum() < LEAST_EVENTS:
            continue
        name = f"{CHANNELS[channel].value}_{SIDES[side]}_{AHEAD_MINUTES[place]}min_monitor"
        judge_crossing(found, name, truth, chances[rows, channel, place, side], real.patient[rows])


def _judge(
    found: Findings,
    model: VitalsForecaster,
    real: MinuteExamples,
    band: Doubles,
    last: Doubles,
    channel: int,
    place: int,
    name: str,
) -> bool:
    rows = scored(real, channel, place, int(model.near.stale), int(model.near.least))
    if rows.sum() < LEAST:
        return False
    truth = real.truth[rows, channel, place].astype(np.float64)
    said, who = band[rows, channel, place], real.patient[rows]
    within = (truth >= said[:, 0] - 0.05) & (truth <= said[:, 4] + 0.05)
    found.metrics |= {
        f"skill_{name}": intervals.skill(np.abs(truth - said[:, 2]), np.abs(truth - last[rows, channel]), who),
        f"mae_{name}": intervals.mean(np.abs(truth - said[:, 2]), who),
        f"coverage_{name}": intervals.mean(within, who),
        f"width_{name}": intervals.mean(said[:, 4] - said[:, 0], who),
    }
    return True
