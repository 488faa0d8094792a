"""Trains the anomaly detector: real ICU hours, the real minute record, simulated bedside minutes.

Everything that is fitted comes from ``train``; the calibration of the score from ``validation`` stays and from
simulated patients of another seed. No label is fitted: events only judge it, in ``anomaly_evaluation``, but for the
weights of the parts, which were set by hand with an eye on the alarms on train and validation stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from contracts.errors import Misconfigured
from contracts.records import Vital
from models.ports import Floats
from models.registry import Bundle, Dataset
from models.training import anomaly_bedside, anomaly_forest
from models.training.anomaly_play import play
from models.training.budget import courses
from models.training.recipes import Progress, Say
from models.training.stays import Stay, load, plausible
from models.vitals import anomaly, oddness
from models.vitals.baseline import Doubles, Population
from models.vitals.halfspace import HalfSpace
from models.vitals.history import CHANNELS, HOURS
from models.vitals.oddness import FOREST, HALF_SPACE, Knots
from models.vitals.portrait import Portrait, names

NAME: Final = "vitals_anomaly"
RECORD: Final = "mimic_numerics_1min.csv"
CODE: Final = "models.training.anomaly 1"
FLOOR: Final = (2.0, 1.0, 0.7, 4.0, 3.0, 0.1)
"""The least deviations believed, near what monitors resolve and bodies do within minutes; ``CHANNELS``."""
MINUTES: Final[Mapping[str, Any]] = {
    "shape": {"recent": 5, "slope": 30, "spread": 15, "stale": (3, 3, 3, 60, 60, 60)},
    "fading": 1 - 2 ** (-1 / 240),  # half forgotten in four hours
    "mean_steps": 8.0,
    "spread_steps": 60.0,
    "parts": {FOREST: 0.7, HALF_SPACE: 0.3, "distance": 1.0, "strain": 1.0},
}
HOURS_HEAD: Final[Mapping[str, Any]] = {
    "shape": {"recent": 3, "slope": 6, "spread": 6, "stale": (4, 4, 4, 4, 4, 8)},
    "fading": 0.08,
    "mean_steps": 3.0,
    "spread_steps": 8.0,
    # each vital's own rarity on its harmful side, as in ECOD (Li et al. 2022)
    "parts": {
        FOREST: 1.0,
        "shock_anyone": 1.0,
        **{f"harm anyone {vital.value}": 0.3 if vital is Vital.TEMPERATURE else 1.0 for vital in CHANNELS},
    },
}
DRIFT: Final = {"delta": 1e-9, "least": 15}
HABITS: Final = {
    "calm": 0.8,
    "odd": 0.95,
    "share": 0.15,
    "quick": 1 - 2 ** (-1 / 120),
    "quick_min": 180,
    "told_from": 0.9,
}
TREES: Final = 80
SAMPLES: Final = 512
HALF_SPACE_TREES: Final = {"n_trees": 25, "height": 6, "window_size": 4096}
_DAY: Final = 1440
_PATIENTS: Final = 150
_NAMES: Final = names([vital.value for vital in CHANNELS])
_TWO_SIDED: Final = tuple(name for name in _NAMES if not name.startswith("harm") and not name.startswith("strain"))
_HARMFUL: Final = tuple(
    name
    for name in _NAMES
    if name.startswith("harm") or name in ("shock", "shock_anyone", "breath", "stress", "strain", "strain_anyone")
)
_HALF_SPACE_INPUTS: Final = (*(f"now {vital.value}" for vital in CHANNELS), "shock", "breath")


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a ``vitals_anomaly`` and the fields of its manifest; see ``recipes.Train``."""
    stays = load(folder, ("eicu",))
    hours, hours_forest = hours_head([s for s in stays if s.split == "train"], seed)
    hours["knots"] = calibrated_hours(hours, hours_forest, [s for s in stays if s.split == "validation"])
    say(f"hours: {len(stays)} stays read, forest of {len(hours_forest):,} bytes")
    usual = hours["population"]
    simulated = anomaly_bedside.normals(_PATIENTS, _DAY, seed)
    record = real_minutes(folder)[:, : 20 * 60]
    files = {anomaly.HOURS_FOREST: hours_forest}
    minutes, files = _minutes_head(files, hours, usual, (simulated, record), seed, progress)
    say(f"minutes: {simulated.shape[0]} simulated patient-days and {record.shape[1] / 60:.0f} real hours seen")
    calm = anomaly_bedside.normals(_PATIENTS, _DAY, seed + 1)
    for step in (
        "calibration",
        "calibration again",
    ):  # what is odd is learned less, so the scale moves the score a little
        minutes["knots"] = _knots(_parameters(minutes, hours), files, calm, progress, step)
    data = [_source(folder / "eicu_hourly.parquet", "eICU demo v2.0.1, hourly (YAIB)", "ODbL 1.0", _hours_of(stays))]
    data += [
        _source(folder / RECORD, "two MIMIC-III monitor numerics", "ODbL 1.0", record.shape[1]),
        Dataset(
            name="simulated bedside minutes (models.training.anomaly_bedside)",
            licence="Apache-2.0",
            sha256=hashlib.sha256(simulated.tobytes() + calm.tobytes()).hexdigest(),
            rows=2 * _PATIENTS * _DAY,
            synthetic=True,
        ),
    ]
    return files, {**_labels(seed, tuple(data)), "parameters": _parameters(minutes, hours)}


