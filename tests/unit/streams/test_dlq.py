"""Dead letters: what sending them again would do, with and without mending."""

from __future__ import annotations

from typing import Any

import pytest

from contracts import codec
from contracts.errors import Misconfigured, Poison
from contracts.records import DeadLetter, SourceOffset, VitalsFrame
from contracts.topology import VITALS, partition_for
from streams.dlq import Parked, mend, plan
from streams.wardlog import LogRecord, dead_letter
from tests.unit.streams.memory import START_MS, frame

GOOD = codec.encode(frame("W1", 0))


def letter_of(raw: bytes | None, reason: str = "not_json", field: str = "$", partial: bool = False) -> Parked:
    source = SourceOffset(topic=VITALS.name, partition=1, offset=7)
    return Parked(
        3,
        DeadLetter(
            version=1,
            source=source,
            reason=reason,
            field=field,
            detail="",
            by="t",
            at_ms=START_MS,
            raw=raw,
            partial=partial,
        ),
    )


def test_what_is_readable_now_goes_to_its_wards_own_partition() -> None:
    found = plan(letter_of(GOOD, "wrong_partition"), None, {})
    assert found.value == GOOD
    assert (found.key, found.partition) == (b"W1", partition_for("W1", VITALS.partitions))


def test_what_would_only_come_back_is_named_and_not_sent() -> None:
    found = plan(letter_of(b"<html>"), None, {})
    assert found.value is None
    assert "not_json" in found.why


def test_a_tombstone_has_nothing_to_send() -> None:
    assert plan(letter_of(None, "tombstone"), None, {}).value is None


def test_a_field_can_be_mended() -> None:
    bad = GOOD.replace(b'"version":1', b'"version":9', 1)
    assert plan(letter_of(bad), None, {}).value is None
    found = plan(letter_of(bad), None, {"version": 1})
    assert found.value is not None
    assert codec.decode(found.value, VitalsFrame) == frame("W1", 0)


def test_a_bad_reading_becomes_a_frame_of_its_own_with_the_old_header() -> None:
    original = GOOD.replace(b'"value":72.0', b'"value":"72 bpm"', 1)
    fault = codec.decode_frame(original).faults[0]
    record = LogRecord(VITALS.name, 1, 7, START_MS, b"W1", original)
    letter = dead_letter(record, Poison(fault.reason, fault.detail, fault.field), part=fault.raw)
    assert plan(Parked(1, letter), original, {}).value is None
    found = plan(Parked(1, letter), original, {"value": 72})
    assert found.value is not None
    sent = codec.decode(found.value, VitalsFrame)
    assert (sent.ward, sent.at_ms, sent.seq) == ("W1", START_MS, 0)
    assert [(bed.bed, [r.value for r in bed.readings]) for bed in sent.beds] == [("W1-01", [72.0])]


def test_a_part_whose_frame_is_gone_is_not_redrivable() -> None:
    found = plan(letter_of(b"{}", "missing_field", "$.beds[0].bed", partial=True), None, {})
    assert found.value is None
    assert "no longer in the log" in found.why


@pytest.mark.parametrize("path", ["", "beds[9].bed", "ward.name.first"])
def test_a_path_that_leads_nowhere_is_a_usage_error(path: str) -> None:
    fixes: dict[str, Any] = {path: 1}
    with pytest.raises(Misconfigured, match="--fix"):
        mend(GOOD, fixes)
