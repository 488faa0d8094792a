"""The forecaster: two networks (hours and minutes ahead) in ONNX Runtime, with intervals and trust that follow the
ward.

A vital is forecast hours ahead when it was known within the last ``stale_steps`` hours, minutes ahead when it was
known within that many minutes and at least ``least_known`` times in the hour; and only for those (vital, horizon)
that the manifest allows, because the network beat persistence there on real records. Minutes ahead tell no chance of
crossing a limit: on real minutes it was no better than a constant. Hours ahead, a vital that has just left what the
hour shows of it is told by persistence from where it is now: of such a move the network has seen nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.records import Engine, VitalForecast
from models.bundle import Bundle
from models.ports import Memory, Windows
from models.vitals import conformal
from models.vitals.conformal import HORIZONS, Book
from models.vitals.forecast_head import Head, Said, ticked
from models.vitals.forecast_memory import (
    HOUR_PLAN,
    NEAR_PLAN,
    Beds,
    read_beds,
    read_ward,
    write_beds,
    write_ward,
)
from models.vitals.history import CHANNELS, MINUTE_MS, known_mean

LEVELS: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
HOUR_FILE: Final = "hour.onnx"
NEAR_FILE: Final = "near.onnx"
NOW_MINUTES: Final = 2
"""A vital is where it has been in the running minute and the one before it."""

Row = tuple[VitalForecast, ...]


def load(bundle: Bundle) -> VitalsForecaster:
    """The forecaster of a version. Raises Poison when a file or parameter is not as expected."""
    return VitalsForecaster(bundle)


class VitalsForecaster:
    """Implements ``models.ports.Forecaster``."""

    levels: tuple[float, ...] = LEVELS

    def __init__(self, bundle: Bundle) -> None:
        where = f"{bundle.name}/{bundle.version}/parameters"
        self.hour = Head(bundle.read(HOUR_FILE), bundle.parameters["hour"], HOUR_PLAN, f"{where}.hour")
        self.near = Head(bundle.read(NEAR_FILE), bundle.parameters["near"], NEAR_PLAN, f"{where}.near", False)

    def forecast(self, windows: Windows, memory: Memory) -> tuple[tuple[Row, ...], Memory]:
        """See ``Forecaster``. First what came true is learned, then it is spoken. Raises Poison for foreign memory."""
        if not len(windows.at_ms):
            return (), memory
        beds = read_beds(memory.beds)
        minute = windows.at_ms // MINUTE_MS
        books = read_ward(memory.ward)
        hour_book, near_book = books or (self.hour.opened(), self.near.opened())
        hour_due, near_due = ticked(beds["hour"], minute, HOUR_PLAN), ticked(beds["near"], minute, NEAR_PLAN)
        if hour_due.any():
            hour_book = self.hour.learn(beds["hour"][hour_due], minute[hour_due], windows.hours[hour_due], hour_book)
        if near_due.any():
            near_book = self.near.learn(beds["near"][near_due], minute[near_due], windows.minutes[near_due], near_book)
        with np.errstate(invalid="ignore"):  # what is not known goes through as NaN
            far = self.hour.say(windows.hours, windows, hour_book, known_mean(windows.minutes[:, -NOW_MINUTES:]))
            soon = self.near.say(windows.minutes, windows, near_book)
        if hour_due.any() or near_due.any():
            memory = self._remembered(beds, minute, (hour_due, near_due), (far, soon), (hour_book, near_book))
        rows = _rows(len(beds), [(self.near, soon, near_book), (self.hour, far, hour_book)])
        return rows, memory

    def _remembered(
        self,
        beds: Beds,
        minute: NDArray[np.int64],
        due: tuple[NDArray[np.bool_], NDArray[np.bool_]],
        said: tuple[Said, Said],
        books: tuple[Book, Book],
    ) -> Memory:
        after = beds.copy()
        self.hour.remembered(after["hour"], minute, due[0], said[0])
        self.near.remembered(after["near"], minute, due[1], said[1])
        return Memory(write_beds(after), write_ward(*books))


def _rows(beds: int, heads: list[tuple[Head, Said, Book]]) -> tuple[Row, ...]:
    found: list[list[VitalForecast]] = [[] for _ in range(beds)]
    for head, said, book in heads:
        told = _Told.of(said)
        skills = conformal.skill_told(book)
        for channel, vital in enumerate(CHANNELS):
            for engine, chosen, meant in _voices(head, book, channel, said.unsettled[:, channel]):
                horizons_s = tuple(head.horizons_s[h] for h in chosen)
                skill = tuple(None if s != s else s for s in skills[channel, chosen].tolist())
                for bed in np.flatnonzero(said.speaks[:, channel, chosen[0]] & meant).tolist():
                    quantiles, below, above = told.at(bed, channel, chosen)
                    found[bed].append(
                        VitalForecast(
                            vital=vital,
                            engine=engine,
                            horizons_s=horizons_s,
                            quantiles=quantiles,
                            below=below,
                            above=above,
                            skill=skill,
                        )
                    )
    return tuple(map(tuple, found))


def _voices(
    head: Head, book: Book, channel: int, unsettled: NDArray[np.bool_]
) -> Iterator[tuple[Engine, list[int], NDArray[np.bool_]]]:
    """Which engine speaks of which horizons of a vital, and of which beds."""
    allowed, fallen = head.may_speak[channel], book.fallen[channel]
    if network := [int(h) for h in np.flatnonzero(allowed & ~fallen)]:
        yield Engine.LSTM, network, ~unsettled
    if head.silent_when_fallen:
        return
    if naive := [int(h) for h in np.flatnonzero(allowed & fallen)]:
        yield Engine.PERSISTENCE, naive, ~unsettled
    if unsettled.any() and (every := [int(h) for h in np.flatnonzero(allowed)]):
        yield Engine.PERSISTENCE, every, unsettled


class _Told(NamedTuple):
    """What a head said, rounded and in tuples of four horizons; ``places`` (beds, 6): where each vital of a bed is."""

    places: list[list[int]]
    quantiles: list[tuple[tuple[float, ...], ...]]
    below: list[tuple[float, ...]]
    above: list[tuple[float, ...]]

    @classmethod
    def of(cls, said: Said) -> _Told:
        spoken = said.speaks.any(2)  # turning numbers into Python's own is what costs here
        places: Any = (np.cumsum(spoken) - 1).reshape(spoken.shape)
        lines = np.round(said.quantiles[spoken], 2).reshape(-1, len(LEVELS)).T.tolist()
        chances = [np.round(each[spoken], 4).ravel().tolist() for each in (said.below, said.above)]
        return cls(places.tolist(), _by_vital(list(zip(*lines, strict=True))), *map(_by_vital, chances))

    def at(
        self, bed: int, channel: int, chosen: list[int]
    ) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...] | None, tuple[float, ...] | None]:
        """Quantiles and chances of crossing at the ``chosen`` horizons; None where there is no limit."""
        place = self.places[bed][channel]
        quantiles, below, above = self.quantiles[place], self.below[place], self.above[place]
        if len(chosen) < HORIZONS:
            quantiles = tuple([quantiles[h] for h in chosen])
            below, above = (tuple([chances[h] for h in chosen]) for chances in (below, above))
        return quantiles, None if below[0] != below[0] else below, None if above[0] != above[0] else above


def _by_vital(flat: list[Any]) -> list[Any]:
    return list(zip(*(iter(flat),) * HORIZONS, strict=True))
