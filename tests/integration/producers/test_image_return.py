"""Results return: on HDFS beside their image, at a real PACS (dcmtk's) and by STOW-RS, once each whatever is killed."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from contracts.errors import Transient
from contracts.pseudonyms import Pseudonyms
from contracts.records import SCHEMA_VERSION, ImageResult
from contracts.settings import Settings
from contracts.topology import IMAGE_RESULTS, partition_for
from infra.site import free_ports
from infra.stack import Stack, wait_until
from models.imaging.render import heat_png, preview_png
from producers import image_store
from producers.deidentify import deidentify
from producers.image_return import Returning, written
from producers.intake_events import Announcer
from producers.intake_identities import Identities, Identity
from producers.returned_gauges import Gauges
from producers.returned_sending import NotTaken, target
from producers.scanner import exams
from tests.conftest import servers
from tests.integration.producers.receiving import Receiver, Service, receiver

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs]

NAMES = Pseudonyms(secrets.token_bytes(32))
"""A key of this run: nobody else of the session has these pseudonyms."""


@dataclass
class Stored:
    """An image as the gateway leaves it, and what a model said of it."""

    header: Any
    result: ImageResult
    folder: str


@pytest.fixture(scope="module")
def settings(session_stack: Stack) -> Settings:
    found = servers(session_stack, ["zones", "topics"]).environment()
    return Settings.from_env({name: found[name] for name in ("WARD_KAFKA", "WARD_HDFS_URL")})


@pytest.fixture(scope="module")
def stored(settings: Settings) -> Stored:
    original = next(exams(24, secrets.randbelow(10**6), 1_767_225_600_000, 15.0)).dataset
    header = pydicom.dcmread(io.BytesIO(written(original)), stop_before_pixels=True)
    deidentify(original, NAMES)
    zone = image_store.images(settings)
    folder = f"/images/{original.PatientID}/2025-10-13"
    path = f"{folder}/{original.SeriesInstanceUID}/{original.SOPInstanceUID}.dcm"
    zone.write(path, written(original))
    grey = np.tile(np.linspace(0, 1, 96, dtype=np.float32), (96, 1))
    zone.write(f"{path}.brain_tumour.preview.png", preview_png(grey))
    zone.write(f"{path}.brain_tumour.heat.png", heat_png(grey * (grey > 0.7)))
    identity = Identity(
        version=SCHEMA_VERSION,
        patient=str(original.PatientID),
        study=str(original.StudyInstanceUID),
        series=str(original.SeriesInstanceUID),
        instance=str(original.SOPInstanceUID),
        uri=path,
        sha256="a" * 64,
        raw_sha256="b" * 64,
        shift_days=-80,
        originals={
            name: str(header.get(name))
            for name in ("PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        }
        | {"StudyDate": str(header.StudyDate)},
    )
    Identities(image_store.identified(settings)).remember(identity)
    result = ImageResult(
        version=SCHEMA_VERSION,
        job_id=secrets.token_hex(16),
        study=str(original.StudyInstanceUID),
        series=str(original.SeriesInstanceUID),
        instance=str(original.SOPInstanceUID),
        patient=str(original.PatientID),
        model="brain_tumour",
        model_sha256="0123456789abcdef" * 4,
        input_sha256="f" * 64,
        at_ms=1_767_225_700_000,
        label="glioma",
        probability=0.91,
        probabilities={"glioma": 0.91, "notumor": 0.09},
        positive=True,
        threshold=0.5,
        uri=f"hdfs://{path}",
        preview_uri=f"hdfs://{path}.brain_tumour.preview.png",
        heatmap_uri=f"hdfs://{path}.brain_tumour.heat.png",
        body_part="BRAIN",
    )
    return Stored(header, result, folder)


def returning(settings: Settings, to: str | None) -> tuple[Returning, Gauges]:
    gauges = Gauges()
    known = Identities(image_store.identified(settings))
    where = target(to, "WARDSTREAM") if to else None
    return Returning(image_store.images(settings), known, where, gauges), gauges


def counted(gauges: Gauges, kind: str, outcome: str) -> float:
    return gauges.registry.get_sample_value("ward_returns_total", {"kind": kind, "outcome": outcome}) or 0.0


def valid(path: Path) -> None:
    """dcmtk reads it, the report as one by its content tree."""
    subprocess.run(["dcmdump", "-q", str(path)], check=True, stdout=subprocess.DEVNULL)
    if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SR":
        said = subprocess.run(["dsrdump", str(path)], check=True, capture_output=True, text=True)
        assert '"Finding")=(393564001,SCT,"Glioma")' in said.stdout


# -- HDFS ------------------------------------------------------------------------------------------------------------


def test_a_result_lies_beside_its_image_as_a_report_and_a_capture_and_twice_is_once(
    settings: Settings, stored: Stored, tmp_path: Path
) -> None:
    one, gauges = returning(settings, None)
    paths = one.of(stored.result)
    assert one.of(stored.result) == paths
    assert counted(gauges, "report", "stored") == counted(gauges, "capture", "stored") == 1
    zone = image_store.images(settings)
    for path in paths:
        assert path.startswith(f"{stored.folder}/2.25.")
        (tmp_path / "one.dcm").write_bytes(zone.read(path))
        valid(tmp_path / "one.dcm")
        assert pydicom.dcmread(tmp_path / "one.dcm").PatientID == stored.result.patient


# -- STOW-RS ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[Service]:
    with contextlib.closing(Service()) as one:
        yield one


def test_a_service_that_is_busy_is_asked_again_and_then_has_both_as_the_hospital_knows_them(
    settings: Settings, stored: Stored, service: Service
) -> None:
    one, gauges = returning(settings, service.url)
    service.answers = [503]
    with pytest.raises(Transient, match="503"):
        one.of(stored.result)
    one.of(stored.result)
    assert {part.Modality for part in service.taken} == {"SR", "OT"}
    for part in service.taken:
        assert part.PatientID == stored.header.PatientID
        assert part.StudyInstanceUID == stored.header.StudyInstanceUID
    assert [counted(gauges, "report", what) for what in ("failed", "sent")] == [1, 1]


def test_what_a_service_refuses_for_good_is_counted_and_holds_up_nobody(
    settings: Settings, stored: Stored, service: Service
) -> None:
    one, gauges = returning(settings, service.url)
    service.answers = [409]
    one.of(stored.result)
    assert (service.requests, counted(gauges, "report", "refused"), counted(gauges, "report", "sent")) == (1, 1, 0)
    service.answers = [415]
    with pytest.raises(NotTaken, match="415"):
        target(service.url, "WARDSTREAM").send([pydicom.dcmread(io.BytesIO(_report(settings, stored)))])


def _report(settings: Settings, stored: Stored) -> bytes:
    one, _ = returning(settings, None)
    return image_store.images(settings).read(one.of(stored.result)[0])


def test_without_an_identity_a_result_goes_out_under_the_pseudonym(
    settings: Settings, stored: Stored, service: Service
) -> None:
    one = Returning(image_store.images(settings), None, target(service.url, "WARDSTREAM"), Gauges())
    one.of(stored.result)
    assert {part.PatientID for part in service.taken} == {stored.result.patient}


# -- C-STORE, the whole process --------------------------------------------------------------------------------------


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path / "pacs", "PACS") as one:
        yield one


@pytest.fixture
def group(settings: Settings) -> str:
    """A group that has read everything up to now."""
    name = f"return-{secrets.token_hex(4)}"
    consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": name, "enable.auto.commit": False})
    parts = [TopicPartition(IMAGE_RESULTS.name, number) for number in range(IMAGE_RESULTS.partitions)]
    for part in parts:
        part.offset = consumer.get_watermark_offsets(part, timeout=10)[1]

    def kept() -> bool:
        try:
            consumer.commit(offsets=parts, asynchronous=False)
        except KafkaException:  # a broker that was just started reads its groups first
            return False
        return True

    assert wait_until(kept, 60)
    consumer.close()
    return name


def process(settings: Settings, group: str, pacs: Receiver, metrics: int) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")} | {
        "WARD_KAFKA": settings.kafka,
        "WARD_HDFS_URL": str(settings.hdfs_url),
        "WARD_RETURN_TO": f"PACS@127.0.0.1:{pacs.port}",
        "WARD_RETURN_GROUP": group,
        "WARD_RETURN_METRICS_PORT": str(metrics),
    }
    return subprocess.Popen([sys.executable, "-m", "producers.image_return"], env=environ)


def failures(port: int) -> float:
    """How often a report could not be sent, as the process tells."""
    try:
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text
    except httpx.TransportError:
        return 0.0
    lines = [line for line in page.splitlines() if 'kind="report",outcome="failed"' in line]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def test_a_killed_return_loses_no_result_and_a_pacs_that_was_away_has_it_under_the_true_name(
    settings: Settings, stored: Stored, pacs: Receiver, group: str
) -> None:
    port = free_ports(["metrics"])["metrics"]
    with contextlib.closing(Announcer(settings.kafka)) as announcer:
        announcer.tell(IMAGE_RESULTS, stored.result.study, stored.result)
    first = process(settings, group, pacs, port)
    try:
        assert wait_until(lambda: failures(port) >= 1, 120), "it tried, and nobody was there"
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait(10)
    assert committed(settings, group, stored.result.study) == 0
    pacs.start()
    second = process(settings, group, pacs, port)
    try:
        assert wait_until(lambda: committed(settings, group, stored.result.study) == 1, 120)
    finally:
        second.terminate()
        assert second.wait(20) == 0
    taken = pacs.taken()
    assert {one.Modality for one in taken} == {"SR", "OT"}
    for one in taken:
        assert one.PatientID == stored.header.PatientID
        assert str(one.PatientName) == str(stored.header.PatientName)
        assert one.StudyInstanceUID == stored.header.StudyInstanceUID
    for path in pacs.folder.iterdir():
        valid(path)


def committed(settings: Settings, group: str, study: str) -> int:
    """Records of the study's partition that the group has committed since it was made."""
    consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": group, "enable.auto.commit": False})
    try:
        part = TopicPartition(IMAGE_RESULTS.name, partition_for(study, IMAGE_RESULTS.partitions))
        end = consumer.get_watermark_offsets(part, timeout=10)[1]
        (found,) = consumer.committed([part], timeout=10)
        return 1 - int(end - found.offset)
    finally:
        consumer.close()
