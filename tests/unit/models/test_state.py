"""A snapshot is read back whole or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from contracts.errors import Poison
from contracts.records import ActionKind
from models.ward import state as states
from models.ward.alarms import Alarm
from tests.unit.models.bedside import Bedside


def a_busy_ward() -> Bedside:
    ward = Bedside()
    ward.live(0, 20, spo2=80.0, heart_rate=0.0)
    ward.act(20, ActionKind.PAUSE_AUDIO)
    ward.live(21, 24, bed="B2", patient="p-2", respiration=None)
    ward.act(24, ActionKind.STANDBY, bed="B2")
    return ward


RAW = a_busy_ward().core.dump(a_busy_ward().state)


def test_equal_pasts_give_equal_bytes_and_bytes_give_the_state_back() -> None:
    ward = a_busy_ward()
    assert ward.core.dump(ward.state) == RAW
    assert ward.core.load(RAW) == ward.state


@given(st.integers(0, len(RAW) - 1), st.integers(0, 255))
def test_a_damaged_snapshot_is_poison_or_a_state(place: int, byte: int) -> None:
    damaged = RAW[:place] + bytes([byte]) + RAW[place + 1 :]
    try:
        state = states.load(damaged)
    except Poison as refusal:
        refused = refusal
    else:
        states.dump(state)
        return
    assert refused.reason == "bad_snapshot"


@given(st.binary(max_size=200))
def test_other_bytes_are_no_snapshot(raw: bytes) -> None:
    with pytest.raises(Poison, match="bad_snapshot"):
        states.load(raw)


def test_a_snapshot_of_another_version_or_shape_is_refused() -> None:
    ward = a_busy_ward()
    other = states._encoder.encode((states.STATE_VERSION + 1, ward.state))
    with pytest.raises(Poison, match=f"state version {states.STATE_VERSION + 1}"):
        states.load(other)
    bed = ward.state.beds["p-1"]
    short = states.WardState("W1", {"p-1": structs.replace(bed, vitals=bed.vitals[:3])})
    with pytest.raises(Poison, match="vitals"):
        states.load(states.dump(short))


def test_what_an_older_core_wrote_is_read_with_the_fields_it_did_not_know_at_rest() -> None:
    """Fields are only added at the end; change anything else and what READABLE promises no longer holds."""
    assert states.STATE_VERSION == 2
    assert sorted(states.READABLE) == [1, 2]
    assert states.BedState.__struct_fields__[:22] == (
        "bed",
        "patient",
        "heard_ms",
        "heard_clock_ms",
        "newest_ms",
        "vitals",
        "alarms",
        "lag_ms",
        "lag_since_ms",
        "skewed",
        "cuff_from_ms",
        "cuff_until_ms",
        "quiet_until_ms",
        "quiet_rank",
        "late",
        "duplicates",
        "behind_since_ms",
        "lag_from_ms",
        "ended",
        "history",
        "memories",
        "facts",
    )
    assert states.WardState.__struct_fields__[:13] == (
        "ward",
        "beds",
        "log_ms",
        "clock_ms",
        "checked_ms",
        "actions",
        "left",
        "set_back",
        "kept",
        "models",
        "memories",
        "asked_ms",
        "risks_ms",
    )
    assert Alarm.__struct_fields__[-2:] == ("escalation", "advice")
    assert [vital.value for vital in states.VITALS] == [
        "heart_rate",
        "respiration",
        "spo2",
        "systolic",
        "diastolic",
        "mean_pressure",
        "temperature",
        "supplemental_oxygen",
        "consciousness",
    ]
