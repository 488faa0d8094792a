"""One vital over a span: what can be believed, where nothing is known, what was beyond the limits. Pure numpy."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.clinical.codes import UNIT_ALIASES, VITALS
from contracts.clinical.plausibility import NO_SIGNAL_VALUES, PLAUSIBLE
from contracts.records import Quality, Vital
from models.ward.policy import Limits, Policy

SHOWN: Final = (
    Vital.HEART_RATE,
    Vital.RESPIRATION,
    Vital.SPO2,
    Vital.SYSTOLIC,
    Vital.MEAN_PRESSURE,
    Vital.DIASTOLIC,
    Vital.TEMPERATURE,
)
POINTS: Final = 720
"""A trend is drawn with so many points at the most: more are not seen on paper."""
USUAL: Final = 3
"""A vital is missing only after so many times its usual interval."""
SOON_MS: Final = 10_000
NOT_MEASURED: Final = (Quality.NO_SIGNAL, Quality.MEASURING)
Times = NDArray[np.int64]
Values = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time [from, to); ``side`` is low or high, ``extreme`` whether the extreme limit was crossed too.

    ``worst`` is the value farthest beyond.
    """

    from_ms: int
    to_ms: int
    side: str
    extreme: bool
    worst: float


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn of one vital, in its canonical unit. Epoch ms.

    ``at_ms``, ``low``, ``middle`` and ``high`` are the points, each the least, middle and greatest reading of a short
    while; a point with ``begins`` is not joined to the one before it, for nothing is known of between. ``gaps`` are
    stretches without a reading that can be believed. ``refused`` readings are not drawn.
    """

    vital: Vital
    readings: int
    refused: int
    at_ms: tuple[int, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]
    begins: tuple[bool, ...]
    gaps: tuple[tuple[int, int], ...]
    beyond: tuple[Stretch, ...]
    limits: dict[str, float | None]
    least: float | None
    greatest: float | None
    last: float | None
    last_ms: int | None
    missing_ms: int
    beyond_ms: int


def believable(vital: Vital, values: Values, measured: Flags, in_unit: Flags) -> Flags:
    """Which readings can be judged, as the core tags each by itself (models.ward.tagging); NaN is no value.

    ``measured``: the device says that it measured (``is_measured``); ``in_unit``: its unit is the vital's (``is_in``).
    """
    low, high = PLAUSIBLE[vital]
    fine = np.isfinite(values) & (values >= low) & (values <= high) & ~np.isin(values, list(NO_SIGNAL_VALUES))
    return fine & measured & in_unit


def is_measured(quality: str | None) -> bool:
    """Whether a device that says so has measured a value."""
    return quality not in NOT_MEASURED


def is_in(vital: Vital, unit: str | None) -> bool:
    """Whether that unit is the vital's; none told is the canonical one."""
    return unit is None or UNIT_ALIASES.get(unit) == VITALS[vital].ucum


def refused(fine: Flags, values: Values, measured: Flags) -> int:
    """How many of these readings have a value that is none: implausible, or in a unit that is not known."""
    return int((np.isfinite(values) & ~fine & measured & ~np.isin(values, list(NO_SIGNAL_VALUES))).sum())


def missing_after_ms(vital: Vital, times: Times, policy: Policy) -> int:
    """After how long without a reading a vital is missing: a continuous one as soon as its absence would alarm.

    One that comes more seldom is missing after three of its usual intervals, and never later than it is stale.
    """
    stale = int(policy.stale_after_s[vital] * 1000)
    if vital not in policy.technical.continuous:
        return stale
    usual = float(np.median(np.diff(times))) if len(times) > 2 else 0.0
    return int(min(max(policy.technical.no_signal_after_s * 1000, USUAL * usual), stale))


