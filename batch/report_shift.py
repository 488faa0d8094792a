"""The page of one patient's shift as data: what stands on it, to be drawn, printed as JSON or tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import Final

import msgspec
import numpy as np

from batch import report_rows, trends
from batch.burden import Alarm, Burden, burden, raised_in, within
from batch.report_lake import Provenance, Reader
from batch.report_time import HOUR_MS, length_shown, shown, zone_shown
from batch.trends import Trend
from contracts.records import Vital
from models.ward.policy import Limits, Policy

FEW_MS: Final = (60_000, 300_000, 600_000, 900_000, 1_800_000, HOUR_MS)
"""Forecasts are drawn once in so long: the shortest that leaves twelve of them, an hour for a shift."""
BANDS: Final = 12
AHEAD: Final = 8
"""A forecast at the span's end is drawn for an eighth of the span beyond it."""
SCORED_MS: Final = 60_000
"""A NEWS2 interval is not known for longer than this after it was scored."""
STEPS: Final = 1500


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """NEWS2 was at least ``least`` and at most ``most`` over [from, to)."""

    from_ms: int
    to_ms: int
    least: int
    most: int


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """One forecast as it was in force: made at ``at_ms``, drawn up to the next one. ``levels`` are the outer two."""

    vital: Vital
    made_ms: int
    engine: str
    levels: tuple[float, float]
    at_ms: tuple[int, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


class ShiftPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page. Epoch ms; ``zone`` says in words whose clock is written.

    ``ends_ms`` is the right end of the axis: beyond ``to_ms`` there are only forecasts. ``policies`` are hashes in the
    order in which they came into force; the limits of ``trends`` are those of the last one, where it is at hand.
    """

    patient: str
    wards: tuple[str, ...]
    beds: tuple[str, ...]
    from_ms: int
    to_ms: int
    ends_ms: int
    zone: str
    policies: tuple[str, ...]
    models: tuple[str, ...]
    heard_s: float
    trends: dict[Vital, Trend]
    news2: tuple[Step, ...]
    anomaly_ms: tuple[int, ...]
    anomaly: tuple[float, ...]
    anomaly_begins: tuple[bool, ...]
    anomaly_from: float
    bands: tuple[Band, ...]
    alarms: tuple[Alarm, ...]
    advisories: tuple[Alarm, ...]
    burden: Burden
    notes: tuple[str, ...]
    foot: Provenance


def shift_page(
    reader: Reader,
    patient: str,
    wards: Sequence[str],
    from_ms: int,
    to_ms: int,
    zone: tzinfo,
    policies: Mapping[str, Policy],
    made_ms: int,
) -> ShiftPage:
    """Read what the page needs and put it together. ``policies``: those at hand, by hash; the first is the default."""
    scored = report_rows.scores(reader, wards, patient, from_ms, to_ms)
    outlook = report_rows.outlooks(reader, wards, patient, from_ms, to_ms)
    read = report_rows.readings(reader, wards, patient, from_ms, to_ms)
    made = report_rows.forecasts(reader, wards, patient, marks(from_ms, to_ms), from_ms)
    found = within(report_rows.alarms_of(reader, wards, from_ms, to_ms, patient), from_ms, to_ms)
    order = sorted(scored.policies, key=lambda name: scored.policies[name])
    policy, limits, notes = in_force(order, scored.policies, policies, wards, patient, zone)
    drawn = trends_of(read, from_ms, to_ms, policy, limits)
    bands, ends_ms = bands_of(made, drawn, from_ms, to_ms)
    odd = trends.points_of(outlook.at_ms, outlook.anomaly, from_ms, to_ms, SCORED_MS)
    raised = raised_in(found, from_ms, to_ms)
    seen = [one.last_ms for one in drawn.values() if one.last_ms is not None]
    first = [one.at_ms[0] for one in drawn.values() if one.at_ms]
    refused = sum(one.refused for one in drawn.values())
    notes += [f"{refused} readings are not drawn: no living patient on a working sensor shows them"] if refused else []
    return ShiftPage(
        patient=patient,
        wards=tuple(wards),
        beds=tuple(scored.beds),
        from_ms=from_ms,
        to_ms=to_ms,
        ends_ms=ends_ms,
        zone=zone_shown(from_ms, to_ms, zone),
        policies=tuple(order),
        models=tuple(sorted({*outlook.models, *(name for one in made.values() for name in one.models)})),
        heard_s=scored.heard_s,
        trends=drawn,
        news2=steps(scored, from_ms, to_ms),
        anomaly_ms=odd["at_ms"],
        anomaly=odd["high"],
        anomaly_begins=odd["begins"],
        anomaly_from=policy.models.anomaly_from,
        bands=bands,
        alarms=tuple(alarm for alarm in found if alarm.sounds),
        advisories=tuple(alarm for alarm in found if not alarm.sounds),
        burden=burden(raised, {patient: scored.heard_s} if scored.heard_s else {}),
        notes=tuple(notes),
        foot=reader.provenance(min(first, default=None), max(seen, default=None), made_ms),
    )


def in_force(
    order: Sequence[str],
    seen: Mapping[str, tuple[int, int]],
    policies: Mapping[str, Policy],
    wards: Sequence[str],
    patient: str,
    zone: tzinfo,
) -> tuple[Policy, Mapping[Vital, Limits], list[str]]:
    """The policy whose limits are drawn, those limits, and what must be said of it.

    A policy that is not at hand draws no limits; how soon a vital counts as missing is then the default's word.
    """
    notes = []
    default = next(iter(policies.values()))
    if len(order) > 1:
        changes = ", ".join(f"{name} from {shown(seen[name][0], zone, '%H:%M')}" for name in order)
        notes.append(f"the alarm policy changed ({changes}): the limits drawn are those of the last one")
    if not order:
        return default, {}, notes
    policy = policies.get(order[-1])
    if policy is None:
        notes.append(f"limits are not drawn: policy {order[-1]} is not at hand (--policy FILE)")
        return default, {}, notes
    return policy, policy.limits_for(wards[-1] if wards else "", patient), notes


def trends_of(
    read: Mapping[Vital, report_rows.Readings], from_ms: int, to_ms: int, policy: Policy, limits: Mapping[Vital, Limits]
) -> dict[Vital, Trend]:
    """Every vital that pages show, also those of which nothing was read."""
    nothing = report_rows.Readings()
    return {
        vital: trends.trend(vital, one.times, one.values, from_ms, to_ms, policy, limits.get(vital), one.refused)
        for vital in trends.SHOWN
        for one in [read.get(vital, nothing)]
    }


def marks(from_ms: int, to_ms: int) -> list[int]:
    """The moments whose last forecast is drawn: round ones within the span, and its end."""
    step = next((each for each in FEW_MS if (to_ms - from_ms) / each <= BANDS), FEW_MS[-1])
    return [*range(-(-(from_ms + 1) // step) * step, to_ms, step), to_ms]


def bands_of(
    made: Mapping[tuple[int, Vital], report_rows.Made], drawn: Mapping[Vital, Trend], from_ms: int, to_ms: int
) -> tuple[tuple[Band, ...], int]:
    """The forecasts as bands, each up to the next one of its vital, and the right end of the axis."""
    by_vital: dict[Vital, list[report_rows.Made]] = {}
    for one in sorted(made.values(), key=lambda each: each.at_ms):
        if one.ahead and (not by_vital.get(one.vital) or by_vital[one.vital][-1].at_ms < one.at_ms):
            by_vital.setdefault(one.vital, []).append(one)
    reach = (to_ms - from_ms) // AHEAD
    latest = max((of[-1].at_ms for of in by_vital.values()), default=from_ms)
    ends_ms = to_ms + reach if by_vital and latest >= to_ms - reach else to_ms
    bands = []
    for vital, of in by_vital.items():
        for one, until_ms in zip(of, [*(each.at_ms for each in of[1:]), ends_ms], strict=True):
            band = band_of(one, drawn.get(vital), until_ms)
            bands += [] if band is None else [band]
    return tuple(bands), ends_ms


def band_of(one: report_rows.Made, trend: Trend | None, until_ms: int) -> Band | None:
    """From the value in force, where there is one, to the quantiles ahead; None when it says nothing before then."""
    at = [one.at_ms + 1000 * horizon_s for horizon_s, _ in one.ahead]
    rows = [(row[0], row[len(row) // 2], row[-1]) for _, row in one.ahead]
    known = None if trend is None else value_at(trend, one.at_ms)
    if known is not None:
        at, rows = [one.at_ms, *at], [(known,) * 3, *rows]
    kept = [n for n, each in enumerate(at) if each < until_ms]
    if not kept:
        return None
    ends = np.array([np.interp(until_ms, at, column) for column in zip(*rows, strict=True)])
    if at[-1] >= until_ms:  # cut where the next one takes over
        at, rows = [*(at[n] for n in kept), until_ms], [*(rows[n] for n in kept), tuple(ends.tolist())]
    low, middle, high = zip(*rows, strict=True)
    outer = (one.levels[0], one.levels[-1]) if one.levels else (0.0, 1.0)
    return Band(
        vital=one.vital,
        made_ms=one.at_ms,
        engine=one.engine,
        levels=outer,
        at_ms=tuple(at),
        low=low,
        middle=middle,
        high=high,
    )


def value_at(trend: Trend, at_ms: int) -> float | None:
    """The value in force at that moment; None within a gap."""
    if any(start <= at_ms < end for start, end in trend.gaps) or not trend.at_ms or at_ms < trend.at_ms[0]:
        return None
    return trend.middle[int(np.searchsorted(trend.at_ms, at_ms, side="right")) - 1]


def steps(scored: report_rows.Scored, from_ms: int, to_ms: int) -> tuple[Step, ...]:
    """NEWS2 as stretches of one interval each; where nobody scored for a minute there is none.

    Of a span with many changes, the envelope over short whiles.
    """
    known = np.isfinite(scored.least) & np.isfinite(scored.most)
    at, least, most = scored.at_ms[known], scored.least[known], scored.most[known]
    if not len(at):
        return ()
    until = np.minimum(np.append(at[1:], to_ms), at + SCORED_MS)
    joined = np.append(False, at[1:] <= until[:-1])
    same = joined & np.append(False, (np.diff(least) == 0) & (np.diff(most) == 0))
    first = np.flatnonzero(~same)
    if len(first) > STEPS:
        cell = (at - from_ms) * STEPS // (to_ms - from_ms)
        first = np.flatnonzero(np.append(True, np.diff(cell) > 0) | ~joined)
    last = np.append(first[1:], len(at)) - 1
    lows, highs = np.minimum.reduceat(least, first), np.maximum.reduceat(most, first)
    return tuple(
        Step(from_ms=int(at[a]), to_ms=int(until[b]), least=int(low), most=int(high))
        for a, b, low, high in zip(first, last, lows, highs, strict=True)
    )


def lines(page: ShiftPage) -> list[str]:
    """The page in a few words, for a terminal."""
    waits = page.burden.acknowledge
    median = "" if waits.median_s is None else f", half of them within {length_shown(waits.median_s * 1000)}"
    return [
        f"{page.patient} in {', '.join(page.beds) or 'no bed'}: heard for {length_shown(page.heard_s * 1000)}",
        f"{page.burden.alarms} alarms raised, {waits.acknowledged} acknowledged{median}; "
        f"{page.burden.advisories} advisories",
        *page.notes,
    ]
