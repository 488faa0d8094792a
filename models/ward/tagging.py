"""Is this number one that a patient could have? Tags it, never changes it."""

from __future__ import annotations

from typing import Final

from contracts.clinical.codes import UNIT_ALIASES, VITALS
from contracts.clinical.plausibility import NO_SIGNAL_VALUES, PLAUSIBLE, PULSE_PRESSURE_FLOOR
from contracts.records import Quality, Reading, Tag

USABLE: Final = frozenset({Tag.OK, Tag.CLOCK_SUSPECT})
"""Tags of a value that can be judged and scored."""
_UNITS: Final = {vital: code.ucum for vital, code in VITALS.items()}


def tag_of(reading: Reading) -> Tag:
    """What one reading says by itself: ok, no_signal, unit_mismatch or implausible.

    >>> from contracts.records import Vital
    >>> tag_of(Reading(vital=Vital.TEMPERATURE, value=98.6)), tag_of(Reading(vital=Vital.SPO2, value=-100.0))
    (<Tag.IMPLAUSIBLE: 'implausible'>, <Tag.NO_SIGNAL: 'no_signal'>)
    """
    value = reading.value
    if value is None or reading.quality is Quality.NO_SIGNAL or reading.quality is Quality.MEASURING:
        return Tag.NO_SIGNAL
    if isinstance(value, str):
        return Tag.OK
    if value in NO_SIGNAL_VALUES:
        return Tag.NO_SIGNAL
    if reading.unit is not None and UNIT_ALIASES.get(reading.unit) != _UNITS[reading.vital]:
        return Tag.UNIT_MISMATCH
    low, high = PLAUSIBLE[reading.vital]
    return Tag.OK if low <= value <= high else Tag.IMPLAUSIBLE


def pressures_disagree(systolic: float, diastolic: float, mean: float | None) -> bool:
    """True when the three pressures of one measurement cannot belong to one artery.

    >>> pressures_disagree(120, 80, 93), pressures_disagree(120, 112, None), pressures_disagree(90, 90, 90)
    (False, True, True)
    """
    if diastolic >= systolic:
        return True
    if mean is not None and not diastolic <= mean <= systolic:
        return True
    for above, least in PULSE_PRESSURE_FLOOR:
        if systolic > above:
            return systolic - diastolic < least
    raise ValueError(f"a systolic pressure of {systolic} is below every floor")
