"""Who may call what: every route of the table with every kind of caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from starlette.routing import Mount, Route

from streams.feed.routes import FOLDERS, ROUTES
from tests.unit.feed.image_records import result
from tests.unit.feed.rig import CHANGE, Served, serve, transition

CALLERS = ("none", "bad", "bad cookie", "viewer", "nurse", "admin")

ACTION = {"action_id": "action-0001", "kind": "acknowledge", "ward": "W1", "bed": "W1-01", "alert_id": "a1"}
BODIES = {
    ("POST", "/api/session"): {"token": "not-a-token"},
    ("POST", "/api/actions"): ACTION,
    ("POST", "/api/users"): {"name": "somebody", "role": "viewer"},
    ("POST", "/api/images/{job_id}/feedback"): {"feedback_id": "feedback-0001", "verdict": "accept"},
    ("POST", "/api/risk/knee"): {"fields": {"sex": "neither"}},
    ("POST", "/api/replay"): {"what": "pause"},
}
PATHS = {"{bed}": "W1-01", "{alert_id}": "a1", "{name}": "nobody", "{job_id}": "j1", "{version}": "0" * 12}

OPEN = dict.fromkeys(CALLERS, 200) | {"bad": 401}
READ = dict.fromkeys(("none", "bad", "bad cookie"), 401) | dict.fromkeys(("viewer", "nurse", "admin"), 200)
KNOWN = ("viewer", "nurse", "admin")

EXPECTED: dict[tuple[str, str], dict[str, int]] = {
    ("GET", "/"): OPEN,
    ("GET", "/images"): OPEN,
    ("GET", "/images/{job_id}"): OPEN,
    ("GET", "/workbench"): OPEN,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): dict.fromkeys(CALLERS, 503) | {"bad": 401},
    ("GET", "/metrics"): OPEN,
    ("POST", "/api/session"): dict.fromkeys(CALLERS, 401),
    ("GET", "/api/session"): READ,
    ("DELETE", "/api/session"): READ,
    ("GET", "/api/wall"): READ,
    ("GET", "/api/stream"): READ,
    ("GET", "/api/beds/{bed}/trend"): READ,
    ("GET", "/api/beds/{bed}/forecast"): READ,
    ("GET", "/api/alerts/{alert_id}/why"): READ,
    ("POST", "/api/actions"): READ | {"viewer": 403, "nurse": 503, "admin": 503},
    ("GET", "/api/images"): READ,
    ("POST", "/api/images"): READ | {"viewer": 403, "nurse": 503, "admin": 503},
    ("GET", "/api/images/stream"): READ,
    ("GET", "/api/images/{job_id}"): READ,
    ("GET", "/api/images/{job_id}/preview"): READ | dict.fromkeys(KNOWN, 503),
    ("GET", "/api/images/{job_id}/heat"): READ | dict.fromkeys(KNOWN, 404),
    ("GET", "/api/images/{job_id}/pdf"): READ,
    ("POST", "/api/images/{job_id}/feedback"): READ | {"viewer": 403, "nurse": 503, "admin": 503},
    ("GET", "/api/beds/{bed}/images"): READ,
    ("GET", "/api/models/{name}/{version}/card"): READ | dict.fromkeys(KNOWN, 404),
    ("GET", "/api/risk/knee"): READ,
    ("POST", "/api/risk/knee"): READ | dict.fromkeys(KNOWN, 400),
    ("GET", "/api/replay"): READ | dict.fromkeys(KNOWN, 404),
    ("POST", "/api/replay"): READ | {"viewer": 403, "nurse": 404, "admin": 404},
    ("GET", "/api/audit"): READ | {"viewer": 403, "nurse": 403},
    ("POST", "/api/users"): READ | {"viewer": 403, "nurse": 403, "admin": 201},
    ("DELETE", "/api/users/{name}"): READ | {"viewer": 403, "nurse": 403, "admin": 404},
}
"""503 for an action, a verdict, an upload, a picture: let through, and this feed has no broker, no gateway and no HDFS.
The picture of the test has no heat, and the feed shows no replay."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def feed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with serve(tmp_path_factory.mktemp("feed")) as served:
        served.score()
        served.alarm(transition("a1"))
        served.image(result("j1"))
        for role in ("viewer", "nurse", "admin"):
            served.token(role)
        yield served


def credentials(feed: Served, caller: str) -> dict[str, str]:
    if caller == "none":
        return {}
    if caller == "bad":
        return {"Authorization": "Bearer not-a-token"}
    if caller == "bad cookie":
        return {"Cookie": "ward_session=not-a-session"}
    return feed.bearer(caller)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("rule", ROUTES, ids=lambda rule: f"{rule.method} {rule.path}")
@pytest.mark.asyncio(loop_scope="module")
async def test_each_caller_gets_exactly_what_the_matrix_says(feed: Served, rule: object, caller: str) -> None:
    from streams.feed.guard import Rule

    assert isinstance(rule, Rule)
    path = rule.path
    for placeholder, value in PATHS.items():
        path = path.replace(placeholder, value)
    headers = credentials(feed, caller) | ({} if rule.method == "GET" else CHANGE)
    body = BODIES.get((rule.method, rule.path))
    async with (
        httpx.AsyncClient(base_url=feed.url, timeout=20) as client,
        client.stream(rule.method, path, headers=headers, json=body) as answer,
    ):
        assert answer.status_code == EXPECTED[rule.method, rule.path][caller]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        if path.startswith("/api"):
            assert answer.headers["cache-control"] == "no-store"
        if answer.status_code >= 400:
            refusal = httpx.Response(200, content=await answer.aread()).json()
            assert refusal.keys() >= {"code", "message", "hint"}


def test_a_route_without_a_row_in_the_matrix_fails(tmp_path: Path) -> None:
    assert {(rule.method, rule.path) for rule in ROUTES} == set(EXPECTED)


def test_the_app_has_no_route_beside_the_table(tmp_path: Path) -> None:
    from contracts.settings import Settings
    from streams.feed.server import build_app

    app = build_app(Settings(state_dir=str(tmp_path)))
    built = {(method, r.path) for r in app.routes if isinstance(r, Route) for method in (r.methods or ())}
    assert {pair for pair in built if pair[0] != "HEAD"} == {(rule.method, rule.path) for rule in ROUTES}
    assert {r.path for r in app.routes if isinstance(r, Mount)} == set(FOLDERS)


def test_changes_are_never_open_except_signing_in() -> None:
    open_changes = [rule.path for rule in ROUTES if rule.needs is None and rule.method != "GET"]
    assert open_changes == ["/api/session"]
