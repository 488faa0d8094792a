"""Burned-in text: found and blanked wherever it is written; noise, gradients and a lone marker are left alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from producers.burned_in import Line, lines, masked


def anatomy(seed: int, side: int = 320) -> NDArray[np.float32]:
    """A smooth field with soft noise: what an image is like without text."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    field = 0.35 + 0.25 * np.sin(5 * x + seed) * np.cos(4 * y) + rng.normal(0, 0.02, (side, side))
    clipped: NDArray[np.float32] = np.clip(field, 0, 1).astype(np.float32)
    return clipped


def written(image: NDArray[np.float32], text: str, at: tuple[int, int], size: int, ink: int) -> NDArray[np.float32]:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray((image * 255).astype(np.uint8))
    ImageDraw.Draw(picture).text(at, text, fill=ink, font=ImageFont.load_default(size=size))
    made: NDArray[np.float32] = np.asarray(picture, dtype=np.float32) / np.float32(255)
    return made


@pytest.mark.parametrize("size", [16, 20, 24])
@pytest.mark.parametrize("ink", [255, 0])
@pytest.mark.parametrize("text", ["ZORVEX QUAX 1971", "MRN 88372610"])
def test_a_line_of_text_is_found_where_it_stands_and_blanked(text: str, ink: int, size: int) -> None:
    ground = anatomy(1) if ink == 255 else 1 - anatomy(1)
    image = written(ground, text, (20, 200), size, ink)
    found = lines(image)
    assert found
    assert all(195 <= line.top < line.bottom <= 200 + 2 * size for line in found)
    assert sum(line.letters for line in found) >= 5
    assert lines(masked(image, found)) == []


@pytest.mark.parametrize("seed", range(12))
def test_there_is_no_text_in_what_is_only_smooth_and_noisy(seed: int) -> None:
    assert lines(anatomy(seed)) == []


def test_a_lone_marker_stays() -> None:
    assert lines(written(anatomy(3), "L", (20, 20), 28, 255)) == []


def test_blanking_leaves_the_original_and_the_rest_of_the_image_as_they_are() -> None:
    pixels = np.arange(100 * 100 * 3, dtype=np.uint16).reshape(100, 100, 3)
    before = pixels.copy()
    blank = masked(pixels, [Line(10, 20, 20, 60, 5)])
    assert (pixels == before).all()
    assert (blank[10:20, 20:60] == pixels.min()).all()
    assert (blank[40:] == before[40:]).all()


def test_an_image_of_noise_alone_ends_quickly_and_without_lines() -> None:
    dice = random.Random(5)
    noise = np.array([dice.random() for _ in range(256 * 256)], dtype=np.float32).reshape(256, 256)
    assert lines(noise) == []
