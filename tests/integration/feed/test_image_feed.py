"""Images of the feed on a real broker and HDFS: pictures as they were written, verdicts as labels, reads as rows."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from contracts import codec
from contracts.records import Access, FindingState, ImageFeedback, ImageFinding, ImageResult, Record, Verdict
from contracts.topology import ACCESS_LOG, IMAGE_FEEDBACK, IMAGE_FINDINGS, IMAGE_REFUSALS, IMAGE_RESULTS, Topic
from infra.stack import Stack
from models.imaging.render import heat_png, preview_png
from streams import ledger
from streams.hdfs_files import Files
from tests.conftest import servers
from tests.unit.feed.image_records import finding, refusal, result
from tests.unit.feed.rig import CHANGE, Served, serve

pytestmark = [pytest.mark.kafka, pytest.mark.hdfs, pytest.mark.asyncio]

GREY = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(64, 48)


@pytest.fixture(scope="module")
def hdfs_zones(session_stack: Stack) -> str:
    """The WebHDFS address of a real HDFS with its zones."""
    return servers(session_stack, ["zones"]).environment()["WARD_HDFS_URL"]


class Case:
    """One image of this test alone, with its pictures on HDFS."""

    def __init__(self, hdfs: str) -> None:
        self.job_id = f"j-{uuid.uuid4().hex}"
        self.patient = f"p-{uuid.uuid4().hex[:16]}"
        self.preview, self.heat = preview_png(GREY), heat_png(GREY)
        folder = f"/images/{self.patient}/2026-01-02/2.25.1"
        self.paths = (f"{folder}/2.25.2.dcm.brain_tumour.preview.png", f"{folder}/2.25.2.dcm.brain_tumour.heat.png")
        files = Files(hdfs, "ward")
        for path, content in zip(self.paths, (self.preview, self.heat), strict=True):
            files.write(path, content)

    def result(self, **changes: Any) -> ImageResult:
        uris = {"preview_uri": f"hdfs://{self.paths[0]}", "heatmap_uri": f"hdfs://{self.paths[1]}"}
        at_ms = time.time_ns() // 1_000_000
        return result(self.job_id, patient=self.patient, at_ms=at_ms, **{**uris, **changes})

    def finding(self, **changes: Any) -> ImageFinding:
        study = f"study-of-{self.job_id}"
        return finding(f"f-{self.job_id}", job_id=self.job_id, patient=self.patient, study=study, **changes)


class Log:
    """Writes what gateway, imaging and worker write."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    async def tell(self, topic: Topic[Any], key: str, record: Record) -> None:
        await self._producer.send_and_wait(topic.name, codec.encode(record), key=key.encode())

    async def told(self, case: Case, **changes: Any) -> None:
        read = case.result(**changes)
        await self.tell(IMAGE_RESULTS, read.study, read)


@pytest_asyncio.fixture
async def log(kafka_with_topics: str) -> AsyncIterator[Log]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_with_topics, acks="all")
    await producer.start()
    yield Log(producer)
    await producer.stop()


@contextlib.asynccontextmanager
async def feed_of(tmp_path: Path, kafka: str, hdfs: str) -> AsyncIterator[Served]:
    async with serve(tmp_path, started=False, kafka=kafka, hdfs_url=hdfs) as feed:
        async with asyncio.timeout(30):
            for tap in feed.live.images.taps:
                await tap.caught_up.wait()
        yield feed