def trend(
    vital: Vital,
    times: Times,
    values: Values,
    from_ms: int,
    to_ms: int,
    policy: Policy,
    limits: Limits | None,
    refused: int = 0,
    points: int = POINTS,
) -> Trend:
    """The vital over [from, to) out of readings that can be believed, in any order; of one moment the last one counts.

    Readings of before the span are not drawn, but hold until they are missing.
    ``limits`` None: not known, so nothing is beyond them.
    """
    order = np.argsort(times, kind="stable")
    times, values = times[order], values[order]
    before = times[times < from_ms]
    inside = (times >= from_ms) & (times < to_ms)
    times, values = times[inside], values[inside]
    if len(times):
        last_of = np.append(np.diff(times) > 0, True)
        times, values = times[last_of], values[last_of]
    after_ms = missing_after_ms(vital, times, policy)
    gaps = gaps_of(times, from_ms, to_ms, after_ms, int(before[-1]) if len(before) else None)
    out = beyond(times, values, to_ms, after_ms, limits)
    return Trend(
        vital=vital,
        readings=len(times),
        refused=refused,
        **points_of(times, values, from_ms, to_ms, after_ms, points),
        gaps=gaps,
        beyond=out,
        limits={name: getattr(limits, name, None) for name in ("extreme_low", "low", "high", "extreme_high")},
        least=float(values.min()) if len(values) else None,
        greatest=float(values.max()) if len(values) else None,
        last=float(values[-1]) if len(values) else None,
        last_ms=int(times[-1]) if len(times) else None,
        missing_ms=sum(end - start for start, end in gaps),
        beyond_ms=sum(one.to_ms - one.from_ms for one in out),
    )


def gaps_of(
    times: Times, from_ms: int, to_ms: int, after_ms: int, before_ms: int | None = None
) -> tuple[tuple[int, int], ...]:
    """Where nothing is known: from ``after_ms`` after a reading until the next, and before the first one.

    ``before_ms`` is the last reading before the span; without one, a first reading within seconds leaves no gap.
    """
    starts = np.concatenate(([from_ms if before_ms is None else max(from_ms, before_ms + after_ms)], times + after_ms))
    ends = np.concatenate((times, [to_ms]))
    if before_ms is None and len(times) and times[0] - from_ms <= min(after_ms, SOON_MS):
        starts[0] = times[0]
    found = starts < ends
    return tuple((int(a), int(b)) for a, b in zip(starts[found], ends[found], strict=True))


def beyond(times: Times, values: Values, to_ms: int, after_ms: int, limits: Limits | None) -> tuple[Stretch, ...]:
    """The stretches beyond the plain limits. A reading holds until the next one, or until it is missing."""
    if limits is None or not len(times):
        return ()
    low = np.inf * -1 if limits.low is None else limits.low
    high = np.inf if limits.high is None else limits.high
    side = np.where(values < low, -1, np.where(values > high, 1, 0))
    until = np.minimum(np.append(times[1:], to_ms), times + after_ms)
    broken = np.append(True, (side[1:] != side[:-1]) | (times[1:] > until[:-1]))
    first = np.flatnonzero(broken)
    found = []
    for start, end in zip(first, np.append(first[1:], len(times)), strict=True):
        if side[start]:
            part = values[start:end]
            is_low = side[start] < 0
            worst = float(part.min() if is_low else part.max())
            edge = limits.extreme_low if is_low else limits.extreme_high
            found.append(
                Stretch(
                    from_ms=int(times[start]),
                    to_ms=int(until[end - 1]),
                    side="low" if is_low else "high",
                    extreme=edge is not None and (worst < edge if is_low else worst > edge),
                    worst=worst,
                )
            )
    return tuple(found)


def points_of(
    times: Times, values: Values, from_ms: int, to_ms: int, after_ms: int, points: int = POINTS
) -> dict[str, Any]:
    """The fields of a trend's points out of readings in order of time; see Trend."""
    if not len(times):
        return dict.fromkeys(("at_ms", "low", "middle", "high", "begins"), ())
    joined = np.append(False, np.diff(times) <= after_ms)
    if len(times) <= points:
        cells = np.arange(len(times))
    else:  # a new point at each cell of the grid, and after each gap
        cells = np.cumsum(np.append(True, (np.diff((times - from_ms) * points // (to_ms - from_ms)) > 0) | ~joined[1:]))
    first = np.flatnonzero(np.append(True, np.diff(cells) > 0))
    counts = np.diff(np.append(first, len(times)))
    ordered = values[np.lexsort((values, cells))]
    return {
        "at_ms": tuple(((times[first] + times[first + counts - 1]) // 2).tolist()),
        "low": tuple(np.minimum.reduceat(values, first).tolist()),
        "middle": tuple(ordered[first + (counts - 1) // 2].tolist()),
        "high": tuple(np.maximum.reduceat(values, first).tolist()),
        "begins": tuple((~joined[first]).tolist()),
    }
