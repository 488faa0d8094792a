"""What counts as instability, hour by hour: four conditions, and the last value known of each vital."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.records import Vital
from models.ports import Flags, Floats
from models.vitals.history import CHANNEL

HORIZON_H: Final = 4


class Bound(NamedTuple):
    """Met where the vital is beyond ``at``: below it, or above it (``at`` itself included where ``inclusive``)."""

    vital: Vital
    at: float
    below: bool
    inclusive: bool = False


CONDITIONS: Final = MappingProxyType(
    {
        "hypotension": (Bound(Vital.MEAN_PRESSURE, 60.0, True), Bound(Vital.SYSTOLIC, 90.0, True)),
        "desaturation": (Bound(Vital.SPO2, 88.0, True),),
        "tachycardia": (Bound(Vital.HEART_RATE, 130.0, False),),
        "tachypnoea": (Bound(Vital.RESPIRATION, 30.0, False, True),),
    }
)
"""Any bound of a condition suffices."""


def met(values: Floats) -> Flags:
    """Whether each condition is met: (..., 6) vitals to (..., 4) in the order of ``CONDITIONS``; unknown is not met.

    >>> met(np.array([[131, 29, 95, 120, 59, 37], [130, 30, np.nan, 90, 60, 37]], np.float32)).tolist()
    [[True, False, True, False], [False, False, False, True]]
    """
    with np.errstate(invalid="ignore"):
        return np.stack([_any(bounds, values) for bounds in CONDITIONS.values()], axis=-1)


def observed(values: Floats) -> Flags:
    """Whether anything was measured that could meet each condition: (..., 6) to (..., 4)."""
    known = np.isfinite(values)
    return np.stack(
        [known[..., [CHANNEL[b.vital] for b in bounds]].any(axis=-1) for bounds in CONDITIONS.values()], axis=-1
    )


def last_known(hours: Floats) -> Floats:
    """The values carried forward along the second last axis (hours, newest last), NaN before the first."""
    known = np.isfinite(hours)
    steps = np.arange(hours.shape[-2], dtype=np.intp)[:, None]
    newest: NDArray[np.intp] = np.maximum.accumulate(np.where(known, steps, 0), axis=-2)
    return np.take_along_axis(hours, newest, axis=-2)


def _any(bounds: tuple[Bound, ...], values: Floats) -> Flags:
    flags = [_beyond(bound, values[..., CHANNEL[bound.vital]]) for bound in bounds]
    return np.asarray(np.logical_or.reduce(flags), np.bool_)


def _beyond(bound: Bound, values: Floats) -> Flags:
    if bound.below:
        return values <= bound.at if bound.inclusive else values < bound.at
    return values >= bound.at if bound.inclusive else values > bound.at
