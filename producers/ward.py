"""The simulated hospital: 1 to 10,000 beds as gateway frames, one tick a second; ``python -m producers.ward`` runs it.

Same seed, script, anchor and size: the same frames, byte for byte. A bed's patient does not depend on how many beds
there are. Times follow one anchor: event time is anchor + n seconds whatever the clock on the wall does.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from contracts.errors import Misconfigured
from contracts.records import SCHEMA_VERSION, BedReadings, Reading, VitalsFrame
from contracts.settings import Settings
from producers import pace
from producers.devices import Devices, Readings
from producers.past import PATIENTS_A_FRAME, PATIENTS_A_TICK, SimulatedPast
from producers.physiology import Physiology
from producers.publish import Publisher
from producers.scenario import GATEWAY, Body, Happening, Kind, Roster, Scenario, Script, Truth, load_script

log = logging.getLogger(__name__)

MOST_BEDS: Final = 10_000
DEMO_BEDS: Final = 150
LARGEST_WARD: Final = 1000
SHUFFLED_WITHIN_S: Final = 5
LATE_S: Final = 20
SKEW_S: Final = 30
_NAMES: Final = 230
_DAY_MS: Final = 86_400_000


class Hospital:
    """A simulated hospital at event time ``start_ms``; ``tick`` gives the frames of the next second.

    With ``past`` it also tells what its patients were before, in frames of their own after the first seconds' readings.
    Raises Misconfigured for sizes that it cannot have or a script that does not fit.
    """

    def __init__(
        self,
        beds: int,
        *,
        seed: int,
        script: Script,
        start_ms: int,
        beds_per_ward: int = 50,
        frame_beds: int = 50,
        past: bool = False,
    ) -> None:
        if not 1 <= beds <= MOST_BEDS:
            raise Misconfigured(f"{beds} beds: there can be 1 to {MOST_BEDS} (WARD_BEDS, --beds)")
        if not 1 <= beds_per_ward <= LARGEST_WARD or not 1 <= frame_beds <= LARGEST_WARD:
            raise Misconfigured(f"--beds-per-ward and --frame-beds are 1 to {LARGEST_WARD}")
        self.second = 0
        self.start_ms = start_ms
        self._seed = seed
        self._body = Physiology(seed, beds)
        self.roster = self._admit(beds, beds_per_ward)
        self.scenario = Scenario(script, self.roster, seed, start_ms)
        self._devices = Devices(self._body.noise, beds)
        self._chunks = list(_chunks(self.roster, frame_beds))
        self._links: dict[int, _Link] = {}
        self._untold = self.before() if past else iter(())

    def tick(self) -> list[VitalsFrame]:
        """The frames of the next second, ward by ward."""
        second, at_ms = self.second, self.start_ms + self.second * 1000
        self.second += 1
        going = self.scenario.at(second)
        said = self._devices.read(second, at_ms, self._patients(second, at_ms, going), going)
        delivered = self._transport(second, at_ms, going, said)
        silent, repeated = (
            _wards(kind, going, self.roster, second) for kind in (Kind.SILENT_GATEWAY, Kind.REPEATED_FRAMES)
        )
        beds, patients = self.roster.beds, self.roster.patients
        frames = []
        for ward, gateway, first, end in self._chunks:
            if ward in silent:
                continue
            spoken = tuple(
                BedReadings(bed=beds[i], patient=patients[i], readings=readings)
                for i in range(first, end)
                if (readings := delivered[i])
            )
            if spoken:
                frame = VitalsFrame(
                    version=SCHEMA_VERSION,
                    ward=ward,
                    gateway=gateway,
                    seq=self.start_ms // 1000 + second,
                    at_ms=at_ms,
                    beds=spoken,
                )
                frames += [frame, frame] if ward in repeated else [frame]
        return frames + list(islice(self._untold, PATIENTS_A_TICK // PATIENTS_A_FRAME))

    def before(self) -> Iterator[VitalsFrame]:
        """What the patients were before second 0, in frames without readings."""
        going = self.scenario.at(0)
        before = SimulatedPast(self._body, self.roster, self.start_ms, going, self._devices.arterial)
        return before.frames(self._chunks, self.start_ms // 1000)

    def starting(self) -> list[Truth]:
        """The events that begin in the next second."""
        return self.scenario.starting(self.second)

    def truth(self, until_s: int | None = None) -> list[Truth]:
        """Ground truth up to a second of the run (default: up to now), in order of time."""
        return self.scenario.truth(self.second if until_s is None else until_s)

    def _admit(self, beds: int, beds_per_ward: int) -> Roster:
        wards, ward_of, names = [], [], []
        digits = max(2, len(str(beds_per_ward)))
        for first in range(0, beds, beds_per_ward):
            ward = f"W{first // beds_per_ward + 1}"
            wards.append(ward)
            for place in range(min(beds_per_ward, beds - first)):
                ward_of.append(ward)
                names.append(f"{ward}-{place + 1:0{digits}d}")
        words = self._body.noise.words(_NAMES, 0).tolist()
        # the bed's number keeps pseudonyms apart, the word keeps them apart between seeds
        patients = [f"sim-{word & 0xFFFFF:05x}{i:04x}" for i, word in enumerate(words)]
        return Roster(tuple(wards), tuple(ward_of), tuple(names), tuple(patients))

    def _patients(self, second: int, at_ms: int, going: Sequence[Happening]) -> Body:
        count = len(self.roster)
        body = Body(
            table=self._body.at(second, at_ms % _DAY_MS / 1000),
            oxygen=self._devices.oxygen.copy(),
            confused=np.zeros(count, dtype=bool),
            watched=np.zeros(count, dtype=bool),
            jitter=self._body.jitter,
        )
        self.scenario.befall(second, body, going)
        return body

    def _transport(self, second: int, at_ms: int, going: Sequence[Happening], said: list[Readings]) -> list[Readings]:
        faults: dict[int, list[Happening]] = {i: [] for i in self._links}
        for happening in going:
            if happening.event.kind in _PER_BED and second < happening.end_s:
                for i in happening.beds.tolist():
                    faults.setdefault(i, []).append(happening)
        for i, those in faults.items():
            link = self._links.setdefault(i, _Link(self._seed, i))
            said[i] = link.carry(second, at_ms, those, said[i])
            if not those and link.empty:
                del self._links[i]
        return said


_PER_BED: Final = frozenset({Kind.CLOCK_SKEW, Kind.LATE, Kind.DUPLICATE, Kind.SHUFFLED, Kind.SILENT_BED})


class _Link:
    """The way of one bed's readings to its gateway while something is wrong with it."""

    def __init__(self, seed: int, bed: int) -> None:
        self._key = (seed & 0x7FFFFFFF, bed)
        self._waiting: deque[tuple[int, Readings]] = deque()
        self._previous: Readings = ()

    @property
    def empty(self) -> bool:
        return not self._waiting

    def carry(self, second: int, at_ms: int, faults: Sequence[Happening], said: Readings) -> Readings:
        """What arrives at the gateway in this second when the bed says ``said``."""
        by_kind = {happening.event.kind: happening.event for happening in faults}
        skew = by_kind.get(Kind.CLOCK_SKEW)
        skew_s = 0 if skew is None else SKEW_S if skew.seconds is None else skew.seconds
        stamped = tuple(_stamped(reading, at_ms, skew_s * 1000) for reading in said)
        previous, self._previous = self._previous, stamped
        if Kind.SILENT_BED in by_kind:
            return ()
        if Kind.DUPLICATE in by_kind:
            return stamped + previous
        if Kind.SHUFFLED in by_kind:
            self._waiting.append((second, stamped))
            return self._shuffled(second) if len(self._waiting) >= SHUFFLED_WITHIN_S else ()
        late = by_kind.get(Kind.LATE)
        if late is None and not self._waiting:
            return stamped if by_kind else said
        self._waiting.append((second, stamped))
        due_s = second if late is None else second - (late.seconds or LATE_S)
        arrived: Readings = ()
        while self._waiting and self._waiting[0][0] <= due_s:
            arrived += self._waiting.popleft()[1]
        return arrived

    def _shuffled(self, second: int) -> Readings:
        held = [reading for _, readings in self._waiting for reading in readings]
        self._waiting.clear()
        order = np.random.default_rng([*self._key, second]).permutation(len(held))
        return tuple(held[n] for n in order.tolist())


