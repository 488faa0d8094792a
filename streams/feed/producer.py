"""A producer of the feed: started whole or not at all, stopped without waiting for a broker that is away."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError


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
