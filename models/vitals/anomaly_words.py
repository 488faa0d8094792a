"""Which vitals drove an anomaly score, in words."""

from __future__ import annotations

from typing import Final

import numpy as np

from contracts.records import Driver, Vital
from models.vitals.history import CHANNELS
from models.vitals.portrait import ANYONE, HARM, LEVEL, RECENT, SLOPE, SPREAD, Portrait

_NAMES: Final = {
    Vital.HEART_RATE: "heart rate",
    Vital.RESPIRATION: "respiration",
    Vital.SPO2: "SpO2",
    Vital.SYSTOLIC: "systolic pressure",
    Vital.MEAN_PRESSURE: "mean pressure",
    Vital.TEMPERATURE: "temperature",
}
_NOTICED: Final = 1.5
"""Deviations from which on a vital has a part in it."""
_LEAST_SHARE: Final = 0.1
_MOST: Final = 3
_TREND: Final = 0.7
"""How much a change of one deviation of slope or spread counts beside one of level."""


def drivers(portrait: Portrait, bed: int, deviation: np.ndarray, slope_steps: int, step: str) -> tuple[Driver, ...]:
    """The vitals that stand out most, largest share first; shares sum to 1 at most.

    ``deviation`` is the bed's usual deviation a channel; a slope is told over ``slope_steps`` of the ``step``'s name.
    """
    z = portrait.z[bed]
    seen = np.abs(z[[LEVEL, RECENT, SLOPE, SPREAD]]) * np.array([1.0, 1.0, _TREND, _TREND])[:, None]
    anyone = np.maximum(z[ANYONE] * HARM, 0.0)
    part = np.maximum(np.maximum(seen.max(axis=0), anyone) - _NOTICED, 0.0) ** 2
    total = part.sum()
    if total <= 0:
        return ()
    found = []
    for channel in np.argsort(-part, kind="stable")[:_MOST]:
        share = float(np.floor(part[channel] / total * 100) / 100)
        if share < _LEAST_SHARE:
            break
        kind = int(seen[:, channel].argmax())
        words = _words(portrait, bed, int(channel), kind, float(deviation[channel]), slope_steps, step)
        found.append(Driver(what=words, share=share, vital=CHANNELS[channel]))
    return tuple(found)


def _words(portrait: Portrait, bed: int, channel: int, kind: int, deviation: float, slope_steps: int, step: str) -> str:
    vital = CHANNELS[channel]
    name = _NAMES[vital]
    digits = 1 if vital is Vital.TEMPERATURE else 0
    usual = f"usually {portrait.usual[bed, channel]:.{digits}f}"
    now = portrait.now[bed, channel]
    level = f"{name} {now:.{digits}f}" if np.isfinite(now) else name
    if kind == SLOPE:
        change = portrait.z[bed, SLOPE, channel] * deviation
        return f"{level}, {'rising' if change > 0 else 'falling'} {abs(change):.{digits}f} in {slope_steps} {step}"
    if kind == SPREAD:
        more = portrait.z[bed, SPREAD, channel] > 0
        return f"{level}, {'more' if more else 'less'} variable than usual"
    return f"{level}, {usual}"
