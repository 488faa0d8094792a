"""NEWS2 as an interval: what is missing may be anything, so the total is [minimum, maximum], never a silent zero."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Any, Final

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


def _usual(table: tuple[int, tuple[int, ...]], per_unit: int = 1) -> dict[float, int]:
    """The points of every value in recorded precision, for a look-up without rounding."""
    first, points = table
    return {(first + n) / per_unit: each for n, each in enumerate(points)}


_USUAL_RESPIRATION: Final = _usual(_RESPIRATION)
_USUAL_SYSTOLIC: Final = _usual(_SYSTOLIC)
_USUAL_PULSE: Final = _usual(_PULSE)
_USUAL_TEMPERATURE: Final = _usual(_TEMPERATURE, 10)


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
    return total([values.get(vital) for vital in chart.COMPONENTS], scale)


def total(values: Sequence[Any], scale: int) -> tuple[int, int, bool, tuple[int | None, ...]]:
    """``interval`` of a value a component, in the chart's order; None is missing.

    >>> total([16.0, 97.0, 0.0, 120.0, 70.0, "A", None], 1)
    (0, 3, False, (0, 0, 0, 0, 0, 0, None))
    """
    respiration, spo2, oxygen, systolic, pulse, awake, temperature = values
    low = missing = 0
    rr_points = sbp_points = hr_points = acvpu_points = temp_points = None
    if respiration is None:
        missing = 3
    else:
        rr_points = _USUAL_RESPIRATION.get(respiration)
        if rr_points is None:
            rr_points = respiration_points(respiration)
        low = rr_points
    if systolic is None:
        missing += 3
    else:
        sbp_points = _USUAL_SYSTOLIC.get(systolic)
        if sbp_points is None:
            sbp_points = systolic_points(systolic)
        low += sbp_points
    if pulse is None:
        missing += 3
    else:
        hr_points = _USUAL_PULSE.get(pulse)
        if hr_points is None:
            hr_points = pulse_points(pulse)
        low += hr_points
    if awake is None:
        missing += 3
    else:
        acvpu_points = chart.CONSCIOUSNESS[awake]
        low += acvpu_points
    if temperature is None:
        missing += 3
    else:
        temp_points = _USUAL_TEMPERATURE.get(temperature)
        if temp_points is None:
            temp_points = temperature_points(temperature)
        low += temp_points

    oxygen_points = None if oxygen is None else (chart.OXYGEN_POINTS if oxygen > 0 else 0)
    if oxygen_points is not None and spo2 is not None:
        points = spo2_points(spo2, scale, oxygen_points > 0)
        certain: int | None = points
        least = most = oxygen_points + points
    else:
        certain, least, most = _oxygenation(spo2, oxygen_points, scale)
    each = (rr_points, certain, oxygen_points, sbp_points, hr_points, acvpu_points, temp_points)
    return low + least, low + missing + most, chart.RED in each, each


def _oxygenation(spo2: float | None, oxygen_points: int | None, scale: int) -> tuple[int | None, int, int]:
    """(points of SpO2 where certain, least, most of SpO2 and oxygen together) when one of them is missing."""
    ways = (chart.OXYGEN_POINTS, 0) if oxygen_points is None else (oxygen_points,)
    if spo2 is None:
        return None, min(ways), max(ways) + chart.RED
    seen = [spo2_points(spo2, scale, extra > 0) for extra in ways]
    totals = [extra + points for extra, points in zip(ways, seen, strict=True)]
    return seen[0] if min(seen) == max(seen) else None, min(totals), max(totals)
