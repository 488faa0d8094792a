"""What people do: acknowledge, pause and resume the sound, escalate, note, put a bed on standby."""

from __future__ import annotations

import msgspec

from contracts.records import ActionKind, AlarmEvent, AlarmState, AlertAction, Category
from models.ward import alarms as machine
from models.ward.alarmbook import AlarmBook
from models.ward.alarms import Alarm
from models.ward.roster import Roster
from models.ward.state import BedState


def act(book: AlarmBook, roster: Roster, action: AlertAction) -> None:
    """Does one action; one that is for no bed or no alarm of the ward changes nothing."""
    bed = roster.meant_by(action)
    if bed is None:
        return
    if action.kind is ActionKind.STANDBY:
        roster.release(bed, action.text or "standby", action)
        return
    chosen = [
        alarm
        for alarm in bed.alarms.values()
        if alarm.state is not AlarmState.PENDING and action.alert_id in (None, alarm.alert_id)
    ]
    bed = msgspec.structs.replace(bed, alarms=dict(bed.alarms), ended=dict(bed.ended))
    if action.kind is ActionKind.PAUSE_AUDIO:
        bed = _pause(book, bed, chosen, action)
    else:
        for alarm in chosen:
            _act_on(book, bed, alarm, action)
        if action.kind is ActionKind.RESUME_AUDIO and action.alert_id is None:
            bed = msgspec.structs.replace(bed, quiet_until_ms=0, quiet_rank=-1)
    roster.beds[bed.patient] = bed


def _pause(book: AlarmBook, bed: BedState, chosen: list[Alarm], action: AlertAction) -> BedState:
    rule = book.rulebook.alarm
    asked_s = rule.audio_pause_s if action.pause_s is None else action.pause_s
    until_ms = book.now_ms + int(min(max(asked_s, 1), rule.audio_pause_max_s) * 1000)
    sounding = [
        alarm
        for alarm in chosen
        if alarm.state in (AlarmState.ACTIVE, AlarmState.LATCHED) and alarm.category is not Category.ADVISORY
    ]
    for alarm in sounding:
        after = msgspec.structs.replace(alarm, audio_until_ms=until_ms)
        book.tell(bed, after, after.state, AlarmEvent.AUDIO_PAUSED, book.now_ms, action, action.text)
    if not sounding:
        return bed
    rank = max(machine.RANK[alarm.priority] for alarm in sounding)
    return msgspec.structs.replace(bed, quiet_until_ms=until_ms, quiet_rank=rank)


def _act_on(book: AlarmBook, bed: BedState, alarm: Alarm, action: AlertAction) -> None:
    after: Alarm | None = alarm
    event: AlarmEvent | None = None
    if action.kind is ActionKind.ACKNOWLEDGE:
        after, event = machine.on_acknowledge(alarm, book.now_ms)
    elif action.kind is ActionKind.RESUME_AUDIO:
        if alarm.audio_until_ms is not None:
            after, event = msgspec.structs.replace(alarm, audio_until_ms=None), AlarmEvent.AUDIO_RESUMED
    elif action.kind is ActionKind.ESCALATE:
        after, event = msgspec.structs.replace(alarm, escalation=alarm.escalation + 1), AlarmEvent.ESCALATED
    elif action.kind is ActionKind.NOTE:
        event = AlarmEvent.NOTE
    if event is not None:
        book.settle(bed, alarm, after, event, book.now_ms, action, action.text)
