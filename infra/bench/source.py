"""The simulated hospital for latency runs: ``python -m infra.bench.source KAFKA BEDS SECONDS at_once|spread``.

As ``producers.ward``, but its event time is the clock on the wall to the millisecond, so that a frame's own time says
when its tick was due. ``at_once``: all gateways tick at the same moment, as the simulator does; ``spread``: each at its
own phase of the second, as gateways that know nothing of each other do. The first line on stdout is the event time of
the first tick, the last one what was played.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from contracts.records import VitalsFrame
from producers import pace
from producers.publish import Publisher
from producers.scenario import load_script
from producers.ward import Hospital

SEED: Final = 20260102
SET_UP_MS: Final = 3_000
PAST_BEDS_A_S: Final = 500
"""What patients were before is told first, and the worker given so long to learn it, so that models speak at once."""
Form = Literal["at_once", "spread"]


class Played(msgspec.Struct, kw_only=True):
    """What was played. ``behind_*_ms``: how late ticks (or frames) were sent."""

    frames: int
    undelivered: int
    failed: int
    behind_p99_ms: float


def at_once(hospital: Hospital, publisher: Publisher, stop: threading.Event, seconds: int) -> Played:
    """A tick a second, every frame of it at once."""
    played = pace.play(hospital, publisher, stop, ticks=seconds)
    return Played(
        frames=played.frames,
        undelivered=played.undelivered,
        failed=played.failed,
        behind_p99_ms=played.behind_p99_ms or 0.0,
    )


def phase_ms(ward: str, wards: Sequence[str]) -> int:
    """Where in the second this ward ticks in the spread form."""
    return wards.index(ward) * 1000 // len(wards)


def spread(hospital: Hospital, publisher: Publisher, stop: threading.Event, seconds: int) -> Played:
    """A tick a second, its frames evenly over the second, each with its own time."""
    behind_ms: list[float] = []
    phases = {ward: phase_ms(ward, hospital.roster.wards) for ward in hospital.roster.wards}
    frames: list[VitalsFrame] = hospital.tick()
    for second in range(seconds):
        coming: list[VitalsFrame] = []
        for number, frame in enumerate(frames):
            if number == len(frames) // 2:
                coming = hospital.tick()  # in the middle of the second: it takes its time
            at_ms = frame.at_ms + phases[frame.ward]
            while (wait_s := at_ms / 1000 - time.time()) > 0 and not stop.wait(wait_s):
                publisher.poll()
            if stop.is_set():
                break
            behind_ms.append(time.time() * 1000 - at_ms)
            publisher.publish(msgspec.structs.replace(frame, at_ms=at_ms))
        if stop.is_set():
            break
        frames = coming or (hospital.tick() if second + 1 < seconds else [])
    undelivered = publisher.flush()
    behind_ms.sort()
    return Played(
        frames=len(behind_ms),
        undelivered=undelivered,
        failed=publisher.failed,
        behind_p99_ms=round(behind_ms[int(0.99 * (len(behind_ms) - 1))], 1) if behind_ms else 0.0,
    )


def main(kafka: str, beds: int, seconds: int, form: str) -> int:
    """Play; 0, or 1 when frames were lost."""
    with pace.stopping_on_signals() as (stop, _):
        publisher = Publisher(kafka, client_id="ward-bench-source", stop=stop)
        publisher.connect()
        start_ms = time.time_ns() // 1_000_000 + SET_UP_MS + beds * 1000 // PAST_BEDS_A_S
        hospital = Hospital(beds, seed=SEED, script=load_script("hospital"), start_ms=start_ms)
        for frame in hospital.before():
            publisher.publish(frame)
        stop.wait((start_ms - SET_UP_MS) / 1000 - time.time())
        print(start_ms, flush=True)
        stop.wait(start_ms / 1000 - time.time())
        played = (at_once if form == "at_once" else spread)(hospital, publisher, stop, seconds)
    print(msgspec.json.encode(played).decode(), flush=True)
    return 1 if played.undelivered or played.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
