"""The alarm state machine of one condition of one patient, as pure functions over an immutable ``Alarm``.

    (none) ── breach ──> pending ── still there after its delay ──> active ── acknowledge ──> acknowledged
                            │ calm                                   │  ^                        │   │
                            v                                   calm │  │ re-alarm by time,      │   │ calm
                         (none)                                      │  └ or a higher priority ──┘   v
                                          (none) <── low, technical ─┤                            (none)
                                                                     v high
                                                                  latched ── acknowledge ──> (none)

Breaches and calm are judged by event time, re-alarm, escalation and the end of a pause by log time. A technical alarm
never latches; a pause always ends; a higher priority always breaks through. An advisory neither latches nor sounds:
nothing comes of time alone but its end, when its model falls silent.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import msgspec

from contracts.records import AlarmEvent, AlarmState, Category, Driver, Priority, Vital
from models.ward.policy import AlarmRule

RANK: Final = {Priority.LOW: 0, Priority.MEDIUM: 1, Priority.HIGH: 2}

_ACTIVE: Final = AlarmState.ACTIVE
_PENDING: Final = AlarmState.PENDING
_ACKNOWLEDGED: Final = AlarmState.ACKNOWLEDGED
_LATCHED: Final = AlarmState.LATCHED
_INACTIVE: Final = AlarmState.INACTIVE


class Advice(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is behind an advisory: the model (``name@version``), its probability or score, its drivers, its lead.

    ``heard_clock_ms`` is the ward's clock when the model last said that it goes on.
    """

    model: str
    probability: float
    drivers: tuple[Driver, ...]
    lead_s: int | None
    heard_clock_ms: int


