"""What a bed's vitals were: a minute ring of an hour and a ten-minute ring of a day, immutable and 2.5 KB.

Cells are means of usable values by event time, kept as tenths of the vital's unit. The running minute is a sum and a count;
a closed cell is never changed, only filled when it was empty, so that what the models saw can be seen again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.records import PastVitals, Vital

CHANNELS: Final = (
    Vital.HEART_RATE,
    Vital.RESPIRATION,
    Vital.SPO2,
    Vital.SYSTOLIC,
    Vital.MEAN_PRESSURE,
    Vital.TEMPERATURE,
)
"""The vitals that models see, in the order of every array's last axis."""
CHANNEL: Final = {vital: i for i, vital in enumerate(CHANNELS)}
MINUTES: Final = 60
HOURS: Final = 24
TENS: Final = HOURS * 6
MINUTE_MS: Final = 60_000

_WIDTH: Final = len(CHANNELS)
_ROW: Final = _WIDTH * 2
_EMPTY: Final = -32_768
_EMPTY_ROW: Final = np.full(_WIDTH, _EMPTY, "<i2").tobytes()
_NOTHING: Final = (0.0,) * _WIDTH


class History(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``minute`` is the running minute (epoch minutes, 0: nothing yet); ``sums`` and ``counts`` are its readings so far.

    ``minutes`` are the ``MINUTES`` closed before it, ``tens`` the ``TENS`` ten-minute cells closed before its own ten.
    """

    minute: int = 0
    sums: tuple[float, ...] = _NOTHING
    counts: tuple[int, ...] = (0,) * _WIDTH
    minutes: bytes = _EMPTY_ROW * MINUTES
    tens: bytes = _EMPTY_ROW * TENS

    def with_readings(self, at_ms: int, values: Iterable[tuple[int, float]]) -> History:
        """With usable values by channel, all taken at ``at_ms``. Older than the running minute: fills an empty cell."""
        minute = at_ms // MINUTE_MS
        now = self if minute <= self.minute else self.moved_to(minute)
        if minute < now.minute:
            return now._filled(minute, values)
        sums, counts = [*now.sums], [*now.counts]
        for channel, value in values:
            sums[channel] += value
            counts[channel] += 1
        return History(now.minute, tuple(sums), tuple(counts), now.minutes, now.tens)

    def moved_to(self, minute: int) -> History:
        """With the running minute closed and every minute up to ``minute`` passed."""
        if minute <= self.minute:
            return self
        if not self.minute:
            return History(minute)
        rows = [self._running(), *(_EMPTY_ROW,) * (min(minute - self.minute, MINUTES + 10) - 1)]
        closed = (self.minutes + b"".join(rows))[-MINUTES * _ROW :]
        passed = minute // 10 - self.minute // 10
        tens = self.tens
        if passed:
            full = np.frombuffer(self.minutes + rows[0], "<i2").reshape(-1, _WIDTH)[-(self.minute % 10) - 1 :]
            tens = (tens + _mean_row(full) + _EMPTY_ROW * (min(passed, TENS) - 1))[-TENS * _ROW :]
        return History(minute, minutes=closed, tens=tens)

    def with_past(self, past: PastVitals) -> History:
        """With what is known of the time before, wherever nothing is known yet. A step longer than the ring's cell fills
        every cell it covers."""
        if not self.minute:
            return self
        minutes = np.frombuffer(self.minutes, "<i2").reshape(MINUTES, _WIDTH).copy()
        tens = np.frombuffer(self.tens, "<i2").reshape(TENS, _WIDTH).copy()
        first_minute = self.minute - MINUTES
        first_ten = self.minute // 10 - TENS
        at_minutes = (np.arange(first_minute, self.minute) * 60 + 30) * 1000
        at_tens = (np.arange(first_ten, self.minute // 10) * 600 + 300) * 1000
        step_ms = past.step_s * 1000
        for series in past.series:
            channel = CHANNEL.get(series.vital)
            if channel is None or not series.values:
                continue
            cells = _packed(np.array([np.nan if v is None else v for v in series.values]))
            for ring, at_ms in ((minutes, at_minutes), (tens, at_tens)):
                if ring is minutes and past.step_s > 600:
                    continue  # an hour's mean says nothing of a minute
                place = (at_ms - past.start_ms) // step_ms
                inside = (place >= 0) & (place < len(cells)) & (ring[:, channel] == _EMPTY)
                ring[inside, channel] = cells[place[inside]]
        return History(self.minute, self.sums, self.counts, minutes.tobytes(), tens.tobytes())

    def _filled(self, minute: int, values: Iterable[tuple[int, float]]) -> History:
        back = self.minute - minute
        minutes, tens = self.minutes, self.tens
        ten_back = self.minute // 10 - minute // 10
        for channel, value in values:
            cell = int(_packed(np.array([value]))[0]).to_bytes(2, "little", signed=True)
            if back <= MINUTES:
                minutes = _put(minutes, (MINUTES - back) * _ROW + channel * 2, cell)
            if 0 < ten_back <= TENS:
                tens = _put(tens, (TENS - ten_back) * _ROW + channel * 2, cell)
        return History(self.minute, self.sums, self.counts, minutes, tens)

    def _running(self) -> bytes:
        if not any(self.counts):
            return _EMPTY_ROW
        means = [s / n if n else np.nan for s, n in zip(self.sums, self.counts, strict=True)]
        return _packed(np.array(means)).tobytes()


def _put(ring: bytes, place: int, cell: bytes) -> bytes:
    if ring[place : place + 2] != _EMPTY.to_bytes(2, "little", signed=True):
        return ring
    return ring[:place] + cell + ring[place + 2 :]


def _packed(values: NDArray[np.float64]) -> NDArray[np.int16]:
    known = np.isfinite(values)
    tenths = np.clip(np.rint(np.where(known, values, 0.0) * 10), -32_767, 32_767)
    return np.where(known, tenths, _EMPTY).astype("<i2")


def _mean_row(rows: NDArray[np.int16]) -> bytes:
    known = rows != _EMPTY
    count = known.sum(0)
    mean = np.rint(np.where(known, rows, 0).sum(0) / np.maximum(count, 1))
    return np.where(count > 0, mean, _EMPTY).astype("<i2").tobytes()


def _unpacked(raw: bytes, steps: int) -> NDArray[np.float32]:
    cells = np.frombuffer(raw, "<i2").reshape(-1, steps, _WIDTH)
    return np.where(cells == _EMPTY, np.float32(np.nan), cells.astype(np.float32) / np.float32(10))


def rings(histories: Sequence[History], minutes_now: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(minutes, hours) of beds as of the epoch minute of each: float32 (beds, 60, 6) and (beds, 24, 6), newest last.

    NaN where nothing usable is known. The newest minute is the running one; the newest hour is the mean of the last
    sixty minutes, each earlier hour that of six ten-minute cells.
    """
    now = [h.moved_to(m) for h, m in zip(histories, minutes_now, strict=True)]
    closed = _unpacked(b"".join(h.minutes[_ROW:] + h._running() for h in now), MINUTES)
    tens = _unpacked(b"".join(h.tens for h in now), TENS)
    hours = np.empty((len(now), HOURS, _WIDTH), np.float32)
    hours[:, -1] = _nanmean(closed)
    before = tens[:, : TENS - 6].reshape(len(now), HOURS - 1, 6, _WIDTH)
    known = np.isfinite(before)
    count = known.sum(2)
    total = np.where(known, before, 0).sum(2)
    hours[:, :-1] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return closed, hours


def _nanmean(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    known = np.isfinite(cells)
    count = known.sum(1)
    mean: NDArray[np.float32] = np.where(
        count > 0, np.where(known, cells, 0).sum(1) / np.maximum(count, 1), np.nan
    ).astype(np.float32)
    return mean
