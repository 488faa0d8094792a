"""What befalls the simulated beds, and when: a script is data, and its ground truth is known to the millisecond.

Three families of events: *episodes* change the patient, *sensor* faults change what the device says of an unchanged
patient, *transport* faults change how and when readings arrive. An event starts at ``at_s`` of the run and lasts
``for_s``; an episode builds up over its ramp, and fades after its end.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from contracts.records import Vital
from producers.physiology import Floats, Indices, Noise, Row, uniform


class Family(StrEnum):
    """What an event touches."""

    EPISODE = "episode"
    SENSOR = "sensor"
    TRANSPORT = "transport"


class Kind(StrEnum):
    """Everything that can be scripted."""

    # the patient
    DESATURATION = "desaturation"
    SEPSIS = "sepsis"
    BLEED = "bleed"
    ARRHYTHMIA = "arrhythmia"
    BRADYCARDIA = "bradycardia"
    HYPERTENSIVE_CRISIS = "hypertensive_crisis"
    RECOVERY = "recovery"
    # the sensor
    LEAD_OFF = "lead_off"
    NO_SIGNAL = "no_signal"
    FROZEN = "frozen"
    CUFF_ON_SPO2_LIMB = "cuff_on_spo2_limb"
    FAHRENHEIT = "fahrenheit"
    MOTION = "motion"
    # the way to the broker
    CLOCK_SKEW = "clock_skew"
    LATE = "late"
    DUPLICATE = "duplicate"
    SHUFFLED = "shuffled"
    SILENT_BED = "silent_bed"
    SILENT_GATEWAY = "silent_gateway"
    REPEATED_FRAMES = "repeated_frames"


class Effect(NamedTuple):
    """What an episode adds at full strength, in the vitals' units, and how it comes and goes.

    ``irregular`` is the standard deviation of an irregular pulse. After ``oxygen_after_s`` somebody gives ``oxygen``
    litres a minute; from ``confused_from`` of full strength on the patient is confused (C).
    """

    heart_rate: float
    respiration: float
    spo2: float
    systolic: float
    diastolic: float
    temperature: float
    ramp_s: float
    fade_s: float
    irregular: float = 0.0
    oxygen: float = 0.0
    oxygen_after_s: float = 90.0
    confused_from: float = 2.0

    @property
    def column(self) -> Floats:
        """The additions in the order of ``Row``, as a column."""
        return np.array(self[: len(Row)])[:, None]


EFFECTS: Final[dict[Kind, Effect]] = {
    Kind.DESATURATION: Effect(16, 8, -15, 6, 3, 0, ramp_s=18, fade_s=30, oxygen=6),
    Kind.SEPSIS: Effect(
        44, 13, -5, -36, -20, 2.4, ramp_s=1800, fade_s=1800, oxygen=2, oxygen_after_s=900, confused_from=0.8
    ),
    Kind.BLEED: Effect(48, 9, -1.5, -50, -26, -0.3, ramp_s=90, fade_s=240),
    Kind.ARRHYTHMIA: Effect(68, 4, -1, -18, -6, 0, ramp_s=2, fade_s=3, irregular=8),
    Kind.BRADYCARDIA: Effect(-40, 0, -1, -14, -8, 0, ramp_s=6, fade_s=10),
    Kind.HYPERTENSIVE_CRISIS: Effect(10, 3, 0, 82, 38, 0, ramp_s=60, fade_s=180),
    Kind.RECOVERY: Effect(40, 11, -6, -14, -6, 1.4, ramp_s=0, fade_s=1),
}
SENSOR: Final = frozenset(
    {Kind.LEAD_OFF, Kind.NO_SIGNAL, Kind.FROZEN, Kind.CUFF_ON_SPO2_LIMB, Kind.FAHRENHEIT, Kind.MOTION}
)
GATEWAY: Final = frozenset({Kind.SILENT_GATEWAY, Kind.REPEATED_FRAMES})
"""Kinds that befall a whole ward's gateway."""
_FADES_OUT: Final = 4.0
"""After this many fade times nothing of an episode is left."""
_SHARE: Final = 1600
_IRREGULAR: Final = 20
_TREATED_FROM: Final = 0.3
_EACH_SECOND: Final = frozenset({Vital.HEART_RATE, Vital.RESPIRATION, Vital.SPO2})