class Alarm(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One alarm condition that is not inactive. Times in epoch ms; ``signalled_ms``, ``acked_ms`` are log times.

    ``onset_ms`` is the event time of the first breach, ``severe_ms`` since when the severe limit is breached,
    ``relapse_ms`` since when a latched condition is back. ``seq`` numbers the next transition.
    """

    condition: str
    category: Category
    priority: Priority
    state: AlarmState
    onset_ms: int
    breach_ms: int
    message: str
    vital: Vital | None = None
    value: float | str | None = None
    limit: float | None = None
    severe_ms: int | None = None
    relapse_ms: int | None = None
    alert_id: str | None = None
    seq: int = 0
    signalled_ms: int = 0
    acked_ms: int = 0
    audio_until_ms: int | None = None
    escalation: int = 0
    advice: Advice | None = None


class Breach(NamedTuple):
    """A condition found to hold at ``at_ms`` (event time), by a reading of then or of ``reading_ms``."""

    at_ms: int
    priority: Priority
    message: str
    vital: Vital | None = None
    value: float | str | None = None
    limit: float | None = None
    reading_ms: int | None = None
    advice: Advice | None = None


class Change(NamedTuple):
    """What happened (None: nothing to tell) and the alarm after it (None: inactive)."""

    event: AlarmEvent | None
    after: Alarm | None
    before: Alarm | None = None


def alert_id(policy: str, patient: str, condition: str, onset_ms: int) -> str:
    """The same episode under the same policy always has the same id: 16 hex digits.

    >>> alert_id("840263182b44", "p-0001", "spo2_low", 1767340800000)
    'a4374bd3d66af412'
    """
    return hashlib.sha256(f"{policy}|{patient}|{condition}|{onset_ms}".encode()).hexdigest()[:16]


def on_breach(
    alarm: Alarm | None,
    condition: str,
    category: Category,
    breach: Breach,
    delay_ms: int,
    severe_delay_ms: int,
    may_raise: bool,
) -> tuple[Alarm, AlarmEvent | None]:
    """The alarm after its condition was seen to hold at ``breach.at_ms``.

    ``may_raise`` False (the reading is too old to matter by itself) lets it wait in pending and change nothing else.
    """
    severe = breach.priority is Priority.HIGH
    if alarm is None:
        alarm = Alarm(
            condition,
            category,
            breach.priority,
            _PENDING,
            breach.at_ms,
            breach.at_ms,
            breach.message,
            breach.vital,
            breach.value,
            breach.limit,
            breach.at_ms if severe else None,
        )
    severe_ms = (breach.at_ms if alarm.severe_ms is None else alarm.severe_ms) if severe else None
    state = alarm.state
    held_ms = breach.at_ms - (alarm.onset_ms if alarm.relapse_ms is None else alarm.relapse_ms)
    severe_held = severe_ms is not None and breach.at_ms - severe_ms >= severe_delay_ms
    event: AlarmEvent | None = None
    priority = alarm.priority
    relapse_ms = alarm.relapse_ms

    if state is _PENDING:
        priority = breach.priority if severe_held or not severe else _lower(category, breach.priority)
        if may_raise and (held_ms >= delay_ms or severe_held):
            state, event = _ACTIVE, AlarmEvent.RAISED
    elif state is _LATCHED:
        if relapse_ms is None:
            relapse_ms, held_ms = breach.at_ms, 0
        if may_raise and (held_ms >= delay_ms or severe_held):
            state, event, relapse_ms = _ACTIVE, AlarmEvent.REALARMED, None
    elif may_raise and RANK[breach.priority] > RANK[priority] and (severe_held or not severe):
        state, event, priority = _ACTIVE, AlarmEvent.PRIORITY_RAISED, breach.priority

    return (
        msgspec.structs.replace(
            alarm,
            state=state,
            priority=priority,
            breach_ms=max(alarm.breach_ms, breach.at_ms if breach.reading_ms is None else breach.reading_ms),
            message=breach.message,
            value=breach.value,
            limit=breach.limit,
            severe_ms=severe_ms,
            relapse_ms=relapse_ms,
            advice=breach.advice,
        ),
        event,
    )


def on_calm(alarm: Alarm, latch: tuple[Priority, ...]) -> tuple[Alarm | None, AlarmEvent | None]:
    """The alarm after its condition was seen to be over (beyond the hysteresis)."""
    if alarm.state is _PENDING:
        return None, None
    if alarm.state is _LATCHED:
        if alarm.relapse_ms is None and alarm.severe_ms is None:
            return alarm, None
        return msgspec.structs.replace(alarm, relapse_ms=None, severe_ms=None), None
    latches = alarm.category is Category.PHYSIOLOGICAL and alarm.priority in latch
    if alarm.state is _ACTIVE and latches:
        return msgspec.structs.replace(alarm, state=_LATCHED, severe_ms=None, relapse_ms=None), AlarmEvent.LATCHED
    return None, AlarmEvent.CLEARED


def on_lull(alarm: Alarm) -> Alarm:
    """The alarm after a value inside the limit but not beyond the hysteresis: it stays, its timings start anew.

    That is: how long a severe breach has lasted, and since when a latched condition is back.
    """
    if alarm.severe_ms is None and alarm.relapse_ms is None:
        return alarm
    return msgspec.structs.replace(alarm, severe_ms=None, relapse_ms=None)


def due(alarm: Alarm, now_ms: int, rule: AlarmRule) -> list[AlarmEvent]:
    """What log time alone brings by ``now_ms``: the pause ends, it sounds again, or it is escalated.

    Not to be asked about an advisory, to which none of this happens.
    """
    events = []
    if alarm.audio_until_ms is not None and now_ms >= alarm.audio_until_ms:
        events.append(AlarmEvent.AUDIO_RESUMED)
    if alarm.state is _ACKNOWLEDGED:
        if now_ms - alarm.acked_ms >= rule.realarm_after_s * 1000:
            events.append(AlarmEvent.REALARMED)
    elif (
        alarm.state in (_ACTIVE, _LATCHED)
        and (alarm.category is Category.PHYSIOLOGICAL or alarm.priority is not Priority.LOW)
        and alarm.escalation < rule.escalation_levels
        and now_ms - alarm.signalled_ms >= rule.escalate_after_s * 1000 * (alarm.escalation + 1)
    ):
        events.append(AlarmEvent.ESCALATED)
    return events


def on_time(alarm: Alarm, event: AlarmEvent, now_ms: int) -> Alarm:
    """The alarm after one of the events that ``due`` names."""
    if event is AlarmEvent.AUDIO_RESUMED:
        return msgspec.structs.replace(alarm, audio_until_ms=None)
    if event is AlarmEvent.REALARMED:
        return msgspec.structs.replace(alarm, state=_ACTIVE, signalled_ms=now_ms, escalation=0, audio_until_ms=None)
    return msgspec.structs.replace(alarm, escalation=alarm.escalation + 1)


def on_acknowledge(alarm: Alarm, now_ms: int) -> tuple[Alarm | None, AlarmEvent | None]:
    """The alarm after a person took note of it; only an active or latched one can be acknowledged."""
    if alarm.state is _LATCHED:
        return None, AlarmEvent.ACKNOWLEDGED
    if alarm.state is not _ACTIVE:
        return alarm, None
    after = msgspec.structs.replace(alarm, state=_ACKNOWLEDGED, acked_ms=now_ms, audio_until_ms=None)
    return after, AlarmEvent.ACKNOWLEDGED


def _lower(category: Category, priority: Priority) -> Priority:
    """A severe breach not yet severe for long enough counts at the priority below; technical ones have no such step."""
    if category is Category.TECHNICAL or priority is not Priority.HIGH:
        return priority
    return Priority.MEDIUM
