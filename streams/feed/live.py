"""The feed's memory of the ward and the streams made from it: log readers in, server-sent events out."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import structlog

from contracts import codec
from contracts.errors import Poison, Transient
from contracts.records import AlarmEvent, AlertTransition, ScoreFrame
from contracts.settings import Settings
from models.ward.policy import Policy
from streams.feed.board import Board, natural, news2_of, tiles_event
from streams.feed.cursor import format_cursor, parse_cursor
from streams.feed.explain import encode, policy_summary
from streams.feed.fanout import RESTARTING, Client, Flush, Hub, heartbeat_event
from streams.feed.gauges import Gauges
from streams.feed.image_live import ImageLive
from streams.feed.ledger import Event, Ledger
from streams.feed.outlooks import Forecasts, Outlooks
from streams.feed.taps import LIVE, Read, Tap, Where, consumer, from_start, from_time, partitions_of, read_span
from streams.feed.trends import Trends

log = structlog.get_logger(__name__)

HEARTBEAT_S: Final = 2.0
SWEEP_S: Final = 60.0
LOOK_BACK_MS: Final = 60_000
MOST_REPLAYED: Final = 20_000
WALL_AGE_S: Final = 0.25
SCORES_BATCH: Final = 20


def now_ms() -> int:
    """Wall clock in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def alarm_event(cursor: str, data: bytes) -> bytes:
    """One transition as an event; its id is where the client stands after it."""
    return b"id: %s\nevent: alarm\ndata: %s\n\n" % (cursor.encode(), data)


