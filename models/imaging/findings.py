"""The radiologist's list: what becomes of a positive result, as a function of what was told. Pure: no clock, no broker.

A finding is one label of one model in one study. It is OPEN when an image is positive, ESCALATED when nobody decided
in time, ACCEPTED or REJECTED once somebody did, WITHDRAWN when no image of it is positive any longer. Everything is
decided from where things stand, not from what just happened: the same result or verdict told twice changes nothing, so
a list that is rebuilt from what was written goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from contracts.errors import Misconfigured
from contracts.records import (
    SCHEMA_VERSION,
    FindingState,
    ImageFeedback,
    ImageFinding,
    ImageResult,
    Priority,
    Verdict,
)

VERSIONS: Final = frozenset({1})
UNDECIDED: Final = (FindingState.OPEN, FindingState.ESCALATED)
STEPS: Final = (Priority.LOW, Priority.MEDIUM, Priority.HIGH)
MINUTE_MS: Final = 60_000
MOST: Final = 20_000
"""So many results, and verdicts, of one partition are remembered."""
_DEFAULT: Final = "findings.toml"
_DECIDED: Final = {Verdict.ACCEPT: FindingState.ACCEPTED, Verdict.REJECT: FindingState.REJECTED}


class Unread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After how many minutes without a decision a finding of this priority is escalated."""

    high: float
    medium: float
    low: float


class Deterioration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which certain NEWS2 on a patient deteriorates, how long it counts, what it adds to a job's urgency."""

    medium_from: int = 5
    high_from: int = 7
    lately_min: float = 30.0
    urgency_medium: int = 10
    urgency_high: int = 20


class Ranked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The priority of findings of a model, of some labels or all."""

    priority: Priority
    model: str | None = None
    labels: tuple[str, ...] = ()


class FindingsPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole policy; equal content has an equal ``hash``, whatever the file looked like."""

    version: int
    name: str
    priority: Priority
    unread_after_min: Unread
    deterioration: Deterioration = Deterioration()
    finding: tuple[Ranked, ...] = ()

    @property
    def hash(self) -> str:
        """First 12 hex digits of the sha256 of the canonical content."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]

    def ranked(self, model: str, label: str) -> Priority:
        """The priority of a finding of a patient who is well otherwise."""
        for one in self.finding:
            if one.model in (None, model) and (not one.labels or label in one.labels):
                return one.priority
        return self.priority

    def raised(self, priority: Priority, news2: int | None) -> Priority:
        """The same for a patient whose highest NEWS2 lately was this."""
        rule = self.deterioration
        if news2 is None or news2 < rule.medium_from:
            return priority
        if news2 >= rule.high_from:
            return Priority.HIGH
        return STEPS[min(STEPS.index(priority) + 1, len(STEPS) - 1)]

    def urgency(self, base: int, news2: int | None) -> int:
        """A job's urgency for such a patient."""
        rule = self.deterioration
        if news2 is None or news2 < rule.medium_from:
            return base
        return base + (rule.urgency_high if news2 >= rule.high_from else rule.urgency_medium)

    def unread_ms(self, priority: Priority) -> int:
        """How long a finding may stand undecided, in ms."""
        minutes: float = getattr(self.unread_after_min, priority.value)
        return round(minutes * MINUTE_MS)


