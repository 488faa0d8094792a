"""What the core remembers of a ward between two records: immutable, small, and the same bytes for the same past.

``gc=False``: immutable trees cannot hold a cycle, and a worker that replaces all of them once a second would otherwise
spend a fifth of its time looking for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from contracts.clinical.plausibility import FUTURE_TOLERANCE_MS
from contracts.errors import Poison
from contracts.records import ModelInForce, PatientFacts, Quality, Source, Tag, Vital
from models.vitals.history import MINUTE_MS, History
from models.ward.alarms import Alarm

STATE_VERSION: Final = 2
READABLE: Final = frozenset({1, STATE_VERSION})
"""Fields are only added at the end, so a version 1 state (before models) is one that knows of none."""
VITALS: Final = tuple(Vital)
INDEX: Final = {vital: i for i, vital in enumerate(VITALS)}
ACTIONS_KEPT: Final = 128
LEFT_KEPT: Final = 256
KEPT_MAX: Final = 64
KEPT_MS: Final = 24 * 3600 * 1000


class VitalState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The newest value of one vital. Event times in ms.

    ``good_ms`` is the newest usable one, ``same_since_ms`` since when the value repeats exactly, ``calm_low_ms`` and
    ``calm_high_ms`` when it was last seen inside its low and high limit.
    """

    value: float | str | None
    at_ms: int
    tag: Tag
    quality: Quality
    source: Source
    good_ms: int
    same_since_ms: int
    calm_low_ms: int = 0
    calm_high_ms: int = 0


class BedState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One monitored patient. ``heard_*`` in log time, ``newest_ms`` in event time.

    ``heard_clock_ms`` is on the ward's clock, which stands still while the log itself is down. ``lag_ms`` is how far
    the device's clock is behind the log, ``lag_from_ms`` about how far it has been since ``lag_since_ms``, ``skewed``
    whether it is believed to be wrong, ``behind_since_ms`` since when its readings have been too old to raise anything.
    ``quiet_*``: the bed's sound is paused until then for alarms up to that rank. ``ended`` holds the onset of the last
    alert of each condition, so that no later episode can be given an id that has ended. ``memories`` are what models
    remember of the patient, by their names.
    """

    bed: str
    patient: str
    heard_ms: int
    heard_clock_ms: int
    newest_ms: int
    vitals: tuple[VitalState | None, ...]
    alarms: dict[str, Alarm]
    lag_ms: int = 0
    lag_since_ms: int = 0
    skewed: bool = False
    cuff_from_ms: int = 0
    cuff_until_ms: int = 0
    quiet_until_ms: int = 0
    quiet_rank: int = -1
    late: int = 0
    duplicates: int = 0
    behind_since_ms: int = 0
    lag_from_ms: int = 0
    ended: dict[str, int] = {}
    history: History = History()
    memories: dict[str, bytes] = {}
    facts: PatientFacts | None = None


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of a patient without a bed, who left or is yet to come. ``since_ms``: log time."""

    since_ms: int
    history: History = History()
    memories: dict[str, bytes] = {}
    facts: PatientFacts | None = None


class WardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One ward: its beds by patient, its clocks, the actions already applied, ``ended`` of patients who left.

    ``set_back`` counts the latest records in a row whose log time was well before one that came earlier. ``kept`` is
    what is known of patients without a bed, the newest last; ``models`` those in force by name, ``memories`` what they
    remember of the ward; ``asked_ms`` and ``risks_ms`` are the log times at which models were last asked.
    """

    ward: str
    beds: dict[str, BedState]
    log_ms: int = 0
    clock_ms: int = 0
    checked_ms: int = 0
    actions: tuple[str, ...] = ()
    left: dict[str, dict[str, int]] = {}
    set_back: int = 0
    kept: dict[str, Kept] = {}
    models: dict[str, ModelInForce] = {}
    memories: dict[str, bytes] = {}
    asked_ms: int = 0
    risks_ms: int = 0


def rebased(state: WardState, by_ms: int) -> WardState:
    """The state with every log time moved by ``by_ms``: the broker's clock was wrong and has been put right.

    Readings whose time was taken from that clock move with it.
    """
    log_ms = state.log_ms + by_ms
    kept = {patient: msgspec.structs.replace(k, since_ms=k.since_ms + by_ms) for patient, k in state.kept.items()}
    return msgspec.structs.replace(
        state,
        beds={patient: _rebased_bed(bed, by_ms, log_ms) for patient, bed in state.beds.items()},
        log_ms=log_ms,
        checked_ms=state.checked_ms + by_ms,
        set_back=0,
        kept=kept,
        asked_ms=state.asked_ms + by_ms if state.asked_ms else 0,
        risks_ms=state.risks_ms + by_ms if state.risks_ms else 0,
    )


def _rebased_bed(bed: BedState, by_ms: int, log_ms: int) -> BedState:
    latest_ms = log_ms + FUTURE_TOLERANCE_MS

    def moved(at_ms: int) -> int:
        return at_ms + by_ms if at_ms else 0

    def corrected(at_ms: int) -> int:
        return at_ms + by_ms if at_ms > latest_ms else at_ms

    vitals = tuple(
        None
        if vital is None
        else msgspec.structs.replace(
            vital,
            at_ms=corrected(vital.at_ms),
            good_ms=corrected(vital.good_ms),
            same_since_ms=corrected(vital.same_since_ms),
            calm_low_ms=corrected(vital.calm_low_ms),
            calm_high_ms=corrected(vital.calm_high_ms),
        )
        for vital in bed.vitals
    )
    alarms = {
        condition: msgspec.structs.replace(
            alarm,
            signalled_ms=moved(alarm.signalled_ms),
            acked_ms=moved(alarm.acked_ms),
            audio_until_ms=None if alarm.audio_until_ms is None else alarm.audio_until_ms + by_ms,
            breach_ms=corrected(alarm.breach_ms),
            severe_ms=None if alarm.severe_ms is None else corrected(alarm.severe_ms),
            relapse_ms=None if alarm.relapse_ms is None else corrected(alarm.relapse_ms),
            onset_ms=corrected(alarm.onset_ms) if alarm.alert_id is None else alarm.onset_ms,
        )
        for condition, alarm in bed.alarms.items()
    }
    return msgspec.structs.replace(
        bed,
        heard_ms=bed.heard_ms + by_ms,
        newest_ms=corrected(bed.newest_ms),
        vitals=vitals,
        alarms=alarms,
        lag_ms=bed.lag_ms + by_ms,
        lag_from_ms=bed.lag_from_ms + by_ms,
        lag_since_ms=moved(bed.lag_since_ms),
        behind_since_ms=moved(bed.behind_since_ms),
        cuff_from_ms=corrected(bed.cuff_from_ms),
        cuff_until_ms=corrected(bed.cuff_until_ms),
        quiet_until_ms=moved(bed.quiet_until_ms),
        history=bed.history.rebased(by_ms) if bed.history.minute * MINUTE_MS > latest_ms else bed.history,
    )


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[int, WardState])


def dump(state: WardState) -> bytes:
    """The state as bytes; equal states give equal bytes."""
    return _encoder.encode((STATE_VERSION, state))


def _histories(state: WardState) -> Iterator[History]:
    yield from (bed.history for bed in state.beds.values())
    yield from (kept.history for kept in state.kept.values())


def load(raw: bytes) -> WardState:
    """The state in those bytes; raises Poison when they are damaged or of another version."""
    try:
        version, state = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
        raise Poison("bad_snapshot", str(wrong)) from wrong
    if version not in READABLE:
        raise Poison("bad_snapshot", f"state version {version}; this core reads {sorted(READABLE)}")
    if any(not history.is_sound for history in _histories(state)):
        raise Poison("bad_snapshot", "a history of another size")
    if any(len(bed.vitals) != len(VITALS) for bed in state.beds.values()):
        raise Poison("bad_snapshot", f"a bed with other than {len(VITALS)} vitals")
    return state
