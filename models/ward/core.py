"""The ward's core: step(state, frame, now) -> (state, outputs). Decides everything, touches nothing.

What models make of the ward comes in between: ask(state, now) says what to ask them, heed(state, ask, answers) takes in
what they answered, before the next step.

The same frames in the same order give the same outputs byte for byte; time comes in with each record. Event time
(devices) drives scores and physiological alarms, log time (the record's timestamp) drives silence, re-alarm, escalation
and the end of a pause. See docs/why/one-log-per-ward.md and docs/why/late-readings.md.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from contracts.records import (
    SCHEMA_VERSION,
    AlertTransition,
    News2,
    PastVitals,
    PatientFacts,
    ScoreFrame,
    SourceOffset,
    VitalsFrame,
)
from contracts.topology import CLOCK_KEY
from models.ports import Answers, Ask
from models.ward import knowledge
from models.ward.advice import withdraw
from models.ward.alarmbook import AlarmBook
from models.ward.asking import ask_of
from models.ward.heeding import Heeded, heed_answers
from models.ward.intake import absorb
from models.ward.knowledge import in_force, learn
from models.ward.people import act
from models.ward.policy import Policy
from models.ward.roster import Roster
from models.ward.rulebook import Rulebook
from models.ward.scoring import bed_score
from models.ward.state import ACTIONS_KEPT, BedState, WardState, dump, load, rebased

__all__ = ["BedState", "Heeded", "Outputs", "WardCore", "WardState"]

OUTAGE_MS: Final = 2_500
"""A longer pause between two records of a ward's log is an outage of the log (ticks come every second)."""
SET_BACK_MS: Final = 5_000
SET_BACK_RECORDS: Final = 10
"""So many records in a row, each so much before the log's time: the broker's clock was set back."""
CHECK_EVERY_MS: Final = 1_000
UNHEARD_MS: Final = 2_500
"""A bed not heard for this long is scored by the clock."""


class Outputs(NamedTuple):
    """What one frame led to. ``scores`` is None when the frame touched no bed."""

    scores: ScoreFrame | None
    transitions: tuple[AlertTransition, ...]
    readings: int
    late: int
    duplicates: int


