"""The last minutes of every bed at 1 Hz, in a fixed amount of memory a bed."""

from __future__ import annotations

import math
import struct
from typing import Final, NamedTuple

import numpy as np

from contracts.records import BedScore, Tag, Vital

TRACED: Final = (
    Vital.HEART_RATE,
    Vital.RESPIRATION,
    Vital.SPO2,
    Vital.SYSTOLIC,
    Vital.DIASTOLIC,
    Vital.MEAN_PRESSURE,
    Vital.TEMPERATURE,
)
"""The vitals that are drawn as lines; the other two are letters and switches."""

FRESH_MS: Final = 2_000
"""A value belongs to the frame's second when it was taken at most this long before it; an older one is history."""

_ROW: Final = struct.Struct("<I7f")
_DTYPE: Final = np.dtype([("second", "<u4"), ("values", "<f4", (len(TRACED),))])
_COLUMN: Final = {vital: index for index, vital in enumerate(TRACED)}
_SHOWN: Final = frozenset({Tag.OK, Tag.CLOCK_SUSPECT})

BedKey = tuple[str, str]


class Trend(NamedTuple):
    """A regular 1 Hz grid: epoch milliseconds and, for each vital, a value or None where nothing was measured."""

    t_ms: list[int]
    series: dict[str, list[float | None]]


class Trends:
    """One ring of ``history_s`` rows of 32 bytes a bed (29 kB for 900 s; 10,000 beds take 288 MB)."""

    def __init__(self, history_s: int) -> None:
        self.history_s = history_s
        self._rings: dict[BedKey, bytearray] = {}
        self._newest_s: dict[BedKey, int] = {}

    def write(self, ward: str, score: BedScore, at_ms: int, *, backfill: bool = False) -> None:
        """Note the trustworthy values that the bed had at ``at_ms``; ``backfill`` never replaces a newer second."""
        key = (ward, score.bed)
        ring = self._rings.get(key)
        if ring is None:
            ring = self._rings[key] = bytearray(self.history_s * _ROW.size)
        row: list[float | None] = [None] * len(TRACED)
        oldest_ms = at_ms - FRESH_MS
        for value in score.values:
            column = _COLUMN.get(value.vital)
            if column is not None and value.at_ms > oldest_ms and value.tag in _SHOWN:
                number = value.value
                if isinstance(number, float | int):
                    row[column] = number
        second = at_ms // 1000
        if not any(value is not None for value in row):
            if not backfill:
                self._newest_s[key] = second
            return
        place = second % self.history_s * _ROW.size
        if backfill:
            if int.from_bytes(ring[place : place + 4], "little") >= second:
                return
            self._newest_s[key] = max(second, self._newest_s.get(key, 0))
        else:
            self._newest_s[key] = second
        _ROW.pack_into(ring, place, second, *(math.nan if value is None else value for value in row))

    def read(self, ward: str, bed: str, seconds: int, end_ms: int | None = None) -> Trend:
        """The ``seconds`` up to ``end_ms`` (default: the newest row), without the empty time before the first row."""
        key = (ward, bed)
        ring = self._rings.get(key)
        if ring is None:
            return Trend([], {vital.value: [] for vital in TRACED})
        end = self._newest_s.get(key, 0) if end_ms is None else end_ms // 1000
        rows = np.frombuffer(bytes(ring), dtype=_DTYPE)
        stamps = rows["second"].astype(np.int64)
        chosen = rows[(stamps > end - min(seconds, self.history_s)) & (stamps <= end)]
        if not len(chosen):
            return Trend([], {vital.value: [] for vital in TRACED})
        taken = chosen["second"].astype(np.int64)
        first, last = int(taken.min()), int(taken.max())
        grid = np.full((last - first + 1, len(TRACED)), math.nan)
        grid[taken - first] = np.round(chosen["values"].astype(np.float64), 2)
        columns = [[None if math.isnan(v) else v for v in column] for column in grid.T.tolist()]
        t_ms = [second * 1000 for second in range(first, last + 1)]
        return Trend(t_ms, {vital.value: column for vital, column in zip(TRACED, columns, strict=True)})

    def forget(self, ward: str, bed: str) -> None:
        """Free the ring of a bed that is gone."""
        self._rings.pop((ward, bed), None)
        self._newest_s.pop((ward, bed), None)

    def bytes_used(self) -> int:
        """Memory of all rings in bytes."""
        return sum(len(ring) for ring in self._rings.values())
