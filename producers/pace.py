"""Plays a source of frames to Kafka, one tick a second on one anchor, and says afterwards what came of it."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, Protocol

import msgspec

from contracts.errors import Misconfigured, Transient
from contracts.records import VitalsFrame
from contracts.settings import Settings
from producers.publish import Publisher

log = logging.getLogger(__name__)

FLUSH_S: Final = 8.0
_MOST_WAITS: Final = 100_000


class Source(Protocol):
    """Something that has frames for each second."""

    def tick(self) -> list[VitalsFrame] | None:
        """The frames of the next second; empty when nobody spoke in it, None when there is nothing more."""


class Played(msgspec.Struct, kw_only=True):
    """What was played. ``undelivered`` frames were still waiting for the broker at the end.

    ``cpu_ms_per_tick`` covers making, encoding and sending. ``behind_*`` is how late paced ticks were on their
    deadline; None when unpaced.
    """

    ticks: int = 0
    frames: int = 0
    readings: int = 0
    sent_bytes: int = 0
    delivered: int = 0
    failed: int = 0
    undelivered: int = 0
    seconds: float = 0.0
    cpu_ms_per_tick: float = 0.0
    behind_p99_ms: float | None = None
    behind_max_ms: float | None = None

    @property
    def complete(self) -> bool:
        """Every frame was acknowledged."""
        return not self.failed and not self.undelivered


def play(
    source: Source,
    publisher: Publisher,
    stop: threading.Event,
    *,
    ticks: int | None = None,
    paced: bool = True,
    before_tick: Callable[[], None] | None = None,
    flush_s: float = FLUSH_S,
) -> Played:
    """Publish tick after tick until ``ticks`` are done, the source ends, or ``stop`` is set; then flush.

    Paced ticks have deadlines at whole seconds from the first one: work or a stall delays a tick, never those after.
    """
    played = Played()
    behind_ms: list[float] = []
    cpu_s = time.process_time()
    begun_s = time.monotonic()
    try:
        while not stop.is_set() and (ticks is None or played.ticks < ticks):
            if paced:
                deadline_s = begun_s + played.ticks
                while (wait_s := deadline_s - time.monotonic()) > 0 and not stop.wait(wait_s):
                    pass
                if stop.is_set():
                    break
                behind_ms.append((time.monotonic() - deadline_s) * 1000)
                del behind_ms[:-_MOST_WAITS]
            if before_tick is not None:
                before_tick()
            frames = source.tick()
            if frames is None:
                break
            for frame in frames:
                publisher.publish(frame)
                played.frames += 1
                played.readings += sum(len(bed.readings) for bed in frame.beds)
            publisher.poll()
            played.ticks += 1
    except Transient:
        if not stop.is_set():
            raise
    played.undelivered = publisher.flush(flush_s)
    played.seconds = round(time.monotonic() - begun_s, 3)
    played.cpu_ms_per_tick = round((time.process_time() - cpu_s) * 1000 / max(played.ticks, 1), 3)
    played.delivered, played.failed, played.sent_bytes = publisher.delivered, publisher.failed, publisher.sent_bytes
    if behind_ms:
        behind_ms.sort()
        played.behind_p99_ms = round(behind_ms[int(0.99 * (len(behind_ms) - 1))], 1)
        played.behind_max_ms = round(behind_ms[-1], 1)
    return played


@contextmanager
def stopping_on_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """An event that SIGTERM and SIGINT set, and the signals that came, so that a producer can end in order."""
    stop, came = threading.Event(), list[int]()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop, came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def now_ms() -> int:
    """The wall's whole second, in epoch milliseconds: the anchor of a live run."""
    return int(time.time()) * 1000


def speak(settings: Settings) -> None:
    """Let log lines go to stderr, at the level of the settings."""
    level = logging.getLevelNamesMapping().get(settings.log_level.upper())
    if level is None:
        raise Misconfigured(f"WARD_LOG_LEVEL={settings.log_level!r}: it is DEBUG, INFO, WARNING or ERROR")
    handler = logging.StreamHandler(sys.stderr)
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def as_process(work: Callable[[Settings, Sequence[str]], int]) -> None:
    """Run ``work`` as the whole of a process: settings from the environment, exit codes as everywhere."""
    try:
        settings = Settings.from_env(os.environ)
        speak(settings)
        code = work(settings, sys.argv[1:])
    except Misconfigured as wrong:
        print(f"misconfigured: {wrong}", file=sys.stderr)
        code = 2
    except Transient as failure:
        print(f"unreachable: {failure}", file=sys.stderr)
        code = 4
    raise SystemExit(code)
