"""Is this an image that a model may read? Too small, without contrast, inverted, blurred, noisy, of something else.

What is seen is told by a linear probe on the backbone's features; how odd it is, by its distance to the images that the
probe was made from. Nothing here looks at a header: a hand that calls itself a knee is a hand.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from models.bundle import Bundle
from models.champions import Champions, Event, Missing
from models.imaging import backbone as vectors
from models.imaging.backbone import SIZE, Backbone
from models.imaging.guarded import Examined
from models.imaging.pixels import Grey, resized
from models.imaging.settings import ImageSettings
from models.registry import Registry

NAME: Final = "image_scope"
SETTINGS_FILE: Final = "scope.json"
ARRAYS_FILE: Final = "scope.npz"
OTHER: Final = "other"
"""The probe's word for what is no upright image of a body part that it knows."""
REASONS: Final = (
    "too_small",
    "blank",
    "low_contrast",
    "inverted",
    "out_of_scope",
    "wrong_body_part",
    "blurred",
    "noisy",
)
ARRAYS: Final = ("centre", "axes", "spread", "bank", "weights", "bias")
DIGITS: Final = 4


class ScopeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version knows. ``seen`` are the probe's words in the order of its rows: body parts, then ``other``;
    ``backbone`` is the version of image_backbone that it was made with.

    An image is blank below ``least_range`` (1st to 99th percentile, of [0, 1]), of low contrast below ``low_range``;
    too small below ``least_side`` pixels. ``oddest`` is the distance to the ``neighbours``-th nearest known image that
    is still no reason to refuse, ``other_from`` the probability of ``other`` that is one. Inverted is what is brighter
    at its edge than in its middle by more than ``bright_edge`` of its body part allows; blurred is what has less grain
    than the first of its ``grain``, noisy what has more than the second. All three are in units of its range.
    """

    seen: tuple[str, ...]
    backbone: str
    least_side: int
    least_range: float
    low_range: float
    neighbours: int
    oddest: float
    other_from: float
    bright_edge: dict[str, float] = {}
    grain: dict[str, tuple[float, float]] = {}


@dataclass(frozen=True)
class Scope:
    """What the gate saw. ``refusal`` is one of REASONS and ``detail`` says it in a sentence; None: it may be read.

    ``body_part`` is the most probable one, None where the image was not looked at (or is none). ``odd`` is its distance
    over the largest that is let in: above 1 it is refused.
    """

    body_part: str | None = None
    probability: float | None = None
    odd: float | None = None
    refusal: str | None = None
    detail: str | None = None


class Looks(NamedTuple):
    """What an image looks like beside its features: by how much its edge is brighter than its middle, and its grain, in
    units of its range (1st to 99th percentile)."""

    edge: float
    grain: float


class Gate:
    """A version of ``image_scope`` with the backbone that it was made with. One thread at a time.

    Raises Poison (``bad_model``) for a bundle whose settings and arrays do not fit each other, or another backbone.
    ``sizes`` are those in which it wants to see an image that was decoded elsewhere.
    """

    sizes: tuple[int, ...] = (SIZE,)

    def __init__(self, scope: Bundle, backbone: Bundle, threads: int = 1) -> None:
        self.name, self.version, self.sha256 = scope.name, scope.version, scope.sha256
        self.settings = _settings(scope)
        self._arrays = _arrays(scope, self.settings)
        if backbone.version != self.settings.backbone:
            said = f"made with backbone {self.settings.backbone}, not with {backbone.version}"
            raise Poison("bad_model", said, f"{scope.name}/{scope.version}/{SETTINGS_FILE}")
        self._network = Backbone(backbone, threads)

    def judged(self, pixels: Grey, wanted: str | None = None) -> Scope:
        """Look at an image of (rows, cols) in [0, 1]. ``wanted`` is the body part that a model reads; None: any."""
        rows, cols = pixels.shape
        low, high = np.percentile(pixels, (1, 99))
        if (early := self.unfit(rows, cols, float(low), float(high))) is not None:
            return early
        shard = resized(pixels, SIZE)
        return self.scopes(self._network.features(shard[None]), wanted, [looks(shard)])[0]

    def refused(self, seen: Examined, body_part: str, settings: ImageSettings) -> tuple[str, str] | None:
        """The same of an image that a guarded child decoded, as (reason, sentence); None when it may be read."""
        found = self.unfit(seen.rows, seen.cols, seen.p01, seen.p99)
        if found is None:
            shard = np.frombuffer(seen.shards[SIZE], "<f4").reshape(SIZE, SIZE)
            found = self.scopes(self._network.features(shard[None]), body_part, [looks(shard)])[0]
        return None if found.refusal is None else (found.refusal, found.detail or "")

    def unfit(self, rows: int, cols: int, low: float, high: float) -> Scope | None:
        """Refused before anything looks at it: by size and by 1st and 99th percentile of its grey levels."""
        settings = self.settings
        if min(rows, cols) < settings.least_side:
            said = f"{rows} rows by {cols} columns; both must be {settings.least_side} at least"
            return Scope(refusal="too_small", detail=said)
        if high - low < settings.least_range:
            return Scope(refusal="blank", detail="nearly all pixels have one value")
        if high - low < settings.low_range:
            said = f"its grey levels span {high - low:.3f} of the range; {settings.low_range:g} is the least"
            return Scope(refusal="low_contrast", detail=said)
        return None

    def scopes(
        self, features: NDArray[np.float32], wanted: str | None = None, seen: Sequence[Looks] | None = None
    ) -> list[Scope]:
        """The same of features (n, 1280) that are at hand, with ``looks`` of each image where those are."""
        probabilities, odd = self.measured(features)
        seen = [Looks(-np.inf, np.nan)] * len(features) if seen is None else seen
        return [
            self._scope(each, float(far), wanted, its) for each, far, its in zip(probabilities, odd, seen, strict=True)
        ]

    def measured(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities (n, words) and how odd each is (n,), over ``oddest``."""
        arrays = self._arrays
        logits = features.astype(np.float64) @ arrays["weights"].T + arrays["bias"]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        place = placed(features, arrays["centre"], arrays["axes"], arrays["spread"])
        return shares, distances(place, arrays["bank"], self.settings.neighbours) / self.settings.oddest

    def _scope(self, shares: NDArray[np.float64], odd: float, wanted: str | None, seen: Looks) -> Scope:
        known = [at for at, word in enumerate(self.settings.seen) if word != OTHER]
        best = max(known, key=lambda at: shares[at])
        word, share = self.settings.seen[best], round(float(shares[best]), DIGITS)
        other = 1.0 - float(shares[known].sum())
        told = Scope(word, share, round(odd, DIGITS))
        if seen.edge > self.settings.bright_edge.get(word, np.inf):
            said = (
                f"its edge is brighter than its middle by {seen.edge:.2f} of its range: its grey levels look inverted"
            )
            return replace(told, body_part=None, probability=None, refusal="inverted", detail=said)
        if odd > 1.0 or other >= self.settings.other_from:
            names = [self.settings.seen[at] for at in known]
            how = f"{odd:.2f} times as odd as is let in" if odd > 1.0 else "turned or of something else"
            said = f"it is like no image of a {', '.join(names[:-1])} or {names[-1]} that is known: {how}"
            return replace(told, body_part=None, probability=None, refusal="out_of_scope", detail=said)
        if wanted is not None and word != wanted:
            said = f"it shows a {word} ({share:.2f}); the model reads a {wanted}"
            return replace(told, refusal="wrong_body_part", detail=said)
        least, most = self.settings.grain.get(word, (-np.inf, np.inf))
        if seen.grain < least:
            said = f"it is blurred, or enlarged: its grain is {seen.grain:.5f} of its range, {least:g} is the least"
            return replace(told, refusal="blurred", detail=said)
        if seen.grain > most:
            said = f"it is noisy: its grain is {seen.grain:.4f} of its range, {most:g} is the most"
            return replace(told, refusal="noisy", detail=said)
        return told


