"""kill -9 of the image worker, of HDFS and of the imaging process: each image is read once, nothing is lost."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from contracts import codec
from contracts.records import ImageArrival, ImageJob, ImageResult
from contracts.topology import IMAGE_ARRIVALS, IMAGE_JOBS, IMAGE_RESULTS
from infra.stack import Stack, wait_until
from streams import ledger
from streams.hdfs_files import Files, path_of
from tests.integration.streams.images import picture, put, send, small_models

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.hdfs, pytest.mark.timeout(600)]
IMAGES: Final = 36
PATIENT: Final = "p-0123456789abcdef"


def arrivals(files: Files) -> list[ImageArrival]:
    """Images of five studies, bright and dark ones, stored as the gateway stores them."""
    stored = []
    for shade in range(4):
        content = picture(0.15 + 0.2 * shade)
        uri = f"hdfs:///images/{PATIENT}/undated/se/{shade}.dcm"
        put(files, path_of(uri), content)
        stored.append((uri, hashlib.sha256(content).hexdigest()))
    return [
        ImageArrival(
            version=1,
            patient=PATIENT,
            study=f"st-{n % 5}",
            series="se",
            instance=f"im-{n}",
            modality="MR",
            body_part="BRAIN",
            uri=stored[n % 4][0],
            sha256=stored[n % 4][1],
            at_ms=int(time.time() * 1000),
        )
        for n in range(IMAGES)
    ]


def test_kill_9_of_worker_hdfs_and_imaging_loses_no_image_and_reads_none_twice(
    stack: Callable[..., Stack], tmp_path: Path
) -> None:
    small_models(tmp_path)
    topology = stack("imaging", "image-worker", WARD_MODELS_DIR=str(tmp_path / "models"), WARD_IMAGE_QUIET_S="2")
    environment = topology.environment()
    bootstrap = environment["WARD_KAFKA"]
    images = arrivals(Files(environment["WARD_HDFS_URL"], "ward"))
    kills: list[tuple[str, int, float]] = []
    for number, victim in enumerate(("image-worker", "datanode", "imaging")):
        share = IMAGES // 3
        for image in images[number * share : (number + 1) * share]:
            send(bootstrap, IMAGE_ARRIVALS, image.study, image)
        wanted = number * share + 2
        assert wait_until(lambda: len(results(bootstrap)) >= wanted, 120), f"nothing is read before {victim} is killed"  # noqa: B023
        killed = topology.kill(victim)
        done = len(results(bootstrap))
        kills.append((victim, done, round(topology.await_return(victim, killed), 1)))
    assert wait_until(lambda: len({one.job_id for one in results(bootstrap)}) == IMAGES, 180), kills
    said, jobs = results(bootstrap), [one.job_id for one in asked(bootstrap)]
    print(f"\nkilled, results by then, back after s: {kills}; {len(said)} results of {len(set(jobs))} jobs")
    assert len(jobs) == len(set(jobs)) == IMAGES
    meanings: dict[str, set[tuple[object, ...]]] = {}
    for one in said:
        meaning = (one.label, one.probability, one.refusal, one.input_sha256, one.model_sha256, one.heatmap_uri)
        meanings.setdefault(one.job_id, set()).add(meaning)
    assert meanings.keys() == set(jobs)
    assert all(len(found) == 1 for found in meanings.values())
    assert {one.refusal for one in said} == {None}, "an outage is no reason to refuse an image"


def results(bootstrap: str) -> list[ImageResult]:
    return [codec.decode(record.value, ImageResult) for record in ledger.read(bootstrap, IMAGE_RESULTS.name)]


def asked(bootstrap: str) -> list[ImageJob]:
    return [codec.decode(record.value, ImageJob) for record in ledger.read(bootstrap, IMAGE_JOBS.name)]
