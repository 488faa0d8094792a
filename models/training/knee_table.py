"""Trains what is told of a knee patient without an image: a logistic regression on the 21 clinical fields.

T- and Z-score are left out: the diagnosis is the T-score in three parts, so with it a model repeats a measurement
that, once it is made, needs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.risk.knee import LABELS, TABLE_FILE, TABULAR, Column, KneeRisk, TableModel, softmax
from models.risk.knee_columns import columns
from models.risk.knee_fields import FIELDS, Value
from models.training.knee_crossed import Crossed, Doubles, Rows, crossed, folds
from models.training.knee_data import Patients, dataset, patients
from models.training.recipes import Progress, Say

STRENGTHS: Final = (0.03, 0.1, 0.3, 1.0)
"""Of the weights, as scikit-learn's C: the least log loss in cross-validation decides."""
RECALL: Final = 0.8
"""The threshold of osteoporosis: the highest that raises this share of it in cross-validation."""
SEX: Final = 0
IDLE: Final = tuple(field for field in FIELDS if field.idle is not None)
CAVEATS: Final = (
    "Learned from 167 patients of one published collection; their T-scores are by quantitative ultrasound, not by DXA.",
    "An estimate of who is worth measuring. It is no diagnosis; a T-score goes before it.",
)
LIMITS: Final = (
    "204 patients in all, 42 of them with osteoporosis, from one source: intervals are wide; it has been seen on no "
    "other data.",
    "The data were gathered where T-scores were measured: shares of the labels are not those of all who come.",
    "Answers are the patients' own; texts (occupation, diet, fractures, history) count only as groups or as said or "
    "not.",
    "Do not use it in place of a measurement, in children, or to rule osteoporosis out.",
)


def matrix(values: Sequence[Mapping[str, Value]]) -> tuple[tuple[str, ...], Doubles]:
    """The names of the columns, and (n, columns), not a number where an answer is missing."""
    found = [columns(each) for each in values]
    names = tuple(found[0])
    return names, np.asarray([[row[name] for name in names] for row in found], np.float64)


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A version from the train patients; the strength of its weights and its threshold by cross-validation in them."""
    every = patients(folder)
    mine = every.of(every.parts == "train")
    say(f"{len(mine)} patients")
    model, strength, _ = fitted(mine, seed)
    progress("fitted", 1, 1)
    return {TABLE_FILE: msgspec.json.format(msgspec.json.encode(model), indent=1)}, {
        "code": __name__,
        "data": [dataset(folder, len(mine))],
        "parameters": {
            "strength": strength,
            "threshold": model.threshold,
            "recall_aimed_at": RECALL,
            "left_out": {field.name: field.idle for field in IDLE}
            | dict.fromkeys(("t_score", "z_score"), "the diagnosis is a function of the T-score")
            | dict.fromkeys(("bmi", "obesity"), "follows from height and weight"),
        },
        "purpose": (
            "Says from 21 answers how likely a knee patient's bone is normal, osteopenic or osteoporotic, and which "
            "answers say so: to choose whose bone density is worth measuring."
        ),
        "limits": LIMITS,
    }


class Fitted(NamedTuple):
    """A regression, the strength of its weights, and the logits of those it was fitted on when they were set aside."""

    model: TableModel
    strength: float
    aside: Doubles


def fitted(mine: Patients, seed: int, scores: bool = False) -> Fitted:
    """The regression of these patients. ``scores`` adds T and Z, for comparison only."""
    names, x = matrix(mine.values)
    if scores:
        names, x = (*names, "t_score", "z_score"), np.c_[x, mine.scores]
    tried = [(strength, _aside(x, mine, strength, seed)) for strength in STRENGTHS]
    best, aside = min(tried, key=lambda each: log_loss(each[1], mine.truth))
    filled, averages = _filled(x, x)
    weights, intercepts, means, spreads = _regression(filled, mine.truth, best)
    made = TableModel(
        labels=LABELS,
        columns=tuple(
            Column(
                name=name,
                mean=float(means[j]),
                of_women=float(averages[0, j]),
                of_men=float(averages[1, j]),
                spread=float(spreads[j]),
                least=float(filled[:, j].min()),
                most=float(filled[:, j].max()),
                weights=tuple(map(float, weights[j])),
            )
            for j, name in enumerate(names)
        ),
        intercepts=tuple(map(float, intercepts)),
        shares=tuple(map(float, np.bincount(mine.truth, minlength=len(LABELS)) / len(mine))),
        threshold=threshold(mine.truth, softmax(aside)[:, -1]),
        caveats=CAVEATS,
    )
    return Fitted(made, best, aside)


def threshold(truth: Rows, probability: Doubles) -> float:
    """The highest cut that raises a share ``RECALL`` of osteoporosis."""
    osteoporosis = np.sort(probability[truth == len(LABELS) - 1])
    return float(np.floor(osteoporosis[int((1 - RECALL) * len(osteoporosis))] * 1000) / 1000)


def cross(mine: Patients, seed: int, progress: Progress, scores: bool = False) -> Crossed:
    """The whole of ``fitted``, choices and all, judged on patients that it has not seen."""

    def fit(learned: Rows, judged: Rows, draw: int) -> tuple[Doubles, float]:
        model = fitted(mine.of(learned), draw, scores).model
        return logits(model, mine.of(judged), scores), model.threshold

    return crossed(mine.truth, mine.groups, fit, seed, lambda done, whole: progress("cross-validated", done, whole))


def logits(model: TableModel, of: Patients, scores: bool = False) -> Doubles:
    """(n, labels) of patients, by the code that serves them; with scores by the same sum."""
    if not scores:
        risk = KneeRisk(Bundle.of(TABULAR, {TABLE_FILE: msgspec.json.encode(model)}, code="", seed=0, data=()))
        return np.asarray([risk.logits(values) for values in of.values])
    _, x = matrix(of.values)
    x = np.c_[x, of.scores]
    averages = np.asarray([[column.of_women, column.of_men] for column in model.columns]).T
    filled = np.where(np.isnan(x), averages[x[:, SEX].astype(int)], x)
    means, spreads = (np.asarray([getattr(column, what) for column in model.columns]) for what in ("mean", "spread"))
    weights = np.asarray([column.weights for column in model.columns])
    told: Doubles = (filled - means) / spreads @ weights + np.asarray(model.intercepts)
    return told


def log_loss(logits: Doubles, truth: Rows) -> float:
    """Mean of -log of the true label's probability."""
    return float(-np.log(np.maximum(softmax(logits)[np.arange(len(truth)), truth], 1e-12)).mean())