async def test_a_result_goes_from_the_log_to_the_page_with_its_pictures_and_a_verdict_goes_back(
    kafka_with_topics: str, hdfs_zones: str, tmp_path: Path, log: Log
) -> None:
    case, before = await asyncio.to_thread(Case, hdfs_zones), f"r-{uuid.uuid4().hex}"
    await log.tell(IMAGE_REFUSALS, before, refusal(before, at_ms=time.time_ns() // 1_000_000))
    async with feed_of(tmp_path, kafka_with_topics, hdfs_zones) as feed, feed.client("nurse") as client:
        async with feed.stream("nurse", path="/api/images/stream") as reader:
            whole = (await reader.next("gallery")).data
            assert before in {one["refusal_id"] for one in whole["refusals"]}
            await log.told(case)
            await log.tell(IMAGE_FINDINGS, case.finding().study, case.finding())
            seen: dict[str, Any] = {}
            while not {"findings", "results"} <= seen.keys():
                told = (await reader.next("images")).data
                mine = {kind for kind in ("findings", "results") for one in told[kind] if one["job_id"] == case.job_id}
                seen |= dict.fromkeys(mine, told)
            for path, content in (("preview", case.preview), ("heat", case.heat)):
                for _ in range(2):
                    answer = await client.get(f"/api/images/{case.job_id}/{path}")
                    assert (answer.headers["content-type"], answer.content) == ("image/png", content)
            pdf = await client.get(f"/api/images/{case.job_id}/pdf")
            assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
            sent = {"feedback_id": uuid.uuid4().hex, "verdict": "reject", "label": "meningioma", "note": "dural tail"}
            for _ in range(2):
                accepted = await client.post(f"/api/images/{case.job_id}/feedback", json=sent, headers=CHANGE)
                assert accepted.status_code == 202
            again = await client.post(
                f"/api/images/{case.job_id}/feedback", json=sent | {"label": "pituitary"}, headers=CHANGE
            )
            assert (again.status_code, again.json()["code"]) == (409, "feedback_id_used")
            verdict = None
            while verdict is None:
                told = (await reader.next("images")).data
                verdict = next((one["verdict"] for one in told["results"] if one["job_id"] == case.job_id), None)
            assert (verdict["verdict"], verdict["label"]) == ("reject", "meningioma")
        metrics = (await client.get("/metrics")).text
        assert 'ward_feed_image_reads_total{outcome="remembered"} 2.0' in metrics
        assert 'ward_feed_verdicts_total{model="brain_tumour",verdict="reject"}' in metrics
    labels = await asyncio.to_thread(labels_of, kafka_with_topics, case.job_id)
    (label,) = labels
    assert (label.verdict, label.label, label.note, label.actor) == (
        Verdict.REJECT,
        "meningioma",
        "dural tail",
        "a-nurse",
    )
    assert (label.uri, label.sha256) == (case.result().uri, case.result().input_sha256)
    rows = await asyncio.to_thread(reads_of, kafka_with_topics, case.patient)
    assert rows == ["read_image_preview"] * 2 + ["read_image_heat"] * 2 + ["read_image_pdf"]


def labels_of(bootstrap: str, job_id: str) -> list[ImageFeedback]:
    found = (codec.decode(record.value, ImageFeedback) for record in ledger.read(bootstrap, IMAGE_FEEDBACK.name))
    return [one for one in found if one.job_id == job_id]


def reads_of(bootstrap: str, patient: str) -> list[str]:
    rows = (codec.decode(record.value, Access) for record in ledger.read(bootstrap, ACCESS_LOG.name))
    return [row.target.split()[0] for row in rows if row.action == "image" and row.target.endswith(patient)]


async def test_a_result_that_left_the_memory_is_found_in_the_log(
    kafka_with_topics: str, hdfs_zones: str, tmp_path: Path, log: Log
) -> None:
    case, other = [await asyncio.to_thread(Case, hdfs_zones) for _ in range(2)]
    await log.told(case)
    await log.told(other, preview_uri="hdfs:///identified/map.png")
    await log.tell(IMAGE_FINDINGS, case.finding().study, case.finding(state=FindingState.ACCEPTED))
    async with feed_of(tmp_path, kafka_with_topics, hdfs_zones) as feed, feed.client() as client:
        feed.live.images.gallery.results.clear()
        found = (await client.get(f"/api/images/{case.job_id}")).json()
        assert (found["result"]["label"], found["finding"]["state"]) == ("glioma", "accepted")
        feed.live.images.gallery.findings.clear()
        assert (await client.get(f"/api/images/{other.job_id}")).status_code == 200
        outside = await client.get(f"/api/images/{other.job_id}/preview")
        assert (outside.status_code, outside.json()["code"]) == (502, "bad_picture")
        assert (await client.get("/api/images/j-nobody")).status_code == 404
        await asyncio.to_thread(Files(hdfs_zones, "ward")._client().delete, case.paths[1])
        gone = await client.get(f"/api/images/{case.job_id}/heat")
        assert (gone.status_code, gone.json()["code"]) == (404, "no_picture")
