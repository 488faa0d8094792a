"""``ward compare`` as a person types it, on a real broker with a log that a real worker has answered for."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from contracts import codec
from contracts.errors import Transient
from contracts.records import ModelRef
from contracts.topology import ALERTS, VITALS, partition_for
from infra.stack import wait_until
from streams import ledger
from streams.compare.span import records, survey
from tests.conftest import MakeTopic
from tests.integration.streams.live import Feeder, caught_up, log_ends, worker
from tests.unit.streams.compare.logs import T0, hospital, tick

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(200)]
SECONDS = 150


def ward(bootstrap: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")} | {"WARD_KAFKA": bootstrap, **settings}
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def compared(bootstrap: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = ward(bootstrap, "compare", *arguments, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def topic(kafka: str, make_topic: MakeTopic) -> str:
    """A topic with some minutes of simulated wards, with the times of its records set by us."""
    name = make_topic("span", VITALS.partitions, {"message.timestamp.type": "CreateTime", "retention.ms": "-1"})
    fill(kafka, name, SECONDS, ())
    return name


def fill(bootstrap: str, name: str, seconds: int, models: Sequence[ModelRef]) -> None:
    # in order, whatever a topic that was just made answers first
    source, producer = hospital(), Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    partitions = sorted({partition_for(ward, VITALS.partitions) for ward in source.roster.wards})
    for second in range(seconds):
        at_ms = T0 + second * 1000
        for frame in source.tick():
            partition = partition_for(frame.ward, VITALS.partitions)
            producer.produce(name, codec.encode(frame), frame.ward.encode(), partition, timestamp=at_ms)
        for partition in partitions:
            producer.produce(name, codec.encode(tick(at_ms, models)), b"~clock", partition, timestamp=at_ms + 500)
    assert producer.flush(30) == 0


@pytest.fixture
def stricter(tmp_path: Path, checkout: Path) -> str:
    """A policy file that wants more saturation."""
    return stricter_in(tmp_path, checkout)


def stricter_in(folder: Path, checkout: Path) -> str:
    """It, made in that folder."""
    own = (checkout / "models/ward/policies/adult.toml").read_text()
    path = folder / "stricter.toml"
    path.write_text(re.sub(r"extreme_low = 85.0\nlow = 90.0", "extreme_low = 90.0\nlow = 94.0", own))
    return str(path)


def test_equal_sides_exit_0_with_one_hash_and_a_stricter_policy_exits_6(
    kafka: str, topic: str, stricter: str, tmp_path: Path
) -> None:
    code, same = compared(kafka, "--topic", topic)
    assert (code, same["equal"]) == (0, True)
    assert same["champion"]["hash"] == same["candidate"]["hash"]
    assert same["fates"]["same"] == same["fates"]["champion"] > 3
    assert same["span"]["start_state"].startswith("nothing: the log begins")

    truth, page = tmp_path / "truth.ndjson", tmp_path / "report.html"
    truth.write_bytes(b"\n".join(map(msgspec.json.encode, hospital().truth(SECONDS))))
    code, other = compared(kafka, "--topic", topic, "--candidate", stricter, "--truth", str(truth), "--html", str(page))
    assert (code, other["equal"]) == (6, False)
    assert other["champion"]["hash"] == same["champion"]["hash"]
    odd = {one["condition"] for one in other["differences"]}
    assert "spo2_low" in odd
    assert odd <= {"spo2_low", "news2"}
    assert other["truth"]["events"] == 3
    assert page.read_text().startswith("<!doctype html>")


def test_a_span_inside_the_log_begins_with_a_warm_up_and_gives_its_part_of_the_hash(kafka: str, topic: str) -> None:
    words = ("--topic", topic, "--from", "2026-01-02T08:01:00Z", "--for", "40s")
    _, whole = compared(kafka, *words)
    _, again = compared(kafka, *words)
    _, warm = compared(kafka, *words, "--warm-up", "30s")
    assert whole["span"]["start_state"] == "the log from its start"
    assert warm["span"]["start_state"] == "a warm-up of 30 s before the span"
    assert warm["span"]["records"] == whole["span"]["records"]
    assert whole["span"]["warm_up_records"] > warm["span"]["warm_up_records"] > 0
    assert whole["champion"]["hash"] == again["champion"]["hash"]
    assert 0 < whole["champion"]["transitions"] < 40


def test_a_replay_of_the_span_is_decided_to_the_same_hash(kafka: str, topic: str, tmp_path: Path) -> None:
    again = f"{topic}_again"
    done = ward(kafka, "replay", topic, "--to", again, "--unpaced", WARD_STATE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (_, first), (_, second) = (compared(kafka, "--topic", name) for name in (topic, again))
    assert second["span"]["records"] == first["span"]["records"]
    assert second["champion"]["hash"] == first["champion"]["hash"]


def test_why_tells_what_stood_and_for_all_else_why_nothing_did(kafka: str, topic: str) -> None:
    done = ward(kafka, "why", "W1-01", "2026-01-02T08:01:00Z", "--topic", topic, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    by_condition = {one["condition"]: one for one in told["reasons"]}
    assert by_condition["spo2_low"]["code"] == "raised"
    assert by_condition["heart_rate_high"]["code"] == "inside"
    assert by_condition["heart_rate_high"]["margin"] > 0
    assert told["frame"]["source"]["topic"] == topic
    assert {one["verdict"] for one in told["readings"]} == {"ok"}
    as_lines = ward(kafka, "why", told["patient"], "2026-01-02T08:01:00Z", "--topic", topic)
    assert as_lines.returncode == 0
    assert "spo2_low" in as_lines.stdout
    assert "inside by" in as_lines.stdout
    assert ward(kafka, "why", "nobody", "2026-01-02T08:01:00Z", "--topic", topic).returncode == 3
    assert ward(kafka, "why", "W1-01", "2026-01-02T08:01:00", "--topic", topic).returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "2026-01-02T07:00"), "has no zone"),
        (("--topic", "nowhere"), "no topic nowhere"),
        (("--for", "2h"), "--for needs --from"),
        (("--candidate", "/no/such.toml"), "cannot be read"),
        (("--candidate", "crystal_ball@champion"), "no model crystal_ball"),
        (("--candidate", "vitals_anomaly@0123456789ab"), "no version"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(kafka: str, topic: str, words: tuple[str, ...], said: str) -> None:
    done = ward(kafka, "compare", *(() if "--topic" in words else ("--topic", topic)), *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_span_that_holds_nothing_is_refused(kafka: str, topic: str) -> None:
    done = ward(kafka, "compare", "--topic", topic, "--from", "2027-01-01T00:00Z", "--for", "1h")
    assert done.returncode == 2
    assert "holds nothing in that span" in done.stderr


def test_what_retention_takes_away_meanwhile_is_an_error_and_no_silence(kafka: str, make_topic: MakeTopic) -> None:
    name = make_topic("span", VITALS.partitions, {"message.timestamp.type": "CreateTime", "retention.ms": "-1"})
    fill(kafka, name, 20, ())
    span = survey(kafka, name, None, None, None)
    assert sum(1 for _ in records(kafka, span)) == span.records > 100
    gone = [TopicPartition(name, p, part.stop - 5) for p, part in span.parts.items()]
    admin = AdminClient({"bootstrap.servers": kafka})
    for done in admin.delete_records(gone).values():
        done.result(20)
    with pytest.raises(Transient, match=name):
        list(records(kafka, span))


def test_what_workers_wrote_live_through_rebalances_and_a_kill_is_what_is_decided_anew_and_of_a_replay(
    broker: str, tmp_path: Path
) -> None:
    feeder = Feeder(broker, beds=150, ticks=32)
    with worker(broker, tmp_path) as one:
        one.wait_for("state restored")
        feeder.start()
        with worker(broker, tmp_path, "joins and leaves") as two:
            two.wait_for("state restored")
            assert wait_until(lambda: sum(1 for _ in ledger.read(broker, ALERTS.name)) > 5, 60)
            assert two.end() == 0
        assert wait_until(lambda: one.log.read_text().count("partitions assigned") > 2, 30), "it has them all again"
        one.end(signal.SIGKILL)
    with worker(broker, tmp_path, "after the kill") as three:
        feeder.join()
        log = log_ends(broker)
        assert wait_until(lambda: caught_up(broker, lambda: log), 60)
        assert three.end() == 0
    code, whole = compared(broker)
    assert code == 0
    assert whole["written"]["same"], whole["written"]
    assert whole["champion"]["models"], "the models of the log"
    assert whole["written"]["transitions"] == whole["champion"]["transitions"] > 5
    at = datetime.fromtimestamp(feeder.start_ms / 1000 + 15, UTC).isoformat()
    code, part = compared(broker, "--from", at)
    assert part["span"]["start_state"].startswith("the newest snapshot before the span")
    assert part["span"]["warm_up_records"] < 300
    assert part["written"]["same"], part["written"]
    assert 0 < part["written"]["transitions"] <= whole["written"]["transitions"]
    for of, words in ((whole, ()), (part, ("--from", at))):
        told = replayed(broker, tmp_path, *words)
        assert (told["hash"], told["same_as_live"]) == (of["written"]["hash"], True)
        assert told["models"] == of["champion"]["models"]
        assert told["since"] == of["span"]["start_state"]


def replayed(bootstrap: str, folder: Path, *words: str) -> dict[str, Any]:
    """What a replay of that span of the live log led to, decided as it came."""
    to = f"again_{len(words)}"
    done = ward(
        bootstrap,
        "replay",
        VITALS.name,
        "--to",
        to,
        "--unpaced",
        "--decide",
        "--json",
        *words,
        WARD_STATE_DIR=str(folder),
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["decisions"])


def test_a_span_becomes_a_case_that_passes_and_is_never_written_over(kafka: str, topic: str, tmp_path: Path) -> None:
    file = tmp_path / "minute.case"
    words = ("case", "record", str(file), "--topic", topic, "--from", "2026-01-02T08:00:30Z", "--for", "1m")
    made = ward(kafka, *words, "--about", "a minute", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["transitions"] > 0
    assert file.stat().st_size < 60_000
    assert ward(kafka, "case", "run", str(file)).returncode == 0
    assert ward(kafka, *words).returncode == 2
