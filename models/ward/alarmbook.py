"""The alarm book of one ward for one record of its log: which alarms begin, go on and end, and what is told of them."""

from __future__ import annotations

from typing import Final

import msgspec

from contracts.records import (
    SCHEMA_VERSION,
    AlarmEvent,
    AlarmState,
    AlertAction,
    AlertTransition,
    Category,
    Priority,
    SourceOffset,
    Tag,
)
from models.ward import alarms as machine
from models.ward.alarms import Alarm, Breach
from models.ward.conditions import CONDITIONS, SILENCE, warning_of
from models.ward.policy import Limits
from models.ward.rulebook import Rulebook
from models.ward.state import INDEX, BedState, VitalState
from models.ward.values import number

ADVICE_MS: Final = 300_000
"""An advisory of which its model has said nothing for so long is over."""
UNHEARD: Final = "its model has said nothing for 5 min"
HAPPENED: Final = "the limit is crossed"


class AlarmBook:
    """``told`` holds the transitions so far, ``unpaused`` the patients whose pause a higher priority has ended.

    A bed that is handed in has ``alarms`` and ``ended`` of its own, not shared with an earlier state: both are written
    to.
    """

    def __init__(self, rulebook: Rulebook, ward: str, now_ms: int, clock_ms: int, source: SourceOffset) -> None:
        self.rulebook = rulebook
        self.ward = ward
        self.now_ms = now_ms
        self.clock_ms = clock_ms
        self.source = source
        self.told: list[AlertTransition] = []
        self.unpaused: set[str] = set()

    # -- what is the matter ------------------------------------------------------------------------------------------

    def breach(
        self,
        bed: BedState,
        condition: str,
        category: Category,
        breach: Breach,
        delay_ms: int,
        severe_delay_ms: int | None = None,
    ) -> None:
        """A condition was seen to hold; its alarm is raised once that has lasted for ``delay_ms``."""
        before = bed.alarms.get(condition)
        may_raise = category is Category.TECHNICAL or self.now_ms - breach.at_ms <= self.rulebook.relevant_ms
        severe_ms = delay_ms if severe_delay_ms is None else severe_delay_ms
        after, event = machine.on_breach(before, condition, category, breach, delay_ms, severe_ms, may_raise)
        if before is None and (last_ms := bed.ended.get(condition)) is not None and after.onset_ms <= last_ms:
            after = msgspec.structs.replace(after, onset_ms=last_ms + 1)
        bed.alarms[condition] = after
        if event is not None:
            self._signal(bed, before, after, event, breach.at_ms)

    def calm(self, bed: BedState, condition: str, at_ms: int, note: str | None = None) -> None:
        """A condition was seen to be over; ``note`` says why."""
        before = bed.alarms.get(condition)
        if before is None:
            return
        after, event = machine.on_calm(before, self.rulebook.alarm.latch)
        self.settle(bed, before, after, event, at_ms, note=note)

    def is_low(self, bed: BedState, limits: Limits, value: float, at_ms: int) -> bool:
        """Whether a saturation measured while a cuff stops the flow to the finger would alarm."""
        return limits.low is not None and value < limits.low

    def recall(self, bed: BedState, i: int, value: float, limits: Limits, kept: VitalState | None, at_ms: int) -> None:
        """A late reading never raises; it moves the start of a pending episode back when it belongs to it.

        ``kept`` is the vital's newest value that was judged.
        """
        calm_low_ms, calm_high_ms = (0, 0) if kept is None else (kept.calm_low_ms, kept.calm_high_ms)
        for condition, beyond, calm_ms in (
            (CONDITIONS[i].low, limits.low is not None and value < limits.low, calm_low_ms),
            (CONDITIONS[i].high, limits.high is not None and value > limits.high, calm_high_ms),
        ):
            alarm = bed.alarms.get(condition)
            if not beyond or alarm is None or alarm.state is not AlarmState.PENDING:
                continue
            if max(calm_ms, bed.ended.get(condition, 0)) < at_ms < alarm.onset_ms:
                bed.alarms[condition] = msgspec.structs.replace(alarm, onset_ms=at_ms)

    def hold(self, bed: BedState, condition: str) -> None:
        """The model of an advisory said that it is neither reached nor over: it goes on, if it was raised."""
        alarm = bed.alarms[condition]
        if alarm.state is AlarmState.PENDING or alarm.advice is None:
            del bed.alarms[condition]
        else:
            advice = msgspec.structs.replace(alarm.advice, heard_clock_ms=self.clock_ms)
            bed.alarms[condition] = msgspec.structs.replace(alarm, advice=advice)

    def _signal(self, bed: BedState, before: Alarm | None, after: Alarm, event: AlarmEvent, at_ms: int) -> None:
        """An alarm sounds: for the first time, again, or at a higher priority."""
        if after.alert_id is None:
            ident = machine.alert_id(self.rulebook.policy_hash, bed.patient, after.condition, after.onset_ms)
            after = msgspec.structs.replace(after, alert_id=ident)
        if before is not None and before.state is AlarmState.LATCHED:  # nobody has seen it yet: escalation goes on
            after = msgspec.structs.replace(after, audio_until_ms=None)
        else:
            after = msgspec.structs.replace(
                after, signalled_ms=self.now_ms, acked_ms=0, escalation=0, audio_until_ms=None
            )
        silent = after.category is Category.ADVISORY
        quiet = not silent and bed.quiet_until_ms > self.now_ms and bed.patient not in self.unpaused
        rank = machine.RANK[after.priority]
        if quiet and rank <= bed.quiet_rank:
            after = msgspec.structs.replace(after, audio_until_ms=bed.quiet_until_ms)
        bed.alarms[after.condition] = after
        self.tell(bed, after, after.state, event, at_ms)
        if warning_of(after.condition) in bed.alarms:
            self.calm(bed, warning_of(after.condition), at_ms, HAPPENED)
        if quiet and rank > bed.quiet_rank:
            self._break_pauses(bed, at_ms)

    def _break_pauses(self, bed: BedState, at_ms: int) -> None:
        """A higher priority ends a pause: every paused alarm of the bed sounds again, and so does each new one."""
        self.unpaused.add(bed.patient)
        for alarm in tuple(bed.alarms.values()):
            if alarm.audio_until_ms is not None:
                after = msgspec.structs.replace(alarm, audio_until_ms=None)
                self.tell(bed, after, after.state, AlarmEvent.AUDIO_RESUMED, at_ms)

    # -- time --------------------------------------------------------------------------------------------------------

    def pass_time(self, bed: BedState) -> BedState:
        """What time alone changes: silence is raised, pauses end, alarms sound again and are escalated."""
        bed = msgspec.structs.replace(bed, alarms=dict(bed.alarms), ended=dict(bed.ended))
        silent_ms = self.clock_ms - bed.heard_clock_ms
        if silent_ms > self.rulebook.silence_ms:
            message = f"No data for {silent_ms // 1000} s"
            breach = Breach(bed.newest_ms, Priority.MEDIUM, message)
            self.breach(bed, SILENCE, Category.TECHNICAL, breach, 0)
        for condition, alarm in tuple(bed.alarms.items()):
            if alarm.advice is not None:  # it never sounds, so nothing but its end comes of time
                if self.clock_ms - alarm.advice.heard_clock_ms > ADVICE_MS:
                    self.calm(bed, condition, self.now_ms, UNHEARD)
                continue
            if alarm.state is AlarmState.PENDING:
                self._ripen(bed, alarm, bed.newest_ms + silent_ms)
                continue
            for event in machine.due(alarm, self.now_ms, self.rulebook.alarm):
                after = machine.on_time(bed.alarms[condition], event, self.now_ms)
                self.tell(bed, after, after.state, event, self.now_ms)
        return bed

    def _ripen(self, bed: BedState, alarm: Alarm, event_ms: int) -> None:
        """A pending alarm of which no reading speaks now: it holds on, so that its delay can pass, or is forgotten.

        It holds on while the last value of a vital that is not continuous (a cuff, a thermometer) is in force, and
        while a continuous one is further out than a sensor can show.
        """
        vital = alarm.vital
        if vital is not None:
            i = INDEX[vital]
            current = bed.vitals[i]
            limits = self.rulebook.of(self.ward, bed.patient).limits[i]
            if current is not None and self._in_force(i, current, alarm, event_ms):
                priority = alarm.priority if alarm.severe_ms is None else Priority.HIGH
                breach = Breach(
                    event_ms, priority, alarm.message, vital, alarm.value, alarm.limit, reading_ms=alarm.breach_ms
                )
                if alarm.category is Category.TECHNICAL:
                    self.breach(bed, alarm.condition, alarm.category, breach, self.rulebook.implausible_ms)
                elif limits is not None:
                    delay_ms, severe_ms = int(limits.delay_s * 1000), int(limits.extreme_delay_s * 1000)
                    self.breach(bed, alarm.condition, alarm.category, breach, delay_ms, severe_ms)
                return
        if bed.newest_ms - alarm.breach_ms > self.rulebook.pending_max_ms:
            del bed.alarms[alarm.condition]

    def _in_force(self, i: int, current: VitalState, alarm: Alarm, event_ms: int) -> bool:
        if i not in self.rulebook.continuous:
            return current.at_ms == alarm.breach_ms and event_ms - current.at_ms <= self.rulebook.stale_ms[i]
        if current.tag is not Tag.IMPLAUSIBLE or alarm.limit is None:
            return False
        value = number(current.value)
        return value < alarm.limit if alarm.condition == CONDITIONS[i].low else value > alarm.limit

    # -- what is told ------------------------------------------------------------------------------------------------

    def settle(
        self,
        bed: BedState,
        before: Alarm,
        after: Alarm | None,
        event: AlarmEvent | None,
        at_ms: int,
        action: AlertAction | None = None,
        note: str | None = None,
    ) -> None:
        """Puts ``after`` in the place of ``before`` and tells of it when there is something to tell."""
        if after is None:
            del bed.alarms[before.condition]
            if event is not None:
                self.tell(bed, before, AlarmState.INACTIVE, event, at_ms, action, note)
        else:
            bed.alarms[before.condition] = after
            if event is not None:
                self.tell(bed, after, after.state, event, at_ms, action, note)

    def tell(
        self,
        bed: BedState,
        alarm: Alarm,
        state: AlarmState,
        event: AlarmEvent,
        at_ms: int,
        action: AlertAction | None = None,
        note: str | None = None,
    ) -> None:
        """Writes one numbered transition of ``alarm`` into ``state`` and keeps the alarm unless it ended."""
        if alarm.alert_id is None:
            raise ValueError(f"{alarm.condition} of {bed.patient} is told before it was raised")
        advice = alarm.advice
        self.told.append(
            AlertTransition(
                version=SCHEMA_VERSION,
                alert_id=alarm.alert_id,
                seq=alarm.seq,
                ward=self.ward,
                bed=bed.bed,
                patient=bed.patient,
                condition=alarm.condition,
                category=alarm.category,
                priority=alarm.priority,
                event=event,
                state=state,
                at_ms=at_ms,
                onset_ms=alarm.onset_ms,
                message=alarm.message,
                source=self.source,
                policy=self.rulebook.policy_hash,
                vital=alarm.vital,
                value=alarm.value,
                limit=alarm.limit,
                reading_ms=alarm.breach_ms,
                actor=None if action is None else action.actor,
                action_id=None if action is None else action.action_id,
                audio_until_ms=alarm.audio_until_ms,
                escalation=alarm.escalation,
                note=note,
                model=None if advice is None else advice.model,
                drivers=() if advice is None else advice.drivers,
                probability=None if advice is None else advice.probability,
                lead_s=None if advice is None else advice.lead_s,
            )
        )
        if state is AlarmState.INACTIVE:
            bed.ended[alarm.condition] = alarm.onset_ms
        else:
            bed.alarms[alarm.condition] = msgspec.structs.replace(alarm, seq=alarm.seq + 1)
