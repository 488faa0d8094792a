"""What each vital is called and measured in: display, UCUM unit, LOINC and IEEE 11073 MDC codes.

Sources: LOINC 8867-4, 9279-1, 59408-5, 8480-6, 8462-4, 8478-0, 8310-5, 3151-8, 80288-4; IEEE 11073-10101 MDC numbers as
listed by the HL7 point-of-care device guide and DK-core.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, NamedTuple

from contracts.records import Vital


class VitalCode(NamedTuple):
    """One vital: how it is shown, its unit, its codes. ``decimals`` is the recorded precision."""

    short: str
    display: str
    ucum: str
    shown_unit: str
    loinc: str
    mdc: tuple[int, ...]
    decimals: int


VITALS: Final = MappingProxyType(
    {
        Vital.HEART_RATE: VitalCode("HR", "Heart rate", "/min", "/min", "8867-4", (147842, 149530, 149522, 149546), 0),
        Vital.RESPIRATION: VitalCode("RR", "Respiratory rate", "/min", "/min", "9279-1", (151562, 151578), 0),
        Vital.SPO2: VitalCode("SpO2", "Oxygen saturation", "%", "%", "59408-5", (150456,), 0),
        Vital.SYSTOLIC: VitalCode("SBP", "Systolic pressure", "mm[Hg]", "mmHg", "8480-6", (150301, 150021, 150033), 0),
        Vital.DIASTOLIC: VitalCode(
            "DBP", "Diastolic pressure", "mm[Hg]", "mmHg", "8462-4", (150302, 150022, 150034), 0
        ),
        Vital.MEAN_PRESSURE: VitalCode("MAP", "Mean pressure", "mm[Hg]", "mmHg", "8478-0", (150303, 150023, 150035), 0),
        Vital.TEMPERATURE: VitalCode("Temp", "Temperature", "Cel", "°C", "8310-5", (150344, 188496), 1),
        Vital.SUPPLEMENTAL_OXYGEN: VitalCode("O2", "Supplemental oxygen", "L/min", "L/min", "3151-8", (), 1),
        Vital.CONSCIOUSNESS: VitalCode("ACVPU", "Level of consciousness", "1", "", "80288-4", (), 0),
    }
)

UNIT_ALIASES: Final = MappingProxyType(
    {
        "/min": "/min",
        "bpm": "/min",
        "{beats}/min": "/min",
        "{breaths}/min": "/min",
        "%": "%",
        "mm[Hg]": "mm[Hg]",
        "mmHg": "mm[Hg]",
        "Cel": "Cel",
        "°C": "Cel",
        "L/min": "L/min",
        "1": "1",
    }
)
"""Units seen in the wild and the UCUM unit they mean. What is not here is a mismatch, never converted by guess."""
