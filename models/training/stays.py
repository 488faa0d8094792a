"""Stays in intensive care from a folder of vitals data: hourly grids, cleaned, split by patient.

Values outside ``contracts.clinical.plausibility.PLAUSIBLE`` are unknown here as they are live; nothing is clamped or
filled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.clinical.plausibility import PLAUSIBLE
from contracts.errors import Misconfigured, Poison
from contracts.records import Vital
from models.vitals.history import CHANNELS

VALIDATION_SHARE: Final = 0.15
"""Of the training patients, by a hash of their id: for early stopping, calibration and thresholds."""
CHALLENGE_HOURS: Final = 48
_WORDS: Final = frozenset({"split", "sex", "gender"})
_GRID: Final[Mapping[Vital, str]] = {
    Vital.HEART_RATE: "hr",
    Vital.RESPIRATION: "resp",
    Vital.SPO2: "o2sat",
    Vital.SYSTOLIC: "sbp",
    Vital.MEAN_PRESSURE: "map",
    Vital.TEMPERATURE: "temp",
}
_CHALLENGE: Final[Mapping[Vital, tuple[str, ...]]] = {
    Vital.HEART_RATE: ("hr",),
    Vital.RESPIRATION: ("resprate",),
    Vital.SPO2: ("sao2",),
    Vital.SYSTOLIC: ("sysabp", "nisysabp"),
    Vital.MEAN_PRESSURE: ("map", "nimap"),
    Vital.TEMPERATURE: ("temp",),
}


@dataclass(frozen=True)
class Stay:
    """One stay. ``vitals`` is float32 (hours, 6) in the order of ``CHANNELS``, NaN unknown; row i is hour i.

    ``patient`` is what splits and bootstraps go by; ``split`` is ``train``, ``validation`` or ``test``. ``others`` are
    the further columns of the source (labs, fio2, urine, labels ...), hourly; ``facts`` is its row of the stays' table.
    """

    source: str
    stay: str
    patient: str
    split: str
    age_years: float
    female: float
    vitals: NDArray[np.float32]
    others: Mapping[str, NDArray[np.float32]]
    facts: Mapping[str, Any]


def load(folder: Path, sources: Sequence[str] = ("eicu", "challenge2012"), labs: bool = False) -> list[Stay]:
    """All stays of these sources (``eicu``, ``mimic``, ``challenge2012``) in a folder like ``shared/data/vitals``.

    Raises Misconfigured when the folder or a file is missing, Poison naming file and column of one that is wrong.
    """
    readers = {"eicu": _hourly, "mimic": _hourly, "challenge2012": _challenge}
    stays: list[Stay] = []
    for source in sources:
        if source not in readers:
            raise Misconfigured(f"unknown source {source!r}; known are {sorted(readers)}")
        stays += readers[source](folder, source, labs)
    return stays


def part(split: str, patient: str) -> str:
    """``split`` as the source has it, with a fixed share of the training patients set aside as ``validation``."""
    if split != "train":
        return split
    draw = int(hashlib.sha256(patient.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return "validation" if draw < VALIDATION_SHARE else "train"


def plausible(vital: Vital, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values with implausible ones unknown."""
    bounds = PLAUSIBLE[vital]
    with np.errstate(invalid="ignore"):
        return np.where((values >= bounds.low) & (values <= bounds.high), values, np.float32(np.nan))


