"""The feed as its own process against a real broker: what is in the log reaches the page once, through any restart."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from contracts import codec
from contracts.records import (
    ActionKind,
    AlarmEvent,
    AlarmState,
    AlertAction,
    AlertTransition,
    Record,
    ScoreFrame,
    Vital,
)
from contracts.topology import ALERT_ACTIONS, ALERTS, FORECASTS, PARTITIONS, SCORES, partition_for
from infra.site import cache_dir
from infra.stack import Stack
from streams.feed.access import Role, Users
from tests.unit.feed.outlook_records import (
    VERSIONS,
    advisory,
    ahead,
    forecast,
    outlook,
    source_of,
    with_outlooks,
)
from tests.unit.feed.rig import CHANGE, Reader, scores, serve, transition

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]


def now() -> int:
    return time.time_ns() // 1_000_000


class Log:
    """Writes what the worker writes."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer
        self._offset = 0

    async def tell(self, *steps: AlertTransition, times: int = 1) -> None:
        for step in steps:
            for _ in range(times):
                await self._producer.send_and_wait(ALERTS.name, codec.encode(step), key=step.alert_id.encode())

    async def send(self, topic: str, key: str, record: Record) -> None:
        await self._producer.send_and_wait(topic, codec.encode(record), key=key.encode())

    async def score(self, frame: ScoreFrame, at_ms: int | None = None) -> None:
        await self._producer.send_and_wait(
            SCORES.name, codec.encode(frame), key=frame.ward.encode(), timestamp_ms=at_ms
        )


@contextlib.asynccontextmanager
async def writing(bootstrap: str) -> AsyncIterator[Log]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        yield Log(producer)
    finally:
        await producer.stop()


@pytest_asyncio.fixture
async def log(kafka_with_topics: str) -> AsyncIterator[Log]:
    async with writing(kafka_with_topics) as made:
        yield made


@pytest.fixture
def ward() -> str:
    """A ward that no other test speaks of."""
    return f"W-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A topology of the test's own, whose broker may be taken away."""
    made = Stack(tmp_path_factory.mktemp("stack"), cache_dir(os.environ))
    yield made
    made.down()


class FeedProcess:
    """`python -m streams.feed.server`, to be killed and started again with the same state."""

    def __init__(self, bootstrap: str, state_dir: Path) -> None:
        self._bootstrap = bootstrap
        self._state_dir = state_dir
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        users = Users(state_dir / "users.json")
        self._tokens = {role: users.add(f"a-{role.value}", role) for role in Role}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("WARD_")},
            "WARD_KAFKA": self._bootstrap,
            "WARD_FEED_PORT": str(self.port),
            "WARD_STATE_DIR": str(self._state_dir),
        }
        with (self._state_dir / "feed.log").open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "streams.feed.server", env=environment, stdout=out, stderr=out
            )
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/readyz")).status_code == 200:
                        return
                assert self._process.returncode is None, (self._state_dir / "feed.log").read_text()
                await asyncio.sleep(0.1)

    async def end(self, how: signal.Signals) -> int:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        return await asyncio.wait_for(self._process.wait(), 15)

    def bearer(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens[role]}"}

    @contextlib.asynccontextmanager
    async def client(self, role: Role = Role.VIEWER) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, headers=self.bearer(role), timeout=20) as client:
            yield client

    @contextlib.asynccontextmanager
    async def stream(self, ward: str | None = None, cursor: str | None = None) -> AsyncIterator[Reader]:
        headers = {"Last-Event-ID": cursor} if cursor else {}
        params = {"ward": ward} if ward else {}
        async with (
            self.client() as client,
            client.stream("GET", "/api/stream", params=params, headers=headers) as response,
        ):
            assert response.status_code == 200
            yield Reader(response)


@pytest_asyncio.fixture
async def feed(kafka_with_topics: str, tmp_path: Path) -> AsyncIterator[FeedProcess]:
    process = FeedProcess(kafka_with_topics, tmp_path)
    await process.start()
    yield process
    await process.end(signal.SIGKILL)


