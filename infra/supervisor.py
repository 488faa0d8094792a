"""Keeps wanted processes running: reads what is wanted from one file, writes what is so to another.

``python -m infra.supervisor STATE_DIR`` looks five times a second. A process that ends is started again at once, one
that keeps ending is started less and less often. Killed itself, it leaves its processes running; its successor takes
them over by process id and start time. It ends when nothing is wanted and nothing runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from infra.site import only_one, write_atomically

LOOK_EVERY_S: Final = 0.2
STEADY_S: Final = 10.0
"""A process that ran this long before it ended is started again at once."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
LEFTOVERS: Final = 10
"""From this niceness on a process has no share of a busy core at all."""
MARK: Final = "WARDSTREAM_STATE"
"""Environment variable that every process of a topology carries: its state folder."""


def wanted_file(state: Path) -> Path:
    """What should run: name -> argv, env, cwd, log, stop_s."""
    return state / "wanted.json"


def seen_file(state: Path) -> Path:
    """What does run: name -> pid, born, restarts, last exit."""
    return state / "seen.json"


@dataclass
class Seen:
    """What is known of one process. ``born`` is its start in seconds since 1970, ``restarts`` counts unwanted ends."""

    pid: int | None = None
    born: float = 0.0
    restarts: int = 0
    last_exit: int | None = None
    quick_ends: int = 0
    next_start: float = 0.0
    stop_by: float | None = None
    spec: dict[str, Any] = field(default_factory=dict)


def living(pid: int | None, born: float) -> psutil.Process | None:
    """The process of that id, if it is still the one born then and not a zombie."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - born) < 0.05
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def end_group(pid: int) -> None:
    """Kill what is left of the process group that ``pid`` led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class Supervisor:
    """Brings what runs to what is wanted, one look at a time."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.seen: dict[str, Seen] = {}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        if seen_file(state).exists():
            rows = json.loads(seen_file(state).read_text())
            self.seen = {name: Seen(**row) for name, row in rows.items()}

    def look(self, now: float) -> bool:
        """One look; False when nothing is wanted and nothing runs. ``now`` is monotonic seconds."""
        before = json.dumps({name: asdict(row) for name, row in self.seen.items()})
        wanted = self._wanted()
        for name in self.seen.keys() | wanted.keys():
            self._bring(name, wanted.get(name), now)
        after = json.dumps({name: asdict(row) for name, row in self.seen.items()}, indent=1)
        if json.loads(before) != json.loads(after) or not seen_file(self.state).exists():
            write_atomically(seen_file(self.state), after, mode=0o600)
        return bool(wanted) or bool(self.seen)

    def _wanted(self) -> dict[str, Any]:
        path = wanted_file(self.state)
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _bring(self, name: str, spec: dict[str, Any] | None, now: float) -> None:
        row = self.seen.setdefault(name, Seen())
        process = self._alive(name, row)
        if process is not None and row.spec == spec:
            return
        if process is not None:
            self._stop(row, process, now)
        elif row.pid is not None:
            self._ended(name, row, expected=row.stop_by is not None, now=now)
        elif spec is None:
            del self.seen[name]
        elif row.spec != spec or now >= row.next_start:
            if row.spec != spec:
                row.quick_ends = 0
            self._start(name, row, spec, now)

    def _alive(self, name: str, row: Seen) -> psutil.Process | None:
        child = self.children.get(name)
        if child is not None and child.poll() is not None:
            row.last_exit = child.returncode
            del self.children[name]
            return None
        return living(row.pid, row.born)

    def _start(self, name: str, row: Seen, spec: dict[str, Any], now: float) -> None:
        log = Path(spec["log"])
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            try:
                child = subprocess.Popen(  # noqa: S603
                    spec["argv"],
                    env=spec["env"],
                    cwd=spec["cwd"],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    process_group=0,  # in one session: where the kernel groups by sessions, nice counts only within one
                )
            except OSError as failure:
                out.write(f"cannot start {name}: {failure}\n".encode())
                row.spec, row.last_exit = spec, 127
                self._pause(row, now)
                return
        self.children[name] = child
        process = psutil.Process(child.pid)
        if niceness := int(spec.get("nice", 0)):
            give_way(process, niceness)
        row.pid, row.born, row.spec, row.stop_by = child.pid, process.create_time(), spec, None

    def _stop(self, row: Seen, process: psutil.Process, now: float) -> None:
        if row.stop_by is None:
            row.stop_by = now + float(row.spec.get("stop_s", 10.0))
            process.terminate()
        elif now >= row.stop_by:
            end_group(process.pid)

    def _ended(self, name: str, row: Seen, expected: bool, now: float) -> None:
        assert row.pid is not None  # noqa: S101
        end_group(row.pid)
        lived = time.time() - row.born
        row.pid, row.stop_by = None, None
        if not expected:
            row.restarts += 1
            row.quick_ends = 0 if lived >= STEADY_S else row.quick_ends
            print(
                f"{name} ended with {row.last_exit} after {lived:.1f} s; starting it again", file=sys.stderr, flush=True
            )
            self._pause(row, now)

    def _pause(self, row: Seen, now: float) -> None:
        pause = 0.0 if row.quick_ends == 0 else min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (row.quick_ends - 1))
        row.next_start = now + pause
        row.quick_ends += 1


def give_way(process: psutil.Process, niceness: int) -> None:
    """It gets the lesser share of a busy core, and where the system knows of batch work it does not push a process
    that runs off its core by waking up. From ``LEFTOVERS`` on it has only what nobody else wants, and is off a core the
    moment that somebody does. What it starts inherits all of it."""
    process.nice(max(process.nice(), niceness))
    if hasattr(os, "SCHED_IDLE"):
        policy = os.SCHED_IDLE if niceness >= LEFTOVERS else os.SCHED_BATCH
        os.sched_setscheduler(process.pid, policy, os.sched_param(0))


def main() -> None:
    """Look until nothing is wanted, or until told to stop; then its processes go on under the next one."""
    state = Path(sys.argv[1])
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    with only_one(state / ".supervisor.lock", "supervising"):
        me = psutil.Process()
        write_atomically(state / "supervisor.json", json.dumps({"pid": me.pid, "born": me.create_time()}))
        supervisor = Supervisor(state)
        while supervisor.look(time.monotonic()) and not told.wait(LOOK_EVERY_S):
            pass
        (state / "supervisor.json").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
