"""Any id walked back through a lake that the stream landed: an alarm of the real core, an image, a row, a cohort."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner, Result

from batch.gauges import LakeMetrics
from batch.lake import Lake
from batch.storage import Storage
from batch.trace import WAITING
from batch.version import code_version
from contracts import codec
from contracts.lake import IMAGES, RECORDS
from contracts.records import (
    SCHEMA_VERSION,
    AlertTransition,
    ImageArrival,
    ImageJob,
    ImageResult,
    ModelRef,
    Record,
    VitalsFrame,
)
from contracts.settings import Settings
from contracts.topology import (
    ALERTS,
    CLOCK_KEY,
    FORECASTS,
    IMAGE_ARRIVALS,
    IMAGE_JOBS,
    IMAGE_RESULTS,
    SCORES,
    VITALS,
    Topic,
    partition_for,
)
from models.registry import Registry
from models.ward.core import WardCore
from models.ward.policy import load_policy
from producers.ward import Hospital
from streams.counsel import Inline
from streams.wardlog import LogRecord, WardLog
from tests.integration.batch.conftest import empty_roots
from tests.integration.streams.live import models_in, storm

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.hdfs]

START_MS = 1_767_340_800_000
SECONDS = 25
INSTANCE = "2.25.1234"
MODEL = "vitals_anomaly"


class Told:
    """What was sent into the topics, and where it stands."""

    def __init__(self, bootstrap: str) -> None:
        self.producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
        self.alarms: list[AlertTransition] = []
        self.forecasts: list[str] = []
        self.image = b""

    def send(self, topic: Topic[Any], record: Record, key: str, partition: int | None = None) -> str:
        """Send it; its place."""
        sent = self.producer.send(topic.name, codec.encode(record), key.encode(), partition=partition).get(30)
        return f"{topic.name}/{sent.partition}/{sent.offset}"


async def play(told: Told) -> None:
    """Some seconds of a ward in trouble: every frame into the log, and what the core makes of it into its topics."""
    counsel = Inline(models_in())
    champions = tuple(ModelRef(name=n, version=v) for n, v in Registry().champions().items())
    hospital = Hospital(8, seed=7, script=storm(), start_ms=START_MS, beds_per_ward=8, frame_beds=8)
    core, logs = WardCore(load_policy()), dict[int, WardLog]()
    for second in range(SECONDS):
        at_ms = START_MS + second * 1000
        frames = list(hospital.tick())
        tick = VitalsFrame(
            version=SCHEMA_VERSION, ward=CLOCK_KEY, gateway="c", seq=second, at_ms=at_ms, models=champions
        )
        for frame in (*frames, tick):
            partition = partition_for(frames[0].ward, VITALS.partitions)
            offset = int(told.send(VITALS, frame, frame.ward, partition).rpartition("/")[2])
            log = logs.setdefault(partition, WardLog(partition, core, offset, counsel=counsel))
            record = LogRecord(VITALS.name, partition, offset, at_ms, frame.ward.encode(), codec.encode(frame))
            effects = await log.take(record)
            for alarm in effects.transitions:
                told.send(ALERTS, alarm, alarm.alert_id)
                told.alarms.append(alarm)
            for scores in effects.scores:
                told.send(SCORES, scores, scores.ward)
            told.forecasts += [told.send(FORECASTS, forecast, forecast.ward) for forecast in effects.forecasts]


def send_image(told: Told, storage: Storage) -> None:
    """An image on HDFS, and all that is told of it up to the finding."""
    from PIL import Image

    sink = io.BytesIO()
    Image.linear_gradient("L").save(sink, "PNG")
    told.image = sink.getvalue()
    path = "/images/p-0001/2026-01-01/2.25.12/2.25.1234.png"
    storage.write(path, told.image)
    sha256, uri = hashlib.sha256(told.image).hexdigest(), storage.uri(path)
    common: dict[str, Any] = {"version": SCHEMA_VERSION, "study": "2.25.1", "instance": INSTANCE, "at_ms": START_MS}
    told.send(
        IMAGE_ARRIVALS,
        ImageArrival(**common, patient="p-0001", series="2.25.12", modality="MR", uri=uri, sha256=sha256, ward="W1"),
        "2.25.1",
    )
    job = ImageJob(**common, job_id="job-000001", uri=uri, sha256=sha256, model=MODEL)
    told.send(IMAGE_JOBS, job, "2.25.1")
    result = ImageResult(
        **common,
        job_id="job-000001",
        model=MODEL,
        model_sha256=Registry().load(MODEL).sha256,
        label="tumour",
        probability=0.93,
        patient="p-0001",
        input_sha256=sha256,
        code=code_version(),
        probabilities={"glioma": 0.93, "notumor": 0.07},
        caveats=("Heat is not proof.",),
    )
    told.send(IMAGE_RESULTS, result, "2.25.1")


@pytest.fixture(scope="module")
def landed(settings: Settings, superuser: Storage, storage: Storage, spark: Any) -> Told:
    """A ward's trouble and an image, sent through Kafka and landed by the stream."""
    import asyncio

    empty_roots(superuser)
    told = Told(settings.kafka)
    asyncio.run(play(told))
    send_image(told, storage)
    told.producer.close()
    Lake(settings, spark, LakeMetrics(), threading.Event()).query(once=True).awaitTermination()
    return told


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs ``ward lake trace ...`` against the session's servers, or without Kafka."""
    from batch.cli import app

    monkeypatch.setenv("WARD_HDFS_URL", settings.hdfs_url or "")
    monkeypatch.setenv("WARD_HDFS_RPC", settings.hdfs_rpc or "")
    monkeypatch.setenv("WARD_ACTOR", "r. smith")
    monkeypatch.setenv("WARD_ROLE", "researcher")

    def run(*arguments: str, kafka: str = settings.kafka) -> Result:
        monkeypatch.setenv("WARD_KAFKA", kafka)
        return CliRunner().invoke(app, ["trace", *arguments])

    return run


