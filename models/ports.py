"""What models promise to those who use them. Pure: what they remember of a bed is handed in and handed back as bytes.

All arrays are float32 with beds first, time newest last and ``models.vitals.history.CHANNELS`` as the last axis; NaN is
unknown. Same input, same memory, same output, and each bed's output does not depend on which beds stand beside it but
for the ward's own memory. Outputs are plain Python numbers, rounded by the model, so that a last bit of arithmetic
decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from contracts.records import Anomaly, Risk, VitalForecast

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

ANOMALY: Final = "vitals_anomaly"
FORECAST: Final = "vitals_forecast"
DETERIORATION: Final = "deterioration"
"""The models that the ward's core asks, by their names in the registry."""


class Windows(NamedTuple):
    """What is known of a batch of beds of one ward at one moment.

    ``minutes`` (beds, 60, 6) and ``hours`` (beds, 24, 6) as of ``at_ms`` (beds,), see ``history.rings``; ``age_years``,
    ``female`` (1, 0) and ``stay_h`` (hours since admission) are (beds,), NaN where not told. ``limits`` (beds, 6, 2)
    are the low and high alarm limits in force, NaN where there is none. ``alarming``: a physiological alarm of the bed
    is pending, active, acknowledged or latched; nothing may be learned.
    """

    minutes: Floats
    hours: Floats
    at_ms: NDArray[np.int64]
    age_years: Floats
    female: Floats
    stay_h: Floats
    limits: Floats
    alarming: Flags


class Memory(NamedTuple):
    """What a model remembers: of each bed, and of the ward. Empty bytes: nothing yet."""

    beds: tuple[bytes, ...]
    ward: bytes = b""


class AnomalyDetector(Protocol):
    """Scores in [0, 1], calibrated: higher is odder. Learns only beds that are not alarming."""

    def judge(self, windows: Windows, memory: Memory) -> tuple[tuple[Anomaly | None, ...], Memory]:
        """An anomaly a bed (None: too little is known) and what is remembered afterwards."""
        ...


class Forecaster(Protocol):
    """Quantiles of each vital ahead, and the probability that a limit is crossed."""

    levels: tuple[float, ...]

    def forecast(self, windows: Windows, memory: Memory) -> tuple[tuple[tuple[VitalForecast, ...], ...], Memory]:
        """The forecasts of each bed (empty: too little is known) and what is remembered afterwards."""
        ...


class RiskModel(Protocol):
    """Calibrated probabilities of what may happen to a patient."""

    def assess(self, windows: Windows) -> tuple[tuple[Risk, ...], ...]:
        """The risks of each bed; empty where too little is known, or where it is happening already."""
        ...


class Ask(NamedTuple):
    """What the core wants to know at one record of a ward's log. ``models``: name to version in force.

    ``memories`` holds one ``Memory`` for each of these models, with a bed for each of ``patients``. ``risks``: whether
    risks are due too (they change slowly and are asked for less often).
    """

    ward: str
    patients: tuple[str, ...]
    windows: Windows
    memories: Mapping[str, Memory]
    models: Mapping[str, str]
    risks: bool


class Answers(NamedTuple):
    """What the models said, a bed of the ``Ask`` each; None where a model is not in force, not to be had or not asked.

    ``memories`` are those of the models that answered. A model whose version is not the one in ``Ask.models`` must not
    answer in its place. Nothing to be had at all: ``NO_ANSWERS``.
    """

    levels: tuple[float, ...]
    anomalies: tuple[Anomaly | None, ...] | None
    forecasts: tuple[tuple[VitalForecast, ...], ...] | None
    risks: tuple[tuple[Risk, ...], ...] | None
    memories: Mapping[str, Memory]


NO_ANSWERS: Final = Answers((), None, None, None, {})
