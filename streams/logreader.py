"""Reads spans of a topic by offset, beside the consumer group: the gaps that Faust leaves, snapshots, dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from streams.wardlog import LogRecord

POLL_MS: Final = 500
BATCH: Final = 500


class LogReader:
    """One plain consumer without a group, started on first use. Raises KafkaError when the broker is away."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer: Any = None

    async def bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """First offset still there and next offset to be written, per partition."""
        from aiokafka import TopicPartition

        consumer = await self._started()
        wanted = [TopicPartition(topic, p) for p in partitions]
        first = await consumer.beginning_offsets(wanted)
        end = await consumer.end_offsets(wanted)
        return {tp.partition: (first[tp], end[tp]) for tp in wanted}

    async def span(self, topic: str, partition: int, start: int, stop: int) -> AsyncIterator[list[LogRecord]]:
        """The records of [start, stop) in order, in batches; ends when that offset is reached.

        ``stop`` must not lie beyond what is written. Offsets that hold no record are passed over.
        """
        from aiokafka import TopicPartition

        consumer = await self._started()
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        try:
            consumer.seek(tp, start)
            while await consumer.position(tp) < stop:
                fetched = await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=BATCH)
                records = [
                    LogRecord(topic, partition, r.offset, r.timestamp, r.key, r.value)
                    for r in fetched.get(tp, ())
                    if r.offset < stop
                ]
                if records:
                    yield records
        finally:
            consumer.assign([])

    async def close(self) -> None:
        """Leave the broker; the next use starts again."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _started(self) -> Any:
        if self._consumer is None:
            from aiokafka import AIOKafkaConsumer

            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._bootstrap,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=8 * 1024 * 1024,
                request_timeout_ms=10_000,
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer


async def committed(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """By topic and partition, the next offset that this group has committed. Raises KafkaError."""
    from aiokafka.admin import AIOKafkaAdminClient

    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    try:
        await client.start()
        found = await client.list_consumer_group_offsets(group)
    finally:
        await client.close()
    return {(place.topic, place.partition): at.offset for place, at in found.items() if at.offset >= 0}
