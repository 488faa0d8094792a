"""What the demo's scanner plays: sample pictures, hands where there are any, and things that have to be refused.

Its patients are those of the simulated ward, under the ids that stand in the vitals, so that both meet. Who falls ill
in the ward's script has brain images first.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from contracts.errors import Misconfigured
from producers.planted import name
from producers.scanner_objects import Facts, drawn, encapsulated, wrapped
from producers.scenario import Family, load_script
from producers.ward import Hospital, script_for

MOST_PATIENTS: Final = 64
ILL_WITHIN_S: Final = 1200
ODD_EVERY: Final = 4
"""After so many pictures one comes that is none of a model's."""
HANDS: Final = 6
_SEXES: Final = {"female": "F", "male": "M"}
_CT_SIDE: Final = 256


@dataclass(frozen=True)
class Patient:
    """Somebody of the simulated ward; the name is invented."""

    id: str
    name: str
    sex: str
    age_years: float


@dataclass(frozen=True)
class Exam:
    """One object to send. ``shows`` says in a word or two what it is, for whoever reads the log."""

    shows: str
    dataset: Any


@dataclass(frozen=True)
class _Shot:
    shows: str
    content: bytes
    modality: str
    body_part: str
    view: str | None = None
    laterality: str | None = None
    sex: str | None = None
    who: Patient | None = None
    """Somebody from outside the ward."""


def ward_patients(beds: int, seed: int, start_ms: int) -> list[Patient]:
    """The simulated ward's patients (64 at most), those first who fall ill within twenty minutes of its start."""
    hospital = Hospital(min(beds, MOST_PATIENTS), seed=seed, script=load_script(script_for(beds)), start_ms=start_ms)
    ill = [one.patient for one in hospital.truth(ILL_WITHIN_S) if one.family is Family.EPISODE]
    rng = random.Random(seed)  # noqa: S311  # made up, and the same again for the same seed
    facts = [one for frame in hospital.before() for one in frame.facts]
    found = [
        Patient(
            one.patient,
            f"{name(rng).title()}^{name(rng).title()}",
            _SEXES.get(one.sex or "", "O"),
            float(one.age_years or 0.0),
        )
        for one in facts
    ]
    return sorted(found, key=lambda one: ill.index(one.id) if one.id in ill else len(ill))


def exams(beds: int, seed: int, start_ms: int, every_s: float, data_dir: str | None = None) -> Iterator[Exam]:
    """Objects without end, round after round; the same arguments give the same ones, byte for byte.

    Exam ``n`` was taken ``n * every_s`` after ``start_ms``. Raises Misconfigured when ``data_dir`` has no hands in it
    that can be read.
    """
    queue = _Queue(ward_patients(beds, seed, start_ms))
    shots = _in_turn(_samples(), _hands(data_dir) if data_dir else [])
    start = datetime.fromtimestamp(start_ms / 1000, UTC)
    odd = 0
    number = 0

    def facts(shot: _Shot) -> Facts:
        who = shot.who or queue.next_for(shot.sex)
        return Facts(
            patient=who.id,
            name=who.name,
            modality=shot.modality,
            body_part=shot.body_part,
            taken=start + timedelta(seconds=number * every_s),
            run=f"{seed}-{start_ms}",
            number=number,
            sex=shot.sex or who.sex,
            age_years=who.age_years,
            view=shot.view,
            laterality=shot.laterality,
        )

    while True:
        for place, shot in enumerate(shots, 1):
            yield Exam(shot.shows, wrapped(shot.content, facts(shot)))
            number += 1
            if place % ODD_EVERY == 0:
                shows, make = ODDITIES[odd % len(ODDITIES)]
                yield Exam(shows, make(facts))
                number, odd = number + 1, odd + 1


class _Queue:
    """Patients in turn, of the sex that is asked for where there is one."""

    def __init__(self, patients: list[Patient]) -> None:
        self._waiting = patients

    def next_for(self, sex: str | None) -> Patient:
        who = next((one for one in self._waiting if sex in (None, one.sex)), self._waiting[0])
        self._waiting.remove(who)
        self._waiting.append(who)
        return who


