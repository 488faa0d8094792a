"""Scripted bedside events against detectors: how many are caught, how soon, at how many false alarms. Synthetic.

A detector alarms where its score has been at its threshold or above for ``HELD_MIN`` minutes on end, then not again for
``SILENCE_MIN``. The threshold keeps the budget of false alarms on simulated patients of another seed to whom nothing
happens. An event is caught by an alarm from its start to its end; its lead is the time by which it was earlier than the
first breach of a plain limit that lasted as long, or than the event's end where none was breached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ports import Floats
from models.registry import Interval
from models.training import anomaly_bedside, intervals
from models.training.anomaly_bedside import SCRIPTS, Event
from models.training.anomaly_play import beyond, limits_of, play
from models.training.recipes import Progress
from models.training.rivals import beyond_limits
from models.vitals.anomaly import Detector
from models.vitals.portrait import Portrait
from models.ward.policy import load_policy

Doubles = NDArray[np.float64]
HELD_MIN: Final = 3
SILENCE_MIN: Final = 30
LIMITS: Final = "limits"
OURS: Final = ""
_DAY: Final = 1440


class Shift(NamedTuple):
    """Patients' days as detectors saw them: name -> scores (patients, minutes); ``minutes`` what was measured."""

    minutes: Floats
    events: tuple[Event, ...]
    scores: Mapping[str, Doubles]
    drifts: int


class Found(NamedTuple):
    """A detector at a budget. ``by_kind``: event kind -> recall; ``lead_min`` is the median."""

    recall: Interval
    ppv: Interval
    false_per_day: Interval
    lead_min: float
    by_kind: Mapping[str, float]


def shift(detector: Detector, patients: int, seed: int, scripted: bool, progress: Progress | None = None) -> Shift:
    """A simulated day of so many patients before the detector, its parts alone, and plain limits."""
    events: Sequence[Event] = ()
    if scripted:
        minutes, events = anomaly_bedside.scripted(patients, _DAY, seed)
    else:
        minutes = anomaly_bedside.normals(patients, _DAY, seed)
    alone = {name: np.full((patients, _DAY), np.nan) for name in ("forest", "river", "zscore")}
    ward = 50

    def look(at: int, beds: slice, _seen: Portrait, raw: dict[str, Doubles]) -> None:
        for name, part in (("forest", "forest"), ("river", "half_space"), ("zscore", "distance")):
            alone[name][beds, at] = raw[part]

    played = play(detector, minutes, ward, look, 1, progress, "events" if scripted else "calm days")
    policy = load_policy()
    limits = np.stack([beyond_limits(one, policy) for one in minutes])
    return Shift(minutes, tuple(events), {OURS: played.scores, **alone, LIMITS: limits}, len(played.drifts))


def alarms(scores: Doubles, threshold: float) -> NDArray[np.bool_]:
    """Where alarms begin: (patients, minutes)."""
    loud = np.nan_to_num(scores, nan=-np.inf) >= threshold
    held = loud.copy()
    for back in range(1, HELD_MIN):
        held[:, back:] &= loud[:, :-back]
        held[:, :back] = False
    begun = np.zeros_like(held)
    ready = np.zeros(len(held), np.intp)
    for minute in range(held.shape[1]):
        now = held[:, minute] & (ready <= minute)
        begun[:, minute] = now
        ready[now] = minute + SILENCE_MIN
    return begun


def threshold(calm: Doubles, budget: float) -> float:
    """The lowest score at which calm days have at most ``budget`` alarms a patient-day."""
    known = calm[np.isfinite(calm)]
    levels = np.unique(np.quantile(known, 1 - np.logspace(-5.5, -0.3, 200)))
    low, high = 0, len(levels)
    while low < high:
        middle = (low + high) // 2
        if alarms(calm, float(levels[middle])).sum() / len(calm) <= budget:
            high = middle
        else:
            low = middle + 1
    return float(levels[low]) if low < len(levels) else float(np.nextafter(levels[-1], np.inf))


def found(name: str, level: float, scripted: Shift, calm: Shift) -> Found:
    """What the detector does at a threshold, on scripted and calm days of the same number of patients."""
    begun = alarms(scripted.scores[name], level)
    quiet = alarms(calm.scores[name], level)
    inside = np.zeros_like(begun)
    caught, leads = [], []
    breaches = _breaches(scripted.minutes)
    for event in scripted.events:
        span = slice(event.start, min(event.end + SILENCE_MIN, _DAY))
        inside[event.patient, span] = True
        hits = np.flatnonzero(begun[event.patient, event.start : event.end])
        caught.append(len(hits) > 0)
        if len(hits):
            limit = np.flatnonzero(breaches[event.patient, event.start : event.end])
            leads.append(float((limit[0] if len(limit) else event.end - event.start) - hits[0]))
    right, wrong = (begun & inside).sum(axis=1), (begun & ~inside).sum(axis=1)
    patients = np.arange(2 * len(begun)).astype(str)
    quiet_count = quiet.sum(axis=1)
    whom = np.array([str(event.patient) for event in scripted.events])
    kinds = np.array([event.kind for event in scripted.events])
    hit = np.array(caught, np.float64)
    return Found(
        _certain(intervals.ratio(hit, np.ones_like(hit), whom)),
        _certain(intervals.ratio(np.r_[right, 0 * right], np.r_[right + wrong, quiet_count], patients)),
        _certain(intervals.mean(quiet_count, patients[: len(quiet)])),
        float(np.median(leads)) if leads else float("nan"),
        {kind: float(hit[kinds == kind].mean()) for kind in SCRIPTS if (kinds == kind).any()},
    )


def _breaches(minutes: Floats) -> NDArray[np.bool_]:
    """Where a plain limit has been breached for as long as an alarm takes."""
    outside = beyond(minutes, limits_of(load_policy()))
    return alarms(outside.astype(np.float64), 1.0)


def _certain(interval: Interval | None) -> Interval:
    return interval if interval is not None else Interval(0.0, 0.0, 0.0, 0)
