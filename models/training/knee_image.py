"""Trains osteoporosis from the X-ray: a logistic regression on what the backbone sees at the knee joints.

``ATTEMPTS`` says what else was tried, and what it gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from models.imaging.settings import MODEL_FILE, SETTINGS_FILE, ImageSettings
from models.risk.knee import LABELS, softmax
from models.training.knee_crossed import Crossed, Doubles, Rows, commonest, crossed, folds, gain
from models.training.knee_data import Patients, dataset, patients
from models.training.knee_joint import SIZE
from models.training.knee_seen import Floats, features, graph, pictures, with_image
from models.training.knee_table import log_loss
from models.training.recipes import Progress, Say

STRENGTHS: Final = (1e-4, 3e-4, 1e-3, 3e-3)
"""Of the weights, as scikit-learn's C: the least log loss in cross-validation decides."""
ATTEMPTS: Final = (
    ("whole image, 224 and 320 pixels", 0.60, 0.62),
    ("middle of the image, 320 pixels", 0.61, 0.64),
    ("joint alone (1.0 of its width), 224 pixels", 0.62, 0.61),
    ("joint, 1.4 of its width", 0.75, 0.72),
    ("joint, 1.8 of its width", 0.74, 0.75),
    ("joint, 1.4 and 1.8 of its width, mean (taken)", 0.76, 0.75),
    ("joint, 2.2 of its width", 0.65, 0.68),
    ("joint, 2.8 of its width", 0.62, 0.63),
    ("knee_oa_kl: components of its knees' features", 0.76, 0.73),
    ("knee_oa_kl: logits of a probe for its grade", 0.59, 0.52),
    ("texture of subchondral bone: LBP, GLCM, variation, spectrum, cortex, contrast (73 numbers)", 0.56, 0.59),
    ("kind of picture: one leg or two, shape, brightness", 0.56, None),
)
"""(what was seen, AUROC of osteoporosis by logistic regression, the same by ridge regression of the T-score), from five
times five folds on all images before any was set aside: a choice among so many flatters by itself."""
CAVEATS: Final = (
    "Weak: it raises about 7 in 10 with osteoporosis and 4 in 10 without, and tells normal bone not from osteopenia.",
    "Its probability of osteoporosis is fair; all three together are no better than the labels' shares in the data.",
    "The patient's own answers tell more: ward risk knee, or the workbench.",
    "Pictures of 320 pixels hold no fine bone texture; it has learned from 144 of them.",
)


class Head(NamedTuple):
    """What is told of features: ``kernel`` (1280, labels), ``bias``; with it the threshold of osteoporosis and the
    logits of those it was fitted on when they were set aside."""

    kernel: Doubles
    bias: Doubles
    threshold: float
    strength: float
    aside: Doubles

    def logits(self, seen: Floats) -> Doubles:
        """(n, labels)."""
        told: Doubles = seen.astype(np.float64) @ self.kernel + self.bias
        return told


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """A version from the train patients' images; it abstains unless it beats the commonest label beyond chance."""
    every = with_image(patients(folder))
    mine = every.of(every.parts == "train")
    say(f"{len(mine)} images; looking for the joints")
    seen = features(graph(folder), pictures(folder, mine), progress)
    head = fitted(seen, mine, seed)
    found = cross(seen, mine, seed, progress)
    why = abstention(found)
    say(why or "it is better than the commonest label beyond chance, and speaks")
    settings = ImageSettings(
        kind="classes",
        size=SIZE,
        body_part="knee",
        labels=LABELS,
        positive=LABELS[-1:],
        threshold=head.threshold,
        abstains=why,
        caveats=CAVEATS,
    )
    made = graph(folder, head.kernel.astype(np.float32), head.bias.astype(np.float32))
    return {MODEL_FILE: made, SETTINGS_FILE: msgspec.json.format(msgspec.json.encode(settings), indent=1)}, {
        "code": __name__,
        "data": [dataset(folder, len(mine))],
        "parameters": {"strength": head.strength, "threshold": head.threshold, "abstains": why, "attempts": ATTEMPTS},
        "purpose": (
            "Looks at the knee joints of an X-ray of the leg for signs of thin bone. Weak by itself; meant to stand "
            "beside the patient's own answers, or not at all."
        ),
        "limits": (
            "179 images of 320 pixels, one a patient, 117 of them with osteopenia: what it has learned is little.",
            "Joints are found by their likeness to a mean knee; in about one image in ten another place is taken.",
            "The T-score behind the label is by ultrasound, not of the knee that is shown.",
            "Start: EfficientNet-lite0 (Apache-2.0), as image_backbone; its features are not tuned. The mean knee is "
            "of the Osteoarthritis Initiative's images (knee_oa_kl, CC BY 4.0 by its publisher).",
        ),
    }


