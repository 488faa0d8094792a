"""How good hourly forecasts are: error, skill and its rivals, intervals before and after, crossings of limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.ports import Windows
from models.training import intervals, plots
from models.training.deterioration_findings import Findings
from models.training.evaluation import Cell, Interval, Table
from models.training.forecast_calibration import crossed, usual_limits
from models.training.forecast_grid import AHEAD_H, Examples
from models.training.forecast_live import Told
from models.vitals.forecast import VitalsForecaster
from models.vitals.history import CHANNELS, MINUTES
from models.ward.policy import load_policy

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
LEAST_EVENTS: Final = 30
SIDES: Final = ("low", "high")
SHOWN_H: Final = 4
"""The horizon that tables and plots show of crossings."""
_CHUNK: Final = 2048


@dataclass(frozen=True)
class Hours:
    """Hours of stays as the hour head sees them in a ward in which nothing has come true yet.

    ``raw`` are the network's quantiles, ``band`` those with the conformal start (n, 6, 4, 5); ``counts`` (n, 6, 4)
    where it speaks and the truth is known; ``chances`` (n, 6, 4, 2) of crossing the shipped policy's limits; ``last``
    (n, 6).
    """

    examples: Examples
    truth: Floats
    last: Doubles
    raw: Doubles
    band: Doubles
    counts: Flags
    chances: Doubles


def spoken(model: VitalsForecaster, examples: Examples) -> Hours:
    """What the hour head says of these hours."""
    book = model.hour.opened()
    limits = usual_limits().astype(np.float32)
    parts = []
    for start in range(0, len(examples), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(examples)))
        n = len(rows)
        windows = Windows(
            minutes=np.empty((n, MINUTES, len(CHANNELS)), np.float32),
            hours=examples.windows(rows),
            at_ms=np.zeros(n, np.int64),
            age_years=examples.age_years[rows],
            female=np.full(n, np.nan, np.float32),
            stay_h=examples.stay_h[rows],
            limits=np.broadcast_to(limits, (n, *limits.shape)),
            alarming=np.zeros(n, np.bool_),
        )
        with np.errstate(invalid="ignore"):
            said = model.hour.say(windows.hours, windows, book)
        chances = np.stack([said.below, said.above], axis=-1)
        parts.append((said.last, said.network, said.quantiles, said.speaks, chances))
    last, raw, band, speaks, chances = (np.concatenate(each) for each in zip(*parts, strict=True))
    truth = examples.truth()
    return Hours(examples, truth, last, raw, band, speaks & np.isfinite(truth) & np.isfinite(last)[:, :, None], chances)


def judge(found: Findings, hours: Hours, rivals: Mapping[str, Floats], suffix: str = "") -> None:
    """Figures of every vital and horizon; ``rivals`` are medians (n, 6, 4) by name."""
    for channel, vital in enumerate(CHANNELS):
        for place, ahead in enumerate(AHEAD_H):
            name = f"{vital.value}_{ahead}h{suffix}"
            rows = hours.counts[:, channel, place]
            truth = hours.truth[rows, channel, place].astype(np.float64)
            who = hours.examples.patient[rows]
            raw, band = hours.raw[rows, channel, place], hours.band[rows, channel, place]
            naive = np.abs(truth - hours.last[rows, channel])
            ours = np.abs(truth - band[:, 2])
            found.metrics |= {
                f"skill_{name}": intervals.skill(ours, naive, who),
                f"mae_{name}": intervals.mean(ours, who),
                f"mae_{name}_persistence": intervals.mean(naive, who),
                f"pinball_{name}": intervals.mean(_pinball(truth, band), who),
                f"coverage_{name}": intervals.mean(_within(truth, band), who),
                f"coverage_{name}_raw": intervals.mean(_within(truth, raw), who),
                f"width_{name}": intervals.mean(band[:, 4] - band[:, 0], who),
            }
            for rival, said in rivals.items():
                theirs = np.abs(truth - said[rows, channel, place])
                known = np.isfinite(theirs)
                found.metrics[f"skill_{name}_{rival}"] = intervals.skill(theirs[known], naive[known], who[known])
                found.metrics[f"gain_{name}_{rival}"] = intervals.skill(ours[known], theirs[known], who[known])


def online(found: Findings, told: Told, suffix: str = "_online") -> None:
    """The same of what was told live: intervals that learn from the ward, persistence where it was the better one."""
    for channel, vital in enumerate(CHANNELS):
        for place, ahead in enumerate(AHEAD_H):
            name = f"{vital.value}_{ahead}h"
            truth, said = told.truth[:, channel, place], told.quantiles[:, channel, place]
            rows = np.isfinite(truth) & np.isfinite(said[:, 0])
            who = told.patient[rows]
            naive = np.abs(truth - told.last[:, channel])[rows]
            found.metrics |= {
                f"coverage_{name}{suffix}": intervals.mean(_within(truth[rows], said[rows]), who),
                f"width_{name}{suffix}": intervals.mean(said[rows, 4] - said[rows, 0], who),
                f"skill_{name}{suffix}": intervals.skill(np.abs(truth - said[:, 2])[rows], naive, who),
                f"fallback_{name}{suffix}": intervals.mean(told.naive[rows, channel, place], who),
            }


def crossings(found: Findings, hours: Hours) -> None:
    """Brier score and reliability of P(beyond a limit within h hours), where the last known value is within it.

    Beside it, ``base``: always telling the share that it happens to. Limits crossed too seldom to judge are left out.
    """
    limits = usual_limits()
    happened, known = crossed(hours.examples.following(), limits, AHEAD_H)
    reliable: dict[str, tuple[Flags, Doubles]] = {}
    rows_of_table: list[tuple[Cell, ...]] = []
    for channel, side, place in np.ndindex(len(CHANNELS), len(SIDES), len(AHEAD_H)):
        last, limit = hours.last[:, channel], limits[channel, side]
        within = last >= limit if side == 0 else last <= limit
        rows = within & known[:, channel, place] & np.isfinite(hours.chances[:, channel, place, side])
        truth, chance = happened[rows, side, channel, place], hours.chances[rows, channel, place, side]
        if truth.sum() < LEAST_EVENTS:
            continue
        name = f"{CHANNELS[channel].value}_{SIDES[side]}_{AHEAD_H[place]}h"
        judge_crossing(found, name, truth, chance, hours.examples.patient[rows])
        if AHEAD_H[place] == SHOWN_H:
            words = f"{CHANNELS[channel].value.replace('_', ' ')} {SIDES[side]}"
            reliable[words] = (truth, chance)
            cells = (found.shown(f"{kind}_{name}", 4) for kind in ("brier", "ece", "auroc"))
            shares = (int(truth.sum()), round(float(truth.mean()), 4))
            worth = (found.shown(f"{kind}_{name}", 3) for kind in ("warned", "ppv", "recall"))
            rows_of_table.append((words, *shares, *cells, found.shown(f"brier_{name}_base", 4), *worth))
    title = f"Crossing a limit within {SHOWN_H} h, from within it (shipped policy, hourly means)"
    columns = ("limit", "events", "share", "Brier", "ECE", "AUROC", "Brier of the share", "warned", "PPV", "recall")
    found.tables.append(Table(title=title, columns=columns, rows=tuple(rows_of_table)))
    if reliable:
        often = sorted(reliable, key=lambda words: -int(reliable[words][0].sum()))[:4]
        cases = {words: reliable[words] for words in often}
        found.plots["crossings.png"] = plots.reliability(cases, f"P(crossing a limit within {SHOWN_H} h)")


def judge_crossing(found: Findings, name: str, truth: Flags, chance: Doubles, who: NDArray[np.intp]) -> None:
    """Brier score, calibration error and AUROC of the chance of one limit, and the Brier score of telling its share.

    ``ppv``: how often it came true where the built-in policy would warn, ``warned``: in which share of hours it would.
    """
    base = np.full(len(truth), truth.mean())
    warned = chance >= load_policy().models.early_warning_from
    found.metrics |= {
        f"ppv_{name}": intervals.mean(truth[warned], who[warned]),
        f"warned_{name}": intervals.mean(warned, who),
        f"recall_{name}": intervals.mean(warned[truth], who[truth]),
        f"brier_{name}": intervals.brier(truth, chance, who),
        f"brier_{name}_base": intervals.brier(truth, base, who),
        f"ece_{name}": intervals.ece(truth, chance, who),
        f"auroc_{name}": intervals.auroc(truth, chance, who),
    }


def tables(found: Findings, floors: Mapping[str, tuple[float, ...]], rivals: tuple[str, ...]) -> None:
    """Skill and coverage of every vital and horizon, for readers."""
    skill_rows: list[tuple[Cell, ...]] = []
    cover_rows: list[tuple[Cell, ...]] = []
    for vital in CHANNELS:
        for place, ahead in enumerate(AHEAD_H):
            name = f"{vital.value}_{ahead}h"
            floor = floors.get(vital.value)
            others = [_value(found, f"skill_{name}_{rival}") for rival in rivals]
            skill = (found.shown(f"skill_{name}"), floor[place] if floor else None, *others)
            naive, ours = _value(found, f"mae_{name}_persistence"), _value(found, f"mae_{name}")
            skill_rows.append((vital.value, f"{ahead} h", naive, ours, *skill))
            covers = [found.shown(f"coverage_{name}{kind}") for kind in ("_raw", "", "_online")]
            widths = (_value(found, f"width_{name}"), _value(found, f"width_{name}_online"))
            cover_rows.append((vital.value, f"{ahead} h", *covers, *widths, _value(found, f"fallback_{name}_online")))
    found.tables += [
        Table(
            title="Median against persistence",
            columns=("vital", "ahead", "MAE persistence", "MAE", "skill", "to reach", *rivals),
            rows=tuple(skill_rows),
        ),
        Table(
            title="Coverage of the nominal 90 % interval",
            columns=("vital", "ahead", "network alone", "conformal", "online", "width", "width online", "fell back"),
            rows=tuple(cover_rows),
        ),
    ]


def draw(found: Findings, rival: str) -> None:
    """Skill by horizon for each vital beside its strongest rival, and coverage of all."""
    words = {"": "this model", f"_{rival}": rival}
    for vital in CHANNELS:
        series = {
            word: [
                (float(ahead), figure)
                for ahead in AHEAD_H
                if (figure := found.metrics.get(f"skill_{vital.value}_{ahead}h{ending}")) is not None
            ]
            for ending, word in words.items()
        }
        title = f"{vital.value.replace('_', ' ').capitalize()}: skill against persistence"
        found.plots[f"skill_{vital.value}.png"] = plots.lines(
            series, title, "hours ahead", "1 - MAE / MAE", "persistence"
        )
    groups: dict[str, dict[str, Interval]] = {}
    for vital in CHANNELS:
        for word, ending in (("network alone", "_raw"), ("conformal", ""), ("online", "_online")):
            figure = found.metrics.get(f"coverage_{vital.value}_4h{ending}")
            if figure is not None:
                groups.setdefault(vital.value.replace("_", "\n"), {})[word] = figure
    nominal = dict.fromkeys(groups, 0.9)
    found.plots["coverage_4h.png"] = plots.bars(groups, "Coverage of the 90 % interval, 4 h ahead", "coverage", nominal)


def example(found: Findings, hours: Hours) -> None:
    """One forecast of heart rate, from the middle of the longest stay, as it is told."""
    stay = np.bincount(hours.examples.patient).argmax()
    rows = np.flatnonzero((hours.examples.patient == stay) & hours.counts[:, 0].all(1))
    if not len(rows):
        return
    row = rows[len(rows) // 2]
    band = hours.band[row, 0]
    past = hours.examples.windows(np.array([row]))[0, :, 0]
    found.plots["example_heart_rate.png"] = plots.fan(
        past,
        {level: band[:, i] for i, level in enumerate(LEVELS)},
        AHEAD_H,
        hours.truth[row, 0],
        "One forecast of heart rate",
        "per minute",
    )


def _value(found: Findings, metric: str) -> Cell:
    figure = found.metrics.get(metric)
    return None if figure is None else round(figure.value, 3)


def _within(truth: Doubles, band: Doubles) -> Doubles:
    # what is told is rounded; half a step is within
    return ((truth >= band[:, 0] - 0.05) & (truth <= band[:, 4] + 0.05)).astype(np.float64)


def _pinball(truth: Doubles, band: Doubles) -> Doubles:
    level = np.array(LEVELS)
    off = truth[:, None] - band
    result: Doubles = np.maximum(level * off, (level - 1) * off).mean(1)
    return result