class Gates(Champions):
    """The gate in force: the champion of ``image_scope``, followed. ``told`` hears of events."""

    def __init__(
        self,
        registry: Registry,
        told: Callable[[Event], None] = lambda event: None,
        threads: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def load(_name: str, bundle: Bundle) -> Any:
            return Gate(bundle, registry.load(vectors.NAME, _settings(bundle).backbone), threads)

        super().__init__(registry, (NAME,), load, told, clock)

    def asked(self) -> Gate | Missing:
        """The gate in force now, or why there is none: looked up afresh."""
        self.refresh()
        found: Gate | Missing = self.serving(NAME)
        return found


def looks(shard: Grey) -> Looks:
    """What an image of (SIZE, SIZE) looks like, whatever it shows."""
    low, high = np.percentile(shard, (1, 99))
    unit = max(float(high - low), 1e-6)
    return Looks(edge_over_middle(shard) / unit, grain(shard) / unit)


def edge_over_middle(pixels: Grey) -> float:
    """By how much the median of the edge (a sixteenth on each side) is above that of the middle quarter. What surrounds
    a body is dark on MRI slices and X-rays."""
    rows, cols = pixels.shape
    down, across = max(1, rows // 16), max(1, cols // 16)
    inner = np.zeros(pixels.shape, bool)
    inner[down:-down, across:-across] = True
    middle = pixels[rows // 4 : rows - rows // 4, cols // 4 : cols - cols // 4]
    return float(np.median(pixels[~inner]) - np.median(middle))


def grain(pixels: Grey) -> float:
    """The standard deviation of noise, from the mean second difference along both axes, which edges and slopes hardly
    touch (Immerkær, Fast noise variance estimation, Computer Vision and Image Understanding 64, 1996)."""
    along = pixels[:, :-2] - 2 * pixels[:, 1:-1] + pixels[:, 2:]
    both = along[:-2] - 2 * along[1:-1] + along[2:]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(both).mean())


def placed(
    features: NDArray[np.float32], centre: NDArray[Any], axes: NDArray[Any], spread: NDArray[Any]
) -> NDArray[np.float64]:
    """Features in the subspace, on the unit sphere."""
    flat = (features.astype(np.float64) - centre) @ axes.T / spread
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9))


