"""What the core remembers of a ward between two records: immutable, small, and the same bytes for the same past."""

from __future__ import annotations

from typing import Final

import msgspec

from contracts.errors import Poison
from contracts.records import Quality, Source, Tag, Vital
from models.ward.alarms import Alarm

STATE_VERSION: Final = 1
VITALS: Final = tuple(Vital)
INDEX: Final = {vital: i for i, vital in enumerate(VITALS)}
ACTIONS_KEPT: Final = 128
LEFT_KEPT: Final = 256


class VitalState(msgspec.Struct, frozen=True, array_like=True):
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


class BedState(msgspec.Struct, frozen=True, array_like=True):
    """One monitored patient. ``heard_*`` in log time, ``newest_ms`` in event time.

    ``heard_clock_ms`` is on the ward's clock, which stands still while the log itself is down. ``lag_ms`` is how far
    the device's clock is behind the log, ``lag_from_ms`` about how far it has been since ``lag_since_ms``, ``skewed``
    whether it is believed to be wrong, ``behind_since_ms`` since when its readings have been too old to raise anything.
    ``quiet_*``: the bed's sound is paused until then for alarms up to that rank. ``ended`` holds the onset of the last
    alert of each condition, so that no later episode can be given an id that has ended.
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


class WardState(msgspec.Struct, frozen=True, array_like=True):
    """One ward: its beds by patient, its clocks, the actions already applied, ``ended`` of patients who left."""

    ward: str
    beds: dict[str, BedState]
    log_ms: int = 0
    clock_ms: int = 0
    checked_ms: int = 0
    actions: tuple[str, ...] = ()
    left: dict[str, dict[str, int]] = {}


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[int, WardState])


def dump(state: WardState) -> bytes:
    """The state as bytes; equal states give equal bytes."""
    return _encoder.encode((STATE_VERSION, state))


def load(raw: bytes) -> WardState:
    """The state in those bytes; raises Poison when they are damaged or of another version."""
    try:
        version, state = _decoder.decode(raw)
    except msgspec.MsgspecError as wrong:
        raise Poison("bad_snapshot", str(wrong)) from wrong
    if version != STATE_VERSION:
        raise Poison("bad_snapshot", f"state version {version}; this core reads {STATE_VERSION}")
    return state
