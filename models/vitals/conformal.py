"""How far a ward's forecasts can be trusted: intervals that learn from every forecast that comes true, and live skill.

One ``Book`` a ward, pooled over its beds. It starts where the validation patients left it, and is a pure function of
what has come true, whatever the order of beds: misses are counted and errors summed in whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from models.vitals.history import CHANNELS

HORIZONS: Final = 4
WIDTH: Final = len(CHANNELS)
TAIL: Final = 0.05
"""Nominal share of the truth below the lowest quantile, and above the highest."""
STEP: Final = 0.02
"""Logarithm of the stretch added for a miss; a hit takes ``TAIL`` of it back."""
BOUNDS: Final = (0.25, 20.0)
ENOUGH: Final = 50
"""So many forecasts must have come true before live skill is told or acted on."""
PRIOR: Final = 100.0
"""The skill found in validation counts as so many forecasts of this ward."""
KEEP: Final = 0.5 ** (1 / 500)
"""What has come true counts half after 500 further ones."""
RETURN: Final = 0.005
"""Where persistence speaks, the network is heard again from this skill on."""
NETWORK: Final = 0
PERSISTENCE: Final = 1
_VERSION: Final = 1

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]


class Start(NamedTuple):
    """Where the book of one head begins, from validation: ``skill`` (6, 4); ``stretch`` (2 tails, 6, 4) of the network.

    ``floor`` (6, 4): no interval is reckoned narrower than this on either side before it is stretched, in units.
    ``offsets`` (4, 6, 4): what is added to the last known value for levels .05, .25, .75, .95 of persistence.
    """

    skill: Floats
    stretch: Floats
    floor: Floats
    offsets: Floats

    @classmethod
    def read(cls, given: Mapping[str, Any], where: str) -> Start:
        """From a manifest's parameters. Raises Poison naming what is not as expected."""
        found = []
        for name, shape in zip(cls._fields, ((), (2,), (), (4,)), strict=True):
            try:
                values = np.array(given[name], np.float64)
            except (KeyError, TypeError, ValueError) as wrong:
                raise Poison("bad_model", f"{name} is missing or no table: {wrong}", f"{where}.{name}") from wrong
            if values.shape != (*shape, WIDTH, HORIZONS) or not np.isfinite(values).all():
                expected = (*shape, WIDTH, HORIZONS)
                raise Poison("bad_model", f"{name} is {values.shape}, expected {expected}, finite", f"{where}.{name}")
            found.append(values)
        return cls(*found)


class Book(NamedTuple):
    """What one ward knows of one head. All but ``stretch`` are (6, 4); ``stretch`` is (2 engines, 2 tails, 6, 4).

    ``came``: how many forecasts have come true. ``error`` and ``naive``: their absolute errors and those of
    persistence, older ones fading; ``fallen``: persistence speaks.
    """

    stretch: Floats
    came: Floats
    error: Floats
    naive: Floats
    fallen: Flags


_CELLS: Final = WIDTH * HORIZONS
SIZE: Final = _CELLS * (4 * 8 + 3 * 8 + 1)
"""Bytes of a packed book."""


def opened(start: Start, scale: Floats) -> Book:
    """The book of a ward in which nothing has come true yet. ``scale`` (6, 4): a usual error of persistence."""
    stretch = np.ones((2, 2, WIDTH, HORIZONS))
    stretch[NETWORK] = start.stretch
    naive = PRIOR * scale
    return Book(
        stretch, np.zeros((WIDTH, HORIZONS)), naive * (1 - start.skill), naive, np.zeros((WIDTH, HORIZONS), bool)
    )


def packed(book: Book) -> bytes:
    """``SIZE`` bytes."""
    return b"".join(
        (
            book.stretch.astype("<f8").tobytes(),
            book.came.astype("<f8").tobytes(),
            book.error.astype("<f8").tobytes(),
            book.naive.astype("<f8").tobytes(),
            book.fallen.astype("u1").tobytes(),
        )
    )


def unpacked(raw: bytes) -> Book:
    """The book in ``SIZE`` bytes."""
    numbers = np.frombuffer(raw, "<f8", _CELLS * 7).reshape(7, WIDTH, HORIZONS)
    fallen = np.frombuffer(raw, "u1", _CELLS, _CELLS * 7 * 8).reshape(WIDTH, HORIZONS) > 0
    return Book(numbers[:4].reshape(2, 2, WIDTH, HORIZONS), numbers[4], numbers[5], numbers[6], fallen)


class CameTrue(NamedTuple):
    """Forecasts whose moment has come, (beds, 6, 4) each, in whole steps of the vital; where not ``known``, anything.

    ``truth``, the network's ``low``, ``middle``, ``high`` as it gave them, and the value ``last`` known then.
    """

    known: Flags
    truth: Whole
    low: Whole
    middle: Whole
    high: Whole
    last: Whole


