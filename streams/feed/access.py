"""Who may do what: users with hashed tokens, sessions kept on the server, and a limit on guessing."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
import structlog

from contracts.errors import Misconfigured

log = structlog.get_logger(__name__)

Clock = Callable[[], float]
"""Seconds since the epoch."""

IDLE_S: Final = 3600.0
LIFETIME_S: Final = 7 * 24 * 3600.0
MOST_SESSIONS: Final = 2000
SAVE_EVERY_S: Final = 30.0
FAILURES: Final = 10
FAILURES_IN_S: Final = 300.0
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
DEMO_ACTOR: Final = "demo-nurse"


class Role(StrEnum):
    """Each role may do what those before it may."""

    VIEWER = "viewer"
    NURSE = "nurse"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Whether this role may do what ``needed`` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


class User(msgspec.Struct, frozen=True):
    """A user; the token itself is nowhere kept."""

    name: str
    role: Role
    sha256: str
    created_ms: int


class Identity(msgspec.Struct, frozen=True):
    """Who a request comes from. ``session`` is the key of the session behind it, None for a bearer token."""

    actor: str
    role: Role
    demo: bool = False
    session: str | None = None


class Session(msgspec.Struct):
    """One signed-in browser. ``of`` ties it to the user's present token; ``key`` is the hash of the cookie."""

    key: str
    actor: str
    role: Role
    demo: bool
    of: str
    created_s: float
    used_s: float


class _UsersFile(msgspec.Struct):
    version: int = 1
    users: dict[str, User] = {}


def digest(secret: str) -> str:
    """The form in which tokens and session ids are kept; they are random, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Users:
    """The users file: JSON, readable by its owner only, changed by the feed and by ``ward user``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}
        self.refresh()

    def refresh(self) -> bool:
        """Read the file again when it changed; whether it did. Raises Misconfigured when it is not a users file."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            changed, self._stamp, self._users = bool(self._users), None, {}
            return changed
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return False
        self._users = self._read()
        self._stamp = stamp
        return True

    def all(self) -> list[User]:
        """Everyone, by name."""
        return [self._users[name] for name in sorted(self._users)]

    def named(self, name: str) -> User | None:
        """The user of that name."""
        return self._users.get(name)

    def by_token(self, token: str) -> User | None:
        """Whose token it is. Takes the same time for every wrong one."""
        given = digest(token)
        found = None
        for user in self._users.values():
            if hmac.compare_digest(user.sha256, given):
                found = user
        return found

    def add(self, name: str, role: Role) -> str:
        """Add a user and return the token, this once. Raises ValueError on a bad name, KeyError when it exists."""
        if not NAME.fullmatch(name):
            raise ValueError("a name has 1 to 64 of a-z 0-9 . _ - and starts with a letter or digit")
        if name == DEMO_ACTOR:
            raise ValueError(f"{name} is the name of the demo's own actor")
        token = secrets.token_urlsafe(32)
        with self._changing() as users:
            if name in users:
                raise KeyError(name)
            users[name] = User(name, role, digest(token), time.time_ns() // 1_000_000)
        return token

    def revoke(self, name: str) -> None:
        """Remove a user. Raises KeyError when there is none of that name."""
        with self._changing() as users:
            del users[name]

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, User]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            users = self._read() if self.path.exists() else {}
            yield users
            write_private(self.path, msgspec.json.format(msgspec.json.encode(_UsersFile(users=users)), indent=2))
            self.refresh()
        finally:
            os.close(lock)

    def _read(self) -> dict[str, User]:
        try:
            content = msgspec.json.decode(self.path.read_bytes(), type=_UsersFile)
        except (OSError, msgspec.DecodeError) as wrong:
            raise Misconfigured(f"users file {self.path}: {wrong}; see WARD_FEED_USERS") from wrong
        if content.version != 1:
            raise Misconfigured(f"users file {self.path}: version {content.version} is not known; 1 is")
        return content.users


def write_private(path: Path, data: bytes) -> None:
    """Replace a file at once, readable by its owner only, and see it onto the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


