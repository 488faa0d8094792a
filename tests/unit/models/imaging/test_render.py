"""What a reader is shown: two pictures of one size that a browser can lay over each other."""

from __future__ import annotations

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.imaging.heat import laid_over, normalised, scaled
from models.imaging.pixels import resized
from models.imaging.render import SIZE, coloured, heat_png, preview_png, upright


def test_picture_and_heat_have_one_size_and_no_bars() -> None:
    image = np.tile(np.linspace(0, 1, 300, dtype=np.float32), (200, 1))
    picture = upright(resized(image, SIZE), *image.shape)
    heat = scaled(upright(resized(image, 64), *image.shape), *picture.shape)
    shown, layer = (Image.open(io.BytesIO(png)) for png in (preview_png(picture), heat_png(heat)))
    assert shown.size == layer.size == (512, 341)
    assert (shown.mode, layer.mode) == ("L", "RGBA")
    assert np.asarray(shown)[:, 500:].min() > 240
    assert np.asarray(layer)[:, :5, 3].max() < 10


def test_colours_rise_in_brightness_with_the_heat() -> None:
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[None]
    luminance = coloured(ramp)[0].astype(float) @ np.asarray([0.2126, 0.7152, 0.0722])
    assert np.all(np.diff(luminance) > 0)


def test_the_same_picture_gives_the_same_bytes() -> None:
    picture = np.random.default_rng(1).random((40, 50)).astype(np.float32)
    assert preview_png(picture) == preview_png(picture.copy())
    assert heat_png(picture) == heat_png(picture.copy())


def test_what_speaks_against_a_label_has_no_heat() -> None:
    assert normalised(-np.ones((3, 3), np.float32)).max() == 0.0
    assert normalised(np.asarray([[np.nan, 2.0]], np.float32)).tolist() == [[0.0, 1.0]]


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90))
def test_heat_is_laid_over_images_of_any_shape(rows: int, cols: int) -> None:
    heat = laid_over(np.ones((7, 7), np.float32), rows, cols, 64)
    assert heat.shape == (rows, cols)
    assert np.allclose(heat, 1.0)
