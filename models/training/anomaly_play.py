"""Minutes played to an anomaly detector as a ward plays them: one window a bed a minute, memory handed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ports import Flags, Floats, Memory, Windows
from models.training.recipes import Progress
from models.vitals.anomaly import Detector
from models.vitals.history import CHANNELS, HOURS, MINUTE_MS, MINUTES
from models.vitals.portrait import Portrait
from models.ward.policy import Policy, load_policy

Doubles = NDArray[np.float64]
Look = Callable[[int, slice, Portrait, dict[str, Doubles]], None]
START: Final = 29_455_680
"""The epoch minute at which plays begin."""


class Played(NamedTuple):
    """``scores`` (patients, minutes), NaN where nothing is said; ``drifts``: (patient, minute, channel) each."""

    scores: Doubles
    alarming: Flags
    drifts: list[tuple[int, int, int]]


def limits_of(policy: Policy) -> Floats:
    """(6, 2): low and high limits, NaN where there is none."""
    found = np.full((len(CHANNELS), 2), np.nan, np.float32)
    for channel, vital in enumerate(CHANNELS):
        limits = policy.limits.get(vital)
        if limits is not None:
            found[channel] = [np.nan if x is None else x for x in (limits.low, limits.high)]
    return found


def beyond(minutes: Floats, limits: Floats) -> Flags:
    """Where any vital is beyond its limit: (..., channels) to (...)."""
    with np.errstate(invalid="ignore"):
        outside = (minutes < limits[:, 0]) | (minutes > limits[:, 1])
    return np.asarray(outside.any(axis=-1), np.bool_)


class Past:
    """What wards of beds with these ``minutes`` (beds, minutes, 6) know of them at any minute."""

    def __init__(self, minutes: Floats, limits: Floats) -> None:
        beds, _, channels = minutes.shape
        known = np.isfinite(minutes)
        none = np.zeros((beds, 1, channels))
        self._sums = np.concatenate([none, np.cumsum(np.where(known, minutes, 0), axis=1, dtype=np.float64)], axis=1)
        self._counts = np.concatenate([none, np.cumsum(known, axis=1)], axis=1)
        unseen = np.full((beds, MINUTES - 1, channels), np.nan, np.float32)
        self._minutes = np.concatenate([unseen, minutes], axis=1)
        self._limits = np.repeat(limits[None], beds, axis=0)

    def at(self, minute: int, alarming: Flags) -> Windows:
        """When that minute is nearly over."""
        beds = len(self._minutes)
        edges = np.maximum(minute + 1 - 60 * np.arange(HOURS, -1, -1), 0)
        count = np.diff(self._counts[:, edges], axis=1)
        hours = np.where(count > 0, np.diff(self._sums[:, edges], axis=1) / np.maximum(count, 1), np.nan)
        unknown = np.full(beds, np.nan, np.float32)
        return Windows(
            self._minutes[:, minute : minute + MINUTES],
            hours.astype(np.float32),
            np.full(beds, (START + minute) * MINUTE_MS + 59_000, np.int64),
            unknown,
            unknown,
            unknown,
            self._limits,
            alarming,
        )


def play(
    detector: Detector,
    minutes: Floats,
    ward: int = 50,
    look: Look | None = None,
    every: int = 5,
    progress: Progress | None = None,
    step: str = "minutes",
) -> Played:
    """All ``minutes`` (patients, minutes, 6), in wards of so many beds; alarming is what is beyond the adult limits.

    ``look`` is shown the minute, the beds, their portraits and raw parts, each ``every`` minutes.
    """
    patients, length, _ = minutes.shape
    limits = limits_of(load_policy())
    alarms = beyond(minutes, limits)
    scores = np.full((patients, length), np.nan)
    drifts: list[tuple[int, int, int]] = []
    wards = [slice(start, min(start + ward, patients)) for start in range(0, patients, ward)]
    for number, beds in enumerate(wards):
        memory = Memory((b"",) * (beds.stop - beds.start))
        past = Past(minutes[beds], limits)
        for at in range(5, length):
            windows = past.at(at, alarms[beds, at])
            if look is not None and at % every == 0:
                look(at, beds, *detector.measured(windows, memory))
            anomalies, memory = detector.judge(windows, memory)
            for bed, anomaly in enumerate(anomalies):
                if anomaly is not None:
                    scores[beds.start + bed, at] = anomaly.score
                    drifts += [(beds.start + bed, at, CHANNELS.index(vital)) for vital in anomaly.drift]
            if progress is not None and at % 120 == 0:
                progress(step, number * length + at, len(wards) * length)
    return Played(scores, alarms, drifts)
