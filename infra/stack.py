"""One running topology: up in order with health, down in reverse; for the CLI, demo and tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from contracts.errors import Misconfigured, Transient, WardError
from infra import site as sites
from infra.ascent import POLL_S, Ascent, child_environment
from infra.fetch import java
from infra.fetch.everything import arriving
from infra.processes import (
    BY_NAME,
    PORTS,
    PREFERRED_PORTS,
    PROCESSES,
    Process,
    Profile,
    chosen,
    in_order,
    spelled_out,
    with_dependents,
)
from infra.site import Site
from infra.supervisor import MARK, Seen, end_group, living, seen_file, wanted_file

TAIL_LINES: Final = 15

Say = Callable[[str], None]


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """What `ward status` tells of one process. ``state`` is healthy, unhealthy, restarting, stopped or done."""

    name: str
    state: str
    does: str
    detail: str | None = None
    pid: int | None = None
    restarts: int = 0
    uptime_s: float | None = None
    rss_mb: float | None = None
    ports: dict[str, int] = {}


def wait_until(met: Callable[[], bool], within_s: float) -> bool:
    """Whether the condition is met before the time is over; asks ten times a second."""
    pause, deadline = threading.Event(), time.monotonic() + within_s
    while not met():
        if time.monotonic() > deadline:
            return False
        pause.wait(POLL_S)
    return True


class Stack:
    """The processes of one state folder. Every method may be called from another process than the one that said up.

    ``prefer`` names ports that the world expects, taken where they are free: there is one of each on a machine.
    """

    def __init__(
        self, state_dir: Path, cache_dir: Path, say: Say | None = None, prefer: Mapping[str, int] | None = None
    ) -> None:
        self.state = state_dir.resolve()
        self.cache = cache_dir.resolve()
        self.say: Say = say or (lambda line: None)
        self._prefer = prefer or {}
        self._extra: dict[str, str] = {}

    @classmethod
    def from_env(cls, environ: Mapping[str, str], say: Say | None = None) -> Stack:
        """The topology that the environment means: WARD_STATE_DIR and WARD_CACHE_DIR, or their defaults."""
        return cls(sites.state_dir(environ), sites.cache_dir(environ), say, PREFERRED_PORTS)

    # -- where it is ---------------------------------------------------------------------------------------------

    @property
    def endpoints(self) -> dict[str, int]:
        """The remembered ports, by name; empty before the first up."""
        return sites.remembered(self.state)

    def site(self) -> Site:
        """The places and addresses, for whoever builds a command or a client. Raises Transient before the first up."""
        if not self.endpoints:
            raise Transient("nothing was ever started here: `./ward up` first")
        return self._site(self.endpoints, None)

    def environment(self) -> dict[str, str]:
        """The WARD_* variables with which any client reaches this topology."""
        return self.site().settings()

    # -- up ------------------------------------------------------------------------------------------------------

    def up(
        self,
        names: Iterable[str] | None = None,
        profile: Profile = "core",
        extra_env: Mapping[str, str] | None = None,
        on_well: Callable[[str], None] | None = None,
        without: Iterable[str] = (),
    ) -> dict[str, float]:
        """Start the named processes and what they need, and wait until each is healthy; seconds each took.

        ``extra_env`` is added to the environment of our own processes and remembered. ``on_well`` is told each name
        as soon as it is healthy, before anything that needs it starts. ``without`` names what is left out, with all
        that needs it; nobody expects metrics of it then. What is missing is fetched meanwhile.
        Raises Transient with the tail of the log when a process does not get well in time.
        """
        if extra_env is not None:
            self._extra = dict(extra_env)
            sites.write_atomically(self.state / "extra.json", json.dumps(self._extra), mode=0o600)
        processes = chosen(names, profile, without)
        self._leave_out(with_dependents(spelled_out(without)), {process.name for process in processes})
        items = sorted({item for process in processes for item in process.fetches})
        with (
            sites.only_one(self.state / ".up.lock", "starting this topology"),
            arriving(self.cache, items) as coming,
        ):
            site = self._settle(java.find() if any(p.heap_mb for p in processes) else None)
            return Ascent(self, site, processes, coming, on_well or (lambda name: None)).run()

    def _leave_out(self, without: set[str], coming: set[str]) -> None:
        """Remember what was left out, until it is started after all."""
        left_out = (sites.left_out(self.state) | without) - coming
        if left_out != sites.left_out(self.state):
            sites.write_atomically(self.state / sites.LEFT_OUT, json.dumps(sorted(left_out)))

    def _settle(self, java_program: Path | None) -> Site:
        ports, running = self.endpoints, self._running()
        lost = [
            name for name in PORTS if name not in ports or not (_owner(name) in running or sites.is_free(ports[name]))
        ]
        for name in lost:
            if name in ports:
                self.say(f"port {ports[name]} of {name} is taken by another program; choosing a new one")
        if lost:
            kept = {name: port for name, port in ports.items() if name not in lost}
            ports = kept | sites.free_ports(lost, avoid=kept.values(), prefer=self._prefer)
            sites.write_atomically(self.state / "endpoints.json", json.dumps({"version": 1, "ports": ports}, indent=1))
        return self._site(ports, java_program)

    def _site(self, ports: Mapping[str, int], java_program: Path | None) -> Site:
        password, left_out = sites.password(self.state), sites.left_out(self.state)
        return Site(self.cache, self.state, ports, java_program, password, self._remembered_extra(), left_out)

    def _remembered_extra(self) -> dict[str, str]:
        path = self.state / "extra.json"
        if not self._extra and path.exists():
            self._extra = dict(json.loads(path.read_text()))
        return self._extra

    # -- down ----------------------------------------------------------------------------------------------------

    def down(self, names: Iterable[str] | None = None) -> list[str]:
        """Stop everything, or the named processes and what needs them, in reverse order; the names stopped.

        Also works when the supervisor is dead. Leaves no process of the topology behind.
        """
        running = self._running()
        asked = None if names is None else set(names)
        chosen(asked or ())
        going = set(running) if asked is None else with_dependents(asked) & set(running)
        stopped = [process.name for process in reversed(in_order(going))]
        waves = _waves(going)
        for wave in reversed(waves):
            self._want(lambda wanted, wave=wave: {n: s for n, s in wanted.items() if n not in wave})  # type: ignore[misc]  # early binding
            self._await_end(wave)
        if asked is None:
            self._want(lambda wanted: {})
            self._end_supervisor()
            self._end_strays()
            seen_file(self.state).unlink(missing_ok=True)
        return stopped

    def _await_end(self, names: Sequence[str]) -> None:
        patience = max((BY_NAME[n].stop_s for n in names), default=0.0) + 3.0
        if self.supervised() and wait_until(lambda: not (self._running().keys() & set(names)), patience):
            return
        for name, row in self._seen().items():
            if name in names and (process := living(row.pid, row.born)):
                process.terminate()
                psutil.wait_procs([process], timeout=BY_NAME[name].stop_s)
                end_group(process.pid)

    def _end_supervisor(self) -> None:
        if not wait_until(lambda: not self.supervised(), 5.0):
            pid, born = self._supervisor()
            if process := living(pid, born):
                process.kill()
                psutil.wait_procs([process], timeout=5)
        (self.state / "supervisor.json").unlink(missing_ok=True)

    def _end_strays(self) -> None:
        strays = self.strays()
        for process in strays:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(strays, timeout=5)

    def strays(self) -> list[psutil.Process]:
        """What carries this topology's mark and is in no list: started by it, forgotten by a killed supervisor."""
        known = {row.pid for row in self._running().values()} | {self._supervisor()[0], os.getpid()}
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(MARK) == str(self.state)
                if marked and process.pid not in known and not known & {parent.pid for parent in process.parents()}:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    # -- what is -------------------------------------------------------------------------------------------------

    def status(self) -> list[ProcessState]:
        """Every process of the table, as it is now; health is asked for anew."""
        if not self.endpoints:
            return [ProcessState(name=p.name, state="stopped", does=p.does) for p in PROCESSES]
        site, seen, wanted = self.site(), self._seen(), self.wanted()
        with ThreadPoolExecutor(len(PROCESSES)) as pool:
            return list(
                pool.map(lambda p: self._state_of(p, site, seen.get(p.name, Seen()), p.name in wanted), PROCESSES)
            )

    def _state_of(self, process: Process, site: Site, row: Seen, wanted: bool) -> ProcessState:
        alive = living(row.pid, row.born)
        state, detail = "stopped", None
        if process.once:
            state = "done" if (self.state / "done" / process.name).exists() else "stopped"
        elif alive is not None:
            detail = process.health(site)
            state = "unhealthy" if detail else "healthy"
        elif wanted:
            state, detail = "restarting", f"ended with {row.last_exit}; see `ward logs {process.name}`"
        else:
            detail = process.absent()
        return ProcessState(
            name=process.name,
            state=state,
            does=process.does,
            detail=detail,
            pid=alive.pid if alive else None,
            restarts=row.restarts,
            uptime_s=round(time.time() - row.born, 1) if alive else None,
            rss_mb=_rss_mb(alive) if alive else None,
            ports={port: site.ports[port] for port in process.ports if port in site.ports},
        )

    def supervised(self) -> bool:
        """Whether a supervisor looks after this topology."""
        return living(*self._supervisor()) is not None

    def pid(self, name: str) -> int | None:
        """The process id of a running process, else None. Raises Misconfigured for an unknown name."""
        if name not in BY_NAME:
            raise Misconfigured(f"no process {name}; there are {', '.join(BY_NAME)}")
        row = self._seen().get(name)
        process = living(row.pid, row.born) if row else None
        return process.pid if process else None

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a running process; its id. Raises Transient if it does not run."""
        pid = self.pid(name)
        if pid is None:
            raise Transient(f"{name} does not run")
        os.kill(pid, number)
        return pid

    def await_return(self, name: str, killed: int, within_s: float = 60.0) -> float:
        """Seconds until another process than ``killed`` runs under that name, healthy. Transient if none does."""
        began, site = time.monotonic(), self.site()
        if not wait_until(
            lambda: self.pid(name) not in (None, killed) and BY_NAME[name].health(site) is None, within_s
        ):
            raise Transient(f"{name} is not back {within_s:.0f} s after it was killed\n{self.tail(name)}")
        return time.monotonic() - began

    def tail(self, name: str, lines: int = TAIL_LINES) -> str:
        """The last lines of a process's log."""
        log = self.state / "logs" / f"{name}.log"
        if not log.exists():
            return "(no log)"
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 400 * lines))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])

    # -- the supervisor's files ----------------------------------------------------------------------------------

    def wanted(self) -> dict[str, Any]:
        """What should run, by name: the supervisor's orders."""
        path = wanted_file(self.state)
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _want(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        with sites.only_one(self.state / ".wanted.lock", "changing what should run"):
            sites.write_atomically(wanted_file(self.state), json.dumps(change(self.wanted()), indent=1), mode=0o600)

    def _seen(self) -> dict[str, Seen]:
        path = seen_file(self.state)
        return {name: Seen(**row) for name, row in json.loads(path.read_text()).items()} if path.exists() else {}

    def _running(self) -> dict[str, Seen]:
        return {name: row for name, row in self._seen().items() if living(row.pid, row.born)}

    def _supervisor(self) -> tuple[int | None, float]:
        path = self.state / "supervisor.json"
        try:
            row = json.loads(path.read_text())
        except FileNotFoundError:
            return None, 0.0
        return int(row["pid"]), float(row["born"])

    def ensure_supervised(self) -> None:
        """Start a supervisor if none looks after this topology; it outlives this process."""
        if self.supervised():
            return
        log = self.state / "logs" / "supervisor.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "infra.supervisor", str(self.state)],
                cwd=sites.CHECKOUT,
                env=child_environment(self.state),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            ).returncode = 0  # it is on its own; nobody waits for it
        if not wait_until(self.supervised, 20.0):
            raise WardError(f"the supervisor does not start\n{self.tail('supervisor')}")


def _owner(port: str) -> str:
    return next(p.name for p in PROCESSES if port in p.ports)


def _waves(names: Iterable[str]) -> list[list[str]]:
    """The names in start order, those that may start together in one wave. One-shots carry their needs through."""
    depth: dict[str, int] = {}
    for process in in_order(BY_NAME):
        depth[process.name] = 1 + max((depth[need] for need in process.needs), default=0)
    going = set(names)
    return [
        wave
        for level in sorted(set(depth.values()))
        if (wave := [n for n in depth if depth[n] == level and n in going])
    ]


def _rss_mb(process: psutil.Process) -> float | None:
    """Memory of a process and of those it started: Spark is a Java below our Python."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    total = 0
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += member.memory_info().rss
    return round(total / 2**20, 1)
