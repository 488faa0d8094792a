"""Where a model looked: the map of its last convolution, normalised and laid over the image that was read."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.imaging.pixels import Grey, inside

FLAT: Final = 1e-9


def normalised(contributions: NDArray[np.float32]) -> Grey:
    """The positive part of a map, its highest place 1. All 0 where nothing spoke for the label.

    >>> normalised(np.array([[-3.0, 1.0], [2.0, 0.0]], np.float32)).tolist()
    [[0.0, 0.5], [1.0, 0.0]]
    """
    positive = np.maximum(np.nan_to_num(contributions.astype(np.float64)), 0.0)
    top = float(positive.max(initial=0.0))
    return np.asarray(positive / top if top > FLAT else np.zeros_like(positive), np.float32)


def laid_over(heat: Grey, rows: int, cols: int, size: int) -> Grey:
    """A map of what ``models.imaging.pixels.resized`` made in ``size`` as heat of the image: (rows, cols) in [0, 1].

    The map covers the square with its bars; what lies over the bars is cut off. Between places it is bilinear.
    """
    square = scaled(heat, size, size)
    down, across = inside(rows, cols, size)
    return np.clip(scaled(square[down, across], rows, cols), 0.0, 1.0)


def scaled(values: Grey, rows: int, cols: int) -> Grey:
    """As (rows, cols), bilinear; narrower than before it is averaged. What has that shape stays as it is."""
    from PIL import Image

    if values.shape == (rows, cols):
        return values
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.array(image.resize((cols, rows), Image.Resampling.BILINEAR), np.float32)
