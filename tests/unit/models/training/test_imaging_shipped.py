"""The shipped image models: their settings, their maps, and that the maps show what was learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.imaging.settings import MODEL_FILE, ImageSettings
from models.registry import Bundle, Registry
from models.training.imaging_asking import Asked, settings_of

NAMES = ("brain_tumour", "bone_age")


def shipped(name: str) -> tuple[Bundle, ImageSettings, Asked]:
    bundle = Registry().load(name, "champion")
    return bundle, settings_of(bundle), Asked.of(bundle)


def heads(side: int) -> NDArray[np.float32]:
    """Three ovals with something in them, bright on black as images of bodies are."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    chance = np.random.default_rng(2)
    made = []
    for wide in (0.3, 0.35, 0.4):
        oval = (x / wide) ** 2 + (y / 0.42) ** 2 < 1
        spot = np.exp(-((x - 0.1) ** 2 + (y + wide - 0.3) ** 2) / 0.004)
        made.append(np.where(oval, 0.35 + 0.4 * spot + chance.normal(0, 0.03, x.shape), 0))
    return np.stack(made).clip(0, 1).astype(np.float32)


def hands(side: int) -> NDArray[np.float32]:
    """A palm, a wrist and five fingers of bones with gaps between them, three sizes."""
    from PIL import Image, ImageDraw

    made = []
    for large in (0.8, 0.9, 1.0):
        image = Image.new("L", (side, side), 8)
        draw = ImageDraw.Draw(image)
        unit = side * large / 20
        draw.ellipse([side / 2 - 4 * unit, side / 2 - unit, side / 2 + 4 * unit, side / 2 + 6 * unit], fill=90)
        draw.rectangle([side / 2 - 2 * unit, side / 2 + 5 * unit, side / 2 + 2 * unit, side], fill=110)
        for finger in range(5):
            middle, length = side / 2 + (finger - 2) * 1.8 * unit, (4, 6.5, 7.5, 6.5, 5)[finger]
            for bone in range(3):
                top = side / 2 - unit * (length - bone * length / 3)
                box = [middle - 0.5 * unit, top, middle + 0.5 * unit, top + unit * (length / 3 - 0.4)]
                draw.rectangle(box, fill=190, outline=235)
        made.append(np.asarray(image, np.float32) / 255)
    noise = np.random.default_rng(2).normal(0, 0.01, (3, side, side))
    return (np.stack(made) + noise).clip(0, 1).astype(np.float32)


def shown(settings: ImageSettings) -> NDArray[np.float32]:
    """Images of the kind that the model expects, as far as they can be drawn."""
    return hands(settings.size) if settings.body_part == "hand" else heads(settings.size)


def scrambled(graph: bytes, part: str) -> bytes:
    """The graph with the numbers of every constant whose name has this part in another order."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    chance = np.random.default_rng(7)
    hit = 0
    for constant in model.graph.initializer:
        if part in constant.name:
            values = numpy_helper.to_array(constant)
            constant.CopyFrom(
                numpy_helper.from_array(chance.permuted(values.ravel()).reshape(values.shape), constant.name)
            )
            hit += 1
    assert hit, part
    raw: bytes = model.SerializeToString()
    return raw


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_says_what_it_takes_and_is_small(name: str) -> None:
    bundle, settings, asked = shipped(name)
    assert len(bundle.read(MODEL_FILE)) < 22_000_000
    assert settings.caveats
    assert bundle.manifest.limits
    images = shown(settings)
    answers = asked.answers(images, np.asarray([0, 1, 0.5], np.float32))
    if settings.kind == "classes":
        assert answers.shape == (3, len(settings.labels))
        assert set(settings.positive) < set(settings.labels)
        assert 0 < settings.threshold <= 0.5
        assert 0 <= settings.unsure_below < 1
    else:
        assert answers.shape == (3,)
        assert settings.unit == "months"
        assert settings.half_width is not None
        assert 5 < settings.half_width < 40


@pytest.mark.parametrize("name", NAMES)
def test_the_same_is_said_of_a_mirror_image_with_the_map_turned(name: str) -> None:
    _, settings, asked = shipped(name)
    images, mirror = shown(settings), shown(settings)[:, :, ::-1].copy()
    assert np.allclose(asked.answers(images), asked.answers(mirror), atol=2e-3 * (100 if settings.unit else 1))
    maps, turned = asked.maps(images), asked.maps(mirror)[:, :, ::-1]
    assert np.allclose(maps, turned, atol=0.02 * np.abs(maps).max())


@pytest.mark.parametrize("name", NAMES)
def test_maps_add_up_to_what_parts_one_answer_from_another(name: str) -> None:
    _, settings, asked = shipped(name)
    images = shown(settings)
    sums, answers = asked.maps(images).sum(axis=(1, 2)), asked.answers(images)
    left = sums[:, 0] - answers if answers.ndim == 1 else sums - answers
    assert np.abs(left - left[0]).max() < 1e-2 * (10 if settings.unit else 1)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("brain_tumour", "told.kernel"),
        ("brain_tumour", "_conv_head"),
        ("brain_tumour", "_blocks.10."),
        ("bone_age", "_conv_head"),
        ("bone_age", "_blocks.15."),
    ],
)
def test_without_what_was_learned_the_map_is_another(name: str, part: str) -> None:
    bundle, settings, asked = shipped(name)
    images = shown(settings)
    maps = asked.maps(images)
    other = Asked(scrambled(bundle.read(MODEL_FILE), part)).maps(images)
    assert alike(maps, other) < 0.7


def alike(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Mean rank correlation of maps over the places at which anything is seen: black borders are alike in any map."""
    found = []
    for a, b in zip(np.moveaxis(one, 3, 1), np.moveaxis(other, 3, 1), strict=True):
        for x, y in zip(a.reshape(len(a), -1), b.reshape(len(b), -1), strict=True):
            seen = (np.abs(x) > 1e-6) | (np.abs(y) > 1e-6)
            found.append(np.corrcoef(x[seen].argsort().argsort(), y[seen].argsort().argsort())[0, 1])
    return float(np.mean(found))
