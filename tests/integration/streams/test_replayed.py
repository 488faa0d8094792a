"""A replay decided as it comes, on a real broker: what a comparison finds, once, whatever was killed when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import codec
from contracts.records import (
    SCHEMA_VERSION,
    AlarmEvent,
    AlarmState,
    AlertTransition,
    Category,
    Priority,
    SourceOffset,
)
from contracts.replays import DECIDED, decided, decisions
from contracts.topology import ALERTS, SCORES, VITALS, partition_for
from infra.stack import wait_until
from producers.replay import topics
from producers.replay.topics import Found
from streams import ledger
from streams.compare.episodes import Book
from streams.compare.span import ends
from streams.outgoing import outgoing
from streams.outlet import Outlet
from streams.wardlog import Effects, LogRecord
from tests.conftest import MakeTopic
from tests.integration.producers.replay_logs import Started, environment, starting
from tests.integration.streams.test_compare import compared, fill, stricter_in, ward

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(200)]
SECONDS = 90


@pytest.fixture(scope="module")
def topic(kafka: str, make_topic: MakeTopic) -> str:
    """Some minutes of simulated wards, with the times of its records set by us."""
    name = make_topic("decided", VITALS.partitions, {"message.timestamp.type": "CreateTime", "retention.ms": "-1"})
    fill(kafka, name, SECONDS, ())
    return name


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> str:
    """A policy file that wants more saturation."""
    return stricter_in(tmp_path_factory.mktemp("policy"), checkout)


@pytest.fixture(scope="module")
def sides(kafka: str, topic: str, strict: str) -> dict[str, Any]:
    """What a comparison finds in the whole of it, under the policy in force and under the stricter one."""
    return compared(kafka, "--topic", topic, "--candidate", strict)[1]


@pytest.fixture
def usual(sides: dict[str, Any]) -> dict[str, Any]:
    """Under the policy in force."""
    return dict(sides["champion"])


@pytest.fixture
def again() -> str:
    """A name that no topic has."""
    return f"again_{os.getpid()}_{time.monotonic_ns()}"


@pytest.fixture
def begun(kafka: str, tmp_path: Path) -> Iterator[Started]:
    """Begins ``ward ...``; what still runs after the test is killed."""
    with starting(kafka, tmp_path) as start:
        yield start


def book_of(kafka: str, replay: str) -> tuple[Book, int]:
    """What the replay's own alarms tell, and how many records told it."""
    book, count = Book(), 0
    for record in ledger.read(kafka, decided(replay, ALERTS)):
        book.add(codec.decode(record.value, AlertTransition))
        assert record.key is not None
        assert record.partition == partition_for(record.key.decode(), ALERTS.partitions)
        count += 1
    return book, count