def hours_head(stays: Sequence[Stay], seed: int) -> tuple[dict[str, Any], bytes]:
    """The hours' head fitted to these stays, as it stands in the manifest but for its knots; and its forest."""
    head = _head(HOURS_HEAD, _population_of_hours(stays), _HARMFUL)
    seen = portrait_of_hours(head, stays)
    known = np.concatenate([course.watched for course in courses(stays)])
    columns = [_NAMES.index(name) for name in _HARMFUL]
    forest = anomaly_forest.fitted(seen.features[known][:, columns], TREES, SAMPLES, seed)
    exported = anomaly_forest.exported(forest)
    raw = oddness.read(head, _NAMES, exported, NAME).raw(seen)
    head["parts"] = _with_knots(HOURS_HEAD["parts"], {name: values[known] for name, values in raw.items()})
    return head, exported


def calibrated_hours(head: Mapping[str, Any], forest: bytes, stays: Sequence[Stay]) -> dict[str, list[float]]:
    """The knots of the score of hours: normal are the hours of these stays in which no instability lasts."""
    found = oddness.read(head, _NAMES, forest, NAME)
    calm = np.concatenate([course.watched & ~course.busy for course in courses(stays)])
    return Knots.of(found.mixed(found.raw(portrait_of_hours(head, stays)))[calm]).plain()


def portrait_of_hours(head: Mapping[str, Any] | oddness.Head, stays: Sequence[Stay]) -> Portrait:
    """Of every hour of every stay, one after the other, as the detector sees it live: the last 24 h."""
    found = head if isinstance(head, oddness.Head) else oddness.read(head, _NAMES, _no_forest(), NAME)
    windows = np.concatenate([windows_of(stay.vitals) for stay in stays])
    return anomaly.by_hours(found, windows)[0]


def windows_of(vitals: Floats, steps: int = HOURS) -> Floats:
    """(hours, steps, channels): of each hour, the ``steps`` up to it."""
    before = np.full((steps - 1, vitals.shape[1]), np.nan, np.float32)
    sliding = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, vitals]), steps, axis=0)
    return np.ascontiguousarray(sliding.transpose(0, 2, 1))


