"""What the scope gate is worth: whom it lets in who should be, and what it keeps out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from models.imaging.backbone import NAME as BACKBONE
from models.imaging.backbone import Backbone
from models.imaging.gate import Gate, Looks, Scope
from models.imaging.pixels import Grey, read, resized
from models.registry import Bundle, Registry
from models.training import imaging_bone, imaging_brain, knee_joint
from models.training.evaluation import Evaluation, Interval, Table, defined
from models.training.imaging_robustness import shocked
from models.training.intervals import mean
from models.training.recipes import Progress, Say
from models.training.scope import PARTS, SEED, SPOILS, Image, first, images, seen, spoilt

SPOILT: Final = 25
WORSE: Final = {"blurred": "half the size and back", "noisy": "noise of 0.05"}
"""By changes of the robustness tables of the models, at the size that a body part's model reads."""
SIDES: Final = {"brain": imaging_brain.SIZE, "knee": knee_joint.SIZE, "hand": imaging_bone.SIZE}
MADE: Final = 25
"""Of each kind of made-up picture."""


def evaluate(folder: Path, bundle: Bundle, split: str | None, say: Say, progress: Progress) -> Evaluation:
    """On the images of a split (``test`` unless told), each asked for as what it is and as what it is not, on spoilt
    ones, on DICOM files of other kinds (``dicom`` in the folder, if there) and on made-up pictures."""
    part = split or "test"
    chosen = images(folder, (part,))
    spoils = [*spoilt(chosen, SPOILT), *((image, how) for image in first(chosen, SPOILT) for how in WORSE)]
    strange = [*_dicom(folder), *_made()]
    backbone = Registry().load(BACKBONE, str(bundle.manifest.parameters["backbone"]))
    gate, network = Gate(bundle, backbone, threads=2), Backbone(backbone, threads=2)
    say(f"{len(chosen):,} images, {len(spoils)} spoilt ones, {len(strange)} of other kinds")

    def pictures() -> Iterator[Grey]:
        for image in chosen:
            yield image.pixels()
        for image, how in spoils:
            yield SPOILS[how](image.pixels()) if how in SPOILS else _worse(image, how)
        yield from (picture for _, picture in strange)

    vectors, looked = seen(network, pictures(), len(chosen) + len(spoils) + len(strange), progress)
    ours = vectors[: len(chosen)]
    metrics, rows = _known(gate, chosen, ours, looked[: len(chosen)])
    kinds = [f"{how} {image.source.part}" for image, how in spoils] + [kind for kind, _ in strange]
    rest = gate.scopes(vectors[len(chosen) :], seen=looked[len(chosen) :])
    refused = np.asarray([one.refusal is not None for one in rest])
    for at, picture in enumerate(picture for _, picture in strange):
        refused[len(spoils) + at] |= _unfit(gate, picture) is not None
    further, negatives = _strange(kinds, refused)
    return Evaluation(
        model=bundle.name,
        version=bundle.version,
        sha256=bundle.sha256,
        split=part,
        n=len(chosen),
        metrics=metrics | further,
        tables=(
            Table(title="Images of the sets", columns=("set", "images", "let in, 95 %", "mistaken"), rows=tuple(rows)),
            Table(title="What should not be let in", columns=("kind", "images", "kept out, 95 %"), rows=negatives),
        ),
        notes=(
            "`let in` is the share of images that the model for their body part gets to see; the rest are false "
            "refusals. `wrong body part` asks for every image as each of the two things that it is not.",
            "DICOM files are test files of other kinds (ultrasound, abdominal and chest images, dose maps): none "
            "was used to make the gate. Mirror images are no fault to it.",
        ),
    )


def _known(
    gate: Gate, chosen: Sequence[Image], vectors: NDArray[np.float32], looked: Sequence[Looks]
) -> tuple[dict[str, Interval], list[tuple[str, int, str, int]]]:
    """Let in, by set; and the wrong body parts that are caught."""
    groups = np.asarray([image.group for image in chosen])
    parts = [image.source.part for image in chosen]
    free = gate.scopes(vectors, seen=looked)
    right = np.asarray([_passes(one, part) for one, part in zip(free, parts, strict=True)])
    metrics: dict[str, Interval | None] = {"accuracy_let_in": mean(right, groups)}
    rows = []
    for name in dict.fromkeys(image.source.dataset for image in chosen):
        mine = np.asarray([image.source.dataset == name for image in chosen])
        share = metrics[f"accuracy_let_in_{name}"] = mean(right[mine], groups[mine])
        mistaken = sum(
            one.refusal is None and one.body_part != part
            for one, part, its in zip(free, parts, mine, strict=True)
            if its
        )
        rows.append((name, int(mine.sum()), _said(share), mistaken))
    caught, whose = [], []
    for wanted in PARTS:
        others = np.asarray([part != wanted for part in parts])
        theirs = [one for one, other in zip(looked, others, strict=True) if other]
        caught += [one.refusal is not None for one in gate.scopes(vectors[others], wanted, theirs)]
        whose += groups[others].tolist()
    metrics["recall_wrong_body_part"] = mean(np.asarray(caught), whose)
    return defined(metrics), rows


