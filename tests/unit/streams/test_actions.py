"""Actions of people: checked, put into their ward's log, or set aside."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contracts import codec
from contracts.errors import Poison
from contracts.records import ActionKind, AlertAction, VitalsFrame
from contracts.topology import ALERT_ACTIONS, DEAD_LETTERS, VITALS, partition_for
from streams.agents.actions import ActionsShell, frame_of
from streams.wardlog import LogRecord
from tests.unit.streams.memory import START_MS, MemoryBroker, Worker

ACTION = AlertAction(
    version=1,
    action_id="a-1",
    ward="W3",
    bed="W3-01",
    kind=ActionKind.ACKNOWLEDGE,
    actor="nurse.kim",
    role="nurse",
    at_ms=START_MS,
    alert_id="feed",
)


def record(value: bytes | None, offset: int = 4) -> LogRecord:
    return LogRecord(ALERT_ACTIONS.name, 2, offset, START_MS, b"W3", value)


def test_the_same_action_gives_the_same_frame() -> None:
    frame = frame_of(record(codec.encode(ACTION)))
    assert frame.ward == "W3"
    assert frame.actions == (ACTION,)
    assert frame.beds == ()
    assert codec.encode(frame) == codec.encode(frame_of(record(codec.encode(ACTION))))


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"kind": "delete"}, "wrong_type", "$.kind"),
        ({"ward": ""}, "bad_name", "$.ward"),
        ({"ward": "~clock"}, "reserved_ward", "$.ward"),
        ({"action_id": "x" * 200}, "bad_name", "$.action_id"),
        ({"actor": "a\nb"}, "bad_name", "$.actor"),
        ({"at_ms": 5}, "bad_time", "$.at_ms"),
        ({"pause_s": 0}, "bad_value", "$.pause_s"),
        ({"text": "x" * 3000}, "too_large", "$.text"),
        ({"version": 9}, "unknown_version", "$.version"),
    ],
)
def test_a_bad_action_is_named_by_reason_and_field(changes: dict[str, Any], reason: str, field: str) -> None:
    raw = msgspec.json.encode({**msgspec.to_builtins(ACTION), **changes})
    with pytest.raises(Poison) as poison:
        frame_of(record(raw))
    assert (poison.value.reason, poison.value.field) == (reason, field)


@pytest.mark.asyncio
async def test_a_good_action_reaches_its_wards_log_and_a_bad_one_the_dead_letters() -> None:
    broker = MemoryBroker()
    worker = Worker(broker)
    shell = ActionsShell(worker.outbox, worker.metrics, worker.halts.append)
    await shell.handle(record(codec.encode(ACTION)))
    await shell.handle(record(b"?", offset=5))
    (forwarded,) = broker.log(partition_for("W3", VITALS.partitions))
    assert codec.decode(forwarded.value, VitalsFrame).actions == (ACTION,)
    (letter,) = broker.letters()
    assert (letter.source.topic, letter.source.offset, letter.reason) == (ALERT_ACTIONS.name, 5, "not_json")
    assert broker.topics[DEAD_LETTERS.name, 0][0].key == ALERT_ACTIONS.name.encode()
    assert worker.halts == []