def _stamped(reading: Reading, at_ms: int, skew_ms: int) -> Reading:
    return msgspec.structs.replace(reading, at_ms=(at_ms if reading.at_ms is None else reading.at_ms) + skew_ms)


def _chunks(roster: Roster, frame_beds: int) -> Iterator[tuple[str, str, int, int]]:
    """(ward, gateway, first bed, end) of each frame; a ward with several frames has several gateways."""
    first = 0
    for ward in roster.wards:
        count = roster.ward_of.count(ward)
        for number, start in enumerate(range(first, first + count, frame_beds), 1):
            gateway = f"{ward}-gw" if count <= frame_beds else f"{ward}-gw{number}"
            yield ward, gateway, start, min(start + frame_beds, first + count)
        first += count


def _wards(kind: Kind, going: Sequence[Happening], roster: Roster, second: int) -> frozenset[str]:
    return frozenset(
        roster.ward_of[i]
        for happening in going
        if kind in GATEWAY and happening.event.kind is kind and second < happening.end_s
        for i in happening.beds.tolist()
    )


def script_for(beds: int) -> str:
    """The script that a hospital of this size plays by default: the demo, or drawn shares where nobody knows beds."""
    return "demo" if beds <= DEMO_BEDS else "hospital"


def run(settings: Settings, _arguments: Sequence[str]) -> int:
    """The simulator as a process: plays until it is told to stop; exit code 0, or 1 when frames were lost."""
    hospital = Hospital(
        settings.beds,
        seed=settings.seed,
        script=load_script(script_for(settings.beds)),
        start_ms=pace.now_ms(),
        past=True,
    )
    with pace.stopping_on_signals() as (stop, _):
        publisher = Publisher(settings.kafka, client_id="ward-simulator", stop=stop)
        publisher.connect()
        log.info(
            "running: %d beds in %d wards, script %s, seed %d, writing %s",
            len(hospital.roster),
            len(hospital.roster.wards),
            hospital.scenario.script.name,
            settings.seed,
            publisher.topic.name,
        )
        played = pace.play(hospital, publisher, stop)
    log.info(
        "stopped after %d s: %d frames delivered, %d undelivered", played.ticks, played.delivered, played.undelivered
    )
    return 0 if played.complete else 1


if __name__ == "__main__":
    pace.as_process(run)
