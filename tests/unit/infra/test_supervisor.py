"""The supervisor: brings what runs to what is wanted, with patience for what keeps ending."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.stack import wait_until
from infra.supervisor import FIRST_PAUSE_S, LEFTOVERS, LONGEST_PAUSE_S, Seen, Supervisor, living, seen_file, wanted_file

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def supervise(state: Path) -> Iterator[Callable[[], Supervisor]]:
    """Makes supervisors of the state folder; what they started is killed and waited for after the test."""
    made: list[Supervisor] = []

    def make() -> Supervisor:
        made.append(Supervisor(state))
        return made[-1]

    yield make
    for child in (child for supervisor in made for child in supervisor.children.values()):
        child.kill()
        child.wait()


def want(state: Path, **commands: list[str]) -> None:
    specs: dict[str, Any] = {
        name: {"argv": argv, "env": {}, "cwd": "/", "log": str(state / f"{name}.log"), "stop_s": 0.3}
        for name, argv in commands.items()
    }
    wanted_file(state).write_text(json.dumps(specs))


def pid_of(state: Path, name: str) -> int:
    row = json.loads(seen_file(state).read_text())[name]
    assert living(row["pid"], row["born"])
    return int(row["pid"])


def test_a_wanted_process_runs_and_an_unwanted_one_ends(state: Path, supervise: Callable[[], Supervisor]) -> None:
    want(state, one=SLEEPER)
    supervisor = supervise()
    assert supervisor.look(time.monotonic())
    pid = pid_of(state, "one")
    want(state)
    assert wait_until(lambda: not supervisor.look(time.monotonic()), 10)
    assert not psutil.pid_exists(pid)


def test_processes_share_a_session_in_groups_of_their_own_so_that_one_may_give_way_to_another(
    state: Path, supervise: Callable[[], Supervisor]
) -> None:
    want(state, live=SLEEPER, store=SLEEPER, images=SLEEPER)
    specs = json.loads(wanted_file(state).read_text())
    specs["store"]["nice"], specs["images"]["nice"] = LEFTOVERS - 5, LEFTOVERS
    wanted_file(state).write_text(json.dumps(specs))
    supervise().look(time.monotonic())
    live, images = pid_of(state, "live"), pid_of(state, "images")
    assert os.getsid(live) == os.getsid(images) == os.getsid(0)  # a kernel may weigh sessions, not processes
    assert (os.getpgid(live), os.getpgid(images)) == (live, images)
    assert psutil.Process(images).nice() == max(10, psutil.Process(live).nice())
    if hasattr(os, "SCHED_IDLE"):
        assert os.sched_getscheduler(images) == os.SCHED_IDLE
        assert os.sched_getscheduler(pid_of(state, "store")) == os.SCHED_BATCH
        assert os.sched_getscheduler(live) == os.sched_getscheduler(0)


def test_a_process_deaf_to_sigterm_is_killed_when_its_time_is_over(
    state: Path, supervise: Callable[[], Supervisor]
) -> None:
    want(state, one=STUBBORN)
    supervisor = supervise()
    supervisor.look(time.monotonic())
    assert wait_until(lambda: (state / "one.log").read_text() != "", 10)
    want(state)
    began = time.monotonic()
    assert wait_until(lambda: not supervisor.look(time.monotonic()), 10)
    assert time.monotonic() - began >= 0.3


def test_a_killed_process_is_back_at_the_next_look(state: Path, supervise: Callable[[], Supervisor]) -> None:
    want(state, one=SLEEPER)
    supervisor = supervise()
    supervisor.look(time.monotonic())
    first = pid_of(state, "one")
    os.kill(first, signal.SIGKILL)
    assert wait_until(lambda: supervisor.children["one"].poll() is not None, 5)
    now = time.monotonic()
    supervisor.look(now)
    supervisor.look(now)
    assert pid_of(state, "one") != first
    assert supervisor.seen["one"].restarts == 1


def test_what_keeps_ending_is_started_less_and_less_often() -> None:
    row, now, pauses = Seen(), 0.0, []
    for _ in range(9):
        Supervisor._pause(Supervisor.__new__(Supervisor), row, now)
        pauses.append(row.next_start - now)
    assert pauses[0] == 0.0
    assert pauses[1] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_successor_takes_over_by_process_id_and_start_time(state: Path, supervise: Callable[[], Supervisor]) -> None:
    want(state, one=SLEEPER)
    first = supervise()
    first.look(time.monotonic())
    pid = pid_of(state, "one")
    successor = supervise()
    successor.look(time.monotonic())
    assert pid_of(state, "one") == pid
    want(state)
    assert wait_until(lambda: first.children["one"].poll() is not None or not successor.look(time.monotonic()), 10)


def test_a_reused_process_id_is_not_taken_for_ours() -> None:
    me = psutil.Process()
    assert living(me.pid, me.create_time()) is not None
    assert living(me.pid, me.create_time() - 60) is None


def test_a_changed_command_restarts_the_process(state: Path, supervise: Callable[[], Supervisor]) -> None:
    want(state, one=SLEEPER)
    supervisor = supervise()
    supervisor.look(time.monotonic())
    first = pid_of(state, "one")
    want(state, one=[*SLEEPER, "other"])

    def is_another() -> bool:
        supervisor.look(time.monotonic())
        return supervisor.seen["one"].pid not in (None, first)

    assert wait_until(is_another, 10)
    assert supervisor.seen["one"].restarts == 0


def test_a_program_that_does_not_exist_is_said_in_its_log(state: Path, supervise: Callable[[], Supervisor]) -> None:
    want(state, one=["/no/such/program"])
    supervisor = supervise()
    supervisor.look(time.monotonic())
    assert "cannot start one" in (state / "one.log").read_text()
    assert supervisor.seen["one"].last_exit == 127