def family_of(kind: Kind) -> Family:
    """Which family a kind belongs to."""
    if kind in EFFECTS:
        return Family.EPISODE
    return Family.SENSOR if kind in SENSOR else Family.TRANSPORT


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a script. Exactly one of ``bed`` (name or 1-based number), ``ward`` or ``share`` says where.

    ``share`` is a part of all beds (gateways, for gateway kinds), drawn anew each time. ``strength`` scales an episode.
    ``vital``: which one is frozen or loses its signal. ``seconds``: how far a clock is off (positive: ahead) or how
    late readings come.
    """

    kind: Kind
    at_s: int
    for_s: int
    bed: str | int | None = None
    ward: str | None = None
    share: float | None = None
    strength: float = 1.0
    ramp_s: float | None = None
    vital: Vital | None = None
    seconds: int | None = None


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole course of events. With ``repeat_s`` above 0 it starts again that often.

    ``lenient`` lets events for beds that this hospital does not have fall away (for scripts made for any size).
    """

    name: str
    about: str = ""
    repeat_s: int = 0
    lenient: bool = False
    event: tuple[Event, ...] = ()


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What really happened to one bed. ``end_ms``: the script's end; an episode fades until ``faded_ms``."""

    kind: Kind
    family: Family
    ward: str
    bed: str
    patient: str
    start_ms: int
    end_ms: int
    faded_ms: int
    strength: float = 1.0
    vital: Vital | None = None
    seconds: int | None = None


BUILT_IN: Final = ("demo", "calm", "faults", "hospital")


def load_script(name: str) -> Script:
    """A built-in script by name (demo, calm, faults, hospital) or one from a TOML file.

    Raises Misconfigured naming the file, the field and what is wrong.
    """
    try:
        if name in BUILT_IN:
            raw = resources.files("producers").joinpath("scripts", f"{name}.toml").read_bytes()
        else:
            raw = Path(name).read_bytes()
    except OSError as unreadable:
        raise Misconfigured(
            f"script {name!r} cannot be read: {unreadable.strerror}; give a TOML file or one of {', '.join(BUILT_IN)}"
        ) from unreadable
    return parse_script(raw, name)


def parse_script(raw: bytes, name: str = "script") -> Script:
    """The script in TOML bytes; raises Misconfigured as ``load_script`` does."""
    try:
        script = msgspec.toml.decode(raw, type=Script)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise Misconfigured(f"script {name}: {wrong}") from wrong
    for number, event in enumerate(script.event):
        for problem in _problems(event, script):
            raise Misconfigured(f"script {name}: event[{number}] ({event.kind}): {problem}")
    return script


def _problems(event: Event, script: Script) -> Iterator[str]:
    places = [event.bed is not None, event.ward is not None, event.share is not None]
    if sum(places) != 1:
        yield "say exactly one of bed, ward, share"
    if event.kind in GATEWAY and event.bed is not None:
        yield "befalls a gateway: say ward or share, not bed"
    if event.share is not None and not 0 < event.share <= 1:
        yield f"share is {event.share}; it must be above 0 and at most 1"
    if event.at_s < 0 or event.for_s <= 0:
        yield "at_s must not be negative and for_s must be above 0"
    if script.repeat_s and event.at_s + event.for_s > script.repeat_s:
        yield f"ends after the script starts again (repeat_s {script.repeat_s})"
    if not 0 < event.strength <= 2:
        yield f"strength is {event.strength}; it must be above 0 and at most 2"
    if event.ramp_s is not None and (event.kind not in EFFECTS or event.ramp_s < 0):
        yield "ramp_s belongs to episodes and must not be negative"
    if event.seconds is not None and event.kind not in (Kind.CLOCK_SKEW, Kind.LATE):
        yield "seconds belongs to clock_skew and late"
    if event.kind is Kind.LATE and event.seconds is not None and event.seconds <= 0:
        yield f"seconds is {event.seconds}; readings can only be late, so it must be above 0"
    if event.vital is not None and event.kind not in (Kind.FROZEN, Kind.NO_SIGNAL):
        yield "vital belongs to frozen and no_signal"
    if event.vital is not None and event.vital not in _EACH_SECOND:
        yield f"vital {event.vital} is not measured every second at every bed: {', '.join(sorted(_EACH_SECOND))} are"


