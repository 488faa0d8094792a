"""What the brain tumour model is worth: classes, tumour against none, calibration, robustness, heat maps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.imaging.settings import ImageSettings
from models.registry import Bundle, Interval
from models.training import imaging_plots, plots
from models.training.evaluation import Cell, Evaluation, Table, defined
from models.training.imaging_asking import Asked, networks, settings_of
from models.training.imaging_brain import LABELS, NAME, NONE, places, tumour
from models.training.imaging_calibration import softmax
from models.training.imaging_data import Pictures, load, to_judge
from models.training.imaging_maps import faithfulness
from models.training.imaging_robustness import suite
from models.training.intervals import auroc, ece, interval, mean, ratio
from models.training.recipes import SEED, Progress, Say

DRAWS: Final = 300
MAPPED: Final = 30
"""So many images with a tumour are taken apart for the heat maps' sake."""
REFERENCE: Final[Mapping[str, float]] = {
    "accuracy": 0.95,
    "precision": 0.93,
    "recall": 0.94,
    "auroc_tumour": 0.96,
}
"""What the description of a brain tumour classifier that this one follows says of itself, on data of its own."""


class Told:
    """What a model said of images, and what was so."""

    def __init__(self, logits: NDArray[np.float32], pictures: Pictures, settings: ImageSettings) -> None:
        self.truth = places(pictures.labels)
        self.groups = pictures.groups
        self.probabilities = softmax(logits, settings.temperature)
        self.said = said(self.probabilities, settings)
        self.confidence = self.probabilities[np.arange(len(self.said)), self.said]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each label was right."""
        return np.asarray(self.said == self.truth)


def said(probabilities: NDArray[np.float64], settings: ImageSettings) -> NDArray[np.intp]:
    """Places of the labels as they are served: a tumour from the threshold on, and of those the most probable."""
    found = tumour(probabilities) >= settings.threshold
    none = LABELS.index(NONE)
    tumours = probabilities.copy()
    tumours[:, none] = -1
    return np.where(found, tumours.argmax(axis=1), none)


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """Judged on ``split`` (test where none is named) of a folder laid out like shared/data/brain_mri, or of one that
    holds it, or of shards. Raises Misconfigured without such images, ``leakage.Leaky`` where they leak."""
    settings, part = settings_of(bundle), split or "test"
    every = load(folder, NAME, settings.size)
    every.of(part)
    say(f"auditing {len(every):,} images")
    found = to_judge(every, part, networks(bundle), [str(label) for label in every.labels])
    judged, audit, asked = found.pictures, found.audit, Asked.of(bundle)
    answers = asked.answers if found.network is None else partial(asked.apart, network=found.network)
    say(f"asking about {len(judged):,} images of {part}")
    told = Told(answers(judged.pixels), judged, settings)
    metrics = audit.beside(defined({**_whole(told), **_by_label(told), **_served(told, settings)}))
    shaken, by_shock = suite(
        judged.pixels,
        lambda images: _shaken(Told(answers(images), judged, settings)),
        SEED,
        lambda done, whole: progress("robustness", done, whole),
    )
    faithful, maps = _faithful(asked, judged, told, settings)
    metrics |= defined(maps)
    shown = plots_of(told, by_shock)
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=part,
        n=len(judged),
        metrics=metrics,
        tables=(_headline(metrics), _labels(told, metrics), _confusion(told), *audit.tables(), shaken, faithful),
        notes=(*found.remarks, *audit.remarks(metrics), *_notes(told, settings)),
        plots={**shown, "maps.png": _sheet(asked, judged, told)},
    )


def _whole(told: Told) -> dict[str, Interval | None]:
    tumours = told.truth != LABELS.index(NONE)
    return {
        "macro_f1": macro(told, "f1"),
        "accuracy": mean(told.right, told.groups),
        "precision": macro(told, "precision"),
        "recall": macro(told, "recall"),
        "auroc_tumour": auroc(tumours, tumour(told.probabilities), told.groups),
        "ece": ece(told.right, told.confidence, told.groups),
        "ece_tumour": ece(tumours, tumour(told.probabilities), told.groups),
        "brier": mean(((told.probabilities - np.eye(len(LABELS))[told.truth]) ** 2).sum(axis=1), told.groups),
    }


def macro(told: Told, kind: str) -> Interval | None:
    """The mean over the labels that are there of F1, precision or recall."""
    there = np.unique(told.truth)

    def of(rows: NDArray[np.intp]) -> float:
        true, label = told.truth[rows], told.said[rows]
        hits = np.array([((true == k) & (label == k)).sum() for k in there], np.float64)
        known, named = (np.array([(x == k).sum() for k in there], np.float64) for x in (true, label))
        below = {"f1": (known + named) / 2, "precision": named, "recall": known}[kind]
        return float(np.divide(hits, below, out=np.zeros_like(hits), where=below > 0).mean())

    return interval(of, told.groups, draws=DRAWS)


def _by_label(told: Told) -> dict[str, Interval | None]:
    found: dict[str, Interval | None] = {}
    for k, label in enumerate(LABELS):
        true, named = told.truth == k, told.said == k
        found[f"precision_{label}"] = ratio(true & named, named, told.groups)
        found[f"recall_{label}"] = ratio(true & named, true, told.groups)
        found[f"f1_{label}"] = ratio(2 * (true & named), true * 1 + named, told.groups)
    return found


def _served(told: Told, settings: ImageSettings) -> dict[str, Interval | None]:
    tumours = told.truth != LABELS.index(NONE)
    alarmed = tumour(told.probabilities) >= settings.threshold
    sure = told.confidence >= settings.unsure_below
    return {
        "recall_tumour": ratio(tumours & alarmed, tumours, told.groups),
        "specificity_tumour": ratio(~tumours & ~alarmed, ~tumours, told.groups),
        "accuracy_where_sure": ratio(told.right & sure, sure, told.groups),
        "told_share": mean(sure, told.groups),
    }


def _shaken(told: Told) -> dict[str, Interval | None]:
    tumours = told.truth != LABELS.index(NONE)
    return {
        "macro_f1": macro(told, "f1"),
        "auroc_tumour": auroc(tumours, tumour(told.probabilities), told.groups, draws=DRAWS),
        "ece": ece(told.right, told.confidence, told.groups, draws=DRAWS),
    }


def _faithful(
    asked: Asked, judged: Pictures, told: Told, settings: ImageSettings
) -> tuple[Table, dict[str, Interval | None]]:
    """Of tumours that were found, how much of the label's probability is left."""
    rows = np.flatnonzero(told.right & (told.truth != LABELS.index(NONE)))
    rows = np.sort(np.random.default_rng(SEED).permutation(rows)[:MAPPED])
    if not len(rows):
        return Table(title="Heat maps: no tumour was found", columns=(), rows=()), {}
    label, images = told.said[rows], judged.pixels[rows]
    whole = softmax(asked.answers(images), settings.temperature)[np.arange(len(rows)), label]
    maps = asked.maps(images)[np.arange(len(rows)), :, :, label]

    def left(changed: NDArray[np.float32], at: NDArray[np.intp]) -> NDArray[np.float64]:
        probabilities = softmax(asked.answers(changed), settings.temperature)
        return np.asarray(probabilities[np.arange(len(at)), label[at]] / whole[at])

    table, found = faithfulness(images, maps, left, judged.groups[rows], SEED)
    return table, {f"heat_{way}": value for way, value in found.items()}


