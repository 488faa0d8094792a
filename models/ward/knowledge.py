"""What a ward's log tells besides readings: the past and the facts of patients, and which models are in force."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from contracts.records import ModelInForce, ModelRef, PastVitals, PatientFacts, SourceOffset, VitalsFrame
from models.vitals.history import History
from models.ward.alarmbook import AlarmBook
from models.ward.roster import Roster
from models.ward.state import Kept, WardState

_NOTHING: Final = History()


def learn(book: AlarmBook, roster: Roster, frame: VitalsFrame) -> None:
    """Takes in the past and the facts of patients, whether they have a bed or will come to have one.

    The past fills the history where nothing was read; it is no reading, and nobody is heard through it.
    """
    for past in frame.past:
        bed, kept = roster.beds.get(past.patient), roster.kept.get(past.patient)
        if bed is not None:
            history = bed.history.with_past(past, book.now_ms)
            roster.beds[past.patient] = msgspec.structs.replace(bed, history=history)
        else:
            kept = Kept(book.now_ms) if kept is None else kept
            history = kept.history.with_past(past, book.now_ms)
            roster.keep(past.patient, history, kept.memories, kept.facts)
    for facts in frame.facts:
        bed, kept = roster.beds.get(facts.patient), roster.kept.get(facts.patient)
        if bed is not None:
            roster.beds[facts.patient] = msgspec.structs.replace(bed, facts=_joined(bed.facts, facts))
        else:
            kept = Kept(book.now_ms) if kept is None else kept
            roster.keep(facts.patient, kept.history, kept.memories, _joined(kept.facts, facts))


def _joined(before: PatientFacts | None, told: PatientFacts) -> PatientFacts:
    """What was told last counts; what it leaves out stays known."""
    if before is None:
        return told
    return PatientFacts(
        patient=told.patient,
        age_years=before.age_years if told.age_years is None else told.age_years,
        sex=before.sex if told.sex is None else told.sex,
        admitted_ms=before.admitted_ms if told.admitted_ms is None else told.admitted_ms,
    )


def in_force(
    before: dict[str, ModelInForce], told: Iterable[ModelRef], source: SourceOffset
) -> dict[str, ModelInForce]:
    """The models in force once these are champions: one that was already keeps the record since which it is."""
    after: dict[str, ModelInForce] = {}
    for ref in sorted(told, key=lambda ref: ref.name):
        known = before.get(ref.name)
        if known is not None and known.version == ref.version:
            after[ref.name] = known
        else:
            after[ref.name] = ModelInForce(name=ref.name, version=ref.version, since=source)
    return before if after == before else after


def newcomers(before: WardState, after: WardState) -> tuple[tuple[str, str], ...]:
    """(bed, patient) of those who were given a bed between two states and of whose past nothing is known."""
    return tuple(
        (bed.bed, patient)
        for patient, bed in after.beds.items()
        if patient not in before.beds and is_unknown(bed.history)
    )


def is_unknown(history: History) -> bool:
    """Whether nothing stands in the history but what is being read just now."""
    return history.minutes == _NOTHING.minutes and history.tens == _NOTHING.tens


def past_of(
    state: WardState, patient: str, bed: str, origin: str
) -> tuple[tuple[PastVitals, ...], tuple[PatientFacts, ...]]:
    """The past and the facts of a patient who has a bed or had one lately, as frames tell of them."""
    known = state.beds.get(patient) or state.kept.get(patient)
    if known is None:
        return (), ()
    return known.history.as_past(bed, patient, origin), () if known.facts is None else (known.facts,)
