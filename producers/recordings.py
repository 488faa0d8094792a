"""Plays real ICU recordings as frames at 1 Hz; ``python -m producers.recordings`` fills a ward with them.

A recording is sparse (a value an hour, a minute, now and then); a ward speaks every second. At a recorded instant the
value goes out as it was recorded, quality ``measured``, artefacts and all. In between, the last value is repeated
(``held``) or, on request, the line between two credible neighbours is followed (``interpolated``). Where nothing was
recorded for too long, nothing is sent. A vital that the recording lacks is never made up.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from contracts.clinical.codes import VITALS
from contracts.clinical.plausibility import PLAUSIBLE
from contracts.errors import Misconfigured
from contracts.records import (
    SCHEMA_VERSION,
    BedReadings,
    PastVitals,
    PatientFacts,
    Quality,
    Reading,
    Vital,
    VitalsFrame,
)
from contracts.settings import Settings
from producers import pace
from producers.archive import SAMPLES, Origin, Recording, Track, load
from producers.past import facts_of, of_recording
from producers.publish import Publisher

log = logging.getLogger(__name__)

WARD: Final = "ICU"
BEDS: Final = 8
SPEEDS: Final = {Origin.EICU: 60.0, Origin.MIMIC: 10.0, Origin.CHALLENGE2012: 60.0}
"""Recorded seconds per played second: an hour a minute for sparse recordings, ten minutes a minute for dense ones."""
FASTEST: Final = 36_000.0
GAP_S: Final = {Origin.EICU: 2 * 3600, Origin.MIMIC: 180, Origin.CHALLENGE2012: 2 * 3600}
SLOW_GAP_S: Final = 8 * 3600
"""How long a value may stand for what follows it, in recorded seconds; temperature, which changes slowly, longer."""


class Between(StrEnum):
    """What is sent between two recorded values."""

    HOLD = "hold"
    INTERPOLATE = "interpolate"


class Playback:
    """Recordings on the beds of one ward, from event time ``start_ms`` on.

    Recordings beyond ``beds`` wait and get the next free bed; with ``loop`` one that ends goes to the end of the queue.
    ``speed`` None: by origin. Raises Misconfigured for a speed or a number of beds that cannot be.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        start_ms: int,
        ward: str = WARD,
        beds: int = BEDS,
        speed: float | None = None,
        between: Between = Between.HOLD,
        loop: bool = False,
    ) -> None:
        if speed is not None and not 0 < speed <= FASTEST:
            raise Misconfigured(f"--speed {speed}: above 0 and at most {FASTEST:.0f} recorded seconds a second")
        if not 1 <= beds <= 1000:
            raise Misconfigured(f"--beds {beds}: 1 to 1000 in one ward")
        if not recordings:
            raise Misconfigured("no recording to play")
        self.second = 0
        self.start_ms = start_ms
        self.ward = ward
        self._speed = speed
        self._between = between
        self._loop = loop
        self._waiting = deque(recordings)
        digits = max(2, len(str(beds)))
        self._beds: dict[str, _Bedside | None] = {f"{ward}-{n + 1:0{digits}d}": None for n in range(beds)}

    def tick(self) -> list[VitalsFrame] | None:
        """The ward's frame of the next second; None once every recording has ended."""
        second, at_ms = self.second, self.start_ms + self.second * 1000
        self.second += 1
        spoken: list[BedReadings] = []
        past: list[PastVitals] = []
        facts: list[PatientFacts] = []
        for bed in self._beds:
            bedside = self._occupied(bed, second)
            if bedside is None or not (readings := bedside.read(second, at_ms)):
                continue
            if bedside.introduce():
                past += of_recording(bedside.recording, bed, at_ms)
                facts += filter(None, [facts_of(bedside.recording, at_ms)])
            spoken.append(BedReadings(bed=bed, patient=bedside.recording.id, readings=readings))
        if not spoken:
            return None if not self._waiting and not any(self._beds.values()) else []
        return [
            VitalsFrame(
                version=SCHEMA_VERSION,
                ward=self.ward,
                gateway=f"{self.ward}-gw",
                seq=self.start_ms // 1000 + second,
                at_ms=at_ms,
                beds=tuple(spoken),
                past=tuple(past),
                facts=tuple(facts),
            )
        ]

    def _occupied(self, bed: str, second: int) -> _Bedside | None:
        bedside = self._beds[bed]
        if bedside is not None and bedside.over(second):
            if self._loop:
                self._waiting.append(bedside.recording)
            bedside = self._beds[bed] = None
        if bedside is None and self._waiting:
            recording = self._waiting.popleft()
            speed = self._speed or SPEEDS[recording.origin]
            bedside = self._beds[bed] = _Bedside(recording, second, speed, self._between)
        return bedside


