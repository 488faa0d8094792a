"""The radiologist's list in memory: findings worst first, recent results, images that were not let in.

Everything is the newest state of something and is bounded, so a client that lags is told what is now instead of
everything that was: where it stands is one number, the count of changes that it has seen.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from contracts.records import FindingState, ImageFeedback, ImageFinding, ImageRefusal, ImageResult, Priority

KEEP_RESULTS: Final = 1000
KEEP_REFUSALS: Final = 300
KEEP_DONE: Final = 300
MOST_OPEN: Final = 5000
"""More findings than a list of them is of use; the least urgent are then counted, not shown."""

SLACK: Final = 200
"""What is too much goes so many at once: to look for the oldest at every record would make a long log slow to read."""

WAITING: Final = frozenset({FindingState.OPEN, FindingState.ESCALATED})
_URGENT: Final = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)
_LATEST: Final = 10**15 - 1
_encoder: Final = msgspec.json.Encoder()


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


RESULT_SHOWN: Final = _names(
    "job_id study instance patient model label probability positive threshold value low high unit refusal detail "
    "modality body_part view at_ms arrived_ms took_ms revision"
)
FINDING_SHOWN: Final = _names(
    "finding_id job_id study instance patient model label probability priority state at_ms why actor"
)


class Row(NamedTuple):
    """One line of a list: the record, when it changed in the gallery's own count, its bytes, since when it stands."""

    record: Any
    changed: int
    data: bytes
    since_ms: int


def rank(finding: ImageFinding, since_ms: int) -> str:
    """What a list of findings is sorted by, as text: waiting before done, worst priority first, escalated before open,
    the surer and then the longer waiting first; of those that are done the newest first."""
    if finding.state not in WAITING:
        return f"1{_LATEST - _bounded(finding.at_ms):015d}{finding.finding_id}"
    sure = round(9999 * min(1.0, max(0.0, finding.probability or 0.0)))
    escalated = finding.state is FindingState.ESCALATED
    order = f"0{_URGENT.index(finding.priority)}{0 if escalated else 1}{9999 - sure:04d}{_bounded(since_ms):015d}"
    return order + finding.finding_id


def _bounded(at_ms: int) -> int:
    return min(_LATEST, max(0, at_ms))


