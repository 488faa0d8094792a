"""The imaging process on a real broker: jobs, studies, the radiologist's list, and what a kill leaves."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from contracts import codec
from contracts.pseudonyms import Pseudonyms
from contracts.records import (
    BedScore,
    DeadLetter,
    FindingState,
    ImageArrival,
    ImageFeedback,
    ImageJob,
    ImageResult,
    News2,
    Priority,
    Record,
    ScoreFrame,
    SourceOffset,
    StudyRevision,
    Verdict,
)
from contracts.topology import (
    DEAD_LETTERS,
    IMAGE_ARRIVALS,
    IMAGE_FEEDBACK,
    IMAGE_FINDINGS,
    IMAGE_JOBS,
    IMAGE_RESULTS,
    IMAGE_STUDIES,
    SCORES,
    Topic,
)
from infra.stack import wait_until
from streams import ledger
from tests.integration.streams.images import group_of, send, start_at_end
from tests.integration.streams.live import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
READY = "partitions assigned"
KEY = "11" * 32
R = TypeVar("R", bound=Record)


class ImagingProcess(WorkerProcess):
    """``python -m streams.imaging``."""

    module = "streams.imaging"


@contextmanager
def imaging(bootstrap: str, folder: Path, name: str = "imaging", **settings: str) -> Iterator[ImagingProcess]:
    key = folder / "pseudonyms.key"
    key.write_text(KEY)
    key.chmod(0o600)
    one = ImagingProcess(
        bootstrap,
        folder,
        name,
        WARD_IMAGING_GROUP=group_of(folder),
        WARD_IMAGE_QUIET_S="2",
        WARD_PSEUDONYM_KEY_FILE=str(key),
        **settings,
    )
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(10)


class Studies:
    """What flows past of the studies of one test."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.stem = f"st-{time.time_ns()}"
        self.patient = Pseudonyms(bytes.fromhex(KEY)).patient(self.stem)
        start_at_end(bootstrap, group_of(folder), IMAGE_ARRIVALS, IMAGE_RESULTS, IMAGE_FEEDBACK)

    def arrival(self, n: int, study: int = 0, **fields: Any) -> ImageArrival:
        given = ImageArrival(
            version=1,
            patient=self.patient,
            study=f"{self.stem}-{study}",
            series="se-1",
            instance=f"im-{study}-{n}",
            modality="MR",
            body_part="BRAIN",
            uri=f"hdfs:///images/{self.patient}/undated/se-1/im-{n}.dcm",
            sha256=f"{n:064x}",
            at_ms=int(time.time() * 1000),
        )
        return msgspec.structs.replace(given, **fields)

    def arrive(self, *arrivals: ImageArrival) -> None:
        for arrival in arrivals:
            send(self.bootstrap, IMAGE_ARRIVALS, arrival.study, arrival)

    def told(self, topic: Topic[R]) -> list[R]:
        """Every record of these studies in a topic."""
        return [
            codec.decode(record.value, topic.record)
            for record in ledger.read(self.bootstrap, topic.name)
            if (record.key or b"").startswith(self.stem.encode())
        ]

    def positive(self, job: ImageJob, **fields: Any) -> ImageResult:
        given = ImageResult(
            version=1,
            job_id=job.job_id,
            study=job.study,
            instance=job.instance,
            model=job.model,
            model_sha256="0" * 64,
            at_ms=job.at_ms + 500,
            label="pituitary",
            probability=0.9,
            positive=True,
            patient=job.patient,
            input_sha256=job.sha256,
            revision=job.revision,
        )
        return msgspec.structs.replace(given, **fields)


def scores(patient: str, news2: int) -> ScoreFrame:
    now_ms = int(time.time() * 1000)
    bed = BedScore(bed="1", patient=patient, heard_ms=now_ms, news2=News2(minimum=news2, maximum=news2, scale=1))
    source = SourceOffset(topic=SCORES.name, partition=0, offset=0)
    return ScoreFrame(version=1, ward=patient, at_ms=now_ms, now_ms=now_ms, source=source, policy="p", beds=(bed,))