class Live:
    """What the feed knows and who watches. ``run`` keeps it up to date until it is cancelled."""

    replay: str | None = None
    """The replay that is shown in place of the ward."""

    def __init__(
        self, settings: Settings, policy: Policy, gauges: Gauges, *, keep_events: int = 4096, read: Read = LIVE
    ) -> None:
        self.settings = settings
        self.policy = policy
        self.read = read
        self.gauges = gauges
        self.board = Board()
        self.ledger = Ledger(keep_events=keep_events)
        self.trends = Trends(settings.feed_history_s)
        self.outlooks = Outlooks()
        self.predictions = Forecasts()
        self.hub = Hub(self.board, self.outlooks, on_flush=self._flushed)
        self.images = ImageLive(settings, gauges)
        gauges.watch(self.streams)
        self.started = asyncio.Event()
        self.unreadable: dict[str, int] = {}
        self._walls: OrderedDict[str | None, tuple[float, str, int, bytes]] = OrderedDict()
        self._scores_from: dict[int, int] = {}
        self.alerts = Tap(settings.kafka, read.alerts, from_start, self._begin_alerts, self._take_alert)
        start = self._since()
        self.scores = Tap(settings.kafka, read.scores, start, self._begin_scores, self._take_score, SCORES_BATCH)
        self.forecasts = Tap(settings.kafka, read.forecasts, start, lambda *_: None, self._take_forecast, SCORES_BATCH)

    # -- in ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the topics, beat, and fill in the minutes before the start."""
        async with asyncio.TaskGroup() as tasks:
            for part in self._parts():
                tasks.create_task(part)

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside one another."""
        taps = (self.alerts, self.scores, self.forecasts)
        return [*(tap.run() for tap in taps), self.images.run(), self._beat(), self._sweep(), self._start()]

    def _since(self) -> Where:
        """From where scores and forecasts are read first."""
        return from_time(lambda: now_ms() - LOOK_BACK_MS)

    def trouble(self) -> str | None:
        """Why the wall may not be up to date, or None when the feed has caught up with Kafka.

        Forecasts are no part of it: each one tells its own age, and the wall is right without them.
        """
        for tap in (self.alerts, self.scores):
            if not tap.connected:
                return f"{tap.topic.name}: {tap.trouble}"
            if not tap.caught_up.is_set():
                return f"{tap.topic.name}: {tap.lag} records behind"
        return None

    def streams(self) -> int:
        """How many streams are open, of the wall and of the images."""
        return len(self.hub.clients) + len(self.images.clients)

    def cut(self, reason: str, which: Callable[[Client], bool] = lambda _: True) -> int:
        """End the streams of the clients that ``which`` picks, whatever they watch; how many."""
        return self.hub.cut(reason, which) + self.images.cut(reason, which)

    def cursor(self) -> str:
        """Where a client stands that knows everything taken so far."""
        return format_cursor(self.ledger.offsets())

    def _begin_alerts(self, partition: int, offset: int) -> None:
        again = partition in self.ledger.offsets()
        self.ledger.begin(partition, offset)
        if again:
            self.hub.cut(RESTARTING)

    def _begin_scores(self, partition: int, offset: int) -> None:
        self._scores_from.setdefault(partition, offset)

    def _take_alert(self, record: Any) -> None:
        taken = self.ledger.take(record.partition, record.offset, record.value)
        if taken is None:
            return
        transition, event = taken
        if not self.started.is_set():
            return
        if transition.event in (AlarmEvent.RAISED, AlarmEvent.PRIORITY_RAISED):
            found = self.board.find(transition.bed, transition.ward)
            alert = self.ledger.alert(transition.alert_id)
            if found is not None and alert is not None:
                alert.news2 = encode(news2_of(found[1].score))
        self._came(record)
        self.hub.publish_alarm(event.ward, alarm_event(self.cursor(), event.data))

    def _take_score(self, record: Any) -> None:
        try:
            frame = codec.decode(record.value, ScoreFrame)
        except Poison as bad:
            self._cannot_read(self.read.scores.name, record, bad)
            return
        outlook = self.outlooks.take(frame, self.hub.next_seq)
        tiles = self.board.take(frame, self.hub.next_seq) or []
        for score in frame.beds if tiles else ():
            self.trends.write(frame.ward, score, frame.at_ms)
        if self.started.is_set():
            self._tell(record, frame, outlook, tiles)

    def _tell(self, record: Any, frame: ScoreFrame, outlook: bytes | None, tiles: list[bytes]) -> None:
        """Send on what a frame has brought."""
        if outlook is not None:
            self.hub.publish_outlook(frame.ward, outlook)
        if tiles:
            self._came(record)
            self.hub.publish_tiles(frame.ward, tiles_event(frame.ward, frame.at_ms, frame.now_ms, tiles))

    def _came(self, record: Any) -> None:
        """Note when a record that is about to be shown was written."""
        self.gauges.waiting_ms.append(record.timestamp)

    def _take_forecast(self, record: Any) -> None:
        try:
            told = self.predictions.take(record.value)
        except Poison as bad:
            self._cannot_read(self.read.forecasts.name, record, bad)
            return
        self.outlooks.serve(told.ward, told.models, told.now_ms)

    def _cannot_read(self, topic: str, record: Any, bad: Poison) -> None:
        self.unreadable[topic] = self.unreadable.get(topic, 0) + 1
        if self.unreadable[topic] == 1:
            where = {"topic": topic, "partition": record.partition, "offset": record.offset}
            log.warning("a record could not be read", **where, why=bad.reason)

    async def _look_further_back(self) -> None:
        """Trends, and tiles of beds that fell silent, from before the last minute; at half speed beside live work."""
        spans = dict(self._scores_from)
        try:
            async with consumer(self.settings.kafka) as reader:
                partitions = await partitions_of(reader, self.read.scores)
                oldest = from_time(lambda: now_ms() - self.settings.feed_history_s * 1000)
                starts = await oldest(reader, partitions)
            began = time.monotonic()
            async for record in read_span(
                self.settings.kafka, self.read.scores, {p: (starts.get(p, end), end) for p, end in spans.items()}
            ):
                try:
                    frame = codec.decode(record.value, ScoreFrame)
                except Poison:
                    continue
                self.board.fill_in(frame, self.hub.next_seq)
                for score in frame.beds:
                    self.trends.write(frame.ward, score, frame.at_ms, backfill=True)
                if (busy_s := time.monotonic() - began) > 0.01:
                    await asyncio.sleep(busy_s)
                    began = time.monotonic()
        except (Transient, OSError) as away:
            log.warning("the minutes before the start could not be read", why=str(away))

    async def _start(self) -> None:
        await self.alerts.caught_up.wait()
        await self.scores.caught_up.wait()
        self.started.set()
        log.info("caught up", beds=len(self.board.tiles), open_alarms=len(self.ledger.open))
        self.hub.publish_heartbeat(self._heartbeat())
        await self._look_further_back()

    async def _beat(self) -> None:
        while True:
            self.hub.publish_heartbeat(self._heartbeat())
            await asyncio.sleep(HEARTBEAT_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for ward, bed in self.board.sweep():
                self.trends.forget(ward, bed)
                self.outlooks.forget(ward, bed)
                self.predictions.forget(ward, bed)

    def _heartbeat(self, cursor: str | None = None) -> bytes:
        board, cursor = self.board, self.cursor() if cursor is None else cursor
        return heartbeat_event(cursor, now_ms(), board.wards, board.clock_ms, ready=self.started.is_set())

    def _flushed(self, flush: Flush, clients: int) -> None:
        self.gauges.flushed(flush, clients, now_ms())

    # -- out ---------------------------------------------------------------------------------------------------------

    def wall(self, ward: str | None) -> tuple[bytes, str, int]:
        """The whole wall as JSON, its cursor, and the position in the hub from which to go on."""
        cursor = self.cursor()
        kept = self._walls.get(ward)
        if kept is not None and time.monotonic() - kept[0] < WALL_AGE_S and kept[1] == cursor:
            return kept[3], cursor, kept[2]
        self.hub.flush()
        wards = sorted(self.board.wards, key=natural)
        alarms = [alert.as_json() for alert in self.ledger.open.values() if ward in (None, alert.latest.ward)]
        parts = {
            "server_ms": encode(now_ms()),
            "clock_ms": encode(self.board.clock_ms),
            "policy": encode(policy_summary(self.policy)),
            "replay": encode(self.replay),
            "silent": encode(self.replay is not None),
            "wards": encode(wards),
            "clocks": encode(self.board.wards),
            "beds": b"[%s]" % b",".join(self.board.in_order(ward)),
            "alarms": b"[%s]" % b",".join(alarms),
            "outlooks": b"[%s]" % b",".join(self.outlooks.whole(ward)),
            "cursor": encode(cursor),
        }
        data = b"{%s}" % b",".join(b'"%s":%s' % (name.encode(), value) for name, value in parts.items())
        self._walls[ward] = (time.monotonic(), cursor, self.hub.seq, data)
        while len(self._walls) > 8:
            self._walls.popitem(last=False)
        return data, cursor, self.hub.seq

    async def stream(self, client: Client, cursor_text: str | None) -> AsyncIterator[bytes]:
        """Everything a client is told: what it missed or the whole wall, then live, until it is cut."""
        self.hub.clients.add(client)
        try:
            while not self.started.is_set() and client.reason is None:
                yield self._heartbeat()
                client.wake.clear()
                await client.wake.wait()
            resumed = False
            cursor = parse_cursor(cursor_text) if cursor_text else None
            if cursor is not None and (have := self._resumable(cursor)) is not None:
                try:
                    async for chunk in self._missed(client, have):
                        yield chunk
                    resumed = True
                except Transient as away:
                    log.warning("a client could not resume, it gets the whole wall", why=str(away))
            if not resumed and client.reason is None:
                data, at, client.position = self.wall(client.ward)
                head = f"id: {at}\n".encode() if at else b""
                yield b"%sevent: wall\ndata: %s\n\n" % (head, data)
            async for chunk in self.hub.follow(client):
                yield chunk
        finally:
            self.hub.clients.discard(client)

    def _resumable(self, cursor: dict[int, int]) -> dict[int, int] | None:
        """The full vector when every record from it on is still to be had, and not too many; else None."""
        offsets, begins = self.ledger.offsets(), self.ledger.begins()
        if not cursor.keys() <= offsets.keys():
            return None
        have = {partition: cursor.get(partition, 0) for partition in offsets}
        if any(not begins[p] <= have[p] <= offsets[p] for p in have):
            return None
        if sum(offsets[p] - have[p] for p in have) > MOST_REPLAYED:
            return None
        return have

    async def _missed(self, client: Client, have: dict[int, int]) -> AsyncIterator[bytes]:
        while spans := {p: (have[p], floor) for p, floor in self.ledger.floors().items() if have[p] < floor}:
            async for record in read_span(self.settings.kafka, self.read.alerts, spans):
                have[record.partition] = record.offset + 1
                if self.ledger.passes_over(record.partition, record.offset):
                    continue
                transition = codec.decode(record.value, AlertTransition)
                if client.ward in (None, transition.ward):
                    yield alarm_event(format_cursor(have), codec.encode(transition))
            have |= {p: end for p, (_, end) in spans.items()}
        self.hub.flush()
        client.position = self.hub.seq
        waiting: list[Event] = list(self.ledger.since(have))
        ends = self.ledger.offsets()
        for event in waiting:
            have[event.partition] = event.offset + 1
            if client.ward in (None, event.ward):
                yield alarm_event(format_cursor(have), event.data)
        for chunk in self.hub.newest(-1, client.ward):
            yield chunk
        cursor = format_cursor(ends)
        yield self._heartbeat(cursor)