def _strange(kinds: Sequence[str], refused: NDArray[np.bool_]) -> tuple[dict[str, Interval], tuple[Any, ...]]:
    """Kept out, by kind."""
    metrics: dict[str, Interval | None] = {}
    rows = []
    for kind in dict.fromkeys(kinds):
        mine = np.asarray([one == kind for one in kinds])
        share = metrics[f"recall_{kind.replace(' ', '_')}"] = mean(refused[mine], [str(at) for at in range(mine.sum())])
        rows.append((kind, int(mine.sum()), _said(share)))
    return defined(metrics), tuple(rows)


def _worse(image: Image, how: str) -> Grey:
    """As a model would see it, and worse."""
    shard = resized(image.pixels(), SIDES[image.source.part])
    return np.asarray(shocked(WORSE[how], shard[None], SEED)[0])


def _passes(one: Scope, part: str) -> bool:
    return one.refusal is None and one.body_part == part


def _unfit(gate: Gate, picture: Grey) -> Scope | None:
    rows, cols = picture.shape
    low, high = np.percentile(picture, (1, 99))
    return gate.unfit(rows, cols, float(low), float(high))


def _said(share: Interval | None) -> str:
    return "–" if share is None else f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"


def _dicom(folder: Path) -> Iterator[tuple[str, Grey]]:
    """Pictures of DICOM files of other kinds; a head or a brain is left out, whatever the gate makes of it."""
    home = folder / "dicom"
    for path in sorted(path for path in home.rglob("*") if path.is_file()) if home.is_dir() else []:
        try:
            picture = read(path.read_bytes(), path.name)
        except Poison:
            continue
        if picture.dataset is None or "HEAD" in _about(picture.dataset) or "BRAIN" in _about(picture.dataset):
            continue
        yield "DICOM of other kinds", picture.pixels


def _about(dataset: Any) -> str:
    said = [str(dataset.get(name, "")) for name in ("BodyPartExamined", "StudyDescription", "SeriesDescription")]
    return " ".join(said).upper()


def _made() -> Iterator[tuple[str, Grey]]:
    """Noise, gradients, blots, text, photographs, of the sizes that images have."""
    from PIL import Image as Pictures
    from PIL import ImageDraw
    from scipy.ndimage import gaussian_filter
    from sklearn.datasets import load_sample_images

    chance = np.random.default_rng(SEED)
    for _ in range(MADE):
        rows, cols = (int(one) for one in chance.integers(150, 400, 2))
        yield "noise", chance.random((rows, cols)).astype(np.float32)
        slope = np.add.outer(np.linspace(0, chance.random(), rows), np.linspace(0, 1, cols))
        yield "gradient", (slope / slope.max()).astype(np.float32)
        blots = gaussian_filter(chance.normal(size=(rows, cols)), chance.uniform(2, 30))
        yield "blots", ((blots - blots.min()) / np.ptp(blots)).astype(np.float32)
        page = Pictures.new("L", (cols, rows), int(chance.choice([0, 255])))
        draw = ImageDraw.Draw(page)
        for top in range(5, rows - 10, int(chance.integers(10, 24))):
            draw.text((5, top), "".join(chance.choice(list("abcdefgh ijklmn 0123456789"), cols // 6)), fill=128)
        yield "text", (np.asarray(page) / 255).astype(np.float32)
    for photograph in load_sample_images().images:
        whole = (photograph @ np.asarray((0.299, 0.587, 0.114)) / 255).astype(np.float32)
        for _ in range(MADE // 2):
            top, left = (int(chance.integers(0, size - 224)) for size in whole.shape)
            yield "photograph", whole[top : top + 224, left : left + 224]
