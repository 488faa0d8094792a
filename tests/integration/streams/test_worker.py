"""The worker as a process on a real broker: restarts, rebalances, gaps, limits and signals."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer

from contracts import codec
from contracts.records import ActionKind, AlarmState, AlertAction, AlertTransition, DeadLetter
from contracts.topology import ALERT_ACTIONS, VITALS
from infra.stack import wait_until
from models.ward.core import WardCore
from models.ward.policy import load_policy
from streams import ledger
from tests.integration.streams.live import Feeder, WorkerProcess, caught_up, log_ends, models_in, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

READY = "state restored"
QUICK = {"WARD_SNAPSHOT_EVERY_S": "1"}


def agree(bootstrap: str) -> ledger.Ledger:
    ours, theirs, difference = ledger.audit(bootstrap, WardCore(load_policy(None)), models_in())
    assert ours.transitions, "the log must lead to alarms, else nothing is shown"
    assert difference.none, difference
    return theirs


def settle(bootstrap: str) -> None:
    ends = log_ends(bootstrap)
    assert wait_until(lambda: caught_up(bootstrap, lambda: ends), 60), (ends, ledger.cuts(bootstrap))


def test_a_killed_worker_goes_on_from_its_cut_and_the_ledger_is_what_the_log_says(broker: str, tmp_path: Path) -> None:
    feeder = Feeder(broker, beds=200, ticks=20, past=True)
    with worker(broker, tmp_path, **QUICK) as first:
        first.wait_for(READY)
        feeder.start()
        feeder.at(8)
        first.end(signal.SIGKILL)
        with worker(broker, tmp_path, "again", **QUICK) as again:
            again.wait_for(READY)
            feeder.join(90)
            settle(broker)
            assert again.end() == 0
    agree(broker)


def test_two_workers_share_the_partitions_and_the_one_left_takes_all(broker: str, tmp_path: Path) -> None:
    feeder = Feeder(broker, beds=300, ticks=25)
    with worker(broker, tmp_path, "one", **QUICK) as one:
        one.wait_for(READY)
        feeder.start()
        feeder.at(5)
        with worker(broker, tmp_path, "two", **QUICK) as two:
            two.wait_for(READY)
            feeder.at(14)
            two.end(signal.SIGKILL)
        feeder.join(90)
        settle(broker)
        assert one.end() == 0
    agree(broker)


def test_a_worker_that_leaves_in_good_order_hands_over_without_repeating_much(broker: str, tmp_path: Path) -> None:
    before = ledger.written(broker).repeats
    feeder = Feeder(broker, beds=100, ticks=20)
    with worker(broker, tmp_path, "one", **QUICK) as one:
        one.wait_for(READY)
        feeder.start()
        feeder.at(9)
        assert one.end() == 0
        with worker(broker, tmp_path, "two", **QUICK) as two:
            feeder.join(60)
            settle(broker)
            assert two.end() == 0
    assert agree(broker).repeats - before <= 20


def test_a_worker_without_its_snapshots_builds_the_same_state_from_the_log(fresh_broker: str, tmp_path: Path) -> None:
    feeder = Feeder(fresh_broker, beds=100, ticks=24)
    with worker(fresh_broker, tmp_path, "one", WARD_SNAPSHOT_EVERY_S="600") as one:
        one.wait_for(READY)
        feeder.start()
        feeder.join(60)
        one.end(signal.SIGKILL)
    assert ledger.cuts(fresh_broker) == {}
    with worker(fresh_broker, tmp_path, "two", **QUICK) as two:
        two.wait_for("gap read from the log")
        settle(fresh_broker)
        assert two.end() == 0
    agree(fresh_broker)


def test_sigterm_ends_a_worker_at_once_even_while_it_is_still_joining(broker: str, tmp_path: Path) -> None:
    with worker(broker, tmp_path, "one") as one:
        one.wait_for(READY)
        one.end(signal.SIGKILL)  # the group now waits for a member that is gone
    with worker(broker, tmp_path, "two") as two:
        two.wait_for("worker starts")
        assert two.end(within_s=10) == 0


def test_actions_of_people_reach_the_alarm_once_and_bad_ones_the_dead_letters(broker: str, tmp_path: Path) -> None:
    feeder = Feeder(broker, beds=50, ticks=20)
    with worker(broker, tmp_path, **QUICK) as one:
        one.wait_for(READY)
        feeder.start()
        assert wait_until(lambda: bool(open_alarms(broker, feeder.start_ms)), 60)
        raised = open_alarms(broker, feeder.start_ms)[0]
        action = AlertAction(
            version=1,
            action_id="only-once",
            ward=raised.ward,
            bed=raised.bed,
            kind=ActionKind.NOTE,
            alert_id=raised.alert_id,
            actor="nurse.kim",
            role="nurse",
            at_ms=feeder.start_ms,
            text="seen",
        )
        producer = Producer({"bootstrap.servers": broker})
        for value in (codec.encode(action), codec.encode(action), b"?"):
            producer.produce(ALERT_ACTIONS.name, value, raised.ward.encode())
        assert producer.flush(20) == 0
        feeder.join(60)
        settle(broker)
        assert one.end() == 0
    notes = [t for t in map(_transition, ledger.written(broker).transitions.values()) if t.action_id == "only-once"]
    assert [note.alert_id for note in notes] == [raised.alert_id]
    assert [letter.reason for letter in _letters(broker)] == ["not_json"]
    agree(broker)


def open_alarms(bootstrap: str, since_ms: int) -> list[AlertTransition]:
    """Alarms raised since then and not over, oldest first."""
    latest: dict[str, AlertTransition] = {}
    for transition in map(_transition, ledger.written(bootstrap).transitions.values()):
        if transition.onset_ms >= since_ms:
            latest[transition.alert_id] = transition
    return [t for t in latest.values() if t.state is AlarmState.ACTIVE]


def _transition(raw: bytes) -> AlertTransition:
    return codec.decode(raw, AlertTransition)


def _letters(broker: str) -> list[DeadLetter]:
    return [codec.decode(raw, DeadLetter) for raw in ledger.written(broker).letters.values()]


def test_too_many_unreadable_records_in_a_row_end_the_worker_with_1(fresh_broker: str, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": fresh_broker})
    for _ in range(40):
        producer.produce(VITALS.name, b"?", b"W1", partition=3)
    assert producer.flush(20) == 0
    with worker(fresh_broker, tmp_path, WARD_POISON_LIMIT="30") as one:
        assert one.process.wait(60) == 1
        assert one.said("30 unreadable records in a row")
    assert len(ledger.written(fresh_broker).letters) == 30


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("WARD_POLICY", "/no/such/policy.toml", "policy"),
        ("WARD_SNAPSHOT_EVERY", "5", "WARD_SNAPSHOT_EVERY_S"),
        ("WARD_LOG_LEVEL", "LOUD", "WARD_LOG_LEVEL"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_2(
    kafka_with_topics: str, tmp_path: Path, setting: str, value: str, says: str
) -> None:
    one = WorkerProcess(kafka_with_topics, tmp_path, **{setting: value})
    assert one.process.wait(30) == 2
    lines = one.log.read_text().splitlines()
    assert len(lines) == 1
    assert says in lines[0]


def test_a_broker_that_never_answers_is_exit_4(tmp_path: Path) -> None:
    one = WorkerProcess("127.0.0.1:1", tmp_path)
    assert one.process.wait(60) == 4
    assert "no Kafka broker" in one.log.read_text()
