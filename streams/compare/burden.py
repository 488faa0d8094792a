"""What a side's alarms cost those who hear them: per bed-day, in floods, on few beds, until somebody answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.records import Category
from models.burden import DAY_S, flooded, quantile, rate, share, top_tenth
from streams.compare.episodes import Alert

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
        "alarms_per_bed_day": rate(len(loud), bed_days),
        "signals": sum(len(alert.signals_ms) for alert in alerts),
        "advisories": len(raised) - len(loud),
        "advisories_per_bed_day": rate(len(raised) - len(loud), bed_days),
        "technical_share": share(sum(alert.category is Category.TECHNICAL for alert in loud), len(loud)),
        "by_priority": dict(sorted(Counter(str(alert.priority) for alert in loud).items())),
        "by_condition": dict(sorted(Counter(alert.episode.condition for alert in raised).items())),
        "flood_minutes": flood_minutes(loud),
        "top_tenth_share": top_tenth(per_bed.values(), len(heard_s)),
        "acknowledge_s": acknowledged(loud),
    }


def flood_minutes(loud: Sequence[Alert]) -> int:
    """Minutes, over all wards, at whose end ten alarms or more had been raised in ten minutes."""
    by_ward: defaultdict[str, list[int]] = defaultdict(list)
    for alert in loud:
        if alert.raised_ms is not None:
            by_ward[alert.episode.ward].append(alert.raised_ms)
    return sum(len(flooded(times)) for times in by_ward.values())


def acknowledged(loud: Sequence[Alert]) -> dict[str, Any]:
    """How many were acknowledged, and how many seconds after they were raised."""
    waits = sorted(
        max(0.0, (alert.acknowledged_ms - alert.raised_ms) / 1000)
        for alert in loud
        if alert.acknowledged_ms is not None and alert.raised_ms is not None
    )
    return {"n": len(waits), "p50": quantile(waits, 0.5), "p95": quantile(waits, 0.95)}
