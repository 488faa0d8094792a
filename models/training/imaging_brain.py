"""Trains the brain tumour model: EfficientNet-lite0, its later blocks tuned on slices of brain MRI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Dataset
from models.imaging.backbone import FILE, shipped
from models.imaging.settings import MODEL_FILE, SETTINGS_FILE, ImageSettings
from models.registry import Registry
from models.training import imaging_calibration as chosen
from models.training.imaging_asking import Asked
from models.training.imaging_data import Pictures, crossed, joined, load
from models.training.imaging_export import exported
from models.training.recipes import Progress, Say

NAME: Final = "brain_mri"
SIZE: Final = 224
LABELS: Final = ("glioma", "meningioma", "notumor", "pituitary")
NONE: Final = "notumor"
FROZEN: Final = 5
EPOCHS: Final = 16
RATE: Final = 4e-4
MIX: Final = 0.5
NETWORKS: Final = 2
"""Each learns from all but another eighth of the training slices, and their logits are averaged: together they have
seen all of them, and what is chosen is chosen on the two eighths, each by the network that had not seen it."""
SMOOTH: Final = 0.05
"""Of each label's certainty, spread over all labels: some of the data's labels are wrong."""
SETTINGS: Final = ImageSettings(
    kind="classes",
    size=SIZE,
    body_part="brain",
    labels=LABELS,
    positive=tuple(label for label in LABELS if label != NONE),
    caveats=(
        "One slice is judged, not the examination; a tumour outside it is not seen.",
        "Learned from contrast-enhanced T1 slices with tumours and T2/FLAIR slices without: another sequence or "
        "scanner may look like either.",
        "The heat map shows what moved the answer, not the tumour's border.",
    ),
)
_TOLD: Final = {
    "purpose": "Tells glioma, meningioma, pituitary tumour or none in one slice of a brain MRI, with a calibrated "
    "probability and a heat map, to sort a radiologist's list. It is no diagnosis.",
    "limits": (
        "No patient ids survive in the data: slices that look alike are kept on one side and drawn together in "
        "intervals, but slices of one patient can still stand on both sides, and the figures are on the high side.",
        "Slices without tumour come from other sources than those with one; what tells the sources apart helps the "
        "model, and eight grey-level statistics alone are judged beside it.",
        "Judged on slices of 224 pixels from public collections, on no hospital's own; other tumours, other disease "
        "(stroke, abscess, metastasis) and children were not in the data.",
        "Licence of the images: the uploader's CC0 claim, parts of it CC BY 4.0 (Cheng 2015) or of unclear origin.",
    ),
}


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a ``brain_tumour`` and the fields of its manifest; see ``recipes.Train``."""
    pictures = load(folder, NAME, SIZE, parts=("train", "validation"))
    networks: list[dict[str, NDArray[np.float32]]] = []
    held: list[Pictures] = []

    def after(epoch: int, lost: float, model: Any) -> None:
        progress(f"epochs of network {len(held)} of {NETWORKS} (loss {lost:.3f})", epoch, EPOCHS)

    for own, _ in crossed(pictures, NETWORKS, [str(label) for label in pictures.labels]):
        held.append(own.of("validation"))
        learned = own.of("train")
        say(f"tuning network {len(held)} of {NETWORKS} on {len(learned):,} slices")
        networks.append(tune(learned, seed + len(networks), after))
    return finished(networks, held, pictures, seed, say)


def tune(learned: Pictures, seed: int, after: Callable[[int, float, Any], None]) -> dict[str, NDArray[np.float32]]:
    """The tensors of a network that tells LABELS; ``after(epoch, loss, network)`` hears of each epoch."""
    import tensorflow as tf

    from models.training.imaging_network import backbone_weights, network, read
    from models.training.imaging_tuning import Lesson, Recipe, tuned

    recipe = Recipe(epochs=EPOCHS, rate=RATE, mix=MIX)
    model = network(backbone_weights(shipped(Registry()).read(FILE)), SIZE, len(LABELS), frozen=FROZEN, seed=seed)
    truth = np.eye(len(LABELS), dtype=np.float32)[places(learned.labels)] * (1 - SMOOTH) + SMOOTH / len(LABELS)

    def loss(true: Any, logits: Any) -> Any:
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(true, logits))

    lesson = Lesson(learned.pixels, truth.astype(np.float32))
    tuned(model, lesson, recipe, loss, seed, lambda epoch, lost: after(epoch, lost, model))
    return read(model)


def finished(
    networks: list[dict[str, NDArray[np.float32]]], held: Sequence[Pictures], pictures: Pictures, seed: int, say: Say
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What is chosen for these networks, of each on the slices ``held`` out of its learning, and all as a bundle."""
    truth = places(joined(held).labels)
    asked = [Asked(exported([network], SETTINGS)) for network in networks]
    logits = np.concatenate([one.answers(checks.pixels) for one, checks in zip(asked, held, strict=True)])
    heat = chosen.temperature(logits, truth)
    probabilities = chosen.softmax(logits, heat)
    right = probabilities.argmax(axis=1) == truth
    settings = {
        "temperature": heat,
        "threshold": chosen.threshold(truth != LABELS.index(NONE), tumour(probabilities)),
        "unsure_below": chosen.unsure_below(right, probabilities.max(axis=1)),
    }
    say(", ".join(f"{name} {value:g}" for name, value in settings.items()))
    files = bundled(networks, SETTINGS, settings)
    data = Dataset(
        name="Brain Tumor MRI Dataset (M. Nickparvar), duplicates collapsed",
        licence="CC0 by its uploader's claim; parts CC BY 4.0",
        sha256=pictures.digest,
        rows=len(pictures),
    )
    how = {"epochs": EPOCHS, "rate": RATE, "mix": MIX, "frozen_blocks": FROZEN, "networks": len(networks)}
    parameters = {**how, **settings, "size": SIZE, "validation": len(truth), "kernels": "float16"}
    return files, {"code": __name__, "seed": seed, "data": [data], "parameters": parameters, **_TOLD}


def bundled(
    networks: list[dict[str, NDArray[np.float32]]], settings: ImageSettings, told: dict[str, Any]
) -> dict[str, bytes]:
    """The graph of these networks, and the settings with what was chosen for them."""
    import msgspec

    whole = msgspec.structs.replace(settings, **told)
    return {MODEL_FILE: exported(networks, whole), SETTINGS_FILE: msgspec.json.format(msgspec.json.encode(whole))}


def tumour(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """How probable any of the tumours is."""
    found: NDArray[np.float64] = 1 - probabilities[:, LABELS.index(NONE)]
    return found


def places(labels: NDArray[np.str_]) -> NDArray[np.intp]:
    """Of each label, its place among LABELS. Raises Misconfigured for one that is none of them."""
    from contracts.errors import Misconfigured

    unknown = sorted(set(map(str, labels)) - set(LABELS))
    if unknown:
        raise Misconfigured(f"labels {', '.join(unknown)}; a brain tumour model knows {', '.join(LABELS)}")
    return np.asarray([LABELS.index(str(label)) for label in labels], np.intp)
