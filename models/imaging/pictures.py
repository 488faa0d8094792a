"""JPEG, PNG and TIFF to grey in [0, 1]."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from models.imaging.pixels import Grey, Picture, grey, not_blank, stretched, within_bounds

BITS: Final = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I;16N": 16, "I": 32, "F": 32}
ODD: Final = (OSError, ValueError, LookupError, TypeError, ArithmeticError, SyntaxError, RuntimeError, AttributeError)


def picture(content: bytes, kind: str) -> Picture:
    """The picture in a file of this kind, turned as its EXIF says; of several pages the middle one.

    Samples of 8 bits are divided by 255; wider ones and floats are stretched between their percentiles, for a PNG of
    16 bits often holds 12. A pyramid of pages of many sizes is its first page. Raises Poison.
    """
    with _page(content, kind) as (image, frames):
        photometric, bits = image.mode, BITS.get(image.mode, 8)
        pixels = _grey(image)
    return Picture(not_blank(pixels), kind, frames, bits, photometric)


def samples(content: bytes, kind: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The samples of what ``picture`` shows: rows by columns in grey, rows by columns by 3 in colour. Raises Poison.

    16 bits stay what they are; what is wider or has no bounds is spread over 16. What is transparent is black.
    """
    with _page(content, kind) as (image, _frames):
        turned = _turned(image)
        if turned.mode in ("1", "L"):
            return np.asarray(turned.convert("L"), np.uint8)
        if turned.mode.startswith("I;16"):
            return np.asarray(turned).astype(np.uint16)
        if turned.mode in BITS:
            return np.asarray(np.rint(stretched(np.asarray(turned)) * 65535), np.uint16)
        if not _sees_through(turned):
            return np.asarray(turned.convert("RGB"), np.uint8)
        array = np.asarray(turned.convert("RGBA"), np.uint16)
        return np.asarray(array[..., :3] * array[..., 3:] // 255, np.uint8)


@contextlib.contextmanager
def _page(content: bytes, kind: str) -> Iterator[tuple[Any, int]]:
    """The page that is shown, within bounds, and how many there are; what goes wrong with it is Poison."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=[kind.upper()]) as image:
            within_bounds(image.height, image.width)
            yield image, _paged(image)
    except Image.DecompressionBombError as bomb:
        raise Poison("too_large", "its header asks for more pixels than may be") from bomb
    except (*ODD, struct.error, zlib.error, EOFError) as wrong:
        raise _poison(content, kind, wrong) from wrong


def _paged(image: Any) -> int:
    """How many pages there are; the middle one is turned up where it is of the first one's size."""
    frames = int(getattr(image, "n_frames", 1))
    first = image.size
    if frames > 1:
        image.seek(frames // 2)
        if image.size != first:
            image.seek(0)
        within_bounds(image.height, image.width)
    return frames


def _grey(image: Any) -> Grey:
    turned = _turned(image)
    if turned.mode == "1" or turned.mode == "L":
        return np.asarray(turned.convert("L"), np.float32) / np.float32(255)
    if turned.mode in BITS:
        return stretched(np.asarray(turned))
    if _sees_through(turned):
        array = np.asarray(turned.convert("RGBA"))
        return grey(array[..., :3], 255.0) * (array[..., 3].astype(np.float32) / np.float32(255))
    return grey(np.asarray(turned.convert("RGB")), 255.0)


def _turned(image: Any) -> Any:
    from PIL import ImageOps

    image.load()
    return ImageOps.exif_transpose(image)


def _sees_through(image: Any) -> bool:
    return image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info


def _poison(content: bytes, kind: str, wrong: BaseException) -> Poison:
    text = str(wrong).lower()
    if "truncated" in text or "eof" in text or isinstance(wrong, EOFError) or _cut(content, kind):
        return Poison("truncated", f"the {kind} file ends before its picture does")
    return Poison("undecodable", f"the {kind} file cannot be decoded ({type(wrong).__name__})")


def _cut(content: bytes, kind: str) -> bool:
    if kind == "png":
        return b"IEND" not in content[-64:]
    return kind == "jpeg" and b"\xff\xd9" not in content[-4096:]