def load_findings(path: str | Path | None = None) -> FindingsPolicy:
    """The policy in that file, or the built-in one. Raises Misconfigured naming file and field."""
    name = str(path) if path is not None else _DEFAULT
    try:
        if path is None:
            raw = resources.files("models.imaging").joinpath(_DEFAULT).read_bytes()
        else:
            raw = Path(path).read_bytes()
        policy = msgspec.toml.decode(raw, type=FindingsPolicy)
    except OSError as unreadable:
        why = f"cannot be read: {unreadable.strerror}; check WARD_IMAGE_POLICY"
        raise Misconfigured(f"findings policy {name} {why}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise Misconfigured(f"findings policy {name}: {wrong}") from wrong
    for problem in _problems(policy):
        raise Misconfigured(f"findings policy {name}: {problem}")
    return policy


def _problems(policy: FindingsPolicy) -> Iterator[str]:
    if policy.version not in VERSIONS:
        yield f"version {policy.version} is unknown; known are {sorted(VERSIONS)}"
    for name in ("high", "medium", "low"):
        if not 0 < getattr(policy.unread_after_min, name) <= 7 * 24 * 60:
            yield f"unread_after_min.{name} is above 0 and at most a week"
    rule = policy.deterioration
    if not 1 <= rule.medium_from <= rule.high_from <= 20:
        yield "deterioration: 1 <= medium_from <= high_from <= 20 must hold"
    if not 0 < rule.lately_min <= 24 * 60:
        yield "deterioration.lately_min is above 0 and at most a day"
    if not 0 <= rule.urgency_medium <= rule.urgency_high <= 1000:
        yield "deterioration: 0 <= urgency_medium <= urgency_high <= 1000 must hold"


class Patients(NamedTuple):
    """The highest NEWS2 lately, by pseudonym; who is not there is not known to the vitals."""

    news2: Mapping[str, int]

    def of(self, patient: str) -> int | None:
        """Of one patient."""
        return self.news2.get(patient)


NOBODY: Final = Patients({})


def finding_id(patient: str, study: str, model: str, label: str) -> str:
    """The same for the same finding, whoever asks and whenever: 32 hex digits."""
    return hashlib.sha256("\0".join((patient, study, model, label)).encode()).hexdigest()[:32]


def _age(result: ImageResult) -> tuple[int, int]:
    return result.revision, result.attempt


def _bears_out(result: ImageResult, finding: ImageFinding) -> bool:
    same = (result.study, result.model, result.label) == (finding.study, finding.model, finding.label)
    return same and bool(result.positive)


@dataclass
class Board:
    """The list of some studies. What ``result``, ``feedback`` and the others return is to be written; ``wrote`` is told
    of every finding that stands in the log, when it is written and when the list is rebuilt."""

    policy: FindingsPolicy
    findings: dict[str, ImageFinding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing is known."""
        self._opened_ms: dict[str, int] = {}
        self._results: dict[tuple[str, str, str], ImageResult] = {}
        self._verdicts: dict[str, ImageFeedback] = {}

    def wrote(self, finding: ImageFinding) -> None:
        """A finding as it stands in the log; an older one than is known is passed over."""
        before = self.findings.get(finding.finding_id)
        if before is not None and before.seq >= finding.seq:
            return
        if before is None or (finding.state is FindingState.OPEN and before.state not in UNDECIDED):
            self._opened_ms[finding.finding_id] = finding.at_ms
        self.findings[finding.finding_id] = finding

    def result(self, result: ImageResult, patients: Patients = NOBODY) -> list[ImageFinding]:
        """A result was told, perhaps again; what follows from it. A refusal tells nothing of the patient."""
        if not self.recall(result):
            return []
        return [*self._withdrawn(result), *self._opened(result, patients)]

    def recall(self, result: ImageResult) -> bool:
        """Know a result without drawing conclusions, when the list is rebuilt; False when it is no news.

        All that were told must be known before ``result`` is asked of the ``latest``: else an image that is positive no
        longer would count as one that still is.
        """
        place = (result.study, result.instance, result.model)
        before = self._results.get(place)
        if result.refusal is not None or (before is not None and _age(before) > _age(result)):
            return False
        self._results.pop(place, None)
        self._results[place] = result
        while len(self._results) > MOST:
            del self._results[next(iter(self._results))]
        return True

    def latest(self) -> tuple[ImageResult, ...]:
        """The latest result of each image by each model."""
        return tuple(self._results.values())

    def feedback(self, feedback: ImageFeedback) -> list[ImageFinding]:
        """Somebody judged a result. A verdict on what is not known yet is kept until it is."""
        last = self._verdicts.get(feedback.job_id)
        if last is not None and last.at_ms > feedback.at_ms:
            return []
        self._verdicts[feedback.job_id] = feedback
        while len(self._verdicts) > MOST:
            del self._verdicts[next(iter(self._verdicts))]
        result = self._results.get((feedback.study, feedback.instance, feedback.model))
        label = result.label if result is not None and result.job_id == feedback.job_id else None
        found = [
            one
            for one in self.findings.values()
            if (one.study, one.model) == (feedback.study, feedback.model)
            and (one.label == label if label is not None else one.job_id == feedback.job_id)
        ]
        return [told for one in found if (told := self._decided(one, feedback)) is not None]

    def vitals(self, patient: str, patients: Patients, at_ms: int) -> list[ImageFinding]:
        """The patient's NEWS2 has changed: undecided findings go up with it, and never down again by it."""
        told = []
        for finding in self._undecided():
            if finding.patient != patient:
                continue
            news2 = patients.of(patient)
            priority = self.policy.raised(self.policy.ranked(finding.model, finding.label), news2)
            if STEPS.index(priority) > STEPS.index(finding.priority):
                told.append(self._next(finding, at_ms, f"the patient's NEWS2 is {news2}", priority=priority))
        return told

    def due(self, now_ms: int) -> list[ImageFinding]:
        """What nobody decided in time."""
        told = []
        for finding in self._undecided():
            wait_ms = self.policy.unread_ms(finding.priority)
            due_ms = self._opened_ms[finding.finding_id] + wait_ms
            if finding.state is FindingState.OPEN and now_ms >= due_ms:
                why = f"nobody decided within {wait_ms / MINUTE_MS:g} min"
                at_ms = max(due_ms, finding.at_ms)
                told.append(self._next(finding, at_ms, why, state=FindingState.ESCALATED))
        return told

    def standing(self) -> dict[tuple[FindingState, Priority], int]:
        """How many are undecided, by state and priority."""
        counts = {(state, priority): 0 for state in UNDECIDED for priority in STEPS}
        for finding in self._undecided():
            counts[finding.state, finding.priority] += 1
        return counts

    def _undecided(self) -> list[ImageFinding]:
        return [finding for finding in self.findings.values() if finding.state in UNDECIDED]

    def _opened(self, result: ImageResult, patients: Patients) -> list[ImageFinding]:
        if not result.positive or result.label is None or result.patient is None:
            return []
        identity = finding_id(result.patient, result.study, result.model, result.label)
        before = self.findings.get(identity)
        told = []
        if before is None or before.state is FindingState.WITHDRAWN:
            before = self._open(identity, result, before, patients)
            told.append(before)
        verdict = self._verdicts.get(result.job_id)
        if verdict is not None and before.state in UNDECIDED:
            told += [one for one in [self._decided(before, verdict)] if one is not None]
        return told

    def _open(
        self, identity: str, result: ImageResult, before: ImageFinding | None, patients: Patients
    ) -> ImageFinding:
        label = result.label or ""
        patient = result.patient or ""
        ranked = self.policy.ranked(result.model, label)
        priority = self.policy.raised(ranked, patients.of(patient))
        why = f"{label} is of {ranked.value} priority"
        if priority is not ranked:
            why += f", the patient's NEWS2 is {patients.of(patient)}"
        return ImageFinding(
            version=SCHEMA_VERSION,
            finding_id=identity,
            seq=0 if before is None else before.seq + 1,
            study=result.study,
            instance=result.instance,
            patient=patient,
            model=result.model,
            label=label,
            priority=priority,
            state=FindingState.OPEN,
            at_ms=result.at_ms,
            job_id=result.job_id,
            policy=self.policy.hash,
            why=why,
            probability=result.probability,
        )

    def _withdrawn(self, result: ImageResult) -> list[ImageFinding]:
        """Undecided findings of this study and model that no image bears out any longer."""
        told = []
        for finding in self._undecided():
            if (finding.study, finding.model, finding.instance) != (result.study, result.model, result.instance):
                continue
            borne_out = [one for one in self._results.values() if _bears_out(one, finding)]
            if result in borne_out:
                continue
            if borne_out:
                why = "the image that it stood on is no longer positive, another one is"
                next_best = max(borne_out, key=lambda one: (one.probability or 0.0, one.job_id))
                moved = self._next(finding, result.at_ms, why)
                told.append(
                    msgspec.structs.replace(
                        moved,
                        instance=next_best.instance,
                        job_id=next_best.job_id,
                        probability=next_best.probability,
                    )
                )
            else:
                why = "a later revision of the image is no longer positive"
                told.append(self._next(finding, result.at_ms, why, state=FindingState.WITHDRAWN))
        return told

    def _decided(self, finding: ImageFinding, feedback: ImageFeedback) -> ImageFinding | None:
        state = _DECIDED[feedback.verdict]
        decided = finding.state in _DECIDED.values()
        if finding.state is state or (decided and feedback.at_ms <= finding.at_ms):
            return None
        if finding.state is FindingState.WITHDRAWN:
            return None
        told = self._next(finding, feedback.at_ms, f"{feedback.verdict.value} by a reader", state=state)
        return msgspec.structs.replace(told, actor=feedback.actor)

    def _next(
        self,
        finding: ImageFinding,
        at_ms: int,
        why: str,
        *,
        state: FindingState | None = None,
        priority: Priority | None = None,
    ) -> ImageFinding:
        return msgspec.structs.replace(
            finding,
            seq=finding.seq + 1,
            at_ms=at_ms,
            why=why,
            state=state or finding.state,
            priority=priority or finding.priority,
            policy=self.policy.hash,
            actor=None,
        )
