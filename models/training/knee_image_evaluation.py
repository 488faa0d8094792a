"""Judges what the X-ray says of the bone: beside the commonest label, and the backbone's features of the whole image.

``cv`` judges the recipe on every image by repeated cross-validation, ``validation`` the same within the train patients,
``test`` (and no split) the version itself on those set aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from models.bundle import Bundle, Interval
from models.imaging.pixels import resized
from models.imaging.settings import MODEL_FILE, SETTINGS_FILE, ImageSettings
from models.risk.knee import LABELS
from models.training import leakage, plots
from models.training.evaluation import Evaluation, Table
from models.training.knee_crossed import HOW, MAIN, Crossed, Doubles, beside, commonest, figures, gain, shown
from models.training.knee_data import Patients, patients
from models.training.knee_image import ATTEMPTS, cross, fitted
from models.training.knee_seen import Floats, features, pictures, running, whole, with_image
from models.training.knee_table_evaluation import WORDS, confusion, part_of
from models.training.recipes import SEED, Progress, Say


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """The figures of a version (or, of ``cv`` and ``validation``, of its recipe); see ``recipes.Evaluate``."""
    part, every = part_of(split), with_image(patients(folder))
    images = pictures(folder, every)
    say(f"auditing {len(every)} images")
    audit = audited(every, images)
    audit.demand()
    settings = msgspec.json.decode(bundle.read(SETTINGS_FILE), type=ImageSettings)
    made = bundle.read(MODEL_FILE)
    learned, chosen = every.parts == "train", every.parts == ("test" if part == "test" else "train")
    if part == "cv":
        chosen = np.ones(len(every), bool)
    judged = every.of(chosen)
    say(f"looking at {len(every)} images")
    everywhere = whole(images, progress)
    if part == "test":
        found = _served(made, settings, [images[at] for at in np.flatnonzero(chosen)], judged)
        head = fitted(everywhere[learned], every.of(learned), SEED)
        flat = _once(judged, head.logits(everywhere[chosen]), head.threshold)
    else:
        seen = features(made, [images[at] for at in np.flatnonzero(chosen)], progress)
        found, flat = cross(seen, judged, SEED, progress), cross(everywhere[chosen], judged, SEED, progress)
    metrics = _figures(found, flat)
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=part,
        n=len(judged),
        metrics=metrics,
        tables=(_beside(metrics, found, flat), confusion(found), _attempts(), *audit.tables()),
        notes=(*audit.remarks(metrics), *_notes(part, settings, found)),
        plots=_plots(found, flat),
        flatters=FLATTERS,
    )


def audited(every: Patients, images: list[Floats]) -> leakage.Audit:
    """The gate of leaks between train and test, before any figure."""
    return leakage.audit(
        images,
        [str(one) for one in every.parts],
        [str(one) for one in every.groups],
        [LABELS[at] for at in every.truth],
        names=list(every.images),
    )


def asked(made: bytes, images: list[Floats], size: int) -> Doubles:
    """(n, labels): the graph's logits."""
    session = running(made)
    found = [session.run(["logits"], {"images": resized(image, size)[None]})[0][0] for image in images]
    return np.asarray(found, np.float64)


def _served(made: bytes, settings: ImageSettings, images: list[Floats], judged: Patients) -> Crossed:
    return _once(judged, asked(made, images, settings.size) / settings.temperature, settings.threshold)


def _once(judged: Patients, logits: Doubles, cut: float) -> Crossed:
    cuts = np.full((1, len(judged)), cut)
    return Crossed.of(judged.truth, judged.groups, logits[None], cuts, finding_first=True)


def _figures(found: Crossed, flat: Crossed) -> dict[str, Interval]:
    majority, metrics = commonest(found), figures(found)
    beside(metrics, "majority", majority)
    beside(metrics, "whole", flat)
    for rival, theirs in (("majority", majority), ("whole", flat)):
        for name in ("macro_f1", "accuracy_balanced", "auroc_osteoporosis"):
            if (more := gain(found, theirs, name)) is not None:
                metrics[f"gain_{name}_over_{rival}"] = more
    return metrics


def _beside(metrics: Mapping[str, Interval], found: Crossed, flat: Crossed) -> Table:
    blind, plain = figures(commonest(found)), figures(flat)
    rows = tuple(
        (
            WORDS[name],
            shown(metrics.get(name)),
            shown(plain.get(name)),
            shown(blind.get(name)),
            shown(metrics.get(f"gain_{name}_over_majority")),
            shown(metrics.get(f"gain_{name}_over_whole")),
        )
        for name in MAIN
    )
    columns = ("figure", "at the joints", "whole image", "always the commonest", "gain over that", "over whole image")
    return Table(title="Beside features of the whole image, and the commonest label", columns=columns, rows=rows)


def _attempts() -> Table:
    title = "What was tried on all images, by 5 times 5 folds: AUROC of osteoporosis"
    return Table(title=title, columns=("seen", "logistic regression", "ridge of the T-score"), rows=ATTEMPTS)


FLATTERS: Final = (
    "Nothing was fitted to the cases judged, but where to look in an image, and the rule by which the model speaks at "
    "all, were chosen with all images in view: these figures flatter."
)


def _notes(part: str, settings: ImageSettings, found: Crossed) -> tuple[str, ...]:
    how = {
        "test": "The version as it is, on images set aside: few, so the intervals are wide; `cv` is steadier.",
        "validation": f"The recipe, not the version: {HOW}, within the train images.",
        "cv": f"The recipe, not the version: {HOW}, on all images; strength and threshold are chosen in each fold.",
    }
    speaks = f"It abstains: {settings.abstains}." if settings.abstains else "It speaks; osteoporosis is a finding."
    return (
        how[part],
        speaks,
        f"Osteoporosis is told from {settings.threshold:g} on, else the likelier of the others, as a worker tells it.",
        "Where to look (how much around the joint) was chosen on these images among the attempts listed: the figures "
        "are on the high side by what that choice is worth.",
        "It speaks because its macro-F1 and balanced accuracy are above those of the commonest label. A first rule "
        "also asked for a better log loss, which it does not reach, and was given up after that was seen.",
        f"{len(found.truth)} images. Images that the source files under two diagnoses were left out: its labels are "
        "not beyond doubt.",
    )


def _plots(found: Crossed, flat: Crossed) -> dict[str, bytes]:
    last = len(LABELS) - 1
    true = np.tile(found.truth, len(found.said)) == last
    told = {
        "at the joints": (true, found.score(last).ravel()),
        "whole image": (np.tile(flat.truth, len(flat.said)) == last, flat.score(last).ravel()),
    }
    return {
        "osteoporosis.png": plots.finding(told, "Osteoporosis from the X-ray of the knee"),
        "calibration.png": plots.reliability({"osteoporosis": told["at the joints"]}, "Knee X-ray: how often it is so"),
    }
