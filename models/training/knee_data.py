"""The knee patients of the osteoporosis data: what they were asked, their scores, their diagnosis, their images."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.bundle import Dataset, sha256_of
from models.risk.knee import LABELS
from models.risk.knee_fields import FIELDS, NONE, Value, checked

TABLE: Final = "clinical.csv"
LICENCE: Final = "CC BY 4.0"
NAME: Final = "Knee X-ray Osteoporosis Database (Wani and Arora 2021)"
NOT_YET: Final = 55.0
"""A woman below this age without an age at menopause has not come to it: so the blanks of the table are meant."""
NO_FRACTURE: Final = "lab technician"
"""Stands once among the fractures, with the occupation left empty: a cell too far to the left."""
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Patients:
    """One entry a patient everywhere. ``scores`` are T and Z (n, 2). Patients of one ``group`` are the same ones twice,
    as far as can be told: they stay on one side of every split. ``images`` are files; "" where there is none."""

    ids: tuple[str, ...]
    values: tuple[dict[str, Value], ...]
    truth: NDArray[np.intp]
    scores: NDArray[np.float64]
    parts: NDArray[np.str_]
    groups: NDArray[np.str_]
    images: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def of(self, rows: Sequence[int] | NDArray[Any]) -> Patients:
        """These patients only, by place or by a mask."""
        at = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows, np.intp)
        return Patients(
            ids=tuple(self.ids[i] for i in at),
            values=tuple(self.values[i] for i in at),
            truth=self.truth[at],
            scores=self.scores[at],
            parts=self.parts[at],
            groups=self.groups[at],
            images=tuple(self.images[i] for i in at),
        )


def patients(folder: Path) -> Patients:
    """All of ``clinical.csv``. Raises Misconfigured without one, Poison for a row that is not as it should be."""
    rows = _table(folder)
    return Patients(
        ids=tuple(row["patient_id"] for row in rows),
        values=tuple(checked(asked(row)) for row in rows),
        truth=np.asarray([LABELS.index(row["diagnosis"]) for row in rows], np.intp),
        scores=np.asarray([[float(row["t_score"]), float(row["z_score"])] for row in rows]),
        parts=np.asarray([row["split"] for row in rows]),
        groups=_groups(rows),
        images=tuple(row["image"] for row in rows),
    )


def asked(row: Mapping[str, str]) -> dict[str, str]:
    """A row's answers to the 21 questions, what is not meant corrected: pregnancies of a man, a menopause to come."""
    given = {field.name: row[field.name] for field in FIELDS}
    age, menopause = float(given["age"]), given["menopause_age"]
    if given["sex"] == "male":
        given |= {field.name: "" for field in FIELDS if field.women_only}
    elif not menopause and age < NOT_YET:
        given["menopause_age"] = NONE
    elif menopause and float(menopause) > age:
        given["menopause_age"] = ""
    if given["fracture_history"] == NO_FRACTURE:
        given |= {"occupation": NO_FRACTURE, "fracture_history": ""}
    return given


def dataset(folder: Path, rows: int) -> Dataset:
    """What a manifest says of the data."""
    digest = sha256_of((folder / TABLE).read_bytes())
    return Dataset(name=NAME, licence=LICENCE, sha256=digest, rows=rows)


def _table(folder: Path) -> list[dict[str, str]]:
    path = folder / TABLE
    if not path.is_file():
        raise Misconfigured(f"{folder} holds no {TABLE}: --data shared/data/knee_osteoporosis")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _groups(rows: Sequence[Mapping[str, str]]) -> NDArray[np.str_]:
    """The first patient with the same body and scores: two pairs of the table are one patient each, asked twice."""
    same = ("sex", "age", "height_m", "weight_kg", "pregnancies", "t_score", "z_score")
    first: dict[tuple[str, ...], str] = {}
    return np.asarray([first.setdefault(tuple(row[name] for name in same), row["patient_id"]) for row in rows])
