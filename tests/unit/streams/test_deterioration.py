"""Who deteriorates, as images call them."""

from __future__ import annotations

import asyncio
import time

from contracts import codec
from contracts.pseudonyms import Pseudonyms
from contracts.records import BedScore, News2, ScoreFrame, SourceOffset
from models.imaging.findings import Deterioration
from streams.deterioration import EVERY_S, Deteriorating

NAMES = Pseudonyms(bytes(32))


class Room:
    """A follower with a clock of its own and what it told."""

    def __init__(self, names: Pseudonyms | None = NAMES) -> None:
        self.now_s = 0.0
        self.told: list[str] = []
        self.follower = Deteriorating("none", names, Deterioration(), self.worse, lambda: self.now_s)

    async def worse(self, patient: str, at_ms: int) -> None:
        self.told.append(patient)

    def score(self, news2: int, after_s: float = EVERY_S) -> None:
        self.now_s += after_s
        bed = BedScore(bed="1", patient="MRN 1", heard_ms=1, news2=News2(minimum=news2, maximum=20, scale=1))
        source = SourceOffset(topic="t", partition=0, offset=0)
        frame = ScoreFrame(version=1, ward="W1", at_ms=1, now_ms=1, source=source, policy="p", beds=(bed,))
        asyncio.run(self.follower.scored(b"W1", codec.encode(frame)))

    @property
    def known(self) -> int | None:
        return self.follower.patients().of(NAMES.patient("MRN 1"))


def test_the_highest_score_lately_counts_and_each_rise_is_told() -> None:
    room = Room()
    for news2 in (3, 5, 5, 8, 6):
        room.score(news2)
    assert room.known == 8
    assert room.told == [NAMES.patient("MRN 1")] * 2
    room.now_s += 30 * 60 + 1
    assert room.known is None
    room.score(5)
    assert room.known == 5


def test_a_ward_is_not_looked_at_all_the_time_and_garbage_tells_nothing() -> None:
    room = Room()
    room.score(5)
    room.score(9, after_s=1.0)
    assert room.known == 5
    asyncio.run(room.follower.scored(b"W2", b"{"))
    assert room.known == 5


def test_without_a_key_nobody_is_known() -> None:
    room = Room(None)
    room.score(20)
    assert (room.known, room.told) == (None, [])
    began = time.monotonic()
    asyncio.run(room.follower.keep_following())
    assert time.monotonic() - began < 5
