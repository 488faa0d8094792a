"""The imaging agents: arrivals to jobs and studies, results and verdicts to the radiologist's list.

All topics of images have one key, the study, and as many partitions: what is known of a partition is made from its own
records alone. After a restart it is rebuilt from the latest records of these topics, inputs that nothing was written
for are taken then, and only what came later is taken from Faust. Outputs are functions of their inputs and count once,
so what is written again after a kill is the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from contracts import codec
from contracts.errors import Poison
from contracts.records import (
    SCHEMA_VERSION,
    ImageArrival,
    ImageFeedback,
    ImageFinding,
    ImageJob,
    ImageResult,
    Record,
    StudyRevision,
)
from contracts.topology import (
    DEAD_LETTERS,
    IMAGE_ARRIVALS,
    IMAGE_FEEDBACK,
    IMAGE_FINDINGS,
    IMAGE_JOBS,
    IMAGE_RESULTS,
    IMAGE_STUDIES,
    Topic,
)
from models.imaging.findings import Board, FindingsPolicy, Patients
from models.imaging.rules import Decision, Rules, Subject
from models.imaging.studies import Studies
from models.version import code_of
from streams.image_metrics import ImagingMetrics
from streams.logreader import LogReader
from streams.outbox import Outbox
from streams.sequence import Sequence, Verdict
from streams.wardlog import LogRecord, dead_letter

log = structlog.get_logger(__name__)

BY: Final = "streams.imaging"
LOOK_BACK: Final = 3_000
"""So many of the latest arrivals and verdicts of a partition are read to know where things stand, and"""
FOLLOWING: Final = 4 * LOOK_BACK
"""so many of what follows from them: an image may be asked of several models."""
NO_MODEL: Final = "none"
"""What stands for a model in the result of an image that none is asked about."""
SWEEP_S: Final = 1.0
PATIENCE_S: Final = (0.1, 2.0)
READ: Final[tuple[Topic[Any], ...]] = (IMAGE_ARRIVALS, IMAGE_RESULTS, IMAGE_FEEDBACK)
WRITTEN: Final[tuple[Topic[Any], ...]] = (IMAGE_JOBS, IMAGE_STUDIES, IMAGE_FINDINGS)
Halt = Callable[[str], None]
Image = tuple[str, str]
"""An instance and the sha256 of its bytes."""


def job_id(instance: str, sha256: str, model: str) -> str:
    """The same image asked of the same model is one job: 32 hex digits."""
    return hashlib.sha256("\0".join((instance, sha256, model)).encode()).hexdigest()[:32]


@dataclass
class Place:
    """What is known of one partition."""

    partition: int
    board: Board
    studies: Studies
    known: dict[Image, None] = field(default_factory=dict)
    """Images that models were asked about already, or that were refused; the oldest first."""
    sequences: dict[str, Sequence] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def knows(self, image: Image) -> bool:
        """Whether nothing more need be written for it; from now on it is known."""
        if image in self.known:
            return True
        self.known[image] = None
        while len(self.known) > 10 * LOOK_BACK:
            del self.known[next(iter(self.known))]
        return False


class ImagingShell:
    """State and outputs of the owned partitions. Only one record of a partition is taken at a time."""

    def __init__(
        self,
        rules: Rules,
        policy: FindingsPolicy,
        outbox: Outbox,
        reader: LogReader,
        metrics: ImagingMetrics,
        halt: Halt,
        *,
        quiet_s: float,
        committed: Callable[[], Awaitable[dict[tuple[str, int], int]]],
        patients: Callable[[], Patients],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.places: dict[int, Place] = {}
        self.owned: frozenset[int] = frozenset()
        self._rules = rules
        self._policy = policy
        self._outbox = outbox
        self._reader = reader
        self._metrics = metrics
        self._halt = halt
        self._quiet_ms = round(quiet_s * 1000)
        self._committed = committed
        self._patients = patients
        self._wall = wall
        self._reading = asyncio.Lock()
        self._halted = False

    # -- ownership -----------------------------------------------------------------------------------------------------

    def assigned(self, partitions: Iterable[int]) -> None:
        """These partitions, and no others, are ours; what was known of any is read again."""
        self.owned = frozenset(partitions)
        self.places = {}

    def rest(self) -> None:
        """Take nothing more: the process is leaving."""
        self._halted = True

    # -- records -------------------------------------------------------------------------------------------------------

    async def handle(self, record: LogRecord) -> None:
        """Take a delivered record, and before it whatever was not delivered. Never raises but when cancelled."""
        try:
            if not self._halted and record.partition in self.owned:
                await self._handle(record)
        except Exception as fault:  # the guard of the agents: Faust would drop the record and go on
            self._stop(f"{record.topic}/{record.partition}/{record.offset} cannot be processed: {fault!r}")
        if self._halted:
            await asyncio.Event().wait()  # nothing may be acknowledged any more; the process is being stopped

    def _stop(self, reason: str) -> None:
        if not self._halted:
            self._halted = True
            self._halt(reason)

    async def _handle(self, record: LogRecord) -> None:
        place = await self._place(record.partition)
        async with place.lock:
            sequence = place.sequences[record.topic]
            verdict = sequence.judge(record.offset)
            if verdict is Verdict.SEEN:
                self._metrics.redelivered.inc()
                return
            if verdict is Verdict.GAP:
                await self._catch_up(place, record)
            await self._take(place, record)
            sequence.took(record.offset)
            await self._outbox.settled(record.partition)

    async def _catch_up(self, place: Place, record: LogRecord) -> None:
        """Take what lies before the record from the log itself."""
        sequence = place.sequences[record.topic]
        async with self._reading:
            async for records in self._reader.span(record.topic, record.partition, sequence.expected, record.offset):
                for one in records:
                    self._metrics.gap_records.inc()
                    await self._take(place, one)
        sequence.pass_over(record.offset)

    async def _take(self, place: Place, record: LogRecord, again: bool = False) -> None:
        """``again``: it was taken before, and what cannot be read was set aside then."""
        try:
            if record.topic == IMAGE_ARRIVALS.name:
                await self._arrival(place, record, codec.decode(record.value, ImageArrival))
            elif record.topic == IMAGE_RESULTS.name:
                await self._list(place, place.board.result(codec.decode(record.value, ImageResult), self._patients()))
            else:
                await self._list(place, place.board.feedback(codec.decode(record.value, ImageFeedback)))
        except Poison as poison:
            if again:
                return
            letter = dead_letter(record, poison, by=BY)
            log.warning("record set aside", topic=record.topic, reason=poison.reason, offset=record.offset)
            self._metrics.dead_letters.labels(poison.reason).inc()
            await self._outbox.put(record.partition, DEAD_LETTERS.name, record.topic.encode(), codec.encode(letter))

    async def _arrival(self, place: Place, record: LogRecord, arrival: ImageArrival) -> None:
        place.studies.arrived(arrival, record.at_ms)
        if place.knows((arrival.instance, arrival.sha256)):
            return
        decision = self._rules.decide(subject_of(arrival))
        if decision.refusal is not None:
            self._metrics.refusals.labels(NO_MODEL, decision.refusal).inc()
            await self._write(record.partition, IMAGE_RESULTS, _refused(arrival, decision, record.at_ms))
        urgency = self._policy.urgency(decision.urgency, self._patients().of(arrival.patient))
        for model in decision.models:
            self._metrics.jobs.labels(model).inc()
            await self._write(record.partition, IMAGE_JOBS, _job(arrival, model, decision, urgency, record.at_ms))

    async def _list(self, place: Place, findings: list[ImageFinding]) -> None:
        for finding in findings:
            place.board.wrote(finding)
            await self._write(place.partition, IMAGE_FINDINGS, finding)

    async def _write(self, partition: int, topic: Topic[Any], record: Any) -> None:
        """Into the same partition as what it follows from: all these topics have as many and the study as key."""
        await self._outbox.put(partition, topic.name, record.study.encode(), codec.encode(record), partition)

    # -- where things stand ------------------------------------------------------------------------------------------

    async def _place(self, partition: int) -> Place:
        """The state of an owned partition, rebuilt when there is none, trying again while the broker is away."""
        from aiokafka.errors import KafkaError

        pause, longest = PATIENCE_S
        while True:
            async with self._reading:
                place = self.places.get(partition)
                if place is not None:
                    return place
                try:
                    place = await self._rebuilt(partition)
                except (KafkaError, OSError) as failure:
                    log.warning("waiting for the broker", failure=repr(failure))
                    await self._reader.close()
                else:
                    self.places[partition] = place
                    return place
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _rebuilt(self, partition: int) -> Place:
        """From what was written to what follows from it, then from what was read to what was not written yet."""
        place = Place(partition, Board(self._policy), Studies(self._quiet_ms))
        for topic in WRITTEN:
            for record in await self._latest(topic, partition, FOLLOWING):
                _recall(place, record)
        committed = await self._committed()
        found: dict[str, list[LogRecord]] = {}
        for topic in READ:
            _, end = (await self._reader.bounds(topic.name, [partition]))[partition]
            place.sequences[topic.name] = Sequence(end)
            most = FOLLOWING if topic is IMAGE_RESULTS else LOOK_BACK
            found[topic.name] = await self._latest(topic, partition, most, end, committed.get((topic.name, partition)))
        for record in found[IMAGE_RESULTS.name]:
            _recall(place, record)
        for result in place.board.latest():
            await self._list(place, place.board.result(result, self._patients()))
        for topic in READ:
            done = committed.get((topic.name, partition), 0)
            for record in found[topic.name]:
                await self._take(place, record, again=record.offset < done)
        await self._outbox.settled(partition)
        return place

    async def _latest(
        self, topic: Topic[Any], partition: int, most: int, end: int | None = None, committed: int | None = None
    ) -> list[LogRecord]:
        """The latest ``most`` records of a partition below ``end``, and all that the group has not committed yet."""
        first, now = (await self._reader.bounds(topic.name, [partition]))[partition]
        stop = now if end is None else end
        start = max(first, min(stop - most, stop if committed is None else committed))
        found: list[LogRecord] = []
        async for records in self._reader.span(topic.name, partition, start, stop):
            found += records
        return found

    # -- time ----------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """What time alone brings about: studies that are complete, findings that nobody decided."""
        now_ms = int(self._wall() * 1000)
        for partition in sorted(self.owned):
            place = await self._place(partition)
            async with place.lock:
                for revision in place.studies.due(now_ms):
                    place.studies.wrote(revision)
                    self._metrics.studies.labels("again" if revision.revision else "first").inc()
                    await self._write(partition, IMAGE_STUDIES, revision)
                await self._list(place, place.board.due(now_ms))
                await self._outbox.settled(partition)
        self._count()

    async def worse(self, patient: str, at_ms: int) -> None:
        """This patient's NEWS2 has gone up."""
        for place in tuple(self.places.values()):
            async with place.lock:
                await self._list(place, place.board.vitals(patient, self._patients(), at_ms))

    async def keep_sweeping(self) -> None:
        """Once a second, until told to rest."""
        while True:
            try:
                if not self._halted:
                    await self.sweep()
            except Exception as fault:  # as above: a task of Faust's that ends by an error takes the process with it
                self._stop(f"time cannot be kept: {fault!r}")
            await asyncio.sleep(SWEEP_S)

    def _count(self) -> None:
        standing: dict[tuple[str, str], int] = {}
        for place in self.places.values():
            for (state, priority), count in place.board.standing().items():
                standing[state.value, priority.value] = standing.get((state.value, priority.value), 0) + count
        for labels, count in standing.items():
            self._metrics.findings.labels(*labels).set(count)


