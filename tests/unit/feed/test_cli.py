"""`ward user` and `ward audit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.feed.cli import app


@pytest.fixture
def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("WARD_STATE_DIR", str(tmp_path))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return run


def test_a_user_lives_from_add_to_revoke(ward: object, tmp_path: Path) -> None:
    assert callable(ward)
    plain = ward("user", "add", "night", "--role", "nurse")
    assert (plain.exit_code, len(plain.stdout.strip())) == (0, 43)
    made = json.loads(ward("user", "add", "day", "--role", "viewer", "--json").stdout)
    assert (made["name"], made["role"], len(made["token"])) == ("day", "viewer", 43)
    listed = json.loads(ward("user", "list", "--json").stdout)["users"]
    assert [(user["name"], user["role"]) for user in listed] == [("day", "viewer"), ("night", "nurse")]
    assert "token" not in (tmp_path / "users.json").read_text()
    assert json.loads(ward("user", "revoke", "day", "--json").stdout) == {"revoked": "day"}
    assert ward("user", "revoke", "day").exit_code == 3
    assert ward("user", "add", "night").exit_code == 1
    assert ward("user", "add", "Night!").exit_code == 5
    assert ward("user", "add", "x", "--role", "king").exit_code == 2
    rows = json.loads(ward("audit", "tail", "--json").stdout)["rows"]
    assert [(row["what"], row["where"]) for row in rows] == [
        ("add_user", "night"),
        ("add_user", "day"),
        ("revoke_user", "day"),
    ]


def test_verify_tells_an_honest_log_from_a_changed_one(ward: object, tmp_path: Path) -> None:
    assert callable(ward)
    assert ward("audit", "verify").exit_code == 3
    ward("user", "add", "a")
    ward("user", "add", "b")
    assert json.loads(ward("audit", "verify", "--json").stdout) == {"rows": 2, "ok": True, "findings": []}
    log = tmp_path / "audit.log"
    log.write_bytes(log.read_bytes().replace(b'"where":"a"', b'"where":"c"'))
    changed = ward("audit", "verify", "--json")
    assert changed.exit_code == 6
    assert json.loads(changed.stdout)["findings"][0]["line"] == 1


def test_a_damaged_users_file_is_named(ward: object, tmp_path: Path) -> None:
    assert callable(ward)
    (tmp_path / "users.json").write_text("no")
    result = ward("user", "list")
    assert result.exit_code == 2
    assert "users.json" in result.stderr
