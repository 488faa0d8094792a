"""Trains both together: the logits of 21 answers and of the X-ray, weighed so that the truth is most likely."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from models.bundle import Interval
from models.risk.knee import FUSION_FILE, LABELS, TABLE_FILE, Fusion, fused
from models.training import knee_image, knee_table
from models.training.knee_crossed import Crossed, Doubles, Rows, crossed, gain
from models.training.knee_data import Patients, dataset, patients
from models.training.knee_seen import Floats, features, graph, pictures, with_image
from models.training.knee_table import log_loss
from models.training.recipes import Progress, Say

SHRINK: Final = 0.02
"""How much the weights are held near table 1, image 0."""
SAID: Final = "The image was looked at, but does not count: in cross-validation it added nothing beyond chance."


class Weighed(NamedTuple):
    """The fusion, the table's regression and the image's head of the same patients."""

    fusion: Fusion
    table: knee_table.Fitted
    image: knee_image.Head


class Both(NamedTuple):
    """Judged on the same patients and folds: both together, the table alone, the image alone."""

    fused: Crossed
    table: Crossed
    image: Crossed


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A version from the train patients with an image; the table in it is of all train patients."""
    every = patients(folder)
    train_part = every.of(every.parts == "train")
    mine = with_image(train_part)
    say(f"{len(mine)} patients with an image; looking for the joints")
    seen = features(graph(folder), pictures(folder, mine), progress)
    both = cross(seen, mine, seed, progress)
    less = gain(both.fused, both.table, "loss_log")
    adds = adds_beyond_chance(less)
    say("the image adds beyond chance" if adds else "the image adds nothing beyond chance: the table speaks")
    fusion = msgspec.structs.replace(weighed(seen, mine, seed).fusion, image_adds=adds, why="" if adds else SAID)
    model = knee_table.fitted(train_part, seed).model
    files = {name: msgspec.json.format(msgspec.json.encode(of), indent=1) for name, of in _named(model, fusion)}
    return files, {
        "code": __name__,
        "data": [dataset(folder, len(train_part))],
        "parameters": {
            "image_adds": adds,
            "log_loss_with_image_less_without": None if less is None else [less.value, less.low, less.high],
            "table_weight": fusion.table_weight,
            "image_weight": fusion.image_weight,
        },
        "purpose": (
            "The patient's answers and the X-ray in one estimate of how likely osteopenia and osteoporosis are. Where "
            "the image adds nothing, it says so, and the answers speak alone."
        ),
        "limits": (
            *knee_table.LIMITS,
            "The image's part is that of the model knee_osteoporosis, with all its limits.",
        ),
    }


def adds_beyond_chance(less: Interval | None) -> bool:
    """Whether the image lowers the log loss by more than the draw of patients explains."""
    return less is not None and less.high < 0


def weighed(seen: Floats, mine: Patients, seed: int) -> Weighed:
    """All three of these patients, each weighed on logits of patients that were set aside."""
    table, image = knee_table.fitted(mine, seed), knee_image.fitted(seen, mine, seed)
    fusion = fitted(table.aside, image.aside, mine.truth)
    return Weighed(fusion, table, image)


def fitted(table: Doubles, image: Doubles, truth: Rows) -> Fusion:
    """Weights and intercepts under which the truth is most likely; a negative weight is taken for none."""
    from scipy.optimize import minimize

    def made(x: Doubles) -> Fusion:
        return Fusion(
            table_weight=float(x[0]),
            image_weight=float(x[1]),
            intercepts=tuple(float(one) for one in x[2:] - x[2:].mean()),
            image_adds=True,
            why="",
        )

    def loss(x: Doubles) -> float:
        held = SHRINK * ((x[0] - 1) ** 2 + x[1] ** 2 + (x[2:] ** 2).sum())
        return log_loss(fused(made(x), table, image), truth) + float(held)

    start = np.array([1.0, 0.0, *[0.0] * len(LABELS)])
    bounds = [(0.0, 3.0), (0.0, 3.0), *[(-2.0, 2.0)] * len(LABELS)]
    return made(minimize(loss, start, method="L-BFGS-B", bounds=bounds).x)


def cross(seen: Floats, mine: Patients, seed: int, progress: Progress) -> Both:
    """Everything judged on patients that it has not seen, in the same folds."""
    kept: dict[str, list[tuple[Doubles, float]]] = {"table": [], "image": []}

    def fit(learned: Rows, judged: Rows, draw: int) -> tuple[Doubles, float]:
        found = weighed(seen[learned], mine.of(learned), draw)
        table = knee_table.logits(found.table.model, mine.of(judged))
        image = found.image.logits(seen[judged])
        kept["table"].append((table, found.table.model.threshold))
        kept["image"].append((image, found.image.threshold))
        return fused(found.fusion, table, image), found.table.model.threshold

    def after(done: int, whole: int) -> None:
        progress("cross-validated", done, whole)

    def again(which: str) -> Crossed:
        told = iter(kept[which])
        first = which == "image"
        return crossed(mine.truth, mine.groups, lambda *_: next(told), seed, finding_first=first)

    both = crossed(mine.truth, mine.groups, fit, seed, after)
    return Both(both, again("table"), again("image"))


def _named(model: Any, fusion: Fusion) -> tuple[tuple[str, Any], ...]:
    return (TABLE_FILE, model), (FUSION_FILE, fusion)
