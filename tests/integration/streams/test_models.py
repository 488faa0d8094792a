"""Models in a worker process on a real broker: in force since a record, swapped while it runs, refused when tampered
with; a forecast soon after the first reading; a moved patient who brings their past."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from contracts import codec
from contracts.records import ScoreFrame, VitalsForecast, VitalsFrame
from contracts.topology import CLOCK_KEY, FORECASTS, SCORES, VITALS, partition_for
from infra.site import free_ports
from infra.stack import wait_until
from models.ports import ANOMALY, DETERIORATION, FORECAST
from models.registry import Registry
from models.ward.core import WardCore
from models.ward.policy import load_policy
from producers.archive import SAMPLES, load
from producers.publish import Publisher
from producers.recordings import Playback
from streams import ledger
from streams.wardlog import LogRecord
from tests.integration.streams.live import Feeder, caught_up, log_ends, models_in, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

READY = "state restored"
FORECAST_S = 15.0
QUICK = {"WARD_SNAPSHOT_EVERY_S": "1"}


def another(registry: Registry, name: str, seed: int) -> str:
    """The champion again under another name: what it says is the same, what it is called is not."""
    bundle = registry.load(name)
    fields = {field: getattr(bundle.manifest, field) for field in bundle.manifest.__struct_fields__}
    del fields["name"], fields["files"]
    files = {file: bundle.read(file) for file in bundle.manifest.files}
    return registry.add(name, files, **fields | {"seed": seed})


def outlooks(bootstrap: str, name: str = ANOMALY) -> Iterator[tuple[ScoreFrame, str, int]]:
    """(frame, version, offset since which it is in force) of every frame in which that model spoke."""
    for record in ledger.read(bootstrap, SCORES.name):
        frame = codec.decode(record.value, ScoreFrame)
        for model in frame.models:
            if model.name == name:
                assert model.since is not None
                yield frame, model.version, model.since.offset


def first_named(bootstrap: str, partition: int, name: str, version: str) -> int:
    """The offset of the first tick of a partition that names a version, once its ward is there."""
    opened = False
    for record in ledger.read(bootstrap, VITALS.name):
        opened |= record.key == b"W1"
        if opened and record.partition == partition and record.key == CLOCK_KEY.encode():
            named = {model.name: model.version for model in codec.decode(record.value, VitalsFrame).models}
            if named.get(name) == version:
                return record.offset
    raise AssertionError(f"no tick names {name}@{version}")


def spoke(bootstrap: str, version: str) -> bool:
    return any(said == version for _, said, _ in outlooks(bootstrap))


def test_a_champion_takes_over_at_one_record_and_a_tampered_one_never_does(fresh_broker: str, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    asked = {ANOMALY, FORECAST, DETERIORATION}  # the registry has models of images too: no worker asks those
    before = {name: version for name, version in registry.champions().items() if name in asked}
    assert before.keys() == asked
    port = free_ports(["metrics"])["metrics"]
    feeder = Feeder(fresh_broker, beds=50, ticks=200, past=True)
    with worker(fresh_broker, tmp_path, WARD_WORKER_METRICS_PORT=str(port), **QUICK) as one:
        one.wait_for(READY)
        feeder.start()
        assert wait_until(lambda: spoke(fresh_broker, before[ANOMALY]), 60)
        after = registry.promote(ANOMALY, another(registry, ANOMALY, 1), "tests", "the same again")
        assert wait_until(lambda: spoke(fresh_broker, after), 60)

        bad = another(registry, ANOMALY, 2)
        victim = max(path for path in registry.folder(ANOMALY, bad).iterdir() if path.name != "manifest.json")
        victim.write_bytes(victim.read_bytes()[:-1] + b"?")
        aliases = tmp_path / "models" / ANOMALY / "aliases.json"
        aliases.write_text(json.dumps(json.loads(aliases.read_text()) | {"champion": bad}))
        assert wait_until(lambda: one.said("model refused"), 30)
        health = httpx.get(f"http://127.0.0.1:{port}/healthz").json()
        assert health["models"] == before | {ANOMALY: after}
        assert health["refused"][ANOMALY]["version"] == bad
        assert victim.name in health["refused"][ANOMALY]["why"]
        feeder.ticks = feeder.second + 12
        feeder.join(120)
        ends = log_ends(fresh_broker)
        assert wait_until(lambda: caught_up(fresh_broker, lambda: ends), 60)
        assert one.end() == 0

    seen: dict[str, set[int]] = {}
    for frame, version, since in outlooks(fresh_broker):
        assert since <= frame.source.offset
        seen.setdefault(version, set()).add(since)
    partition = partition_for("W1", VITALS.partitions)
    assert seen == {v: {first_named(fresh_broker, partition, ANOMALY, v)} for v in (before[ANOMALY], after)}
    aliases.write_text(json.dumps(json.loads(aliases.read_text()) | {"champion": after}))
    _, _, difference = ledger.audit(fresh_broker, WardCore(load_policy(None)), models_in(tmp_path / "models"))
    assert difference.none, difference


def test_a_forecast_stands_within_a_quarter_minute_of_the_first_reading(fresh_broker: str, tmp_path: Path) -> None:
    """As in the demo: a ward of real recordings beside simulated ones, each with its past."""
    feeder = Feeder(fresh_broker, beds=24, ticks=25, past=True)
    recordings = Playback(load(SAMPLES), start_ms=feeder.start_ms)
    publisher = Publisher(fresh_broker)
    with worker(fresh_broker, tmp_path, **QUICK) as one:
        one.wait_for(READY)
        feeder.start()
        for second in range(25):
            feeder.at(second)
            for frame in recordings.tick() or []:
                publisher.publish(frame)
            publisher.poll()
        assert publisher.flush(20) == 0
        feeder.join(60)
        ends = log_ends(fresh_broker)
        assert wait_until(lambda: caught_up(fresh_broker, lambda: ends), 60)
        assert one.end() == 0
    first: dict[str, int] = {}
    for record in ledger.read(fresh_broker, VITALS.name):
        if record.key != CLOCK_KEY.encode() and record.key is not None:
            first.setdefault(record.key.decode(), record.at_ms)
    spoken: dict[str, VitalsForecast] = {}
    for record in ledger.read(fresh_broker, FORECASTS.name):
        forecast = codec.decode(record.value, VitalsForecast)
        spoken.setdefault(forecast.ward, forecast)
    assert spoken.keys() == {"W1", "ICU"}
    for ward, forecast in spoken.items():
        assert forecast.now_ms - first[ward] <= FORECAST_S * 1000
    assert len(spoken["W1"].beds) == 24
    assert len(spoken["ICU"].beds) >= 7
    assert max(h for b in spoken["ICU"].beds for v in b.vitals for h in v.horizons_s) >= 3600


def test_a_patient_who_is_moved_to_another_ward_brings_what_the_last_one_knew(
    fresh_broker: str, tmp_path: Path
) -> None:
    feeder = Feeder(fresh_broker, beds=10, ticks=8, past=True)
    with worker(fresh_broker, tmp_path, **QUICK) as one:
        one.wait_for(READY)
        feeder.start()
        feeder.join(60)
        ends = log_ends(fresh_broker)
        assert wait_until(lambda: caught_up(fresh_broker, lambda: ends), 60)
        moved = feeder.hospital.roster.patients[3]
        publisher = Publisher(fresh_broker)
        for frame in feeder.hospital.tick():
            beds = tuple(msgspec.structs.replace(b, bed="STEP-01") for b in frame.beds if b.patient == moved)
            publisher.publish(msgspec.structs.replace(frame, ward="STEP", gateway="STEP-gw", beds=beds, past=()))
        assert publisher.flush(20) == 0
        assert wait_until(lambda: bool(told(fresh_broker, "STEP")), 30)
        ends = log_ends(fresh_broker)
        assert wait_until(lambda: caught_up(fresh_broker, lambda: ends), 60)
        assert one.end() == 0
    (record,) = told(fresh_broker, "STEP")
    frame = codec.decode(record.value, VitalsFrame)
    assert {(past.bed, past.patient, past.origin) for past in frame.past} == {("STEP-01", moved, "topic")}
    assert {past.step_s for past in frame.past} == {60, 600}
    assert [facts.patient for facts in frame.facts] == [moved]
    shutil.rmtree(tmp_path / "models", ignore_errors=True)
    _, _, difference = ledger.audit(fresh_broker, WardCore(load_policy(None)), models_in())
    assert difference.none, difference


def told(bootstrap: str, ward: str) -> list[LogRecord]:
    """Frames with a past in a ward's log."""
    records = ledger.read(bootstrap, VITALS.name)
    return [r for r in records if r.key == ward.encode() and codec.decode(r.value, VitalsFrame).past]
