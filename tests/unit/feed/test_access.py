"""Sign-in, sessions, roles, and what another site can not do."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx
import pytest

from contracts.errors import Misconfigured
from contracts.settings import Settings
from streams.feed.access import FAILURES, IDLE_S, LIFETIME_S, MOST_SESSIONS, Access, Attempts, Role, Sessions, Users
from streams.feed.audit import verify
from streams.feed.server import build_app
from tests.unit.feed.rig import CHANGE, serve, transition


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_nowhere_kept_and_the_file_is_private(tmp_path: Path) -> None:
    users = Users(tmp_path / "users.json")
    token = users.add("night", Role.NURSE)
    assert len(token) >= 43
    assert token not in (tmp_path / "users.json").read_text()
    assert stat.S_IMODE((tmp_path / "users.json").stat().st_mode) == 0o600
    found = users.by_token(token)
    assert found is not None
    assert (found.name, found.role) == ("night", Role.NURSE)
    assert users.by_token(token[:-1]) is None


def test_two_processes_see_each_others_changes(tmp_path: Path) -> None:
    one, other = Users(tmp_path / "users.json"), Users(tmp_path / "users.json")
    one.add("a", Role.VIEWER)
    other.add("b", Role.ADMIN)
    assert one.refresh()
    assert [user.name for user in one.all()] == ["a", "b"]
    other.revoke("a")
    one.refresh()
    assert [user.name for user in one.all()] == ["b"]


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "é", "a" * 65, "demo-nurse", "-x"])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Users(tmp_path / "users.json").add(name, Role.VIEWER)


def test_a_damaged_users_file_is_named_at_the_start_and_survived_later(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    users = Users(path)
    token = users.add("a", Role.VIEWER)
    access = Access(users, Sessions(None), Attempts())
    path.write_text("{")
    assert access.by_token(token) is not None
    with pytest.raises(Misconfigured, match="WARD_FEED_USERS"):
        Users(path)


def test_a_session_ends_when_idle_and_at_the_latest_after_its_lifetime(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "sessions.json", clock)
    secret = sessions.open("a", Role.VIEWER, "x")
    for _ in range(3):
        clock.now += IDLE_S - 1
        assert sessions.find(secret) is not None
    clock.now += IDLE_S + 1
    assert sessions.find(secret) is None
    secret = sessions.open("a", Role.VIEWER, "x")
    while clock.now < 1_000_000 + 2 * LIFETIME_S:
        clock.now += IDLE_S - 1
        if sessions.find(secret) is None:
            break
    assert clock.now < 1_000_000 + LIFETIME_S + 5 * IDLE_S


def test_a_restart_signs_nobody_out_and_the_file_holds_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    secret = Sessions(path).open("a", Role.VIEWER, "x")
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Sessions(path).find(secret) is not None


def test_a_demo_session_does_not_outlive_the_demo(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    secret = Sessions(path, demo=True).open("demo-nurse", Role.NURSE, "", demo=True)
    assert Sessions(path, demo=True).find(secret) is not None
    assert Sessions(path).find(secret) is None


def test_sessions_are_bounded() -> None:
    sessions = Sessions(None)
    first = sessions.open("a", Role.VIEWER, "x")
    for _ in range(MOST_SESSIONS):
        sessions.open("a", Role.VIEWER, "x")
    assert len(sessions) == MOST_SESSIONS
    assert sessions.find(first) is None


def test_a_new_token_under_an_old_name_does_not_revive_old_sessions(tmp_path: Path) -> None:
    access = Access(Users(tmp_path / "users.json"), Sessions(None), Attempts())
    signed_in = access.sign_in(access.users.add("a", Role.ADMIN))
    assert signed_in is not None
    access.users.revoke("a")
    access.users.add("a", Role.ADMIN)
    assert access.by_cookie(signed_in[0]) is None


def test_the_demo_is_refused_beyond_loopback(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="WARD_FEED_DEMO"):
        build_app(Settings(feed_demo=True, feed_host="0.0.0.0", state_dir=str(tmp_path)))


@pytest.mark.asyncio
async def test_the_cookie_is_http_only_and_same_site(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, httpx.AsyncClient(base_url=feed.url) as browser:
        answer = await browser.post("/api/session", json={"token": feed.token("viewer")}, headers=CHANGE)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "path=/" in cookie
        assert (await browser.get("/api/wall")).status_code == 200


@pytest.mark.asyncio
async def test_guessing_is_slowed_down_and_says_for_how_long(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.client(None) as client:
        for _ in range(FAILURES):
            answer = await client.post("/api/session", json={"token": "guess"}, headers=CHANGE)
            assert answer.status_code == 401
        answer = await client.post("/api/session", json={"token": feed.token("viewer")}, headers=CHANGE)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 300


@pytest.mark.asyncio
async def test_the_demo_signs_itself_in_as_a_nurse_and_nobody_else(tmp_path: Path) -> None:
    async with serve(tmp_path, feed_demo=True) as feed, httpx.AsyncClient(base_url=feed.url) as browser:
        assert (await browser.get("/api/session")).status_code == 401
        assert (await browser.get("/")).status_code == 200
        told = (await browser.get("/api/session")).json()
        assert told == {"actor": "demo-nurse", "role": "nurse", "demo": True, "replay": None, "silent": False}
        assert (await browser.get("/api/audit")).status_code == 403


FOREIGN = [
    ({}, "no_x_ward"),
    ({"X-Ward": "0"}, "no_x_ward"),
    ({**CHANGE, "Origin": "http://evil.example"}, "cross_origin"),
    ({**CHANGE, "Origin": "null"}, "cross_origin"),
    ({**CHANGE, "Origin": "http://127.0.0.1:1"}, "cross_origin"),
    ({**CHANGE, "Sec-Fetch-Site": "cross-site"}, "cross_origin"),
    ({**CHANGE, "Sec-Fetch-Site": "same-site"}, "cross_origin"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("headers", "code"), FOREIGN)
async def test_a_change_from_another_site_is_refused(tmp_path: Path, headers: dict[str, str], code: str) -> None:
    async with serve(tmp_path) as feed, httpx.AsyncClient(base_url=feed.url) as browser:
        await browser.post("/api/session", json={"token": feed.token("nurse")}, headers=CHANGE)
        feed.alarm(transition("a1"))
        body = {"action_id": "action-0001", "kind": "acknowledge", "ward": "W1", "bed": "W1-01", "alert_id": "a1"}
        answer = await browser.post("/api/actions", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
        assert (await browser.delete("/api/session", headers=headers)).status_code == 403
        assert (await browser.get("/api/session")).status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", "169.254.1.1"])
async def test_a_foreign_host_name_gets_nothing(tmp_path: Path, host: str) -> None:
    async with serve(tmp_path, feed_demo=True) as feed, feed.client(Host=host) as client:
        for path in ("/", "/api/wall", "/healthz", "/static/icon.svg"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (421, "bad_host")
            assert "set-cookie" not in answer.headers


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8800", "127.0.0.1", "[::1]:8800"])
async def test_loopback_names_are_answered(tmp_path: Path, host: str) -> None:
    async with serve(tmp_path) as feed, feed.client(Host=host) as client:
        assert (await client.get("/healthz")).status_code == 200


BAD_ACTIONS: list[tuple[dict[str, object], str]] = [
    ({"kind": "explode"}, "kind"),
    ({"kind": None}, "kind"),
    ({"action_id": "short"}, "action_id"),
    ({"action_id": "with spaces in it"}, "action_id"),
    ({"ward": ""}, "ward"),
    ({"ward": "W2"}, "ward"),
    ({"bed": "W1-02"}, "bed"),
    ({"bed": 7}, "bed"),
    ({"alert_id": "a\n1"}, "alert_id"),
    ({"pause_s": 10}, "pause_s"),
    ({"kind": "pause_audio", "pause_s": -1}, "pause_s"),
    ({"kind": "pause_audio", "pause_s": 1e9}, "pause_s"),
    ({"kind": "note"}, "text"),
    ({"kind": "note", "text": "x" * 501}, "text"),
    ({"kind": "note", "text": "bell \x07"}, "text"),
    ({"kind": "standby"}, "alert_id"),
    ({"surprise": 1}, "surprise"),
]


@pytest.mark.asyncio
async def test_a_bad_action_names_its_field_and_the_audit_log_has_no_words_of_it(tmp_path: Path) -> None:
    good: dict[str, object] = {
        "action_id": "action-0001",
        "kind": "acknowledge",
        "ward": "W1",
        "bed": "W1-01",
        "alert_id": "a1",
    }
    async with serve(tmp_path) as feed, feed.client("nurse") as nurse:
        feed.alarm(transition("a1"))
        for change, field in BAD_ACTIONS:
            answer = await nurse.post("/api/actions", json=good | change, headers=CHANGE)
            assert (answer.status_code, answer.json()["details"]) == (400, {"field": field}), change
        answer = await nurse.post("/api/actions", json={"kind": "note"}, headers=CHANGE)
        assert answer.json()["details"] == {"field": "action_id"}
        cases: list[tuple[str | bytes, int, str]] = [
            (json.dumps(good | {"alert_id": "nope"}), 404, "unknown_alert"),
            (json.dumps({k: v for k, v in good.items() if k != "alert_id"} | {"bed": "W9-01"}), 404, "unknown_bed"),
            ("{", 400, "not_json"),
            ("\ud800".encode("utf-8", "surrogatepass"), 400, "not_json"),
            (b"[" * 10_000, 400, "bad_field"),
            (b'"' + b"x" * 20_000 + b'"', 413, "too_large"),
        ]
        for body, status, code in cases:
            headers = CHANGE | {"Content-Type": "application/json"}
            answer = await nurse.post("/api/actions", content=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
        answer = await nurse.post("/api/actions", content=json.dumps(good), headers=CHANGE)
        assert answer.status_code == 415
    rows = (tmp_path / "audit.log").read_text()
    assert "explode" not in rows
    assert "bell" not in rows
    assert verify(tmp_path / "audit.log")[1] == []


@pytest.mark.asyncio
async def test_no_request_whatever_makes_the_feed_fail(tmp_path: Path) -> None:
    strange = ["%00", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%ff", "a" * 5000, "'\"<script>", "%0d%0aX: y", "//", "*"]
    async with serve(tmp_path) as feed, feed.client("admin") as admin:
        feed.score()
        for text in strange:
            for path in (
                f"/{text}",
                f"/static/{text}",
                f"/web/{text}",
                f"/api/beds/{text}/trend",
                f"/api/alerts/{text}/why",
                f"/api/wall?ward={text}",
                f"/api/beds/W1-01/trend?s={text}",
                f"/api/audit?limit={text}&before={text}",
            ):
                for method in ("GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE"):
                    if (method, path) == ("POST", "/api/alerts"):
                        continue
                    answer = await admin.request(method, path, headers=CHANGE)
                    known = answer.status_code < 500 or answer.json()["code"] == "broker_away"
                    assert known, (method, path, answer.text)
                    assert "Traceback" not in answer.text
