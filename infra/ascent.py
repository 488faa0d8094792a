"""The way up: starts what can start, in order, while the rest is still being fetched; waits until all is well."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from contracts.errors import Transient
from infra import site as sites
from infra.processes import PROCESSES, READ_BY, Process
from infra.site import Site
from infra.supervisor import MARK, Seen, living

if TYPE_CHECKING:
    from infra.stack import Stack

POLL_S: Final = 0.1
KEEP_LOG_BYTES: Final = 20_000_000
AT_ONCE: Final = max(2, os.cpu_count() or 2)
"""A process starts when fewer than this many above it in the table are still on their way: the wall before the lake."""
CRASHES: Final = 4
"""This many ends while starting, and waiting longer is no use."""

INHERITED: Final = frozenset(
    ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "CI")
)
"""All that a child takes over of the caller's environment; WARD_* settings are handed to our own processes besides."""


class Ascent:
    """One way up: starts what can start, waits until all is well."""

    def __init__(
        self,
        stack: Stack,
        site: Site,
        processes: Sequence[Process],
        coming: Mapping[str, Future[float]],
        on_well: Callable[[str], None],
    ) -> None:
        self.stack, self.site, self.processes, self.coming, self.on_well = stack, site, processes, coming, on_well
        self.began = time.monotonic()
        self.started: dict[str, float] = {}
        self.well: dict[str, float] = {}
        self.prepared: dict[str, Future[None]] = {}
        self.running_once: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts: dict[str, int] = {}

    def run(self) -> dict[str, float]:
        """Climb; see Stack.up."""
        pause = threading.Event()
        try:
            with ThreadPoolExecutor(len(self.processes) or 1, thread_name_prefix="prepare") as pool:
                while len(self.well) < len(self.processes):
                    for process in self.processes:
                        if process.name not in self.well and all(need in self.well for need in process.needs):
                            self._advance(process, pool)
                    pause.wait(POLL_S)
        finally:
            for child in self.running_once.values():
                if child.poll() is None:
                    child.kill()
                child.wait()
        return self.well

    def _advance(self, process: Process, pool: ThreadPoolExecutor) -> None:
        name = process.name
        if name not in self.prepared:
            self.prepared[name] = pool.submit(self._prepare, process)
        elif self.prepared[name].done():
            self.prepared[name].result()
            if name not in self.started:
                if self._unwell_above(process) >= AT_ONCE:
                    return
                self.started[name] = time.monotonic()
                self._start(process)
            trouble = self._trouble(process)
            if trouble is None:
                self.well[name] = round(time.monotonic() - self.started[name], 2)
                self.on_well(name)
                self.stack.say(f"{name:13} {'done' if process.once else 'healthy'} after {self.well[name]:.1f} s")
            else:
                self._give_up_when_hopeless(process, trouble)

    def _unwell_above(self, process: Process) -> int:
        above = PROCESSES[: PROCESSES.index(process)]
        return sum(other in above and other.name not in self.well for other in self.processes)

    def _prepare(self, process: Process) -> None:
        for item in process.fetches:
            if item in self.coming:
                self.coming[item].result()
        if process.prepare is not None and self.stack.pid(process.name) is None:
            process.prepare(self.site)

    def _start(self, process: Process) -> None:
        log = self.site.log(process.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > KEEP_LOG_BYTES:
            shutil.move(log, log.with_suffix(".log.1"))
        environ = child_environment(self.stack.state) | settings_of(process, self.site, os.environ)
        argv = process.command(self.site)
        spec = {
            "argv": argv,
            "env": environ,
            "cwd": str(sites.CHECKOUT),
            "log": str(log),
            "stop_s": process.stop_s,
            "nice": process.nice,
        }
        if process.once:
            with log.open("ab") as out:
                self.running_once[process.name] = subprocess.Popen(  # noqa: S603
                    argv, env=environ, cwd=sites.CHECKOUT, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
            return
        self.restarts[process.name] = self.stack._seen().get(process.name, Seen()).restarts  # noqa: SLF001
        self.stack._want(lambda wanted: wanted | {process.name: unless_same(wanted.get(process.name), spec)})  # noqa: SLF001

    def _trouble(self, process: Process) -> str | None:
        if process.once:
            code = self.running_once[process.name].poll()
            if code == 0:
                sites.write_atomically(self.stack.state / "done" / process.name, "")
                return None
            return "it is not finished" if code is None else f"it ended with {code}"
        self.stack.ensure_supervised()
        row = self.stack._seen().get(process.name, Seen())  # noqa: SLF001
        if living(row.pid, row.born) is None or row.spec != self.stack.wanted().get(process.name):
            return "it does not run"
        return process.health(self.site)

    def _give_up_when_hopeless(self, process: Process, trouble: str) -> None:
        waited = time.monotonic() - self.started[process.name]
        row = self.stack._seen().get(process.name, Seen())  # noqa: SLF001
        crashed = row.restarts - self.restarts.get(process.name, 0) >= CRASHES
        failed = process.once and trouble.startswith("it ended")
        if waited > process.ready_s or crashed or failed:
            why = "it ends again and again" if crashed else trouble
            raise Transient(
                f"{process.name} is not ready after {waited:.0f} s: {why}\n"
                f"--- end of {self.site.log(process.name)}\n{self.stack.tail(process.name)}"
            )


def settings_of(process: Process, site: Site, environ: Mapping[str, str]) -> dict[str, str]:
    """The WARD_* variables of one of our own processes: the topology's before the caller's; none for a server."""
    if process.is_server:
        return {}
    ours = {name: value for name, value in environ.items() if name.startswith("WARD_")} | site.settings()
    mine = {name: value for name, value in ours.items() if process.name in READ_BY.get(name, (process.name,))}
    return mine | dict(process.environ)


def child_environment(state: Path) -> dict[str, str]:
    """What every child inherits; the settings of our own processes come on top."""
    kept = {name: value for name, value in os.environ.items() if name in INHERITED}
    return kept | {MARK: str(state), "PYTHONPATH": str(sites.CHECKOUT), "PYTHONUNBUFFERED": "1"}


def unless_same(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """The old specification where the new one means the same, so that another shell's PATH restarts nothing."""

    def meaning(spec: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
        return spec["argv"], {name: value for name, value in spec["env"].items() if name.startswith("WARD_")}

    return old if old is not None and meaning(old) == meaning(new) else new
