"""A trained image model at work: from pixels to a calibrated label, or a measure with its band, or why neither."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from models.bundle import Bundle
from models.imaging.heat import laid_over, normalised
from models.imaging.pixels import Grey, resized
from models.imaging.settings import MODEL_FILE, SETTINGS_FILE, ImageSettings

UNSURE: Final = "unsure"
ABSTAINS: Final = "abstains"
SEXES: Final = {"F": 0.0, "FEMALE": 0.0, "M": 1.0, "MALE": 1.0}
UNKNOWN_SEX: Final = 0.5
SMALLEST, LARGEST = 16, 2048
DIGITS: Final = 6
"""Probabilities are rounded, so that a last bit of arithmetic decides nothing."""


@dataclass(frozen=True)
class Reading:
    """What a model made of an image. Either something is told, or ``refusal`` is a short word and ``detail`` says why.

    ``probability`` is that of ``label``. ``positive``: the summed probability of what counts as a finding reached
    ``threshold``; then ``label`` is the most probable finding, else the most probable of the others. A measure has
    ``value`` in ``unit`` with its 90 % band ``low`` to ``high``. ``heat`` is (rows, cols) of the image in [0, 1].
    """

    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    positive: bool | None = None
    threshold: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str | None = None
    refusal: str | None = None
    detail: str | None = None
    heat: Grey | None = None


class ImageModel:
    """A version of an image model. The same pixels give the same reading; one thread at a time.

    Raises Poison (``bad_model`` with the field) for a bundle whose settings and graph do not fit each other.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.name = bundle.name
        self.version = bundle.version
        self.sha256 = bundle.sha256
        self.settings = _settings(bundle)
        self._session = _session(bundle, threads)
        self._fits(f"{bundle.name}/{bundle.version}/{MODEL_FILE}")

    def read(self, pixels: Grey, sex: str | None = None) -> Reading:
        """Read an image of (rows, cols) in [0, 1]. ``sex`` is F, M, ``female`` or ``male``; all else is unknown."""
        settings = self.settings
        if settings.abstains is not None:
            return Reading(refusal=ABSTAINS, detail=settings.abstains)
        spoken = "logits" if settings.kind == "classes" else "value"
        inputs: dict[str, NDArray[np.float32]] = {"images": resized(pixels, settings.size)[None]}
        if settings.wants_sex:
            inputs["sex"] = np.asarray([SEXES.get((sex or "").strip().upper(), UNKNOWN_SEX)], np.float32)
        said, maps = self._session.run([spoken, "maps"], inputs)
        if not np.all(np.isfinite(said)):
            return Reading(refusal="no_number", detail="the model's answer is no finite number")
        if settings.kind == "measure":
            return self._measured(float(np.ravel(said)[0]), self._heat(maps, 0, pixels))
        reading, told = self._told(np.asarray(said[0], np.float64))
        return reading if told is None else replace(reading, heat=self._heat(maps, told, pixels))

    def _measured(self, value: float, heat: Grey) -> Reading:
        half = self.settings.half_width or 0.0
        return Reading(
            value=round(value, 2),
            low=round(value - half, 2),
            high=round(value + half, 2),
            unit=self.settings.unit,
            heat=heat,
        )

    def _told(self, logits: NDArray[np.float64]) -> tuple[Reading, int | None]:
        """The reading without its heat, and which label it tells."""
        settings = self.settings
        probabilities = softmax(logits / settings.temperature)
        best = int(probabilities.argmax())
        if probabilities[best] < settings.unsure_below:
            said = (
                f"its most probable label has {probabilities[best]:.2f}; below {settings.unsure_below:g} none is told"
            )
            return Reading(refusal=UNSURE, detail=said), None
        findings = np.asarray([label in settings.positive for label in settings.labels])
        positive = bool(findings.any()) and round(float(probabilities[findings].sum()), DIGITS) >= settings.threshold
        side = findings if positive else ~findings
        told = int(np.where(side, probabilities, -1.0).argmax()) if side.any() else best
        return Reading(
            label=settings.labels[told],
            probability=round(float(probabilities[told]), DIGITS),
            probabilities={
                label: round(float(one), DIGITS) for label, one in zip(settings.labels, probabilities, strict=True)
            },
            positive=positive if findings.any() else None,
            threshold=settings.threshold if findings.any() else None,
        ), told

    def _heat(self, maps: NDArray[np.float32], told: int, pixels: Grey) -> Grey:
        one = maps[0, :, :, min(told, maps.shape[-1] - 1)]
        rows, cols = pixels.shape
        return laid_over(normalised(one), rows, cols, self.settings.size)

    def _fits(self, where: str) -> None:
        wanted = {"images"} | ({"sex"} if self.settings.wants_sex else set())
        found = {one.name for one in self._session.get_inputs()}
        if found != wanted:
            raise Poison("bad_model", f"its inputs are {sorted(found)}; the settings want {sorted(wanted)}", where)
        spoken = "logits" if self.settings.kind == "classes" else "value"
        missing = {spoken, "maps"} - {one.name for one in self._session.get_outputs()}
        if missing:
            raise Poison("bad_model", f"it has no output {', '.join(sorted(missing))}", where)
        shapes = {one.name: one.shape for one in self._session.get_outputs()}
        classes = shapes[spoken][-1] if self.settings.kind == "classes" else None
        if isinstance(classes, int) and classes != len(self.settings.labels):
            raise Poison("bad_model", f"{classes} logits for {len(self.settings.labels)} labels", where)


def load(bundle: Bundle) -> ImageModel:
    """The model of a version, on one thread. Raises as ``ImageModel``."""
    return ImageModel(bundle)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of logits.

    >>> softmax(np.array([1.0, 1.0])).tolist()
    [0.5, 0.5]
    """
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum(), np.float64)


def _session(bundle: Bundle, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(bundle.read(MODEL_FILE), options, providers=["CPUExecutionProvider"])


def _settings(bundle: Bundle) -> ImageSettings:
    where = f"{bundle.name}/{bundle.version}/{SETTINGS_FILE}"
    try:
        settings = msgspec.json.decode(bundle.read(SETTINGS_FILE), type=ImageSettings)
    except msgspec.MsgspecError as wrong:
        raise Poison("bad_model", str(wrong), where) from wrong
    for field, problem in _problems(settings):
        raise Poison("bad_model", problem, f"{where}:{field}")
    return settings


def _problems(settings: ImageSettings) -> list[tuple[str, str]]:
    found = []
    if not SMALLEST <= settings.size <= LARGEST:
        found.append(("size", f"{settings.size} pixels; it is {SMALLEST} to {LARGEST}"))
    if settings.kind == "classes" and len(set(settings.labels)) != max(2, len(settings.labels)):
        found.append(("labels", f"{list(settings.labels)}; two or more, each once"))
    unknown = sorted(set(settings.positive) - set(settings.labels))
    if unknown:
        found.append(("positive", f"{', '.join(unknown)} is no label"))
    if not (math.isfinite(settings.temperature) and settings.temperature > 0):
        found.append(("temperature", f"{settings.temperature}; it is above 0"))
    for field in ("threshold", "unsure_below"):
        value = getattr(settings, field)
        if not 0 <= value <= 1:
            found.append((field, f"{value}; a probability is 0 to 1"))
    if settings.kind == "measure" and not settings.unit:
        found.append(("unit", "a measure has a unit"))
    if settings.kind == "measure" and not (settings.half_width or 0) > 0:
        found.append(("half_width", "a measure has the half width of its band, above 0"))
    return found
