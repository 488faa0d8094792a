"""``ward replay show`` of what cannot be shown: named, with what to do, and nothing left running."""

from __future__ import annotations

from pathlib import Path

import pytest

from producers.replay.journal import Entry, Journal, State
from producers.replay.plan import LogPlan, Plan, Wish
from tests.integration.producers.replay_logs import START_MS, ward

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(60)]


def test_a_replay_that_is_unknown_or_not_decided_is_not_found_and_the_way_to_it_is_named(
    kafka: str, tmp_path: Path
) -> None:
    done = ward(["replay", "show", "again"], kafka, tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "no replay 'again'; `ward replay list`" in done.stderr

    log = LogPlan(topic="shift", target="again", partition=0, start=0, end=9, records=9, first_ms=START_MS)
    plan = Plan(
        wish=Wish(sources=("shift",), to="again"),
        bootstrap=kafka,
        made_ms=START_MS,
        logs=(log,),
        counted="offsets",
        records=9,
        first_ms=START_MS,
        last_ms=START_MS + 9000,
    )
    Journal(tmp_path / "replays").save(Entry(plan=plan, state=State.FINISHED))
    done = ward(["replay", "show", "again"], kafka, tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "`ward replay decide again`" in done.stderr
