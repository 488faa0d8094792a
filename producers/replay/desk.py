"""How far a running replay is, told in its folder, and what is wanted of it from there (``contracts.replays``)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from contracts.errors import Transient
from contracts.replays import PROGRESS, ReplayProgress, Want, Wanted, put, wanted
from producers.replay.journal import Entry, State
from producers.replay.pacing import Control
from producers.replay.run import Progress
from producers.replay.window import rfc3339

LOOK_S: Final = 0.2
"""Between two looks at what is wanted."""
_TELL_EVERY: Final = 2
"""Looks between two words of how far it is."""


class Desk:
    """Beside a replay, in a thread of its own, so that neither costs a record its moment.

    A wish that was there before the replay began is another run's and not followed. A full disk is said once; the
    replay goes on.
    """

    def __init__(
        self,
        entry: Entry,
        folder: Path,
        control: Control,
        progress: Callable[[], Progress],
        say: Callable[[str], None],
    ) -> None:
        self._entry, self._folder, self._control = entry, folder, control
        self._progress, self._say = progress, say
        before = wanted(folder)
        self._heeded = 0 if before is None else before.number
        self._refused: str | None = None
        self._mute = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="desk", daemon=True)

    def __enter__(self) -> Desk:
        self._tell(State.RUNNING)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        # what was still running when something unforeseen ended it did not end well
        self._tell(State.FAILED if self._entry.state is State.RUNNING else self._entry.state)

    def look(self) -> bool:
        """Follow the newest wish, if it is new; whether it was."""
        wish = wanted(self._folder)
        if wish is None or wish.number <= self._heeded:
            return False
        self._refused = self._follow(wish)
        self._heeded = wish.number
        said = f"{wish.what.replace('_', ' ')}, wanted by {wish.by}"
        self._say(f"  {said}" if self._refused is None else f"  {said}, is refused: {self._refused}")
        return True

    def _follow(self, wish: Wanted) -> str | None:
        """Why it cannot be followed; None when it is."""
        match wish.what:
            case Want.PAUSE | Want.GO_ON:
                self._control.hold(wish.what is Want.PAUSE)
            case Want.STOP:
                self._control.stop()
            case Want.SEEK:
                return self._seek(wish.to_ms)
        return None

    def _seek(self, to_ms: int | None) -> str | None:
        at_ms, last_ms = self._progress().at_ms, self._entry.plan.last_ms
        if to_ms is None:
            return "it does not say where to go"
        if to_ms <= at_ms:
            return f"{rfc3339(to_ms)} is behind, the replay is at {rfc3339(at_ms)}: a replay never goes back"
        if to_ms > last_ms:
            return f"{rfc3339(to_ms)} is beyond the end of the span at {rfc3339(last_ms)}"
        self._control.seek(to_ms)
        return None

    def _keep(self) -> None:
        turn = 0
        while not self._over.wait(LOOK_S):
            turn += 1
            if self.look() or turn % _TELL_EVERY == 0:
                self._tell(State.RUNNING)

    def _tell(self, state: State) -> None:
        try:
            put(self._folder / PROGRESS, self._told(state))
        except Transient as full:
            if not self._mute:
                self._say(f"  {full}; it goes on, but how it ends cannot be written down: make room")
            self._mute = True
        else:
            self._mute = False

    def _told(self, state: State) -> ReplayProgress:
        now = self._progress()
        return msgspec.structs.replace(
            ended(self._entry),
            state=str(state),
            paused=now.paused,
            at_ms=now.at_ms,
            sent=now.sent,
            of=now.of,
            late_ms=None if now.late_ms is None else round(now.late_ms, 2),
            heeded=self._heeded,
            refused=self._refused,
        )


def ended(entry: Entry) -> ReplayProgress:
    """How far a replay came that runs no more."""
    plan = entry.plan
    return ReplayProgress(
        replay=entry.name,
        sources=plan.wish.sources,
        vitals=plan.frames,
        from_ms=plan.first_ms,
        to_ms=plan.last_ms,
        speed=plan.wish.speed,
        shift_ms=plan.shift_ms,
        state=str(entry.state),
        paused=False,
        at_ms=plan.last_ms,
        sent=sum(run.records for run in entry.runs),
        of=plan.records,
        late_ms=None,
        heeded=0,
        told_ms=time.time_ns() // 1_000_000,
    )