def every(link: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield link
    for below in link["links"]:
        yield from every(below)


def traced(done: Result) -> dict[str, list[dict[str, Any]]]:
    """The links of a trace by what they are."""
    told = json.loads(done.stdout)
    found: dict[str, list[dict[str, Any]]] = {}
    for link in every(told["trace"]):
        found.setdefault(link["what"], []).append(link)
    return found


def test_an_alarm_is_walked_back_to_the_bytes_of_its_frame(landed: Told, command: Callable[..., Result]) -> None:
    raised = next(a for a in landed.alarms if a.event == "raised" and a.reading_ms is not None)
    done = command(raised.alert_id, "--json", "--offline")
    assert done.exit_code == 0, done.output
    links = traced(done)
    steps = [a for a in landed.alarms if a.alert_id == raised.alert_id]
    assert len(links["transition"]) == len(steps)
    assert all(link["status"] == "verified" for group in links.values() for link in group)
    frame = links["vitals frame"][0]
    assert frame["id"] == f"{raised.source.topic}/{raised.source.partition}/{raised.source.offset}"
    assert frame["told"]["from"] == "lake"
    assert links["readings"][0]["told"][raised.vital.value if raised.vital else ""] is not None
    assert links["policy"][0]["id"] == raised.policy
    assert {link["told"]["code"] for link in links["lake batch"]} == {code_version()}


def test_the_tree_reads_from_the_alarm_down(landed: Told, command: Callable[..., Result]) -> None:
    done = command(landed.alarms[0].alert_id)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].startswith(f"✓ alarm {landed.alarms[0].alert_id}")
    assert "└── ✓ policy" in done.stdout or "├── ✓ policy" in done.stdout
    assert all(step.message in done.stdout for step in landed.alarms if step.alert_id == landed.alarms[0].alert_id)


def test_a_finding_is_walked_back_to_pixels_model_data_and_code(landed: Told, command: Callable[..., Result]) -> None:
    done = command("job-000001", "--json")
    assert done.exit_code == 0, done.output
    links = traced(done)
    assert links["image"][0]["told"] == {
        "sha256": hashlib.sha256(landed.image).hexdigest(),
        "bytes": len(landed.image),
    }
    bundle = Registry().load(MODEL)
    assert links["model"][0]["told"]["manifest_sha256"] == bundle.sha256
    assert [link["told"]["sha256"] for link in links["data"]] == [data.sha256 for data in bundle.manifest.data]
    assert (links["code"][0]["id"], links["code"][0]["status"]) == (code_version(), "verified")
    assert {"result", "image job", "arrival", "record"} <= links.keys()
    assert traced(command(INSTANCE, "--json"))["result"][0]["id"] == "job-000001"


