"""Trains the deterioration model: what comes within four hours on eICU, death in hospital on the Challenge of 2012."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from contracts.records import Vital
from models.bundle import Dataset
from models.ports import Flags, Floats
from models.training import deterioration_death as death_48h
from models.training.deterioration_rows import death_rows, rows
from models.training.deterioration_trees import Recipe, draw, graph, grow
from models.training.recipes import Progress, Say
from models.training.stays import Stay, load
from models.vitals.deterioration import DEATH, GRAPH, RISKS, Calibration, Parameters, settings
from models.vitals.deterioration_features import LAST, NAMES
from models.vitals.history import CHANNELS
from models.vitals.instability import CONDITIONS

CODE: Final = "models.training.deterioration"
SEEDS: Final = 1
"""Ensembles a risk: a second one gained nothing on validation patients and doubled the time at the bed."""
DEATH_HOURS: Final = (11, 23, 35, 47)
"""Hours of a Challenge stay at which the model for the bed learns: it is asked at any hour."""

_RECIPES: Final[Mapping[str, Recipe]] = {
    "hypotension": Recipe(),
    "desaturation": Recipe(),
    "tachycardia": Recipe(rounds=200),
    "tachypnoea": Recipe(),
    DEATH: Recipe(rate=0.04, rounds=200, least=80, share=0.2),
}
_DEATH_48H: Final = Recipe(rate=0.04, rounds=250, least=40, share=0.15)
_DEATH_48H_LINE: Final = 0.25
_LINES: Final[Mapping[str, float]] = {"hypotension": 0.25, "desaturation": 0.25, "tachycardia": 1.0, "tachypnoea": 0.25}
"""How much of a straight line's log odds is added to the trees'."""
_EXPLAINED: Final = 0.3
"""From this probability on, or from thrice the usual if that is less, drivers are worked out."""
_UNTOLD: Final = 0.05
"""Share of training rows whose age and sex, and of others whose hour of stay, are hidden: a ward may not tell them."""
_DEATH_BLIND: Final = ("_age", "_known", "stay_h")
"""Endings of columns that the model of death does not read: how often somebody measured is another hospital's habit."""

_TOLD: Final = {
    "purpose": "How likely hypotension, desaturation, tachycardia and tachypnoea are within 4 hours in a patient who "
    "has them not now, and how likely death in hospital is, from a day of hourly vitals, age and sex.",
    "limits": (
        "An hour's values are one number: what comes and goes within an hour is not seen, before or after.",
        "Death as served at the bed knows vitals, age and sex only; `death_48h.onnx`, which knows the laboratory, is "
        "judged beside it and not served.",
        "A probability holds for patients like those of the data; treatment that prevented an event counts as "
        "no event, so a low probability may be the merit of care that must go on.",
    ),
}


class Lesson(NamedTuple):
    """Rows to learn a risk from, and rows of validation patients to calibrate it on."""

    rows: Floats
    truth: Flags
    checks: Floats
    checks_truth: Flags


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a ``deterioration`` and the fields of its manifest; see ``recipes.Train``."""
    say("reading stays of eICU, the MIMIC demo and the Challenge of 2012")
    hourly, records = load(folder, ("eicu", "mimic")), load(folder, ("challenge2012",), labs=True)
    lessons, stable = _lessons(hourly, records)
    forests, lines, calibration, explain_from = [], [], {}, {}
    for step, name in enumerate(RISKS):
        progress("risks", step, len(RISKS) + 1)
        lesson = lessons[name]
        forest = grow(_hidden(lesson.rows, seed), lesson.truth, _RECIPES[name], _seeds(seed), _columns(name))
        line = draw(lesson.rows, lesson.truth, _LINES.get(name, 0.0))
        odds = forest.log_odds(lesson.checks) + line.log_odds(lesson.checks)
        calibration[name] = calibrated(odds, lesson.checks_truth)
        explain_from[name] = round(min(3 * float(lesson.checks_truth.mean()), _EXPLAINED), 4)
        forests.append(forest)
        lines.append(line)
        say(f"{name}: {len(lesson.truth):,} rows, {lesson.truth.mean():.1%} of them followed by it")
    progress("risks", len(RISKS), len(RISKS) + 1)
    whole, whole_calibration = death_from_all(records, seed)
    progress("risks", len(RISKS) + 1, len(RISKS) + 1)
    parameters = Parameters(
        features=NAMES,
        risks=RISKS,
        calibration=calibration,
        explain_from=explain_from,
        usual=_usual(stable),
        usual_age=float(np.nanmedian([stay.age_years for stay in hourly if stay.split == "train"])),
    )
    files = {GRAPH: graph(forests, len(NAMES), lines), death_48h.GRAPH: whole}
    extra = {"death_48h": {"slope": whole_calibration.slope, "intercept": whole_calibration.intercept}}
    return files, {
        "code": CODE,
        "seed": seed,
        "data": _data(folder, hourly, records),
        "parameters": {**settings(parameters), **extra},
        **_TOLD,
    }


def calibrated(odds: NDArray[np.float64], truth: Flags) -> Calibration:
    """Platt's two numbers, fitted to these rows. Raises Misconfigured where they tell nothing."""
    from sklearn.linear_model import LogisticRegression

    if truth.all() or not truth.any():
        raise Misconfigured("the validation stays do not hold both what is to be told and its absence; more are needed")
    fit = LogisticRegression(C=1e6).fit(odds[:, None], truth)
    return Calibration(float(fit.coef_[0, 0]), float(fit.intercept_[0]))