def _aside(x: Doubles, mine: Patients, strength: float, seed: int) -> Doubles:
    """Logits of each patient by those of other folds."""
    told = np.zeros((len(mine), len(LABELS)))
    for learned, judged in folds(mine.truth, mine.groups, seed):
        filled, _ = _filled(x[learned], x[learned])
        weights, intercepts, means, spreads = _regression(filled, mine.truth[learned], strength)
        seen, _ = _filled(x[judged], x[learned])
        told[judged] = (seen - means) / spreads @ weights + intercepts
    return told


def _filled(x: Doubles, learned: Doubles) -> tuple[Doubles, Doubles]:
    """What is missing, by the average of the patient's sex among those learned from; the averages (sexes, columns)."""
    averages = []
    for sex in (0.0, 1.0):
        own = learned[learned[:, SEX] == sex]
        known, all_known = np.isfinite(own), np.isfinite(learned)
        sums = np.where(known, own, 0.0).sum(axis=0)
        whole = np.where(all_known, learned, 0.0).sum(axis=0) / np.maximum(all_known.sum(axis=0), 1)
        averages.append(np.where(known.any(axis=0), sums / np.maximum(known.sum(axis=0), 1), whole))
    of_sexes = np.asarray(averages)
    return np.where(np.isnan(x), of_sexes[x[:, SEX].astype(int)], x), of_sexes


def _regression(x: Doubles, truth: Rows, strength: float) -> tuple[Doubles, Doubles, NDArray[Any], NDArray[Any]]:
    """(weights (columns, labels), intercepts, means, spreads)."""
    from sklearn.linear_model import LogisticRegression

    means, spreads = x.mean(axis=0), x.std(axis=0)
    spreads = np.where(spreads > 0, spreads, 1.0)
    fit = LogisticRegression(C=strength, max_iter=1000).fit((x - means) / spreads, truth)
    return fit.coef_.T, fit.intercept_, means, spreads
