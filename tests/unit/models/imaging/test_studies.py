"""When a study is complete: after a quiet while, again when something comes late, and never twice the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.records import ImageArrival, StudyRevision
from models.imaging.studies import Studies

NOW = 1_767_340_800_000
QUIET = 20_000


def arrival(instance: str, at: int, study: str = "st-1") -> ImageArrival:
    return ImageArrival(
        version=1,
        patient="p-1",
        study=study,
        series="se",
        instance=instance,
        modality="MR",
        uri="hdfs:///images/x",
        sha256="0",
        at_ms=NOW + at,
    )


def came(studies: Studies, instance: str, at: int) -> None:
    studies.arrived(arrival(instance, at), NOW + at)


def told(studies: Studies, at: int) -> list[StudyRevision]:
    found = studies.due(NOW + at)
    for one in found:
        studies.wrote(one)
    return found


def test_a_study_is_told_once_it_has_been_quiet() -> None:
    studies = Studies(QUIET)
    came(studies, "b", 0)
    came(studies, "a", 15_000)
    assert told(studies, 34_999) == []
    (one,) = told(studies, 50_000)
    assert (one.revision, one.instances, one.patient) == (0, ("a", "b"), "p-1")
    assert (one.first_ms, one.last_ms, one.at_ms) == (NOW, NOW + 15_000, NOW + 35_000)
    assert told(studies, 90_000) == []


def test_a_late_instance_gives_the_next_revision_with_all_of_them() -> None:
    studies = Studies(QUIET)
    came(studies, "a", 0)
    told(studies, QUIET)
    came(studies, "b", 100_000)
    (late,) = told(studies, 100_000 + QUIET)
    assert (late.revision, late.instances, late.first_ms) == (1, ("a", "b"), NOW)


def test_what_comes_again_changes_nothing_but_other_bytes_of_an_instance_do() -> None:
    studies = Studies(QUIET)
    came(studies, "a", 0)
    told(studies, QUIET)
    came(studies, "a", 0)
    assert told(studies, 10 * QUIET) == []
    came(studies, "a", 300_000)
    assert [one.revision for one in told(studies, 300_000 + QUIET)] == [1]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 40_000)), min_size=1, max_size=20), st.integers(0, 20)
)
def test_a_rebuilt_state_tells_what_is_left_and_nothing_again(steps: list[tuple[str, int]], cut: int) -> None:
    whole, log, at, happened = Studies(QUIET), list[StudyRevision](), 0, list[tuple[str, int]]()
    for instance, gap in steps:
        log += told(whole, at + gap)
        at += gap
        came(whole, instance, at)
        happened.append((instance, at))
    again, kept = Studies(QUIET), log[: min(cut, len(log))]
    for revision in kept:
        again.wrote(revision)
    for instance, moment in happened:
        came(again, instance, moment)
    more = told(again, at + QUIET)
    assert [one.revision for one in more] in ([], [len(kept)])
    last = (*kept, *more)[-1]
    assert last.instances == tuple(sorted({instance for instance, _ in happened}))
    assert last.last_ms == NOW + at
