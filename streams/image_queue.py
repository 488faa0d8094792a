"""Jobs that were taken from the log: the most urgent goes first, and what is committed leaves none behind."""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from contracts.records import ImageJob
from streams.wardlog import LogRecord

MOST: Final = 1_000
"""More than so many waiting jobs are left in the log."""
REMEMBERED: Final = 100_000


@dataclass(frozen=True)
class Waiting:
    """A job and the record that it came in."""

    record: LogRecord
    job: ImageJob


class Progress:
    """What of one partition is finished; records finish in any order."""

    def __init__(self, at: int) -> None:
        self.at = at
        """Everything below this offset is finished."""
        self._open: list[int] = []
        self._done: set[int] = set()
        self._last = at

    def took(self, offset: int) -> None:
        """A record was taken from the log; offsets only rise."""
        heapq.heappush(self._open, offset)
        self._last = offset + 1

    def done(self, offset: int) -> None:
        """It is finished."""
        self._done.add(offset)
        while self._open and self._open[0] in self._done:
            self._done.discard(heapq.heappop(self._open))
        self.at = self._open[0] if self._open else self._last


@dataclass
class Queue:
    """Jobs between the thread that takes them from the log and the one that does them. Safe for both.

    ``answered`` remembers which jobs have a result, so that a job which is delivered again is not done again.
    """

    most: int = MOST
    answered: OrderedDict[tuple[str, int], None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        """Empty."""
        self._heap: list[tuple[int, int, int, Waiting]] = []
        self._progress: dict[int, Progress] = {}
        self._committed: dict[int, int] = {}
        self._count = 0
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._heap)

    @property
    def full(self) -> bool:
        """Whether no more should be taken."""
        return len(self._heap) >= self.most

    def took(self, record: LogRecord, job: ImageJob | None) -> None:
        """A record of the log and its job; None when there is nothing to be done, and it counts as finished."""
        with self._changed:
            progress = self._progress.setdefault(record.partition, Progress(record.offset))
            progress.took(record.offset)
            if job is None:
                progress.done(record.offset)
            else:
                self._count += 1
                heapq.heappush(self._heap, (-job.urgency, self._count, record.offset, Waiting(record, job)))
            self._changed.notify_all()

    def take(self, within_s: float) -> Waiting | None:
        """The most urgent job, of equally urgent ones the first; None when there is none for so long, or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._heap) or self._closed, within_s)
            if self._closed or not self._heap:
                return None
            return heapq.heappop(self._heap)[3]

    def done(self, waiting: Waiting) -> None:
        """The job has its result, or its dead letter, and it is acknowledged."""
        with self._changed:
            self.remember(waiting.job.job_id, waiting.job.attempt)
            progress = self._progress.get(waiting.record.partition)
            if progress is not None and waiting.record.offset >= progress.at:
                progress.done(waiting.record.offset)

    def remember(self, job_id: str, attempt: int) -> None:
        """This job has a result."""
        self.answered[job_id, attempt] = None
        self.answered.move_to_end((job_id, attempt))
        while len(self.answered) > REMEMBERED:
            self.answered.popitem(last=False)

    def is_answered(self, job: ImageJob) -> bool:
        """Whether it has one. A job that is asked for again with a higher ``attempt`` is another one."""
        return (job.job_id, job.attempt) in self.answered

    def to_commit(self) -> dict[int, int]:
        """By partition, the offset below which all is finished, where it has moved since the last call."""
        with self._changed:
            moved = {p: one.at for p, one in self._progress.items() if self._committed.get(p) != one.at}
            self._committed |= moved
            return moved

    def forget(self, partitions: list[int]) -> None:
        """These partitions are another's now: their jobs that nobody has begun are dropped."""
        with self._changed:
            gone = set(partitions)
            self._heap = [one for one in self._heap if one[3].record.partition not in gone]
            heapq.heapify(self._heap)
            for partition in gone:
                self._progress.pop(partition, None)
                self._committed.pop(partition, None)

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
