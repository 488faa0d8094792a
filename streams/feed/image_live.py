"""What the feed knows of images and who watches: log readers in, server-sent events out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

import structlog

from contracts import codec
from contracts.errors import Poison, Transient
from contracts.records import ImageFeedback, ImageFinding, ImageRefusal, ImageResult, Record
from contracts.settings import Settings
from contracts.topology import IMAGE_FEEDBACK, IMAGE_FINDINGS, IMAGE_REFUSALS, IMAGE_RESULTS, Topic, partition_for
from streams.feed.fanout import CHUNK_BYTES, Client, cut_event
from streams.feed.gallery import Gallery
from streams.feed.gauges import Gauges
from streams.feed.taps import Tap, Where, consumer, from_start, from_time, partitions_of, read_span

log = structlog.get_logger(__name__)

R = TypeVar("R", bound=Record)

BEAT_S: Final = 2.0
GATHER_S: Final = 0.05
LOOK_BACK_MS: Final = 24 * 3600 * 1000
SEARCH_S: Final = 8.0


class ImageLive:
    """The gallery, kept up to date by ``run`` until it is cancelled, and the streams made from it."""

    def __init__(self, settings: Settings, gauges: Gauges) -> None:
        self.gallery = Gallery()
        self.clients: set[Client] = set()
        self.unreadable: dict[str, int] = {}
        self._kafka = settings.kafka
        self._gauges = gauges
        self._searching = asyncio.Semaphore(2)
        self._waking: asyncio.TimerHandle | None = None
        gallery, lately = self.gallery, from_time(lambda: now_ms() - LOOK_BACK_MS)
        self.findings = self._tap(IMAGE_FINDINGS, ImageFinding, from_start, gallery.findings, gallery.take_finding)
        self.results = self._tap(IMAGE_RESULTS, ImageResult, lately, gallery.results, gallery.take_result)
        self.refusals = self._tap(IMAGE_REFUSALS, ImageRefusal, lately, gallery.refusals, gallery.take_refusal)
        self.feedback = self._tap(IMAGE_FEEDBACK, ImageFeedback, from_start, gallery.feedback, gallery.take_feedback)
        self.taps = (self.findings, self.results, self.refusals, self.feedback)

    # -- in ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the topics of images."""
        async with asyncio.TaskGroup() as tasks:
            for tap in self.taps:
                tasks.create_task(tap.run())

    def trouble(self) -> str | None:
        """Why the lists may not be up to date; None once they are as new as the log."""
        for tap in self.taps:
            if not tap.connected:
                return f"{tap.topic.name}: {tap.trouble}"
            if not tap.caught_up.is_set():
                return f"{tap.topic.name}: {tap.lag} records behind"
        return None

    @property
    def ready(self) -> bool:
        """Whether the log was once read to its end: what is shown is whole, though perhaps not the newest."""
        return all(tap.caught_up.is_set() for tap in self.taps)

    def _tap(
        self, topic: Topic[R], kind: type[R], where: Where, kept: dict[str, Any], take: Callable[[R], bool]
    ) -> Tap:
        begun: set[int] = set()

        def begin(partition: int, _offset: int) -> None:
            if partition in begun:
                self.gallery.forget(kept)
                self._wake_soon()
            begun.add(partition)

        def taken(record: Any) -> None:
            try:
                changed = take(codec.decode(record.value, kind))
            except Poison as bad:
                self._cannot_read(topic.name, record, bad)
                return
            if changed:
                self._wake_soon()

        return Tap(self._kafka, topic, where, begin, taken)

    def _cannot_read(self, topic: str, record: Any, bad: Poison) -> None:
        self.unreadable[topic] = self.unreadable.get(topic, 0) + 1
        if self.unreadable[topic] == 1:
            where = {"topic": topic, "partition": record.partition, "offset": record.offset}
            log.warning("a record could not be read", **where, why=bad.reason)

    # -- out ---------------------------------------------------------------------------------------------------------

    def cut(self, reason: str, which: Callable[[Client], bool] = lambda _: True) -> int:
        """End the streams of the clients that ``which`` picks; how many."""
        chosen = [client for client in self.clients if which(client)]
        for client in chosen:
            client.cut(reason)
        return len(chosen)

    async def stream(self, client: Client, cursor: str | None) -> AsyncIterator[bytes]:
        """Everything a client is told: what it missed or all of it, then changes, until it is cut."""
        self.clients.add(client)
        told, position = self.gallery.epoch, self.gallery.position_of(cursor)
        whole = position is None
        try:
            while client.reason is None:
                if self.ready and (whole or told != self.gallery.epoch):
                    data, told, position = self.gallery.whole(), self.gallery.epoch, self.gallery.seq
                    whole = False
                    async for chunk in self._told(b"gallery", data):
                        yield chunk
                elif self.ready and position is not None and position < self.gallery.seq:
                    data, position = self.gallery.after(position), self.gallery.seq
                    async for chunk in self._told(b"images", data):
                        yield chunk
                else:
                    yield self._heartbeat()
                    await self._rest(client)
            yield cut_event(client.reason)
        finally:
            self.clients.discard(client)

    async def _told(self, event: bytes, data: bytes) -> AsyncIterator[bytes]:
        self._gauges.events.labels("images").inc()
        chunk = b"id: %s\nevent: %s\ndata: %s\n\n" % (self.gallery.cursor.encode(), event, data)
        for start in range(0, len(chunk), CHUNK_BYTES):
            yield chunk[start : start + CHUNK_BYTES]

    async def _rest(self, client: Client) -> None:
        client.wake.clear()
        try:
            async with asyncio.timeout(BEAT_S):
                await client.wake.wait()
        except TimeoutError:
            return

    def _heartbeat(self) -> bytes:
        ready = b"true" if self.ready else b"false"
        late = b"true" if self.trouble() is not None else b"false"
        return b'event: heartbeat\ndata: {"server_ms":%d,"ready":%s,"late":%s}\n\n' % (now_ms(), ready, late)

    def _wake_soon(self) -> None:
        if self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(GATHER_S, self._wake)

    def _wake(self) -> None:
        self._waking = None
        for client in self.clients:
            client.wake.set()

    async def find(self, job_id: str) -> ImageResult | None:
        """The newest result of a job, from memory or else from the log. Raises Transient when that takes too long."""
        row = self.gallery.results.get(job_id)
        if row is not None:
            kept: ImageResult = row.record
            return kept
        try:
            async with asyncio.timeout(SEARCH_S), self._searching:
                return await self._search(job_id)
        except (OSError, TimeoutError) as away:
            raise Transient(f"the log could not be searched in {SEARCH_S:.0f} s") from away

    async def _search(self, job_id: str) -> ImageResult | None:
        finding, found = self.gallery.finding_of(job_id), None
        async with consumer(self._kafka) as reader:
            partitions = await partitions_of(reader, IMAGE_RESULTS)
            begins, ends = await from_start(reader, partitions), await reader.end_offsets(partitions)
        spans = {partition.partition: (begins[partition.partition], end) for partition, end in ends.items()}
        if finding is not None:
            only = partition_for(finding.record.study, len(partitions))
            spans = {only: spans[only]}
        wanted = job_id.encode()
        async for record in read_span(self._kafka, IMAGE_RESULTS, spans):
            if record.value is None or wanted not in record.value:
                continue
            try:
                result = codec.decode(record.value, ImageResult)
            except Poison:
                continue
            if result.job_id == job_id:
                found = result
        return found


def now_ms() -> int:
    """Wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000
