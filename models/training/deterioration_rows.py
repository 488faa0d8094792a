"""Hours of stays as rows for the deterioration model: what was seen, and what came within four hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ports import Flags, Floats
from models.training.deterioration_death import died
from models.training.stays import Stay
from models.vitals.deterioration_features import NAMES, features
from models.vitals.history import CHANNELS, HOURS
from models.vitals.instability import CONDITIONS, HORIZON_H, last_known, met, observed

_CHUNK = 8192


class Rows(NamedTuple):
    """Hours of stays, and what is asked of the four hours after each.

    ``counts`` (rows, 4): the last known values, none older than a day, do not meet the condition, and something was
    measured in the hours to come that could; only there ``labels`` (rows, 4) mean something. ``stay``: its place.
    """

    inputs: Floats
    labels: Flags
    counts: Flags
    stay: NDArray[np.intp]
    hour: NDArray[np.intp]


def windows(vitals: Floats) -> Floats:
    """The day up to each hour: (hours, 6) to (hours, 24, 6), unknown before the stay began."""
    padded = np.concatenate([np.full((HOURS - 1, len(CHANNELS)), np.nan, np.float32), vitals])
    return np.lib.stride_tricks.sliding_window_view(padded, HOURS, axis=0).transpose(0, 2, 1)


def rows(stays: Sequence[Stay]) -> Rows:
    """Every hour of the stays, in their order."""
    parts = [_of(stay) for stay in stays]
    stay = np.repeat(np.arange(len(stays)), [len(s.vitals) for s in stays])
    hour = np.concatenate([np.arange(len(s.vitals)) for s in stays]) if stays else np.empty(0, np.intp)
    labels, counts = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return Rows(inputs(stays), labels, counts, stay, hour)


def death_rows(stays: Sequence[Stay], hours: Sequence[int]) -> tuple[Floats, Flags, NDArray[np.intp]]:
    """Rows of stays at these hours, whether the patient died in hospital, and the place of the stay of each row.

    Stays of which it is not known are left out.
    """
    outcome = died(stays)
    told = [i for i, stay in enumerate(stays) if np.isfinite(outcome[i]) and len(stay.vitals) > min(hours)]
    there = [[hour for hour in hours if hour < len(stays[i].vitals)] for i in told]
    stay = np.repeat(np.array(told, np.intp), [len(each) for each in there])
    seen = [windows(stays[i].vitals)[each] for i, each in zip(told, there, strict=True)]
    facts = [(stays[i].age_years, stays[i].female, hour) for i, each in zip(told, there, strict=True) for hour in each]
    if not facts:
        return np.empty((0, len(NAMES)), np.float32), np.empty(0, np.bool_), stay
    return features(np.concatenate(seen), *np.array(facts, np.float32).T), outcome[stay] > 0, stay


def inputs(stays: Sequence[Stay]) -> Floats:
    """``features`` of every hour of the stays."""
    done, seen, facts = [], [], []
    waiting = 0
    for place, stay in enumerate(stays):
        hours = len(stay.vitals)
        seen.append(windows(stay.vitals))
        facts.append(
            np.stack([np.full(hours, stay.age_years), np.full(hours, stay.female), np.arange(hours)]).astype(np.float32)
        )
        waiting += hours
        if waiting >= _CHUNK or place == len(stays) - 1:
            done.append(features(np.concatenate(seen), *np.concatenate(facts, axis=1)))
            seen, facts, waiting = [], [], 0
    return np.concatenate(done)


def _of(stay: Stay) -> tuple[Flags, Flags]:
    now = windows(stay.vitals)
    carried = last_known(now)[:, -1]
    happens, seen = met(stay.vitals), observed(stay.vitals)
    width = len(CONDITIONS)
    later, told = np.zeros((len(happens), width), np.bool_), np.zeros((len(happens), width), np.bool_)
    for ahead in range(1, HORIZON_H + 1):
        later[:-ahead] |= happens[ahead:]
        told[:-ahead] |= seen[ahead:]
    return later, told & ~met(carried) & observed(carried)
