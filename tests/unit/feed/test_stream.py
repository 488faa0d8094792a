"""What a client of the stream is told, on real sockets: the wall, live events, resume, cuts."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import httpx
import pytest

from contracts.records import AlarmEvent, AlarmState
from contracts.topology import PARTITIONS
from streams.feed.fanout import FASTEST_FLUSH_S
from tests.unit.feed.rig import CHANGE, Reader, Served, serve, transition

pytestmark = pytest.mark.asyncio


async def test_a_fresh_client_gets_the_wall_first_and_then_what_happens(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        feed.score("W1", ["W1-02", "W1-10", "W1-01"])
        feed.alarm(transition("a1"))
        async with feed.stream() as reader:
            wall = (await reader.next()).data
            assert [tile["bed"] for tile in wall["beds"]] == ["W1-01", "W1-02", "W1-10"]
            assert [(a["alert_id"], a["transitions"]) for a in wall["alarms"]] == [("a1", 1)]
            assert wall["policy"]["limits"]["spo2"]["low"] == 90.0
            tile = wall["beds"][0]
            assert tile["values"]["spo2"] == {"v": 97.0, "at": tile["at_ms"], "tag": "ok", "q": "measured"}
            assert (tile["news2"]["min"], tile["news2"]["max"]) == (0, 9)
            feed.alarm(transition("a1", 1, event=AlarmEvent.ACKNOWLEDGED, state=AlarmState.ACKNOWLEDGED))
            told = await reader.next("alarm")
            assert (told.data["event"], told.data["seq"]) == ("acknowledged", 1)
            feed.score("W1", ["W1-02"], at_ms=1_795_000_001_000, spo2=91.0)
            tiles = (await reader.next("tiles")).data
            assert (tiles["ward"], tiles["beds"][0]["values"]["spo2"]["v"]) == ("W1", 91.0)


async def test_a_ward_filter_lets_only_that_ward_through(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        feed.score("W1")
        feed.score("W2")
        async with feed.stream(ward="W2") as reader:
            assert [tile["ward"] for tile in (await reader.next("wall")).data["beds"]] == ["W2"]
            feed.alarm(transition("of-w1", ward="W1"))
            feed.score("W1", at_ms=1_795_000_001_000)
            feed.alarm(transition("of-w2", ward="W2", bed="W2-01"))
            assert (await reader.next("alarm", "tiles")).data["alert_id"] == "of-w2"


@pytest.mark.parametrize("header", [True, False], ids=["Last-Event-ID", "address"])
async def test_a_resumed_client_gets_each_missed_alarm_once_and_in_order(tmp_path: Path, header: bool) -> None:
    async with serve(tmp_path) as feed:
        feed.alarm(transition("a1"))
        async with feed.stream() as reader:
            await reader.next("wall")
            feed.alarm(transition("b1"), again=True)
            assert await reader.alarms(1) == [("b1", 0)]
            cursor = reader.last_id
        steps = [("a1", 1), ("b1", 1), ("c1", 0), ("a1", 2), ("c1", 1)]
        for alert_id, seq in steps:
            feed.alarm(transition(alert_id, seq), again=True)
        async with feed.stream(cursor=cursor, header=header) as reader:
            missed = await reader.alarms(len(steps))
            assert sorted(missed) == sorted(steps)
            for alert_id in ("a1", "b1", "c1"):
                assert [seq for of, seq in missed if of == alert_id] == [s for of, s in steps if of == alert_id]
            feed.alarm(transition("d1"))
            assert await reader.alarms(1) == [("d1", 0)]


async def test_every_id_along_the_way_resumes_exactly_there(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        async with feed.stream() as reader:
            await reader.next("wall")
            told = []
            for number in range(20):
                feed.alarm(transition(f"a{number % 7}", number), again=number % 3 == 0)
                event = await reader.next("alarm")
                told.append(((event.data["alert_id"], event.data["seq"]), event.id))
        for place, (_, cursor) in enumerate(told):
            after = [identity for identity, _ in told[place + 1 :]]
            feed_marker = transition(f"end-{place}")
            async with feed.stream(cursor=cursor) as reader:
                feed.alarm(feed_marker)
                seen: list[tuple[str, int]] = []
                while (f"end-{place}", 0) not in seen:
                    seen += await reader.alarms(1)
            assert sorted(seen) == sorted([*after, *[(f"end-{n}", 0) for n in range(place + 1)]])


@pytest.mark.parametrize("cursor", ["99-1", "0-999999", "nonsense", "0-1.0-2", "x" * 5000])
async def test_a_cursor_that_cannot_be_resumed_gets_the_whole_wall(tmp_path: Path, cursor: str) -> None:
    async with serve(tmp_path) as feed:
        feed.alarm(transition("a1"))
        async with feed.stream(cursor=cursor) as reader:
            assert (await reader.next()).event == "wall"


async def test_before_it_has_caught_up_the_feed_beats_and_tells_nothing_false(tmp_path: Path) -> None:
    async with serve(tmp_path, started=False) as feed, feed.stream() as reader:
        beat = (await reader.next("heartbeat")).data
        assert (beat["ready"], beat["clock_ms"]) == (False, 0)
        async with feed.client() as client:
            answer = await client.get("/api/wall")
            assert (answer.status_code, answer.json()["code"]) == (503, "starting")
        for partition in range(PARTITIONS):
            feed.live.ledger.begin(partition, 0)
        feed.live.started.set()
        assert (await reader.next()).event == "wall"


async def test_the_heartbeat_carries_the_log_time_and_stands_still_with_it(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.stream() as reader:
        feed.score("W1", now_ms=1_795_000_000_123)
        beats = [(await reader.next("heartbeat")).data for _ in range(3)]
        assert {beat["clock_ms"] for beat in beats[1:]} == {1_795_000_000_123}
        assert beats[2]["wards"] == {"W1": 1_795_000_000_123}
        assert beats[2]["server_ms"] > beats[1]["server_ms"]


async def test_a_repeated_frame_is_not_told_again(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.stream() as reader:
        await reader.next("wall")
        feed.score("W1", spo2=90.0)
        feed._score_offset = 0
        feed.score("W1", spo2=89.0)
        feed._score_offset = 5
        feed.score("W1", at_ms=1_795_000_002_000, spo2=88.0)
        seen = [(await reader.next("tiles")).data["beds"][0]["values"]["spo2"]["v"] for _ in range(2)]
        assert seen == [90.0, 88.0]


async def test_signing_out_ends_that_sessions_streams_at_once(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, httpx.AsyncClient(base_url=feed.url, timeout=10) as browser:
        signed_in = await browser.post("/api/session", json={"token": feed.token("nurse")}, headers=CHANGE)
        told = {"actor": "a-nurse", "role": "nurse", "demo": False, "replay": None, "silent": False}
        assert signed_in.json() == told
        async with browser.stream("GET", "/api/stream") as response, feed.stream() as other:
            reader = Reader(response)
            await reader.next("wall")
            await other.next("wall")
            await browser.delete("/api/session", headers=CHANGE)
            assert (await reader.rest(3))[-1].data == {"reason": "signed_out"}
            feed.alarm(transition("a1"))
            assert await other.alarms(1) == [("a1", 0)]
        assert (await browser.get("/api/session")).status_code == 401


async def test_revoking_a_user_drops_their_streams_whoever_does_it(tmp_path: Path) -> None:
    async with (
        serve(tmp_path) as feed,
        feed.client("admin") as admin,
        feed.stream("viewer") as by_api,
        feed.stream("nurse") as by_file,
    ):
        await by_api.next("wall")
        await by_file.next("wall")
        answer = await admin.delete("/api/users/a-viewer", headers=CHANGE)
        assert answer.json() == {"revoked": "a-viewer"}
        assert (await by_api.rest(3))[-1].data == {"reason": "signed_out"}
        feed.users.revoke("a-nurse")  # as another process does
        assert (await by_file.rest(8))[-1].data == {"reason": "signed_out"}


async def test_a_reader_that_falls_too_far_behind_is_cut_with_a_last_word(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed:
        feed.live.hub._keep_alarms = 100
        feed.alarm(transition("before"))
        async with feed.stream() as reader:
            await reader.next("wall")
            for number in range(300):
                feed.alarm(transition(f"a{number}"))
            assert (await reader.rest())[-1].data == {"reason": "too_slow"}
        async with feed.stream(cursor=reader.last_id) as reader:
            assert len(set(await reader.alarms(300))) == 300


async def stalled(feed: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that asks for the stream and never reads the answer."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", feed.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=1024)
    token = feed.token("viewer")
    request = f"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(request.encode())
    await writer.drain()
    return reader, writer


async def test_stalled_readers_are_cut_and_the_others_do_not_wait_for_them(tmp_path: Path) -> None:
    """The short form of: 200 clients, 20 of them stalled, 50 alarms a second, p99 of the others <= 500 ms."""
    readers, stalls, alarms = 60, 6, 100
    async with serve(tmp_path, drain_s=1.0) as feed, asyncio.TaskGroup() as tasks:
        beds = [f"W1-{n:03}" for n in range(60)]
        feed.score("W1", beds)
        slow = [await stalled(feed) for _ in range(stalls)]
        delays: list[float] = []
        ready = asyncio.Barrier(readers + 1)

        async def watch() -> None:
            async with feed.stream() as reader:
                await reader.next("wall")
                await ready.wait()
                for _ in range(alarms):
                    note = json.loads((await reader.next("alarm", within_s=30)).data["note"])
                    delays.append(time.monotonic() - note)

        for _ in range(readers):
            tasks.create_task(watch())
        await ready.wait()
        for number in range(alarms):
            feed.alarm(transition(f"a{number}", note=json.dumps(time.monotonic())))
            if number % 10 == 0:
                feed.score("W1", beds, at_ms=1_795_000_001_000 + number)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(15):
            while feed.live.gauges.cut._value.get() < stalls:
                feed.score("W1", beds, at_ms=int(time.time() * 1000))
                await asyncio.sleep(0.01)
        for _, writer in slow:
            writer.transport.abort()
    assert len(delays) == readers * alarms
    assert sorted(delays)[int(len(delays) * 0.99)] < 0.5
    assert not feed.live.hub.clients


async def test_a_lagging_reader_gets_the_newest_tile_instead_of_all_of_them(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.stream() as reader:
        await reader.next("wall")
        for second in range(200):
            feed.score("W1", at_ms=1_795_000_000_000 + second * 1000, spo2=float(second % 40 + 60))
            feed.live.hub.flush()
        first = (await reader.next("tiles")).data
        assert first["beds"][0]["at_ms"] == 1_795_000_199_000
        await asyncio.sleep(FASTEST_FLUSH_S)
        feed.score("W1", at_ms=1_795_000_200_000)
        assert (await reader.next("tiles")).data["at_ms"] == 1_795_000_200_000


async def test_going_away_is_announced(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.stream() as reader:
        await reader.next("wall")
        feed._server.should_exit = True
        assert (await reader.rest())[-1].data == {"reason": "restarting"}
