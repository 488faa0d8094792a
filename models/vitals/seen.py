"""What a ward's patients were seen at, minute by minute of its log: the truth against which forecasts are held.

By the log's clock, as the wall shows it, so that no device's clock decides; only believed values, each once. Nobody is
named outside this process: what is packed knows patients by a digest of their pseudonym.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.records import ScoreFrame
from models.vitals.history import CHANNEL, CHANNELS, MINUTE_MS
from models.ward.tagging import USABLE

SLOTS: Final = 90
"""Minutes that are kept."""
HOUR_MIN: Final = 60
EVERY_MS: Final = 5_000
"""A bed is looked at so often: the mean of a minute needs no more, and the sink reads every second of every bed."""
GONE_MIN: Final = SLOTS
"""Who was not heard for so long has left: nothing of theirs is kept any more."""
_WIDTH: Final = len(CHANNELS)
_MORE: Final = 16
_NEVER: Final = 2**62

Cells = NDArray[np.float32]
Whole = NDArray[np.int64]


class Stay(msgspec.Struct, array_like=True):
    """One patient in the ward: the place in its tables, sums and counts of the running minute, newest reading times."""

    place: int
    heard_min: int
    sampled_ms: int = 0
    sums: list[float] = msgspec.field(default_factory=lambda: [0.0] * (2 * _WIDTH))
    newest: list[int] = msgspec.field(default_factory=lambda: [0] * _WIDTH)


class Packed(msgspec.Struct, array_like=True):
    """A ``Seen`` as it is kept over a restart."""

    minute: int
    next_serial: int
    stamps: list[int]
    serials: list[int]
    since: list[int]
    cells: bytes
    stays: dict[str, Stay]


class Seen:
    """One ward. ``minute`` is the running one of its log (epoch minutes, 0: nothing yet).

    Tables have a row a ``place``; ``serials`` tell whose it is, so that who comes after is never taken for who left.
    """

    def __init__(self) -> None:
        self.minute = 0
        self.serials: Whole = np.zeros(0, np.int64)
        self._since: Whole = np.zeros(0, np.int64)
        self._cells: Cells = np.full((SLOTS, 0, _WIDTH), np.nan, np.float32)
        self._stamps: Whole = np.zeros(SLOTS, np.int64)
        self._stays: dict[str, Stay] = {}
        self._resumed: dict[str, Stay] = {}
        self._free: list[int] = []
        self._next_serial = 1

    def take(self, frame: ScoreFrame) -> bool:
        """Look at a frame; whether it closed a minute. What was told before is not counted again."""
        minute = frame.now_ms // MINUTE_MS
        if minute < self.minute:
            return False
        closed = minute > self.minute
        if closed:
            self._close(minute)
        for bed in frame.beds:
            stay = self._stays.get(bed.patient)
            if stay is None:
                stay = self.stay_of(bed.patient)
            if frame.now_ms - stay.sampled_ms < EVERY_MS:
                continue
            stay.sampled_ms, stay.heard_min = frame.now_ms, minute
            if self._since[stay.place] == _NEVER:
                self._since[stay.place] = minute
            for scored in bed.values:
                channel = CHANNEL.get(scored.vital, -1)
                if channel < 0 or scored.at_ms == stay.newest[channel] or scored.tag not in USABLE:
                    continue
                if isinstance(value := scored.value, float | int):
                    stay.newest[channel] = scored.at_ms
                    stay.sums[channel] += value
                    stay.sums[channel + _WIDTH] += 1
        return closed

    def stay_of(self, patient: str) -> Stay:
        """The patient's stay, which begins now if it is not known."""
        stay = self._stays.get(patient)
        if stay is None:
            stay = self._resumed.pop(_digest(patient), None) if self._resumed else None
            if stay is None:
                stay = Stay(self._new_place(), self.minute)
            self._stays[patient] = stay
        return stay

    def at(self, minute: int) -> Cells:
        """(places, 6): means of a closed minute, NaN where nothing was seen or it is not kept any more."""
        slot = minute % SLOTS
        if self._stamps[slot] != minute or minute >= self.minute:
            return np.full((len(self.serials), _WIDTH), np.nan, np.float32)
        found: Cells = self._cells[slot]
        return found

    def newest(self, until: int) -> Cells:
        """(places, 6): what each vital was last seen at in the hour up to ``until``."""
        found = self.at(until)
        for minute in range(until - 1, until - HOUR_MIN, -1):
            missing = np.isnan(found)
            if not missing.any():
                break
            found = np.where(missing, self.at(minute), found)
        return found

    def hour(self, until: int) -> Cells:
        """(places, 6): means over the known minutes of the hour up to ``until``; NaN for who was not watched all of it,
        and for everybody where less than half of it was."""
        minutes = np.arange(until - HOUR_MIN + 1, until + 1)
        kept = minutes[(self._stamps[minutes % SLOTS] == minutes) & (minutes < self.minute)]
        if len(kept) < HOUR_MIN // 2:
            return np.full((len(self.serials), _WIDTH), np.nan, np.float32)
        cells = self._cells[kept % SLOTS]
        known = ~np.isnan(cells)
        total = np.where(known, cells, np.float32(0)).sum(0)
        with np.errstate(invalid="ignore"):
            mean: Cells = total / known.sum(0).astype(np.float32)
        mean[self._since > minutes[0]] = np.nan
        return mean

    def packed(self) -> Packed:
        """As it is kept."""
        return Packed(
            self.minute,
            self._next_serial,
            self._stamps.tolist(),
            self.serials.tolist(),
            self._since.tolist(),
            self._cells.tobytes(),
            {_digest(patient): stay for patient, stay in self._stays.items()} | self._resumed,
        )

    @classmethod
    def unpacked(cls, kept: Packed) -> Seen:
        """As it was packed. Raises ValueError where its tables do not fit each other."""
        one, places = cls(), len(kept.serials)
        one.minute, one._next_serial = kept.minute, kept.next_serial
        one.serials, one._since = np.array(kept.serials, np.int64), np.array(kept.since, np.int64)
        one._stamps = np.array(kept.stamps, np.int64)
        one._cells = np.frombuffer(kept.cells, np.float32).reshape(SLOTS, places, _WIDTH).copy()
        one._resumed = dict(kept.stays)
        taken = {stay.place for stay in kept.stays.values()}
        if one._stamps.shape != (SLOTS,) or len(one._since) != places or not taken <= set(range(places)):
            raise ValueError("the tables of a ward do not fit each other")
        one._free = sorted(set(range(places)) - taken, reverse=True)
        return one

    def _close(self, minute: int) -> None:
        slot = self.minute % SLOTS
        stays = [*self._stays.values(), *self._resumed.values()]
        row = np.full((len(self.serials), _WIDTH), np.nan, np.float32)
        if stays:
            sums: Any = np.array([stay.sums for stay in stays])
            with np.errstate(invalid="ignore"):
                row[[stay.place for stay in stays]] = sums[:, :_WIDTH] / sums[:, _WIDTH:]
        self._cells[slot], self._stamps[slot] = row, self.minute
        for stay in stays:
            stay.sums = [0.0] * (2 * _WIDTH)
            if not self.minute:  # it was spoken of before the first score was read
                stay.heard_min = minute
        self.minute = minute
        for known in (self._stays, self._resumed):
            for name in [name for name, stay in known.items() if minute - stay.heard_min > GONE_MIN]:
                self._leave(known.pop(name))

    def _leave(self, stay: Stay) -> None:
        self._cells[:, stay.place] = np.nan
        self.serials[stay.place] = 0
        self._free.append(stay.place)

    def _new_place(self) -> int:
        if not self._free:
            places = len(self.serials)
            self._cells = np.concatenate([self._cells, np.full((SLOTS, _MORE, _WIDTH), np.nan, np.float32)], axis=1)
            self.serials = np.concatenate([self.serials, np.zeros(_MORE, np.int64)])
            self._since = np.concatenate([self._since, np.zeros(_MORE, np.int64)])
            self._free = list(range(places + _MORE - 1, places - 1, -1))
        place = self._free.pop()
        self.serials[place], self._since[place] = self._next_serial, _NEVER
        self._next_serial += 1
        return place


def _digest(patient: str) -> str:
    return hashlib.blake2b(patient.encode("utf-8", "replace"), digest_size=9).hexdigest()
