"""Which images are one picture: by a perceptual hash first, by correlation then; turned, mirrored, inverted or not.

A picture becomes 64 by 64 numbers of local contrast, so that brightness, gamma, margins and a marker in a corner count
for little. Its hash are the signs of the lowest frequencies of their cosine transform; a mirror image only flips signs
there and a turn transposes, so that all eight positions cost one transform.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.imaging.pixels import Grey

SIZE: Final = 64
FREQUENCIES: Final = 16
"""Of each axis: 256 bits, of which the mean is none."""
BITS: Final = FREQUENCIES * FREQUENCIES - 1
SIEVE: Final = 72
"""Bits in which two hashes may differ for the pictures to be looked at: a recompressed or brightened copy differs in
fewer than 40, two images of different patients in about 100."""
TWIN: Final = 0.94
"""Correlation from which two images are one picture: copies that were recompressed, resized, brightened or inverted
have 0.95 and more, no two images of different patients in four sets reach 0.93."""
ALIKE: Final = 0.88
"""Correlation from which they may be of one patient: neighbouring slices, two visits."""
_FLAT: Final = 0.03
_AT_ONCE: Final = 256

Floats = NDArray[np.float32]
Packed = NDArray[np.uint64]


@dataclass(frozen=True)
class Pair:
    """Two images by their numbers, and how alike they are: 1 is the same picture."""

    one: int
    other: int
    alike: float


def contrast(pixels: Grey) -> Floats:
    """The image stretched to 64 by 64, each place less its surroundings and over their spread; of unit length."""
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    image = Image.fromarray(np.ascontiguousarray(pixels, np.float32))
    small = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR), np.float32)
    around = SIZE / 24
    detail = small - gaussian_filter(small, around)
    spread = np.sqrt(gaussian_filter(detail * detail, around))
    even = gaussian_filter(detail, 0.8) / (spread + _FLAT)
    even -= even.mean()
    return np.asarray(even / max(float(np.linalg.norm(even)), 1e-6), np.float32)


def pairs(first: Floats, second: Floats, least: float = ALIKE) -> list[Pair]:
    """Every pair of one of ``first`` and one of ``second`` that correlates by ``least`` or more in any position, the
    most alike first. Both are (n, 64, 64), as ``contrast`` makes them.

    A pair is looked at only where the hashes are within SIEVE of one another.
    """
    found: dict[tuple[int, int], float] = {}
    hashes = _packed(_spectrum(second))
    for turned, spectrum in zip(_positions(first), _turned(_spectrum(first)), strict=True):
        for sign in (1.0, -1.0):
            for one, others in _near(_packed(sign * spectrum), hashes):
                alike = sign * (second[others].reshape(len(others), -1) @ turned[one].ravel())
                for other, value in zip(others[alike >= least], alike[alike >= least], strict=True):
                    key = (one, int(other))
                    found[key] = max(found.get(key, 0.0), float(value))
    return sorted((Pair(*key, alike) for key, alike in found.items()), key=lambda pair: (-pair.alike, pair.one))


def _spectrum(contrasts: Floats) -> Floats:
    from scipy.fft import dctn

    made = [
        np.asarray(dctn(contrasts[at : at + _AT_ONCE], axes=(1, 2), norm="ortho"))[:, :FREQUENCIES, :FREQUENCIES]
        for at in range(0, len(contrasts), _AT_ONCE)
    ]
    return np.concatenate(made) if made else np.zeros((0, FREQUENCIES, FREQUENCIES), np.float32)


def _positions(images: Floats) -> Iterator[Floats]:
    """The eight positions: as it is, mirrored left to right, upside down, both; then the same of its transpose."""
    for each in (images, images.transpose(0, 2, 1)):
        yield each
        yield each[:, :, ::-1]
        yield each[:, ::-1, :]
        yield each[:, ::-1, ::-1]


def _turned(spectra: Floats) -> Iterator[Floats]:
    """The spectra of those positions: a mirror changes the sign of every odd frequency along its axis."""
    odd = np.where(np.arange(FREQUENCIES) % 2, -1.0, 1.0).astype(np.float32)
    for each in (spectra, spectra.transpose(0, 2, 1)):
        yield each
        yield each * odd
        yield each * odd[:, None]
        yield each * odd * odd[:, None]


def _packed(spectra: Floats) -> Packed:
    """(n, 4) words: the signs, without that of the mean."""
    signs = spectra.reshape(len(spectra), -1) > 0
    signs[:, 0] = False
    return np.packbits(signs, axis=1).view(np.uint64)


def _near(first: Packed, second: Packed) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Of each of ``first`` the numbers of those of ``second`` whose hash is near."""
    for one, code in enumerate(first):
        near = np.flatnonzero(np.bitwise_count(second ^ code).sum(axis=1) <= SIEVE)
        if len(near):
            yield one, near


def contrasts(images: Iterable[Grey]) -> Floats:
    """``contrast`` of each."""
    made: list[Any] = [contrast(one) for one in images]
    return np.stack(made) if made else np.zeros((0, SIZE, SIZE), np.float32)
