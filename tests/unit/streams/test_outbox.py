"""The outbox: order, back-pressure, and no failure unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError, NotLeaderForPartitionError
from faust.exceptions import ProducerSendError

from contracts.errors import Transient
from streams import outbox as module
from streams.outbox import Outbox

pytestmark = pytest.mark.asyncio


class Slow:
    """A producer whose acknowledgements the test gives; refuses while ``refusals`` last."""

    def __init__(self) -> None:
        self.sent: list[bytes | None] = []
        self.futures: list[asyncio.Future[str]] = []
        self.refusals: list[Exception] = []

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> Awaitable[Any]:
        if self.refusals:
            raise ProducerSendError("refused") from self.refusals.pop(0)
        self.sent.append(value)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        return future


async def test_a_lane_is_settled_when_all_its_records_are_acknowledged() -> None:
    producer = Slow()
    outbox = Outbox(lambda: producer, lambda reason: None)
    acked: list[str] = []
    await outbox.put(1, "t", None, b"a", acked=acked.append)
    await outbox.put(2, "t", None, b"b")
    settled = asyncio.ensure_future(outbox.settled(1))
    await asyncio.sleep(0)
    assert not settled.done()
    producer.futures[0].set_result("metadata")
    await settled
    assert acked == ["metadata"]
    producer.futures[1].set_result("")
    await outbox.drained()


async def test_a_record_that_was_given_up_stops_the_worker_and_no_lane_settles() -> None:
    producer, reasons = Slow(), list[str]()
    outbox = Outbox(lambda: producer, reasons.append)
    await outbox.put(1, "alerts", None, b"a")
    producer.futures[0].set_exception(NotLeaderForPartitionError())
    with pytest.raises(Transient):
        await outbox.settled(1)
    assert len(reasons) == 1
    with pytest.raises(Transient):
        await outbox.put(1, "alerts", None, b"b")


async def test_a_broker_that_is_away_is_waited_for_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", (0.001, 0.002))
    producer = Slow()
    producer.refusals = [NotLeaderForPartitionError(), NotLeaderForPartitionError()]
    outbox = Outbox(lambda: producer, lambda reason: None)
    await outbox.put(1, "t", None, b"a")
    await outbox.put(1, "t", None, b"b")
    assert producer.sent == [b"a", b"b"]
    for future in producer.futures:
        future.set_result("")
    await outbox.settled(1)


async def test_a_record_that_no_broker_would_take_is_a_failure_at_once() -> None:
    producer, reasons = Slow(), list[str]()
    producer.refusals = [MessageSizeTooLargeError()]
    outbox = Outbox(lambda: producer, reasons.append)
    with pytest.raises(Transient):
        await outbox.put(1, "t", None, b"a")
    assert len(reasons) == 1


async def test_too_much_in_flight_makes_the_sender_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_FLIGHT", 2)
    producer = Slow()
    outbox = Outbox(lambda: producer, lambda reason: None)
    await outbox.put(1, "t", None, b"a")
    await outbox.put(1, "t", None, b"b")
    third = asyncio.ensure_future(outbox.put(1, "t", None, b"c"))
    await asyncio.sleep(0)
    assert producer.sent == [b"a", b"b"]
    producer.futures[0].set_result("")
    await third
    assert producer.sent == [b"a", b"b", b"c"]
    for future in producer.futures[1:]:
        future.set_result("")
    await outbox.drained()