def _read(path: Path, columns: Sequence[str]) -> dict[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if not path.is_file():
        raise Misconfigured(
            f"no {path.name} in the data folder; it is laid out as in shared/data/vitals (WARD_DATA_DIR)"
        )
    try:
        table = pyarrow.parquet.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)
    except (pa.ArrowInvalid, OSError) as broken:
        raise Poison("bad_data", f"{path.name} cannot be read: {broken}", path.name) from broken
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise Poison("bad_data", f"{path.name} has no column {missing[0]!r}", missing[0])
    text = [name for name in columns if name not in _WORDS and pa.types.is_string(table.schema.field(name).type)]
    if text:
        raise Poison("bad_data", f"{path.name}: {text[0]} holds text where numbers are expected", text[0])
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def _hourly(folder: Path, source: str, labs: bool) -> list[Stay]:
    grid = _read(folder / f"{source}_hourly.parquet", ["stay_id", "hour", "split", *_GRID.values()])
    table = _read(folder / f"{source}_stays.csv", ["stay_id", "age", "sex"])
    order = np.lexsort((grid["hour"], grid["stay_id"]))
    ids = grid["stay_id"][order]
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    rows = {int(stay): i for i, stay in enumerate(table["stay_id"])}
    skip = {"stay_id", "hour", "split", *_GRID.values()}
    further = [name for name in grid if name not in skip] if labs else ["sepsis", "aki"]
    stays = []
    for start, stop in zip(starts, np.r_[starts[1:], len(ids)], strict=True):
        at = order[start:stop]
        hours = grid["hour"][at].astype(int)
        row = _row_of(int(ids[start]), rows, f"{source}_stays.csv")
        facts = {name: values[row] for name, values in table.items()}
        patient = str(facts.get("patient_id", facts.get("person_key", facts["stay_id"])))
        length = int(hours.max()) + 1 if hours.size else 0
        vitals = np.full((length, len(CHANNELS)), np.nan, np.float32)
        for channel, vital in enumerate(CHANNELS):
            vitals[hours[hours >= 0], channel] = plausible(vital, grid[_GRID[vital]][at].astype(np.float32))[hours >= 0]
        others = {}
        for name in further:
            if name in grid:
                values = np.full(length, np.nan, np.float32)
                values[hours[hours >= 0]] = np.array(
                    [np.nan if v is None else float(v) for v in grid[name][at]], np.float32
                )[hours >= 0]
                others[name] = values
        sex = str(facts["sex"]).lower()
        stays.append(
            Stay(
                source,
                f"{source}-{ids[start]}",
                f"{source}-{patient}",
                part(str(grid["split"][at][0]), f"{source}-{patient}"),
                float(facts["age"]),
                1.0 if sex == "female" else 0.0 if sex == "male" else float("nan"),
                vitals,
                others,
                facts,
            )
        )
    return stays


def _challenge(folder: Path, source: str, labs: bool) -> list[Stay]:
    named = [name for names in _CHALLENGE.values() for name in names]
    seen = _read(folder / "challenge2012_observations.parquet", ["record_id", "minute", *named])
    table = _read(folder / "challenge2012_records.csv", ["record_id", "age", "gender", "split", "in_hospital_death"])
    order = np.lexsort((seen["minute"], seen["record_id"]))
    ids = seen["record_id"][order]
    edges = {int(i): (a, b) for i, a, b in zip(*_runs(ids), strict=True)}
    further = [name for name in seen if name not in {"record_id", "split", "minute", *named}] if labs else []
    stays = []
    for row, record in enumerate(table["record_id"]):
        start, stop = edges.get(int(record), (0, 0))
        at = order[start:stop]
        hours = np.minimum(seen["minute"][at] // 60, CHALLENGE_HOURS - 1)
        vitals = np.full((CHALLENGE_HOURS, len(CHANNELS)), np.nan, np.float32)
        for channel, vital in enumerate(CHANNELS):
            for name in reversed(_CHALLENGE[vital]):  # the first named, where there is one, stands
                means = _hour_means(hours, plausible(vital, seen[name][at].astype(np.float32)))
                vitals[:, channel] = np.where(np.isfinite(means), means, vitals[:, channel])
        others = {name: _hour_means(hours, seen[name][at].astype(np.float32)) for name in further}
        facts = {name: values[row] for name, values in table.items()}
        sex = str(facts["gender"]).lower()
        patient = f"{source}-{record}"
        stays.append(
            Stay(
                source,
                patient,
                patient,
                part(str(facts["split"]), patient),
                float(facts["age"]),
                1.0 if sex == "female" else 0.0 if sex == "male" else float("nan"),
                vitals,
                others,
                facts,
            )
        )
    return stays


def _row_of(stay: int, rows: Mapping[int, int], file: str) -> int:
    if stay not in rows:
        raise Poison("bad_data", f"{file} does not tell of stay {stay}", "stay_id")
    return rows[stay]


def _runs(ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp]]:
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
    return ids[starts], starts, np.r_[starts[1:], len(ids)]


def _hour_means(hours: NDArray[Any], values: NDArray[np.float32]) -> NDArray[np.float32]:
    known = np.isfinite(values)
    count = np.bincount(hours[known], minlength=CHALLENGE_HOURS)
    total = np.bincount(hours[known], weights=values[known], minlength=CHALLENGE_HOURS)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
