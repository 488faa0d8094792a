"""What the core wants to know of the models, and when. Pure; see docs/why/models-beside-the-core.md."""

from __future__ import annotations

from math import nan
from typing import Final
from zlib import crc32

import numpy as np

from contracts.records import AlarmState, Category
from models.ports import DETERIORATION, Ask, Memory, Windows
from models.vitals.history import MINUTE_MS, rings
from models.ward.rulebook import Rulebook
from models.ward.state import BedState, WardState

HEARD_MS: Final = 60_000
"""A bed not heard for longer is not asked about: its windows would speak of nothing new."""
_HOUR_MS: Final = 3_600_000
_FEMALE: Final = {"female": 1.0, "male": 0.0}


def ask_of(rulebook: Rulebook, state: WardState, now_ms: int) -> Ask | None:
    """What is to be asked at this moment of the ward's log; None when nothing is due or nobody is there."""
    now_ms = max(now_ms, state.log_ms)
    if not state.models or not _is_due(state, state.asked_ms, now_ms, rulebook.ask_every_ms):
        return None
    risks = DETERIORATION in state.models and _is_due(state, state.risks_ms, now_ms, rulebook.risks_every_ms)
    if not risks and state.models.keys() == {DETERIORATION}:
        return None
    beds = [bed for bed in state.beds.values() if bed.history.minute and now_ms - bed.heard_ms <= HEARD_MS]
    if not beds:
        return None
    return Ask(
        ward=state.ward,
        patients=tuple(bed.patient for bed in beds),
        windows=_windows(rulebook, state, beds, now_ms),
        memories={
            name: Memory(tuple(bed.memories.get(name, b"") for bed in beds), state.memories.get(name, b""))
            for name in state.models
        },
        models={name: model.version for name, model in state.models.items()},
        risks=risks,
    )


def _is_due(state: WardState, last_ms: int, now_ms: int, every_ms: int) -> bool:
    """Whether a slot has begun since the last time.

    Each ward's slots begin at a moment of its own, so that the wards of a hospital do not all ask at once.
    """
    phase_ms = crc32(state.ward.encode()) * 1000 % every_ms
    return (now_ms - phase_ms) // every_ms > (last_ms - phase_ms) // every_ms


def _windows(rulebook: Rulebook, state: WardState, beds: list[BedState], now_ms: int) -> Windows:
    at_ms = [bed.newest_ms + now_ms - bed.heard_ms for bed in beds]
    minutes, hours = rings([bed.history for bed in beds], [at // MINUTE_MS for at in at_ms])
    limits = [rulebook.of(state.ward, bed.patient).channels for bed in beds]
    return Windows(
        minutes=minutes,
        hours=hours,
        at_ms=np.array(at_ms, np.int64),
        age_years=np.array([_age(bed) for bed in beds], np.float32),
        female=np.array([_female(bed) for bed in beds], np.float32),
        stay_h=np.array([_stay_h(bed, at) for bed, at in zip(beds, at_ms, strict=True)], np.float32),
        limits=np.array(limits, np.float32),
        alarming=np.array([is_alarming(bed) for bed in beds], np.bool_),
    )


def _age(bed: BedState) -> float:
    return nan if bed.facts is None or bed.facts.age_years is None else bed.facts.age_years


def _female(bed: BedState) -> float:
    return nan if bed.facts is None or bed.facts.sex is None else _FEMALE.get(bed.facts.sex, nan)


def _stay_h(bed: BedState, at_ms: int) -> float:
    if bed.facts is None or bed.facts.admitted_ms is None:
        return nan
    return max(0, at_ms - bed.facts.admitted_ms) / _HOUR_MS


def is_alarming(bed: BedState) -> bool:
    """Whether a physiological alarm of the bed is pending, active, acknowledged or latched."""
    return any(
        alarm.category is Category.PHYSIOLOGICAL and alarm.state is not AlarmState.INACTIVE
        for alarm in bed.alarms.values()
    )
