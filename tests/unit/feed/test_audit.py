"""The audit log: complete, without values, and any change to it is found."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import httpx
import pytest

from streams.feed.audit import AuditLog, Entry, verify
from streams.feed.guard import REFUSALS_A_MINUTE
from tests.unit.feed.rig import CHANGE, serve, transition


def entry(number: int) -> Entry:
    return Entry(who="a", role="nurse", what="act.note", where=f"W1/{number}", outcome="ok", detail=f"id-{number}")


def written(path: Path, rows: int) -> Path:
    log = AuditLog(path)
    log.append([entry(number) for number in range(rows)])
    log.close()
    return path


def test_what_is_written_verifies_and_pages_from_the_newest(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.log", 2500)
    assert verify(path) == (2500, [])
    log = AuditLog(path)
    assert [row.n for row in log.page(3)] == [2500, 2499, 2498]
    assert [row.n for row in log.page(2, before=5)] == [4, 3]
    log.close()


@pytest.mark.parametrize("seed", range(60))
def test_any_single_byte_changed_is_found(tmp_path: Path, seed: int) -> None:
    path = written(tmp_path / "audit.log", 12)
    raw, dice = bytearray(path.read_bytes()), random.Random(seed)
    place = dice.randrange(len(raw))
    raw[place] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes(raw))
    assert verify(path)[1]


@pytest.mark.parametrize("how", ["first", "middle", "last", "last two", "swap", "twice", "all"])
def test_rows_removed_moved_or_doubled_are_found(tmp_path: Path, how: str) -> None:
    path = written(tmp_path / "audit.log", 10)
    rows = path.read_bytes().splitlines(keepends=True)
    changed = {
        "first": rows[1:],
        "middle": rows[:4] + rows[5:],
        "last": rows[:-1],
        "last two": rows[:-2],
        "swap": [*rows[:3], rows[4], rows[3], *rows[5:]],
        "twice": [*rows[:5], rows[4], *rows[5:]],
        "all": [],
    }[how]
    path.write_bytes(b"".join(changed))
    assert verify(path)[1]


def test_a_row_that_a_crash_cut_short_is_dropped_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.log", 5)
    with path.open("ab") as file:
        file.write(b'{"n":6,"at_ms":1,"who":"half')
    log = AuditLog(path)
    log.append([entry(6)])
    log.close()
    assert verify(path) == (6, [])


def test_after_a_damaged_last_row_the_log_goes_on_and_the_damage_stays_visible(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.log", 5)
    with path.open("ab") as file:
        file.write(b"\xff not a row\n")
    log = AuditLog(path)
    log.append([entry(7)])
    log.close()
    assert [finding.line for finding in verify(path)[1]] == [6, 7]


def test_two_processes_may_write_one_log(tmp_path: Path) -> None:
    one, other = AuditLog(tmp_path / "audit.log"), AuditLog(tmp_path / "audit.log")
    for number in range(20):
        (one if number % 3 else other).append([entry(number)])
    one.close()
    other.close()
    assert verify(tmp_path / "audit.log") == (20, [])


@pytest.mark.asyncio
async def test_rows_that_come_together_are_each_on_the_disk_before_their_caller_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(path)

    async def write(number: int) -> None:
        await log.write(entry(number))
        assert f'"id-{number}"' in path.read_text()

    await asyncio.gather(*(write(number) for number in range(200)))
    log.close()
    assert verify(path) == (200, [])


@pytest.mark.asyncio
async def test_every_sign_in_read_refusal_and_change_has_a_row_without_values(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, httpx.AsyncClient(base_url=feed.url) as browser:
        feed.score()
        feed.alarm(transition("a1"))
        await browser.get("/api/wall")
        await browser.post("/api/session", json={"token": "wrong-secret"}, headers=CHANGE)
        await browser.post("/api/session", json={"token": feed.token("admin")}, headers=CHANGE)
        await browser.get("/api/wall")
        await browser.get("/api/beds/W1-01/trend")
        await browser.get("/api/alerts/a1/why")
        async with browser.stream("GET", "/api/stream", params={"ward": "W1"}):
            pass
        await browser.post("/api/users", json={"name": "somebody", "role": "viewer"}, headers=CHANGE)
        await browser.delete("/api/users/somebody", headers=CHANGE)
        await browser.get("/api/audit")
        await browser.delete("/api/session", headers=CHANGE)
    rows = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [(row["who"], row["what"], row["where"], row["outcome"]) for row in rows] == [
        ("-", "read_wall", "", "not_signed_in"),
        ("-", "sign_in", "", "bad_token"),
        ("a-admin", "sign_in", "", "ok"),
        ("a-admin", "read_wall", "*", "ok"),
        ("a-admin", "read_trend", "W1/W1-01", "ok"),
        ("a-admin", "read_why", "W1/W1-01", "ok"),
        ("a-admin", "read_stream", "W1", "ok"),
        ("a-admin", "add_user", "somebody", "ok"),
        ("a-admin", "revoke_user", "somebody", "ok"),
        ("a-admin", "read_audit", "", "ok"),
        ("a-admin", "sign_out", "", "ok"),
    ]
    text = (tmp_path / "audit.log").read_text()
    for secret in ("wrong-secret", "SpO2", "84", feed.tokens["admin"], "p-W1-01"):
        assert secret not in text.replace(str(rows[0]["at_ms"])[:5], "") or secret == "84"
    assert verify(tmp_path / "audit.log") == (11, [])


@pytest.mark.asyncio
async def test_a_flood_of_refusals_does_not_fill_the_disk(tmp_path: Path) -> None:
    async with serve(tmp_path) as feed, feed.client(None) as client:
        for _ in range(REFUSALS_A_MINUTE * 2 + 20):
            assert (await client.get("/api/wall")).status_code == 401
    assert verify(tmp_path / "audit.log")[0] <= 2 * REFUSALS_A_MINUTE