class WardCore:
    """The core under one policy. Holds no state of any ward."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.policy_hash = policy.hash
        self._rulebook = Rulebook(policy)

    def fresh(self, ward: str) -> WardState:
        """The state of a ward of which nothing is known yet."""
        return WardState(ward=ward, beds={})

    def dump(self, state: WardState) -> bytes:
        """The state as bytes, for a snapshot."""
        return dump(state)

    def load(self, raw: bytes) -> WardState:
        """The state in those bytes; raises Poison when damaged or of another version."""
        return load(raw)

    def step(
        self, state: WardState, frame: VitalsFrame, now_ms: int, source: SourceOffset
    ) -> tuple[WardState, Outputs]:
        """The ward after one record of its log.

        ``frame`` holds readings, actions, or nothing (a clock tick); ``now_ms`` is the record's log time, which never
        goes back (an earlier one counts as the last), unless record upon record says that the broker's clock had run
        ahead and was set back: else nothing would be timed until it has caught up. ``state`` itself is not changed.
        """
        set_back = state.set_back + 1 if now_ms < state.log_ms - SET_BACK_MS else 0
        if set_back >= SET_BACK_RECORDS:
            state, set_back = rebased(state, now_ms - state.log_ms), 0
        now_ms = max(now_ms, state.log_ms)
        passed = now_ms - state.log_ms if state.log_ms else 0
        clock_ms = state.clock_ms + (passed if passed <= OUTAGE_MS else CHECK_EVERY_MS)  # slow ticks are no standstill
        book = self._book(state.ward, now_ms, clock_ms, source)
        roster = Roster(state, book)

        actions = state.actions
        for action in frame.actions:
            if action.action_id not in actions:
                actions = (*actions[1 - ACTIONS_KEPT :], action.action_id)
                act(book, roster, action)
        if frame.past or frame.facts:
            learn(book, roster, frame)
        models = state.models
        if frame.models and frame.ward == CLOCK_KEY:
            models = in_force(models, frame.models, source)
            if models.keys() != state.models.keys():
                withdraw(book, roster, models)
        scored, readings, late, duplicates = _take_in(book, roster, frame)
        touched = [incoming.patient for incoming in frame.beds]
        checked_ms = state.checked_ms
        if now_ms - checked_ms >= CHECK_EVERY_MS:
            checked_ms = now_ms
            touched += _pass_time(book, roster, scored)
            roster.forget()
        for patient in book.unpaused & roster.beds.keys():
            roster.beds[patient] = msgspec.structs.replace(roster.beds[patient], quiet_until_ms=0, quiet_rank=-1)

        scores = None
        if touched:
            scores = ScoreFrame(
                version=SCHEMA_VERSION,
                ward=state.ward,
                at_ms=frame.at_ms,
                now_ms=now_ms,
                source=source,
                policy=self.policy_hash,
                beds=tuple(
                    bed_score(self._rulebook, state.ward, roster.beds[patient], now_ms, scored.get(patient))
                    for patient in touched
                    if patient in roster.beds
                ),
            )
        after = WardState(
            state.ward,
            roster.beds,
            now_ms,
            clock_ms,
            checked_ms,
            actions,
            roster.left,
            set_back,
            roster.kept,
            models,
            state.memories,
            state.asked_ms,
            state.risks_ms,
        )
        return after, Outputs(scores, tuple(book.told), readings, late, duplicates)

    def _book(self, ward: str, now_ms: int, clock_ms: int, source: SourceOffset) -> AlarmBook:
        """What keeps the alarms for one record; the witness of models/policy has one that only watches limits."""
        return AlarmBook(self._rulebook, ward, now_ms, clock_ms, source)

    def ask(self, state: WardState, now_ms: int) -> Ask | None:
        """What the models in force are to be asked after the clock tick at ``now_ms``; None when nothing is due.

        Due every ``ask_every_s`` of log time, at a phase that the ward's name decides, until ``heed`` took in an
        answer: where there is none to be had, it is handed ``NO_ANSWERS``.
        """
        return ask_of(self._rulebook, state, now_ms)

    def heed(
        self, state: WardState, ask: Ask, answers: Answers, now_ms: int, source: SourceOffset
    ) -> tuple[WardState, Heeded]:
        """The ward after what the models answered, as of the record that was asked at. ``state`` is not changed.

        ``answers`` must be a function of ``ask`` alone: then the same log gives the same bytes.
        """
        return heed_answers(self._rulebook, state, ask, answers, now_ms, source)

    def newcomers(self, before: WardState, after: WardState) -> tuple[tuple[str, str], ...]:
        """(bed, patient) of those given a bed between the two states of whose past nothing is known."""
        return knowledge.newcomers(before, after)

    def past_of(
        self, state: WardState, patient: str, bed: str, origin: str
    ) -> tuple[tuple[PastVitals, ...], tuple[PatientFacts, ...]]:
        """(past, facts) of a patient who is here or was lately, to be told to another ward's log."""
        return knowledge.past_of(state, patient, bed, origin)


def _take_in(book: AlarmBook, roster: Roster, frame: VitalsFrame) -> tuple[dict[str, News2], int, int, int]:
    """Takes in the frame's beds; NEWS2 of their patients, and how many readings came, how many late or told twice."""
    beds = roster.beds
    scored: dict[str, News2] = {}
    readings = late = duplicates = 0
    for incoming in frame.beds:
        patient = incoming.patient
        bed = beds.get(patient)
        if bed is None or bed.bed != incoming.bed:
            bed = roster.admit(bed, incoming, frame)
        after, scored[patient] = absorb(book, bed, incoming, frame.at_ms)
        beds[patient] = after
        readings += len(incoming.readings)
        late += after.late - bed.late
        duplicates += after.duplicates - bed.duplicates
    return scored, readings, late, duplicates


def _pass_time(book: AlarmBook, roster: Roster, spoken: dict[str, News2]) -> list[str]:
    """Lets time pass at each bed; the patients not among ``spoken`` whose bed has been silent."""
    silent: list[str] = []
    for patient, bed in tuple(roster.beds.items()):
        if bed.alarms or book.clock_ms - bed.heard_clock_ms > book.rulebook.silence_ms:
            roster.beds[patient] = book.pass_time(bed)
        if book.now_ms - bed.heard_ms >= UNHEARD_MS and patient not in spoken:
            silent.append(patient)  # a silent bed's tile goes on: its values age, its alarms change
    return silent
