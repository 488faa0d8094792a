"""Ticks keep to one anchor: a slow tick delays itself, never those after it."""

from __future__ import annotations

import threading
import time

from contracts.records import SCHEMA_VERSION, BedReadings, VitalsFrame
from producers.pace import play
from producers.publish import Publisher


class Slow:
    """A source whose second tick takes longer than a second."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def tick(self) -> list[VitalsFrame] | None:
        self.at.append(time.monotonic())
        if len(self.at) == 2:
            threading.Event().wait(1.3)
        return [] if len(self.at) < 5 else None


class Talker:
    """A source that never ends."""

    seq = 0

    def tick(self) -> list[VitalsFrame]:
        self.seq += 1
        bed = BedReadings(bed="W1-01", patient="sim-1")
        return [
            VitalsFrame(
                version=SCHEMA_VERSION, ward="W1", gateway="g", seq=self.seq, at_ms=1_767_340_800_000, beds=(bed,)
            )
        ]


def test_a_late_tick_does_not_delay_the_next_ones() -> None:
    source = Slow()
    played = play(source, Publisher("127.0.0.1:1"), threading.Event())
    offsets = [at - source.at[0] for at in source.at]
    assert played.ticks == 4
    for n, due in ((1, 1.0), (2, 2.3), (3, 3.0), (4, 4.0)):
        assert due - 0.01 <= offsets[n] < due + 0.6  # drift would be 1.3 s from here on
    assert played.behind_max_ms is not None
    assert played.behind_max_ms > 250


def test_a_stop_ends_the_wait_for_the_next_second_and_undelivered_frames_are_counted() -> None:
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    begun = time.monotonic()
    played = play(Talker(), Publisher("127.0.0.1:1"), stop, flush_s=0.2)
    timer.join()
    assert time.monotonic() - begun < 0.98
    assert (played.ticks, played.frames, played.undelivered, played.complete) == (1, 1, 1, False)
