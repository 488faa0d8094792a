"""The runtimes side by side in short form: all say the same. How much cheaper ours is gets printed, never asserted."""

from __future__ import annotations

import json

import msgspec
import pytest

from infra.bench import models
from infra.bench.models import Contender, Promise, Report

pytestmark = pytest.mark.bench


@pytest.mark.timeout(600)
def test_what_is_compared_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    report = models.measure(1, True, print)
    with capsys.disabled():
        print("", *models.lines(report), sep="\n")
    assert {cost.name for cost in report.costs} >= {each.ours for each in models.PROMISES}
    for ratio in report.ratios:
        assert ratio.apart is None or ratio.apart <= 1e-3, f"{ratio.ours} and {ratio.rival} are not the same model"
    assert {whole.model for whole in report.whole}.isdisjoint(report.missing)


def test_a_ratio_is_taken_round_by_round_and_held_to_both_promises() -> None:
    ours = Contender("ours", 10, 1, lambda: None, [1.0, 2.0, 4.0])
    rival = Contender("rival", 1, 1, lambda: None, [10.0, 40.0, 20.0])
    by_name = {"ours": ours, "rival": rival}
    promise = Promise(ours="ours", rival="rival", times=10, apart=1e-6)
    kept = models._ratio(promise, by_name, {"ours": 1e-7})
    assert (kept.times.median, kept.times.least, kept.times.most) == (10.0, 5.0, 20.0)
    assert kept.reached
    assert not models._ratio(promise, by_name, {"ours": 1e-5}).reached, "it says something else"
    dearer = Promise(ours="ours", rival="rival", times=11)
    assert not models._ratio(dearer, by_name, {}).reached


def test_a_report_says_what_is_missing_and_its_exit_code_what_was_not_reached() -> None:
    report = Report(
        cores=2, python="3.11", load_average=0.0, rounds=1, costs=[], ratios=[], whole=[], missing=["x"], reached=False
    )
    assert "x: none is shipped" in models.lines(report)
    assert models.exit_code(report) == 6
    assert json.loads(msgspec.json.encode(report))["missing"] == ["x"]
