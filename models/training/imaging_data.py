"""Labelled images to train and judge on, from a folder with ``labels.csv`` or from the lake's shards."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Sequence
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
"""One group of training images in so many is validation; the data themselves tell train and test only. Which one, is
told by a fold in 0 to VALIDATION - 1."""
SEXES: Final = {"female": 0.0, "f": 0.0, "male": 1.0, "m": 1.0}
UNKNOWN_SEX: Final = 0.5
GROUPS: Final = ("cluster", "patient")
Truth = Sequence[str] | Sequence[float]
COLUMNS: Final = ("ids", "pixels", "labels", "parts", "groups", "sex")


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
        return replace(self, **{name: getattr(self, name)[chosen] for name in COLUMNS})

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


def part_of(split: str, group: str, fold: int = 0) -> str:
    """The split, but validation for some groups of train: which, is told by the fold and the group's name alone."""
    if split != "train":
        return split
    return "validation" if int(hashlib.sha256(group.encode()).hexdigest(), 16) % VALIDATION == fold else "train"


def refolded(pictures: Pictures, fold: int) -> Pictures:
    """The same images, but of those that may be learned from, those of another fold are validation."""
    learned = np.isin(pictures.parts, ("train", "validation"))
    told = [
        part_of("train" if own else str(part), str(group), fold)
        for own, part, group in zip(learned, pictures.parts, pictures.groups, strict=True)
    ]
    return replace(pictures, parts=np.asarray(told, np.str_))


def joined(several: Sequence[Pictures]) -> Pictures:
    """One behind the other."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in several]) for name in COLUMNS}
    return replace(several[0], **columns)


@dataclass(frozen=True)
class Judged:
    """Images to judge on, and of each the one network that may be asked (None: all, as they are served)."""

    pictures: Pictures
    network: NDArray[np.intp] | None
    audit: leakage.Audit

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of the figures."""
        if self.network is None:
            return ()
        return (
            f"Each image is judged by the one network of {self.network.max() + 1} that did not learn from it. The mean "
            "of all, as it is served, is judged on test only. The audit is of the first network's images.",
        )


def crossed(pictures: Pictures, networks: int, truth: Truth) -> Iterator[tuple[Pictures, leakage.Audit]]:
    """For each network what it learns from (train) and what is held out of that (validation), behind the gate."""
    return (audited(refolded(pictures, fold), "validation", truth) for fold in range(networks))


def to_judge(every: Pictures, part: str, networks: int, truth: Truth) -> Judged:
    """The images of ``part``, behind the gate of leaks. Where several networks were made, network k learned from all of
    train but fold k: of validation, each fold is judged by its own."""
    if part != "validation" or networks == 1:
        kept, audit = audited(every, part, truth)
        return Judged(kept.of(part), None, audit)
    folds = list(crossed(every, networks, truth))
    held = [kept.of(part) for kept, _ in folds]
    return Judged(joined(held), np.repeat(np.arange(networks), [len(one) for one in held]), folds[0][1])


def audited(pictures: Pictures, judged: str, truth: Truth) -> tuple[Pictures, leakage.Audit]:
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