async def test_what_the_worker_writes_reaches_the_page_and_ends_cleanly(feed: FeedProcess, log: Log, ward: str) -> None:
    async with feed.stream(ward) as reader:
        assert (await reader.next()).event == "wall"
        await log.score(scores(ward, ["b1"], at_ms=now(), spo2=84.0))
        assert (await reader.next("tiles")).data["beds"][0]["values"]["spo2"]["v"] == 84.0
        alert_id = uuid.uuid4().hex
        await log.tell(transition(alert_id, ward=ward, bed="b1", at_ms=now()), times=3)
        await log.tell(transition(alert_id, 1, ward=ward, bed="b1", at_ms=now()))
        assert await reader.alarms(2) == [(alert_id, 0), (alert_id, 1)]
        async with feed.client() as client:
            why = (await client.get(f"/api/alerts/{alert_id}/why")).json()
            assert why["rule"].startswith("Oxygen saturation below 90 % for 15 s")
            assert why["source"] == {"topic": "patient_vitals", "partition": 3, "offset": 41}
            assert [step["seq"] for step in why["transitions"]] == [0, 1]
            assert why["trend"]["series"]["spo2"] == [84.0]
            assert why["news2"]["max"] == 9
            assert why["audience"] == "research"
            trend = (await client.get("/api/beds/b1/trend?s=60")).json()
            assert trend["series"]["spo2"] == [84.0]
            assert trend["limits"]["spo2"]["extreme_low"] == 85.0
            assert "ward_feed_clients 1.0" in (await client.get("/metrics")).text
        assert await feed.end(signal.SIGTERM) == 0
        assert (await reader.rest())[-1].data == {"reason": "restarting"}


async def test_a_killed_feed_loses_nothing_repeats_nothing_and_keeps_open_alarms(
    feed: FeedProcess, log: Log, ward: str
) -> None:
    old, other, new = (f"{uuid.uuid4().hex}" for _ in range(3))
    ended = transition(other, 1, ward=ward, event=AlarmEvent.CLEARED, state=AlarmState.INACTIVE)
    async with feed.stream(ward) as reader:
        await reader.next("wall")
        await log.tell(transition(old, ward=ward), transition(other, ward=ward), times=2)
        assert sorted(await reader.alarms(2)) == sorted([(old, 0), (other, 0)])
    await feed.end(signal.SIGKILL)
    await log.tell(transition(old, ward=ward), ended, ended, transition(new, ward=ward), transition(old, ward=ward))
    await feed.start()
    async with feed.stream(ward, reader.last_id) as resumed:
        assert sorted(await resumed.alarms(2)) == sorted([(other, 1), (new, 0)])
        await log.tell(transition(new, 1, ward=ward))
        assert await resumed.alarms(1) == [(new, 1)]
    async with feed.stream(ward) as fresh:
        wall = (await fresh.next("wall")).data
        assert sorted((a["alert_id"], a["transitions"]) for a in wall["alarms"]) == sorted([(old, 1), (new, 2)])


async def test_tiles_and_trends_of_the_last_minutes_are_back_after_a_restart(
    feed: FeedProcess, log: Log, ward: str
) -> None:
    began = now() - 300_000
    for second in range(0, 240, 10):
        frame = scores(ward, ["silent"], at_ms=began + second * 1000, offset=second, spo2=float(90 + second % 7))
        await log.score(frame, at_ms=began + second * 1000)
    await feed.end(signal.SIGKILL)
    await feed.start()
    async with feed.client() as client, asyncio.timeout(20):
        while True:
            answer = await client.get(f"/api/beds/silent/trend?s=600&ward={ward}")
            measured = [v for v in answer.json().get("series", {}).get("spo2", []) if v is not None]
            if len(measured) == 24:
                break
            await asyncio.sleep(0.1)
        wall = (await client.get("/api/wall", params={"ward": ward})).json()
        assert [tile["bed"] for tile in wall["beds"]] == ["silent"]
        assert wall["beds"][0]["at_ms"] == began + 230_000