def distances(place: NDArray[np.float64], bank: NDArray[Any], neighbours: int) -> NDArray[np.float64]:
    """Of each place the distance (1 - cosine) to its ``neighbours``-th nearest in the bank."""
    far = 1.0 - place @ bank.astype(np.float64).T
    return np.asarray(np.partition(far, neighbours - 1, axis=1)[:, neighbours - 1])


def _settings(bundle: Bundle) -> ScopeSettings:
    try:
        return msgspec.json.decode(bundle.read(SETTINGS_FILE), type=ScopeSettings)
    except msgspec.MsgspecError as wrong:
        raise Poison("bad_model", f"{wrong}", f"{bundle.name}/{bundle.version}/{SETTINGS_FILE}") from wrong


def _arrays(bundle: Bundle, settings: ScopeSettings) -> dict[str, NDArray[Any]]:
    where = f"{bundle.name}/{bundle.version}/{ARRAYS_FILE}"
    with np.load(io.BytesIO(bundle.read(ARRAYS_FILE)), allow_pickle=False) as kept:
        missing = [name for name in ARRAYS if name not in kept.files]
        if missing:
            raise Poison("bad_model", f"no {', '.join(missing)} in it", where)
        arrays = {name: kept[name].astype(np.float32) for name in ARRAYS}
    if len(arrays["weights"]) != len(settings.seen) or arrays["bank"].shape[1] != len(arrays["axes"]):
        raise Poison("bad_model", "its arrays do not fit its settings", where)
    return arrays