class Gallery:
    """All of it. ``seq`` counts changes; ``epoch`` tells this memory from one that counted otherwise."""

    def __init__(self) -> None:
        self.seq = 0
        self.epoch = secrets.token_hex(6)
        self.findings: dict[str, Row] = {}
        self.results: dict[str, Row] = {}
        self.refusals: OrderedDict[str, Row] = OrderedDict()
        self.feedback: OrderedDict[str, ImageFeedback] = OrderedDict()
        self.left_out = 0
        self._done: OrderedDict[str, None] = OrderedDict()
        self._whole: tuple[int, bytes] | None = None

    # -- in ----------------------------------------------------------------------------------------------------------

    def take_finding(self, finding: ImageFinding) -> bool:
        """Take a change of a finding; False when it was known already."""
        before = self.findings.get(finding.finding_id)
        if before is not None and finding.seq <= before.record.seq:
            return False
        since_ms = before.since_ms if before is not None else finding.at_ms
        shown = {name: getattr(finding, name) for name in FINDING_SHOWN}
        shown |= {"since_ms": since_ms, "rank": rank(finding, since_ms)}
        self.findings[finding.finding_id] = Row(finding, self._changed(), _encoder.encode(shown), since_ms)
        self._bound_findings(finding)
        return True

    def take_result(self, result: ImageResult) -> bool:
        """Take a result; False when the same or a newer one of the job was known already."""
        before = self.results.get(result.job_id)
        if before is not None and result.at_ms <= before.record.at_ms:
            return False
        self._put_result(result)
        if len(self.results) > KEEP_RESULTS + SLACK:
            by_age = sorted(self.results, key=lambda job: self.results[job].record.at_ms)
            for job in by_age[:-KEEP_RESULTS]:
                del self.results[job]
        return True

    def take_refusal(self, refusal: ImageRefusal) -> bool:
        """Take an image that was not let in; False when it was known already."""
        if refusal.refusal_id in self.refusals:
            return False
        data = _encoder.encode(refusal)
        self.refusals[refusal.refusal_id] = Row(refusal, self._changed(), data, refusal.at_ms)
        while len(self.refusals) > KEEP_REFUSALS:
            self.refusals.popitem(last=False)
        return True

    def take_feedback(self, feedback: ImageFeedback) -> bool:
        """Take what a reader made of a result; False when it is older than what was known."""
        before = self.feedback.get(feedback.job_id)
        if before is not None and feedback.at_ms <= before.at_ms:
            return False
        self.feedback[feedback.job_id] = feedback
        while len(self.feedback) > KEEP_RESULTS:
            self.feedback.popitem(last=False)
        if (row := self.results.get(feedback.job_id)) is not None:
            self._put_result(row.record)
        return True

    def forget(self, kept: dict[str, Any]) -> None:
        """Empty one of the lists, whose log was made anew; clients are told everything again."""
        kept.clear()
        if kept is self.findings:
            self._done.clear()
            self.left_out = 0
        self.epoch = secrets.token_hex(6)
        self._changed()

    def _put_result(self, result: ImageResult) -> None:
        shown = {name: getattr(result, name) for name in RESULT_SHOWN}
        said = self.feedback.get(result.job_id)
        shown["verdict"] = None if said is None else feedback_shown(said)
        self.results[result.job_id] = Row(result, self._changed(), _encoder.encode(shown), result.at_ms)

    def _changed(self) -> int:
        self.seq += 1
        return self.seq

    def _bound_findings(self, finding: ImageFinding) -> None:
        self._done.pop(finding.finding_id, None)
        if finding.state not in WAITING:
            self._done[finding.finding_id] = None
            while len(self._done) > KEEP_DONE:
                del self.findings[self._done.popitem(last=False)[0]]
        if len(self.findings) - len(self._done) > MOST_OPEN + SLACK:
            waiting = [row for row in self.in_order() if row.record.state in WAITING]
            for row in waiting[MOST_OPEN:]:
                del self.findings[row.record.finding_id]
            self.left_out += len(waiting) - MOST_OPEN

    # -- out ---------------------------------------------------------------------------------------------------------

    def in_order(self) -> list[Row]:
        """Findings by ``rank``."""
        return sorted(self.findings.values(), key=lambda row: rank(row.record, row.since_ms))

    def of_patient(self, patient: str) -> list[Row]:
        """Results of a patient, by pseudonym, newest first."""
        found = [row for row in self.results.values() if row.record.patient == patient]
        return sorted(found, key=lambda row: -row.record.at_ms)

    def finding_of(self, job_id: str) -> Row | None:
        """The finding that came of a job, the newest where there are several."""
        found = [row for row in self.findings.values() if row.record.job_id == job_id]
        return max(found, key=lambda row: row.record.at_ms, default=None)

    @property
    def cursor(self) -> str:
        """Where a client stands that knows everything."""
        return f"{self.epoch}-{self.seq}"

    def position_of(self, cursor: str | None) -> int | None:
        """The count that a cursor of this memory names, else None."""
        epoch, _, seq = (cursor or "").partition("-")
        if epoch != self.epoch or not (seq.isascii() and seq.isdecimal() and len(seq) < 16):
            return None
        return int(seq) if int(seq) <= self.seq else None

    def whole(self) -> bytes:
        """Everything as JSON, each list in its order; made once however many ask."""
        if self._whole is None or self._whole[0] != self.seq:
            results = sorted(self.results.values(), key=lambda row: -row.record.at_ms)
            refusals = sorted(self.refusals.values(), key=lambda row: -row.record.at_ms)
            self._whole = (self.seq, self._lists(self.in_order(), results, refusals))
        return self._whole[1]

    def after(self, position: int) -> bytes:
        """What changed after ``position``, in the same form."""
        return self._lists(
            *(
                [row for row in rows.values() if row.changed > position]
                for rows in (self.findings, self.results, self.refusals)
            )
        )

    def _lists(self, *rows: Iterable[Row]) -> bytes:
        names = ("findings", "results", "refusals")
        lists = (
            b'"%s":[%s]' % (name.encode(), b",".join(row.data for row in of))
            for name, of in zip(names, rows, strict=True)
        )
        return b'{%s,"left_out":%d,"cursor":"%s"}' % (b",".join(lists), self.left_out, self.cursor.encode())


def feedback_shown(said: ImageFeedback) -> dict[str, Any]:
    """A verdict as the pages show it."""
    return {
        name: getattr(said, name) for name in ("feedback_id", "verdict", "actor", "at_ms", "label", "value", "note")
    }
