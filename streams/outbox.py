"""Everything the worker writes goes through here: in order, acknowledged, and no failure goes unseen."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import structlog

from contracts.errors import Transient

log = structlog.get_logger(__name__)

IN_FLIGHT: Final = 2_000
"""More unacknowledged records than this make the sender wait."""
PATIENCE_S: Final = (0.05, 2.0)

Lane = int | str


class Producer(Protocol):
    """Faust's producer, as far as it is used."""

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
    ) -> Awaitable[Any]: ...


class Outbox:
    """Sends records without waiting for each, and knows which are not acknowledged yet.

    A ``lane`` groups what belongs together (the source partition): a snapshot of it may only be written once
    ``settled(lane)`` has come back. The client itself sends again for minutes while a broker is away; a record that it
    gives up is a failure that stops the worker (``on_failure``), which then starts again from its last cut.
    """

    def __init__(self, producer: Callable[[], Producer], on_failure: Callable[[str], None]) -> None:
        self._producer = producer
        self._on_failure = on_failure
        self._waiting: defaultdict[Lane, set[asyncio.Future[Any]]] = defaultdict(set)
        self._in_flight = 0
        self.failure: BaseException | None = None

    async def put(
        self,
        lane: Lane,
        topic: str,
        key: bytes | None,
        value: bytes,
        partition: int | None = None,
        acked: Callable[[Any], None] | None = None,
    ) -> None:
        """Hand one record to the client; ``acked`` is called with its metadata. Waits while too much is in flight.

        Raises Transient once a record was given up.
        """
        if self._in_flight >= IN_FLIGHT:
            await self._room()
        future = asyncio.ensure_future(await self._send(topic, key, value, partition))
        waiting = self._waiting[lane]
        waiting.add(future)
        self._in_flight += 1

        def done(settled: asyncio.Future[Any]) -> None:
            waiting.discard(settled)
            self._in_flight -= 1
            if settled.cancelled():
                return
            failure = settled.exception()
            if failure is not None:
                self._fail(topic, failure)
            elif acked is not None:
                acked(settled.result())

        future.add_done_callback(done)

    async def settled(self, lane: Lane) -> None:
        """Come back when everything put into ``lane`` so far is acknowledged. Raises Transient if some of it failed."""
        waiting = tuple(self._waiting[lane])
        if waiting:
            await asyncio.wait(waiting)
        if self.failure is not None:
            raise Transient(f"a record could not be written: {self.failure}")

    async def drained(self) -> None:
        """As ``settled``, of every lane."""
        for lane in tuple(self._waiting):
            await self.settled(lane)

    async def _room(self) -> None:
        waiting = [future for lane in self._waiting.values() for future in lane]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    async def _send(self, topic: str, key: bytes | None, value: bytes, partition: int | None) -> Awaitable[Any]:
        from faust.exceptions import ProducerSendError

        pause, longest = PATIENCE_S
        while self.failure is None:
            try:
                return await self._producer().send(topic, key, value, partition, None, None)
            except ProducerSendError as wrong:
                cause = wrong.__cause__
                if not getattr(cause, "retriable", False):
                    self._fail(topic, cause or wrong)
                    break
                log.warning("waiting for the broker", topic=topic, failure=str(cause))
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
        raise Transient(f"a record could not be written: {self.failure}")

    def _fail(self, topic: str, failure: BaseException) -> None:
        if self.failure is None:
            self.failure = failure
            self._on_failure(f"a record for {topic} could not be written: {failure!r}")