@dataclass(frozen=True)
class Roster:
    """Who lies where: parallel lists over all beds, in order of wards."""

    wards: tuple[str, ...]
    ward_of: tuple[str, ...]
    beds: tuple[str, ...]
    patients: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.beds)


@dataclass(frozen=True)
class Happening:
    """One event at work: the beds it has and, for one occurrence, when it began."""

    number: int
    event: Event
    begin_s: int
    beds: Indices

    @property
    def end_s(self) -> int:
        """Second at which the script ends it."""
        return self.begin_s + self.event.for_s

    @property
    def faded_s(self) -> int:
        """Second from which on nothing of it is left."""
        effect = EFFECTS.get(self.event.kind)
        if effect is None:
            return self.end_s
        return self.end_s + int(np.ceil(_FADES_OUT * effect.fade_s))

    def strength_at(self, second: int) -> float:
        """0 to ``strength``: how much of an episode there is."""
        effect = EFFECTS[self.event.kind]
        into_s = second - self.begin_s
        if self.event.kind is Kind.RECOVERY:
            return self.event.strength * float(np.exp(-4.0 * max(into_s, 0) / self.event.for_s))
        ramp_s = effect.ramp_s if self.event.ramp_s is None else self.event.ramp_s

        def grown(seconds: float) -> float:
            return min(1.0, (seconds + 1.0) / (ramp_s + 1.0))

        if second < self.end_s:
            return self.event.strength * grown(into_s)
        left = float(np.exp(-(second - self.end_s) / effect.fade_s))
        return self.event.strength * grown(self.event.for_s - 1) * left


@dataclass
class Body:
    """All patients in one second: ``table`` by ``Row``; oxygen in L/min; confused; watched: measured more often."""

    table: Floats
    oxygen: Floats
    confused: NDArray[np.bool_]
    watched: NDArray[np.bool_]
    jitter: Callable[[int, int, Indices], Floats]


