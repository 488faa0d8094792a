"""How each model is trained and judged: one table, each recipe imported only when it is called."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from contracts.errors import Misconfigured
from models.registry import Bundle, NotThere
from models.training.evaluation import Evaluation

if TYPE_CHECKING:
    from models.training.stays import Stay

SEED: Final = 20260102


class Say(Protocol):
    """Takes a line of chatter."""

    def __call__(self, line: str, /) -> None: ...


class Progress(Protocol):
    """Takes how much of a step is done: ``progress("epochs", 3, 40)``. ``total`` is None where nobody knows."""

    def __call__(self, step: str, done: int, total: int | None, /) -> None: ...


class Train(Protocol):
    """Makes a model from the ``train`` and ``validation`` stays of a folder: its files, and the fields of its manifest
    (``code``, ``data``, ``parameters``, ``purpose``, ``limits``, whatever ``Registry.add`` takes).

    Same folder, same seed, same machine: the same model.
    """

    def __call__(
        self, folder: Path, seed: int, say: Say, progress: Progress, /
    ) -> tuple[dict[str, bytes], dict[str, Any]]: ...


class Evaluate(Protocol):
    """Judges a version on the stays of a folder that ``chosen(stays, split)`` names."""

    def __call__(
        self, folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress, /
    ) -> Evaluation: ...


@dataclass(frozen=True)
class Recipe:
    """Where a model is made (``module`` has ``train``) and judged (``judge`` has ``evaluate``); what it does.

    ``home`` is its data's folder within a folder of data sets; "" where the recipe looks for itself.
    """

    module: str
    judge: str
    does: str
    limits: tuple[str, ...] = ()
    home: str = "vitals"

    def train(self) -> Train:
        """The function; imports what it needs."""
        found: Train = _found(self.module, "train")
        return found

    def evaluate(self) -> Evaluate:
        """The function; imports what it needs."""
        found: Evaluate = _found(self.judge, "evaluate")
        return found


ADULTS: Final = (
    "Trained and judged on adults in intensive care; not judged on a general ward, in children or in pregnancy.",
)
RECIPES: Final[Mapping[str, Recipe]] = {
    "vitals_anomaly": Recipe(
        "models.training.anomaly",
        "models.training.anomaly_evaluation",
        "how odd a bed's last hour is for this patient, and which vitals say so",
        ADULTS,
    ),
    "vitals_forecast": Recipe(
        "models.training.forecast",
        "models.training.forecast_evaluation",
        "where each vital will be in minutes and hours, with bands",
        ADULTS,
    ),
    "deterioration": Recipe(
        "models.training.deterioration",
        "models.training.deterioration_evaluation",
        "how likely instability in 4 hours and death in hospital are",
        ADULTS,
    ),
    "image_backbone": Recipe(
        "models.training.backbone",
        "models.training.backbone_evaluation",
        "an image as 1,280 numbers, for other models to start from",
        home="",
    ),
    "image_scope": Recipe(
        "models.training.scope",
        "models.training.scope_evaluation",
        "whether an image is one that a model may read: fit, of a known kind, of the right body part",
        home="",
    ),
    "brain_tumour": Recipe(
        "models.training.imaging_brain",
        "models.training.imaging_brain_evaluation",
        "glioma, meningioma, pituitary tumour or none in a slice of brain MRI, and where it shows",
        (
            "Aimed at: macro-F1 0.975, AUROC 0.999 and a calibration error of 0.02 on test. Plain tuning at 192 pixels "
            "gave 0.960 and 0.999. Two networks that learned from the same slices gained nothing on validation.",
        ),
        home="brain_mri",
    ),
    "bone_age": Recipe(
        "models.training.imaging_bone",
        "models.training.imaging_bone_evaluation",
        "how old the bones of a child's hand look, in months, and where it shows",
        (
            "Aimed at: a mean absolute error of 8 months on test. Plain tuning at 256 pixels gave 9.7. Tried, on films "
            "held out of training: 384 pixels (8.89 months, 8.90 at 320), 45 epochs (8.91 on another eighth), the mean "
            "of answers to turned films (2 % better; the heat maps would no longer be exact), curves, cubics and the "
            "sex in place of the straight line that draws the answers out (nothing). A third network, of a third "
            "eighth, left the error on test as it was, 8.10, and was not kept. Not tried: tuning of the earliest "
            "blocks, films cropped to the hand.",
            "Under 5 years and from 15 on there are few films, and the answer errs towards the middle. Blurred and "
            "noisy films look half a year older to it: the gate refuses most of those.",
        ),
        home="bone_age",
    ),
    "knee_osteoporosis_tabular": Recipe(
        "models.training.knee_table",
        "models.training.knee_table_evaluation",
        "how likely osteopenia and osteoporosis are, from 21 answers",
        home="knee_osteoporosis",
    ),
    "knee_osteoporosis": Recipe(
        "models.training.knee_image",
        "models.training.knee_image_evaluation",
        "osteoporosis in an X-ray of the knee, and where it shows",
        home="knee_osteoporosis",
    ),
    "knee_osteoporosis_fused": Recipe(
        "models.training.knee_fused",
        "models.training.knee_fused_evaluation",
        "how likely osteopenia and osteoporosis are, from 21 answers and the X-ray",
        home="knee_osteoporosis",
    ),
}
EXTRA: Final = ("tensorflow", "sklearn", "onnx", "skl2onnx", "matplotlib", "pyarrow")


def recipe(name: str) -> Recipe:
    """The recipe of a model. Raises NotThere."""
    if name not in RECIPES:
        raise NotThere(f"no model {name!r} can be trained; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def chosen(stays: Iterable[Stay], split: str | None) -> list[Stay]:
    """The stays of a split; without one, all that their source does not call ``train``. Raises Misconfigured."""
    every = list(stays)
    if split is None:
        found = [stay for stay in every if str(stay.facts.get("split", stay.split)) != "train"]
    else:
        found = [stay for stay in every if stay.split == split]
    if not found:
        known = ", ".join(sorted({stay.split for stay in every})) or "none"
        raise Misconfigured(f"no stay of split {split or 'other than train'} in the data; there are {known} (--split)")
    return found


def need_training() -> None:
    """Raises Misconfigured with the fix where a library of the extra ``training`` is missing, before work is done."""
    for library in EXTRA:
        if importlib.util.find_spec(library) is None:
            raise Misconfigured(
                f"{library} is not installed: `./ward model train` and `evaluate` get it by themselves; "
                "elsewhere pip install 'wardstream[training]'"
            )


def _found(module: str, function: str) -> Any:
    return getattr(importlib.import_module(module), function)