class Sessions:
    """Signed-in browsers, bounded in number; kept in a private file so that a restart of the feed signs nobody out."""

    def __init__(self, path: Path | None, clock: Clock = time.time, *, demo: bool = False) -> None:
        self._path = path
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._saved_s = clock()
        if path is not None and path.exists():
            try:
                kept = msgspec.json.decode(path.read_bytes(), type=list[Session])
            except (OSError, msgspec.DecodeError) as wrong:
                raise Misconfigured(f"sessions file {path}: {wrong}; remove it to sign everyone out") from wrong
            self._sessions.update((session.key, session) for session in kept if demo or not session.demo)

    def open(self, actor: str, role: Role, of: str, *, demo: bool = False) -> str:
        """Start a session and return the secret that goes into the cookie."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        key = digest(secret)
        self._sessions[key] = Session(key, actor, role, demo, of, now, now)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        self.save()
        return secret

    def find(self, secret: str) -> Session | None:
        """The live session of a cookie, marked as used now."""
        return self.touch(digest(secret))

    def touch(self, key: str) -> Session | None:
        """The live session of that key, marked as used now; an expired one is ended."""
        session = self._sessions.get(key)
        if session is None:
            return None
        now = self._clock()
        if now - session.used_s > IDLE_S or now - session.created_s > LIFETIME_S:
            self.close(key)
            return None
        session.used_s = now
        self._sessions.move_to_end(key)
        if now - self._saved_s > SAVE_EVERY_S:
            self.save()
        return session

    def close(self, key: str) -> None:
        """End a session."""
        if self._sessions.pop(key, None) is not None:
            self.save()

    def close_where(self, ended: Callable[[Session], bool]) -> None:
        """End every session for which ``ended`` holds."""
        for key in [key for key, session in self._sessions.items() if ended(session)]:
            self.close(key)

    def save(self) -> None:
        """Write the sessions file."""
        self._saved_s = self._clock()
        if self._path is not None:
            write_private(self._path, msgspec.json.encode(list(self._sessions.values())))

    def __len__(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)


class Attempts:
    """Wrong sign-ins an address may make: ``FAILURES`` within ``FAILURES_IN_S``."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until that address may try again; 0 when it may now."""
        failures = self._failures.get(address)
        if failures is None or len(failures) < FAILURES:
            return 0.0
        return max(0.0, failures[0] + FAILURES_IN_S - self._clock())

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        failures = self._failures.setdefault(address, deque(maxlen=FAILURES))
        failures.append(self._clock())
        self._failures.move_to_end(address)
        while len(self._failures) > 10_000:
            self._failures.popitem(last=False)


class Access:
    """Users, sessions and attempts together: from credentials to an identity."""

    def __init__(self, users: Users, sessions: Sessions, attempts: Attempts) -> None:
        self.users = users
        self.sessions = sessions
        self.attempts = attempts
        self._damaged = False

    def refresh(self) -> None:
        """Take over changes that another process made; a file that is damaged while we run changes nothing."""
        try:
            self.users.refresh()
        except Misconfigured as damaged:
            if not self._damaged:
                log.error("the users file is damaged, going on with the users known before", why=str(damaged))
            self._damaged = True
        else:
            self._damaged = False

    def by_token(self, token: str) -> Identity | None:
        """Who a bearer token belongs to."""
        self.refresh()
        user = self.users.by_token(token)
        return Identity(user.name, user.role) if user is not None else None

    def by_cookie(self, secret: str) -> Identity | None:
        """Who a session cookie belongs to."""
        return self._of(self.sessions.find(secret))

    def still(self, session_key: str | None, actor: str) -> bool:
        """Whether an open stream may go on: its session lives, or its bearer's user is still there."""
        if session_key is None:
            return self.users.named(actor) is not None
        return self._of(self.sessions.touch(session_key)) is not None

    def sign_in(self, token: str) -> tuple[str, Identity] | None:
        """A new session for that token: the cookie's secret and who it is."""
        self.refresh()
        user = self.users.by_token(token)
        if user is None:
            return None
        secret = self.sessions.open(user.name, user.role, user.sha256[:16])
        return secret, Identity(user.name, user.role, session=digest(secret))

    def demo(self) -> tuple[str, Identity]:
        """A session for the demo's own nurse."""
        secret = self.sessions.open(DEMO_ACTOR, Role.NURSE, "", demo=True)
        return secret, Identity(DEMO_ACTOR, Role.NURSE, demo=True, session=digest(secret))

    def _of(self, session: Session | None) -> Identity | None:
        if session is None:
            return None
        if session.demo:
            return Identity(session.actor, session.role, demo=True, session=session.key)
        self.refresh()
        user = self.users.named(session.actor)
        if user is None or user.sha256[:16] != session.of:
            self.sessions.close(session.key)
            return None
        return Identity(user.name, user.role, session=session.key)
