"""Stays lying side by side in wards, hour by hour through the forecaster as it is served: what would have been told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.records import Engine, VitalForecast
from models.ports import Forecaster, Memory, Windows
from models.training.forecast_calibration import usual_limits
from models.training.forecast_grid import AHEAD_H, last_known
from models.training.stays import Stay
from models.vitals.history import CHANNEL, CHANNELS, HOURS, MINUTES

WARD: Final = 50
_HOUR_MS: Final = 3_600_000
_START_MS: Final = 1_700_000 * 1_000_000 // _HOUR_MS * _HOUR_MS
_LEVELS: Final = 5


@dataclass(frozen=True)
class Told:
    """What was told at every hour of every stay: ``quantiles`` (n, 6, 4, 5), NaN where silent; ``naive`` (n, 6, 4): by
    persistence; ``truth`` (n, 6, 4), ``last`` (n, 6) the last known value, ``patient`` (n,)."""

    quantiles: NDArray[np.float64]
    naive: NDArray[np.bool_]
    truth: NDArray[np.float64]
    last: NDArray[np.float64]
    patient: NDArray[np.intp]


def lived(forecaster: Forecaster, stays: Sequence[Stay], done: Callable[[int, int], None]) -> Told:
    """Wards of ``WARD`` beds, all filled at once; a bed is empty after its stay. ``done(wards, of)`` tells progress."""
    parts = []
    numbers = {patient: i for i, patient in enumerate(dict.fromkeys(stay.patient for stay in stays))}
    for start in range(0, len(stays), WARD):
        ward = stays[start : start + WARD]
        parts.append(_ward(forecaster, ward, np.array([numbers[stay.patient] for stay in ward])))
        done(min(start + WARD, len(stays)), len(stays))
    names = Told.__dataclass_fields__
    return Told(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _ward(forecaster: Forecaster, stays: Sequence[Stay], numbers: NDArray[np.intp]) -> Told:
    longest = max(len(stay.vitals) for stay in stays)
    after = AHEAD_H[-1]
    grid = np.full((len(stays), HOURS + longest + after, len(CHANNELS)), np.nan, np.float32)
    for bed, stay in enumerate(stays):
        grid[bed, HOURS : HOURS + len(stay.vitals)] = stay.vitals
    lengths = np.array([len(stay.vitals) for stay in stays])
    beds: dict[int, bytes] = {}
    ward, rows = b"", []
    for hour in range(longest):
        here = np.flatnonzero(lengths > hour)
        windows = _windows(stays, grid, here, hour)
        memory = Memory(tuple(beds.get(int(bed), b"") for bed in here), ward)
        said, memory = forecaster.forecast(windows, memory)
        ward = memory.ward
        beds = dict(zip(here.tolist(), memory.beds, strict=True))
        quantiles, naive = _told(said)
        future = grid[here, HOURS + hour + 1 : HOURS + hour + 1 + after]
        truth = np.swapaxes(future[:, np.array(AHEAD_H) - 1], 1, 2).astype(np.float64)
        last = _last(windows.hours)
        rows.append(Told(quantiles, naive, truth, last, numbers[here]))
    names = Told.__dataclass_fields__
    return Told(**{name: np.concatenate([getattr(row, name) for row in rows]) for name in names})


def _windows(stays: Sequence[Stay], grid: NDArray[np.float32], here: NDArray[np.intp], hour: int) -> Windows:
    n = len(here)
    return Windows(
        minutes=np.full((n, MINUTES, len(CHANNELS)), np.nan, np.float32),
        hours=grid[here, hour + 1 : hour + 1 + HOURS],
        at_ms=np.full(n, _START_MS + hour * _HOUR_MS, np.int64),
        age_years=np.array([stays[bed].age_years for bed in here], np.float32),
        female=np.array([stays[bed].female for bed in here], np.float32),
        stay_h=np.full(n, hour + 1, np.float32),
        limits=np.broadcast_to(usual_limits().astype(np.float32), (n, len(CHANNELS), 2)),
        alarming=np.zeros(n, np.bool_),
    )


def _last(hours: NDArray[np.float32]) -> NDArray[np.float64]:
    return last_known(hours)[0].astype(np.float64)


def _told(said: Sequence[Sequence[VitalForecast]]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    quantiles = np.full((len(said), len(CHANNELS), len(AHEAD_H), _LEVELS), np.nan)
    naive = np.zeros(quantiles.shape[:3], np.bool_)
    places = {hours * 3600: place for place, hours in enumerate(AHEAD_H)}
    for bed, forecasts in enumerate(said):
        for forecast in forecasts:
            for horizon_s, values in zip(forecast.horizons_s, forecast.quantiles, strict=True):
                cell = (bed, CHANNEL[forecast.vital], places[horizon_s])
                quantiles[cell] = values
                naive[cell] = forecast.engine is Engine.PERSISTENCE
    return quantiles, naive
