"""What a replay, the program that decides over it and the feed that shows it tell each other.

Topics of decisions are named after the replay; how far it is and what is wanted of it are two small files in its
folder, written whole or not at all: only one machine runs a replay, and none of this belongs into a log.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from contracts.errors import Misconfigured, Transient
from contracts.topology import ALERTS, FORECASTS, SCORES, Topic

S = TypeVar("S", bound=msgspec.Struct)

PROGRESS: Final = "progress.json"
WANTED: Final = "wanted.json"
DECISIONS: Final = "decisions.json"
COPY: Final = "copy.json"
START: Final = "start.json"
"""What the decider began with; its own, gone when a replay is to be decided anew."""
POLICY: Final = "policy.toml"
"""The words of the policy that a replay is decided under, where it is not the built-in one."""
DECIDED: Final[tuple[Topic[Any], ...]] = (ALERTS, SCORES, FORECASTS)
"""The topics whose like a decided replay has."""
SILENT_MS: Final = 5000
"""A replay tells how far it is twice a second, paused or not: one that runs and was silent for so long has died."""
_LOCK: Final = ".wanted.lock"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")


def decided(replay: str, topic: Topic[Any]) -> str:
    """The name of the topic into which decisions over that replay go in place of ``topic``."""
    return f"{replay}_decided_{topic.name}"


def folder(state_dir: str | None, replay: str) -> Path:
    """Where a replay's files are: in WARD_STATE_DIR, else in .ward beside the packages.

    Raises Misconfigured for what no replay can be called, such as a path.
    """
    if not _NAME.fullmatch(replay):
        raise Misconfigured(
            f"no replay can be called {replay!r}: it is named as its topic, by letters, digits, _ and -"
        )
    state = Path(state_dir).expanduser().resolve() if state_dir else Path(__file__).resolve().parents[1] / ".ward"
    return state / "replays" / replay


class ReplayProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a replay is. ``at_ms``, ``from_ms`` and ``to_ms`` are the source log's; ``speed`` None: unpaced.

    ``state`` is running, stopped, failed or finished. ``vitals`` is the target that holds frames, None where none does;
    ``heeded`` the number of the newest wish that was answered, ``refused`` why it was not followed, where it was not.
    """

    replay: str
    sources: tuple[str, ...]
    vitals: str | None
    from_ms: int
    to_ms: int
    speed: float | None
    shift_ms: int | None
    state: str
    paused: bool
    at_ms: int
    sent: int
    of: int
    late_ms: float | None
    heeded: int
    told_ms: int
    refused: str | None = None

    def runs(self, now_ms: int) -> bool:
        """Whether it heeds wishes at that moment, as far as can be told without asking it."""
        return self.state == "running" and now_ms - self.told_ms < SILENT_MS


class Want(StrEnum):
    """What may be wanted of a running replay."""

    PAUSE = "pause"
    GO_ON = "go_on"
    SEEK = "seek"
    STOP = "stop"


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest wish; ``number`` grows by one with each. ``to_ms``: of a seek, ahead in the source log's time."""

    number: int
    what: Want
    to_ms: int | None = None
    by: str
    at_ms: int


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """What the target that holds frames is a copy of: the source's offsets from ``starts`` to before ``ends``, one a
    partition, the first record being of ``first_ms`` in the log's time.

    ``plain``: with nothing left out by a key and all times kept, so that what stood before the source's span stands
    before its copy too.
    """

    replay: str
    bootstrap: str
    source: str
    target: str
    first_ms: int
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    plain: bool


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay led to: ``hash`` is that of the canonical ledger, ``same_as_live`` None where no live one is there.

    ``alarms`` counts alarms raised by priority, advisories apart; ``models`` name@version as they were asked,
    ``missing`` those not to be had. ``over`` once all is decided; ``since`` says in words what stood at the start.
    """

    replay: str
    policy: str
    policy_hash: str
    models: tuple[str, ...]
    records: int
    transitions: int
    alarms: dict[str, int]
    hash: str
    hash_without_advisories: str
    same_as_live: bool | None
    over: bool
    told_ms: int
    since: str = ""
    advisories: int = 0
    missing: tuple[str, ...] = ()


def progress(folder: Path) -> ReplayProgress | None:
    """How far the replay of that folder is; None when it does not say, or not in words of this version."""
    return _read(folder / PROGRESS, ReplayProgress)


def wanted(folder: Path) -> Wanted | None:
    """The newest wish; None without any."""
    return _read(folder / WANTED, Wanted)


def decisions(folder: Path) -> Decisions | None:
    """What the replay led to, as far as it is decided; None when nothing is."""
    return _read(folder / DECISIONS, Decisions)


def copied(folder: Path) -> Copy | None:
    """What the replay's frames are a copy of; None where none are, or where nobody has asked for decisions yet."""
    return _read(folder / COPY, Copy)


def wish(folder: Path, what: Want, by: str, to_ms: int | None = None) -> int:
    """Wish something of the replay of that folder; the number of the wish, which its ``heeded`` reaches once answered.

    Safe beside other writers: each gets a number of its own. A newer wish takes the place of one not heeded yet.
    Raises Misconfigured for a seek without a moment, Transient when there is no such folder or the disk is full.
    """
    if (what is Want.SEEK) != (to_ms is not None):
        raise Misconfigured(f"{what}: a moment to go to belongs to a seek, and to nothing else")
    with _alone(folder):
        before, how_far = wanted(folder), progress(folder)
        number = 1 + max(before.number if before else 0, how_far.heeded if how_far else 0)
        at_ms = time.time_ns() // 1_000_000
        put(folder / WANTED, Wanted(number=number, what=what, to_ms=to_ms, by=by, at_ms=at_ms))
    return number


def put(path: Path, document: msgspec.Struct) -> None:
    """Write one of these files: a reader sees the old or the new one, never half of it.

    It is not forced to the disk, so that telling costs no time. Raises Transient when the disk takes nothing more.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
        draft.replace(path)
    except OSError as failure:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise Transient(f"cannot write {path}: {failure.strerror}") from failure


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        lock = (folder / _LOCK).open("a")
    except OSError as failure:
        raise Transient(f"cannot write {folder / _LOCK}: {failure.strerror}") from failure
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path, kind: type[S]) -> S | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None
