"""Signs of life of the worker, and the judge that says when it is stuck."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

log = structlog.get_logger(__name__)

LOOP_S: Final = 20.0
"""The event loop must turn at least this often."""
LAG_S: Final = 30.0
"""A record that is in the log must move the state on within this time."""
UNASSIGNED_S: Final = 60.0
"""The group must have answered within this time while the broker can be reached."""
CHECK_S: Final = 1.0
BEAT_S: Final = 1.0


class Pulse:
    """What the watchdog looks at; written by the event loop, times from ``clock`` in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        now = clock()
        self.beat_at = now
        self.asked_at: float | None = now
        self._appended: dict[int, tuple[int, float]] = {}

    def beat(self) -> None:
        """The event loop turned."""
        self.beat_at = self._clock()

    async def keep_beating(self) -> None:
        """Show once a second that the event loop turns, whatever its tasks wait for."""
        while True:
            self.beat()
            await asyncio.sleep(BEAT_S)

    def appended(self, partition: int, offset: int) -> None:
        """Our own tick stands in the log at this offset."""
        self._appended[partition] = (offset, self._clock())

    def waiting_for_group(self) -> None:
        """Partitions were revoked or never assigned yet."""
        if self.asked_at is None:
            self.asked_at = self._clock()

    def assigned(self) -> None:
        """The group has answered."""
        self.asked_at = None
        self._appended.clear()

    def complaint(self, progress: Mapping[int, tuple[int, float]], broker_answers: Callable[[], bool]) -> str | None:
        """What is wrong, or None. ``progress``: per owned partition the next offset and when it last moved.

        A partition is behind when a tick of ours is in the log and was not taken; while the broker is away no tick gets
        there, so an outage is no reason to leave.
        """
        now = self._clock()
        if now - self.beat_at > LOOP_S:
            return f"the event loop has not turned for {now - self.beat_at:.0f} s"
        for partition, (offset, at) in self._appended.items():
            expected, moved_at = progress.get(partition, (offset + 1, now))
            if expected <= offset and now - max(at, moved_at) > LAG_S:
                return f"partition {partition} stands at {expected} while {offset} is in the log"
        if self.asked_at is not None and now - self.asked_at > UNASSIGNED_S and broker_answers():
            return f"no partitions from the group for {now - self.asked_at:.0f} s"
        return None


def answers(bootstrap: str) -> bool:
    """Whether something listens at the first address of a bootstrap list."""
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0):
            return True
    except OSError:
        return False


def watch(
    pulse: Pulse, progress: Callable[[], Mapping[int, tuple[int, float]]], bootstrap: str, stopped: threading.Event
) -> threading.Thread:
    """Judge once a second from a thread of its own; a stuck worker leaves with exit code 1, its stacks on stderr.

    A thread, because a stuck event loop cannot judge itself; ``os._exit``, because it would not let go either.
    Nothing is lost: position and state are in the log.
    """

    def body() -> None:
        while not stopped.wait(CHECK_S):
            complaint = pulse.complaint(progress(), lambda: answers(bootstrap))
            if complaint is not None:
                log.critical("stuck, leaving so that the supervisor starts a fresh worker", complaint=complaint)
                faulthandler.dump_traceback(file=sys.stderr)
                sys.stderr.flush()
                os._exit(1)

    thread = threading.Thread(target=body, name="watchdog", daemon=True)
    thread.start()
    return thread
