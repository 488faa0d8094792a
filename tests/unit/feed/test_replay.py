"""A feed that shows a replay: marked, silent, with nothing to act on, in the replay's own time, and steered from it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts import replays
from contracts.errors import Misconfigured
from contracts.replays import Decisions, ReplayProgress, Want
from contracts.settings import Settings
from contracts.topology import ALERTS
from models.registry import Registry
from models.ward.policy import parse_policy
from streams.feed.live import now_ms
from streams.feed.replay_live import topics_of
from streams.feed.replay_page import WITHHELD
from streams.feed.routes import ROUTES
from streams.feed.server import STATIC, build_app
from streams.feed.taps import LIVE
from tests.unit.feed.rig import CHANGE, T0, Served, serve, transition

NAME = "again"
SPAN_MS = 600_000
PATHS = {"{bed}": "W1-01", "{alert_id}": "a1", "{name}": "nobody", "{job_id}": "j1", "{version}": "0" * 12}

DECISIONS = Decisions(
    replay=NAME,
    policy="stricter",
    policy_hash="0" * 12,
    models=("vitals_anomaly@abc",),
    records=600,
    transitions=7,
    alarms={"high": 2},
    hash="a" * 64,
    hash_without_advisories="a" * 64,
    same_as_live=None,
    over=True,
    told_ms=T0,
)


def place(state_dir: Path) -> Path:
    """The replay's folder, which its program makes."""
    folder = replays.folder(str(state_dir), NAME)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tell(state_dir: Path, **changes: object) -> ReplayProgress:
    """Say how far the replay is, as its program does."""
    progress = ReplayProgress(
        replay=NAME,
        sources=("patient_vitals",),
        vitals=NAME,
        from_ms=T0,
        to_ms=T0 + SPAN_MS,
        speed=60.0,
        shift_ms=None,
        state="running",
        paused=False,
        at_ms=T0 + SPAN_MS // 4,
        sent=150,
        of=600,
        late_ms=0.4,
        heeded=0,
        told_ms=now_ms(),
    )
    progress = msgspec.structs.replace(progress, **changes)
    replays.put(place(state_dir) / replays.PROGRESS, progress)
    return progress


@asynccontextmanager
async def shown(state_dir: Path, **changes: Any) -> AsyncIterator[Served]:
    """A feed that shows the replay, listening."""
    place(state_dir)
    async with serve(state_dir, feed_replay=NAME, **changes) as served:
        yield served


def test_it_reads_the_decisions_over_the_replay_and_nothing_of_the_ward(tmp_path: Path) -> None:
    place(tmp_path)
    live = build_app(Settings(state_dir=str(tmp_path), feed_replay=NAME)).state.live
    taps = {tap.topic.name for tap in (live.alerts, live.scores, live.forecasts)}
    assert taps == {replays.decided(NAME, topic) for topic in replays.DECIDED}
    assert not taps & {topic.name for topic in LIVE}
    assert topics_of(NAME).alerts.partitions == ALERTS.partitions


@pytest.mark.parametrize("name", ["nobody-made-it", "../escape", ""])
def test_a_replay_that_is_none_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match="replay"):
        build_app(Settings(state_dir=str(tmp_path), feed_replay=name))


@pytest.mark.asyncio
async def test_the_page_is_marked_before_anyone_signs_in_and_its_unmarked_files_are_withheld(tmp_path: Path) -> None:
    async with shown(tmp_path) as feed, feed.client(None) as anyone:
        page = (await anyone.get("/")).text
        assert "<title>REPLAY · again · Wardstream</title>" in page
        assert 'data-replay="again"' in page
        assert 'class="replay-mark"' in page
        assert "REPLAY</b><span>again: not live" in page
        for file in WITHHELD:
            assert (STATIC / file).is_file()
            assert (await anyone.get(f"/static/{file}")).status_code == 404, file
        assert (await anyone.get("/static/js/main.js")).status_code == 200
    async with serve(tmp_path) as ward, ward.client(None) as anyone:
        page = (await anyone.get("/")).text
        assert not any(mark in page for mark in ("REPLAY", "data-replay", "replay.css", "replay-mark"))
        assert (await anyone.get("/static/js/sound.js")).status_code == 200


