"""A model trained anew on its set and on what readers said since: merged, judged on the set's own test images, gated.

What readers judged may be an image of the test split, shown to them by a demo or a study: such an image, or one that is
the same picture, is never trained on.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from contracts.errors import Misconfigured
from models.imaging.pixels import read
from models.registry import Bundle, NotThere, Registry
from models.training import gate, recipes, shelf
from models.training.evaluation import Evaluation
from models.training.lookalikes import TWIN, contrasts, pairs
from models.training.recipes import Progress, Say

LABELS: Final = "labels.csv"
IMAGES: Final = "images"
JUDGED: Final = "test"
Row = dict[str, str]


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """A set with what was added to it. ``left_out`` counts by reason: ``judged`` (the same picture is not one of the
    set's training images: it is what the model is judged on), ``known`` (it is one of them already)."""

    folder: str
    base: int
    added: int
    left_out: Mapping[str, int]


class Retrained(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``nominated``: the new version is the candidate; ``compared`` is with the champion, None where
    there is none. ``worse`` says in words what stood against it."""

    model: str
    version: str
    champion: str | None
    merged: Merged
    nominated: bool
    compared: gate.Verdict | None
    worse: tuple[str, ...]
    card: str


def merge(base: Path, more: Path, to: Path) -> Merged:
    """The set in ``base`` (with labels.csv and images) and the images in ``more``, as a folder ``to`` of links.

    Sets beside the first are linked beside it.

    Rows keep the columns of the set; what it does not have is left out. Raises Misconfigured for a folder without
    labels.csv.
    """
    ours, theirs = _rows(base), _rows(more)
    columns = list(ours[0]) if ours else []
    alike = _alike(base, ours, more, theirs)
    (to / IMAGES).mkdir(parents=True)
    for path in [*base.iterdir(), *(base / IMAGES).iterdir(), *(more / IMAGES).iterdir()]:
        inside = to / IMAGES if path.parent.name == IMAGES else to
        if path.name not in (LABELS, IMAGES):
            (inside / path.name).symlink_to(path.resolve())
    for beside in base.resolve().parent.iterdir():  # a recipe may learn from a set beside its own
        if (beside / LABELS).is_file() and not (to.parent / beside.name).exists():
            (to.parent / beside.name).symlink_to(beside)
    left: Counter[str] = Counter(alike.values())
    added = [row for row in theirs if row["image"] not in alike]
    with (to / LABELS).open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, columns, restval="", extrasaction="ignore", lineterminator="\n")
        out.writeheader()
        out.writerows([*ours, *added])
    return Merged(folder=str(to), base=len(ours), added=len(added), left_out=dict(left))


def retrain(
    registry: Registry, name: str, base: Path, more: Path, to: Path, seed: int, by: str, say: Say, progress: Progress
) -> Retrained:
    """Train ``name`` on ``base`` and ``more`` (folders laid out like its set; merged in ``to``), judge it and the
    champion on the base's test split, keep it, and nominate it where nothing is worse beyond its interval."""
    recipe = recipes.recipe(name)
    recipes.need_training()
    merged = merge(base, more, to)
    say(f"{merged.base:,} images and {merged.added:,} that readers judged")
    files, fields = recipe.train()(to, seed, say, progress)
    fields = {"seed": seed, **fields}
    judge = recipe.evaluate()
    found = judge(base, Bundle.of(name, files, **fields), JUDGED, say, progress)
    fields["metrics"] = {**fields.get("metrics", {}), JUDGED: found.metrics}
    fields["parameters"] = {**fields.get("parameters", {}), "feedback_images": merged.added}
    champion, verdict = None, None
    try:
        before = registry.load(name)
    except NotThere:
        say(f"{name} has no champion to be held against")
    else:
        champion = before.version
        verdict = gate.compare({JUDGED: found}, {JUDGED: judge(base, before, JUDGED, say, progress)})
    version = registry.add(name, files, **fields)
    bundle = registry.load(name, version)
    card = shelf.keep(registry, bundle, shelf.belonging(found, bundle))
    nominated = verdict is None or verdict.passed
    if nominated:
        registry.nominate(name, version, by, f"trained anew with {merged.added} images that readers judged")
    return Retrained(
        model=name,
        version=version,
        champion=champion,
        merged=merged,
        nominated=nominated,
        compared=verdict,
        worse=_worse(verdict, found),
        card=str(card),
    )


def _worse(verdict: gate.Verdict | None, found: Evaluation) -> tuple[str, ...]:
    if verdict is None or verdict.passed:
        return ()
    return tuple(str(one) for one in verdict.worse) or (f"nothing on {found.split} can be compared",)


def _rows(folder: Path) -> list[Row]:
    table = folder / LABELS
    if not table.is_file():
        raise Misconfigured(f"{folder} holds no {LABELS}: it is laid out like no set of images")
    with table.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]


def _alike(base: Path, ours: Sequence[Row], more: Path, theirs: Sequence[Row]) -> dict[str, str]:
    """Of the images in ``more`` that are one picture with one of the base: ``judged`` or ``known``."""
    if not theirs:
        return {}
    new = contrasts(read((more / row["image"]).read_bytes(), row["image"]).pixels for row in theirs)
    old = contrasts(read((base / row["image"]).read_bytes(), row["image"]).pixels for row in ours)
    found: dict[str, str] = {}
    for pair in pairs(new, old, TWIN):
        image, split = theirs[pair.one]["image"], ours[pair.other]["split"]
        found[image] = "judged" if split != "train" or found.get(image) == "judged" else "known"
    return found
