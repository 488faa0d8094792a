"""What every learned detector is measured against on hourly stays: limits and NEWS2, as scores that can be swept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.clinical import news2 as chart
from models.ports import Floats
from models.vitals.history import CHANNEL, CHANNELS
from models.vitals.instability import last_known
from models.ward.news2 import total
from models.ward.policy import Policy

Doubles = NDArray[np.float64]


def beyond_limits(vitals: Floats, policy: Policy, held_h: int = 1) -> Doubles:
    """How far the vitals (hours, 6) are beyond the policy's limits, hour by hour; 0 is at a limit, negative inside.

    A vital's unit is the distance from its limit to its extreme limit (which then is 1); the vital farthest out stands.
    With ``held_h`` 2, its least of the last two hours counts (a limit with an hour's delay). NaN: nothing known.
    """
    values = last_known(vitals).astype(np.float64)
    far = np.full(values.shape, np.nan)
    for channel, vital in enumerate(CHANNELS):
        limits = policy.limits.get(vital)
        if limits is None:
            continue
        sides = []
        if limits.low is not None:
            unit = limits.low - limits.extreme_low if limits.extreme_low is not None else 10.0
            sides.append((limits.low - values[:, channel]) / unit)
        if limits.high is not None:
            unit = limits.extreme_high - limits.high if limits.extreme_high is not None else 10.0
            sides.append((values[:, channel] - limits.high) / unit)
        far[:, channel] = np.max(sides, axis=0)
    held = far.copy()
    for back in range(1, held_h):
        held[back:] = np.minimum(held[back:], far[:-back])
        held[:back] = np.nan
    unknown = np.isnan(held).all(axis=1)
    return np.where(unknown, np.nan, np.where(np.isnan(held), -np.inf, held).max(axis=1))


def news2(vitals: Floats) -> Doubles:
    """NEWS2's minimum (missing components score 0, air and alert are assumed) of the last known vitals (hours, 6)."""
    values = last_known(vitals)
    scores = np.full(len(values), np.nan)
    for hour, row in enumerate(values):
        known = {
            vital: float(row[channel])
            for vital, channel in CHANNEL.items()
            if vital in chart.COMPONENTS and np.isfinite(row[channel])
        }
        if known:
            scores[hour] = total([known.get(vital) for vital in chart.COMPONENTS], 1)[0]
    return scores
