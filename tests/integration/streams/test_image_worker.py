"""The image worker as a process, on a real broker and a real HDFS."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from contracts import codec
from contracts.records import DeadLetter, ImageJob, ImageResult
from contracts.topology import DEAD_LETTERS, IMAGE_JOBS
from infra.stack import wait_until
from models.imaging.settings import MODEL_FILE
from streams import ledger
from streams.hdfs_files import path_of
from tests.integration.streams.images import ImageWorkerProcess, Jobs, image_worker, picture, send, small_models
from tests.unit.models.imaging.small_models import TUMOUR, kept

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs, pytest.mark.timeout(180)]
READY = "partitions assigned"


def test_images_are_read_or_refused_the_most_urgent_first_and_their_pictures_stored(
    kafka_with_topics: str, image_zone: str, tmp_path: Path
) -> None:
    small_models(tmp_path)
    jobs = Jobs(kafka_with_topics, image_zone, tmp_path)
    dark = jobs.job("dark-0", picture(0.1))
    calm = [twin(dark, f"dark-{n}") for n in range(20)]
    urgent = jobs.job("bright", picture(0.9), urgency=20)
    hand = jobs.job("hand", picture(0.5), "bone_age", sex="M")
    broken = jobs.job("broken", picture(0.5)[:400])
    unknown = jobs.job("unknown", picture(0.5), "no_such_model")
    jobs.ask(*calm, hand, broken, unknown, urgent)
    send(kafka_with_topics, IMAGE_JOBS, jobs.study, b"?")
    with image_worker(kafka_with_topics, image_zone, tmp_path) as worker:
        worker.wait_for(READY)
        assert wait_until(jobs.answered, 60), worker.log.read_text()
        assert worker.end() == 0
    results = jobs.results()
    assert [result.instance for result in results].index("bright") <= 5, "it goes before those that nobody has begun"
    by_name = {result.instance: result for result in results}
    assert len(results) == len(by_name) == 24
    bright = by_name["bright"]
    assert (bright.label, bright.positive, bright.refusal) == ("glioma", True, None)
    assert (bright.input_sha256, len(bright.model_sha256), bright.caveats) == (urgent.sha256, 64, TUMOUR.caveats)
    assert (by_name["dark-0"].label, by_name["dark-0"].positive) == ("notumor", False)
    age = by_name["hand"]
    assert age.unit == "months"
    assert (age.low or 0) < (age.value or 0) < (age.high or 0)
    assert by_name["broken"].refusal in ("truncated", "undecodable", "no_pixels")
    assert by_name["unknown"].refusal == "model_unavailable"
    shown = [Image.open(io.BytesIO(jobs.files.read(path_of(uri or ""), 1 << 24))) for uri in pictures(bright)]
    assert [one.size for one in shown] == [(512, 384), (512, 384)]
    assert pictures(bright)[0] == f"{urgent.uri}.brain_tumour.preview.png"
    assert [letter.reason for letter in letters(kafka_with_topics, jobs.study)] == ["not_json"]


def twin(job: ImageJob, instance: str) -> ImageJob:
    """The same image as another instance: a job of its own."""
    return msgspec.structs.replace(job, instance=instance, job_id=f"{job.job_id[:20]}-{instance}")


def pictures(result: ImageResult) -> list[str | None]:
    return [result.preview_uri, result.heatmap_uri]


def letters(bootstrap: str, study: str) -> list[DeadLetter]:
    found = [codec.decode(record.value, DeadLetter) for record in ledger.read(bootstrap, DEAD_LETTERS.name)]
    return [letter for letter in found if letter.key == study.encode()]


def test_a_job_that_fails_by_itself_is_set_aside_and_its_result_says_so(
    kafka_with_topics: str, image_zone: str, tmp_path: Path
) -> None:
    small_models(tmp_path)
    jobs = Jobs(kafka_with_topics, image_zone, tmp_path)
    changed = jobs.job("changed", picture(0.5), sha256="0" * 64)
    gone = msgspec.structs.replace(jobs.job("gone", picture(0.4)), uri="hdfs:///images/nobody/none.dcm")
    upwards = msgspec.structs.replace(jobs.job("upwards", picture(0.4)), uri="hdfs:///images/../identified/x")
    jobs.ask(changed, gone, upwards)
    with image_worker(kafka_with_topics, image_zone, tmp_path) as worker:
        assert wait_until(jobs.answered, 60), worker.log.read_text()
        assert worker.end() == 0
    assert {r.instance: r.refusal for r in jobs.results()} == {
        "changed": "changed",
        "gone": "missing",
        "upwards": "bad_uri",
    }
    found = {codec.decode(letter.raw, ImageJob).instance: letter for letter in letters(kafka_with_topics, jobs.study)}
    assert {name: letter.reason for name, letter in found.items()} == {
        "changed": "changed",
        "gone": "missing",
        "upwards": "bad_uri",
    }
    assert {letter.by for letter in found.values()} == {"streams.image_worker"}


def test_a_promoted_model_takes_over_between_jobs_and_a_tampered_one_does_not(
    kafka_with_topics: str, image_zone: str, tmp_path: Path
) -> None:
    registry = small_models(tmp_path)
    jobs = Jobs(kafka_with_topics, image_zone, tmp_path)
    with image_worker(kafka_with_topics, image_zone, tmp_path) as worker:
        first = registry.load("brain_tumour")
        jobs.ask(jobs.job("one", picture(0.9)))
        assert wait_until(jobs.answered, 60), worker.log.read_text()
        kept(registry, "brain_tumour", msgspec.structs.replace(TUMOUR, temperature=3.0))
        second = registry.load("brain_tumour")
        jobs.ask(jobs.job("two", picture(0.9)))
        assert wait_until(jobs.answered, 30), worker.log.read_text()
        kept(registry, "brain_tumour", msgspec.structs.replace(TUMOUR, temperature=9.0))
        third = registry.folder("brain_tumour", registry.resolve("brain_tumour", "champion"))
        (third / MODEL_FILE).write_bytes((third / MODEL_FILE).read_bytes()[:-1] + b"?")
        jobs.ask(jobs.job("three", picture(0.9)))
        assert wait_until(jobs.answered, 30), worker.log.read_text()
        assert worker.said("tampered_model")
        assert worker.end() == 0
    by_name = {result.instance: result for result in jobs.results()}
    assert by_name["one"].model_sha256 == first.sha256
    assert by_name["two"].model_sha256 == by_name["three"].model_sha256 == second.sha256
    assert (by_name["two"].probability or 1) < (by_name["one"].probability or 0)


def test_a_worker_killed_in_the_middle_leaves_each_job_with_one_meaning(
    kafka_with_topics: str, image_zone: str, tmp_path: Path
) -> None:
    small_models(tmp_path)
    jobs = Jobs(kafka_with_topics, image_zone, tmp_path)
    stored = [jobs.job(f"im-{n}", picture(0.2 * n)) for n in range(5)]
    jobs.ask(*[twin(stored[n % 5], f"im-{n}") for n in range(40)])
    with image_worker(kafka_with_topics, image_zone, tmp_path) as first:
        assert wait_until(lambda: len(jobs.results()) >= 3, 60), first.log.read_text()
        first.end(signal.SIGKILL)
    before = {result.job_id for result in jobs.results()}
    assert 3 <= len(before) < 40, "killed in the middle"
    with image_worker(kafka_with_topics, image_zone, tmp_path, "again") as again:
        assert wait_until(jobs.answered, 60), again.log.read_text()
        assert again.end() == 0
    meanings: dict[str, set[bytes]] = {}
    for result in jobs.results():
        timeless = msgspec.structs.replace(result, at_ms=0, took_ms=None)
        meanings.setdefault(result.job_id, set()).add(codec.encode(timeless))
    assert meanings.keys() == {job.job_id for job in jobs.asked}
    assert {len(said) for said in meanings.values()} == {1}


def test_a_job_asked_again_is_not_done_again_unless_it_says_so(
    kafka_with_topics: str, image_zone: str, tmp_path: Path
) -> None:
    small_models(tmp_path)
    jobs = Jobs(kafka_with_topics, image_zone, tmp_path)
    job = jobs.job("one", picture(0.9))
    jobs.ask(job, job)
    with image_worker(kafka_with_topics, image_zone, tmp_path) as worker:
        assert wait_until(jobs.answered, 60), worker.log.read_text()
        jobs.ask(job, msgspec.structs.replace(job, attempt=2), jobs.job("last", picture(0.9)))
        assert wait_until(jobs.answered, 30), worker.log.read_text()
        assert worker.end() == 0
    assert [(r.instance, r.attempt) for r in jobs.results()] == [("one", 1), ("one", 2), ("last", 1)]


@pytest.mark.parametrize(
    ("settings", "says", "code"),
    [
        ({"WARD_IMAGE_WORKER_GRUPPE": "x"}, "WARD_IMAGE_WORKER_GROUP", 2),
        ({"WARD_METRICS_HOST": "192.0.2.1", "WARD_IMAGE_WORKER_METRICS_PORT": "9"}, "IMAGE_WORKER_METRICS_PORT", 2),
    ],
)
def test_a_wrong_setting_ends_the_worker_with_2(
    kafka_with_topics: str, image_zone: str, tmp_path: Path, settings: dict[str, str], says: str, code: int
) -> None:
    with image_worker(kafka_with_topics, image_zone, tmp_path, **settings) as worker:
        assert worker.process.wait(30) == code
        assert says in worker.log.read_text()


def test_a_worker_without_hdfs_named_ends_with_2(kafka_with_topics: str, tmp_path: Path) -> None:

    one = ImageWorkerProcess(kafka_with_topics, tmp_path)
    assert one.process.wait(30) == 2
    assert "WARD_HDFS_URL" in one.log.read_text()