def _samples() -> list[_Shot]:
    folder = resources.files("producers").joinpath("samples", "images")
    rows = csv.DictReader(folder.joinpath("images.csv").read_text(encoding="utf-8").splitlines())
    return [
        _Shot(
            f"{row['body_part'].lower()} {row['file']}",
            folder.joinpath(row["file"]).read_bytes(),
            row["modality"],
            row["body_part"],
            row["view"] or None,
            row["laterality"] or None,
            row["sex"] or None,
        )
        for row in rows
    ]


def _hands(data_dir: str) -> list[_Shot]:
    """Hand X-rays of the test split of the bone-age set below this folder: children from outside the ward.

    Their sex is told, their age is made up: as many years as their hands look.
    """
    folder = Path(data_dir) / "bone_age"
    try:
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as lines:
            rows = [row for row in csv.DictReader(lines) if row["split"] == "test"][:HANDS]
        return [
            _Shot(
                f"hand {Path(row['image']).name}",
                (folder / row["image"]).read_bytes(),
                "CR",
                "HAND",
                "PA",
                "L",
                who=_child(row),
            )
            for row in rows
        ]
    except (OSError, KeyError, ValueError) as wrong:
        raise Misconfigured(f"WARD_DATA_DIR={data_dir}: its bone_age/labels.csv cannot be played ({wrong})") from wrong


def _child(row: dict[str, str]) -> Patient:
    stem = Path(row["image"]).stem
    rng = random.Random(stem)  # noqa: S311  # made up
    called = f"{name(rng).title()}^{name(rng).title()}"
    return Patient(f"out-{stem}", called, _SEXES[row["sex"]], float(row["bone_age_months"]) // 12)


def _in_turn(samples: list[_Shot], hands: list[_Shot]) -> list[_Shot]:
    """After two samples a hand, while there are any."""
    made: list[_Shot] = []
    left = list(hands)
    for place, shot in enumerate(samples, 1):
        made.append(shot)
        if place % 2 == 0 and left:
            made.append(left.pop(0))
    return made + left


# -- what has to be refused ------------------------------------------------------------------------------------------

MakeFacts = Callable[[_Shot], Facts]


def _damaged(facts: MakeFacts) -> Any:
    """Half a JPEG inside a whole header."""
    shot = next(one for one in _samples() if one.modality == "CR")
    dataset = wrapped(shot.content, facts(shot))
    encapsulated(dataset, shot.content[: len(shot.content) // 2])
    return dataset


def _phantom(facts: MakeFacts) -> Any:
    """A disc with a grid of dots, as scanners are tested with; its header says brain."""
    rows, cols = np.mgrid[-112:112, -112:112]
    disc = np.where(rows**2 + cols**2 < 100**2, 150, 8)
    dots = (rows % 28 - 14) ** 2 + (cols % 28 - 14) ** 2 < 36
    return drawn(np.where(dots & (disc > 8), 30, disc).astype(np.uint8), facts(_Shot("", b"", "MR", "BRAIN")))


def _abdomen(facts: MakeFacts) -> Any:
    """A CT phantom in Hounsfield units: nobody has a model for it."""
    rows, cols = np.mgrid[-1 : 1 : _CT_SIDE * 1j, -1 : 1 : _CT_SIDE * 1j]
    made = np.full(rows.shape, -1000, np.int16)
    made[(rows / 0.7) ** 2 + (cols / 0.9) ** 2 < 1] = -90
    made[(rows / 0.6) ** 2 + (cols / 0.8) ** 2 < 1] = 45
    made[(rows - 0.35) ** 2 + cols**2 < 0.02] = 600
    made[(rows + 0.1) ** 2 + (cols + 0.4) ** 2 < 0.04] = 70
    return drawn(made, facts(_Shot("", b"", "CT", "ABDOMEN")))


def _written_on(facts: MakeFacts) -> Any:
    """A knee with a name burned into its pixels."""
    import io

    from PIL import Image, ImageDraw, ImageFont

    shot = next(one for one in _samples() if one.modality == "DX")
    told = facts(shot)
    with Image.open(io.BytesIO(shot.content)) as image:
        ImageDraw.Draw(image).text((8, 6), told.name.upper(), fill=255, font=ImageFont.load_default(16))
        pixels = np.asarray(image)
    return drawn(pixels, told)


ODDITIES: Final[tuple[tuple[str, Callable[[MakeFacts], Any]], ...]] = (
    ("phantom that says brain", _phantom),
    ("damaged knee", _damaged),
    ("CT phantom", _abdomen),
    ("knee with a name on it", _written_on),
)
