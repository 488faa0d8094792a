"""Judges answers and X-ray together: beside the answers alone and the X-ray alone, on the same patients and folds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.bundle import Bundle, Interval
from models.registry import Registry
from models.risk.knee import IMAGE, LABELS, KneeRisk, fused
from models.training import knee_fused, plots
from models.training.evaluation import Evaluation, Table
from models.training.knee_crossed import HOW, MAIN, Crossed, Doubles, beside, commonest, figures, gain, shown
from models.training.knee_data import Patients, patients
from models.training.knee_fused import Both
from models.training.knee_image_evaluation import asked, audited
from models.training.knee_joint import SIZE
from models.training.knee_seen import Floats, features, graph, pictures, with_image
from models.training.knee_table_evaluation import WORDS, confusion, part_of
from models.training.recipes import SEED, Progress, Say


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """The figures of a version (or, of ``cv`` and ``validation``, of its recipe), on patients with an image.

    ``test`` takes the image's logits from the champion of knee_osteoporosis. See ``recipes.Evaluate``.
    """
    part, every = part_of(split), with_image(patients(folder))
    images = pictures(folder, every)
    say(f"auditing {len(every)} images")
    audit = audited(every, images)
    audit.demand()
    where = {"test": every.parts == "test", "validation": every.parts == "train", "cv": every.parts != ""}[part]
    judged, theirs = every.of(where), [images[at] for at in np.flatnonzero(where)]
    say(f"looking at {len(judged)} images")
    risk = KneeRisk(bundle)
    if part == "test":
        both = _served(risk, theirs, judged)
    else:
        both = knee_fused.cross(features(graph(folder), theirs, progress), judged, SEED, progress)
    metrics = _figures(both)
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=part,
        n=len(judged),
        metrics=metrics,
        tables=(_side_by_side(metrics, both), confusion(both.fused), *audit.tables()),
        notes=(*audit.remarks(metrics), *_notes(part, risk, metrics)),
        plots=_plots(both),
    )


def _served(risk: KneeRisk, images: list[Floats], judged: Patients) -> Both:
    from models.imaging.settings import MODEL_FILE

    bundle = Registry().load(IMAGE)
    table = np.asarray([risk.logits(values) for values in judged.values])
    image = asked(bundle.read(MODEL_FILE), images, SIZE)
    both = table if risk.fusion is None else fused(risk.fusion, table, image)

    def once(logits: Doubles, first: bool = False) -> Crossed:
        cuts = np.full((1, len(judged)), risk.table.threshold)
        return Crossed.of(judged.truth, judged.groups, logits[None], cuts, finding_first=first)

    return Both(once(both), once(table), once(image))


def _figures(both: Both) -> dict[str, Interval]:
    metrics = figures(both.fused)
    beside(metrics, "majority", commonest(both.fused))
    beside(metrics, "table", both.table)
    for name in MAIN:
        if (more := gain(both.fused, both.table, name)) is not None:
            metrics[f"gain_{name}_over_table"] = more
    return metrics


def _side_by_side(metrics: Mapping[str, Interval], both: Both) -> Table:
    table, image, blind = figures(both.table), figures(both.image), figures(commonest(both.fused))
    rows = tuple(
        (
            WORDS[name],
            shown(metrics.get(name)),
            shown(table.get(name)),
            shown(image.get(name)),
            shown(blind.get(name)),
            shown(metrics.get(f"gain_{name}_over_table")),
        )
        for name in MAIN
    )
    columns = ("figure", "both", "answers alone", "image alone", "always the commonest", "both less answers alone")
    return Table(title="Answers and image, on the same patients and folds", columns=columns, rows=rows)


def _notes(part: str, risk: KneeRisk, metrics: Mapping[str, Interval]) -> tuple[str, ...]:
    how = {
        "test": "The version as it is, on patients set aside: few, so the intervals are wide; `cv` is steadier.",
        "validation": f"The recipe, not the version: {HOW}, within the train patients.",
        "cv": f"The recipe, not the version: {HOW}, on all patients; all is chosen anew in each fold.",
    }
    less = metrics.get("gain_loss_log_over_table")
    adds = risk.fusion is not None and risk.fusion.image_adds
    served = "Served: answers and image together." if adds else "Served: the answers alone; the image adds nothing."
    return (
        how[part],
        f"{served} With the image the log loss changes by {shown(less)} (below 0 is better).",
        "The figures are those of answers and image weighed together, whatever is served.",
    )


def _plots(both: Both) -> dict[str, bytes]:
    last = len(LABELS) - 1
    told = {
        name: (np.tile(of.truth, len(of.said)) == last, of.score(last).ravel())
        for name, of in (("both", both.fused), ("answers alone", both.table), ("image alone", both.image))
    }
    return {
        "osteoporosis.png": plots.finding(told, "Osteoporosis from answers and X-ray"),
        "calibration.png": plots.reliability({"both": told["both"]}, "Answers and X-ray: how often it is so"),
    }
