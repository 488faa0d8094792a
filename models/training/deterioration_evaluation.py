"""Judges the deterioration model: each risk beside NEWS2 and plain boosting, death beside SAPS-I, alarms by budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.ports import Flags, Floats
from models.training import intervals, plots, rivals
from models.training.deterioration_alarms import alarms
from models.training.deterioration_findings import Doubles, Findings
from models.training.deterioration_outcome import death
from models.training.deterioration_rows import Rows, inputs, rows
from models.training.deterioration_trees import one_thread
from models.training.evaluation import Cell, Evaluation, Table, defined
from models.training.recipes import Progress, Say, chosen
from models.training.stays import Stay, load
from models.vitals.deterioration import load as load_model
from models.vitals.deterioration_features import NAMES
from models.vitals.instability import CONDITIONS
from models.ward.policy import load_policy

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

GROUND: Final = {"hypotension": 0.81, "desaturation": 0.75, "tachycardia": 0.92, "tachypnoea": 0.88}
"""AUROC of plain gradient boosting on the test split, measured beforehand: not to be below any."""
_PLAIN: Final = [
    place
    for place, name in enumerate(NAMES)
    if name.endswith(("_last", "_change3", "_mean12", "_sd12")) or name in ("age_years", "stay_h")
]
_UNPROMISED: Final = ("sepsis", "aki")


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """The figures of a version on the stays of a split; see ``recipes.Evaluate``."""
    model = load_model(bundle)
    say("reading stays")
    stays = load(folder, ("eicu",), labs=True)
    judged, train = chosen(stays, split), [stay for stay in stays if stay.split == "train"]
    validation = [stay for stay in stays if stay.split == "validation"]
    found = Findings()
    steps: tuple[Callable[[], None], ...] = (
        lambda: _instability(found, model.probabilities, judged, train),
        lambda: death(found, model, bundle, folder, split, stays),
        lambda: alarms(found, model.probabilities, validation, judged),
        lambda: _unpromised(found, judged, train),
    )
    for done, step in enumerate(steps):
        progress("judged", done, len(steps))
        step()
    progress("judged", len(steps), len(steps))
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=split or "all but train",
        n=sum(len(stay.vitals) for stay in judged),
        metrics=defined(found.metrics),
        tables=tuple(found.tables),
        notes=tuple(found.notes),
        plots=found.plots,
    )


def _instability(
    found: Findings, probabilities: Callable[[Floats], Doubles], judged: Sequence[Stay], train: Sequence[Stay]
) -> None:
    seen, learned = rows(judged), rows(train) if train else None
    told = probabilities(seen.inputs)
    news = np.concatenate([rivals.news2(stay.vitals) for stay in judged])
    patients = np.array([stay.patient for stay in judged])[seen.stay]
    table: list[tuple[Cell, ...]] = []
    warned: list[tuple[Cell, ...]] = []
    reliable = {}
    for place, name in enumerate(CONDITIONS):
        counts = seen.counts[:, place]
        truth, p, who = seen.labels[counts, place], told[counts, place], patients[counts]
        scores = {"news2": np.nan_to_num(news[counts])}
        if learned is not None:
            scores |= _boosted(learned, place, seen.inputs[counts])
        found.judge(name, truth, p, who, scores)
        found.draw(name, f"{name.capitalize()} within 4 hours", truth, p, scores)
        warned.append(_as_advised(found, name, truth, p, who))
        if len(truth):
            reliable[name] = (truth, p)
        cells = [found.shown(f"auroc_{name}{end}") for end in ("", "_boosting", "_news2")]
        rest = [found.shown(f"{kind}_{name}") for kind in ("auprc", "observed", "slope", "ece")]
        table.append((name, len(truth), len(np.unique(who)), cells[0], GROUND[name], *cells[1:], *rest))
    if reliable:
        found.plots["reliability.png"] = plots.reliability(reliable, "Instability within 4 hours")
    columns = (
        "risk",
        "hours",
        "patients",
        "AUROC",
        "to reach on test",
        "boosting",
        "NEWS2",
        "AUPRC",
        "prevalence",
        "slope",
        "ECE",
    )
    title = "Within 4 hours, of hours in which it is not there"
    found.tables.append(Table(title=title, columns=columns, rows=tuple(table)))
    head = ("risk", "advised from", "share of hours", "came true (PPV)", "of all that came (recall)")
    found.tables.append(Table(title="Hours at which the built-in policy advises", columns=head, rows=tuple(warned)))
    found.notes.append(
        "NEWS2 is its minimum from the last known respiration, SpO2, systolic pressure, pulse and temperature: hourly "
        "stays hold neither oxygen nor consciousness. Plain boosting is scikit-learn's, trained on the same stays from "
        "last value, 3-h change, 12-h mean and spread, age and hour."
    )


def _as_advised(found: Findings, name: str, truth: Flags, told: Doubles, who: NDArray[np.str_]) -> tuple[Cell, ...]:
    """What the hours are worth in which the built-in policy would advise: a row of their table."""
    advised_from = load_policy().models.risk_from[name]
    advised = told >= advised_from
    found.metrics |= {
        f"advised_{name}": intervals.mean(advised, who),
        f"ppv_{name}": intervals.mean(truth[advised], who[advised]),
        f"recall_{name}": intervals.mean(advised[truth], who[truth]),
    }
    return (name, advised_from, *(found.shown(f"{kind}_{name}") for kind in ("advised", "ppv", "recall")))


def _boosted(learned: Rows, place: int, seen: Floats) -> dict[str, Doubles]:
    counts = learned.counts[:, place]
    fit = _fitted(learned.inputs[counts][:, _PLAIN], learned.labels[counts, place])
    return {} if fit is None else {"boosting": np.asarray(fit.decision_function(seen[:, _PLAIN]), np.float64)}


def _fitted(seen: Floats, truth: Flags) -> HistGradientBoostingClassifier | None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    if not truth.any() or truth.all():
        return None
    with one_thread():
        return HistGradientBoostingClassifier(max_iter=200, learning_rate=0.05, random_state=0).fit(seen, truth)


def _unpromised(found: Findings, judged: Sequence[Stay], train: Sequence[Stay]) -> None:
    """What a quick model makes of labels that are too few or too far from vitals to promise on."""
    table: list[tuple[Cell, ...]] = []
    for label in _UNPROMISED:
        parts = [_labelled(stays, label) for stays in (train, judged)]
        if any(part is None for part in parts):
            continue
        (seen, truth, _), (new, new_truth, who) = (part for part in parts if part is not None)
        fit = _fitted(seen, truth)
        figure = None if fit is None else intervals.auroc(new_truth, fit.decision_function(new), who)
        cell = f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]" if figure else None
        table.append((label, len(new_truth), len(np.unique(who[new_truth])), cell))
    if table:
        columns = ("label", "hours", "patients with it", "AUROC of a quick model")
        found.tables.append(Table(title="Not promised: sepsis and kidney injury", columns=columns, rows=tuple(table)))
        found.notes.append(
            "Sepsis and kidney injury are labelled in up to 13 hours around the onset: much of what is told is there "
            "already; the cases are few and defined by laboratory and cultures. A figure is given, nothing served."
        )


def _labelled(stays: Sequence[Stay], label: str) -> tuple[Floats, Flags, NDArray[np.str_]] | None:
    told = [stay for stay in stays if label in stay.others]
    if not told:
        return None
    truth = np.concatenate([stay.others[label] for stay in told])
    known = np.isfinite(truth)
    who = np.repeat([stay.patient for stay in told], [len(stay.vitals) for stay in told])
    return inputs(told)[known], truth[known] > 0, who[known]
