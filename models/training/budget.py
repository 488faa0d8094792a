"""Alarm budgets: what a detector catches, and how early, when it may raise so many alarms a patient-day.

Any hourly score will do. How it counts, for every detector alike:

- An *event* begins in the first hour in which a condition of ``models.vitals.instability`` is met after ``clear_h``
  hours without. Until it has been quiet again for ``clear_h`` hours the event lasts; alarms in that time are nobody's,
  neither credit nor burden: early warning is judged, not the alarm that says what is already so.
- The score of hour t has seen all of hour t. An *alarm* is raised where it reaches the threshold, and then none for
  ``silence_h`` hours. It is right when an event begins ``lead_h`` to ``horizon_h`` hours later; an event is caught when
  there was an alarm in those hours before it, and its lead is that of the first of them.
- The threshold is chosen on validation stays so that they have so many alarms a patient-day (all hours watched count as
  time); everything else is measured on the test stays. Where a score is tied the lot decides, so that a coarse score
  reaches every budget too. Intervals: bootstrap over patients, with the same draws for all detectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.bundle import Interval
from models.ports import Flags
from models.training.stays import Stay
from models.vitals.instability import last_known, met

Doubles = NDArray[np.float64]

BUDGETS: Final = (0.5, 1.2, 5.0)
"""Alarms a patient-day."""
MEASURES: Final = ("alarms_per_day", "recall", "ppv", "false_alarms_per_day", "lead_h")


class Rule(NamedTuple):
    """How alarms and events are counted, in hours; see the module."""

    horizon_h: int = 4
    lead_h: int = 1
    silence_h: int = 2
    clear_h: int = 4


RULE: Final = Rule()


class Course(NamedTuple):
    """One stay as alarms see it, a flag an hour: time that counts, an event lasts, an event begins."""

    patient: str
    watched: Flags
    busy: Flags
    onset: Flags


@dataclass(frozen=True)
class Outcome:
    """A detector at a budget. ``threshold`` is in the score's own unit; ``draws`` are the bootstrap's, to be paired.

    ``figures`` are by ``MEASURES``, over ``patients``; what is undefined (a lead where nothing was caught) is left out.
    """

    detector: str
    budget: float
    threshold: float
    figures: Mapping[str, Interval]
    draws: Mapping[str, Doubles]
    events: int
    patients: int


@dataclass(frozen=True)
class Scored:
    """Scores of a detector over stays: a float array (hours,) for each course, NaN where it says nothing."""

    courses: Sequence[Course]
    scores: Sequence[Doubles]


class _Board(NamedTuple):
    scores: Doubles  # (stays, hours), -inf where no alarm can be
    onset: Flags
    days: Doubles
    patient: NDArray[np.intp]
    patients: int


class _Tally(NamedTuple):
    """By patient."""

    alarms: Doubles
    right: Doubles
    events: Doubles
    caught: Doubles
    days: Doubles
    leads: Doubles  # (patients, horizon): events by lead, 1 first


def courses(stays: Sequence[Stay], rule: Rule = RULE) -> list[Course]:
    """What alarms are judged against, from stays' vitals."""
    return [_course(stay, rule) for stay in stays]


def _course(stay: Stay, rule: Rule) -> Course:
    unstable: Flags = np.asarray(met(last_known(stay.vitals)).any(axis=1), np.bool_)
    hours = np.arange(len(unstable))
    latest = np.maximum.accumulate(np.where(unstable, hours, -rule.clear_h - 1)) if len(hours) else hours
    before = np.r_[-rule.clear_h - 1, latest[:-1]] if len(hours) else hours
    onset = unstable & (hours - before > rule.clear_h) & (hours > 0)
    return Course(
        stay.patient, np.asarray(np.isfinite(stay.vitals).any(axis=1), np.bool_), hours - latest < rule.clear_h, onset
    )


def at_budgets(
    detector: str,
    validation: Scored,
    test: Scored,
    seed: int,
    budgets: Sequence[float] = BUDGETS,
    rule: Rule = RULE,
    resamples: int = 1000,
) -> list[Outcome]:
    """What the detector does on the test stays at thresholds that keep the budget on the validation stays."""
    steps, (chosen_on, judged_on) = _ranked((validation, test), seed)
    outcomes = []
    for budget in budgets:
        threshold = _threshold(chosen_on, budget, rule, len(steps))
        tally = _tally(judged_on, threshold, rule)
        weights = _weights(judged_on.patients, resamples, seed)
        draws = _figures(tally, weights)
        plain = _figures(tally, np.ones((1, judged_on.patients)))
        figures = {name: _interval(float(plain[name][0]), draws[name], judged_on.patients) for name in MEASURES}
        told = {name: figure for name, figure in figures.items() if figure is not None}
        unit = _in_units(chosen_on, threshold, steps)
        events = int(tally.events.sum())
        outcomes.append(Outcome(detector, budget, unit, told, draws, events, judged_on.patients))
    return outcomes