def subject_of(arrival: ImageArrival) -> Subject:
    """What the rules look at."""
    return Subject(
        arrival.modality, arrival.body_part, arrival.view, arrival.laterality, arrival.sex, arrival.age_years
    )


def _recall(place: Place, record: LogRecord) -> None:
    """Know what stands in the log; what cannot be read was never written by us."""
    kinds: dict[str, type[Record]] = {
        IMAGE_JOBS.name: ImageJob,
        IMAGE_STUDIES.name: StudyRevision,
        IMAGE_FINDINGS.name: ImageFinding,
        IMAGE_RESULTS.name: ImageResult,
    }
    try:
        found: Any = codec.decode(record.value, kinds[record.topic])
    except Poison as poison:
        log.warning("record passed over", topic=record.topic, reason=poison.reason, offset=record.offset)
        return
    if isinstance(found, ImageJob):
        place.knows((found.instance, found.sha256))
    elif isinstance(found, StudyRevision):
        place.studies.wrote(found)
    elif isinstance(found, ImageFinding):
        place.board.wrote(found)
    else:
        place.board.recall(found)
        if found.input_sha256 is not None:
            place.knows((found.instance, found.input_sha256))


def _job(arrival: ImageArrival, model: str, decision: Decision, urgency: int, at_ms: int) -> ImageJob:
    return ImageJob(
        version=SCHEMA_VERSION,
        job_id=job_id(arrival.instance, arrival.sha256, model),
        study=arrival.study,
        instance=arrival.instance,
        uri=arrival.uri,
        sha256=arrival.sha256,
        model=model,
        at_ms=at_ms,
        urgency=urgency,
        patient=arrival.patient,
        series=arrival.series,
        modality=arrival.modality,
        body_part=arrival.body_part,
        view=arrival.view,
        sex=arrival.sex,
        age_years=arrival.age_years,
        rule=decision.rule,
        arrived_ms=arrival.at_ms,
        revision=arrival.revision,
    )


def _refused(arrival: ImageArrival, decision: Decision, at_ms: int) -> ImageResult:
    """The result of an image that no model is asked about: so that nobody waits for one."""
    return ImageResult(
        version=SCHEMA_VERSION,
        job_id=job_id(arrival.instance, arrival.sha256, NO_MODEL),
        study=arrival.study,
        instance=arrival.instance,
        model=NO_MODEL,
        model_sha256="",
        at_ms=at_ms,
        refusal=decision.refusal,
        detail=decision.detail,
        patient=arrival.patient,
        input_sha256=arrival.sha256,
        code=code_of("contracts", "models", "streams"),
        uri=arrival.uri,
        series=arrival.series,
        modality=arrival.modality,
        body_part=arrival.body_part,
        view=arrival.view,
        arrived_ms=arrival.at_ms,
        revision=arrival.revision,
    )