async def test_what_the_models_say_reaches_the_page_with_its_age_and_its_grounds(
    feed: FeedProcess, log: Log, ward: str
) -> None:
    at_ms, bed, alert_id = now(), "b1", uuid.uuid4().hex
    async with feed.stream(ward) as reader, feed.client() as client:
        await reader.next("wall")
        await log.score(scores(ward, [bed], at_ms=at_ms, offset=40))
        await log.score(with_outlooks(scores(ward, [], at_ms=at_ms, offset=40), outlook(bed, at_ms=at_ms)))
        told = (await reader.next("outlook")).data
        assert (told["ward"], told["beds"][0]["anomaly"]["score"]) == (ward, 0.12)
        for offset, drift in ((40, -0.5), (41, -0.7), (42, -0.9)):
            band = ahead(Vital.SPO2, drift=drift, below=0.62)
            await log.send(FORECASTS.name, ward, forecast(ward, [bed], band, at_ms=at_ms + offset, offset=offset))
        async with asyncio.timeout(10):
            while True:
                newest = (await client.get(f"/api/beds/{bed}/forecast", params={"ward": ward})).json()
                if newest["now_ms"] == at_ms + 42:
                    break
                await asyncio.sleep(0.05)
        assert (newest["stale"], newest["vitals"][0]["below"][-1]) == (False, 0.62)
        await log.tell(advisory(alert_id, ward=ward, bed=bed, at_ms=at_ms, source=source_of(ward, 41)), times=2)
        assert await reader.alarms(1) == [(alert_id, 0)]
        why = (await client.get(f"/api/alerts/{alert_id}/why")).json()
        (then,) = why["prediction"]["forecast"]["vitals"]
        assert then["quantiles"] == [list(row) for row in ahead(Vital.SPO2, drift=-0.7).quantiles]
        assert why["prediction"]["forecast"]["now_ms"] == at_ms + 41
        assert (why["prediction"]["probability"], why["prediction"]["lead_s"]) == (0.62, 14_400)
        assert (why["model"]["name"], why["model"]["version"]) == ("vitals_forecast", VERSIONS["vitals_forecast"])
        assert (why["model"]["since"]["offset"], why["model"]["in_force"]) == (7, True)
        assert "cannot be read here" in why["model"]["missing"]
        assert "rule" in why
    await feed.end(signal.SIGKILL)
    await feed.start()
    async with feed.client() as client:
        wall = (await client.get("/api/wall", params={"ward": ward})).json()
        assert [one["beds"][0]["bed"] for one in wall["outlooks"]] == [bed]
        why = (await client.get(f"/api/alerts/{alert_id}/why")).json()
        assert why["prediction"]["forecast"]["now_ms"] == at_ms + 41


async def test_a_client_far_behind_is_served_from_the_log(
    kafka_with_topics: str, log: Log, ward: str, tmp_path: Path
) -> None:
    ids = [uuid.uuid4().hex for _ in range(4)]
    async with serve(tmp_path, kafka=kafka_with_topics, keep_events=3, started=False) as served:
        await asyncio.wait_for(served.live.started.wait(), 30)
        await log.tell(transition(ids[0], ward=ward))
        async with served.stream(ward=ward) as reader:
            await reader.next("wall")
            await log.tell(transition(ids[1], ward=ward))
            assert await reader.alarms(1) == [(ids[1], 0)]
        steps = [(alert_id, seq) for seq in range(2, 40) for alert_id in ids]
        for alert_id, seq in steps:
            await log.tell(transition(alert_id, seq, ward=ward), times=1 + (seq % 5 == 0))
        async with served.stream(ward=ward, cursor=reader.last_id) as resumed:
            missed = await resumed.alarms(len(steps), within_s=30)
            assert sorted(missed) == sorted(steps)
            for alert_id in ids:
                assert [seq for of, seq in missed if of == alert_id] == list(range(2, 40))
            await log.tell(transition("last-" + ids[0], ward=ward))
            assert await resumed.alarms(1) == [("last-" + ids[0], 0)]


