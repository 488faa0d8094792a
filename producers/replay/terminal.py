"""The person at a replay: keys while it runs, a line of progress, signals that end it in order."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final, TextIO

from producers.replay.pacing import Control
from producers.replay.run import Progress
from producers.replay.window import rfc3339

KEYS: Final = "space pauses, f skips a minute, F ten, q stops"
_SKIPS: Final = {"f": 60_000, "F": 600_000}


def press(key: str, control: Control) -> None:
    """What a key means; others mean nothing."""
    if key == " ":
        control.pause()
    elif key in _SKIPS:
        control.skip(_SKIPS[key])
    elif key in ("q", "Q", "\x04"):
        control.stop()


@contextlib.contextmanager
def heeding_keys(control: Control, keyboard: TextIO) -> Iterator[bool]:
    """Heed keys while the block runs; False where there is no terminal. The terminal is afterwards as it was."""
    if not (keyboard.isatty() and os.getpgrp() == os.tcgetpgrp(keyboard.fileno())):
        yield False
        return
    import termios
    import tty

    number = keyboard.fileno()
    before = termios.tcgetattr(number)
    over_read, over_write = os.pipe()

    def listen() -> None:
        while True:
            ready, _, _ = select.select([number, over_read], [], [])
            if over_read in ready:
                return
            typed = os.read(number, 1).decode(errors="replace")
            if not typed:
                return
            press(typed, control)

    listener = threading.Thread(target=listen, name="keys", daemon=True)
    tty.setcbreak(number)
    try:
        listener.start()
        yield True
    finally:
        os.write(over_write, b"x")
        listener.join()
        os.close(over_read)
        os.close(over_write)
        termios.tcsetattr(number, termios.TCSADRAIN, before)


@contextlib.contextmanager
def stopping_on_signals(control: Control) -> Iterator[list[int]]:
    """SIGINT and SIGTERM stop the replay in order; those that came."""
    came: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        control.stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Teller:
    """Progress on stderr: one line that is written over on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, speed: float | None, last_ms: int, out: TextIO = sys.stderr) -> None:
        self._speed, self._last_ms, self._out = speed, last_ms, out
        self._over = out.isatty()
        self._turn = 0

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        self._turn += 1
        if self._over:
            self._out.write(f"\r\x1b[K{self.line(progress)}")
            self._out.flush()
        elif self._turn % 10 == 1:
            print(self.line(progress), file=self._out, flush=True)

    def line(self, progress: Progress) -> str:
        """``1,204 of 8,000 (15 %), log 2026-01-02T06:10:00Z, late 0.4 ms, 96 s left``."""
        share = 100 * progress.sent / max(progress.of, 1)
        parts = [f"{progress.sent:,} of {progress.of:,} ({share:.0f} %)", f"log {rfc3339(progress.at_ms)}"]
        if progress.late_ms is not None:
            parts.append(f"late {progress.late_ms:.1f} ms")
        if progress.paused:
            parts.append("paused")
        elif self._speed is not None:
            parts.append(f"{max(self._last_ms - progress.at_ms, 0) / 1000 / self._speed:.0f} s left")
        elif progress.sent and progress.seconds:
            parts.append(f"{progress.sent / progress.seconds:,.0f}/s")
        return ", ".join(parts)

    def end(self) -> None:
        """Leave the line."""
        if self._over and self._turn:
            self._out.write("\n")
