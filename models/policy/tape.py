"""What a span says of one vital of one patient, as far as its limit alarms can depend on it: the same under any policy.

Seven things can happen to a limit alarm. A value is judged (``READ``; ``CUFFED`` while a cuff stops the flow to the
finger, when a policy whose low limit is above it does not judge it), a late one is recalled (``RECALL``,
``CUFFED_RECALL``), time passes (``CHECK``), the patient leaves (``RELEASE``), the log's clock is set back (``REBASE``).
"""

from __future__ import annotations

from array import array
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.records import Vital

READ, CUFFED, RECALL, CUFFED_RECALL, CHECK, RELEASE, REBASE = range(7)
NEVER: Final = -1

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Reach(NamedTuple):
    """Where policies differ about a vital: a value from ``low`` to ``high`` is inside, and back, under every one."""

    low: float
    high: float


class Steps(NamedTuple):
    """A tape as arrays, a step each. Event times ``at``, log times ``now``, in ms.

    For a CHECK ``at`` is the moment up to which time has passed, ``newest`` the bed's newest reading, ``current`` when
    the vital was last read and ``value`` its value where that is implausible. For a REBASE ``at`` is by how much, and
    ``newest`` the latest time that stays.
    """

    kind: NDArray[np.int8]
    at: Ints
    now: Ints
    newest: Ints
    current: Ints
    value: Floats


class Tape:
    """One vital of one patient in one ward, being written.

    What changes nothing under any policy is left out: of values inside every limit only the first and the last of each
    stretch are kept, and of time only what a pending alarm could feel. ``judged`` counts the values.
    """

    def __init__(self, vital: Vital, reach: Reach, stale_ms: int | None, pending_max_ms: tuple[int, int]) -> None:
        self.vital = vital
        self.judged = 0
        self._low, self._high = reach
        self._stale_ms = stale_ms  # None: a continuous vital
        self._forgets_ms, self._forgotten_ms = pending_max_ms
        self._kind = array("b")
        self._at, self._now, self._newest, self._current = array("q"), array("q"), array("q"), array("q")
        self._value = array("d")
        self._inside = 0  # how many values inside every limit came last
        self._sure_ms = NEVER  # the last value that every policy judged
        self._last_ms = NEVER  # the last value that any policy may have judged
        self._idle = True  # nothing can be pending, and no more time can change that

    def read(self, at_ms: int, now_ms: int, value: float, cuffed: bool) -> None:
        """A usable value was judged."""
        self.judged += 1
        inside = not cuffed and self._low <= value <= self._high
        if not cuffed:
            self._sure_ms = at_ms
        self._last_ms, self._idle = at_ms, inside
        if not inside:
            self._inside = 0
        elif self._inside == 2:
            self._at[-1], self._now[-1], self._value[-1] = at_ms, now_ms, value
            return
        else:
            self._inside += 1
        self._put(CUFFED if cuffed else READ, at_ms, now_ms, 0, 0, value)

    def recall(self, at_ms: int, now_ms: int, value: float, cuffed: bool) -> None:
        """A usable value came late."""
        if not self._inside:
            self._put(CUFFED_RECALL if cuffed else RECALL, at_ms, now_ms, 0, 0, value)

    def check(self, event_ms: int, now_ms: int, newest_ms: int, current_ms: int, implausible: float | None) -> None:
        """Time has passed up to ``event_ms``."""
        if self._idle:
            return
        if self._stale_ms is None and implausible is None:
            if newest_ms - self._sure_ms <= self._forgets_ms:
                return
            self._idle = newest_ms - self._last_ms > self._forgotten_ms
        elif self._kind[-1] == READ and event_ms == newest_ms == self._at[-1]:
            return  # it says what the value has just said
        elif self._stale_ms is not None:
            stale = event_ms - current_ms > self._stale_ms
            self._idle = stale and newest_ms - self._last_ms > self._forgotten_ms
        value = float("nan") if implausible is None else implausible
        self._put(CHECK, event_ms, now_ms, newest_ms, current_ms, value)

    def release(self, now_ms: int) -> None:
        """The patient has left."""
        self._put(RELEASE, 0, now_ms, 0, 0, 0.0)
        self._inside, self._idle, self._sure_ms, self._last_ms = 0, True, NEVER, NEVER

    def rebase(self, by_ms: int, latest_ms: int, now_ms: int) -> None:
        """The log's clock was wrong and has been put right."""
        self._put(REBASE, by_ms, now_ms, latest_ms, 0, 0.0)
        self._inside = 0
        self._sure_ms += by_ms if self._sure_ms > latest_ms else 0
        self._last_ms += by_ms if self._last_ms > latest_ms else 0

    def _put(self, kind: int, at_ms: int, now_ms: int, newest_ms: int, current_ms: int, value: float) -> None:
        self._kind.append(kind)
        self._at.append(at_ms)
        self._now.append(now_ms)
        self._newest.append(newest_ms)
        self._current.append(current_ms)
        self._value.append(value)

    def __len__(self) -> int:
        return len(self._kind)

    def steps(self) -> Steps:
        """All of it, in the order in which it happened; a copy."""

        def copied(column: array[Any], kind: type[np.generic]) -> NDArray[Any]:
            return np.array(column, kind)

        return Steps(
            copied(self._kind, np.int8),
            copied(self._at, np.int64),
            copied(self._now, np.int64),
            copied(self._newest, np.int64),
            copied(self._current, np.int64),
            copied(self._value, np.float64),
        )
