"""The alarms of a span as episodes, and the measures of burden over them: pure, from rows of the table ``alerts``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from contracts.records import AlarmEvent, AlarmState, Category, Priority
from models.burden import DAY_S, flooded, quantile, rate, share, top_tenth
from models.ward.alarms import RANK

SIGNALS: Final = frozenset({AlarmEvent.RAISED, AlarmEvent.REALARMED, AlarmEvent.PRIORITY_RAISED})
LEAD_S: Final = 3600
"""How far an advisory that tells no lead is taken to look ahead."""
Row = Mapping[str, Any]


class Alarm(msgspec.Struct, kw_only=True):
    """One episode as far as the rows show it. Epoch ms UTC.

    ``raised_ms`` is None when no row tells of it, ``ended_ms`` while it lasts. ``priority`` is the highest it had,
    ``signals`` how often it sounded: raised, again, or at a higher priority. An advisory is silent.
    """

    alert_id: str
    bed: str
    patient: str
    condition: str
    category: Category
    priority: Priority
    message: str
    onset_ms: int
    raised_ms: int | None = None
    acknowledged_ms: int | None = None
    ended_ms: int | None = None
    signals: int = 0
    escalation: int = 0
    vital: str | None = None
    model: str | None = None
    probability: float | None = None
    lead_s: int | None = None

    @property
    def sounds(self) -> bool:
        """Advisories are silent."""
        return self.category is not Category.ADVISORY

    @property
    def start_ms(self) -> int:
        """When it was raised, or began where that is not known."""
        return self.onset_ms if self.raised_ms is None else self.raised_ms

    @property
    def acknowledged_s(self) -> float | None:
        """Seconds from raised to acknowledged; None where either is not known."""
        if self.raised_ms is None or self.acknowledged_ms is None:
            return None
        return max(0.0, (self.acknowledged_ms - self.raised_ms) / 1000)

    def stood_s(self, until_ms: int) -> float:
        """Seconds that it stood before anybody answered or it was over, at most until then."""
        ends = [at for at in (self.acknowledged_ms, self.ended_ms, until_ms) if at is not None]
        return max(0.0, (min(ends) - self.start_ms) / 1000)


def alarms(rows: Iterable[Row]) -> list[Alarm]:
    """Episodes out of transitions in any order, each told once or more often; in the order in which they began."""
    steps = {(row["alert_id"], row["seq"]): row for row in rows}
    found: dict[str, Alarm] = {}
    for (alert_id, _), row in sorted(steps.items(), key=lambda item: item[0]):
        alarm = found.get(alert_id)
        if alarm is None:
            alarm = found[alert_id] = Alarm(
                alert_id=alert_id,
                bed=row["bed"],
                patient=row["patient"],
                condition=row["condition"],
                category=Category(row["category"]),
                priority=Priority(row["priority"]),
                message=row["message"],
                onset_ms=row["onset_ms"],
            )
        _note(alarm, row)
    return sorted(found.values(), key=lambda alarm: (alarm.start_ms, alarm.bed, alarm.condition, alarm.alert_id))


def _note(alarm: Alarm, row: Row) -> None:
    event, at_ms = row["event"], row["event_ms"]
    alarm.priority = max(alarm.priority, Priority(row["priority"]), key=RANK.__getitem__)
    alarm.escalation = max(alarm.escalation, row.get("escalation") or 0)
    for name in ("vital", "model", "probability", "lead_s"):
        if getattr(alarm, name) is None:
            setattr(alarm, name, row.get(name))
    if event == AlarmEvent.RAISED:
        alarm.raised_ms, alarm.message = at_ms, row["message"]
    if event in SIGNALS and alarm.sounds:
        alarm.signals += 1
    if event == AlarmEvent.ACKNOWLEDGED and alarm.acknowledged_ms is None:
        alarm.acknowledged_ms = at_ms
    if row["state"] == AlarmState.INACTIVE:
        alarm.ended_ms = at_ms


def within(found: Iterable[Alarm], from_ms: int, to_ms: int) -> list[Alarm]:
    """Those that stood at some time of [from, to)."""
    return [a for a in found if a.start_ms < to_ms and (a.ended_ms is None or a.ended_ms > from_ms)]


def raised_in(found: Iterable[Alarm], from_ms: int, to_ms: int) -> list[Alarm]:
    """Those that were raised in [from, to)."""
    return [a for a in found if a.raised_ms is not None and from_ms <= a.raised_ms < to_ms]


class Waits(msgspec.Struct, kw_only=True, frozen=True):
    """Acknowledgements: how many alarms there were, how many were acknowledged, after how many seconds."""

    alarms: int
    acknowledged: int
    median_s: float | None
    p90_s: float | None
    p95_s: float | None


def waits(raised: Iterable[Alarm]) -> Waits:
    """Over these alarms."""
    all_of = list(raised)
    told = sorted(wait for alarm in all_of if (wait := alarm.acknowledged_s) is not None)
    return Waits(
        alarms=len(all_of),
        acknowledged=len(told),
        median_s=quantile(told, 0.5),
        p90_s=quantile(told, 0.9),
        p95_s=quantile(told, 0.95),
    )


class Burden(msgspec.Struct, kw_only=True, frozen=True):
    """The measures of one ward's span, by the definitions of ``models.burden``; advisories are counted apart.

    ``table`` is (category, priority) -> (alarms, a bed-day); ``flood_ends_ms`` are the ends of the minutes in flood.
    """

    beds: int
    bed_days: float
    alarms: int
    alarms_per_bed_day: float | None
    signals: int
    advisories: int
    advisories_per_bed_day: float | None
    technical_share: float | None
    top_tenth_share: float | None
    flood_minutes: int
    flood_ends_ms: tuple[int, ...]
    by_priority: dict[str, int]
    by_condition: dict[str, int]
    table: list[tuple[str, str, int, float | None]]
    acknowledge: Waits
    acknowledge_by_priority: dict[str, Waits]


def burden(raised: Sequence[Alarm], heard_s: Mapping[str, float]) -> Burden:
    """Over the alarms raised in a span of one ward. ``heard_s``: for how long each bed was heard."""
    loud = [alarm for alarm in raised if alarm.sounds]
    days = sum(heard_s.values()) / DAY_S
    ends = flooded(alarm.raised_ms for alarm in loud if alarm.raised_ms is not None)
    pairs = Counter((str(a.category), str(a.priority)) for a in raised)
    order = {str(c): n for n, c in enumerate(Category)}, {str(p): n for n, p in enumerate(Priority)}
    return Burden(
        beds=len(heard_s),
        bed_days=round(days, 4),
        alarms=len(loud),
        alarms_per_bed_day=rate(len(loud), days),
        signals=sum(alarm.signals for alarm in loud),
        advisories=len(raised) - len(loud),
        advisories_per_bed_day=rate(len(raised) - len(loud), days),
        technical_share=share(sum(a.category is Category.TECHNICAL for a in loud), len(loud)),
        top_tenth_share=top_tenth(Counter(a.bed for a in loud).values(), len(heard_s)),
        flood_minutes=len(ends),
        flood_ends_ms=tuple(ends),
        by_priority=dict(sorted(Counter(str(a.priority) for a in loud).items())),
        by_condition=dict(sorted(Counter(a.condition for a in raised).items())),
        table=[
            (category, priority, n, rate(n, days))
            for (category, priority), n in sorted(pairs.items(), key=lambda i: (order[0][i[0][0]], order[1][i[0][1]]))
        ],
        acknowledge=waits(loud),
        acknowledge_by_priority={
            str(priority): waits(a for a in loud if a.priority is priority)
            for priority in Priority
            if any(a.priority is priority for a in loud)
        },
    )


class Fate(msgspec.Struct, kw_only=True, frozen=True):
    """What became of the advisories of one condition by one model.

    ``followed``: a physiological alarm of the patient (of the same vital, where the advisory names one) was raised
    within the lead. ``passed``: the lead went by without one. ``open``: the data ends before the lead does.
    """

    condition: str
    model: str | None
    raised: int
    acknowledged: int
    followed: int
    passed: int
    open: int


def fates(raised: Iterable[Alarm], all_alarms: Iterable[Alarm], seen_until_ms: int) -> list[Fate]:
    """Of the advisories among ``raised``, most frequent first; ``seen_until_ms`` is where the data ends."""
    physical = [a for a in all_alarms if a.category is Category.PHYSIOLOGICAL and a.raised_ms is not None]
    groups: dict[tuple[str, str | None], list[tuple[Alarm, str]]] = {}
    for alarm in raised:
        if alarm.category is Category.ADVISORY:
            told = (alarm, fate(alarm, physical, seen_until_ms))
            groups.setdefault((alarm.condition, alarm.model), []).append(told)
    found = [
        Fate(
            condition=condition,
            model=model,
            raised=len(group),
            acknowledged=sum(alarm.acknowledged_ms is not None for alarm, _ in group),
            **Counter(dict.fromkeys(("followed", "passed", "open"), 0) | Counter(what for _, what in group)),
        )
        for (condition, model), group in groups.items()
    ]
    return sorted(found, key=lambda one: (-one.raised, one.condition, one.model or ""))


def fate(advisory: Alarm, physical: Iterable[Alarm], seen_until_ms: int) -> str:
    """``followed``, ``passed`` or ``open``; see Fate."""
    until_ms = advisory.start_ms + 1000 * (advisory.lead_s or LEAD_S)
    for alarm in physical:
        same = alarm.patient == advisory.patient and advisory.vital in (None, alarm.vital)
        if same and alarm.raised_ms is not None and advisory.start_ms < alarm.raised_ms <= until_ms:
            return "followed"
    return "open" if seen_until_ms < until_ms else "passed"
