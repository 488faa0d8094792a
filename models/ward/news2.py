"""NEWS2 as an interval: what is missing may be anything, so the total is [minimum, maximum], never a silent zero."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Final

from contracts.clinical import news2 as chart
from contracts.records import Vital

_HALF: Final = 0.5 + 1e-9  # half up on recorded decimals: 38.05 is stored a hair below


def _table(bands: Sequence[chart.Band], per_unit: int, low: int, high: int) -> tuple[int, tuple[int, ...]]:
    points = []
    for step in range(low * per_unit, high * per_unit + 1):
        value = step / per_unit
        hit = [b.points for b in bands if (b.low is None or value >= b.low) and (b.high is None or value <= b.high)]
        if len(hit) != 1:
            raise ValueError(f"{value} stands in {len(hit)} bands")
        points.append(hit[0])
    return low * per_unit, tuple(points)


_RESPIRATION: Final = _table(chart.RESPIRATION, 1, 0, 100)
_SPO2_1: Final = _table(chart.SPO2_SCALE_1, 1, 0, 100)
_SPO2_2_AIR: Final = _table(chart.SPO2_SCALE_2_AIR, 1, 0, 100)
_SPO2_2_OXYGEN: Final = _table(chart.SPO2_SCALE_2_OXYGEN, 1, 0, 100)
_SYSTOLIC: Final = _table(chart.SYSTOLIC, 1, 0, 400)
_PULSE: Final = _table(chart.PULSE, 1, 0, 400)
_TEMPERATURE: Final = _table(chart.TEMPERATURE, 10, 20, 50)


def _look_up(table: tuple[int, tuple[int, ...]], step: int) -> int:
    first, points = table
    return points[min(max(step - first, 0), len(points) - 1)]


def respiration_points(per_min: float) -> int:
    """Points of a respiratory rate in breaths a minute.

    >>> [respiration_points(v) for v in (8, 9, 12, 20.4, 20.5, 25)]
    [3, 1, 0, 0, 2, 3]
    """
    return _look_up(_RESPIRATION, floor(per_min + _HALF))


def spo2_points(percent: float, scale: int, on_oxygen: bool) -> int:
    """Points of an oxygen saturation in %, without those for the oxygen itself. ``scale`` is 1 or 2.

    >>> spo2_points(97, 1, True), spo2_points(97, 2, True), spo2_points(97, 2, False)
    (0, 3, 0)
    """
    if scale == 1:
        return _look_up(_SPO2_1, floor(percent + _HALF))
    return _look_up(_SPO2_2_OXYGEN if on_oxygen else _SPO2_2_AIR, floor(percent + _HALF))


def systolic_points(mmhg: float) -> int:
    """Points of a systolic pressure in mmHg.

    >>> [systolic_points(v) for v in (90, 90.5, 219, 220)]
    [3, 2, 0, 3]
    """
    return _look_up(_SYSTOLIC, floor(mmhg + _HALF))


def pulse_points(per_min: float) -> int:
    """Points of a pulse (or heart rate) in beats a minute.

    >>> [pulse_points(v) for v in (40, 41, 51, 91, 111, 131)]
    [3, 1, 0, 1, 2, 3]
    """
    return _look_up(_PULSE, floor(per_min + _HALF))


def temperature_points(celsius: float) -> int:
    """Points of a temperature in degrees Celsius.

    >>> [temperature_points(v) for v in (35.0, 35.05, 38.04, 38.05, 39.1)]
    [3, 1, 0, 1, 2]
    """
    return _look_up(_TEMPERATURE, floor(celsius * 10 + _HALF))


def consciousness_points(acvpu: str) -> int:
    """Points of a level of consciousness: A 0, new Confusion, Voice, Pain, Unresponsive 3."""
    return chart.CONSCIOUSNESS[acvpu]


def interval(values: dict[Vital, float | str], scale: int) -> tuple[int, int, bool, tuple[int | None, ...]]:
    """(minimum, maximum, single red for certain, points a component in the chart's order) of the values at hand.

    A component not in ``values`` is missing and takes its whole range. Under scale 2 the points of SpO2 depend on
    oxygen, so a missing oxygen is tried both ways.

    >>> interval({Vital.RESPIRATION: 25.0}, 1)
    (3, 20, True, (3, None, None, None, None, None, None))
    """
    respiration = values.get(Vital.RESPIRATION)
    spo2 = values.get(Vital.SPO2)
    oxygen = values.get(Vital.SUPPLEMENTAL_OXYGEN)
    systolic = values.get(Vital.SYSTOLIC)
    pulse = values.get(Vital.HEART_RATE)
    awake = values.get(Vital.CONSCIOUSNESS)
    temperature = values.get(Vital.TEMPERATURE)

    rr_points = None if respiration is None else respiration_points(float(respiration))
    sbp_points = None if systolic is None else systolic_points(float(systolic))
    hr_points = None if pulse is None else pulse_points(float(pulse))
    acvpu_points = None if awake is None else consciousness_points(str(awake))
    temp_points = None if temperature is None else temperature_points(float(temperature))
    oxygen_points = None if oxygen is None else (chart.OXYGEN_POINTS if float(oxygen) > 0 else 0)

    low = high = 0
    for points, worst in ((rr_points, 3), (sbp_points, 3), (hr_points, 3), (acvpu_points, 3), (temp_points, 3)):
        low += 0 if points is None else points
        high += worst if points is None else points

    on_oxygen = (True, False) if oxygen is None else (float(oxygen) > 0,)
    totals = []
    spo2_seen = []
    for breathing_oxygen in on_oxygen:
        extra = chart.OXYGEN_POINTS if breathing_oxygen else 0
        if spo2 is None:
            totals += [extra, extra + chart.RED]
        else:
            points = spo2_points(float(spo2), scale, breathing_oxygen)
            spo2_seen.append(points)
            totals.append(extra + points)
    low += min(totals)
    high += max(totals)
    certain = spo2_seen[0] if spo2_seen and min(spo2_seen) == max(spo2_seen) else None
    each = (rr_points, certain, oxygen_points, sbp_points, hr_points, acvpu_points, temp_points)
    return low, high, chart.RED in each, each