def _headline(metrics: Mapping[str, Interval]) -> Table:
    rows = tuple(
        (name, round(metrics[name].value, 4), f"{metrics[name].low:.3f} to {metrics[name].high:.3f}", told)
        for name, told in REFERENCE.items()
        if name in metrics
    )
    title = "Beside the reference's own account of itself (another split of such data)"
    return Table(title=title, columns=("figure", "this model", "95 % interval", "reference"), rows=rows)


def _labels(told: Told, metrics: Mapping[str, Interval]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for k, label in enumerate(LABELS):
        figures = (metrics.get(f"{kind}_{label}") for kind in ("precision", "recall", "f1"))
        cells = (f"{x.value:.3f} [{x.low:.3f}, {x.high:.3f}]" if x else None for x in figures)
        rows.append((label, *cells, int((told.truth == k).sum())))
    return Table(title="Label by label", columns=("label", "precision", "recall", "F1", "images"), rows=tuple(rows))


def _confusion(told: Told) -> Table:
    counts = np.zeros((len(LABELS), len(LABELS)), int)
    np.add.at(counts, (told.truth, told.said), 1)
    rows: list[tuple[Cell, ...]] = [(label, *(int(count) for count in counts[k])) for k, label in enumerate(LABELS)]
    return Table(title="What was said of what", columns=("in truth", *LABELS), rows=tuple(rows))


def plots_of(told: Told, by_shock: Mapping[str, Mapping[str, Interval]]) -> dict[str, bytes]:
    """Calibration, robustness, and where there are images with a tumour and without one ROC."""
    tumours = told.truth != LABELS.index(NONE)
    both = bool(tumours.any() and not tumours.all())
    shown = {name: figures["macro_f1"] for name, figures in by_shock.items() if "macro_f1" in figures}
    ranked = plots.finding({"model": (tumours, tumour(told.probabilities))}, "Any tumour against none") if both else b""
    made = {
        "calibration.png": plots.reliability(
            {"label told": (told.right, told.confidence), "any tumour": (tumours, tumour(told.probabilities))},
            "Brain tumour: how often it is so",
        ),
        "tumour.png": ranked,
        "robustness.png": imaging_plots.dots(shown, "Brain tumour: changed images", "macro-F1"),
    }
    return {name: png for name, png in made.items() if png}


def _sheet(asked: Asked, judged: Pictures, told: Told) -> bytes:
    rows = np.concatenate([np.flatnonzero(told.right & (told.truth == k))[:2] for k in range(len(LABELS))])
    rows = np.r_[rows, np.flatnonzero(~told.right)[:4]]
    maps = asked.maps(judged.pixels[rows])[np.arange(len(rows)), :, :, told.said[rows]]
    names = [f"{LABELS[told.truth[i]]}, told {LABELS[told.said[i]]} {told.confidence[i]:.2f}" for i in rows]
    return imaging_plots.sheet(judged.pixels[rows], maps, names, "Where the label told comes from")


def _notes(told: Told, settings: ImageSettings) -> tuple[str, ...]:
    return (
        "No patient ids survive in these data: images that look alike are on one side of the split and are drawn "
        "together, but slices of one patient may still stand on both sides.",
        f"{int((~told.right).sum())} of {len(told.right)} labels are wrong. A label is told from a probability of "
        f"{settings.unsure_below:g} on; a tumour is told from {settings.threshold:g} on.",
        "Precision, recall and F1 without a label's name are means over the labels.",
    )
