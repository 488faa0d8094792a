"""``ward simulate`` and ``ward play`` as a person types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from producers.scenario import Kind, Truth

START_MS = 1_767_340_800_000


def ward(*arguments: str, kafka: str = "127.0.0.1:1") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", *arguments],
        env={k: v for k, v in os.environ.items() if not k.startswith("WARD_")} | {"WARD_KAFKA": kafka},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_begins_with_examples() -> None:
    for command in ("simulate", "play"):
        done = ward(command, "--help")
        assert done.returncode == 0
        assert done.stdout.index("Examples") < done.stdout.index("Options")
        assert "--json" in done.stdout


def test_stays_are_listed_without_a_broker() -> None:
    done = ward("play", "--list", "--json")
    rows = json.loads(done.stdout)
    assert len(rows) == 13
    assert rows[0]["stay"] == "eicu-01"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["play", "nowhere"], 2, "samples, eicu, mimic, challenge2012"),
        (["play", "--stay", "eicu-99"], 3, "--list"),
        (["play", "eicu"], 2, "WARD_DATA_DIR"),
        (["play", "--between", "guess"], 2, "hold or interpolate"),
        (["play", "--speed", "-1"], 2, "--speed"),
        (["simulate", "--script", "nowhere.toml"], 2, "nowhere.toml"),
        (["simulate", "--beds", "0"], 2, "--beds"),
        (["simulate", "--truth", "/no/such/folder/truth.ndjson"], 2, "--truth"),
    ],
)
def test_a_mistake_is_named_with_its_exit_code(arguments: list[str], code: int, named: str) -> None:
    done = ward(*arguments)
    assert done.returncode == code, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_no_broker_is_exit_code_4() -> None:
    done = ward("play", "--ticks", "1")
    assert done.returncode == 4
    assert "WARD_KAFKA" in done.stderr


@pytest.mark.kafka
def test_simulate_delivers_and_writes_the_truth(kafka_with_topics: str, tmp_path: Path) -> None:
    truth = tmp_path / "truth.ndjson"
    done = ward(
        "simulate", "--beds", "24", "--ticks", "30", "--unpaced", "--start-ms", str(START_MS), "--truth", str(truth),
        "--json", kafka=kafka_with_topics,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["ticks"], summary["frames"], summary["delivered"], summary["failed"]) == (30, 31, 31, 0), (
        "a frame a tick, and one of the past"
    )
    events = [msgspec.json.decode(line, type=Truth) for line in truth.read_bytes().splitlines()]
    assert len(events) == summary["truth_events"]
    assert events[0].start_ms == START_MS
    assert Kind.DESATURATION in {event.kind for event in events}


@pytest.mark.kafka
def test_play_delivers_the_sample(kafka_with_topics: str) -> None:
    done = ward("play", "--ticks", "20", "--unpaced", "--json", kafka=kafka_with_topics)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["delivered"] == 20
    assert summary["readings"] > 20 * 8 * 3


@pytest.mark.kafka
def test_ctrl_c_ends_in_order_with_130(kafka_with_topics: str) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "play", "--json"],
        env=os.environ | {"WARD_KAFKA": kafka_with_topics},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    assert any("playing" in line for line in started.stderr)
    started.send_signal(signal.SIGINT)
    out, chatter = started.communicate(timeout=30)
    assert started.returncode == 130, chatter
    assert json.loads(out)["undelivered"] == 0
