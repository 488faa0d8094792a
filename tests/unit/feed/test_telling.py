"""Reads told to the lake: only reads of patients' data, never more than fit, and what is given up is counted."""

from __future__ import annotations

import pytest

from contracts import codec
from streams.feed import telling
from streams.feed.audit import Entry
from streams.feed.telling import Teller, access_of

NOWHERE = "127.0.0.1:9"


def entry(what: str, outcome: str = "ok") -> Entry:
    return Entry(who="nurse.kim", role="nurse", what=what, where="W1-01", outcome=outcome, address="127.0.0.1")


def test_a_row_of_the_audit_log_becomes_an_access() -> None:
    row = access_of(entry("read_trend"), 1_795_000_000_000)
    assert (row.actor, row.role, row.action, row.target, row.outcome) == (
        "nurse.kim",
        "nurse",
        "feed",
        "read_trend W1-01",
        "granted",
    )
    assert codec.decode(codec.encode(row), type(row)) == row
    assert access_of(entry("read_trend", "not_allowed"), 0).outcome == "refused"


def test_only_reads_of_patients_data_are_told_and_the_oldest_goes_when_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telling, "KEPT", 2)
    lost: list[int] = []
    teller = Teller(NOWHERE, lost.append)
    for what in ("sign_in", "act", "read_audit", "read_wall", "read_why", "read_stream"):
        teller.tell(entry(what))
    assert [row.target.split()[0] for row in teller._waiting] == ["read_why", "read_stream"]
    assert lost == [1]


@pytest.mark.asyncio
async def test_what_the_broker_does_not_take_at_the_end_is_counted_as_lost() -> None:
    lost: list[int] = []
    teller = Teller(NOWHERE, lost.append)
    teller.tell(entry("read_wall"))
    teller.tell(entry("read_wall"))
    await teller.close()
    assert lost == [2]
