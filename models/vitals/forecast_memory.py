"""What the forecaster remembers, as bytes: forecasts of a bed that have not come true yet, and the ward's books.

A bed holds what was said at the last 6 hours (hour head) and the last 4 ten minutes (near-term head), 1.5 KB; a ward
holds a book for each head, 2.8 KB. Values are whole steps of a vital: tenths, hundredths for temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.records import Vital
from models.vitals import conformal
from models.vitals.conformal import HORIZONS, Book
from models.vitals.history import CHANNEL, CHANNELS

UNKNOWN: Final = -32_768
STEPS: Final = np.array([0.01 if vital is Vital.TEMPERATURE else 0.1 for vital in CHANNELS])
"""The step of each vital in its unit."""
PER_UNIT: Final = np.rint(1 / STEPS)
NEAR_WIDTH: Final = CHANNEL[Vital.TEMPERATURE]
"""The near-term head speaks of the vitals before this one: temperature does not move in half an hour."""
_VERSION: Final = 1


class Plan(NamedTuple):
    """How one head's forecasts are remembered: once a ``tick`` of minutes, in a ring of so many ``slots``.

    ``due``: how many ticks after it was made each horizon is looked up; ``ahead`` the horizons in minutes.
    """

    tick: int
    slots: int
    due: tuple[int, ...]
    ahead: tuple[int, ...]


HOUR_PLAN: Final = Plan(60, 6, (1, 2, 4, 6), (60, 120, 240, 360))
NEAR_PLAN: Final = Plan(10, 4, (1, 2, 2, 4), (5, 10, 15, 30))


def _slot(width: int) -> np.dtype[Any]:
    return np.dtype([("made", "<u4"), ("last", "<i2", (width,)), ("said", "<i2", (width, HORIZONS, 3))])


BED: Final = np.dtype(
    [
        ("version", "u1"),
        ("near", _slot(NEAR_WIDTH), (NEAR_PLAN.slots,)),
        ("hour", _slot(len(CHANNELS)), (HOUR_PLAN.slots,)),
    ]
)
_BLANK: Final = np.array([(_VERSION, 0, 0)], BED).tobytes()
Beds = NDArray[Any]


def read_beds(raw: Sequence[bytes]) -> Beds:
    """One record a bed; empty bytes: nothing is remembered of it. Raises Poison for bytes of another kind."""
    joined = b"".join([one or _BLANK for one in raw])
    if len(joined) != len(raw) * BED.itemsize or any(one[0] != _VERSION for one in raw if one):
        raise Poison("bad_memory", f"a bed is {BED.itemsize} bytes of version {_VERSION}", "memory.beds")
    return np.frombuffer(joined, BED)


def write_beds(beds: Beds) -> tuple[bytes, ...]:
    """As it was read."""
    joined = beds.tobytes()
    return tuple([joined[at : at + BED.itemsize] for at in range(0, len(joined), BED.itemsize)])


def read_ward(raw: bytes) -> tuple[Book, Book] | None:
    """(hour, near) books; None where nothing is remembered. Raises Poison for bytes of another kind."""
    if not raw:
        return None
    if len(raw) != 1 + 2 * conformal.SIZE or raw[0] != _VERSION:
        raise Poison("bad_memory", f"a ward is {1 + 2 * conformal.SIZE} bytes of version {_VERSION}", "memory.ward")
    return conformal.unpacked(raw[1 : 1 + conformal.SIZE]), conformal.unpacked(raw[1 + conformal.SIZE :])


def write_ward(hour: Book, near: Book) -> bytes:
    """As it was read."""
    return bytes([_VERSION]) + conformal.packed(hour) + conformal.packed(near)


def whole(values: NDArray[Any], per_unit: NDArray[np.float64]) -> NDArray[np.int16]:
    """In steps; ``per_unit`` broadcasts. NaN is ``UNKNOWN``."""
    known = np.isfinite(values)
    steps = np.clip(np.rint(np.where(known, values, 0.0) * per_unit), -32_767, 32_767)
    return np.where(known, steps, UNKNOWN).astype(np.int16)