@pytest.mark.asyncio
async def test_a_card_comes_as_text_for_its_page_would_have_no_mark(tmp_path: Path) -> None:
    card = f"/api/models/brain_tumour/{Registry().resolve('brain_tumour', 'champion')}/card"
    async with shown(tmp_path) as feed, feed.client() as viewer:
        answer = await viewer.get(card, headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.asyncio
async def test_what_belongs_to_the_ward_is_refused_with_a_hint(tmp_path: Path) -> None:
    async with shown(tmp_path) as feed, feed.client("admin") as admin:
        feed.alarm(transition("a1"))
        for rule in (rule for rule in ROUTES if rule.live_only):
            path = rule.path
            for placeholder, value in PATHS.items():
                path = path.replace(placeholder, value)
            answer = await admin.request(rule.method, path, headers=CHANGE, json={"any": "thing"})
            assert (answer.status_code, answer.json()["code"]) == (409, "replay"), path
            assert "feed of the ward" in answer.json()["hint"]


def test_every_change_to_the_ward_is_refused_in_a_replay() -> None:
    changes = {rule.path for rule in ROUTES if rule.method != "GET" and not rule.live_only}
    assert changes == {"/api/session", "/api/replay", "/api/users", "/api/users/{name}"}


@pytest.mark.asyncio
async def test_the_wall_says_that_it_is_a_silent_replay_and_each_wards_own_clock(tmp_path: Path) -> None:
    async with shown(tmp_path) as feed, feed.client() as viewer:
        feed.score("W1", at_ms=T0)
        feed.score("W2", ["W2-01"], at_ms=T0 + 90_000)
        wall = (await viewer.get("/api/wall")).json()
        assert (wall["replay"], wall["silent"]) == (NAME, True)
        assert wall["clocks"] == {"W1": T0, "W2": T0 + 90_000}
        told = (await viewer.get("/api/session")).json()
        assert (told["replay"], told["silent"]) == (NAME, True)
    async with serve(tmp_path / "ward") as ward, ward.client() as viewer:
        wall = (await viewer.get("/api/wall")).json()
        assert (wall["replay"], wall["silent"]) == (None, False)


@pytest.mark.asyncio
async def test_a_stream_tells_how_far_the_replay_is_and_the_newest_of_each_bed_only(tmp_path: Path) -> None:
    tell(tmp_path)
    async with shown(tmp_path) as feed, feed.stream() as stream:
        await stream.next("wall")
        for second in range(300):  # as an unpaced replay does
            feed.score(at_ms=T0 + 1000 * second, heart_rate=60.0 + second % 7)
        feed.alarm(transition("a1"))
        assert (await stream.next("alarm")).data["alert_id"] == "a1"
        seen = 0
        while (await stream.next("tiles")).data["now_ms"] < T0 + 299_000:
            seen += 1
        assert seen < 10
        replay = (await stream.next("replay")).data
        assert (replay["replay"], replay["progress"]["state"], replay["progress"]["share"]) == (NAME, "running", 0.25)
        tell(tmp_path, at_ms=T0 + SPAN_MS, state="finished")
        while replay["progress"]["state"] != "finished":
            replay = (await stream.next("replay")).data
        assert (replay["progress"]["share"], replay["clock_ms"]) == (1.0, T0 + 299_000)


@pytest.mark.asyncio
async def test_a_replay_whose_program_died_is_told_as_lost(tmp_path: Path) -> None:
    tell(tmp_path, told_ms=now_ms() - replays.SILENT_MS - 1)
    async with shown(tmp_path) as feed, feed.client("nurse") as nurse:
        progress = (await nurse.get("/api/replay")).json()["progress"]
        assert (progress["state"], progress["runs"]) == ("lost", False)
        answer = await nurse.post("/api/replay", headers=CHANGE, json={"what": "pause"})
        assert (answer.status_code, answer.json()["code"]) == (409, "replay_over")
        assert "ward replay --to again --resume" in answer.json()["hint"]


@pytest.mark.asyncio
async def test_a_nurse_pauses_seeks_and_stops_and_the_audit_log_has_it(tmp_path: Path) -> None:
    tell(tmp_path)
    wishes: list[dict[str, Any]] = [
        {"what": "pause"},
        {"what": "go_on"},
        {"what": "seek", "to_ms": T0 + 300_000},
        {"what": "stop"},
    ]
    async with shown(tmp_path) as feed, feed.client("nurse") as nurse:
        for number, wish in enumerate(wishes, 1):
            tell(tmp_path)
            answer = await nurse.post("/api/replay", headers=CHANGE, json=wish)
            assert (answer.status_code, answer.json()) == (202, {"number": number})
            wanted = replays.wanted(place(tmp_path))
            assert wanted is not None
            assert (wanted.number, wanted.what, wanted.to_ms) == (number, Want(wish["what"]), wish.get("to_ms"))
            assert wanted.by == "a-nurse"
    rows = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    steered = [(row["who"], row["where"], row["detail"]) for row in rows if row["what"] == "steer_replay"]
    words = ("pause", "go_on", f"seek {T0 + 300_000}", "stop")
    assert steered == [("a-nurse", "replay again", word) for word in words]


@pytest.mark.asyncio
async def test_who_may_not_steer_and_what_cannot_be_wished_is_refused(tmp_path: Path) -> None:
    async with shown(tmp_path) as feed, feed.client("nurse") as nurse, feed.client("viewer") as viewer:
        pause = {"what": "pause"}
        assert (await nurse.post("/api/replay", headers=CHANGE, json=pause)).json()["code"] == "no_progress"
        tell(tmp_path)
        assert (await viewer.post("/api/replay", headers=CHANGE, json=pause)).status_code == 403
        assert (await nurse.post("/api/replay", json=pause)).json()["code"] == "no_x_ward"
        foreign = CHANGE | {"Origin": "http://elsewhere.example"}
        assert (await nurse.post("/api/replay", headers=foreign, json=pause)).json()["code"] == "cross_origin"
        for wrong in (
            {"what": "rewind"},
            {"what": "seek"},
            {"what": "pause", "to_ms": T0},
            {"what": "seek", "to_ms": T0},
            {"what": "seek", "to_ms": T0 + SPAN_MS + 1},
        ):
            assert (await nurse.post("/api/replay", headers=CHANGE, json=wrong)).json()["code"] == "bad_field", wrong
        assert replays.wanted(place(tmp_path)) is None


@pytest.mark.asyncio
async def test_looking_at_a_replay_signs_nobody_out_of_the_ward(tmp_path: Path) -> None:
    async with serve(tmp_path, feed_demo=True) as ward, ward.client(None) as browser:
        await browser.get("/")
        kept = dict(browser.cookies)
        async with shown(tmp_path, feed_demo=True) as feed, feed.client(None) as same:
            same.cookies.update(kept)
            await same.get("/")
            assert dict(same.cookies).keys() == {"ward_session", "ward_session_again"}
            assert same.cookies["ward_session"] == kept["ward_session"]
            assert (await same.get("/api/session")).json()["silent"] is True
        assert (await browser.get("/api/session")).json()["silent"] is False
    assert (place(tmp_path) / "sessions.json").exists()


@pytest.mark.asyncio
async def test_a_bed_of_a_replay_is_told_from_the_bed_of_today_in_the_audit_log(tmp_path: Path) -> None:
    async with shown(tmp_path) as feed, feed.client() as viewer:
        feed.score()
        assert (await viewer.get("/api/beds/W1-01/trend")).status_code == 200
    rows = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [row["where"] for row in rows if row["what"] == "read_trend"] == ["replay again W1/W1-01"]


@pytest.mark.asyncio
async def test_what_was_decided_is_told_beside_the_policy_in_force(tmp_path: Path) -> None:
    replays.put(place(tmp_path) / replays.DECISIONS, DECISIONS)
    async with shown(tmp_path) as feed, feed.client() as viewer:
        told = (await viewer.get("/api/replay")).json()
        assert told["progress"] is None
        assert told["decisions"]["other_policy"] is True
        assert told["decisions"]["other_models"] == ["vitals_anomaly@abc"]
        assert replays.decided(NAME, ALERTS) in told["trouble"]


@pytest.mark.asyncio
async def test_the_limits_shown_are_those_the_replay_was_decided_under_or_none(tmp_path: Path) -> None:
    words = resources.files("models.ward").joinpath("policies", "adult.toml").read_text("utf-8")
    policy = parse_policy(words.replace("extreme_low = 85", "extreme_low = 80").encode())
    decisions = msgspec.structs.replace(DECISIONS, policy=policy.name, policy_hash=policy.hash)
    replays.put(place(tmp_path) / replays.DECISIONS, decisions)
    async with shown(tmp_path) as feed, feed.client() as viewer:
        told = (await viewer.get("/api/replay")).json()["decisions"]
        assert (told["other_policy"], told["policy_hash"]) == (True, policy.hash)
        assert (await viewer.get("/api/wall")).json()["policy"]["limits"] == {}
        (place(tmp_path) / replays.POLICY).write_text(words.replace("extreme_low = 85", "extreme_low = 80"), "utf-8")
        told = (await viewer.get("/api/replay")).json()["decisions"]
        assert told["other_policy"] is True
        feed.score()  # another wall than the one kept for a moment
        shown_policy = (await viewer.get("/api/beds/W1-01/trend")).json()["limits"]
        assert shown_policy["spo2"]["extreme_low"] == 80


@pytest.mark.parametrize("theme", ["dark", "light", "contrast"])
def test_the_mark_leaves_every_text_its_contrast(theme: str) -> None:
    tokens = {name: _rgb(colour) for name, colour in json.loads((STATIC / "tokens.json").read_text())[theme].items()}
    sheet = (STATIC / "css" / "replay.css").read_text()
    share = re.search(r"\.replay-mark::before \{[^}]*opacity: (\.\d+);", sheet)
    assert share is not None
    grounds = ("ground", "surface", "raised")
    texts = ("text", "muted", "heart-rate", "spo2", "respiration", "pressure", "temperature")
    pairs = [(text, ground) for text in texts for ground in grounds]
    pairs += [(f"on-{tone}", tone) for tone in ("high", "medium", "low", "technical", "replay")]
    for text, ground in pairs:
        below, above = tokens[ground], tokens[text]
        under = _mixed(below, tokens["replay"], float(share[1])), _mixed(above, tokens["replay"], float(share[1]))
        need = 4.5 if _contrast(above, below) >= 4.5 else 3.0  # large numbers on a raised ground
        assert _contrast(*under) >= need, (text, ground, _contrast(above, below), _contrast(*under))


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))


def _mixed(below: tuple[float, ...], above: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(b + (a - b) * share for a, b in zip(above, below, strict=True))


def _contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The contrast ratio of two sRGB colours, as WCAG 2.2 defines it."""

    def light(colour: tuple[float, ...]) -> float:
        linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    darker, lighter = sorted((light(one), light(other)))
    return (lighter + 0.05) / (darker + 0.05)
