"""A producer of the feed: started whole or not at all, stopped without waiting for a broker that is away."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts import codec
from contracts.errors import Transient
from contracts.records import Record
from contracts.topology import Topic

ACK_LIMIT_S: Final = 6.0


class Writer:
    """Writes records that somebody waits for, one at a time, each acknowledged or not told."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: Any = None
        self._starting = asyncio.Lock()

    async def write(self, topic: Topic[Any], key: str, record: Record) -> None:
        """Return after the broker's acknowledgement. Raises Transient when it does not come in time."""
        try:
            async with asyncio.timeout(ACK_LIMIT_S):
                producer = await self._started()
                await producer.send_and_wait(topic.name, codec.encode(record), key=key.encode())
        except (KafkaError, OSError, TimeoutError) as away:
            raise Transient(f"the log did not acknowledge within {ACK_LIMIT_S:.0f} s: {away!r}") from away

    async def close(self) -> None:
        """Stop the producer without waiting for a broker that does not answer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer, 1.0)

    async def _started(self) -> Any:
        async with self._starting:
            if self._producer is None:
                self._producer = await started(self._bootstrap, retry_backoff_ms=200)
            return self._producer


async def started(bootstrap: str, **settings: Any) -> Any:
    """A started producer that waits for every replica. What stops the start leaves nothing open."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", request_timeout_ms=5_000, **settings)
    try:
        await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer


async def stopped(producer: Any, limit_s: float) -> None:
    """Stop it, at the latest after so long."""
    try:
        async with asyncio.timeout(limit_s):
            await producer.stop()
    except (TimeoutError, KafkaError):
        return
