"""``ward policy sweep`` as a person types it, over a topic of a real broker."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from contracts.topology import VITALS
from models.ward.policy import load_policy
from streams.compare.sides import Side, decided
from streams.compare.span import records, survey
from tests.conftest import MakeTopic
from tests.integration.streams.test_compare import fill, ward
from tests.unit.streams.compare.logs import hospital

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(200)]
SECONDS = 150
GRID = b"""
[all]
limits_percent = [0, 10]
delay_s = [0, 5, 20]
latch = [[], ["high"]]
"""


@pytest.fixture(scope="module")
def topic(kafka: str, make_topic: MakeTopic) -> str:
    """A topic with some minutes of simulated wards, with the times of its records set by us."""
    name = make_topic("sweep", VITALS.partitions, {"message.timestamp.type": "CreateTime", "retention.ms": "-1"})
    fill(kafka, name, SECONDS, ())
    return name


def test_a_topic_is_swept_in_two_processes_and_the_policy_that_is_taken_alarms_as_was_said(
    kafka: str, topic: str, tmp_path: Path
) -> None:
    grid, taken, page, truth = (tmp_path / name for name in ("grid.toml", "next.toml", "sweep.html", "truth.ndjson"))
    grid.write_bytes(GRID)
    truth.write_bytes(b"\n".join(map(msgspec.json.encode, hospital().truth(SECONDS))))
    done = ward(
        kafka,
        *("policy", "sweep", "--topic", topic, "--grid", str(grid), "--truth", str(truth)),
        *("--write", str(taken), "--html", str(page), "--json"),
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told["policies"]) == 13
    assert (told["span"]["beds"], told["truth"]["events"]) == (12, 3)
    assert "SYNTHETIC" in told["truth"]["what"]
    assert page.read_text().startswith("<!doctype html>")
    policy = load_policy(taken)
    one = told["policies"][told["picked"]]
    assert policy.hash == one["hash"]
    span = survey(kafka, topic, None, None, 0.0)
    (side,) = decided(records(kafka, span), span, [Side("taken", policy)], None)
    raised = [a for a in side.book.alerts.values() if a.episode.condition in one["by_condition"] and a.raised_ms]
    assert len(raised) == one["alarms"]


def test_what_is_not_there_is_told_by_the_exit_code(kafka: str, topic: str, tmp_path: Path) -> None:
    sweep = ("policy", "sweep", "--delays", "5")
    assert ward(kafka, *sweep, "--topic", "no_such_topic").returncode == 3
    assert ward("127.0.0.1:1", *sweep, "--topic", topic).returncode == 4
    bad = tmp_path / "bad.toml"
    bad.write_text("[all]\ndelay = [5]\n")
    refused = ward(kafka, "policy", "sweep", "--topic", topic, "--grid", str(bad))
    assert refused.returncode == 5
    assert "$.all" in refused.stderr
    assert ward(kafka, *sweep, "--topic", topic, "--from", "2026-01-02T08:00:00").returncode == 2
