"""Judges an anomaly detector: alarms on real stays at fixed budgets, scripted bedside events, calibration, NAB."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.ports import Floats
from models.registry import Bundle, Interval
from models.training import anomaly_events, intervals, nab, plots
from models.training.anomaly import RECORD, portrait_of_hours, real_minutes
from models.training.anomaly_events import Shift
from models.training.anomaly_play import Played, play
from models.training.budget import BUDGETS, Outcome, Scored, at_budgets, courses, difference
from models.training.evaluation import Cell, Evaluation, Table, defined
from models.training.recipes import Progress, Say, chosen
from models.training.rivals import beyond_limits, news2
from models.training.stays import Stay, load
from models.vitals import anomaly
from models.vitals.anomaly import Detector
from models.ward.policy import load_policy

Doubles = NDArray[np.float64]
OURS: Final = ""
_RIVALS: Final = ("limits", "limits_held", "news2")
_KINDS: Final = {
    "recall": "recall",
    "ppv": "ppv",
    "lead_h": "lead",
    "alarms_per_day": "alarms",
    "false_alarms_per_day": "false_alarms",
}
_PATIENTS: Final = 50
_SEED: Final = 41
_RECORD_FROM: Final = 20 * 60
_HIGH: Final = 0.99


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """The detector on the stays that ``chosen`` names, on simulated and real minutes, and on NAB; see ``recipes``."""
    detector = anomaly.load(bundle)
    stays = load(folder, ("eicu",))
    judged = chosen(stays, split)
    thresholds = [stay for stay in stays if stay.split == "validation"] or judged
    say(f"{len(judged)} stays, thresholds of {len(thresholds)}")
    outcomes = on_stays(detector, thresholds, judged, _SEED)
    calm = anomaly_events.shift(detector, _PATIENTS, _SEED, False, progress)
    other = anomaly_events.shift(detector, _PATIENTS, _SEED + 1, False, progress)
    scripted = anomaly_events.shift(detector, _PATIENTS, _SEED + 2, True, progress)
    events = {
        name: [
            anomaly_events.found(name, anomaly_events.threshold(calm.scores[name], b), scripted, other) for b in BUDGETS
        ]
        for name in calm.scores
    }
    say("scripted events judged")
    record = play(detector, real_minutes(folder)[:, _RECORD_FROM:]) if (folder / RECORD).is_file() else None
    metrics = {**_stays_metrics(outcomes), **_scripted_metrics(events)}
    metrics |= _calibration(detector, judged, other, record)
    series = nab.compared(folder / "nab") if (folder / "nab").is_dir() else {}
    for name, found in series.items():
        metrics |= {_named(f"nab_{profile}", OURS if name == "ours" else name): each for profile, each in found.items()}
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=split or "all but train",
        n=len(judged),
        metrics=metrics,
        tables=(_stays_table(outcomes), _kinds_table(events)),
        notes=_notes(outcomes, scripted, other, record),
        plots=_drawn(outcomes, events, scripted),
    )


def on_stays(
    detector: Detector, thresholds: Sequence[Stay], judged: Sequence[Stay], seed: int
) -> dict[str, list[Outcome]]:
    """Ours (the hours' head) and its rivals at the budgets, by detector."""
    policy = load_policy()
    ways: dict[str, Callable[[Sequence[Stay]], list[Doubles]]] = {
        "limits": lambda stays: [beyond_limits(stay.vitals, policy) for stay in stays],
        "limits_held": lambda stays: [beyond_limits(stay.vitals, policy, 2) for stay in stays],
        "news2": lambda stays: [news2(stay.vitals) for stay in stays],
    }
    sets = [(stays, courses(stays), hour_scores(detector, stays)) for stays in (thresholds, judged)]
    names = [OURS, "forest", "zscore", *ways]
    found = {}
    for name in names:
        one, two = (
            Scored(course, ways[name](stays) if name in ways else scores[name]) for stays, course, scores in sets
        )
        found[name] = at_budgets(name, one, two, seed)
    return found


def hour_scores(detector: Detector, stays: Sequence[Stay]) -> dict[str, list[Doubles]]:
    """The oddness of every hour of each stay by the hours' head, by its forest alone and by plain distance alone."""
    seen = portrait_of_hours(detector.hours, stays)
    raw = detector.hours.raw(seen)
    every = {
        OURS: detector.hours.mixed(raw),
        "forest": raw["forest"],
        "zscore": seen.features[:, -1].astype(np.float64),
    }
    edges = np.cumsum([len(stay.vitals) for stay in stays])[:-1]
    return {name: list(np.split(scores, edges)) for name, scores in every.items()}


def _named(metric: str, rival: str) -> str:
    return f"{metric}_{rival}" if rival else metric


def _stays_metrics(outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Interval]:
    found: dict[str, Interval | None] = {}
    for name, each in outcomes.items():
        for outcome in each:
            for measure, kind in _KINDS.items():
                found[_named(f"{kind}_at_{outcome.budget:g}", name)] = outcome.figures.get(measure)
    for rival in _RIVALS:
        for ours, theirs in zip(outcomes[OURS], outcomes[rival], strict=True):
            found[f"gain_recall_at_{ours.budget:g}_{rival}"] = difference(ours, theirs)
    return defined(found)


def _scripted_metrics(events: Mapping[str, Sequence[anomaly_events.Found]]) -> dict[str, Interval]:
    metrics = {}
    for name, each in events.items():
        for budget, found in zip(BUDGETS, each, strict=True):
            metrics[_named(f"recall_scripted_at_{budget:g}", name)] = found.recall
            metrics[_named(f"ppv_scripted_at_{budget:g}", name)] = found.ppv
            metrics[_named(f"alarms_false_scripted_at_{budget:g}", name)] = found.false_per_day
    return metrics


def _calibration(detector: Detector, stays: Sequence[Stay], calm: Shift, record: Played | None) -> dict[str, Interval]:
    """Which share of normal steps is beyond 0.99: simulated minutes, the real record's, hours of stays."""
    quiet = np.concatenate([course.watched & ~course.busy for course in courses(stays)])
    hours = detector.hours.tail(portrait_of_hours(detector.hours, stays))
    whom = np.concatenate([np.full(len(stay.vitals), stay.patient) for stay in stays])
    return defined(
        {
            "observed_beyond_99_simulated": _beyond(calm.scores[OURS]),
            "observed_beyond_99_record_hours_as_cases": _beyond(_by_hour(record.scores)) if record else None,
            "observed_beyond_99_hours": intervals.mean((hours >= -np.log10(1 - _HIGH))[quiet], whom[quiet]),
        }
    )


def _by_hour(record: Doubles) -> Doubles:
    """(1, minutes) as (hours, 60): one patient has no patients to draw from, so hours are drawn."""
    return record[0, : record.shape[1] // 60 * 60].reshape(-1, 60)


def _beyond(scores: Doubles) -> Interval | None:
    known = np.isfinite(scores)
    beyond = (np.nan_to_num(scores) >= _HIGH).sum(axis=1)
    return intervals.ratio(beyond, known.sum(axis=1), np.arange(len(scores)).astype(str))


def _stays_table(outcomes: Mapping[str, Sequence[Outcome]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, each in outcomes.items():
        for outcome in each:
            recall, ppv, lead, false = (
                outcome.figures.get(measure) for measure in ("recall", "ppv", "lead_h", "false_alarms_per_day")
            )
            told = (_told(recall), _told(ppv), lead.value if lead else None, false.value if false else None)
            rows.append((name or "anomaly", outcome.budget, *told))
    return Table(
        title="Instability on real stays, by the hour",
        columns=("detector", "alarms a patient-day", "event recall", "PPV", "median lead, h", "false alarms a day"),
        rows=tuple(rows),
    )


def _told(figure: Interval | None) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure else "–"


def _kinds_table(events: Mapping[str, Sequence[anomaly_events.Found]]) -> Table:
    kinds = list(events[OURS][0].by_kind)
    rows: list[tuple[Cell, ...]] = []
    for name, each in events.items():
        for budget, found in zip(BUDGETS, each, strict=True):
            lead = round(found.lead_min, 1) if np.isfinite(found.lead_min) else None
            rows.append((name or "anomaly", budget, *(found.by_kind[kind] for kind in kinds), lead))
    return Table(
        title="Scripted bedside events (SYNTHETIC): event recall by kind",
        columns=("detector", "false alarms a patient-day", *kinds, "median lead over limits, min"),
        rows=tuple(rows),
    )


def _notes(
    outcomes: Mapping[str, Sequence[Outcome]], scripted: Shift, calm: Shift, record: Played | None
) -> tuple[str, ...]:
    misses = [
        f"{rival} at {ours.budget:g}"
        for rival in _RIVALS
        for ours, theirs in zip(outcomes[OURS], outcomes[rival], strict=True)
        if (gap := difference(ours, theirs)) is None or gap.value <= 0
    ]
    patients = len(calm.minutes)
    return (
        f"Real stays: {outcomes[OURS][0].events} events, {outcomes[OURS][0].patients} patients. The hours' head alone "
        "speaks there; no label was fitted. NEWS2 lacks oxygen and consciousness there, which count as normal.",
        f"Event recall is not above: {'; '.join(misses)}." if misses else "Event recall is above limits and NEWS2.",
        "Scripted events, calm days and what is observed on simulated minutes are SYNTHETIC and tell of the simulator. "
        "Thresholds there keep the budget on calm days of another seed; an alarm is three minutes at or above one.",
        f"Drift events: {calm.drifts / patients:.2f} a calm simulated patient-day (all vitals), "
        f"{scripted.drifts / patients:.2f} on days with an event.",
        _of_record(record),
        "NAB: the series of realKnownCause, no vital among them. Each detector's threshold is the best on these very "
        "series, as the benchmark does; intervals are over series. The median of three draws of the trees. "
        "0 says nothing, 100 is perfect.",
    )


def _of_record(record: Played | None) -> str:
    if record is None:
        return "No real minute record is in this folder."
    known = np.isfinite(record.scores)
    begun = anomaly_events.alarms(record.scores, _HIGH).sum()
    return (
        f"Real minute record: the last {known.sum() / 60:.0f} h of one patient (the first 20 h were in the forest's "
        f"training): {len(record.drifts)} drift events, {begun} alarms at three minutes of {_HIGH} or more; whether "
        "anything ailed the patient then is not known."
    )


def _drawn(
    outcomes: Mapping[str, Sequence[Outcome]],
    events: Mapping[str, Sequence[anomaly_events.Found]],
    scripted: Shift,
) -> dict[str, bytes]:
    real = {
        name or "anomaly": [(o.budget, o.figures["recall"]) for o in each if "recall" in o.figures]
        for name, each in outcomes.items()
    }
    made = {
        name or "anomaly": [(budget, found.recall) for budget, found in zip(BUDGETS, each, strict=True)]
        for name, each in events.items()
    }
    return {
        "recall_real.png": plots.lines(real, "Instability on real stays", "alarms a patient-day", "event recall"),
        "recall_scripted.png": plots.lines(
            made, "Scripted bedside events (synthetic)", "false alarms a patient-day", "event recall"
        ),
        "course.png": course(scripted, 1),
    }


def course(shift: Shift, patient: int) -> bytes:
    """One scripted patient's day: heart rate and SpO2, the score below, the event shaded."""
    import io

    from matplotlib.figure import Figure

    event = next(event for event in shift.events if event.patient == patient)
    figure = Figure(figsize=(6.4, 4.6), dpi=110, layout="constrained")
    top, middle, low = figure.subplots(3, 1, sharex=True)
    hours = np.arange(shift.minutes.shape[1]) / 60
    shown: tuple[tuple[int, str, str], ...] = ((0, "heart rate, /min", plots.INKS[1]), (2, "SpO2, %", plots.INKS[0]))
    for axes, (channel, name, ink) in zip((top, middle), shown, strict=True):
        values: Floats = shift.minutes[patient, :, channel]
        axes.plot(hours, values, color=ink, linewidth=0.6)
        axes.set_ylabel(name)
    tail = -np.log10(np.clip(1 - shift.scores[OURS][patient], 1e-4, 1))
    low.plot(hours, tail, color="black", linewidth=0.6)
    low.axhline(-np.log10(1 - _HIGH), color=plots.GREY, linewidth=0.8)
    low.set(ylabel="anomaly score", xlabel="hours")
    low.set_yticks(range(5), ["0", "0.9", "0.99", "0.999", "0.9999"])
    for axes in (top, middle, low):
        axes.axvspan(event.start / 60, event.end / 60, color=plots.INKS[5], alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Synthetic: {event.kind} (shaded); score 0.99 is the grey line", fontsize=11, x=0.01, ha="left")
    figure.supxlabel(plots.FOOT, fontsize=7, color=plots.GREY, x=0.99, ha="right")
    page = io.BytesIO()
    figure.savefig(page, format="png", metadata={"Software": None})
    return page.getvalue()
