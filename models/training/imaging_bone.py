"""Trains the bone age model: EfficientNet-lite0, its later blocks tuned on X-rays of children's hands, and the sex."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.bundle import Dataset
from models.imaging.backbone import FILE, shipped
from models.imaging.settings import ImageSettings
from models.registry import Registry
from models.training import imaging_calibration as chosen
from models.training.imaging_asking import Asked
from models.training.imaging_brain import bundled
from models.training.imaging_data import Pictures, crossed, load
from models.training.imaging_export import exported
from models.training.recipes import Progress, Say

NAME: Final = "bone_age"
LABEL: Final = "bone_age_months"
SIZE: Final = 320
FROZEN: Final = 5
EPOCHS: Final = (30, 45)
"""Of each network; each learns from all but another eighth of the training films, and their answers are averaged."""
RATE: Final = 5e-4
SETTINGS: Final = ImageSettings(
    kind="measure",
    size=SIZE,
    body_part="hand",
    unit="months",
    wants_sex=True,
    caveats=(
        "The age that the bones look, in months, not the age of the child.",
        "Without the sex the answer is less exact.",
        "The heat map shows what moved the answer up from its average, not a finding.",
    ),
)
NEAR: Final = 0.1
"""Errors below this many standard deviations count squared: an absolute error has no slope to settle at."""
_TOLD: Final = {
    "purpose": "Tells the bone age in months from an X-ray of a child's hand and the sex, with a 90 % band and a heat "
    "map, as a second opinion beside a reader's. It is no diagnosis.",
    "limits": (
        "Learned from a few hundred films of one challenge (two hospitals in the United States), read after Greulich "
        "and Pyle; other standards, hospitals and origins of children were not judged.",
        "Films of hands with disease of bone were not told apart; in the youngest children there are few films, and "
        "errors by age are in the tables.",
        "The band is as wide for every child: it holds nine in ten on average, not at every age.",
        "Licence: the RSNA's terms allow research and education without commerce, with attribution (Halabi et al., "
        "Radiology 2019); none of its images is shipped with this.",
    ),
}


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of a ``bone_age`` and the fields of its manifest; see ``recipes.Train``."""
    pictures = load(folder, NAME, SIZE, LABEL, parts=("train", "validation"))
    networks: list[dict[str, NDArray[np.float32]]] = []
    held: list[Pictures] = []

    def after(epoch: int, lost: float, model: Any) -> None:
        progress(f"epochs of network {len(held)} of {len(EPOCHS)} (loss {lost:.3f})", epoch, EPOCHS[len(networks)])

    folds = crossed(pictures, len(EPOCHS), [float(age) for age in months(pictures)])
    for epochs, (own, _) in zip(EPOCHS, folds, strict=True):
        held.append(own.of("validation"))
        learned = own.of("train")
        say(f"tuning network {len(held)} of {len(EPOCHS)} on {len(learned):,} films, {epochs} epochs")
        networks.append(tune(learned, epochs, seed + len(networks), after))
    return finished(networks, held, pictures, seed, say)


def tune(
    learned: Pictures, epochs: int, seed: int, after: Callable[[int, float, Any], None]
) -> dict[str, NDArray[np.float32]]:
    """The tensors of a network that tells months; ``after(epoch, loss, network)`` hears of each epoch, the network
    then still in standard deviations from the mean age."""
    import tensorflow as tf

    from models.training.imaging_augment import Augment
    from models.training.imaging_network import backbone_weights, network, read
    from models.training.imaging_tuning import Lesson, Recipe, tuned

    augment = Augment(turn=20, shift=0.08, zoom=0.2, stretch=0.08, contrast=0.3, gamma=0.3)
    recipe = Recipe(epochs=epochs, rate=RATE, augment=augment, batch=16, copies=10, blind=0.1)
    model = network(backbone_weights(shipped(Registry()).read(FILE)), SIZE, 1, wants_sex=True, frozen=FROZEN, seed=seed)
    age = months(learned)
    middle, spread = float(age.mean()), float(age.std())

    def loss(true: Any, told: Any) -> Any:
        off = tf.abs(true - told)
        return tf.reduce_mean(tf.where(off < NEAR, off**2 / (2 * NEAR), off - NEAR / 2))

    lesson = Lesson(learned.pixels, ((age - middle) / spread).astype(np.float32)[:, None], signed(learned.sex))
    tuned(model, lesson, recipe, loss, seed, lambda epoch, lost: after(epoch, lost, model))
    return in_months(read(model), middle, spread)


def in_months(weights: dict[str, NDArray[np.float32]], middle: float, spread: float) -> dict[str, NDArray[np.float32]]:
    """The same network, its answer in months rather than in standard deviations from the middle."""
    return drawn_out(weights, spread, middle)


def drawn_out(weights: dict[str, NDArray[np.float32]], slope: float, start: float) -> dict[str, NDArray[np.float32]]:
    """The same network, its answer times ``slope`` plus ``start``."""
    told = {name: values * np.float32(slope) for name, values in weights.items() if name.startswith("told.")}
    return {**weights, **told, "told.bias": told["told.bias"] + np.float32(start)}


def finished(
    networks: list[dict[str, NDArray[np.float32]]], held: Sequence[Pictures], pictures: Pictures, seed: int, say: Say
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What is chosen for these networks, of each on the films ``held`` out of its learning, and all as a bundle."""
    drawn, errors, lines = [], [], []
    for network, checks in zip(networks, held, strict=True):
        told, truth = Asked(exported([network], SETTINGS)).answers(checks.pixels, checks.sex), months(checks)
        # a network that is kept from learning by heart stays too near to the mean
        slope, start = (float(each) for each in np.polyfit(told, truth, 1))
        drawn.append(drawn_out(network, slope, start))
        errors.append(slope * told + start - truth)
        lines.append([round(slope, 4), round(start, 3)])
        say(f"validation MAE {np.abs(errors[-1]).mean():.2f} months, slope {slope:.3f}")
    off = np.concatenate(errors)
    settings = {"half_width": round(chosen.half_width(off), 2)}
    say(f"of all {np.abs(off).mean():.2f} months, half a band {settings['half_width']:g}")
    data = Dataset(
        name="RSNA Pediatric Bone Age Challenge 2017 (1,018 films)",
        licence="RSNA terms: non-commercial, attribution",
        sha256=pictures.digest,
        rows=len(pictures),
    )
    how = {
        "epochs": list(EPOCHS),
        "rate": RATE,
        "frozen_blocks": FROZEN,
        "networks": len(networks),
        "kernels": "float16",
    }
    parameters = {**how, **settings, "drawn_out": lines, "size": SIZE, "validation": len(off)}
    fields = {"code": __name__, "seed": seed, "data": [data], "parameters": parameters, **_TOLD}
    return bundled(drawn, SETTINGS, settings), fields


def signed(sex: NDArray[np.float32]) -> NDArray[np.float32]:
    """-1 female, 1 male, 0 unknown, of 0, 1 and 0.5."""
    return sex * np.float32(2) - np.float32(1)


def months(pictures: Pictures) -> NDArray[np.float64]:
    """The labels as numbers. Raises Misconfigured where one is none."""
    try:
        return pictures.labels.astype(np.float64)
    except ValueError as wrong:
        raise Misconfigured(f"a bone age is a number of months: {wrong}") from wrong