async def test_an_alarm_that_left_memory_is_still_explained_from_the_log(
    kafka_with_topics: str, log: Log, ward: str, tmp_path: Path
) -> None:
    alert_id = uuid.uuid4().hex
    await log.tell(transition(alert_id, ward=ward), transition(alert_id, 1, ward=ward), times=2)
    async with serve(tmp_path, kafka=kafka_with_topics, started=False) as served, served.client() as client:
        await asyncio.wait_for(served.live.started.wait(), 30)
        del served.live.ledger.open[alert_id]
        why = (await client.get(f"/api/alerts/{alert_id}/why")).json()
        assert [step["seq"] for step in why["transitions"]] == [0, 1]
        assert (await client.get(f"/api/alerts/{uuid.uuid4().hex}/why")).status_code == 404


async def test_an_action_is_written_once_keyed_by_ward_and_the_wall_waits_for_the_core(
    kafka_with_topics: str, feed: FeedProcess, log: Log, ward: str
) -> None:
    alert_id, action_id = uuid.uuid4().hex, uuid.uuid4().hex
    body = {"action_id": action_id, "kind": "acknowledge", "ward": ward, "bed": "b1", "alert_id": alert_id}
    async with feed.stream(ward) as reader, feed.client(Role.NURSE) as nurse:
        await reader.next("wall")
        await log.tell(transition(alert_id, ward=ward, bed="b1"))
        await reader.alarms(1)
        for _ in range(2):
            answer = await nurse.post("/api/actions", json=body, headers=CHANGE)
            assert (answer.status_code, answer.json()) == (202, {"action_id": action_id})
        assert (await nurse.post("/api/actions", json=body | {"bed": "b2"}, headers=CHANGE)).status_code == 400
        changed = await nurse.post("/api/actions", json=body | {"kind": "escalate"}, headers=CHANGE)
        assert (changed.status_code, changed.json()["code"]) == (409, "action_id_used")
        wall = (await nurse.get("/api/wall", params={"ward": ward})).json()
        assert wall["alarms"][0]["state"] == "active"
        acknowledged = transition(alert_id, 1, ward=ward, bed="b1", event=AlarmEvent.ACKNOWLEDGED)
        await log.tell(acknowledged)
        assert (await reader.next("alarm")).data["event"] == "acknowledged"
    consumer = AIOKafkaConsumer(
        ALERT_ACTIONS.name, bootstrap_servers=kafka_with_topics, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        found = []
        while batch := await consumer.getmany(timeout_ms=2_000):
            found += [record for records in batch.values() for record in records if record.key == ward.encode()]
    finally:
        await consumer.stop()
    (record,) = found
    assert record.partition == partition_for(ward, PARTITIONS)
    action = codec.decode(record.value, AlertAction)
    assert (action.kind, action.actor, action.role) == (ActionKind.ACKNOWLEDGE, "a-nurse", "nurse")
    assert (action.action_id, action.alert_id) == (action_id, alert_id)


async def test_without_a_broker_the_wall_stands_still_says_so_and_recovers_by_itself(
    kafka_with_topics: str, own_stack: Stack, tmp_path: Path, ward: str
) -> None:
    own = own_stack
    await asyncio.to_thread(own.up, ["topics"])
    bootstrap = own.environment()["WARD_KAFKA"]
    feed = FeedProcess(bootstrap, tmp_path)
    await feed.start()
    alert_id = uuid.uuid4().hex
    body = {"action_id": uuid.uuid4().hex, "kind": "acknowledge", "ward": ward, "bed": "b1", "alert_id": alert_id}
    try:
        async with feed.stream(ward) as reader, feed.client(Role.NURSE) as nurse:
            await reader.next("wall")
            async with writing(bootstrap) as log:
                await log.score(scores(ward, ["b1"], at_ms=now(), now_ms=now()))
                await log.tell(transition(alert_id, ward=ward, bed="b1"))
                await reader.alarms(1)
            await asyncio.to_thread(own.down, ["kafka"])
            beats = [(await reader.next("heartbeat")).data for _ in range(4)]
            assert len({beat["clock_ms"] for beat in beats[1:]}) == 1
            assert (await nurse.get("/api/wall")).json()["beds"] != []
            answer = await nurse.post("/api/actions", json=body, headers=CHANGE)
            assert (answer.status_code, answer.json()["code"]) == (503, "broker_away")
            async with asyncio.timeout(30):
                while (await nurse.get("/readyz")).status_code != 503:
                    await asyncio.sleep(0.2)
            await asyncio.to_thread(own.up, ["topics"])
            async with writing(bootstrap) as log:
                await log.tell(transition(alert_id, 1, ward=ward, bed="b1"))
            assert await reader.alarms(1, within_s=30) == [(alert_id, 1)]
            async with asyncio.timeout(30):
                while (await nurse.post("/api/actions", json=body, headers=CHANGE)).status_code != 202:
                    await asyncio.sleep(0.2)
    finally:
        await feed.end(signal.SIGKILL)


NOTE = re.compile(rb'"note":"(\d+\.\d+)"')


async def test_two_hundred_clients_twenty_of_them_stalled(
    feed: FeedProcess, log: Log, ward: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """50 alarms a second: p99 of those who read stays within 500 ms; those who do not cost little and are cut."""
    readers, stalls, alarms = 180, 20, 250
    loop = asyncio.get_running_loop()
    request = (
        f"GET /api/stream?ward={ward} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: {feed.bearer(Role.VIEWER)['Authorization']}\r\n\r\n"
    ).encode()
    delays: list[float] = []
    greeted = asyncio.Semaphore(0)

    async def read(timing: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
        writer.write(request)
        seen, rest = 0, b""
        await reader.readuntil(b"event: wall")
        greeted.release()
        while seen < alarms:
            rest += await reader.read(65536)
            arrived = time.monotonic()
            notes = NOTE.findall(rest)
            if notes:
                rest = rest[rest.rindex(b'"note":') + 30 :]
            seen += len(notes)
            if timing:
                delays.extend(arrived - float(note) for note in notes)
        writer.transport.abort()

    async def stall() -> socket.socket:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await loop.sock_connect(raw, ("127.0.0.1", feed.port))
        await loop.sock_sendall(raw, request)
        return raw

    process = psutil.Process(feed.pid)
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        stalled = [await stall() for _ in range(stalls)]
        reading = [tasks.create_task(read(number % 4 == 0)) for number in range(readers)]
        for _ in range(readers):
            await greeted.acquire()
        before_mb = process.memory_info().rss / 2**20
        cpu_s = sum(process.cpu_times()[:2])
        began = time.monotonic()
        for number in range(alarms):
            note = f"{time.monotonic():.9f}"
            tasks.create_task(log.tell(transition(f"{ward}-{number}", ward=ward, note=note)))
            if number % 10 == 0:
                frame = scores(ward, [f"b{n}" for n in range(40)], at_ms=now(), offset=number)
                tasks.create_task(log.score(frame))
            await asyncio.sleep(max(0.0, began + (number + 1) / 50 - time.monotonic()))
        await asyncio.wait(reading)
        cpu_s = sum(process.cpu_times()[:2]) - cpu_s
        wall_s = time.monotonic() - began
        after_mb = process.memory_info().rss / 2**20
    async with feed.client() as client, asyncio.timeout(60):
        while "ward_feed_clients 0.0" not in (await client.get("/metrics")).text:
            await log.score(scores(ward, [f"b{n}" for n in range(400)], at_ms=now(), offset=now()))
            await asyncio.sleep(0.02)
    for raw in stalled:
        raw.close()
    ordered = sorted(delays)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    with capsys.disabled():
        print(
            f"\n{readers} readers, {stalls} stalled, 50 alarms/s: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, "
            f"feed {cpu_s / wall_s:.2f} cores, RSS {before_mb:.0f} -> {after_mb:.0f} MiB"
        )
    assert len(delays) == readers // 4 * alarms
    assert p99 <= 0.5
    assert after_mb - before_mb < 256 / 1024 * (readers + stalls)
