"""The NEWS2 chart as data. Royal College of Physicians, National Early Warning Score (NEWS) 2, 2017, chart 1.

Bands are inclusive and in recorded precision: rates, SpO2 and pressure as integers, temperature to 0.1 Cel. A value is
rounded half up to that precision before it is looked up, so no value falls between two bands. Not for under 16 years or
pregnancy.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, NamedTuple

from contracts.records import Vital


class Band(NamedTuple):
    """Values from ``low`` to ``high`` inclusive score ``points``; None is unbounded."""

    low: float | None
    high: float | None
    points: int


RESPIRATION: Final = (Band(None, 8, 3), Band(9, 11, 1), Band(12, 20, 0), Band(21, 24, 2), Band(25, None, 3))
SPO2_SCALE_1: Final = (Band(None, 91, 3), Band(92, 93, 2), Band(94, 95, 1), Band(96, None, 0))
SPO2_SCALE_2_AIR: Final = (Band(None, 83, 3), Band(84, 85, 2), Band(86, 87, 1), Band(88, None, 0))
SPO2_SCALE_2_OXYGEN: Final = (
    Band(None, 83, 3),
    Band(84, 85, 2),
    Band(86, 87, 1),
    Band(88, 92, 0),
    Band(93, 94, 1),
    Band(95, 96, 2),
    Band(97, None, 3),
)
SYSTOLIC: Final = (Band(None, 90, 3), Band(91, 100, 2), Band(101, 110, 1), Band(111, 219, 0), Band(220, None, 3))
PULSE: Final = (
    Band(None, 40, 3),
    Band(41, 50, 1),
    Band(51, 90, 0),
    Band(91, 110, 1),
    Band(111, 130, 2),
    Band(131, None, 3),
)
TEMPERATURE: Final = (
    Band(None, 35.0, 3),
    Band(35.1, 36.0, 1),
    Band(36.1, 38.0, 0),
    Band(38.1, 39.0, 1),
    Band(39.1, None, 2),
)
CONSCIOUSNESS: Final = MappingProxyType({"A": 0, "C": 3, "V": 3, "P": 3, "U": 3})
OXYGEN_POINTS: Final = 2
"""Points for any supplemental oxygen, under both SpO2 scales; never part of the SpO2 sub-score."""

COMPONENTS: Final = (
    Vital.RESPIRATION,
    Vital.SPO2,
    Vital.SUPPLEMENTAL_OXYGEN,
    Vital.SYSTOLIC,
    Vital.HEART_RATE,
    Vital.CONSCIOUSNESS,
    Vital.TEMPERATURE,
)

MAXIMUM: Final = 20
MEDIUM_FROM: Final = 5
HIGH_FROM: Final = 7
RED: Final = 3
"""A single component at this many points calls for an urgent ward review whatever the total."""
