"""``ward tail``, ``ward acknowledge`` and ``ward dlq`` as a person types them, on a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from contracts import codec
from contracts.records import AlarmState, AlertTransition
from contracts.topology import ALERTS, VITALS, partition_for
from infra.stack import wait_until
from streams import ledger
from tests.integration.streams.live import Feeder, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(200)]


def environ(bootstrap: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("WARD_")} | {"WARD_KAFKA": bootstrap}


def ward(bootstrap: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", *arguments],
        env=environ(bootstrap),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def alarms(bootstrap: str) -> list[AlertTransition]:
    return [codec.decode(r.value, AlertTransition) for r in ledger.read(bootstrap, ALERTS.name)]


def test_an_alarm_is_seen_and_acknowledged_from_the_terminal(broker: str, tmp_path: Path) -> None:
    feeder = Feeder(broker, beds=50, ticks=20)
    with worker(broker, tmp_path) as one:
        one.wait_for("state restored")
        feeder.start()
        assert wait_until(lambda: any(a.state is AlarmState.ACTIVE for a in alarms(broker)), 60)

        seen = ward(broker, "tail", "--from", "beginning", "--limit", "1")
        assert seen.returncode == 0, seen.stderr
        assert any(mark in seen.stdout for mark in ("***", "**", "*", "!"))
        as_json = ward(broker, "tail", "--from", "beginning", "--limit", "1", "--json")
        raised = json.loads(as_json.stdout)
        assert raised["event"] == "raised"
        told = {a.alert_id for a in alarms(broker)}  # in which order partitions are read is nobody's promise
        assert raised["alert_id"] in told
        assert any(alert_id in seen.stdout for alert_id in told)

        alarm = next(a for a in reversed(alarms(broker)) if a.state is AlarmState.ACTIVE)
        done = ward(broker, "acknowledge", alarm.alert_id, "--as", "nurse.kim", "--json")
        assert done.returncode == 0, done.stderr
        action_id = json.loads(done.stdout)["action_id"]
        assert wait_until(lambda: any(a.action_id == action_id for a in alarms(broker)), 30)
        acknowledged = next(a for a in alarms(broker) if a.action_id == action_id)
        assert (acknowledged.event, acknowledged.actor) == ("acknowledged", "nurse.kim")
        feeder.join(60)
        assert one.end() == 0


def test_tail_stops_by_ctrl_c_with_130_and_quietly_when_its_reader_goes(broker: str) -> None:
    tail = [sys.executable, "-m", "infra.cli", "tail", "--from", "beginning"]
    live = subprocess.Popen(tail, env=environ(broker), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert live.stdout is not None
    assert live.stdout.readline()
    live.send_signal(signal.SIGINT)
    _, errors = live.communicate(timeout=20)
    assert live.returncode == 130
    assert "Traceback" not in errors

    piped = subprocess.Popen(
        [*tail, "vitals_scores", "--json"], env=environ(broker), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert piped.stdout is not None
    piped.stdout.readline()
    piped.stdout.close()
    assert piped.wait(30) == 0
    assert piped.stderr is not None
    with piped.stderr:
        assert b"Error" not in piped.stderr.read()


def test_dead_letters_are_listed_shown_and_sent_again(broker: str, tmp_path: Path) -> None:
    frame = b'{"version":1,"ward":"D1","gateway":"g","seq":1,"at_ms":1767340800000,"beds":[]}'
    producer = Producer({"bootstrap.servers": broker})
    home = partition_for("D1", VITALS.partitions)
    producer.produce(VITALS.name, frame.replace(b'"version":1', b'"version":9'), b"D1", home)
    producer.produce(VITALS.name, frame, b"D1", (home + 1) % VITALS.partitions)
    producer.produce(VITALS.name, b"<html>", b"D1", home)
    assert producer.flush(20) == 0
    with worker(broker, tmp_path) as one:
        assert wait_until(lambda: len(ledger.written(broker).letters) >= 3, 60)
        assert one.end() == 0

    listed = json.loads(ward(broker, "dlq", "list", "--json").stdout)
    assert listed["reasons"] == {"unknown_version": 1, "wrong_partition": 1, "not_json": 1}
    n = next(row["n"] for row in listed["letters"] if row["reason"] == "unknown_version")
    shown = ward(broker, "dlq", "show", str(n))
    assert '"version":9' in shown.stdout
    before = sum(1 for _ in ledger.read(broker, VITALS.name))
    dry = ward(broker, "dlq", "redrive", "--all", "--dry-run", "--json")
    assert dry.returncode == 6
    assert json.loads(dry.stdout) | {"letters": []} == {
        "chosen": 3,
        "ready": 1,
        "sent": 0,
        "dry_run": True,
        "letters": [],
    }
    assert ward(broker, "dlq", "redrive", "--reason", "wrong_partition").returncode == 0
    assert ward(broker, "dlq", "redrive", "--offset", str(n), "--fix", "version=1").returncode == 0
    again = list(ledger.read(broker, VITALS.name))
    assert len(again) == before + 2
    assert [r.value for r in again if r.key == b"D1" and r.partition == home].count(frame) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("tail", "alert"), 2, "alerts"),
        (("tail", "--severity", "loud"), 2, "high, medium or low"),
        (("tail", "--from", "yesterday"), 2, "now or beginning"),
        (("acknowledge", "no-such-alarm", "--as", "nurse.kim"), 3, "no alarm"),
        (("dlq", "show", "999999"), 3, "no dead letter"),
        (("dlq", "redrive"), 2, "--reason"),
        (("dlq", "redrive", "--all", "--reason", "not_json"), 2, "--reason"),
        (("dlq", "redrive", "--offset", "999999"), 3, "no such dead letter"),
    ],
)
def test_wrong_use_is_one_line_with_the_fix(broker: str, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = ward(broker, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("tail",), ("dlq", "list"), ("acknowledge", "x", "--as", "y")])
def test_without_a_broker_every_command_says_so_and_exits_4(arguments: tuple[str, ...]) -> None:
    done = ward("127.0.0.1:1", *arguments)
    assert done.returncode == 4
    assert "no Kafka broker" in done.stderr
    assert "Traceback" not in done.stderr