class _Bedside:
    """One recording at work: its second 0 is played at tick ``begin``."""

    def __init__(self, recording: Recording, begin: int, speed: float, between: Between) -> None:
        self.recording = recording
        self._begin = begin
        self._introduced = False
        self._speed = speed
        self._between = between
        self._next = [0] * len(recording.tracks)

    def introduce(self) -> bool:
        """Whether nothing was said of this patient yet; True once."""
        new, self._introduced = not self._introduced, True
        return new

    def over(self, second: int) -> bool:
        return (second - self._begin) * self._speed > self.recording.length_s

    def read(self, second: int, at_ms: int) -> tuple[Reading, ...]:
        """What is known up to this tick: recorded values since the last one, else what stands between."""
        recorded_s = (second - self._begin) * self._speed
        said: list[Reading] = []
        for n, track in enumerate(self.recording.tracks):
            first = self._next[n]
            end = self._next[n] = bisect_right(track.at_s, recorded_s, lo=first)
            for i in range(first, end):
                early_ms = round((recorded_s - track.at_s[i]) / self._speed * 1000)
                said.append(_reading(track, track.values[i], at_ms - early_ms if early_ms else None, Quality.MEASURED))
            if first == end and end and not track.aperiodic:
                standing = self._standing(track, end, recorded_s)
                if standing is not None:
                    said.append(standing)
        return tuple(said)

    def _standing(self, track: Track, end: int, recorded_s: float) -> Reading | None:
        gap_s = SLOW_GAP_S if track.vital in _SLOW else GAP_S[self.recording.origin]
        value, since_s = track.values[end - 1], track.at_s[end - 1]
        if self._between is Between.INTERPOLATE and end < len(track.at_s):
            following, until_s = track.values[end], track.at_s[end]
            if until_s - since_s <= gap_s and _credible(track.vital, value) and _credible(track.vital, following):
                share = (recorded_s - since_s) / (until_s - since_s)
                middle = value + (following - value) * share
                digits = VITALS[track.vital].decimals
                return _reading(track, round(middle, digits), None, Quality.INTERPOLATED)
        if recorded_s - since_s > gap_s:
            return None
        return _reading(track, value, None, Quality.HELD)


_SLOW: Final = frozenset({Vital.TEMPERATURE})


def _reading(track: Track, value: float, at_ms: int | None, quality: Quality) -> Reading:
    return Reading(vital=track.vital, value=value, at_ms=at_ms, source=track.source, quality=quality)


def _credible(vital: Vital, value: float) -> bool:
    low, high = PLAUSIBLE[vital]
    return low <= value <= high


def run(settings: Settings, _arguments: Sequence[str]) -> int:
    """The player as a process: the sample recordings round and round on a ward of 8 beds, until told to stop."""
    playback = Playback(load(SAMPLES), start_ms=pace.now_ms(), loop=True)
    with pace.stopping_on_signals() as (stop, _):
        publisher = Publisher(settings.kafka, client_id="ward-recordings", stop=stop)
        publisher.connect()
        log.info("running: %d beds of real recordings in ward %s, writing %s", BEDS, WARD, publisher.topic.name)
        played = pace.play(playback, publisher, stop)
    log.info(
        "stopped after %d s: %d frames delivered, %d undelivered", played.ticks, played.delivered, played.undelivered
    )
    return 0 if played.complete else 1


if __name__ == "__main__":
    pace.as_process(run)
