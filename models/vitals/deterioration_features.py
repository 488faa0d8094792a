"""What the deterioration model reads off a day of hourly vitals: one function, for training and for the ward alike."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.records import Vital
from models.ports import Flags, Floats
from models.vitals.history import CHANNEL, CHANNELS, HOURS
from models.vitals.instability import CONDITIONS, last_known, met

_BY_VITAL: Final = (
    "last",  # the newest value known
    "age",  # its age in hours
    "known",  # hours known of the last 12
    "mean3",
    "mean12",
    "mean24",
    "sd12",
    "low6",
    "high6",
    "low24",
    "high24",
    "change1",  # newest known against what was known so many hours before
    "change3",
    "change6",
    "slope",  # least squares over the last 6 hours, a unit an hour
    "recent",  # exponentially weighted mean, half-life 2 hours
)
_CROSS: Final = ("shock_index", "shock_index_change6", "pulse_pressure", "breath_saturation", "pressure_rate")
_FACTS: Final = ("age_years", "female", "stay_h")

NAMES: Final = (
    *(f"{vital.value}_{name}" for name in _BY_VITAL for vital in CHANNELS),
    *(f"{condition}_{name}" for name in ("since", "hours") for condition in CONDITIONS),
    *_CROSS,
    *_FACTS,
)
"""The columns of ``features``."""
SLOPE: Final = slice(
    NAMES.index(f"{CHANNELS[0].value}_slope"), NAMES.index(f"{CHANNELS[0].value}_slope") + len(CHANNELS)
)
LAST: Final = slice(0, len(CHANNELS))

_SLOPE_H: Final = 6
_HALF_LIFE_H: Final = 2.0
_RECENT: Final = (0.5 ** (np.arange(HOURS - 1, -1, -1) / _HALF_LIFE_H)).astype(np.float32)[None, :, None]
_CLOCK: Final = np.arange(_SLOPE_H, dtype=np.float32)[None, :, None]
_BACK: Final = np.arange(HOURS - 1, -1, -1, dtype=np.float32)[None, :, None]
_HEART: Final = CHANNEL[Vital.HEART_RATE]
_BREATH: Final = CHANNEL[Vital.RESPIRATION]
_SATURATION: Final = CHANNEL[Vital.SPO2]
_SYSTOLIC: Final = CHANNEL[Vital.SYSTOLIC]
_MEAN: Final = CHANNEL[Vital.MEAN_PRESSURE]


def features(hours: Floats, age_years: Floats, female: Floats, stay_h: Floats) -> Floats:
    """(beds, 24, 6) hourly vitals, newest last, and the patients' facts (beds,) as (beds, ``NAMES``); NaN is unknown.

    A bed's row depends on that bed alone. Units as in the vitals; hours; a ``since`` beyond the day is 24.
    """
    carried = last_known(hours)
    known = np.isfinite(hours)
    filled = np.where(known, hours, np.float32(0))
    columns = [*_levels(hours, known, filled, carried), *_history(carried), _cross(carried)]
    facts = np.stack([age_years, female, stay_h], axis=1)
    return np.concatenate([*columns, facts], axis=1, dtype=np.float32)


def _levels(hours: Floats, known: Flags, filled: Floats, carried: Floats) -> list[Floats]:
    newest = carried[:, -1]
    age = np.where(known, _BACK, np.float32(HOURS)).min(axis=1)
    mean12 = _mean(known[:, 12:], filled[:, 12:])
    off = np.where(known[:, 12:], filled[:, 12:] - mean12[:, None], np.float32(0))
    count12 = known[:, 12:].sum(axis=1, dtype=np.float32)
    lowest, highest = np.where(known, hours, np.float32(np.inf)), np.where(known, hours, np.float32(-np.inf))
    weight = known * _RECENT
    return [
        newest,
        age,
        count12,
        _mean(known[:, 21:], filled[:, 21:]),
        mean12,
        _mean(known, filled),
        _finite(np.sqrt((off * off).sum(axis=1) / np.where(count12 > 1, count12, np.float32(np.nan)))),
        _finite(lowest[:, 18:].min(axis=1)),
        _finite(highest[:, 18:].max(axis=1)),
        _finite(lowest.min(axis=1)),
        _finite(highest.max(axis=1)),
        newest - carried[:, -2],
        newest - carried[:, -4],
        newest - carried[:, -7],
        _slope(known[:, -_SLOPE_H:], filled[:, -_SLOPE_H:]),
        _share((filled * weight).sum(axis=1), weight.sum(axis=1)),
    ]


def _history(carried: Floats) -> list[Floats]:
    was = met(carried)
    since = np.where(was, _BACK, np.float32(HOURS)).min(axis=1)
    return [since, was.sum(axis=1, dtype=np.float32)]


def _cross(carried: Floats) -> Floats:
    now, before = carried[:, -1], carried[:, -7]
    index = _share(now[:, _HEART], now[:, _SYSTOLIC])
    return np.stack(
        [
            index,
            index - _share(before[:, _HEART], before[:, _SYSTOLIC]),
            now[:, _SYSTOLIC] - now[:, _MEAN],
            _share(now[:, _SATURATION], now[:, _BREATH]),
            _share(now[:, _MEAN], now[:, _HEART]),
        ],
        axis=1,
    )


def _slope(known: Flags, filled: Floats) -> Floats:
    count = known.sum(axis=1, dtype=np.float32)
    clock = _share((known * _CLOCK).sum(axis=1), count)[:, None]
    value = _share(filled.sum(axis=1), count)[:, None]
    off = np.where(known, _CLOCK - clock, np.float32(0))
    across = (off * off).sum(axis=1)
    return _share((off * np.where(known, filled - value, np.float32(0))).sum(axis=1), across)


def _mean(known: Flags, filled: Floats) -> Floats:
    return _share(filled.sum(axis=1), known.sum(axis=1, dtype=np.float32))


def _share(part: Floats, whole: Floats) -> Floats:
    """The quotient; NaN where nothing is divided by."""
    some: NDArray[np.float32] = np.where(whole > 0, whole, np.float32(np.nan))
    return (part / some).astype(np.float32)


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.float32(np.nan))
