"""Bytes of an image file to one grey array in [0, 1]: the same for training, for the lake and for live images.

DICOM, JPEG, PNG and TIFF are told apart by their first bytes, never by name. What is damaged, too large or no image is
Poison with one of ``REASONS``; no text of the file gets into the message, for a header may name a person.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison

Grey = NDArray[np.float32]

MAX_BYTES: Final = 256 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000
"""Of one frame; the largest mammograms have 28 million."""
LOW_PERCENT, HIGH_PERCENT = 0.5, 99.5
"""Where no window is told: these percentiles become 0 and 1."""
FLAT: Final = 1e-6
LUMA: Final = (0.299, 0.587, 0.114)
"""ITU-R BT.601: what red, green and blue weigh in grey."""
REASONS: Final = (
    "empty",
    "not_an_image",
    "too_large",
    "truncated",
    "unreadable",
    "no_pixels",
    "unsupported_transfer_syntax",
    "undecodable",
    "blank",
)


@dataclass(frozen=True)
class Picture:
    """One image: ``pixels`` are rows by columns, float32 in [0, 1], dark to bright; the rest tells of the file.

    ``frames`` counts frames or pages, of which ``pixels`` is the middle one. ``bits`` are those stored a sample.
    ``spacing_mm`` is between rows and between columns. ``dataset`` is pydicom's, None for pictures.
    """

    pixels: Grey
    format: str
    frames: int
    bits: int
    photometric: str
    transfer_syntax: str | None = None
    sop_class: str | None = None
    spacing_mm: tuple[float, float] | None = None
    dataset: Any = None


def read(content: bytes, name: str | None = None) -> Picture:
    """The picture in these bytes; the same bytes give the same array. ``name`` stands in messages only.

    Raises Poison, its ``reason`` one of REASONS.
    """
    where = name or "$"
    if not content:
        raise Poison("empty", "the file has no bytes", where)
    if len(content) > MAX_BYTES:
        raise Poison("too_large", f"{len(content)} bytes; {MAX_BYTES} are the most", where)
    kind = kind_of(content)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            if kind == "dicom":
                from models.imaging import dicom

                return dicom.picture(content, told)
            if kind is not None:
                from models.imaging import pictures

                return pictures.picture(content, kind)
        except Poison as poison:
            raise Poison(poison.reason, poison.detail, where) from poison
        except MemoryError as much:
            raise Poison("too_large", "decoding it takes more memory than it may have", where) from much
    raise Poison("not_an_image", "its first bytes are those of no DICOM, JPEG, PNG or TIFF file", where)


def kind_of(content: bytes) -> str | None:
    """dicom, jpeg, png or tiff by the first bytes, or None. A file that is DICOM and TIFF at once is DICOM.

    >>> kind_of(b"\\xff\\xd8\\xff\\xe0")
    'jpeg'
    """
    if content[128:132] == b"DICM":
        return "dicom"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    # a DICOM dataset without preamble begins with an element of group 0002 or 0008, either byte order
    if len(content) > 8 and content[:2] in (b"\x02\0", b"\0\x02", b"\x08\0", b"\0\x08") and 0 in content[2:4]:
        return "dicom"
    return None


def resized(pixels: Grey, size: int) -> Grey:
    """``size`` by ``size``: the longer side fills it, the shorter is centred between black bars; nothing is stretched.

    A triangle filter as wide as the scale (antialiased bilinear, what Keras calls ``antialias=True``) makes nothing
    brighter or darker than it was. An image of that size stays as it is, bit for bit.
    """
    from PIL import Image

    rows, cols = pixels.shape
    down, across = inside(rows, cols, size)
    inner = (down.stop - down.start, across.stop - across.start)
    made = np.zeros((size, size), np.float32)
    scaled = pixels
    if inner != (rows, cols):
        image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
        scaled = np.asarray(image.resize((inner[1], inner[0]), Image.Resampling.BILINEAR), np.float32)
    made[down, across] = np.clip(scaled, 0.0, 1.0)
    return made


def inside(rows: int, cols: int, size: int) -> tuple[slice, slice]:
    """Where an image of that shape lies in what ``resized`` makes of it: rows and columns, the rest is bars.

    >>> inside(40, 80, 20)
    (slice(5, 15, None), slice(0, 20, None))
    """
    scale = size / max(rows, cols)
    high, wide = max(1, round(rows * scale)), max(1, round(cols * scale))
    top, left = (size - high) // 2, (size - wide) // 2
    return slice(top, top + high), slice(left, left + wide)


def packed(pixels: Grey) -> bytes:
    """As it stands in a shard: float32, little-endian, row by row."""
    return pixels.astype("<f4").tobytes()


def stretched(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> Grey:
    """Values of any range in [0, 1] by their percentiles, over ``valid`` ones only; the others become 0.

    Raises Poison ``blank`` when all are one value.
    """
    array = values.astype(np.float64)
    usable = np.isfinite(array) if valid is None else np.isfinite(array) & valid
    seen = array[usable]
    if seen.size == 0:
        raise Poison("blank", "no pixel has a value")
    low, high = np.percentile(seen, (LOW_PERCENT, HIGH_PERCENT))
    if high - low <= FLAT * max(1.0, abs(high)):
        low, high = seen.min(), seen.max()
    if high - low <= FLAT * max(1.0, abs(high)):
        raise Poison("blank", "all pixels have one value")
    made = np.where(usable, (np.where(usable, array, low) - low) / (high - low), 0.0)
    return np.asarray(np.clip(made, 0.0, 1.0), np.float32)


def grey(colours: NDArray[Any], brightest: float) -> Grey:
    """Rows by columns by red, green, blue, of 0 to ``brightest``, in grey."""
    weighed = colours[..., :3].astype(np.float64) @ np.asarray(LUMA)
    return np.asarray(np.clip(weighed / brightest, 0.0, 1.0), np.float32)


def not_blank(pixels: Grey) -> Grey:
    """The same. Raises Poison ``blank`` when all pixels are alike."""
    if float(pixels.max()) - float(pixels.min()) <= FLAT:
        raise Poison("blank", "all pixels have one value")
    return pixels


def within_bounds(rows: int, cols: int) -> None:
    """Raises Poison for a frame without pixels or with more than MAX_PIXELS: asked before anything is decoded."""
    if rows < 1 or cols < 1:
        raise Poison("no_pixels", f"{rows} rows by {cols} columns")
    if rows * cols > MAX_PIXELS:
        raise Poison("too_large", f"{rows} rows by {cols} columns; {MAX_PIXELS} pixels are the most")


@dataclass(frozen=True)
class Statistics:
    """Intensities of one normalised image: mean, standard deviation, 1st and 99th percentile, entropy in bits."""

    mean: float
    std: float
    p01: float
    p99: float
    entropy: float


def statistics(pixels: Grey) -> Statistics:
    """Of all pixels; the entropy is that of a histogram of 256 bins over [0, 1].

    >>> statistics(np.array([[0.0, 1.0]], np.float32)).entropy
    1.0
    """
    values = pixels.astype(np.float64)
    low, high = np.percentile(values, (1, 99))
    counts = np.histogram(values, bins=256, range=(0.0, 1.0))[0]
    shares = counts[counts > 0] / counts.sum()
    entropy = abs(float(-(shares * np.log2(shares)).sum()))
    return Statistics(float(values.mean()), float(values.std()), float(low), float(high), entropy)
