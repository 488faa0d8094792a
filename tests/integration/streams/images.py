"""Images on a real HDFS, jobs for them in a real log, and the process that reads them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from contracts import codec
from contracts.errors import Transient
from contracts.records import ImageJob, ImageResult, Record
from contracts.topology import IMAGE_JOBS, IMAGE_RESULTS, Topic, partition_for
from infra.stack import wait_until
from models.registry import Registry
from streams import ledger
from streams.hdfs_files import Files, path_of
from tests.integration.streams.live import WorkerProcess, log_ends
from tests.unit.models.imaging import made
from tests.unit.models.imaging.small_models import AGE, TUMOUR, kept, kept_scope

NOW_MS = 1_767_340_800_000


class ImageWorkerProcess(WorkerProcess):
    """``python -m streams.image_worker``."""

    module = "streams.image_worker"


@contextmanager
def image_worker(
    bootstrap: str, hdfs: str, folder: Path, name: str = "image-worker", **settings: str
) -> Iterator[ImageWorkerProcess]:
    """An image worker of the folder's own group, gone at the end."""
    settings.setdefault("WARD_IMAGE_WORKER_GROUP", group_of(folder))
    one = ImageWorkerProcess(bootstrap, folder, name, WARD_HDFS_URL=hdfs, **settings)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(10)


def small_models(folder: Path) -> Registry:
    """The tests' own brain_tumour and bone_age as champions of that folder, behind a gate that takes all for brains."""
    registry = Registry(folder / "models")
    kept_scope(registry)
    for name, settings in (("brain_tumour", TUMOUR), ("bone_age", msgspec.structs.replace(AGE, body_part="brain"))):
        kept(registry, name, settings)
    return registry


def picture(bright: float, rows: int = 96, cols: int = 128) -> bytes:
    """A de-identified DICOM file, evenly lit but for a little structure."""
    ramp = np.linspace(0, 400, cols)
    array = np.tile(np.clip(4095 * bright + ramp, 0, 4095).astype(np.uint16), (rows, 1))
    array[:4, :4] = 0
    array[-4:, -4:] = 4095
    return made.dicom(array, PatientID="p-0123456789abcdef", WindowCenter="2048", WindowWidth="4096")


class Jobs:
    """Jobs of one test, in a study of its own; the group of ``folder`` does not see what others left in the log."""

    def __init__(self, bootstrap: str, hdfs: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        start_at_end(bootstrap, group_of(folder), IMAGE_JOBS)
        self.files = Files(hdfs, "ward")
        self.study = f"st-{time.time_ns()}"
        self.asked: list[ImageJob] = []

    def stored(self, name: str, content: bytes) -> tuple[str, str]:
        """Put the image on HDFS: its address and hash."""
        uri = f"hdfs:///images/p-0123456789abcdef/{self.study}/{name}.dcm"
        put(self.files, path_of(uri), content)
        return uri, hashlib.sha256(content).hexdigest()

    def job(self, name: str, content: bytes, model: str = "brain_tumour", **fields: Any) -> ImageJob:
        """A job for an image that is now on HDFS; not in the log yet."""
        uri, sha256 = self.stored(name, content)
        job = ImageJob(
            version=1,
            job_id=hashlib.sha256(f"{self.study}{name}{model}".encode()).hexdigest()[:32],
            study=self.study,
            instance=name,
            uri=uri,
            sha256=sha256,
            model=model,
            at_ms=NOW_MS,
            patient="p-0123456789abcdef",
            arrived_ms=int(time.time() * 1000),
        )
        return msgspec.structs.replace(job, **fields)

    def ask(self, *jobs: ImageJob) -> None:
        """Put jobs into the log."""
        send(self.bootstrap, IMAGE_JOBS, self.study, *jobs)
        self.asked += jobs

    def results(self) -> list[ImageResult]:
        """Every result of this study so far, in the order of the log."""
        found = [
            codec.decode(record.value, ImageResult)
            for record in ledger.read(self.bootstrap, IMAGE_RESULTS.name)
            if record.key == self.study.encode()
        ]
        return found

    def answered(self) -> bool:
        """Whether every job asked for has a result."""
        return {job.job_id for job in self.asked} <= {result.job_id for result in self.results()}


def put(files: Files, path: str, content: bytes) -> None:
    """A file on an HDFS that may be slow on a busy machine."""

    def written() -> bool:
        try:
            files.write(path, content)
        except Transient:
            return False
        return True

    assert wait_until(written, 120)


def send(bootstrap: str, topic: Topic[Any], key: str, *records: Record | bytes) -> None:
    """Put records into a topic, every acknowledgement awaited."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for record in records:
        value = record if isinstance(record, bytes) else codec.encode(record)
        producer.produce(topic.name, value, key.encode(), partition_for(key, topic.partitions))
    assert producer.flush(30) == 0


def group_of(folder: Path) -> str:
    """The consumer group of a test's worker."""
    return f"ward-image-worker-{folder.parent.name}-{folder.name}"


def start_at_end(bootstrap: str, group: str, *topics: Topic[Any]) -> None:
    """Let a new group begin behind what stands in these topics."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0})
    try:
        places = [
            TopicPartition(topic.name, partition, offset)
            for topic in topics
            for partition, offset in log_ends(bootstrap, topic.name).items()
        ]
        if places:
            consumer.commit(offsets=places, asynchronous=False)
    finally:
        consumer.close()
