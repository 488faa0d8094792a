"""What the anomaly detector remembers of a bed, as one row of a table: 1.2 KB of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.vitals.baseline import Baseline
from models.vitals.drift import KEPT, Trace
from models.vitals.history import CHANNELS

_WIDTH: Final = len(CHANNELS)
_LAYOUT: Final = 1
_ROW: Final = np.dtype(
    [
        ("layout", "u1"),
        ("settled", "<i4"),
        ("slow_at", "<i4"),
        ("slow", "<f4"),
        ("quick", "<i4", _WIDTH),
        ("steps", "<f8", _WIDTH),
        ("mean", "<f8", _WIDTH),
        ("square", "<f8", _WIDTH),
        ("filled", "u1", _WIDTH),
        ("anchor", "<i2", _WIDTH),
        ("trace", "i1", (_WIDTH, KEPT)),
    ]
)


class Remembered(NamedTuple):
    """Of beds. ``settled``: the last epoch minute that was learned or passed over (0: a bed not seen before).

    ``slow`` is the tail of the hours as of minute ``slow_at``; ``quick``: until which minute a vital's baseline adapts
    faster, after a drift.
    """

    settled: NDArray[np.int64]
    slow_at: NDArray[np.int64]
    slow: NDArray[np.float64]
    quick: NDArray[np.int64]
    baseline: Baseline
    trace: Trace


def unpacked(beds: Sequence[bytes]) -> Remembered:
    """From bytes; a bed whose bytes are of another form starts anew."""
    fresh = np.zeros(1, _ROW)
    fresh["layout"] = _LAYOUT
    blank = fresh.tobytes()
    good = [raw if len(raw) == _ROW.itemsize and raw[0] == _LAYOUT else blank for raw in beds]
    rows = np.frombuffer(b"".join(good), _ROW)
    return Remembered(
        rows["settled"].astype(np.int64),
        rows["slow_at"].astype(np.int64),
        rows["slow"].astype(np.float64),
        rows["quick"].astype(np.int64),
        Baseline(rows["steps"].copy(), rows["mean"].copy(), rows["square"].copy()),
        Trace(rows["filled"].copy(), rows["anchor"].copy(), rows["trace"].copy()),
    )


def packed(known: Remembered, before: Sequence[bytes], changed: NDArray[np.bool_]) -> tuple[bytes, ...]:
    """As bytes; those of beds of which nothing has changed are handed back as they came."""
    if not changed.any():
        return tuple(before)
    rows = np.zeros(len(before), _ROW)
    rows["layout"] = _LAYOUT
    for name in ("settled", "slow_at", "slow", "quick"):
        rows[name] = getattr(known, name)
    for name in ("steps", "mean", "square"):
        rows[name] = getattr(known.baseline, name)
    rows["filled"], rows["anchor"], rows["trace"] = known.trace
    raw = rows.tobytes()
    size = _ROW.itemsize
    return tuple(raw[bed * size : (bed + 1) * size] if changed[bed] else before[bed] for bed in range(len(before)))
