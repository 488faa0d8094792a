"""Jobs between log and model: the most urgent first, and no commit leaves one behind."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.records import ImageJob
from streams.image_queue import Progress, Queue
from streams.wardlog import LogRecord


def job(number: int, urgency: int = 0, attempt: int = 1) -> ImageJob:
    return ImageJob(
        version=1,
        job_id=f"j-{number}",
        study="st",
        instance="im",
        uri="hdfs:///images/x",
        sha256="0",
        model="m",
        at_ms=0,
        urgency=urgency,
        attempt=attempt,
    )


def record(offset: int, partition: int = 0) -> LogRecord:
    return LogRecord("t", partition, offset, 0, b"st", b"{}")


def taken(queue: Queue) -> str | None:
    waiting = queue.take(0)
    return None if waiting is None else waiting.job.job_id


def test_the_most_urgent_goes_first_and_equals_in_order() -> None:
    queue = Queue()
    for number, urgency in enumerate((0, 3, 0, 20, 3)):
        queue.took(record(number), job(number, urgency))
    assert [taken(queue) for _ in range(6)] == ["j-3", "j-1", "j-4", "j-0", "j-2", None]


def test_nothing_is_committed_beyond_an_unfinished_job() -> None:
    queue = Queue()
    for number, urgency in enumerate((0, 0, 9)):
        queue.took(record(10 + number), job(number, urgency))
    queue.took(record(13), None)
    assert queue.to_commit() == {0: 10}
    waiting = [queue.take(0) for _ in range(3)]
    assert waiting[0] is not None
    queue.done(waiting[0])
    assert queue.to_commit() == {}
    for one in waiting[1:]:
        assert one is not None
        queue.done(one)
    assert queue.to_commit() == {0: 14}


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=31), st.randoms())
def test_progress_is_the_lowest_unfinished_offset(offsets: list[int], random: object) -> None:
    offsets.sort()
    progress = Progress(offsets[0])
    for offset in offsets:
        progress.took(offset)
    left = set(offsets)
    for offset in random.sample(offsets, len(offsets)):  # type: ignore[attr-defined]  # hypothesis' Random
        progress.done(offset)
        left.discard(offset)
        assert progress.at == (min(left) if left else offsets[-1] + 1)


def test_a_partition_that_is_lost_takes_its_jobs_with_it_and_a_late_end_does_no_harm() -> None:
    queue = Queue()
    queue.took(record(5), job(1))
    queue.took(record(7, partition=1), job(2))
    waiting = queue.take(0)
    assert waiting is not None
    queue.forget([0])
    queue.done(waiting)
    assert taken(queue) == "j-2"
    assert queue.to_commit() == {1: 7}


def test_an_answered_job_is_known_and_a_higher_attempt_is_another() -> None:
    queue = Queue()
    queue.remember("j-1", 1)
    assert queue.is_answered(job(1))
    assert not queue.is_answered(job(1, attempt=2))


def test_a_closed_queue_hands_out_nothing_more() -> None:
    queue = Queue()
    queue.took(record(1), job(1))
    queue.close()
    assert queue.take(5) is None
    assert len(queue) == 1
    assert not queue.full
