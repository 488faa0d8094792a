"""Labelled images to train and judge on, from a folder with ``labels.csv`` or from the lake's shards."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured, Poison
from models.bundle import sha256_of
from models.imaging.pixels import read, resized
from models.training import leakage, shards

TABLE: Final = "labels.csv"
VALIDATION: Final = 8
"""One group of training images in so many is validation; the data themselves tell train and test only."""
SEXES: Final = {"female": 0.0, "f": 0.0, "male": 1.0, "m": 1.0}
UNKNOWN_SEX: Final = 0.5
GROUPS: Final = ("cluster", "patient")


@dataclass(frozen=True)
class Pictures:
    """Images as a model of ``size`` sees them. ``pixels`` (n, size, size) float32 in [0, 1]; ``parts`` are train,
    validation or test. Images of one ``group`` (look-alikes, one patient) are on one side; an image of which no group
    is told is its own. ``sex`` is 0 female, 1 male, 0.5 unknown. ``digest`` is of the table as read.
    """

    ids: NDArray[np.str_]
    pixels: NDArray[np.float32]
    labels: NDArray[np.str_]
    parts: NDArray[np.str_]
    groups: NDArray[np.str_]
    sex: NDArray[np.float32]
    digest: str = ""

    def __len__(self) -> int:
        """How many."""
        return len(self.ids)

    def where(self, chosen: NDArray[Any]) -> Pictures:
        """Those that are chosen, by a mask or by their places."""
        columns = ("ids", "pixels", "labels", "parts", "groups", "sex")
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})

    def of(self, *parts: str) -> Pictures:
        """Those of these parts. Raises Misconfigured when there are none."""
        chosen = np.isin(self.parts, parts)
        if not chosen.any():
            there = ", ".join(sorted({str(part) for part in self.parts}))
            raise Misconfigured(f"no image of split {' or '.join(parts)} in the data; there are {there} (--split)")
        return self.where(chosen)


def load(folder: Path, name: str, size: int, label: str = "label", parts: tuple[str, ...] = ()) -> Pictures:
    """The images of a folder that has ``labels.csv`` (``image`` and the column ``label``; ``split``, ``sex``,
    ``cluster`` or ``patient`` where known), of ``name`` within it, or of shards of that ``name`` and size.

    Only those of ``parts`` are read where some are given. Raises Misconfigured without such images, Poison for one that
    cannot be read.
    """
    home = folder / name if (folder / name / TABLE).is_file() else folder
    if not (home / TABLE).is_file():
        return _from_shards(folder, name, size, parts)
    with (home / TABLE).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get(label)]
    if not rows:
        raise Misconfigured(f"{home / TABLE} has no row with a {label!r}")
    told = [(_id(row), _group(row), part_of(row.get("split") or "test", _group(row))) for row in rows]
    wanted = [i for i, (_, _, part) in enumerate(told) if not parts or part in parts]
    pixels = np.empty((len(wanted), size, size), np.float32)
    for at, i in enumerate(wanted):
        named = Path(rows[i]["image"])
        if named.is_absolute() or ".." in named.parts:
            raise Poison("outside_folder", "an image is told by a path out of its folder", rows[i]["image"])
        pixels[at] = resized(read((home / named).read_bytes(), rows[i]["image"]).pixels, size)
    return Pictures(
        np.asarray([told[i][0] for i in wanted], np.str_),
        pixels,
        np.asarray([rows[i][label] for i in wanted], np.str_),
        np.asarray([told[i][2] for i in wanted], np.str_),
        np.asarray([told[i][1] for i in wanted], np.str_),
        np.asarray([SEXES.get((rows[i].get("sex") or "").lower(), UNKNOWN_SEX) for i in wanted], np.float32),
        sha256_of((home / TABLE).read_bytes()),
    )


def part_of(split: str, group: str) -> str:
    """The split, but validation for some groups of train: which, is told by the group's name alone."""
    if split != "train":
        return split
    return "validation" if int(hashlib.sha256(group.encode()).hexdigest(), 16) % VALIDATION == 0 else "train"


def audited(pictures: Pictures, judged: str, truth: Sequence[str] | Sequence[float]) -> tuple[Pictures, leakage.Audit]:
    """The gate of leaks, before any figure: the images that may be judged on, and what was found.

    The data keep test apart from train; validation is ours, so an image of it that is a training image once more is
    left out. ``truth`` are labels, or numbers of a measure. Raises ``leakage.Leaky`` for any other leak.
    """
    own = pictures.groups == pictures.ids
    audit = leakage.audit(
        pictures.pixels,
        [str(part) for part in pictures.parts],
        [None if alone else str(group) for group, alone in zip(pictures.groups, own, strict=True)],
        truth,
        judged=judged,
        names=[str(one) for one in pictures.ids],
    )
    ours = {"train", "validation"}
    twins = [leak for leak in audit.leaks if leak.kind != "same_group" and set(leak.splits) == ours]
    named = [name for leak in twins for name in (leak.one, leak.other)]
    out = np.isin(pictures.ids, named) & (pictures.parts == "validation")
    told = f"{int(out.sum())} validation images are a training image once more and were left out." if twins else ""
    counts = {part: int((pictures.parts[~out] == part).sum()) for part in audit.counts}
    rest = tuple(leak for leak in audit.leaks if leak not in twins)
    audit = replace(audit, leaks=rest, counts=counts, notes=(*audit.notes, *([told] if told else [])))
    audit.demand()
    return pictures.where(~out), audit


def _id(row: dict[str, str]) -> str:
    return Path(row["image"]).stem


def _group(row: dict[str, str]) -> str:
    return next((row[name] for name in GROUPS if row.get(name)), _id(row))


def _from_shards(folder: Path, name: str, size: int, parts: tuple[str, ...]) -> Pictures:
    found = shards.load(str(folder), name, size)
    groups = np.where(found.patients == "", found.ids, found.patients)
    split = [part_of(str(part) or "test", str(group)) for part, group in zip(found.splits, groups, strict=True)]
    sex = np.full(len(found), UNKNOWN_SEX, np.float32)
    digest = hashlib.sha256("\n".join(sorted(map(str, found.ids))).encode()).hexdigest()
    pictures = Pictures(found.ids, found.pixels, found.labels, np.asarray(split), groups, sex, digest)
    return pictures.of(*parts) if parts else pictures
