"""The scope gate: what brains, knees and hands look like to the backbone, and how far from them is too far."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.imaging.backbone import SIZE, WIDTH, Backbone, shipped
from models.imaging.gate import ARRAYS_FILE, OTHER, SETTINGS_FILE, Looks, ScopeSettings, distances, looks, placed
from models.imaging.pixels import Grey, read, resized
from models.registry import Dataset, Registry
from models.training.recipes import Progress, Say

PARTS: Final = ("brain", "knee", "hand")
AXES: Final = 64
NEIGHBOURS: Final = 5
STRENGTH: Final = 0.01
HELD_OUT: Final = 5
"""One group in so many is validation."""
TOO_ODD, TOO_OTHER = 0.007, 0.003
"""Shares of validation images that are refused as odd, and as other: 1 % in all."""
TOO_BRIGHT: Final = 0.003
"""Share of a body part's images that are refused as inverted; some films of the sets are stored so."""
TOO_SMOOTH, TOO_GRAINY = 0.003, 0.003
"""Shares of a body part's images with so little grain, and so much, that a ``ROOM``-th of it, and ``ROOM`` times it, is
the bound: an image of another device is not refused for a little less or more."""
ROOM: Final = 1.25
SPOILT: Final = 40
"""So many images a set are shown to the probe spoilt besides."""
LEAST_SIDE: Final = 96
LEAST_RANGE: Final = 0.02
AT_ONCE: Final = 16
SEED: Final = 20260102


@dataclass(frozen=True)
class Source:
    """A set of images of one body part: how many of it are used, which column tells what belongs together."""

    dataset: str
    part: str
    licence: str
    train: int
    test: int
    group: str = "image"


SOURCES: Final = (
    Source("brain_mri", "brain", "CC0 as claimed by the uploader; parts CC BY 4.0 (Cheng et al.)", 500, 200, "cluster"),
    Source("knee_osteoporosis", "knee", "CC BY 4.0 (Wani and Arora)", 200, 100, "patient_id"),
    Source("knee_oa_kl", "knee", "CC BY 4.0 (Chen), images of the OAI", 350, 150, "patient_id"),
    Source("bone_age", "hand", "RSNA terms: non-commercial, attribution (Halabi et al.)", 400, 179),
)
SPOILS: Final[Mapping[str, Callable[[Grey], Grey]]] = {
    "inverted": lambda pixels: 1 - pixels,
    "upside_down": lambda pixels: pixels[::-1, ::-1],
    "turned": lambda pixels: np.rot90(pixels),
}


@dataclass(frozen=True)
class Image:
    """An image of a set: its file, body part, split (train, validation or test) and what it is drawn together with."""

    path: Path
    source: Source
    split: str
    group: str

    def pixels(self) -> Grey:
        """Read."""
        return read(self.path.read_bytes(), self.path.name).pixels


def images(folder: Path, splits: Sequence[str]) -> list[Image]:
    """The images of these splits, the same for the same folder. Raises Misconfigured for a set that is not there."""
    found = []
    for source in SOURCES:
        table = folder / source.dataset / "labels.csv"
        if not table.is_file():
            raise Misconfigured(
                f"{folder} holds no {source.dataset}/labels.csv: the gate learns from {', '.join(_all())}"
            )
        with table.open(newline="", encoding="utf-8") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: _mark(row["image"]))
        for split, most in (("train", source.train), ("test", source.test)):
            for row in [row for row in rows if row["split"] == split][:most]:
                group = f"{source.dataset}/{row[source.group]}"
                held = split == "train" and int(_mark(group), 16) % HELD_OUT == 0
                part = "validation" if held else split
                if part in splits:
                    found.append(Image(folder / source.dataset / row["image"], source, part, group))
    return found


def seen(
    network: Backbone, pictures: Iterator[Grey], total: int, progress: Progress
) -> tuple[NDArray[np.float32], list[Looks]]:
    """Features (n, 1280) and looks of images of any size."""
    made, looked, waiting = [], [], []
    for at, pixels in enumerate(pictures, 1):
        waiting.append(resized(np.ascontiguousarray(pixels, np.float32), SIZE))
        looked.append(looks(waiting[-1]))
        if len(waiting) == AT_ONCE or at == total:
            made.append(network.features(np.stack(waiting)))
            waiting = []
            progress("features", at, total)
    return np.concatenate(made) if made else np.zeros((0, WIDTH), np.float32), looked


def first(chosen: Sequence[Image], most: int) -> list[Image]:
    """The first images of each set."""
    sets: dict[str, list[Image]] = {}
    for image in chosen:
        sets.setdefault(image.source.dataset, []).append(image)
    return [image for each in sets.values() for image in each[:most]]


