"""NEWS2 as an interval: what is missing may be anything, so the total is [minimum, maximum], never a silent zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import Any, Final, NamedTuple

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


def oxygen_points(litres_per_min: float) -> int:
    """Points of supplemental oxygen: any flow above 0 scores 2."""
    return chart.OXYGEN_POINTS if litres_per_min > 0 else 0


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


class Row(NamedTuple):
    """One component: points of the usual values, of any value, and the most it can score. SpO2 as on scale 1."""

    usual: Mapping[Any, int]
    points_of: Callable[[Any], int]
    worst: int


ROWS: Final = (
    Row(_usual(_RESPIRATION), respiration_points, chart.RED),
    Row(_usual(_SPO2_1), lambda percent: spo2_points(percent, 1, False), chart.RED),
    Row({0.0: 0}, oxygen_points, chart.OXYGEN_POINTS),
    Row(_usual(_SYSTOLIC), systolic_points, chart.RED),
    Row(_usual(_PULSE), pulse_points, chart.RED),
    Row(dict(chart.CONSCIOUSNESS), consciousness_points, chart.RED),
    Row(_usual(_TEMPERATURE, 10), temperature_points, chart.RED),
)
"""By place in the chart."""
_SPO2: Final = chart.COMPONENTS.index(Vital.SPO2)
_OXYGEN: Final = chart.COMPONENTS.index(Vital.SUPPLEMENTAL_OXYGEN)


def total(values: Sequence[Any], scale: int) -> tuple[int, int, bool, tuple[int | None, ...]]:
    """``interval`` of a value a component, in the chart's order; None is missing.

    >>> total([16.0, 97.0, 0.0, 120.0, 70.0, "A", None], 1)
    (0, 3, False, (0, 0, 0, 0, 0, 0, None))
    """
    low = missing = 0
    points: list[int | None] = []
    for value, (usual, points_of, worst) in zip(values, ROWS, strict=True):
        if value is None:
            missing += worst
            points.append(None)
        else:
            scored = usual.get(value)
            if scored is None:
                scored = points_of(value)
            low += scored
            points.append(scored)
    high = low + missing
    if scale != 1:
        low, high = rescale(points, low, high, values[_SPO2], scale)
    return low, high, chart.RED in points, tuple(points)


def rescale(points: list[int | None], low: int, high: int, spo2: float | None, scale: int) -> tuple[int, int]:
    """(minimum, maximum) on a scale where the points of SpO2 depend on oxygen; sets those of SpO2 in ``points``.

    ``points``, ``low`` and ``high`` are those on scale 1: the two are taken out and put back together.
    """
    on_scale_1, oxygen = points[_SPO2], points[_OXYGEN]
    low -= (on_scale_1 or 0) + (oxygen or 0)
    high -= (chart.RED if on_scale_1 is None else on_scale_1) + (chart.OXYGEN_POINTS if oxygen is None else oxygen)
    points[_SPO2], least, most = _breathing(spo2, oxygen, scale)
    return low + least, high + most


def _breathing(spo2: float | None, oxygen: int | None, scale: int) -> tuple[int | None, int, int]:
    """(points of SpO2 where certain, least, most of SpO2 and oxygen together); a missing oxygen is tried both ways."""
    ways = (chart.OXYGEN_POINTS, 0) if oxygen is None else (oxygen,)
    if spo2 is None:
        return None, min(ways), max(ways) + chart.RED
    seen = [spo2_points(spo2, scale, extra > 0) for extra in ways]
    totals = [extra + points for extra, points in zip(ways, seen, strict=True)]
    return seen[0] if min(seen) == max(seen) else None, min(totals), max(totals)
