"""Which numbers a living patient on a working sensor can show. Outside: tagged, never clamped.

Valid ranges start from the public variable ranges of the MIMIC-III benchmarks (heart rate 0-350, systolic and diastolic
0-375, mean pressure 14-330, temperature 26-45 Cel), narrowed where that source is too wide for an alarm: respiration to
100 /min, SpO2 to 50-100 % (a finger probe is not calibrated below). Cuff and arterial rules follow PMC7015776, table 1.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, NamedTuple

from contracts.records import Vital


class Plausible(NamedTuple):
    """Inclusive bounds in the vital's canonical unit."""

    low: float
    high: float


PLAUSIBLE: Final = MappingProxyType(
    {
        Vital.HEART_RATE: Plausible(10.0, 300.0),
        Vital.RESPIRATION: Plausible(0.0, 100.0),
        Vital.SPO2: Plausible(50.0, 100.0),
        Vital.SYSTOLIC: Plausible(20.0, 320.0),
        Vital.DIASTOLIC: Plausible(10.0, 250.0),
        Vital.MEAN_PRESSURE: Plausible(14.0, 300.0),
        Vital.TEMPERATURE: Plausible(26.0, 45.0),
        Vital.SUPPLEMENTAL_OXYGEN: Plausible(0.0, 100.0),
    }
)

NO_SIGNAL_VALUES: Final = frozenset({-100.0, -1.0})
"""Numbers that monitors send for "no signal"; never a measurement."""

PULSE_PRESSURE_FLOOR: Final[tuple[tuple[float, float], ...]] = (
    (200.0, 50.0),
    (150.0, 30.0),
    (100.0, 15.0),
    (0.0, 10.0),
)
"""(systolic above, least credible pulse pressure) in mmHg, highest first; below it cuff or line is at fault."""

FUTURE_TOLERANCE_MS: Final = 5_000
"""A reading this far ahead of the log's time comes from a clock that is wrong."""
