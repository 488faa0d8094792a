"""What a side's alarms cost those who hear them: per bed-day, in floods, on few beds, until somebody answers."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final

from contracts.records import Category
from streams.compare.episodes import Alert

DAY_S: Final = 86_400
MINUTE_MS: Final = 60_000
FLOOD: Final = 10
FLOOD_MS: Final = 600_000
Bed = tuple[str, str]


def burden(alerts: Sequence[Alert], heard_s: Mapping[Bed, float]) -> dict[str, Any]:
    """The measures of alarm fatigue over alarms raised in the span; advisories are silent and counted apart.

    ``heard_s``: for how long each bed was heard. A minute is in flood when a ward raised ten alarms or more in the ten
    minutes up to its end (EEMUA 191's rate, a ward for an operator).
    """
    raised = [alert for alert in alerts if alert.raised_ms is not None]
    loud = [alert for alert in raised if alert.sounds]
    bed_days = sum(heard_s.values()) / DAY_S
    per_bed = Counter((alert.episode.ward, alert.bed) for alert in loud)
    return {
        "beds": len(heard_s),
        "bed_days": round(bed_days, 4),
        "alarms": len(loud),
        "alarms_per_bed_day": _rate(len(loud), bed_days),
        "signals": sum(len(alert.signals_ms) for alert in alerts),
        "advisories": len(raised) - len(loud),
        "advisories_per_bed_day": _rate(len(raised) - len(loud), bed_days),
        "technical_share": _share(sum(alert.category is Category.TECHNICAL for alert in loud), len(loud)),
        "by_priority": dict(sorted(Counter(str(alert.priority) for alert in loud).items())),
        "by_condition": dict(sorted(Counter(alert.episode.condition for alert in raised).items())),
        "flood_minutes": flood_minutes(loud),
        "top_tenth_share": top_tenth(per_bed, len(heard_s)),
        "acknowledge_s": acknowledged(loud),
    }


def flood_minutes(loud: Sequence[Alert]) -> int:
    """Minutes, over all wards, at whose end ten alarms or more had been raised in ten minutes."""
    by_ward: defaultdict[str, list[int]] = defaultdict(list)
    for alert in loud:
        if alert.raised_ms is not None:
            by_ward[alert.episode.ward].append(alert.raised_ms)
    minutes = 0
    for times in by_ward.values():
        times.sort()
        ends = {(at // MINUTE_MS + k + 1) * MINUTE_MS for at in times for k in range(FLOOD_MS // MINUTE_MS)}
        for end in ends:
            minutes += bisect_right(times, end - 1) - bisect_right(times, end - 1 - FLOOD_MS) >= FLOOD
    return minutes


def top_tenth(per_bed: Mapping[Bed, int], beds: int) -> float | None:
    """The share of all alarms that the tenth of the beds with the most of them makes; None without alarms."""
    counts = sorted(per_bed.values(), reverse=True)
    return _share(sum(counts[: ceil(max(beds, len(counts)) / 10)]), sum(counts))


def acknowledged(loud: Sequence[Alert]) -> dict[str, Any]:
    """How many were acknowledged, and how many seconds after they were raised."""
    waits = sorted(
        max(0.0, (alert.acknowledged_ms - alert.raised_ms) / 1000)
        for alert in loud
        if alert.acknowledged_ms is not None and alert.raised_ms is not None
    )
    return {"n": len(waits), "p50": quantile(waits, 0.5), "p95": quantile(waits, 0.95)}


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The smallest value that at least a share ``q`` of ``ordered`` does not exceed; None of nothing."""
    return ordered[max(0, ceil(q * len(ordered)) - 1)] if ordered else None


def _rate(count: int, bed_days: float) -> float | None:
    return round(count / bed_days, 2) if bed_days else None


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
