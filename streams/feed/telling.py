"""Reads of patients' data, told to the lake: rows of the audit log on their way to the topic ``access_log``.

The audit log on the disk is what counts: it is written before an answer goes out. What goes to the topic goes later,
by itself, and nobody waits for it; while the broker is away rows are kept, and what no longer fits is counted.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from contracts import codec
from contracts.errors import Transient
from contracts.records import SCHEMA_VERSION, Access
from contracts.topology import ACCESS_LOG
from streams.feed.audit import Entry
from streams.feed.producer import started, stopped

log = structlog.get_logger(__name__)

READS: Final = "read_"
"""How the names of routes begin that give out patients' data."""
PICTURES: Final = "read_image"
"""How the names of routes begin that give out images and what was found in them."""
STAFF: Final = frozenset({"read_audit"})
"""What is read there is of staff, not of patients."""
KEPT: Final = 10_000
SEND_LIMIT_S: Final = 10.0
STOP_LIMIT_S: Final = 2.0
BACK_OFF_S: Final = (0.5, 10.0)


def access_of(entry: Entry, at_ms: int) -> Access:
    """The same read as the lake's table of accesses has it."""
    return Access(
        version=SCHEMA_VERSION,
        access_id=uuid.uuid4().hex,
        actor=entry.who,
        role=entry.role,
        action="image" if entry.what.startswith(PICTURES) else "feed",
        target=f"{entry.what} {entry.where}".rstrip(),
        at_ms=at_ms,
        outcome="granted" if entry.outcome == "ok" else "refused",
    )


class Teller:
    """Rows that wait for the broker, in order. ``lost`` is called with how many had to be given up."""

    def __init__(self, bootstrap: str, lost: Callable[[int], None]) -> None:
        self._bootstrap = bootstrap
        self._lost = lost
        self._waiting: deque[Access] = deque()
        self._some = asyncio.Event()
        self._producer: Any = None

    def tell(self, entry: Entry) -> None:
        """Take a row of the audit log that is on the disk; one that is no read of patients' data is left out."""
        if not entry.what.startswith(READS) or entry.what in STAFF:
            return
        if len(self._waiting) >= KEPT:
            self._waiting.popleft()
            self._lost(1)
        self._waiting.append(access_of(entry, time.time_ns() // 1_000_000))
        self._some.set()

    async def run(self) -> None:
        """Bring rows to the broker for ever, through its outages."""
        pause, longest = BACK_OFF_S
        wait = pause
        while True:
            await self._some.wait()
            try:
                await self._bring()
                wait = pause
            except (KafkaError, OSError, TimeoutError, Transient) as away:
                if wait == pause:
                    log.warning("reads of the feed wait for the broker", waiting=len(self._waiting), why=repr(away))
                await self._drop_producer()
                await asyncio.sleep(wait)
                wait = min(wait * 2, longest)

    async def close(self) -> None:
        """Bring what waits if the broker takes it at once; what it does not take is counted as lost."""
        try:
            async with asyncio.timeout(STOP_LIMIT_S):
                await self._bring()
        except (KafkaError, OSError, TimeoutError, Transient) as away:
            log.warning("reads of the feed did not reach the broker", lost=len(self._waiting), why=repr(away))
            self._lost(len(self._waiting))
        await self._drop_producer()

    async def _bring(self) -> None:
        while self._waiting:
            row = self._waiting[0]
            async with asyncio.timeout(SEND_LIMIT_S):
                producer = await self._started()
                await producer.send_and_wait(ACCESS_LOG.name, codec.encode(row), key=row.actor.encode())
            if self._waiting and self._waiting[0] is row:
                self._waiting.popleft()
        self._some.clear()

    async def _started(self) -> Any:
        if self._producer is None:
            self._producer = await started(self._bootstrap)
        return self._producer

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer, STOP_LIMIT_S)
