"""The real core, watching: it takes a span in as it always does, and writes down what limit alarms could come of.

Whose clock to believe, what is late, told twice, implausible, frozen or under a cuff, who lies where and when time
passes is decided by the core itself, once. Limit alarms alone are left open; all others are raised as ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from contracts.clinical.plausibility import FUTURE_TOLERANCE_MS
from contracts.records import (
    ActionKind,
    AlarmState,
    Category,
    Priority,
    SourceOffset,
    Tag,
    Vital,
    VitalsFrame,
)
from models.policy.family import Family
from models.policy.tape import Tape
from models.ward.alarmbook import AlarmBook
from models.ward.alarms import Alarm, Breach
from models.ward.core import SET_BACK_MS, SET_BACK_RECORDS, Outputs, WardCore
from models.ward.policy import Limits
from models.ward.rulebook import Rulebook
from models.ward.state import INDEX, LEFT_KEPT, VITALS, BedState, VitalState, WardState
from models.ward.values import number

_LIMITS: Final = Category.PHYSIOLOGICAL


class Who(NamedTuple):
    """Whose tape."""

    ward: str
    patient: str
    vital: Vital


class Notes:
    """The tapes of a span. ``beds`` is where each patient lay last, ``outside`` why the twin must not be asked."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.beds: dict[tuple[str, str], str] = {}
        self.outside: dict[str, int] = {}
        self.unacknowledged = 0
        self._tapes: dict[tuple[str, str], list[Tape | None]] = {}

    def tapes(self) -> Iterator[tuple[Who, Tape]]:
        """Every tape, patients in order."""
        for (ward, patient), each in sorted(self._tapes.items()):
            for vital, tape in zip(VITALS, each, strict=True):
                if tape is not None:
                    yield Who(ward, patient, vital), tape

    def tape(self, ward: str, bed: BedState, i: int) -> Tape:
        """The tape of the vital at that place."""
        key = ward, bed.patient
        each = self._tapes.get(key)
        if each is None:
            each = self._tapes[key] = [None] * len(VITALS)
        self.beds[key] = bed.bed
        tape = each[i]
        if tape is None:
            vital, family = VITALS[i], self.family
            reach = family.reach(*key, vital)
            tape = each[i] = Tape(vital, reach, family.stale_ms(vital), family.pending_bounds_ms)
        return tape

    def of_patient(self, ward: str, patient: str) -> Iterator[Tape]:
        """What there is of one patient."""
        yield from filter(None, self._tapes.get((ward, patient), ()))

    def refuse(self, why: str) -> None:
        """The span holds something that would depend on the policy in more ways than the twin knows."""
        self.outside[why] = self.outside.get(why, 0) + 1


