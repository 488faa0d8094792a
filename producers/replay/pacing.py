"""When each record is due on the wall's clock, and how late it went out."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Final

import msgspec

_FINE: Final = math.log(1.02)
_LEAST_MS: Final = 0.01
LARGE_MS: Final = 3_600_000.0


class LatenessFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How late records were on their moment, in milliseconds; quantiles to 2 %. ``bins``: (up to ms, records)."""

    records: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    bins: tuple[tuple[float, int], ...] = ()


class Lateness:
    """Counts lateness in bins that grow by 2 %, so that a day's replay costs no memory."""

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self._max_ms = 0.0
        self.records = 0

    def note(self, late_ms: float) -> None:
        """One record that went out so late; before its moment counts as on it."""
        late_ms = max(late_ms, 0.0)
        index = 0 if late_ms <= _LEAST_MS else 1 + int(math.log(late_ms / _LEAST_MS) / _FINE)
        self._bins[index] = self._bins.get(index, 0) + 1
        self._max_ms = max(self._max_ms, late_ms)
        self.records += 1

    def figures(self) -> LatenessFigures | None:
        """What came of it; None when nothing was paced."""
        if not self.records:
            return None
        bins = tuple((round(self._upper(i), 3), n) for i, n in sorted(self._bins.items()))
        return LatenessFigures(
            records=self.records,
            p50_ms=self._quantile(0.5),
            p99_ms=self._quantile(0.99),
            max_ms=round(self._max_ms, 2),
            bins=bins,
        )

    def _quantile(self, share: float) -> float:
        rank, seen = math.ceil(share * self.records), 0
        for index, count in sorted(self._bins.items()):
            seen += count
            if seen >= rank:
                return round(min(self._upper(index), self._max_ms), 2)
        return round(self._max_ms, 2)

    @staticmethod
    def _upper(index: int) -> float:
        return _LEAST_MS * math.exp(_FINE * index)


class Anchor:
    """One pair of moments, on the log's clock and on the wall's: every due moment is reckoned from it.

    So the time that sending takes delays one record and never those after it. ``speed`` None: everything is due at
    once. ``clock`` is in seconds and never goes back.
    """

    def __init__(self, speed: float | None, clock: Callable[[], float]) -> None:
        self.speed = speed
        self._clock = clock
        self._log_ms: int | None = None
        self._wall_s = 0.0

    def wait_s(self, due_ms: int) -> float:
        """Seconds until that moment of the log; negative when it is past. The first one asked about is due now."""
        if self.speed is None:
            return 0.0
        if self._log_ms is None:
            self._log_ms, self._wall_s = due_ms, self._clock()
        return self._wall_s + (due_ms - self._log_ms) / 1000 / self.speed - self._clock()

    def put_off(self, seconds: float) -> None:
        """A pause: everything is due that much later."""
        self._wall_s += seconds

    def lift(self) -> None:
        """After a seek: the next moment asked about is due at once."""
        self._log_ms = None


class Control:
    """What people want of it: pause, go on, skip ahead, stop. Safe between threads and in signals."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._paused = False
        self._stopped = False
        self._skip_ms = 0
        self._seek_ms: int | None = None

    @property
    def paused(self) -> bool:
        """Whether nothing is to go out."""
        return self._paused and not self._stopped

    @property
    def stopped(self) -> bool:
        """Whether the replay is to end here."""
        return self._stopped

    @property
    def seeks(self) -> bool:
        """Whether a part of the log is to be left out."""
        return bool(self._skip_ms) or self._seek_ms is not None

    def pause(self) -> None:
        """Pause, or go on when paused."""
        self.hold(not self._paused)

    def hold(self, paused: bool) -> None:
        """Pause, or go on."""
        self._paused = paused
        self._woken.set()

    def skip(self, ahead_ms: int) -> None:
        """Leave out so much of the log."""
        self._skip_ms += ahead_ms
        self._woken.set()

    def seek(self, to_ms: int) -> None:
        """Leave out what is before that moment of the log."""
        self._seek_ms = to_ms
        self._woken.set()

    def stop(self) -> None:
        """End in order."""
        self._stopped = True
        self._woken.set()

    def sought_ms(self, at_ms: int) -> int | None:
        """Where in the log to go on, from ``at_ms``, after what was asked since the last call; None: just here."""
        skip_ms, self._skip_ms = self._skip_ms, 0
        seek_ms, self._seek_ms = self._seek_ms, None
        to_ms = max(at_ms + skip_ms, at_ms if seek_ms is None else seek_ms)
        return to_ms if to_ms > at_ms else None

    def wait(self, seconds: float) -> None:
        """Wait so long, or until somebody wants something."""
        if self._woken.wait(seconds):
            self._woken.clear()
