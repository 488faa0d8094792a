"""The wall in memory: the newest tile of every bed, encoded once, and the log time of every ward."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from contracts.records import BedScore, OpenAlarm, Quality, ScoreFrame, Tag, Vital

FORGET_MS: Final = 12 * 3600 * 1000
"""A bed that has not been heard for this long leaves the wall; its silence alarm stays until it is dealt with."""

_encoder: Final = msgspec.json.Encoder()
_DIGITS: Final = re.compile(r"(\d+)")

BedKey = tuple[str, str]


class TileValue(msgspec.Struct, frozen=True):
    """A value as the page shows it."""

    v: float | str | None
    at: int
    tag: Tag
    q: Quality


class TileComponent(msgspec.Struct, frozen=True):
    """Points of one NEWS2 component; None when it is missing."""

    vital: Vital
    points: int | None
    age_ms: int | None


class TileNews2(msgspec.Struct, frozen=True):
    """NEWS2 as the interval [min, max]."""

    min: int
    max: int
    scale: int
    red: bool
    components: tuple[TileComponent, ...]


class Tile(msgspec.Struct, frozen=True):
    """One bed on the wall."""

    ward: str
    bed: str
    patient: str
    heard_ms: int
    at_ms: int
    values: dict[str, TileValue]
    news2: TileNews2 | None
    alarms: tuple[OpenAlarm, ...]


class Placed(NamedTuple):
    """A tile's bytes, when it changed in the feed's own count, and what is needed to answer questions about the bed."""

    data: bytes
    changed: int
    score: BedScore
    at_ms: int


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A sort key under which bed 2 stands before bed 10."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name) if part)


class Board:
    """All tiles. ``clock_ms`` is the newest log time seen: it stands still when the broker or the worker is away."""

    def __init__(self) -> None:
        self.tiles: dict[BedKey, Placed] = {}
        self.wards: dict[str, int] = {}
        self.clock_ms = 0
        self._seen: dict[str, tuple[int, int]] = {}
        self._by_bed: dict[str, str] = {}

    def take(self, frame: ScoreFrame, changed: int) -> list[bytes] | None:
        """Take the scores of one frame; the encoded tiles, or None when the frame was seen before.

        A frame in which only models speak has the place and time of another one's scores and is never in its way.
        """
        offset, now_ms = frame.source.offset, frame.now_ms
        if not frame.beds and frame.outlooks:
            return []
        seen = self._seen.get(frame.ward)
        if seen is not None and offset <= seen[0] and now_ms <= seen[1]:
            return None
        self._seen[frame.ward] = (offset, now_ms)
        self.wards[frame.ward] = now_ms
        self.clock_ms = max(self.clock_ms, now_ms)
        encoded = []
        for score in frame.beds:
            data = _encoder.encode(tile_of(frame, score))
            self.tiles[frame.ward, score.bed] = Placed(data, changed, score, frame.at_ms)
            self._by_bed[score.bed] = frame.ward
            encoded.append(data)
        return encoded

    def fill_in(self, frame: ScoreFrame, changed: int) -> None:
        """Take an older frame: only beds whose newest tile is older than it, so that a silent bed is shown too."""
        self.wards[frame.ward] = max(self.wards.get(frame.ward, 0), frame.now_ms)
        self.clock_ms = max(self.clock_ms, frame.now_ms)
        for score in frame.beds:
            placed = self.tiles.get((frame.ward, score.bed))
            if placed is None or (placed.at_ms, placed.score.heard_ms) < (frame.at_ms, score.heard_ms):
                data = _encoder.encode(tile_of(frame, score))
                self.tiles[frame.ward, score.bed] = Placed(data, changed, score, frame.at_ms)
                self._by_bed.setdefault(score.bed, frame.ward)

    def find(self, bed: str, ward: str | None = None) -> tuple[str, Placed] | None:
        """The ward and tile of a bed; where two wards use one name, the one heard last, or the one asked for."""
        ward = ward if ward is not None else self._by_bed.get(bed)
        placed = self.tiles.get((ward, bed)) if ward is not None else None
        return (ward, placed) if ward is not None and placed is not None else None

    def in_order(self, ward: str | None) -> list[bytes]:
        """Encoded tiles by ward and bed."""
        keys = sorted(
            (key for key in self.tiles if ward in (None, key[0])), key=lambda k: (natural(k[0]), natural(k[1]))
        )
        return [self.tiles[key].data for key in keys]

    def changed_after(self, position: int, ward: str | None) -> dict[str, list[BedKey]]:
        """Beds whose tile is newer than ``position`` in the feed's count, by ward."""
        found: dict[str, list[BedKey]] = {}
        for key, placed in self.tiles.items():
            if placed.changed > position and ward in (None, key[0]):
                found.setdefault(key[0], []).append(key)
        return found

    def sweep(self) -> list[BedKey]:
        """Drop beds not heard for ``FORGET_MS`` of their ward's log time; returns them."""
        gone = [key for key, placed in self.tiles.items() if self.wards[key[0]] - placed.score.heard_ms > FORGET_MS]
        for ward, bed in gone:
            del self.tiles[ward, bed]
            if self._by_bed.get(bed) == ward:
                del self._by_bed[bed]
        return gone


def tile_of(frame: ScoreFrame, score: BedScore) -> Tile:
    """The tile that shows this score."""
    return Tile(
        frame.ward,
        score.bed,
        score.patient,
        score.heard_ms,
        frame.at_ms,
        {value.vital.value: TileValue(value.value, value.at_ms, value.tag, value.quality) for value in score.values},
        news2_of(score),
        score.alarms,
    )


def news2_of(score: BedScore) -> TileNews2 | None:
    """NEWS2 of a bed as the page shows it."""
    news2 = score.news2
    if news2 is None:
        return None
    components = tuple(TileComponent(c.vital, c.points, c.age_ms) for c in news2.components)
    return TileNews2(news2.minimum, news2.maximum, news2.scale, news2.single_red, components)


def tiles_event(ward: str, at_ms: int, now_ms: int, tiles: list[bytes]) -> bytes:
    """The ``tiles`` event of one ward."""
    head = _encoder.encode({"ward": ward, "at_ms": at_ms, "now_ms": now_ms})
    return b'event: tiles\ndata: %s,"beds":[%s]}\n\n' % (head[:-1], b",".join(tiles))
