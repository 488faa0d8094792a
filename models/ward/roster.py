"""Who lies where: admission, a change of bed, release."""

from __future__ import annotations

import msgspec

from contracts.records import AlarmEvent, AlarmState, AlertAction, BedReadings, VitalsFrame
from models.ward.alarmbook import AlarmBook
from models.ward.state import LEFT_KEPT, VITALS, BedState, WardState


class Roster:
    """The beds of one ward by patient while one record of its log is taken in.

    ``left`` keeps the ended alerts of patients who went, so that who comes back is given no id that has ended.
    """

    def __init__(self, state: WardState, book: AlarmBook) -> None:
        self.beds = dict(state.beds)
        self.left = state.left
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
        return BedState(
            incoming.bed,
            incoming.patient,
            self._book.now_ms,
            self._book.clock_ms,
            0,
            (None,) * len(VITALS),
            {},
            ended=self.left.get(incoming.patient, {}),
        )

    def release(self, bed: BedState, note: str, action: AlertAction | None) -> None:
        """The patient leaves, and with them every alarm."""
        book = self._book
        bed = msgspec.structs.replace(bed, ended=dict(bed.ended))
        for alarm in bed.alarms.values():
            if alarm.state is not AlarmState.PENDING:
                book.tell(bed, alarm, AlarmState.INACTIVE, AlarmEvent.CLEARED, book.now_ms, action, note)
        del self.beds[bed.patient]
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