def test_a_forecast_row_is_walked_back_to_its_frame_and_models(landed: Told, command: Callable[..., Result]) -> None:
    place = landed.forecasts[0]
    links = traced(command(f"{place}/0", "--json"))
    assert links["record"][0]["status"] == links["rows"][0]["status"] == "verified"
    assert links["vitals frame"][0]["status"] == "verified"
    assert {link["status"] for link in links["model"]} == {"verified"}
    assert [link["id"] for link in links["model"]] == [f"vitals_forecast@{Registry().champions()['vitals_forecast']}"]


def test_a_tampered_image_is_a_finding(landed: Told, command: Callable[..., Result], storage: Storage) -> None:
    path = next(entry.path for entry in storage.entries("/images"))
    storage.remove(path)
    storage.write(path, landed.image[:-1] + b"\0")
    try:
        done = command("job-000001", "--json")
        assert done.exit_code == 6
        wrong = [link for link in every(json.loads(done.stdout)["trace"]) if link["status"] == "mismatch"]
        assert [link["what"] for link in wrong] == ["image"]
        for who in ("result", "job", "arrival"):
            assert f"the {who} says" in wrong[0]["why"]
    finally:
        storage.remove(path)
    gone = command("job-000001", "--json")
    assert gone.exit_code == 0
    assert (traced(gone)["image"][0]["status"], traced(gone)["image"][0]["why"]) == ("missing", "no such file on HDFS")
    storage.write(path, landed.image)


def test_what_nobody_knows_is_told_with_near_ids(landed: Told, command: Callable[..., Result]) -> None:
    ident = landed.alarms[0].alert_id
    done = command(ident[:-1] + ("0" if ident[-1] != "0" else "1"))
    assert done.exit_code == 3
    assert ident in done.stderr
    assert command("patient_vitals/0/999999999").exit_code == 3


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # kafka-python leaves sockets to a broker that is away
def test_without_kafka_a_trace_says_the_same_and_its_record_waits_on_hdfs(
    landed: Told, command: Callable[..., Result], storage: Storage
) -> None:
    ident = landed.alarms[0].alert_id
    with_kafka = json.loads(command(ident, "--json").stdout)
    done = command(ident, "--json", kafka="127.0.0.1:9")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == with_kafka
    gc.collect()
    assert len(list(storage.entries(WAITING))) == 1
    command(ident)
    assert list(storage.entries(WAITING)) == [], "the next one brought it to the topic"


def test_what_the_lake_lost_is_asked_of_kafka(landed: Told, command: Callable[..., Result], storage: Storage) -> None:
    """Records are kept for a shorter time than rows: the topic may still have them."""
    raised = next(a for a in landed.alarms if a.event == "raised" and a.reading_ms is not None)
    kept = {entry.path: storage.read(entry.path) for entry in storage.entries(f"{RECORDS.path}/topic={VITALS.name}")}
    for path in kept:
        storage.remove(path)
    try:
        found = traced(command(raised.alert_id, "--json"))
        assert found["vitals frame"][0]["told"]["from"] == "kafka"
        alone = traced(command(raised.alert_id, "--json", "--offline"))
        assert alone["vitals frame"][0]["status"] == "missing"
        assert "Kafka was not asked" in alone["vitals frame"][0]["why"]
    finally:
        for path, content in kept.items():
            storage.write(path, content)


def test_a_cohort_of_the_stream_is_frozen_and_traced(
    landed: Told, command: Callable[..., Result], storage: Storage
) -> None:
    from batch.cohorts import freeze, rerun
    from batch.selection import parsed, selected

    sql = "select v.patient, v.vital, v.value from vitals v where v.patient in (select patient from alerts)"
    made, _ = freeze(storage, "in trouble", parsed(sql), by="r", role="researcher", engine="duckdb", by_sql=selected)
    assert made.patients >= len({alarm.patient for alarm in landed.alarms}), "other tests' patients may be there too"
    assert {held.table for held in made.snapshot.tables} == {"vitals", "alerts"}
    assert rerun(storage, made, parsed(sql), selected)["exact"]
    links = traced(command(made.cohort, "--json"))
    assert {link["status"] for group in links.values() for link in group} == {"verified"}
    assert {"cohort", "members", "snapshot", "table", "code"} <= links.keys()
    assert IMAGES.name not in {link["id"] for link in links["table"]}
