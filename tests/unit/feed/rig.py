"""What the feed's tests share: records as the worker writes them, a served feed, a client that reads its streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
from starlette.applications import Starlette

from contracts import codec
from contracts.records import (
    SCHEMA_VERSION,
    AlarmEvent,
    AlarmState,
    AlertTransition,
    BedScore,
    Category,
    ImageFeedback,
    ImageFinding,
    ImageRefusal,
    ImageResult,
    News2,
    News2Component,
    Priority,
    ScoredVital,
    ScoreFrame,
    SourceOffset,
    Vital,
)
from contracts.settings import Settings
from contracts.topology import PARTITIONS, partition_for
from streams.feed.access import Role, Users
from streams.feed.live import Live
from streams.feed.server import build_app
from streams.feed.sockets import FeedServer, server_for

T0 = 1_795_000_000_000
CHANGE = {"X-Ward": "1"}


class Record(NamedTuple):
    """A Kafka record as far as the feed looks at it."""

    partition: int
    offset: int
    value: bytes | None
    timestamp: int


def scores(
    ward: str, beds: list[str], *, at_ms: int = T0, now_ms: int | None = None, offset: int = 0, **values: float
) -> ScoreFrame:
    """A frame of scores; every bed has the same values."""
    shown = {"heart_rate": 72.0, "spo2": 97.0, **values}
    vitals = tuple(ScoredVital(vital=Vital(name), value=value, at_ms=at_ms) for name, value in shown.items())
    news2 = News2(minimum=0, maximum=9, scale=1, components=(News2Component(vital=Vital.SPO2, points=0, age_ms=0),))
    return ScoreFrame(
        version=SCHEMA_VERSION,
        ward=ward,
        at_ms=at_ms,
        now_ms=at_ms if now_ms is None else now_ms,
        source=SourceOffset(topic="patient_vitals", partition=partition_for(ward, PARTITIONS), offset=offset),
        policy="0123456789ab",
        beds=tuple(BedScore(bed=bed, patient=f"p-{bed}", heard_ms=at_ms, values=vitals, news2=news2) for bed in beds),
    )


def transition(
    alert_id: str,
    seq: int = 0,
    *,
    ward: str = "W1",
    bed: str = "W1-01",
    event: AlarmEvent = AlarmEvent.RAISED,
    state: AlarmState = AlarmState.ACTIVE,
    at_ms: int = T0,
    **changes: Any,
) -> AlertTransition:
    """One step of a low SpO2 alarm."""
    made = AlertTransition(
        version=SCHEMA_VERSION,
        alert_id=alert_id,
        seq=seq,
        ward=ward,
        bed=bed,
        patient=f"p-{bed}",
        condition="spo2_low",
        category=Category.PHYSIOLOGICAL,
        priority=Priority.HIGH,
        event=event,
        state=state,
        at_ms=at_ms,
        onset_ms=at_ms,
        message="SpO2 84<85",
        source=SourceOffset(topic="patient_vitals", partition=3, offset=41),
        policy="0123456789ab",
        vital=Vital.SPO2,
        value=84.0,
        limit=85.0,
        reading_ms=at_ms,
    )
    return msgspec.structs.replace(made, **changes)


class SseEvent(NamedTuple):
    """One event of a stream."""

    event: str
    id: str | None
    text: str

    @property
    def data(self) -> dict[str, Any]:
        """What it says."""
        return json.loads(self.text)  # type: ignore[no-any-return]  # events are objects


async def events(response: httpx.Response) -> AsyncIterator[SseEvent]:
    """The events of a stream, as a browser would see them."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield SseEvent(fields["event"], fields.get("id"), fields["data"])
            fields = {}


class Reader:
    """An open stream whose events are awaited one after the other."""

    def __init__(self, response: httpx.Response) -> None:
        self._events = events(response)
        self.last_id: str | None = None

    async def next(self, *kinds: str, within_s: float = 10.0) -> SseEvent:
        """The next event of one of these kinds (any but heartbeats when none is named)."""
        async with asyncio.timeout(within_s):
            async for event in self._events:
                self.last_id = event.id or self.last_id
                if event.event in kinds or (not kinds and event.event != "heartbeat"):
                    return event
        raise EOFError("the stream ended")

    async def alarms(self, count: int, within_s: float = 10.0) -> list[tuple[str, int]]:
        """Identities of the next ``count`` alarm events."""
        found: list[tuple[str, int]] = []
        while len(found) < count:
            data = (await self.next("alarm", within_s=within_s)).data
            found.append((data["alert_id"], data["seq"]))
        return found

    async def rest(self, within_s: float = 10.0) -> list[SseEvent]:
        """Everything until the server closes."""
        async with asyncio.timeout(within_s):
            found = [event async for event in self._events]
        self.last_id = next((event.id for event in reversed(found) if event.id), self.last_id)
        return found


