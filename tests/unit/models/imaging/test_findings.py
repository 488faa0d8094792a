"""The radiologist's list: each step of a finding, and that nothing told twice or rebuilt changes anything."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Misconfigured
from contracts.records import FindingState, ImageFeedback, ImageFinding, ImageResult, Priority, Verdict
from models.imaging.findings import MINUTE_MS, NOBODY, Board, Patients, finding_id, load_findings

POLICY = load_findings()
NOW = 1_767_340_800_000
Event = ImageResult | ImageFeedback | tuple[str, int]


def result(
    instance: str = "im-1", label: str | None = "glioma", positive: bool = True, revision: int = 0, at: int = 0
) -> ImageResult:
    return ImageResult(
        version=1,
        job_id=f"j-{instance}-{revision}",
        study="st-1",
        instance=instance,
        model="brain_tumour",
        model_sha256="0" * 64,
        at_ms=NOW + at,
        label=label,
        probability=0.9,
        positive=positive,
        patient="p-1",
        revision=revision,
    )


def verdict(kind: Verdict, job: str = "j-im-1-0", instance: str = "im-1", at: int = 60_000) -> ImageFeedback:
    return ImageFeedback(
        version=1,
        feedback_id=f"{job}-{kind}-{at}",
        job_id=job,
        study="st-1",
        instance=instance,
        patient="p-1",
        model="brain_tumour",
        verdict=kind,
        actor="dr.kim",
        at_ms=NOW + at,
    )


def told(board: Board, event: Event, patients: Patients = NOBODY) -> list[ImageFinding]:
    """What an event leads to, written."""
    if isinstance(event, ImageResult):
        found = board.result(event, patients)
    elif isinstance(event, ImageFeedback):
        found = board.feedback(event)
    elif event[0] == "due":
        found = board.due(NOW + event[1])
    else:
        found = board.vitals("p-1", Patients({"p-1": event[1]}), NOW + 1)
    for finding in found:
        board.wrote(finding)
    return found


def test_a_positive_result_opens_a_finding_with_the_priority_of_its_label() -> None:
    (one,) = told(Board(POLICY), result())
    assert (one.state, one.priority, one.seq, one.actor) == (FindingState.OPEN, Priority.HIGH, 0, None)
    assert one.finding_id == finding_id("p-1", "st-1", "brain_tumour", "glioma")
    assert one.policy == POLICY.hash
    assert told(Board(POLICY), result(label="pituitary"))[0].priority is Priority.MEDIUM


@pytest.mark.parametrize(("news2", "priority"), [(4, "medium"), (5, "high"), (7, "high")])
def test_a_deteriorating_patient_goes_up_the_list(news2: int, priority: str) -> None:
    (one,) = told(Board(POLICY), result(label="pituitary"), Patients({"p-1": news2}))
    assert one.priority.value == priority
    board = Board(POLICY)
    told(board, result(label="pituitary"))
    later = told(board, ("vitals", news2))
    assert [finding.priority.value for finding in later] == ([priority] if priority == "high" else [])
    assert told(board, ("vitals", news2)) == []
    assert told(board, ("vitals", 0)) == [], "it does not go down while nobody has looked"


def test_what_nobody_decides_is_escalated_once_and_in_time() -> None:
    board = Board(POLICY)
    told(board, result())
    wait_ms = POLICY.unread_ms(Priority.HIGH)
    assert wait_ms == 15 * MINUTE_MS
    assert told(board, ("due", wait_ms - 1)) == []
    (one,) = told(board, ("due", wait_ms + 5_000))
    assert (one.state, one.at_ms, one.seq) == (FindingState.ESCALATED, NOW + wait_ms, 1)
    assert told(board, ("due", 2 * wait_ms)) == []


@pytest.mark.parametrize("kind", list(Verdict))
def test_a_reader_decides_and_may_think_again(kind: Verdict) -> None:
    other = Verdict.REJECT if kind is Verdict.ACCEPT else Verdict.ACCEPT
    board = Board(POLICY)
    told(board, result())
    (one,) = told(board, verdict(kind))
    assert (one.state.value, one.actor) == ({"accept": "accepted", "reject": "rejected"}[kind], "dr.kim")
    assert told(board, verdict(kind)) == []
    (again,) = told(board, verdict(other, at=120_000))
    assert (again.state is one.state, again.seq) == (False, 2)
    assert told(board, verdict(kind)) == [], "an older verdict that comes again changes nothing"
    assert told(board, result()) == []
    assert told(board, ("due", 10**9)) == []


def test_a_verdict_may_come_before_the_finding_is_known() -> None:
    board = Board(POLICY)
    assert told(board, verdict(Verdict.REJECT)) == []
    assert [finding.state for finding in told(board, result())] == [FindingState.OPEN, FindingState.REJECTED]


def test_a_revision_that_is_no_longer_positive_withdraws_it_and_one_that_is_again_opens_it() -> None:
    board = Board(POLICY)
    told(board, result())
    (gone,) = told(board, result(label="notumor", positive=False, revision=1, at=9))
    assert (gone.state, gone.seq) == (FindingState.WITHDRAWN, 1)
    assert told(board, result()) == [], "the older revision comes again"
    (back,) = told(board, result(revision=2, at=20))
    assert (back.state, back.seq) == (FindingState.OPEN, 2)


def test_a_finding_stands_while_another_image_of_the_study_bears_it_out() -> None:
    board = Board(POLICY)
    told(board, result("im-1"))
    assert told(board, result("im-2")) == [], "one finding, however many images show it"
    (moved,) = told(board, result("im-1", "notumor", False, 1))
    assert (moved.state, moved.instance, moved.job_id) == (FindingState.OPEN, "im-2", "j-im-2-0")
    (gone,) = told(board, result("im-2", "notumor", False, 1))
    assert gone.state is FindingState.WITHDRAWN


def test_a_refusal_tells_nothing_of_the_patient() -> None:
    board = Board(POLICY)
    told(board, result())
    refused = msgspec.structs.replace(result(label=None, revision=1), positive=None, refusal="out_of_scope")
    assert told(board, refused) == []
    assert board.standing()[FindingState.OPEN, Priority.HIGH] == 1


events = st.lists(
    st.one_of(
        st.builds(
            result,
            st.sampled_from(("im-1", "im-2")),
            st.sampled_from(("glioma", "meningioma")),
            st.booleans(),
            st.integers(0, 2),
            st.integers(0, 10**6),
        ),
        st.builds(
            verdict,
            st.sampled_from(tuple(Verdict)),
            st.sampled_from(("j-im-1-0", "j-im-2-1")),
            st.sampled_from(("im-1", "im-2")),
            st.integers(0, 10**6),
        ),
        st.tuples(st.just("due"), st.integers(0, 10**8)),
        st.tuples(st.just("vitals"), st.integers(0, 20)),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(events)
def test_findings_count_up_and_a_rebuilt_list_goes_on_where_it_was(happened: list[Event]) -> None:
    board = Board(POLICY)
    log: list[ImageFinding] = []
    for event in happened:
        log += told(board, event)
    for identity in {finding.finding_id for finding in log}:
        assert [f.seq for f in log if f.finding_id == identity] == list(
            range(sum(f.finding_id == identity for f in log))
        )
    again = Board(POLICY)
    for finding in log:
        again.wrote(finding)
    assert again.findings == board.findings
    for event in happened:
        if isinstance(event, ImageResult):
            again.recall(event)
    more = [made for one in again.latest() for made in told(again, one)]
    kept: dict[str, ImageFeedback] = {}
    for event in happened:
        if isinstance(event, ImageFeedback) and (event.job_id not in kept or kept[event.job_id].at_ms <= event.at_ms):
            kept[event.job_id] = event
    more += [made for one in kept.values() for made in told(again, one)]
    before = {finding.finding_id: finding.state for finding in board.findings.values()}
    assert all(made.finding_id in before for made in more), "nothing new comes of what was there"


@settings(deadline=None)
@given(events)
def test_what_is_told_twice_changes_nothing(happened: list[Event]) -> None:
    once, twice = Board(POLICY), Board(POLICY)
    for event in happened:
        told(once, event)
        told(twice, event)
        assert told(twice, event) == []
    assert once.findings == twice.findings


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("version = 1", "version = 7", "version 7"),
        ('priority = "medium"', 'priority = "grave"', "priority"),
        ("medium_from = 5", "medium_from = 9", "medium_from <= high_from"),
        ("high = 15.0", "high = 0.0", "unread_after_min.high"),
        ("lately_min = 30.0", "latelymin = 30.0", "latelymin"),
    ],
)
def test_a_wrong_policy_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    from importlib import resources

    text = resources.files("models.imaging").joinpath("findings.toml").read_text(encoding="utf-8")
    path = tmp_path / "findings.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(Misconfigured, match=says) as wrong:
        load_findings(path)
    assert "findings.toml" in str(wrong.value)


def test_a_policy_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="WARD_IMAGE_POLICY"):
        load_findings(tmp_path / "none.toml")