def fitted(seen: Floats, mine: Patients, seed: int) -> Head:
    """The regression on these features; strength and threshold by cross-validation in them."""
    tried = zip(STRENGTHS, _aside(seen, mine, seed), strict=True)
    strength, aside = min(tried, key=lambda each: log_loss(each[1], mine.truth))
    kernel, bias = next(_regressions(seen, mine.truth, (strength,)))
    return Head(kernel, bias, threshold(mine.truth, softmax(aside)[:, -1]), strength, aside)


def threshold(truth: Rows, probability: Doubles) -> float:
    """The cut with the best sum of sensitivity and specificity."""
    osteoporosis = truth == len(LABELS) - 1
    cuts = np.unique(probability)
    found = probability[None, :] >= cuts[:, None]
    worth = found[:, osteoporosis].mean(axis=1) - found[:, ~osteoporosis].mean(axis=1)
    return float(np.floor(cuts[int(worth.argmax())] * 1000) / 1000)


def cross(seen: Floats, mine: Patients, seed: int, progress: Progress) -> Crossed:
    """The whole of ``fitted``, choices and all, judged on patients that it has not seen."""

    def fit(learned: Rows, judged: Rows, draw: int) -> tuple[Doubles, float]:
        head = fitted(seen[learned], mine.of(learned), draw)
        return head.logits(seen[judged]), head.threshold

    def after(done: int, whole: int) -> None:
        progress("cross-validated", done, whole)

    return crossed(mine.truth, mine.groups, fit, seed, after, finding_first=True)


def abstention(found: Crossed) -> str | None:
    """Why it must not speak; None where macro-F1 and balanced accuracy beat the commonest label's beyond chance."""
    blind = commonest(found)
    more = [gain(found, blind, name) for name in ("macro_f1", "accuracy_balanced")]
    if all(one is not None and one.low > 0 for one in more):
        return None
    return (
        "the image alone tells bone density no better than always saying the commonest label, beyond chance; "
        "the patient's own answers do (ward risk knee)"
    )


def _aside(seen: Floats, mine: Patients, seed: int) -> Doubles:
    """(strengths, n, labels): logits of each patient by those of other folds."""
    told = np.zeros((len(STRENGTHS), len(mine), len(LABELS)))
    for learned, judged in folds(mine.truth, mine.groups, seed):
        for at, (kernel, bias) in enumerate(_regressions(seen[learned], mine.truth[learned], STRENGTHS)):
            told[at, judged] = seen[judged].astype(np.float64) @ kernel + bias
    return told


def _regressions(seen: Floats, truth: Rows, strengths: Sequence[float]) -> Iterator[tuple[Doubles, Doubles]]:
    """(kernel (1280, labels), bias) of each strength, on the features as they are. Solved in the few directions that
    the rows span, in which the answer lies: the same regression, in a tenth of the time."""
    from sklearn.linear_model import LogisticRegression

    x = seen.astype(np.float64)
    means, spreads = x.mean(axis=0), x.std(axis=0)
    spreads = np.where(spreads > 1e-9, spreads, 1.0)
    left, sizes, right = np.linalg.svd((x - means) / spreads, full_matrices=False)
    for strength in strengths:
        fit = LogisticRegression(C=strength, max_iter=1000).fit(left * sizes, truth)
        kernel = (right.T @ fit.coef_.T) / spreads[:, None]
        yield kernel, fit.intercept_ - means @ kernel
