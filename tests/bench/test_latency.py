"""The whole chain, shortly: what a gateway sent is on the screen, all of it. Latencies are printed, never asserted."""

from __future__ import annotations

import pytest

from infra.bench import latency

pytestmark = [pytest.mark.bench, pytest.mark.stack]


@pytest.mark.timeout(600)
def test_every_frame_of_every_ward_reaches_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    report = latency.measure([200], latency.FORMS, 12, print)
    with capsys.disabled():
        print("", *latency.lines(report), sep="\n")
    assert [(step.form, step.frames, step.lost_frames) for step in report.steps if step.holds] == [
        (form, 4 * 12, 0) for form in latency.FORMS
    ]
