"""Limit alarms once more, slow and obvious: it looks at the whole series again at every reading.

For one vital, read in order and without gaps, with nobody acting. No state but the list of what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from contracts.records import AlarmEvent, Priority


class Side(NamedTuple):
    """One side of one vital's limits. Times in ms."""

    low: bool
    limit: float
    extreme: float | None
    hysteresis: float
    delay_ms: int
    extreme_delay_ms: int


class Happened(NamedTuple):
    """One transition: what, at which reading, at which priority, in the episode that began when."""

    event: AlarmEvent
    at_ms: int
    priority: Priority
    onset_ms: int


def breaches(side: Side, value: float) -> bool:
    """Beyond the limit."""
    return value < side.limit if side.low else value > side.limit


def severe(side: Side, value: float) -> bool:
    """Beyond the extreme limit."""
    return side.extreme is not None and (value < side.extreme if side.low else value > side.extreme)


def recovered(side: Side, value: float) -> bool:
    """Back inside by the hysteresis."""
    return value >= side.limit + side.hysteresis if side.low else value <= side.limit - side.hysteresis


def since(flags: Sequence[bool], times: Sequence[int]) -> int | None:
    """When the run of true flags that reaches the end began; None when the last one is false."""
    start = None
    for flag, at_ms in zip(flags, times, strict=True):
        start = (at_ms if start is None else start) if flag else None
    return start


def what_happens(side: Side, times: Sequence[int], values: Sequence[float], latching: bool) -> list[Happened]:
    """Every transition of this side's alarm over the series."""
    happened: list[Happened] = []
    for n in range(1, len(times) + 1):
        now_ms, value = times[n - 1], values[n - 1]
        last = happened[-1] if happened else None
        is_open = last is not None and last.event is not AlarmEvent.CLEARED
        latched = last is not None and last.event is AlarmEvent.LATCHED
        begun_ms = since([breaches(side, v) for v in values[:n]], times[:n])
        severe_ms = since([severe(side, v) for v in values[:n]], times[:n])
        if begun_ms is None:
            if is_open and not latched and last is not None and recovered(side, value):
                high = last.priority is Priority.HIGH
                event = AlarmEvent.LATCHED if high and latching else AlarmEvent.CLEARED
                happened.append(Happened(event, now_ms, last.priority, last.onset_ms))
            continue
        long_enough = now_ms - begun_ms >= side.delay_ms
        gravely = severe_ms is not None and now_ms - severe_ms >= side.extreme_delay_ms
        if not is_open:
            if long_enough or gravely:
                priority = Priority.HIGH if gravely else Priority.MEDIUM
                happened.append(Happened(AlarmEvent.RAISED, now_ms, priority, begun_ms))
        elif last is not None and latched:
            if long_enough or gravely:
                happened.append(Happened(AlarmEvent.REALARMED, now_ms, last.priority, last.onset_ms))
        elif last is not None and gravely and last.priority is Priority.MEDIUM:
            happened.append(Happened(AlarmEvent.PRIORITY_RAISED, now_ms, Priority.HIGH, last.onset_ms))
    return happened