def curve(scored: Scored, rates: Sequence[float], seed: int, rule: Rule = RULE) -> dict[str, Doubles]:
    """``MEASURES`` at thresholds that give these alarm rates on these very stays.

    For a plot, and to compare detectors at exactly equal burden; not for choosing a threshold.
    """
    steps, (board,) = _ranked((scored,), seed)
    one = np.ones((1, board.patients))
    rows = [_figures(_tally(board, _threshold(board, rate, rule, len(steps)), rule), one) for rate in rates]
    return {name: np.array([float(row[name][0]) for row in rows]) for name in MEASURES}


def difference(ours: Outcome, theirs: Outcome, measure: str = "recall") -> Interval | None:
    """Ours minus theirs on the same patients, with the interval of the paired draws; None where one is undefined."""
    if measure not in ours.figures or measure not in theirs.figures:
        return None
    gap = ours.figures[measure].value - theirs.figures[measure].value
    return _interval(gap, ours.draws[measure] - theirs.draws[measure], ours.patients)


def _ranked(parts: Sequence[Scored], seed: int) -> tuple[Doubles, list[_Board]]:
    """Scores as places in their common order, ties broken by lot; and the distinct scores that the places stand for."""
    finite = [s[np.isfinite(s)] for part in parts for s in part.scores]
    steps = np.unique(np.concatenate(finite)) if finite else np.empty(0)
    lots = np.random.default_rng(seed)
    return steps, [_board(part, steps, lots) for part in parts]


def _board(part: Scored, steps: Doubles, lots: np.random.Generator) -> _Board:
    longest = max((len(c.onset) for c in part.courses), default=0)
    shape = (len(part.courses), longest)
    scores, onset = np.full(shape, -np.inf), np.zeros(shape, np.bool_)
    for row, (course, raw) in enumerate(zip(part.courses, part.scores, strict=True)):
        size = len(course.onset)
        if len(raw) != size:
            raise ValueError(f"{len(raw)} scores for a stay of {size} hours")
        places = np.searchsorted(steps, np.nan_to_num(raw)) + lots.random(size)
        scores[row, :size] = np.where(np.isfinite(raw) & course.watched & ~course.busy, places, -np.inf)
        onset[row, :size] = course.onset
    names, patient = np.unique([c.patient for c in part.courses], return_inverse=True)
    days = np.array([c.watched.sum() for c in part.courses]) / 24
    return _Board(scores, onset, days, patient, len(names))


def _alarms(board: _Board, threshold: float, silence_h: int) -> Flags:
    loud = board.scores >= threshold
    alarms = np.zeros_like(loud)
    ready = np.zeros(len(loud), np.intp)
    for hour in range(loud.shape[1]):
        now = loud[:, hour] & (ready <= hour)
        alarms[:, hour] = now
        ready[now] = hour + silence_h
    return alarms


def _threshold(board: _Board, budget: float, rule: Rule, steps: int) -> float:
    """The lowest place at which the rate does not pass the budget."""
    low, high = 0.0, float(steps + 1)
    total = board.days.sum()
    for _ in range(48):
        middle = (low + high) / 2
        if _alarms(board, middle, rule.silence_h).sum() / total > budget:
            low = middle
        else:
            high = middle
    return high


def _in_units(board: _Board, threshold: float, steps: Doubles) -> float:
    """The least score that reaches this place on the board; infinite where none does."""
    reached = board.scores[board.scores >= threshold]
    return float(steps[int(reached.min())]) if len(reached) else float("inf")


def _tally(board: _Board, threshold: float, rule: Rule) -> _Tally:
    alarms = _alarms(board, threshold, rule.silence_h)
    right = np.zeros_like(alarms)
    lead = np.zeros(alarms.shape, np.intp)
    for ahead in range(rule.lead_h, rule.horizon_h + 1):
        right[:, :-ahead] |= board.onset[:, ahead:]
        lead[:, ahead:][alarms[:, :-ahead] & board.onset[:, ahead:]] = ahead  # the longest stands

    def by_patient(values: NDArray[np.generic]) -> Doubles:
        return np.bincount(board.patient, weights=values, minlength=board.patients).astype(np.float64)

    return _Tally(
        by_patient(alarms.sum(axis=1)),
        by_patient((alarms & right).sum(axis=1)),
        by_patient(board.onset.sum(axis=1)),
        by_patient((lead > 0).sum(axis=1)),
        by_patient(board.days),
        np.stack([by_patient((lead == h).sum(axis=1)) for h in range(1, rule.horizon_h + 1)], axis=1),
    )


def _weights(patients: int, resamples: int, seed: int) -> Doubles:
    """How often each patient is drawn in each resample."""
    return np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), resamples).astype(float)


def _figures(tally: _Tally, weights: Doubles) -> dict[str, Doubles]:
    alarms, right, events, caught, days = (weights @ each for each in tally[:5])
    leads = np.cumsum(weights @ tally.leads, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        median = np.where(caught > 0, (leads < leads[:, -1:] / 2).sum(axis=1) + 1.0, np.nan)
        return {
            "alarms_per_day": alarms / days,
            "recall": caught / events,
            "ppv": right / alarms,
            "false_alarms_per_day": (alarms - right) / days,
            "lead_h": median,
        }


def _interval(value: float, draws: Doubles, patients: int) -> Interval | None:
    known = draws[np.isfinite(draws)]
    if not np.isfinite(value) or not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(value, float(low), float(high), patients)