class Scenario:
    """A script laid over a roster. ``start_ms`` is the event time of second 0."""

    def __init__(self, script: Script, roster: Roster, seed: int, start_ms: int) -> None:
        self.script = script
        self._roster = roster
        self._start_ms = start_ms
        self._noise = Noise(seed, len(roster))
        self._places = [self._place(number, event) for number, event in enumerate(script.event)]
        self._drawn: dict[tuple[int, int], Indices] = {}

    def befall(self, second: int, body: Body, going: Sequence[Happening]) -> None:
        """Let the episodes among ``going`` work on the patients, in place."""
        for happening in going:
            effect = EFFECTS.get(happening.event.kind)
            if effect is None:
                continue
            beds, strength = happening.beds, happening.strength_at(second)
            body.table[:, beds] += effect.column * strength
            if effect.irregular:
                body.table[Row.HEART_RATE, beds] += strength * effect.irregular * body.jitter(_IRREGULAR, second, beds)
            if effect.oxygen and strength > _TREATED_FROM and second - happening.begin_s >= effect.oxygen_after_s:
                body.oxygen[beds] = np.maximum(body.oxygen[beds], effect.oxygen)
            if strength >= effect.confused_from:
                body.confused[beds] = True
            body.watched[beds] = True

    def at(self, second: int) -> list[Happening]:
        """Everything that is going on, or still fading, in this second of the run."""
        going = []
        for number, event in enumerate(self.script.event):
            for begin_s in self._begins(event, second):
                happening = Happening(number, event, begin_s, self._beds(number, begin_s))
                if second < happening.faded_s and happening.beds.size:
                    going.append(happening)
        return going

    def starting(self, second: int) -> list[Truth]:
        """What begins in exactly this second."""
        found = []
        for number, event in enumerate(self.script.event):
            if second in self._begins(event, second):
                found += self._truths(Happening(number, event, second, self._beds(number, second)))
        return found

    def truth(self, until_s: int) -> list[Truth]:
        """Everything that begins before this second of the run, in order of time."""
        found = []
        for number, event in enumerate(self.script.event):
            every_s = self.script.repeat_s or until_s + event.at_s + 1
            for begin_s in range(event.at_s, until_s, every_s):
                found += self._truths(Happening(number, event, begin_s, self._beds(number, begin_s)))
        return sorted(found, key=lambda one: (one.start_ms, one.bed, one.kind))

    def _begins(self, event: Event, second: int) -> list[int]:
        """Begins of the occurrences that could still matter: the latest one and, when it repeats, the one before."""
        if second < event.at_s:
            return []
        if not self.script.repeat_s:
            return [event.at_s]
        latest = event.at_s + (second - event.at_s) // self.script.repeat_s * self.script.repeat_s
        return [latest] if latest == event.at_s else [latest - self.script.repeat_s, latest]

    def _truths(self, happening: Happening) -> list[Truth]:
        event, roster = happening.event, self._roster
        return [
            Truth(
                kind=event.kind,
                family=family_of(event.kind),
                ward=roster.ward_of[i],
                bed=roster.beds[i],
                patient=roster.patients[i],
                start_ms=self._start_ms + happening.begin_s * 1000,
                end_ms=self._start_ms + happening.end_s * 1000,
                faded_ms=self._start_ms + happening.faded_s * 1000,
                strength=event.strength,
                vital=event.vital,
                seconds=event.seconds,
            )
            for i in happening.beds.tolist()
        ]

    def _place(self, number: int, event: Event) -> Indices | None:
        """The beds of an event; None when they are drawn anew at each occurrence."""
        roster = self._roster
        if event.share is not None:
            return None
        if event.ward is not None:
            self._known(number, event.ward, roster.wards)
            return _where(roster.ward_of, event.ward)
        if isinstance(event.bed, int):
            if 1 <= event.bed <= len(roster):
                return np.array([event.bed - 1])
            if self.script.lenient:
                return np.array([], dtype=np.intp)
            raise Misconfigured(
                f"script {self.script.name}: event[{number}]: bed {event.bed} is not there; beds are 1 to {len(roster)}"
            )
        self._known(number, str(event.bed), roster.beds)
        return _where(roster.beds, str(event.bed))

    def _known(self, number: int, name: str, names: Sequence[str]) -> None:
        if name in names or self.script.lenient:
            return
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {names[0]} to {names[-1]}"
        raise Misconfigured(f"script {self.script.name}: event[{number}]: no {name!r}: {hint}")

    def _beds(self, number: int, begin_s: int) -> Indices:
        place = self._places[number]
        if place is not None:
            return place
        drawn = self._drawn.get((number, begin_s))
        if drawn is None:
            drawn = self._drawn[number, begin_s] = self._draw(number, begin_s)
            for old in [key for key in self._drawn if key[0] == number and key[1] < begin_s - 2 * self.script.repeat_s]:
                del self._drawn[old]
        return drawn

    def _draw(self, number: int, begin_s: int) -> Indices:
        event, roster = self.script.event[number], self._roster
        luck = uniform(self._noise.words(_SHARE + number, begin_s))
        if event.kind in GATEWAY:
            first = {ward: i for i, ward in reversed(list(enumerate(roster.ward_of)))}
            luck = luck[[first[ward] for ward in roster.ward_of]]
        return np.flatnonzero(luck < (event.share or 0.0))


def _where(names: Sequence[str], name: str) -> Indices:
    return np.flatnonzero(np.array([one == name for one in names], dtype=bool))