class Witness(AlarmBook):
    """An alarm book that leaves limit alarms open. One stands pending for each vital, so that time is told to it."""

    def __init__(
        self, notes: Notes, rulebook: Rulebook, ward: str, now_ms: int, clock_ms: int, source: SourceOffset
    ) -> None:
        super().__init__(rulebook, ward, now_ms, clock_ms, source)
        self._notes = notes
        self._under_cuff: set[tuple[str, int]] = set()

    def breach(
        self,
        bed: BedState,
        condition: str,
        category: Category,
        breach: Breach,
        delay_ms: int,
        severe_delay_ms: int | None = None,
    ) -> None:
        """A value was judged, where the condition is a limit's; else as ever."""
        vital = breach.vital
        if category is not _LIMITS or vital is None:
            super().breach(bed, condition, category, breach, delay_ms, severe_delay_ms)
            return
        i = INDEX[vital]
        cuffed = vital is Vital.SPO2 and (bed.patient, breach.at_ms) in self._under_cuff
        self._notes.tape(self.ward, bed, i).read(breach.at_ms, self.now_ms, number(breach.value), cuffed)
        if condition not in bed.alarms:
            bed.alarms[condition] = Alarm(
                condition, _LIMITS, Priority.LOW, AlarmState.PENDING, breach.at_ms, breach.at_ms, "", vital
            )

    def is_low(self, bed: BedState, limits: Limits, value: float, at_ms: int) -> bool:
        """Left open: each policy will say."""
        self._under_cuff.add((bed.patient, at_ms))
        return False

    def recall(self, bed: BedState, i: int, value: float, limits: Limits, kept: VitalState | None, at_ms: int) -> None:
        """A value came late."""
        cuffed = VITALS[i] is Vital.SPO2 and (bed.patient, at_ms) in self._under_cuff
        self._notes.tape(self.ward, bed, i).recall(at_ms, self.now_ms, value, cuffed)

    def _ripen(self, bed: BedState, alarm: Alarm, event_ms: int) -> None:
        if alarm.category is not _LIMITS or alarm.vital is None:
            super()._ripen(bed, alarm, event_ms)
            return
        i = INDEX[alarm.vital]
        current = bed.vitals[i]
        if current is not None:
            implausible = number(current.value) if current.tag is Tag.IMPLAUSIBLE else None
            tape = self._notes.tape(self.ward, bed, i)
            tape.check(event_ms, self.now_ms, bed.newest_ms, current.at_ms, implausible)


class WitnessCore(WardCore):
    """The core under the rules that a family of policies agrees on. What it saw is in ``notes``.

    With ``unacknowledged`` what people did to single alarms is left out, as if nobody had; else it is refused: an
    alarm that is acknowledged under one policy was never raised under another.
    """

    def __init__(self, family: Family, unacknowledged: bool = False) -> None:
        super().__init__(family.watched())
        self.notes = Notes(family)
        self._unacknowledged = unacknowledged
        self._left: dict[str, int] = {}

    def step(
        self, state: WardState, frame: VitalsFrame, now_ms: int, source: SourceOffset
    ) -> tuple[WardState, Outputs]:
        """As the core does."""
        if frame.actions:
            frame = self._acted(frame)
        if state.set_back + 1 >= SET_BACK_RECORDS and now_ms < state.log_ms - SET_BACK_MS:
            by_ms = now_ms - state.log_ms
            for patient in state.beds:
                for tape in self.notes.of_patient(state.ward, patient):
                    tape.rebase(by_ms, now_ms + FUTURE_TOLERANCE_MS, now_ms)
        after, out = super().step(state, frame, now_ms, source)
        if state.beds.keys() - after.beds.keys():
            self._released(state, after)
        return after, out

    def _book(self, ward: str, now_ms: int, clock_ms: int, source: SourceOffset) -> AlarmBook:
        return Witness(self.notes, self._rulebook, ward, now_ms, clock_ms, source)

    def _acted(self, frame: VitalsFrame) -> VitalsFrame:
        """What people did, without what would mean another alarm under another policy."""
        notes = self.notes
        told = [
            action
            for action in frame.actions
            if action.kind is ActionKind.ACKNOWLEDGE
            or (action.kind is ActionKind.STANDBY and action.alert_id is not None)
        ]
        if told and self._unacknowledged:
            notes.unacknowledged += len(told)
            frame = msgspec.structs.replace(frame, actions=tuple(a for a in frame.actions if a not in told))
        elif told:
            notes.refuse(f"{told[0].kind.value} of an alarm")
        if frame.beds and any(action.kind is ActionKind.STANDBY for action in frame.actions):
            notes.refuse("a patient who left and came back within one record")
        return frame

    def _released(self, before: WardState, after: WardState) -> None:
        ward = before.ward
        for patient in before.beds.keys() - after.beds.keys():
            for tape in self.notes.of_patient(ward, patient):
                tape.release(after.log_ms)
            self._left[ward] = self._left.get(ward, 0) + 1
            if self._left[ward] > LEFT_KEPT:
                self.notes.refuse(f"more than {LEFT_KEPT} patients who left one ward")
