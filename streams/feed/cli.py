"""`ward user` and `ward audit`: who may use the feed, and whether its audit log is what was written."""

from __future__ import annotations

import getpass
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from contracts.settings import Settings
    from streams.feed.access import Users

USER_HELP = """Who may use the feed.

    ward user add night-shift --role nurse     # prints the token, once
    ward user list
    ward user revoke night-shift               # also ends open streams within seconds
"""
AUDIT_HELP = """The feed's audit log.

    ward audit verify                          # exit 6 when a row was edited, removed or moved
    ward audit tail --limit 20
"""

user = typer.Typer(help=USER_HELP, no_args_is_help=True, rich_markup_mode=None)
audit = typer.Typer(help=AUDIT_HELP, no_args_is_help=True, rich_markup_mode=None)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@user.command()
def add(
    name: Annotated[str, typer.Argument(help="a-z 0-9 . _ - ; at most 64.")],
    role: Annotated[str, typer.Option(help="viewer, nurse or admin.")] = "viewer",
    as_json: AsJson = False,
) -> None:
    """Add a user and print the token, which is kept nowhere."""
    from streams.feed.access import Role

    settings, users = _users(as_json)
    if role not in [known.value for known in Role]:
        _fail(2, "bad_role", f"{role} is not a role", "use viewer, nurse or admin", as_json)
    try:
        token = users.add(name, Role(role))
    except ValueError as bad:
        _fail(5, "bad_name", str(bad), "choose another name", as_json)
    except KeyError:
        _fail(1, "user_exists", f"{name} exists", f"ward user revoke {name} first", as_json)
    _note(settings, "add_user", name, role)
    if as_json:
        _print({"name": name, "role": role, "token": token})
        return
    print(f"{name} is a {role} now. The token, shown this once:", file=sys.stderr)
    print(token)


@user.command("list")
def list_users(as_json: AsJson = False) -> None:
    """All users, by name."""
    _, users = _users(as_json)
    everyone = users.all()
    if as_json:
        _print({"users": [{"name": u.name, "role": u.role.value, "created_ms": u.created_ms} for u in everyone]})
        return
    for one in everyone:
        print(f"{one.name:24} {one.role.value:8} since {_moment(one.created_ms)}")
    if not everyone:
        print("nobody yet: ward user add NAME --role nurse", file=sys.stderr)


@user.command()
def revoke(name: Annotated[str, typer.Argument(help="Whose token to take away.")], as_json: AsJson = False) -> None:
    """Remove a user; sessions and open streams end within seconds."""
    settings, users = _users(as_json)
    try:
        users.revoke(name)
    except KeyError:
        _fail(3, "unknown_user", f"there is no user {name}", "ward user list", as_json)
    _note(settings, "revoke_user", name, "")
    if as_json:
        _print({"revoked": name})
    else:
        print(f"{name} is gone", file=sys.stderr)


@audit.command()
def verify(
    file: Annotated[Path | None, typer.Option(help="Another log than the feed's own.")] = None, as_json: AsJson = False
) -> None:
    """Check every row against the chain; exit 6 when something does not fit."""
    from streams.feed.audit import verify as verify_log

    path = file if file is not None else _audit_path(as_json)
    try:
        rows, findings = verify_log(path)
    except FileNotFoundError:
        _fail(3, "no_log", f"there is no audit log at {path}", "start the feed, or name one with --file", as_json)
    if as_json:
        _print({"rows": rows, "ok": not findings, "findings": [{"line": f.line, "what": f.what} for f in findings]})
    else:
        for finding in findings:
            print(f"line {finding.line}: {finding.what}")
        print(f"{rows} rows, " + ("the chain holds" if not findings else "the log was changed"), file=sys.stderr)
    raise typer.Exit(6 if findings else 0)


@audit.command()
def tail(limit: Annotated[int, typer.Option(min=1, max=1000)] = 20, as_json: AsJson = False) -> None:
    """The newest rows, oldest of them first."""
    import msgspec

    from streams.feed.audit import AuditLog

    path = _audit_path(as_json)
    if not path.exists():
        _fail(3, "no_log", f"there is no audit log at {path}", "start the feed first", as_json)
    log = AuditLog(path)
    rows = log.page(limit)[::-1]
    log.close()
    if as_json:
        _print({"rows": [msgspec.structs.asdict(row) for row in rows]})
        return
    for row in rows:
        print(f"{_moment(row.at_ms)} {row.who:16} {row.what:16} {row.where:16} {row.outcome:12} {row.detail}")


def _users(as_json: bool) -> tuple[Settings, Users]:
    from contracts.errors import Misconfigured
    from streams.feed.access import Users
    from streams.feed.places import users_path

    settings = _settings(as_json)
    try:
        return settings, Users(users_path(settings))
    except Misconfigured as wrong:
        _fail(2, "misconfigured", str(wrong), "see WARD_FEED_USERS", as_json)


def _audit_path(as_json: bool) -> Path:
    from streams.feed.places import audit_path

    return audit_path(_settings(as_json))


def _settings(as_json: bool) -> Settings:
    from contracts.errors import Misconfigured
    from contracts.settings import Settings

    try:
        return Settings.from_env(os.environ)
    except Misconfigured as wrong:
        _fail(2, "misconfigured", str(wrong), "correct the environment", as_json)


def _note(settings: Settings, what: str, where: str, detail: str) -> None:
    from streams.feed.audit import AuditLog, Entry
    from streams.feed.places import audit_path

    log = AuditLog(audit_path(settings))
    who = f"os:{getpass.getuser()}"
    log.append([Entry(who=who, role="operator", what=what, where=where, outcome="ok", address="cli", detail=detail)])
    log.close()


def _fail(status: int, code: str, message: str, hint: str, as_json: bool) -> NoReturn:
    if as_json:
        _print({"code": code, "message": message, "hint": hint})
    else:
        print(f"{message}\n  {hint}", file=sys.stderr)
    raise typer.Exit(status)


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document))


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


app = typer.Typer(no_args_is_help=True)
app.add_typer(user, name="user")
app.add_typer(audit, name="audit")

if __name__ == "__main__":
    app()
