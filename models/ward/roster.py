"""Who lies where: admission, a change of bed, release."""

from __future__ import annotations

from typing import Final

import msgspec

from contracts.records import AlarmEvent, AlarmState, AlertAction, BedReadings, PatientFacts, VitalsFrame
from models.vitals.history import History
from models.ward.alarmbook import AlarmBook
from models.ward.state import KEPT_MAX, KEPT_MS, LEFT_KEPT, VITALS, BedState, Kept, WardState

_NOBODY: Final = Kept(0)


class Roster:
    """The beds of one ward by patient while one record of its log is taken in.

    ``left`` keeps the ended alerts of patients who went, so that who comes back is given no id that has ended; ``kept``
    what is known of patients without a bed, for a day at most.
    """

    def __init__(self, state: WardState, book: AlarmBook) -> None:
        self.beds = dict(state.beds)
        self.left = state.left
        self.kept = state.kept
        self._book = book

    def admit(self, bed: BedState | None, incoming: BedReadings, frame: VitalsFrame) -> BedState:
        """The bed of a patient who is new or was moved; whoever lay there before is released.

        Patients who change places within a frame are not: they keep their alarms.
        """
        moving = {b.patient for b in frame.beds if b.bed != incoming.bed}
        for patient, other in tuple(self.beds.items()):
            if other.bed == incoming.bed and patient != incoming.patient and patient not in moving:
                self.release(other, "bed given to another patient", None)
        if bed is not None:
            return msgspec.structs.replace(bed, bed=incoming.bed)
        known = self.kept.get(incoming.patient, _NOBODY)
        if known is not _NOBODY:
            self.kept = {patient: kept for patient, kept in self.kept.items() if patient != incoming.patient}
        return BedState(
            incoming.bed,
            incoming.patient,
            self._book.now_ms,
            self._book.clock_ms,
            0,
            (None,) * len(VITALS),
            {},
            ended=self.left.get(incoming.patient, {}),
            history=known.history,
            memories=known.memories,
            facts=known.facts,
        )

    def keep(self, patient: str, history: History, memories: dict[str, bytes], facts: PatientFacts | None) -> None:
        """What is known of a patient without a bed, for when they come."""
        kept = {p: k for p, k in self.kept.items() if p != patient}
        kept[patient] = Kept(self._book.now_ms, history, memories, facts)
        for oldest in tuple(kept)[:-KEPT_MAX]:
            del kept[oldest]
        self.kept = kept

    def forget(self) -> None:
        """Lets go of those who have been without a bed for a day."""
        oldest_ms = self._book.now_ms - KEPT_MS
        if self.kept and next(iter(self.kept.values())).since_ms < oldest_ms:
            self.kept = {patient: kept for patient, kept in self.kept.items() if kept.since_ms >= oldest_ms}

    def release(self, bed: BedState, note: str, action: AlertAction | None) -> None:
        """The patient leaves, and with them every alarm."""
        book = self._book
        bed = msgspec.structs.replace(bed, ended=dict(bed.ended))
        for alarm in bed.alarms.values():
            if alarm.state is not AlarmState.PENDING:
                book.tell(bed, alarm, AlarmState.INACTIVE, AlarmEvent.CLEARED, book.now_ms, action, note)
        del self.beds[bed.patient]
        if bed.history.minute or bed.facts is not None:
            self.keep(bed.patient, bed.history, bed.memories, bed.facts)
        if bed.ended:
            self.left = {p: ended for p, ended in self.left.items() if p != bed.patient} | {bed.patient: bed.ended}
            for oldest in tuple(self.left)[:-LEFT_KEPT]:
                del self.left[oldest]

    def meant_by(self, action: AlertAction) -> BedState | None:
        """The bed that holds the alert, wherever its patient lies now; without an alert, the bed of that name."""
        for bed in self.beds.values():
            if action.alert_id is None:
                if bed.bed == action.bed:
                    return bed
            elif any(alarm.alert_id == action.alert_id for alarm in bed.alarms.values()):
                return bed
        return None
