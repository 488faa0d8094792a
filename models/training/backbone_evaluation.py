"""What the backbone's features are worth: a linear probe on brain MRI, four classes, and tumour against none."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.imaging.backbone import SIZE, Backbone
from models.imaging.pixels import read, resized
from models.registry import Bundle, Interval
from models.training.evaluation import Evaluation, defined
from models.training.intervals import auroc, interval, mean
from models.training.recipes import Progress, Say

NONE: Final = "notumor"
STRENGTH: Final = 0.01
HELD_OUT: Final = 5
"""One cluster of look-alikes in so many is validation; the data tell train and test only."""


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """A logistic regression on the standardised features of ``train``, judged on ``test`` (or on a fifth of train's
    clusters, ``validation``). ``folder`` is laid out like shared/data/brain_mri or holds one. Raises Misconfigured."""
    rows, chosen = _rows(folder, split or "test")
    say(f"features of {len(rows):,} images")
    network = Backbone(bundle, threads=2)
    vectors = []
    for at in range(0, len(rows), 32):
        images = [resized(read(Path(row["path"]).read_bytes()).pixels, SIZE) for row in rows[at : at + 32]]
        vectors.append(network.features(np.stack(images)))
        progress("features", min(at + 32, len(rows)), len(rows))
    labels = np.asarray([row["label"] for row in rows])
    clusters = np.asarray([row["cluster"] for row in rows])
    judged = np.asarray([row["part"] == chosen for row in rows])
    probabilities, classes = probe(np.concatenate(vectors), labels, ~judged)
    metrics = _metrics(labels[judged], probabilities[judged], classes, clusters[judged])
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=chosen,
        n=int(judged.sum()),
        metrics=metrics,
        notes=(
            f"A linear probe on {int((~judged).sum()):,} brain MRI slices: it shows that the features carry what they "
            "should, not how well a tumour is found.",
            "Images that look alike are on one side of the split and are drawn together; the data have no patient ids, "
            "so slices of one patient may still stand on both sides, and the figures are on the high side.",
            "The classes come from different sources: eight grey-level statistics alone reach an accuracy of 0.855.",
        ),
    )


def probe(
    vectors: NDArray[np.float32], labels: NDArray[Any], fitted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], list[str]]:
    """Probabilities of every row by a classifier fitted on some of them, and the classes in their order."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))
    model.fit(vectors[fitted], labels[fitted])
    return model.predict_proba(vectors), [str(one) for one in model.classes_]


def _metrics(
    labels: NDArray[Any], probabilities: NDArray[np.float64], classes: list[str], clusters: NDArray[Any]
) -> Mapping[str, Interval]:
    said = np.asarray(classes)[probabilities.argmax(1)]

    def macro_f1(rows: NDArray[np.intp]) -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(labels[rows], said[rows], average="macro", labels=classes, zero_division=0.0))

    return defined(
        {
            "accuracy": mean(labels == said, clusters),
            "f1_macro": interval(macro_f1, clusters, draws=200),
            "auroc_tumour": auroc(labels != NONE, 1 - probabilities[:, classes.index(NONE)], clusters),
        }
    )


def _rows(folder: Path, split: str) -> tuple[list[dict[str, str]], str]:
    home = folder / "brain_mri" if (folder / "brain_mri").is_dir() else folder
    table = home / "labels.csv"
    if not table.is_file():
        raise Misconfigured(f"{folder} holds no brain_mri/labels.csv: the probe is judged on brain MRI")
    with table.open(newline="", encoding="utf-8") as file:
        rows = [{**row, "path": str(home / row["image"]), "part": row["split"]} for row in csv.DictReader(file)]
    if split == "validation":
        rows = [row for row in rows if row["part"] == "train"]
        for row in rows:
            if int(hashlib.sha256(row["cluster"].encode()).hexdigest(), 16) % HELD_OUT == 0:
                row["part"] = split
    if {row["part"] for row in rows} < {"train", split}:
        raise Misconfigured(f"{table} has no split {split!r}: test or validation")
    return rows, split