def real_minutes(folder: Path) -> Floats:
    """(1, minutes, 6): the one long real monitor record, cuff pressures where they were taken; zeros are no values.

    Raises Misconfigured when it is not in the folder.
    """
    from pyarrow import csv

    if not (folder / RECORD).is_file():
        raise Misconfigured(f"no {RECORD} in the data folder; it is laid out as in shared/data/vitals (WARD_DATA_DIR)")
    table = csv.read_csv(folder / RECORD)
    mine = table["subject"].to_numpy(zero_copy_only=False) == "s00001"
    out = np.full((int(mine.sum()), len(CHANNELS)), np.nan, np.float32)
    named = {
        Vital.HEART_RATE: "hr",
        Vital.RESPIRATION: "resp",
        Vital.SPO2: "spo2",
        Vital.SYSTOLIC: "nbpsys",
        Vital.MEAN_PRESSURE: "nbpmean",
    }
    for vital, column in named.items():
        values = table[column].to_numpy(zero_copy_only=False)[mine].astype(np.float32)
        out[:, CHANNELS.index(vital)] = plausible(vital, np.where(values > 0, values, np.float32(np.nan)))
    return out[None]


def _minutes_head(
    files: dict[str, bytes],
    hours: Mapping[str, Any],
    usual: Mapping[str, Any],
    seen: tuple[Floats, Floats],
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Two passes: the portraits do not hang on the forest, so a first detector without one collects them."""
    head = _head(MINUTES, _population_of_minutes(usual, seen[0]), _TWO_SIDED)
    blank = {**head, "parts": _with_knots({"distance": 1.0}, {}), "knots": _plain_knots()}
    start = half_space_of(np.full((1, len(_HALF_SPACE_INPUTS)), 0.5), seed)
    first = {**files, anomaly.MINUTES_FOREST: _no_forest(), anomaly.HALF_SPACE: start.written()}
    detector = anomaly.load(Bundle.of(NAME, first, parameters=_parameters(blank, hours), **_labels(seed, ())))
    shown: list[Floats] = []
    for minutes in seen:
        play(detector, minutes, look=lambda _at, _beds, drawn, _raw: shown.append(drawn.features), progress=progress)
    features = np.concatenate(shown)
    columns = [_NAMES.index(name) for name in _TWO_SIDED]
    forest = anomaly_forest.exported(anomaly_forest.fitted(features[:, columns], TREES, SAMPLES, seed))
    inputs = anomaly.squashed(features[:, [_NAMES.index(name) for name in _HALF_SPACE_INPUTS]])
    trees = half_space_of(inputs, seed)
    files = {**files, anomaly.MINUTES_FOREST: forest, anomaly.HALF_SPACE: trees.written()}
    whole = {**head, "parts": _with_knots(MINUTES["parts"], {}), "knots": _plain_knots()}
    loaded = oddness.read(whole, _NAMES, forest, NAME)
    fake = Portrait(features, np.empty(0), np.empty(0), np.empty(0))
    raw = loaded.raw(fake, trees.score(trees.paths(inputs), trees.mass(b"")))
    return {**head, "parts": _with_knots(MINUTES["parts"], raw), "knots": _plain_knots()}, files


def half_space_of(inputs: Doubles, seed: int) -> HalfSpace:
    """river's trees, taught by a window of these (n, inputs) in (0, 1) drawn by lot: what every ward starts from."""
    from river.anomaly import HalfSpaceTrees

    model = HalfSpaceTrees(**HALF_SPACE_TREES, seed=seed)
    window = int(HALF_SPACE_TREES["window_size"])
    order = np.random.default_rng(seed).choice(len(inputs), window, replace=len(inputs) < window)
    for row in inputs[order].tolist():
        model.learn_one(dict(enumerate(row)))
    return HalfSpace.from_river(model)


def _knots(
    parameters: Mapping[str, Any], files: Mapping[str, bytes], minutes: Floats, progress: Progress, step: str
) -> dict[str, list[float]]:
    """The knots of the minutes' score where nothing happens."""
    detector = anomaly.load(Bundle.of(NAME, files, parameters=parameters, **_labels(0, ())))
    found: dict[str, list[Doubles]] = {}

    def look(_at: int, _beds: slice, _drawn: Portrait, raw: dict[str, Doubles]) -> None:
        for name, values in raw.items():
            found.setdefault(name, []).append(values)

    play(detector, minutes, look=look, progress=progress, step=step)
    return Knots.of(detector.minutes.mixed({name: np.concatenate(values) for name, values in found.items()})).plain()


def _head(settings: Mapping[str, Any], population: Population, features: Sequence[str]) -> dict[str, Any]:
    known = {name: getattr(population, name).tolist() for name in ("mean", "between", "within", "floor")}
    steps = {name: settings[name] for name in ("mean_steps", "spread_steps")}
    return {
        "shape": {**settings["shape"], "stale": list(settings["shape"]["stale"])},
        "population": {**known, **steps},
        "fading": settings["fading"],
        "forest": {"features": list(features)},
        "parts": [],
        "knots": _plain_knots(),
    }


def _parameters(minutes: Mapping[str, Any], hours: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "minutes": dict(minutes),
        "hours": dict(hours),
        "half_space": {"features": list(_HALF_SPACE_INPUTS)},
        "drift": DRIFT,
        "habits": HABITS,
    }


def _with_knots(weights: Mapping[str, float], raw: Mapping[str, Doubles]) -> list[dict[str, Any]]:
    return [
        {"name": name, "weight": weight, "knots": Knots.of(raw[name]).plain() if name in raw else _plain_knots()}
        for name, weight in weights.items()
    ]


def _plain_knots() -> dict[str, list[float]]:
    return {"raw": [0.0, 1.0], "tail": [0.0, 1.0]}


def _no_forest() -> bytes:
    """A forest over one feature that says nothing, for a head that has none yet."""
    return anomaly_forest.exported(anomaly_forest.fitted(np.zeros((2, 1), np.float32), 1, 2, 0))


def _population_of_hours(stays: Sequence[Stay]) -> Population:
    long = [stay.vitals for stay in stays if len(stay.vitals) > 8]
    means, deviations = _by_patient(long)
    return Population(
        np.nanmean(means, axis=0),
        np.nanstd(means, axis=0),
        np.nanmedian(deviations, axis=0),
        np.array(FLOOR),
        HOURS_HEAD["mean_steps"],
        HOURS_HEAD["spread_steps"],
    )


def _population_of_minutes(usual: Mapping[str, Any], simulated: Floats) -> Population:
    """Means as in real stays, spread within a patient as simulated (no real minutes of enough patients)."""
    _, deviations = _by_patient(list(simulated))
    return Population(
        np.array(usual["mean"]),
        np.array(usual["between"]),
        np.nanmedian(deviations, axis=0),
        np.array(FLOOR),
        MINUTES["mean_steps"],
        MINUTES["spread_steps"],
    )


def _by_patient(series: Sequence[Floats]) -> tuple[Doubles, Doubles]:
    """(patients, 6) means and deviations of those with five values or more."""
    means = np.full((len(series), len(CHANNELS)), np.nan)
    deviations = means.copy()
    for row, values in enumerate(series):
        for channel in range(len(CHANNELS)):
            known = values[np.isfinite(values[:, channel]), channel].astype(np.float64)
            if len(known) >= 5:
                means[row, channel], deviations[row, channel] = known.mean(), known.std()
    return means, deviations


def _source(path: Path, name: str, licence: str, rows: int) -> Dataset:
    return Dataset(name=name, licence=licence, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), rows=rows)


def _hours_of(stays: Sequence[Stay]) -> int:
    return sum(len(stay.vitals) for stay in stays if stay.split != "test")


def _labels(seed: int, data: tuple[Dataset, ...]) -> dict[str, Any]:
    return {
        "code": CODE,
        "seed": seed,
        "data": data,
        "purpose": (
            "Says how unlike the patient's own past, and any patient's, the last minutes and hours of six vitals are. "
            "A score of 0.99 is one that is reached in at most one of a hundred normal minutes: minutes of simulated "
            "monitored patients to whom nothing happens, and hours of real ICU stays in which no instability lasts "
            "(the two share the hundredth 4 : 1)."
        ),
        "limits": (
            "What is normal by minutes comes from a simulator: on real monitors the share of minutes beyond a score "
            "may differ; the real record's is told in the evaluation.",
            "It does not know why: turning, washing, walking and a new drug are odd too.",
            "A patient who is odd from the first minute on is odd only beside anyone, not beside the own past.",
        ),
    }