def test_an_arrival_becomes_jobs_by_the_rules_a_study_and_findings_that_people_decide(
    kafka_with_topics: str, tmp_path: Path
) -> None:
    studies = Studies(kafka_with_topics, tmp_path)
    with imaging(kafka_with_topics, tmp_path) as process:
        process.wait_for(READY)
        abdomen = studies.arrival(2, body_part="ABDOMEN")
        send(kafka_with_topics, IMAGE_ARRIVALS, f"{studies.stem}-0", b"{}")
        studies.arrive(studies.arrival(1), abdomen)
        assert wait_until(lambda: len(studies.told(IMAGE_JOBS)) == 1 and len(studies.told(IMAGE_RESULTS)) == 1, 60)
        (job,) = studies.told(IMAGE_JOBS)
        assert (job.model, job.rule, job.instance, job.urgency) == ("brain_tumour", "brain by MR", "im-0-1", 3)
        (refused,) = studies.told(IMAGE_RESULTS)
        assert (refused.refusal, refused.model, refused.instance) == ("no_rule", "none", "im-0-2")
        send(kafka_with_topics, IMAGE_RESULTS, job.study, studies.positive(job))
        assert wait_until(lambda: len(studies.told(IMAGE_FINDINGS)) == 1, 30)
        send(kafka_with_topics, SCORES, studies.stem, scores(studies.stem, 8))
        assert wait_until(lambda: len(studies.told(IMAGE_FINDINGS)) == 2, 30)
        feedback = ImageFeedback(
            version=1,
            feedback_id="f1",
            job_id=job.job_id,
            study=job.study,
            instance=job.instance,
            patient=studies.patient,
            model=job.model,
            verdict=Verdict.REJECT,
            actor="dr.kim",
            at_ms=int(time.time() * 1000),
        )
        send(kafka_with_topics, IMAGE_FEEDBACK, job.study, feedback)
        studies.arrive(studies.arrival(7, study=1))
        assert wait_until(lambda: len(studies.told(IMAGE_FINDINGS)) == 3 and len(studies.told(IMAGE_JOBS)) == 2, 30)
        assert wait_until(lambda: len(studies.told(IMAGE_STUDIES)) == 2, 30)
        studies.arrive(studies.arrival(3))
        assert wait_until(lambda: len(studies.told(IMAGE_STUDIES)) == 3, 30)
        assert process.end() == 0
    steps = [(f.seq, f.state, f.priority, f.actor) for f in studies.told(IMAGE_FINDINGS)]
    assert steps == [
        (0, FindingState.OPEN, Priority.MEDIUM, None),
        (1, FindingState.OPEN, Priority.HIGH, None),
        (2, FindingState.REJECTED, Priority.HIGH, "dr.kim"),
    ]
    urgent = next(job for job in studies.told(IMAGE_JOBS) if job.study.endswith("-1"))
    assert urgent.urgency == 23, "the patient deteriorates"
    first, late = [one for one in studies.told(IMAGE_STUDIES) if one.study.endswith("-0")]
    assert (first.revision, first.instances) == (0, ("im-0-1", "im-0-2"))
    assert (late.revision, late.instances) == (1, ("im-0-1", "im-0-2", "im-0-3"))
    letters = [codec.decode(record.value, DeadLetter) for record in ledger.read(kafka_with_topics, DEAD_LETTERS.name)]
    assert [(one.reason, one.by) for one in letters if one.key == job.study.encode()] == [
        ("missing_field", "streams.imaging")
    ]


def test_a_killed_process_loses_and_doubles_nothing(kafka_with_topics: str, tmp_path: Path) -> None:
    studies = Studies(kafka_with_topics, tmp_path)
    arrivals = [studies.arrival(n, study=n % 7) for n in range(120)]
    with imaging(kafka_with_topics, tmp_path) as first:
        first.wait_for(READY)
        send_all(studies, arrivals[:60])
        assert wait_until(lambda: len(studies.told(IMAGE_JOBS)) >= 10, 60)
        first.end(signal.SIGKILL)
    send_all(studies, arrivals[60:])
    with imaging(kafka_with_topics, tmp_path, "again") as again:
        assert wait_until(lambda: asked(studies) == 120, 60), again.log.read_text()
        assert wait_until(lambda: complete(studies), 60), studies.told(IMAGE_STUDIES)
        send_results(studies)
        assert wait_until(lambda: len(studies.told(IMAGE_FINDINGS)) >= 7, 30)
        again.end(signal.SIGKILL)
    with imaging(kafka_with_topics, tmp_path, "third") as third:
        studies.arrive(studies.arrival(200, study=0))
        assert wait_until(lambda: asked(studies) == 121, 60), third.log.read_text()
        assert third.end() == 0
    jobs = studies.told(IMAGE_JOBS)
    assert len(jobs) == len({job.job_id for job in jobs}) == 121
    findings = studies.told(IMAGE_FINDINGS)
    assert len({finding.study for finding in findings}) == len(findings) == 7
    revisions = [(one.study, one.revision) for one in studies.told(IMAGE_STUDIES)]
    assert len(revisions) == len(set(revisions))


def send_all(studies: Studies, arrivals: list[ImageArrival]) -> None:
    for study in {arrival.study for arrival in arrivals}:
        send(studies.bootstrap, IMAGE_ARRIVALS, study, *[one for one in arrivals if one.study == study])


def send_results(studies: Studies) -> None:
    """A positive result of one image of each study."""
    for job in {job.study: job for job in studies.told(IMAGE_JOBS)}.values():
        send(studies.bootstrap, IMAGE_RESULTS, job.study, studies.positive(job))


def asked(studies: Studies) -> int:
    """How many different jobs there are."""
    return len({job.job_id for job in studies.told(IMAGE_JOBS)})


def complete(studies: Studies) -> bool:
    latest: dict[str, StudyRevision] = {}
    for revision in studies.told(IMAGE_STUDIES):
        latest[revision.study] = revision
    return sum(len(one.instances) for one in latest.values()) == 120


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"WARD_IMAGE_RULES": "/no/such.toml"}, "WARD_IMAGE_RULES"),
        ({"WARD_IMAGE_POLICY": "/no/such.toml"}, "WARD_IMAGE_POLICY"),
    ],
)
def test_a_wrong_file_ends_the_process_with_2(
    kafka_with_topics: str, tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    with imaging(kafka_with_topics, tmp_path, **settings) as process:
        assert process.process.wait(30) == 2
        lines = process.log.read_text().splitlines()
        assert len(lines) == 1
        assert says in lines[0]
