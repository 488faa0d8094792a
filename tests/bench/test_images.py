"""Images beside a ward, shortly: every one is read or refused with a reason. Latencies are printed, never asserted."""

from __future__ import annotations

import pytest

from infra.bench import images

pytestmark = [pytest.mark.bench, pytest.mark.stack, pytest.mark.hdfs]


@pytest.mark.timeout(600)
def test_every_image_that_a_scanner_sends_beside_a_ward_is_read_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    report = images.measure(100, 1.0, 10, 1, print)
    with capsys.disabled():
        print("", *images.lines(report), sep="\n")
    (came,) = report.images
    assert (came.lost, came.failed) == (0, 0)
    assert came.stored + came.refused == came.sent > 10
    assert [step.lost_frames for step in (*report.vitals_with, *report.vitals_without)] == [0, 0]
