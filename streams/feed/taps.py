"""Reading topics without a consumer group: every partition, from chosen places, again and again through outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from contracts.errors import Transient
from contracts.records import AlertTransition, ScoreFrame, VitalsForecast
from contracts.topology import ALERTS, FORECASTS, SCORES, Topic

log = structlog.get_logger(__name__)

Where = Callable[[Any, list[TopicPartition]], Awaitable[dict[int, int]]]
"""Given a started consumer and the partitions, the offset to start at in each."""


class Read(NamedTuple):
    """The topics that a wall is made of."""

    alerts: Topic[AlertTransition]
    scores: Topic[ScoreFrame]
    forecasts: Topic[VitalsForecast]


LIVE: Final = Read(ALERTS, SCORES, FORECASTS)

PROBE_EVERY_S: Final = 2.0
PROBE_LIMIT_S: Final = 4.0
_stopping: Final[set[asyncio.Task[None]]] = set()
START_LIMIT_S: Final = 15.0
STOP_LIMIT_S: Final = 3.0
BACK_OFF_S: Final = (0.2, 0.5, 1.0, 2.0)
REREAD_BATCH: Final = 500


@asynccontextmanager
async def consumer(bootstrap: str) -> AsyncIterator[Any]:
    """A started consumer without a group. Raises Transient when the broker does not answer."""
    made = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=10_000,
        retry_backoff_ms=200,
        metadata_max_age_ms=30_000,
        max_partition_fetch_bytes=4 << 20,
    )
    try:
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await made.start()
        except (KafkaError, OSError, TimeoutError) as away:
            raise Transient(f"Kafka at {bootstrap} does not answer: {away!r}") from away
        yield made
    finally:
        await _stop(made)


async def _stop(made: Any) -> None:
    """Stop a consumer, in a task of its own: with its broker away the client may take no cancellation and never end."""
    stopping = asyncio.create_task(made.stop())
    _stopping.add(stopping)
    stopping.add_done_callback(_stopped)
    await asyncio.wait({stopping}, timeout=STOP_LIMIT_S)


def _stopped(task: asyncio.Task[None]) -> None:
    _stopping.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.warning("a consumer did not stop cleanly", why=repr(task.exception()))


async def partitions_of(reader: Any, topic: Topic[Any]) -> list[TopicPartition]:
    """The partitions of a topic. Raises Transient when it does not exist (yet)."""
    if topic.name not in await reader.topics():
        raise Transient(f"topic {topic.name} does not exist yet")
    return [TopicPartition(topic.name, number) for number in range(topic.partitions)]


class Tap:
    """Hands every record of a topic to ``take``, in order within a partition, for as long as ``run`` runs.

    After an outage it goes on where it stopped. ``begin`` is called with the first offset of each partition, and again
    when a partition's log turns out to have been made anew.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: Topic[Any],
        where: Where,
        begin: Callable[[int, int], None],
        take: Callable[[Any], None],
        batch: int = 500,
    ) -> None:
        self.topic = topic
        self.positions: dict[int, int] = {}
        self.connected = False
        self.caught_up = asyncio.Event()
        self.trouble = "not connected yet"
        self._bootstrap = bootstrap
        self._where = where
        self._begin = begin
        self.take = take
        self._batch = batch
        self._ends: dict[int, int] | None = None

    @property
    def lag(self) -> int | None:
        """Records in the topic that were not taken yet, as of the last look; None before the first."""
        if self._ends is None:
            return None
        return sum(max(0, end - self.positions.get(number, 0)) for number, end in self._ends.items())

    async def run(self) -> None:
        """Read until cancelled."""
        failures = 0
        while True:
            try:
                async with consumer(self._bootstrap) as reader:
                    try:
                        await self._prepare(reader)
                        failures = 0
                        await self._read(reader)
                    finally:
                        self.connected = False
            except (Transient, KafkaError, OSError, TimeoutError) as wrong:
                self.trouble = str(wrong) or repr(wrong)
                if failures == 0:
                    log.warning("reading stopped, trying again", topic=self.topic.name, why=self.trouble)
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1

    async def _prepare(self, reader: Any) -> None:
        partitions = await partitions_of(reader, self.topic)
        reader.assign(partitions)
        ends = await self._look(reader, partitions)
        for partition in partitions:
            known = self.positions.get(partition.partition)
            if known is not None and known > ends.get(partition.partition, 0):
                log.warning(
                    "a log was made anew, reading it from its start", topic=self.topic.name, at=partition.partition
                )
                del self.positions[partition.partition]
        fresh = [partition for partition in partitions if partition.partition not in self.positions]
        if fresh:
            for number, offset in (await self._where(reader, fresh)).items():
                self.positions[number] = offset
                self._begin(number, offset)
        for partition in partitions:
            reader.seek(partition, self.positions[partition.partition])
        self.connected, self.trouble = True, ""

    async def _look(self, reader: Any, partitions: list[TopicPartition]) -> dict[int, int]:
        async with asyncio.timeout(PROBE_LIMIT_S):
            ends = await reader.end_offsets(partitions)
        self._ends = {partition.partition: offset for partition, offset in ends.items()}
        if self.lag == 0:
            self.caught_up.set()
        return self._ends

    async def _read(self, reader: Any) -> None:
        partitions = sorted(reader.assignment())
        probing = asyncio.create_task(self._probe(reader, partitions))
        try:
            while not probing.done():
                batches = await reader.getmany(timeout_ms=500, max_records=self._batch)
                for partition, records in batches.items():
                    for record in records:
                        self.take(record)
                    self.positions[partition.partition] = records[-1].offset + 1
                await asyncio.sleep(0)
                if self.lag == 0:
                    self.caught_up.set()
            await probing
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)

    async def _probe(self, reader: Any, partitions: list[TopicPartition]) -> None:
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            before = dict(self.positions)
            ends = await self._look(reader, partitions)
            if any(before.get(number, 0) > end for number, end in ends.items()):
                raise Transient(f"{self.topic.name} was made anew")


