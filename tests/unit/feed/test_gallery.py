"""The radiologist's list: worst first whatever the order of arrival, bounded, and resumed by what changed."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.records import FindingState, ImageFinding, Priority, Verdict
from streams.feed import gallery as module
from streams.feed.gallery import WAITING, Gallery, rank
from tests.unit.feed.image_records import T0, feedback, finding, refusal, result

STATES = st.sampled_from(list(FindingState))
PRIORITIES = st.sampled_from(list(Priority))
URGENT = list(Priority)


@st.composite
def histories(draw: st.DrawFn) -> list[ImageFinding]:
    """Changes of a few findings, each finding's in order, the findings mixed."""
    ids = draw(st.lists(st.sampled_from("abcdefgh"), max_size=25))
    seqs: dict[str, int] = {}
    steps = []
    for name in ids:
        seqs[name] = seqs.get(name, -1) + 1
        steps.append(
            finding(
                name,
                seqs[name],
                state=draw(STATES),
                priority=draw(PRIORITIES),
                probability=draw(st.none() | st.floats(0, 1)),
                at_ms=draw(st.integers(T0, T0 + 10**6)),
            )
        )
    return steps


def shown(gallery: Gallery) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(gallery.whole())
    return told


@given(histories())
def test_waiting_stands_before_done_and_the_worse_before_the_better(steps: list[ImageFinding]) -> None:
    gallery = Gallery()
    for step in steps:
        gallery.take_finding(step)
    rows = shown(gallery)["findings"]
    keys = [
        (one["state"] not in WAITING, URGENT.index(one["priority"]) if one["state"] in WAITING else 0) for one in rows
    ]
    assert keys == sorted(keys)
    for before, after in itertools.pairwise(rows):
        if before["state"] == "open" and after["state"] == "escalated":
            assert URGENT.index(before["priority"]) < URGENT.index(after["priority"])


@given(histories(), st.randoms(use_true_random=False))
def test_the_list_is_the_same_when_records_come_twice_and_findings_in_another_order(
    steps: list[ImageFinding], chance: Any
) -> None:
    one, other = Gallery(), Gallery()
    for step in steps:
        one.take_finding(step)
    mixed = sorted(steps, key=lambda step: (chance.random(), step.seq))
    by_finding = sorted(mixed, key=lambda step: step.finding_id)
    for step in by_finding:
        if step.seq == 0:
            for own in (mine for mine in steps if mine.finding_id == step.finding_id):
                other.take_finding(own)
                assert not other.take_finding(own)
    assert shown(one)["findings"] == shown(other)["findings"]


@given(histories(), st.integers(0, 30))
def test_who_resumes_knows_what_a_newcomer_is_told(steps: list[ImageFinding], cut: int) -> None:
    gallery = Gallery()
    for step in steps[:cut]:
        gallery.take_finding(step)
    kept = {one["finding_id"]: one for one in shown(gallery)["findings"]}
    position = gallery.position_of(gallery.cursor)
    for step in steps[cut:]:
        gallery.take_finding(step)
    assert position is not None
    kept |= {one["finding_id"]: one for one in json.loads(gallery.after(position))["findings"]}
    assert sorted(kept.values(), key=lambda one: one["rank"]) == shown(gallery)["findings"]


def test_a_cursor_of_another_memory_counts_for_nothing() -> None:
    gallery = Gallery()
    gallery.take_finding(finding("f1"))
    assert gallery.position_of(Gallery().cursor) is None
    assert gallery.position_of(f"{gallery.epoch}-99") is None
    for odd in (None, "", "-", f"{gallery.epoch}-", f"{gallery.epoch}-1x", f"{gallery.epoch}-٣"):
        assert gallery.position_of(odd) is None


def test_the_surer_stands_first_and_then_the_one_that_waits_longer() -> None:
    sure, unsure = finding("a", probability=0.9), finding("b", probability=0.6)
    assert rank(sure, T0) < rank(unsure, T0)
    assert rank(unsure, T0) < rank(unsure, T0 + 1)
    assert rank(finding("c", state=FindingState.ESCALATED, probability=0.1), T0) < rank(sure, T0)


def test_a_finding_waits_since_it_was_found_not_since_it_was_escalated() -> None:
    gallery = Gallery()
    gallery.take_finding(finding("f1", at_ms=T0))
    gallery.take_finding(finding("f1", 1, at_ms=T0 + 600_000, state=FindingState.ESCALATED))
    (row,) = shown(gallery)["findings"]
    assert (row["since_ms"], row["at_ms"], row["state"]) == (T0, T0 + 600_000, "escalated")


def test_every_list_is_bounded_and_what_waits_is_counted_when_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("KEEP_DONE", 3), ("KEEP_RESULTS", 4), ("KEEP_REFUSALS", 5), ("MOST_OPEN", 6), ("SLACK", 2)):
        monkeypatch.setattr(module, name, most)
    gallery = Gallery()
    for n in range(40):
        gallery.take_finding(finding(f"open-{n:02d}", probability=n / 100))
        gallery.take_finding(finding(f"done-{n:02d}", state=FindingState.ACCEPTED, at_ms=T0 + n))
        gallery.take_result(result(f"job-{n:02d}", at_ms=T0 + n))
        gallery.take_refusal(refusal(f"refusal-{n:02d}"))
        gallery.take_feedback(feedback(f"job-{n:02d}"))
    told = shown(gallery)
    waiting = [one for one in told["findings"] if one["state"] == "open"]
    assert 6 <= len(waiting) <= 8
    assert waiting[0]["finding_id"] == "open-39"
    assert len(waiting) + told["left_out"] == 40
    assert [one["finding_id"] for one in told["findings"]][-3:] == ["done-39", "done-38", "done-37"]
    assert 4 <= len(told["results"]) <= 6
    assert told["results"][0]["job_id"] == "job-39"
    assert len(told["refusals"]) == 5
    assert len(gallery.feedback) == 4


def test_a_verdict_stands_on_the_result_whichever_came_first() -> None:
    first, last = Gallery(), Gallery()
    first.take_feedback(feedback("j1", verdict=Verdict.REJECT, label="meningioma"))
    first.take_result(result("j1"))
    last.take_result(result("j1"))
    last.take_feedback(feedback("j1", verdict=Verdict.REJECT, label="meningioma"))
    for gallery in (first, last):
        verdict = shown(gallery)["results"][0]["verdict"]
        assert (verdict["verdict"], verdict["label"], verdict["actor"]) == ("reject", "meningioma", "a-nurse")
    assert not first.take_feedback(feedback("j1"))


def test_a_log_made_anew_empties_its_list_and_everyone_is_told_again() -> None:
    gallery = Gallery()
    gallery.take_finding(finding("f1", 7))
    cursor = gallery.cursor
    gallery.forget(gallery.findings)
    assert gallery.position_of(cursor) is None
    assert gallery.take_finding(finding("f1", 0))
