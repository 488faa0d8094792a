"""What a reader is shown of an image that a model read: two PNG files of one size, the picture and its heat."""

from __future__ import annotations

import functools
import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.imaging.pixels import Grey, inside

SIZE: Final = 512
"""The longer side of both pictures."""
OPAQUE: Final = 0.85
"""How much of the picture the hottest place hides at most: what lies under it must still be seen."""
QUICK: Final = 3
"""How hard PNG tries, of 9: beyond it files shrink little and take twice as long."""
STOPS: Final = (
    (0.00, (0, 0, 4)),
    (0.25, (87, 16, 110)),
    (0.50, (188, 55, 84)),
    (0.75, (249, 142, 9)),
    (1.00, (252, 255, 164)),
)
"""Dark to bright; its luminance only ever rises, so that it reads alike in grey and without colour vision."""


def upright(square: Grey, rows: int, cols: int) -> Grey:
    """A shard of an image of ``rows`` by ``cols`` without its bars: the image itself, its longer side the shard's."""
    return square[inside(rows, cols, square.shape[0])]


def preview_png(picture: Grey) -> bytes:
    """The picture in 8 bits of grey. The same picture gives the same bytes."""
    return _png(_bytes(picture), "L")


def heat_png(heat: Grey) -> bytes:
    """Heat in [0, 1] as a layer to lay over its picture: colour by heat, see-through where there is none (RGBA)."""
    return _png(np.dstack((coloured(heat), _bytes(heat * np.float32(OPAQUE)))), "RGBA")


def coloured(heat: Grey) -> NDArray[np.uint8]:
    """(rows, cols) in [0, 1] -> (rows, cols, 3): the colour of each place."""
    return _colours()[_bytes(heat)]


@functools.cache
def _colours() -> NDArray[np.uint8]:
    """The colour of each of 256 heats."""
    steps, at = np.linspace(0.0, 1.0, 256), [stop for stop, _ in STOPS]
    parts = [np.interp(steps, at, [colour[part] for _, colour in STOPS]) for part in range(3)]
    return np.asarray(np.rint(np.stack(parts, axis=-1)), np.uint8)


def _bytes(values: Grey) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), np.uint8)


def _png(values: NDArray[Any], mode: str) -> bytes:
    from PIL import Image

    made = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(values))
    if image.mode != mode:
        raise ValueError(f"a picture of mode {image.mode} where {mode} was meant")
    image.save(made, "PNG", compress_level=QUICK)
    return made.getvalue()