async def from_start(reader: Any, partitions: list[TopicPartition]) -> dict[int, int]:
    """Where the retained log begins."""
    offsets = await reader.beginning_offsets(partitions)
    return {partition.partition: offset for partition, offset in offsets.items()}


def from_time(at_ms: Callable[[], int]) -> Where:
    """Where the records from that broker time on begin; the end when there are none."""

    async def where(reader: Any, partitions: list[TopicPartition]) -> dict[int, int]:
        moment = at_ms()
        ends = await reader.end_offsets(partitions)  # first: what arrives between the two answers is not passed over
        found = await reader.offsets_for_times(dict.fromkeys(partitions, moment))
        return {p.partition: found[p].offset if found.get(p) is not None else ends[p] for p in partitions}

    return where


def newest(count: int) -> Where:
    """Where the newest so many records of each partition begin."""

    async def where(reader: Any, partitions: list[TopicPartition]) -> dict[int, int]:
        begins, ends = await reader.beginning_offsets(partitions), await reader.end_offsets(partitions)
        return {p.partition: max(begins[p], ends[p] - count) for p in partitions}

    return where


async def read_span(bootstrap: str, topic: Topic[Any], spans: dict[int, tuple[int, int]]) -> AsyncIterator[Any]:
    """The records of each partition from the first offset of its span up to, not including, the second.

    Raises Transient when the broker does not answer or gives nothing for 5 s.
    """
    spans = {number: span for number, span in spans.items() if span[0] < span[1]}
    if not spans:
        return
    async with consumer(bootstrap) as reader:
        await partitions_of(reader, topic)
        reader.assign([TopicPartition(topic.name, number) for number in spans])
        for number, (first, _) in spans.items():
            reader.seek(TopicPartition(topic.name, number), first)
        left = dict(spans)
        while left:
            batches = await reader.getmany(timeout_ms=5_000, max_records=REREAD_BATCH)
            if not batches:
                raise Transient(f"Kafka at {bootstrap} gave no records of {topic.name} for 5 s")
            for partition, records in batches.items():
                end = left.get(partition.partition, (0, 0))[1]
                for record in records:
                    if record.offset < end:
                        yield record
                if records[-1].offset + 1 >= end:
                    left.pop(partition.partition, None)
                    reader.pause(partition)
