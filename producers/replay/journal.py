"""What is known of each replay, in a folder of its own under the state folder; survives a kill at any moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.errors import Misconfigured, Transient
from contracts.replays import DECIDED, decided
from contracts.settings import Settings
from producers.replay.pacing import LatenessFigures
from producers.replay.plan import Plan
from producers.replay.topics import Found, NotFound

ENTRY: Final = "replay.json"
REPORT_JSON: Final = "report.json"
REPORT_HTML: Final = "report.html"
_LOCK: Final = ".running"


class State(StrEnum):
    """How far a replay has come."""

    MAKING = "making"
    RUNNING = "running"
    KILLED = "killed"
    STOPPED = "stopped"
    FAILED = "failed"
    FINISHED = "finished"


class Seek(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the span that was left out, in the log's time."""

    from_ms: int
    to_ms: int


class Run(msgspec.Struct, kw_only=True):
    """One go at a replay; a resumed one has had several. ``records`` acknowledged by the broker."""

    began_ms: int
    ended_ms: int = 0
    state: State = State.RUNNING
    records: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    paused_s: float = 0.0
    span_ms: int = 0
    lateness: LatenessFigures | None = None
    unshifted: int = 0
    why: str | None = None
    pace: tuple[tuple[float, int], ...] = ()

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds if self.seconds else 0.0


class Deciding(msgspec.Struct, frozen=True, kw_only=True):
    """How a replay is decided as it comes: by the policy in that file's words (None: the one that is built in), and of
    some models by another version than the log names."""

    policy: str | None = None
    models: tuple[str, ...] = ()


class Entry(msgspec.Struct, kw_only=True):
    """A replay: its plan, the topics it made (name -> ident), and for each log of the plan the offsets of the present
    leg and how many records the target held before it; a seek begins a new leg. Without ``deciding`` nothing is
    decided.

    What has been sent is not written here: the target itself says it, a record there for each kept one of the leg.
    """

    plan: Plan
    state: State
    idents: dict[str, str] = {}
    spans: list[tuple[int, int]] = []
    before: list[int] = []
    seeks: list[Seek] = []
    runs: list[Run] = []
    deciding: Deciding | None = None

    @property
    def name(self) -> str:
        """What it goes by."""
        return self.plan.wish.to

    @property
    def decided(self) -> dict[str, Found]:
        """By name the topics that decisions go to, and what each is like; none where nothing is decided."""
        if self.deciding is None:
            return {}
        return {decided(self.name, topic): Found(topic.name, "", topic.partitions, {}) for topic in DECIDED}


class Journal:
    """The replays of one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, settings: Settings) -> Journal:
        """That of the settings: WARD_STATE_DIR, else .ward beside the packages."""
        chosen = settings.state_dir
        state = Path(chosen).expanduser().resolve() if chosen else Path(__file__).resolve().parents[2] / ".ward"
        return cls(state / "replays")

    def place(self, name: str) -> Path:
        """The folder of one replay."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether it is known."""
        return (self.place(name) / ENTRY).exists()

    def load(self, name: str) -> Entry:
        """The replay of that name, as it stands. Raises NotFound, or Misconfigured for a damaged file."""
        path = self.place(name) / ENTRY
        try:
            entry = msgspec.json.decode(path.read_bytes(), type=Entry)
        except FileNotFoundError as wrong:
            raise NotFound(f"no replay {name!r}; `ward replay list` shows them") from wrong
        except msgspec.DecodeError as wrong:
            raise Misconfigured(
                f"{path} is damaged ({wrong}): delete its folder and the topics of the replay"
            ) from wrong
        if entry.state in (State.RUNNING, State.MAKING) and not self._is_held(name):
            entry.state = State.KILLED
        return entry

    def all(self) -> list[Entry]:
        """Every replay, the newest first."""
        if not self.folder.is_dir():
            return []
        names = [path.name for path in self.folder.iterdir() if self.has(path.name)]
        return sorted(map(self.load, names), key=lambda entry: -entry.plan.made_ms)

    def save(self, entry: Entry) -> None:
        """Write it down; a reader sees the old or the new state, never half of it."""
        self.write(entry.name, ENTRY, msgspec.json.format(msgspec.json.encode(entry), indent=1))

    def write(self, name: str, file: str, content: bytes) -> Path:
        """Put a file into a replay's folder at once. Raises Transient when the disk takes nothing more."""
        path = self.place(name) / file
        draft = path.with_name(f".{file}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(path)
        except OSError as failure:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise Transient(f"cannot write {path}: {failure.strerror}; make room and go on by --resume") from failure
        return path

    def forget(self, name: str) -> None:
        """Remove its folder."""
        shutil.rmtree(self.place(name), ignore_errors=True)

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Be the only one who runs this replay. Raises Misconfigured when another process does."""
        place = self.place(name)
        try:
            place.mkdir(parents=True, exist_ok=True)
            lock: Any = (place / _LOCK).open("a")
        except OSError as failure:
            raise Transient(f"cannot write {place}: {failure.strerror}; make room, or set WARD_STATE_DIR") from failure
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Misconfigured(f"replay {name} is running in another process: stop that one first") from None
            try:
                yield
            finally:
                if not self.has(name):
                    self.forget(name)

    def _is_held(self, name: str) -> bool:
        try:
            with (self.place(name) / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    def rate(self) -> float | None:
        """Records a second that the largest unpaced replay reached; None when there was none worth the name."""
        done = [
            run for entry in self.all() if entry.plan.wish.speed is None for run in entry.runs if run.records >= 10_000
        ]
        return max(done, key=lambda run: run.records).rate if done else None
