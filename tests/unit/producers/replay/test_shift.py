"""Times moved by a constant: every moment of every record, and nothing else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import codec
from contracts import records as r
from producers.replay.shift import LENGTHS, MOMENTS, shifted, to_now

BY_MS = 3_600_000
AT_MS = 1_767_340_800_000

FRAME = r.VitalsFrame(
    version=r.SCHEMA_VERSION,
    ward="W1",
    gateway="g",
    seq=1,
    at_ms=AT_MS,
    beds=(
        r.BedReadings(
            bed="B1",
            patient="p1",
            readings=(
                r.Reading(vital=r.Vital.HEART_RATE, value=81.25, at_ms=AT_MS - 500),
                r.Reading(vital=r.Vital.HEART_RATE, value=None),
            ),
        ),
    ),
    actions=(
        r.AlertAction(
            version=r.SCHEMA_VERSION,
            action_id="a",
            ward="W1",
            bed="B1",
            kind=r.ActionKind.PAUSE_AUDIO,
            actor="n",
            role="nurse",
            at_ms=AT_MS - 7,
            pause_s=120,
        ),
    ),
    past=(r.PastVitals(bed="B1", patient="p1", start_ms=AT_MS - 9, step_s=60, origin="topic"),),
    facts=(r.PatientFacts(patient="p1", age_years=70.5, admitted_ms=AT_MS - 11),),
)


def test_every_moment_of_a_frame_moves_and_nothing_else_does() -> None:
    value, read = shifted(codec.encode(FRAME), BY_MS)
    assert read
    frame = codec.decode_frame(value).frame
    moved = msgspec.structs.replace(
        FRAME,
        at_ms=AT_MS + BY_MS,
        beds=(
            msgspec.structs.replace(
                FRAME.beds[0],
                readings=(
                    msgspec.structs.replace(FRAME.beds[0].readings[0], at_ms=AT_MS - 500 + BY_MS),
                    FRAME.beds[0].readings[1],
                ),
            ),
        ),
        actions=(msgspec.structs.replace(FRAME.actions[0], at_ms=AT_MS - 7 + BY_MS),),
        past=(msgspec.structs.replace(FRAME.past[0], start_ms=AT_MS - 9 + BY_MS),),
        facts=(msgspec.structs.replace(FRAME.facts[0], admitted_ms=AT_MS - 11 + BY_MS),),
    )
    assert frame == moved
    assert value == codec.encode(moved)


@given(st.integers(-(10**12), 10**12))
def test_there_and_back_again_gives_the_same_bytes(by_ms: int) -> None:
    raw = codec.encode(FRAME)
    there, _ = shifted(raw, by_ms)
    assert shifted(there, -by_ms)[0] == raw


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[1,2]", b"17", b'"at_ms"', None])
def test_what_cannot_be_read_stays_as_it_is(raw: bytes | None) -> None:
    assert shifted(raw, BY_MS) == (raw, False)


def test_a_broken_frame_stays_just_as_broken_and_unknown_fields_stay() -> None:
    raw = b'{"version":99,"at_ms":"noon","newer":{"start_ms":5},"beds":[{"readings":[{"at_ms":1,"value":2.50}]}]}'
    value, read = shifted(raw, 10)
    assert read
    assert (
        value
        == b'{"version":99,"at_ms":"noon","newer":{"start_ms":15},"beds":[{"readings":[{"at_ms":11,"value":2.5}]}]}'
    )


def test_a_length_of_time_is_no_moment() -> None:
    assert "age_ms" in LENGTHS
    assert {"at_ms", "now_ms", "onset_ms", "heard_ms", "start_ms", "admitted_ms", "audio_until_ms"} <= MOMENTS
    assert not LENGTHS & MOMENTS


def test_the_move_is_in_whole_minutes_and_ends_in_the_present_one() -> None:
    by_ms = to_now(AT_MS + 17_000, AT_MS + 86_400_000 + 45_000)
    assert by_ms % 60_000 == 0
    assert 0 <= AT_MS + 86_400_000 + 45_000 - (AT_MS + 17_000 + by_ms) < 60_000
