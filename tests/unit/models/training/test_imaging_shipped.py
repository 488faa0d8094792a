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
    images = heads(settings.size)
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
    images, mirror = heads(settings.size), heads(settings.size)[:, :, ::-1].copy()
    assert np.allclose(asked.answers(images), asked.answers(mirror), atol=2e-3 * (100 if settings.unit else 1))
    maps, turned = asked.maps(images), asked.maps(mirror)[:, :, ::-1]
    assert np.allclose(maps, turned, atol=0.02 * np.abs(maps).max())


@pytest.mark.parametrize("name", NAMES)
def test_maps_add_up_to_what_parts_one_answer_from_another(name: str) -> None:
    _, settings, asked = shipped(name)
    images = heads(settings.size)
    sums, answers = asked.maps(images).sum(axis=(1, 2)), asked.answers(images)
    left = sums[:, 0] - answers if answers.ndim == 1 else sums - answers
    assert np.abs(left - left[0]).max() < 1e-2 * (10 if settings.unit else 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["told.kernel", "_conv_head", "_blocks.10."])
def test_without_what_was_learned_the_map_is_another(name: str, part: str) -> None:
    bundle, settings, asked = shipped(name)
    images = heads(settings.size)
    maps = asked.maps(images)
    other = Asked(scrambled(bundle.read(MODEL_FILE), part)).maps(images)
    assert alike(maps, other) < 0.7


def alike(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Mean rank correlation of maps."""

    def ranks(maps: NDArray[Any]) -> NDArray[np.float64]:
        flat = np.moveaxis(maps, 3, 1).reshape(len(maps) * maps.shape[3], -1)
        return np.asarray(flat.argsort(axis=1).argsort(axis=1), np.float64)

    pairs = zip(ranks(one), ranks(other), strict=True)
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))