def learned(book: Book, seen: CameTrue, start: Start, unit: Floats) -> Book:
    """The book after these. ``unit`` (6,) is a step of each vital in its unit.

    Intervals follow the quantile of what happened (quantile tracking, as in adaptive conformal inference): a miss
    makes them wider by a factor, a hit narrower by a little, so that the share of misses settles at ``TAIL`` whatever
    the ward is like.
    """
    n = seen.known.sum(0)
    unit = unit[:, None]
    stretch = book.stretch.copy()
    for engine, (below, above) in enumerate((network_scores(seen, start, unit), persistence_scores(seen, start, unit))):
        for tail, score in enumerate((below, above)):
            misses = (seen.known & (score > stretch[engine, tail])).sum(0)
            moved = stretch[engine, tail] * np.exp(STEP * (misses - TAIL * n))
            stretch[engine, tail] = np.where(n > 0, np.clip(moved, *BOUNDS), stretch[engine, tail])
    kept = KEEP**n
    error = kept * book.error + np.where(seen.known, np.abs(seen.truth - seen.middle), 0).sum(0) * unit
    naive = kept * book.naive + np.where(seen.known, np.abs(seen.truth - seen.last), 0).sum(0) * unit
    came = book.came + n
    skill = 1 - error / np.maximum(naive, 1e-9)
    fallen = (came >= ENOUGH) & (skill < np.where(book.fallen, RETURN, 0.0))
    return Book(np.round(stretch, 6), came, np.round(error, 6), np.round(naive, 6), fallen)


def network_scores(seen: CameTrue, start: Start, unit: Floats) -> tuple[Floats, Floats]:
    """How far the truth fell below and above the middle, in lengths of that side of the network's interval."""
    floor = np.maximum(start.floor / unit, 1e-9)
    off = seen.truth - seen.middle
    return -off / np.maximum(seen.middle - seen.low, floor), off / np.maximum(seen.high - seen.middle, floor)


def persistence_scores(seen: CameTrue, start: Start, unit: Floats) -> tuple[Floats, Floats]:
    """The same for the last known value, in lengths of its offsets."""
    off = (seen.truth - seen.last) * unit
    return off / np.minimum(start.offsets[0], -1e-9), off / np.maximum(start.offsets[3], 1e-9)


def skill_told(book: Book) -> Floats:
    """1 - MAE / MAE of persistence of late, (6, 4), 3 decimals; NaN until enough has come true."""
    skill = np.round(1 - book.error / np.maximum(book.naive, 1e-9), 3)
    return np.where(book.came >= ENOUGH, skill, np.nan)


def network_band(book: Book, start: Start, quantiles: Floats) -> Floats:
    """The network's quantiles (beds, 6, 4, 5) with conformal outer ones; where those are drawn in, so are the inner
    ones."""
    middle = quantiles[..., 2]
    below, above = book.stretch[NETWORK]
    band = quantiles.copy()
    band[..., 0] = middle - below * np.maximum(middle - quantiles[..., 0], start.floor)
    band[..., 1] = middle - np.minimum(below, 1) * (middle - quantiles[..., 1])
    band[..., 3] = middle + np.minimum(above, 1) * (quantiles[..., 3] - middle)
    band[..., 4] = middle + above * np.maximum(quantiles[..., 4] - middle, start.floor)
    np.minimum(band[..., 0], band[..., 1], out=band[..., 0])
    np.maximum(band[..., 4], band[..., 3], out=band[..., 4])
    return band


def persistence_band(book: Book, start: Start, last: Floats) -> Floats:
    """(beds, 6, 4, 5) around the last known value (beds, 6)."""
    offsets = np.zeros((WIDTH, HORIZONS, 5))
    for place, side in ((0, 0), (1, 0), (3, 1), (4, 1)):
        offsets[..., place] = start.offsets[min(place, 3) if place < 2 else place - 1] * book.stretch[PERSISTENCE, side]
    return last[:, :, None, None] + offsets


def beyond(band: Floats, limits: Floats, apart: Floats) -> Floats:
    """P(beyond a limit at some time up to each horizon), (beds, 6, 4, 2), from conformal quantiles (beds, 6, 4, 5).

    ``limits`` (beds, 6, 2) are low and high; NaN where there is none, and so is the answer. The distribution at one
    moment is a line through the quantiles in log odds, with the outer lines going on (exponential tails). Over time,
    ``apart`` (2, 6) >= 0 says how much of each moment is news: 0, crossings of one stretch of time are one and the
    same (the likeliest counts); 1, each horizon is a fresh draw; more, the moments between them count too. Never
    falls with the horizon.
    """
    odds = _log_odds(band[..., None], limits[:, :, None]) * _SIDES
    stays = 1 / (1 + np.exp(np.clip(odds, -30, 30)))  # P(not beyond) at each horizon
    least = np.minimum.accumulate(stays, axis=2)
    others = np.cumprod(stays, axis=2) / least
    result: Floats = 1 - least * others ** apart.T[:, None]
    return result


_SIDES: Final = np.array([1.0, -1.0])
_LEVELS: Final = np.array([TAIL, 0.25, 0.5, 0.75, 1 - TAIL])
_PARTS: Final = np.diff(np.log(_LEVELS / (1 - _LEVELS)))


def _log_odds(band: Floats, limits: Floats) -> Floats:
    """Log odds of being below ``limits``: the line through the median, bent at each quantile that lies between."""
    lowest, low, middle, high, highest = (band[:, :, :, place] for place in range(5))
    off = limits - middle
    up, down = np.maximum(off, 0), np.maximum(-off, 0)
    first, second = np.maximum(high - middle, _THIN), np.maximum(highest - high, _THIN)
    odds = np.minimum(up / first, 1) * _PARTS[2] + np.maximum(up - first, 0) / second * _PARTS[3]
    first, second = np.maximum(middle - low, _THIN), np.maximum(low - lowest, _THIN)
    odds -= np.minimum(down / first, 1) * _PARTS[1] + np.maximum(down - first, 0) / second * _PARTS[0]
    result: Floats = odds
    return result


_THIN: Final = 1e-3
"""Quantiles closer together than this are taken to be this far apart."""