def test_it_is_decided_as_a_comparison_decides_it_and_by_another_policy_otherwise(
    kafka: str, topic: str, sides: dict[str, Any], strict: str, again: str, tmp_path: Path
) -> None:
    usual = sides["champion"]
    done = ward(kafka, "replay", topic, "--to", again, "--unpaced", "--decide", "--json", WARD_STATE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["decisions"]
    assert (told["hash"], told["transitions"], told["over"]) == (usual["hash"], usual["transitions"], True)
    assert told["same_as_live"] is None
    assert told["since"].startswith("nothing: the log begins")
    book, count = book_of(kafka, again)
    assert (book.hash(), count) == (usual["hash"], usual["transitions"])
    scores = list(ledger.read(kafka, decided(again, SCORES)))
    assert scores
    for record in scores:
        assert record.key is not None
        assert record.partition == partition_for(record.key.decode(), SCORES.partitions)
    assert "Decisions" in (tmp_path / "replays" / again / "report.html").read_text()

    words = ("replay", "decide", again, "--policy", strict, "--json")
    done = ward(kafka, *words, WARD_STATE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    other = json.loads(done.stdout)
    assert other["hash"] == sides["candidate"]["hash"] != usual["hash"]
    assert book_of(kafka, again)[0].hash() == other["hash"]

    done = ward(kafka, "replay", "clean", again, "--yes", "--json", WARD_STATE_DIR=str(tmp_path))
    assert set(json.loads(done.stdout)["topics"]) == {again, *(decided(again, one) for one in DECIDED)}


def test_killed_with_the_replay_it_goes_on_where_it_was_when_that_is_resumed(
    kafka: str, topic: str, usual: dict[str, Any], again: str, tmp_path: Path, begun: Started
) -> None:
    going, place = begun("replay", topic, "--to", again, "--speed", "50", "--decide"), tmp_path / "replays" / again
    assert wait_until(lambda: written(kafka, again) > 20, 40)
    decider = decider_of(going)
    going.send_signal(signal.SIGKILL)
    going.wait(20)
    assert wait_until(lambda: not Path(f"/proc/{decider}").exists(), 20), "it ends with who began it"
    half = decisions(place)
    assert half is not None
    assert not half.over
    done = ward(kafka, "replay", "--to", again, "--resume", "--json", WARD_STATE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["decisions"]
    assert (told["hash"], told["over"]) == (usual["hash"], True)
    assert told["records"] > half.records
    book, count = book_of(kafka, again)
    assert (book.hash(), count) == (usual["hash"], usual["transitions"])


def test_a_decider_killed_and_begun_again_doubles_nothing(
    kafka: str, topic: str, usual: dict[str, Any], again: str, tmp_path: Path, begun: Started
) -> None:
    going = begun("replay", topic, "--to", again, "--speed", "50", "--decide")
    assert wait_until(lambda: written(kafka, again) > 20, 40)
    os.kill(decider_of(going), signal.SIGKILL)
    there = written(kafka, again)
    _, chatter = going.communicate(timeout=60)
    assert going.returncode == 1, chatter
    assert f"`ward replay decide {again}`" in chatter
    environ = environment(kafka, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "streams.replayed", again], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told = decisions(tmp_path / "replays" / again)
    assert told is not None
    assert (told.hash, told.over, told.transitions) == (usual["hash"], True, usual["transitions"])
    assert book_of(kafka, again)[1] == usual["transitions"]
    assert written(kafka, again) > there


def test_what_partitions_led_to_is_known_again_although_they_took_other_turns(kafka: str, again: str) -> None:
    topics.make(kafka, {decided(again, one): Found(one.name, "", one.partitions, {}) for one in DECIDED})
    words = [(partition, transition_of(partition, n)) for n in range(20) for partition in range(3)]
    first = Outlet(kafka, again, resumed=False)
    for partition, transition in words[:35]:
        put(first, partition, transition)
    first.flush()
    second = Outlet(kafka, again, resumed=True)
    assert second.left_out == 35
    for partition, transition in sorted(words, key=lambda word: -word[0]):
        put(second, partition, transition)
    second.check()
    keys = [record.key for record in ledger.read(kafka, decided(again, ALERTS))]
    assert sorted(map(str, keys)) == sorted(str(one.alert_id.encode()) for _, one in words)


def transition_of(partition: int, number: int) -> AlertTransition:
    """An alarm of a record in that partition."""
    return AlertTransition(
        version=SCHEMA_VERSION,
        alert_id=f"{partition}-{number}",
        seq=0,
        ward=f"W{partition}",
        bed="1",
        patient="p",
        condition="spo2_low",
        category=Category.PHYSIOLOGICAL,
        priority=Priority.LOW,
        event=AlarmEvent.RAISED,
        state=AlarmState.ACTIVE,
        at_ms=number,
        onset_ms=number,
        message="low",
        source=SourceOffset(topic=VITALS.name, partition=partition, offset=number),
        policy="p",
    )


def put(outlet: Outlet, partition: int, transition: AlertTransition) -> None:
    """As the decider does."""
    record = LogRecord(VITALS.name, partition, transition.source.offset, 0, b"W", b"")
    for out in outgoing(record, Effects("readings", transitions=[transition])):
        outlet.put(partition, out)


def test_what_cannot_be_decided_is_refused_and_nothing_is_made(
    kafka: str, topic: str, again: str, tmp_path: Path
) -> None:
    state = {"WARD_STATE_DIR": str(tmp_path)}
    for words, says in (
        (("--policy", "/no/such.toml"), "cannot be read"),
        (("--model", "crystal_ball@champion"), "no model crystal_ball"),
    ):
        done = ward(kafka, "replay", topic, "--to", again, *words, **state)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert ward(kafka, "replay", "decide", again, **state).returncode == 3
    assert not topics.find(kafka, [again, *(decided(again, one) for one in DECIDED)])


def decider_of(replay: subprocess.Popen[str]) -> int:
    """The process that decides beside that replay."""
    (child,) = Path(f"/proc/{replay.pid}/task/{replay.pid}/children").read_text().split()
    return int(child)


def written(kafka: str, replay: str) -> int:
    """How many records of decisions there are; 0 before there is a topic for them."""
    names = [decided(replay, one) for one in DECIDED]
    return sum(sum(ends(kafka, name).values()) for name in topics.find(kafka, names))