class Served:
    """A feed behind a real socket, in the test's own loop, fed by hand instead of by Kafka."""

    def __init__(self, app: Starlette, server: FeedServer, users: Users, state_dir: Path) -> None:
        self.app = app
        self.live: Live = app.state.live
        self.users = users
        self.state_dir = state_dir
        self._server = server
        self._offsets = dict.fromkeys(range(PARTITIONS), 0)
        self._score_offset = 0
        self.tokens: dict[str, str] = {}

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def token(self, role: str) -> str:
        """A user of that role, made when first asked for."""
        if role not in self.tokens:
            self.tokens[role] = self.users.add(f"a-{role}", Role(role))
        return self.tokens[role]

    def bearer(self, role: str) -> dict[str, str]:
        """Headers that speak for that role."""
        return {"Authorization": f"Bearer {self.token(role)}"}

    @contextlib.asynccontextmanager
    async def client(self, role: str | None = "viewer", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client of that role."""
        extra = self.bearer(role) if role is not None else {}
        async with httpx.AsyncClient(base_url=self.url, headers=extra | headers, timeout=60) as client:
            yield client

    @contextlib.asynccontextmanager
    async def stream(
        self,
        role: str = "viewer",
        cursor: str | None = None,
        ward: str | None = None,
        header: bool = True,
        path: str = "/api/stream",
    ) -> AsyncIterator[Reader]:
        """An open stream, resumed by Last-Event-ID or by the address."""
        params = {"ward": ward} if ward else {}
        headers = {}
        if cursor is not None and header:
            headers["Last-Event-ID"] = cursor
        elif cursor is not None:
            params["cursor"] = cursor
        async with (
            self.client(role) as client,
            client.stream("GET", path, params=params, headers=headers) as response,
        ):
            assert response.status_code == 200, await response.aread()
            yield Reader(response)

    def score(self, ward: str = "W1", beds: list[str] | None = None, **more: Any) -> None:
        """Let the feed take a frame of scores."""
        self._score_offset += 1
        frame = scores(ward, beds or [f"{ward}-01"], offset=self._score_offset, **more)
        self.live.scores.take(Record(0, self._score_offset, codec.encode(frame), int(time.time() * 1000)))

    def alarm(self, step: AlertTransition, again: bool = False) -> None:
        """Let the feed take a transition; ``again`` puts it into the log twice, as a restarted worker does."""
        partition = partition_for(step.alert_id, PARTITIONS)
        for _ in range(2 if again else 1):
            record = Record(partition, self._offsets[partition], codec.encode(step), int(time.time() * 1000))
            self._offsets[partition] += 1
            self.live.alerts.take(record)

    def image(self, *records: ImageRecord) -> None:
        """Let the feed take results, findings, refusals, verdicts."""
        images = self.live.images
        taps = {ImageResult: images.results, ImageFinding: images.findings}
        taps |= {ImageRefusal: images.refusals, ImageFeedback: images.feedback}
        for record in records:
            taps[type(record)].take(Record(0, 0, codec.encode(record), int(time.time() * 1000)))


ImageRecord = ImageResult | ImageFinding | ImageRefusal | ImageFeedback
Serve = Callable[..., contextlib.AbstractAsyncContextManager[Served]]


@contextlib.asynccontextmanager
async def serve(
    state_dir: Path,
    *,
    started: bool = True,
    drain_s: float = 10.0,
    keep_events: int = 4096,
    kafka: str = "127.0.0.1:1",
    **changes: Any,
) -> AsyncIterator[Served]:
    """A feed that listens on a free port of 127.0.0.1; unless told otherwise nobody answers at its Kafka."""
    settings = Settings.from_env({}, kafka=kafka, state_dir=str(state_dir), feed_port=0, **changes)
    app = build_app(settings, drain_s=drain_s, keep_events=keep_events)
    live: Live = app.state.live
    server = server_for(app, live, settings.feed_host, 0)
    running = asyncio.create_task(server._serve())  # without the signal handlers
    try:
        async with asyncio.timeout(20):
            while not server.started:
                await asyncio.sleep(0.01)
        if started:
            for partition in range(PARTITIONS):
                live.ledger.begin(partition, 0)
            live.started.set()
            for tap in live.images.taps:
                tap.caught_up.set()
        yield Served(app, server, Users(state_dir / "users.json"), state_dir)
    finally:
        server.should_exit = True
        await running