def _lessons(hourly: Sequence[Stay], records: Sequence[Stay]) -> tuple[dict[str, Lesson], Floats]:
    """By risk; and the last known vitals of stable training rows."""
    learned = rows([stay for stay in hourly if stay.split == "train"])
    checked = rows([stay for stay in hourly if stay.split == "validation" and stay.source == "eicu"])
    lessons = {}
    for place, name in enumerate(CONDITIONS):
        of, to = learned.counts[:, place], checked.counts[:, place]
        lessons[name] = Lesson(
            learned.inputs[of], learned.labels[of, place], checked.inputs[to], checked.labels[to, place]
        )
    seen, died, _ = death_rows([r for r in records if r.split == "train"], DEATH_HOURS)
    checks, checks_died, _ = death_rows([r for r in records if r.split == "validation"], DEATH_HOURS)
    lessons[DEATH] = Lesson(seen, died, checks, checks_died)
    return lessons, learned.inputs[learned.counts.all(axis=1)][:, LAST]


def death_from_all(records: Sequence[Stay], seed: int) -> tuple[bytes, Calibration]:
    """Death from all that the Challenge knows of two days: the graph and its calibration."""
    parts = {split: [stay for stay in records if stay.split == split] for split in ("train", "validation")}
    seen = {split: death_48h.features(stays) for split, stays in parts.items()}
    died = {split: death_48h.died(stays) > 0 for split, stays in parts.items()}
    every = np.arange(len(death_48h.NAMES))
    forest = grow(seen["train"], died["train"], _DEATH_48H, (seed, seed + 1), every)
    line = draw(seen["train"], died["train"], _DEATH_48H_LINE)
    odds = forest.log_odds(seen["validation"]) + line.log_odds(seen["validation"])
    return graph([forest], len(every), [line]), calibrated(odds, died["validation"])


def _columns(name: str) -> NDArray[np.intp]:
    if name != DEATH:
        return np.arange(len(NAMES))
    return np.array([i for i, column in enumerate(NAMES) if not column.endswith(_DEATH_BLIND)])


def _hidden(seen: Floats, seed: int) -> Floats:
    """The rows with some facts untold."""
    chance = np.random.default_rng(seed)
    hidden = seen.copy()
    untold = chance.random(len(seen)) < _UNTOLD
    hidden[untold, NAMES.index("age_years")] = hidden[untold, NAMES.index("female")] = np.nan
    hidden[chance.random(len(seen)) < _UNTOLD, NAMES.index("stay_h")] = np.nan
    return hidden


def _usual(stable: Floats) -> dict[Vital, float]:
    return {vital: round(float(np.nanmedian(stable[:, i])), 1) for i, vital in enumerate(CHANNELS)}


def _seeds(seed: int) -> tuple[int, ...]:
    return tuple(seed + i for i in range(SEEDS))


def _data(folder: Path, hourly: Sequence[Stay], records: Sequence[Stay]) -> tuple[Dataset, ...]:
    def source(file: str, name: str, licence: str, stays: Sequence[Stay]) -> Dataset:
        learned = sum(len(stay.vitals) for stay in stays if stay.split != "test")
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        return Dataset(name=name, licence=licence, sha256=digest, rows=learned)

    by_source = {name: [stay for stay in hourly if stay.source == name] for name in ("eicu", "mimic")}
    challenge = "PhysioNet/CinC Challenge 2012, sets a and b"
    return (
        source("eicu_hourly.parquet", "eICU demo v2.0.1, hourly (YAIB)", "ODbL 1.0", by_source["eicu"]),
        source("mimic_hourly.parquet", "MIMIC-III demo, hourly (YAIB)", "ODbL 1.0", by_source["mimic"]),
        source("challenge2012_observations.parquet", challenge, "ODC-By 1.0", records),
    )
