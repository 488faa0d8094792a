"""Half an hour of a small hospital heard live and replayed twice: the same is decided. Seconds are printed only."""

from __future__ import annotations

import pytest

from infra.bench import replay

pytestmark = [pytest.mark.bench, pytest.mark.stack]


@pytest.mark.timeout(300)
def test_a_replay_leads_to_what_was_told_live_and_a_second_one_adds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report = replay.measure(24, 0.4, 8, print)
    with capsys.disabled():
        print("", *replay.lines(report), sep="\n")
    assert report.transitions > 0
    assert report.same_as_live
    assert report.added == 0
