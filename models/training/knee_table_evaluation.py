"""Judges the estimate from 21 answers: beside always saying the commonest, and beside the scores that it must not see.

``cv`` judges the recipe on every patient by repeated cross-validation, ``validation`` the same within the train
patients, ``test`` (and no split) the version itself on those set aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from contracts.errors import Misconfigured
from models.bundle import Bundle, Interval
from models.risk.knee import LABELS, KneeRisk, TableModel
from models.risk.knee_columns import FIELD_OF
from models.risk.knee_fields import BY_NAME, FIELDS
from models.training import plots
from models.training.evaluation import Cell, Evaluation, Table
from models.training.knee_crossed import (
    HOW,
    MAIN,
    Crossed,
    beside,
    commonest,
    figures,
    gain,
    shown,
)
from models.training.knee_data import Patients, patients
from models.training.knee_table import IDLE, cross, fitted, logits
from models.training.recipes import SEED, Progress, Say

SPLITS: Final = ("test", "validation", "cv")
WORDS: Final = {
    "macro_f1": "macro-F1",
    "accuracy_balanced": "balanced accuracy",
    "auroc_normal": "AUROC normal",
    "auroc_osteoporosis": "AUROC osteoporosis",
    "loss_log": "log loss",
}


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """The figures of a version (or, of ``cv`` and ``validation``, of its recipe); see ``recipes.Evaluate``."""
    part, every = part_of(split), patients(folder)
    train = every.of(every.parts == "train")
    judged = {"test": every.of(every.parts == "test"), "validation": train, "cv": every}[part]
    say(f"{len(judged)} patients")
    found, with_scores = _both(bundle, judged, train, part, progress)
    majority = commonest(found)
    metrics = figures(found)
    beside(metrics, "majority", majority)
    if (more := gain(found, majority, "macro_f1")) is not None:
        metrics["gain_macro_f1_over_majority"] = more
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=part,
        n=len(judged),
        metrics=metrics,
        tables=(_side_by_side(metrics, with_scores, majority), _weights(bundle), confusion(found), _answers(judged)),
        notes=_notes(part, judged, found),
        plots=_plots(found, with_scores),
    )


def part_of(split: str | None) -> str:
    """The split that is meant. Raises Misconfigured."""
    if split is not None and split not in SPLITS:
        raise Misconfigured(f"--split {split}: {', '.join(SPLITS)}")
    return split or "test"


def _both(bundle: Bundle, judged: Patients, train: Patients, part: str, progress: Progress) -> tuple[Crossed, Crossed]:
    """What was told without the scores and with them."""
    if part != "test":
        return cross(judged, SEED, progress), cross(judged, SEED, progress, scores=True)
    risk = KneeRisk(bundle)
    told = np.asarray([[risk.logits(values) for values in judged.values]])
    known = fitted(train, bundle.manifest.seed, scores=True).model
    progress("judged", 1, 1)
    return (
        _once(judged, told, risk.table.threshold),
        _once(judged, logits(known, judged, scores=True)[None], known.threshold),
    )


def _once(judged: Patients, told: Any, cut: float) -> Crossed:
    return Crossed.of(judged.truth, judged.groups, told, np.full((1, len(judged)), cut))


def _side_by_side(metrics: Mapping[str, Interval], with_scores: Crossed, majority: Crossed) -> Table:
    known, blind = figures(with_scores), figures(majority)
    rows = [(WORDS[name], shown(metrics.get(name)), shown(known.get(name)), shown(blind.get(name))) for name in MAIN]
    return Table(
        title="Without T- and Z-score (as shipped) and with them, which repeats the measurement that makes the "
        "diagnosis",
        columns=("figure", "without (shipped)", "with T- and Z-score", "always the commonest"),
        rows=tuple(rows),
    )


def _weights(bundle: Bundle) -> Table:
    """What a usual step of each answer adds to the log odds of each label; and the answers that carry nothing."""
    model: TableModel = KneeRisk(bundle).table
    rows: list[tuple[Any, ...]] = []
    for column in sorted(model.columns, key=lambda one: -abs(one.weights[-1])):
        rows.append((column.name.replace("_", " "), BY_NAME[FIELD_OF[column.name]].label, *column.weights))
    rows += [(field.name.replace("_", " "), field.label, None, None, f"left out: {field.idle}") for field in IDLE]
    return Table(
        title="What one standard deviation of an input adds to the log odds; what carries nothing and is left out",
        columns=("input", "field", *LABELS),
        rows=tuple(rows),
    )


def confusion(found: Crossed) -> Table:
    """What was said of whom."""
    n = len(LABELS)
    counts = np.mean(
        [np.bincount(found.truth * n + said, minlength=n * n).reshape(n, n) for said in found.said], axis=0
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (label, *(round(float(one), 1) for one in row)) for label, row in zip(LABELS, counts, strict=True)
    )
    return Table(title="What was said of whom (mean of repeats)", columns=("in truth", *LABELS), rows=rows)


def _answers(judged: Patients) -> Table:
    rows = tuple(
        (field.label, field.name, sum(field.name in values for values in judged.values), field.idle or "counts")
        for field in FIELDS
    )
    return Table(title="The 21 fields", columns=("field", "name", "answered by", "in the model"), rows=rows)


def _notes(part: str, judged: Patients, found: Crossed) -> tuple[str, ...]:
    how = {
        "test": "The version as it is, on patients set aside: few, so the intervals are wide; `cv` is steadier.",
        "validation": f"The recipe, not the version: {HOW}, within the train patients.",
        "cv": f"The recipe, not the version: {HOW}, on all patients; strength and threshold are chosen anew in each "
        "fold, within what is learned from.",
    }
    shares = ", ".join(f"{int((found.truth == at).sum())} {label}" for at, label in enumerate(LABELS))
    return (
        how[part],
        f"{len(judged)} patients: {shares}. Rows that are one patient twice ({len(judged) - len(set(judged.groups))}) "
        "are drawn together and on one side of every split.",
        "The diagnosis is the T-score in three parts (above -1, above -2.5, the rest); what sees it repeats it. "
        "So T- and Z-score are no inputs of the shipped model; one with them is judged beside it to show the "
        "difference, and is not kept.",
        "Intervals tell of the draw of the patients judged, not of that of those learned from.",
    )


def _plots(found: Crossed, with_scores: Crossed) -> dict[str, bytes]:
    last = len(LABELS) - 1
    true = np.tile(found.truth, len(found.said))
    told = {label: ((true == at), found.score(at).ravel()) for at, label in enumerate(LABELS) if at != 1}
    both = {
        "without T- and Z-score": (true == last, found.score(last).ravel()),
        "with them": (np.tile(with_scores.truth, len(with_scores.said)) == last, with_scores.score(last).ravel()),
    }
    return {
        "calibration.png": plots.reliability(told, "Knee, 21 answers: how often it is so"),
        "osteoporosis.png": plots.finding(both, "Osteoporosis from 21 answers"),
    }
