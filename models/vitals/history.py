"""What a bed's vitals were: a minute ring of an hour and a ten-minute ring of a day, immutable and 2.5 KB.

Cells are means of usable values by event time, kept as tenths of the vital's unit. The running minute is a sum and a
count; a cell that has a value is never changed by what comes late, only an empty one is filled, so that what the models
saw can be seen again and a frame that is told twice counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.clinical.plausibility import PLAUSIBLE
from contracts.records import PastSeries, PastVitals, Vital

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
MINUTE_S: Final = 60
TEN_S: Final = 600

_WIDTH: Final = len(CHANNELS)
_ROW: Final = _WIDTH * 2
_EMPTY: Final = -32_768
_LARGEST: Final = 32_767
_CELL: Final = Struct("<h")
_CELLS: Final = Struct(f"<{_WIDTH}h")
_EMPTY_CELL: Final = _CELL.pack(_EMPTY)
_EMPTY_ROW: Final = _EMPTY_CELL * _WIDTH
_NOTHING: Final = (0.0,) * (2 * _WIDTH)


class History(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``minute`` is the running minute (epoch minutes, 0: nothing yet); ``running`` the sums of its readings so far by
    channel, then their counts.

    ``minutes`` are the ``MINUTES`` closed before it, ``tens`` the ``TENS`` ten-minute cells closed before its own ten.
    """

    minute: int = 0
    running: tuple[float, ...] = _NOTHING
    minutes: bytes = _EMPTY_ROW * MINUTES
    tens: bytes = _EMPTY_ROW * TENS

    def with_reading(self, at_ms: int, channel: int, value: float) -> History:
        """With a usable value that is the newest of its vital. Of a minute that has passed: see ``with_late``."""
        minute = at_ms // MINUTE_MS
        if minute < self.minute:
            return self.with_late(at_ms, channel, value)
        now = self.moved_to(minute)
        running = [*now.running]
        running[channel] += value
        running[channel + _WIDTH] += 1.0
        return History(now.minute, tuple(running), now.minutes, now.tens)

    def with_late(self, at_ms: int, channel: int, value: float) -> History:
        """With a usable value older than the newest of its vital: it fills cells that are empty, and changes none."""
        minute = at_ms // MINUTE_MS
        if minute > self.minute or (minute == self.minute and not self.running[channel + _WIDTH]):
            return self.with_reading(at_ms, channel, value)
        back, ten_back = self.minute - minute, self.minute // 10 - minute // 10
        minutes, tens = self.minutes, self.tens
        cell = _CELL.pack(_tenths(value))
        if 0 < back <= MINUTES:
            minutes = _filled(minutes, (MINUTES - back) * _ROW + channel * 2, cell)
        if 0 < ten_back <= TENS:
            tens = _filled(tens, (TENS - ten_back) * _ROW + channel * 2, cell)
        return History(self.minute, self.running, minutes, tens)

    def moved_to(self, minute: int) -> History:
        """With the running minute closed and every minute up to ``minute`` passed; itself when that is the past."""
        if minute <= self.minute:
            return self
        if not self.minute:
            return History(minute)
        row = self._running_row()
        passed = min(minute - self.minute, MINUTES + 1)
        minutes = (self.minutes + row + _EMPTY_ROW * (passed - 1))[-MINUTES * _ROW :]
        passed = min(minute // 10 - self.minute // 10, TENS + 1)
        tens = self.tens
        if passed:
            of_ten = (self.minutes + row)[-(self.minute % 10 + 1) * _ROW :]
            tens = (tens + _mean_row(of_ten) + _EMPTY_ROW * (passed - 1))[-TENS * _ROW :]
        return History(minute, minutes=minutes, tens=tens)

    def with_past(self, past: PastVitals, now_ms: int) -> History:
        """With what is known of the time before, wherever nothing is known yet; what no patient can have is left out.

        While nothing was read in the running minute, it moves on to the one in which the past ends, at most that of
        ``now_ms``. Steps of ten minutes and more say nothing of a minute.
        """
        ends_ms = past.start_ms + past.step_s * 1000 * max((len(s.values) for s in past.series), default=0)
        now = self.moved_to(min(ends_ms, now_ms) // MINUTE_MS) if self.running == _NOTHING else self
        minutes = np.frombuffer(now.minutes, "<i2").reshape(MINUTES, _WIDTH).copy()
        tens = np.frombuffer(now.tens, "<i2").reshape(TENS, _WIDTH).copy()
        for series in past.series:
            channel = CHANNEL.get(series.vital)
            if channel is None:
                continue
            values = _believed(series)
            if past.step_s < TEN_S:
                first_s = (now.minute - MINUTES) * MINUTE_S
                _fill(minutes[:, channel], _in_cells(values, past, first_s, MINUTE_S, MINUTES))
            first_s = (now.minute // 10 - TENS) * TEN_S
            _fill(tens[:, channel], _in_cells(values, past, first_s, TEN_S, TENS))
        return History(now.minute, now.running, minutes.tobytes(), tens.tobytes())

    def as_past(self, bed: str, patient: str, origin: str) -> tuple[PastVitals, ...]:
        """All that is known but the running minute, as another ward's log may be told of it: the day, then the hour."""
        told = []
        for raw, step_s, cells, until in (
            (self.tens, TEN_S, TENS, self.minute // 10),
            (self.minutes, MINUTE_S, MINUTES, self.minute),
        ):
            ring = np.frombuffer(raw, "<i2").reshape(cells, _WIDTH)
            series = tuple(
                PastSeries(vital=vital, values=tuple(None if c == _EMPTY else c / 10 for c in ring[:, i].tolist()))
                for i, vital in enumerate(CHANNELS)
                if (ring[:, i] != _EMPTY).any()
            )
            if series:
                start_ms = (until - cells) * step_s * 1000
                told.append(
                    PastVitals(bed=bed, patient=patient, start_ms=start_ms, step_s=step_s, origin=origin, series=series)
                )
        return tuple(told)

    @property
    def is_sound(self) -> bool:
        """Whether its rings have their sizes."""
        return (
            len(self.running) == 2 * _WIDTH
            and len(self.minutes) == MINUTES * _ROW
            and len(self.tens) == TENS * _ROW
            and self.minute >= 0
        )

    def rebased(self, by_ms: int) -> History:
        """With every cell ``by_ms`` later, to the whole minute: they had been timed by a clock that was wrong."""
        if not self.minute:
            return self
        return History(self.minute + round(by_ms / MINUTE_MS), self.running, self.minutes, self.tens)

    def _running_row(self) -> bytes:
        if self.running == _NOTHING:
            return _EMPTY_ROW
        sums, counts = self.running[:_WIDTH], self.running[_WIDTH:]
        return _CELLS.pack(*(_tenths(s / n) if n else _EMPTY for s, n in zip(sums, counts, strict=True)))


def _tenths(value: float) -> int:
    return max(-_LARGEST, min(_LARGEST, round(value * 10)))


def _filled(ring: bytes, place: int, cell: bytes) -> bytes:
    if ring[place : place + 2] != _EMPTY_CELL:
        return ring
    return ring[:place] + cell + ring[place + 2 :]


def _mean_row(rows: bytes) -> bytes:
    columns: list[list[int]] = [[] for _ in CHANNELS]
    for row in _CELLS.iter_unpack(rows):
        for column, cell in zip(columns, row, strict=True):
            if cell != _EMPTY:
                column.append(cell)
    return _CELLS.pack(*(round(sum(column) / len(column)) if column else _EMPTY for column in columns))


def _believed(series: PastSeries) -> NDArray[np.float64]:
    """The values, NaN where unknown or implausible."""
    values = np.array([np.nan if value is None else value for value in series.values], np.float64)
    bounds = PLAUSIBLE[series.vital]
    with np.errstate(invalid="ignore"):
        return np.where((values >= bounds.low) & (values <= bounds.high), values, np.nan)


def _in_cells(
    values: NDArray[np.float64], past: PastVitals, first_s: int, cell_s: int, cells: int
) -> NDArray[np.float64]:
    """The past in ``cells`` cells from ``first_s`` on: the mean of the steps whose middle lies in a cell.

    When a step is longer than a cell: the value of the step that covers the cell's middle.
    """
    start_ms, step_ms = past.start_ms, past.step_s * 1000
    found = np.full(cells, np.nan)
    if not len(values):
        return found
    if past.step_s > cell_s:
        middles_ms = (np.arange(cells, dtype=np.int64) * 2 + 1) * cell_s * 500 + first_s * 1000
        step = (middles_ms - start_ms) // step_ms
        inside = (step >= 0) & (step < len(values))
        found[inside] = values[step[inside]]
        return found
    middles_ms = start_ms + np.arange(len(values), dtype=np.int64) * step_ms + step_ms // 2
    cell = (middles_ms - first_s * 1000) // (cell_s * 1000)
    taken = (cell >= 0) & (cell < cells) & np.isfinite(values)
    count = np.bincount(cell[taken], minlength=cells)
    total = np.bincount(cell[taken], weights=values[taken], minlength=cells)
    found[count > 0] = total[count > 0] / count[count > 0]
    return found


def _fill(ring: NDArray[np.int16], found: NDArray[np.float64]) -> None:
    free = (ring == _EMPTY) & np.isfinite(found)
    ring[free] = np.clip(np.rint(found[free] * 10), -_LARGEST, _LARGEST).astype(np.int16)


def _unpacked(raw: bytes, steps: int) -> NDArray[np.float32]:
    cells = np.frombuffer(raw, "<i2").reshape(-1, steps, _WIDTH)
    values = cells.astype(np.float32) / np.float32(10)
    values[cells == _EMPTY] = np.nan
    return values


def rings(histories: Sequence[History], minutes_now: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(minutes, hours) of beds as of the epoch minute of each: float32 (beds, 60, 6) and (beds, 24, 6), newest last.

    NaN where nothing usable is known. The newest minute is the running one; the newest hour is the mean of the last
    sixty minutes, each earlier hour that of six ten-minute cells. Where no minute of the last hour is known but longer
    cells are (a past told in hours), the newest hour is theirs.
    """
    now = [h if h.minute >= m else h.moved_to(m) for h, m in zip(histories, minutes_now, strict=True)]
    minutes = np.empty((len(now), MINUTES, _WIDTH), np.float32)
    minutes[:, :-1] = _unpacked(b"".join([h.minutes for h in now]), MINUTES)[:, 1:]
    running = np.array([h.running for h in now], np.float64).reshape(-1, 2, _WIDTH)
    with np.errstate(invalid="ignore"):
        minutes[:, -1] = np.rint(running[:, 0] / running[:, 1] * 10) / 10
    tens = _unpacked(b"".join([h.tens for h in now]), TENS)
    hours = np.empty((len(now), HOURS, _WIDTH), np.float32)
    of_minutes = known_mean(minutes)
    hours[:, -1] = np.where(np.isnan(of_minutes), known_mean(tens[:, TENS - 6 :]), of_minutes)
    hours[:, :-1] = known_mean(tens[:, : TENS - 6].reshape(-1, 6, _WIDTH)).reshape(len(now), HOURS - 1, _WIDTH)
    return minutes, hours


def known_mean(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over the middle axis of what is known; NaN where nothing is."""
    known = ~np.isnan(cells)
    total = np.where(known, cells, np.float32(0)).sum(1)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float32] = total / known.sum(1).astype(np.float32)
    return mean