def spoilt(chosen: Sequence[Image], most: int) -> list[tuple[Image, str]]:
    """The first images of each set with every way to spoil them. A brain upside down is left out: slices are stored
    either way up."""
    return [
        (image, how)
        for image in first(chosen, most)
        for how in SPOILS
        if not (how == "upside_down" and image.source.part == "brain")
    ]


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The probe and the bank, from the sets in this folder (laid out like shared/data). Nothing is drawn."""
    backbone = shipped(Registry())
    network = Backbone(backbone, threads=2)
    chosen = images(folder, ("train", "validation"))
    spoils = spoilt([image for image in chosen if image.split == "train"], SPOILT)
    say(f"features of {len(chosen):,} images, and of {len(spoils)} spoilt ones")
    ranges: list[float] = []

    def pictures() -> Iterator[Grey]:
        for image in chosen:
            pixels = image.pixels()
            ranges.append(float(np.subtract(*np.percentile(pixels, (99, 1)))))
            yield pixels
        for image, how in spoils:
            yield SPOILS[how](image.pixels())

    vectors, looked = seen(network, pictures(), len(chosen) + len(spoils), progress)
    fitted = np.asarray([image.split == "train" for image in chosen] + [True] * len(spoils))
    words = np.asarray([image.source.part for image in chosen] + [OTHER] * len(spoils))
    arrays, limits = made(vectors, words, fitted)
    settings = ScopeSettings(
        seen=(*PARTS, OTHER),
        backbone=backbone.version,
        least_side=LEAST_SIDE,
        least_range=LEAST_RANGE,
        low_range=round(min(ranges) / 2, 3),
        neighbours=NEIGHBOURS,
        bright_edge=_bright(np.asarray([one.edge for one in looked[: len(chosen)]]), words[: len(chosen)]),
        grain=_grain(np.asarray([one.grain for one in looked[: len(chosen)]]), words[: len(chosen)]),
        **limits,
    )
    raw = io.BytesIO()
    halves: dict[str, Any] = {name: values.astype(np.float16) for name, values in arrays.items()}
    np.savez(raw, **halves)
    files = {ARRAYS_FILE: raw.getvalue(), SETTINGS_FILE: msgspec.json.format(msgspec.json.encode(settings), indent=1)}
    return files, _fields(folder, chosen, seed, settings)


def made(
    vectors: NDArray[np.float32], words: NDArray[Any], fitted: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:
    """Arrays and limits of a gate: the probe learns from the ``fitted`` rows, the bank holds those of them that are
    images of a body part, and the limits refuse the shares above of the other rows."""
    from sklearn.linear_model import LogisticRegression

    known = fitted & (words != OTHER)
    centre, scale = vectors[known].mean(axis=0), vectors[known].std(axis=0) + 1e-3
    even = ((vectors - centre) / scale).astype(np.float64)
    axes = np.linalg.svd(even[known], full_matrices=False)[2][:AXES] / scale
    place = placed(vectors, centre, axes, np.ones(len(axes)))
    probe = LogisticRegression(C=STRENGTH, max_iter=500).fit(even[fitted], words[fitted])
    order = [list(probe.classes_).index(word) for word in (*PARTS, OTHER)]
    weights = probe.coef_[order] / scale
    arrays = {
        **{"centre": centre, "axes": axes, "spread": np.ones(len(axes)), "bank": place[known]},
        **{"weights": weights, "bias": probe.intercept_[order] - weights @ centre},
    }
    held = ~fitted
    others = probe.predict_proba(even[held])[:, list(probe.classes_).index(OTHER)]
    far = distances(place[held], place[known].astype(np.float16), NEIGHBOURS)
    limits = {
        "oddest": round(float(np.quantile(far, 1 - TOO_ODD)), 4),
        "other_from": round(max(0.5, float(np.quantile(others, 1 - TOO_OTHER))), 4),
    }
    return arrays, limits


def _bright(edges: NDArray[np.float64], words: NDArray[Any]) -> dict[str, float]:
    """By body part how much brighter than its middle an edge may be."""
    each = {part: np.quantile(edges[words == part], 1 - TOO_BRIGHT) for part in PARTS}
    return {part: round(max(0.0, float(most)), 3) for part, most in each.items()}


def _grain(grains: NDArray[np.float64], words: NDArray[Any]) -> dict[str, tuple[float, float]]:
    """By body part the least and the most grain: below is a blurred image, above a noisy one."""
    found = {part: np.quantile(grains[words == part], (TOO_SMOOTH, 1 - TOO_GRAINY)) for part in PARTS}
    return {
        part: (round(float(least) / ROOM, 5), round(float(most) * ROOM, 5)) for part, (least, most) in found.items()
    }


def _fields(folder: Path, chosen: Sequence[Image], seed: int, settings: ScopeSettings) -> dict[str, Any]:
    data = [
        Dataset(
            name=source.dataset,
            licence=source.licence,
            sha256=hashlib.sha256((folder / source.dataset / "labels.csv").read_bytes()).hexdigest(),
            rows=sum(image.source is source for image in chosen),
        )
        for source in SOURCES
    ]
    return {
        "code": __name__,
        "seed": seed,
        "data": data,
        "parameters": msgspec.to_builtins(settings) | {"axes": AXES, "strength": STRENGTH, "spoilt": SPOILT},
        "purpose": (
            "Stands before every image model: refuses what is too small, blank, without contrast, inverted, blurred, "
            "noisy, like nothing that it knows, or of another body part than the model reads. It names no finding."
        ),
        "limits": (
            "Knows brain MRI slices, frontal knee radiographs and left hands of children, each from one or two "
            "sources: a good image of another device, projection or sequence may be refused as unknown, and about 1 in "
            "100 of the same kind is.",
            "Inverted is what is brighter at its edge than in its middle; a cropped image without background around "
            "the body may be taken for one. A turned image is let in in many cases, see the tables.",
            "Blurred and noisy are told by the images of the sets, which are alike: an image of another device may be "
            "refused for its grain where a reader sees nothing wrong.",
            "It looks at pixels only; whose image it is, and which side, it cannot tell.",
            "Hands are from the RSNA challenge, whose terms are non-commercial.",
        ),
    }


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _all() -> list[str]:
    return [source.dataset for source in SOURCES]
