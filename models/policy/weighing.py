"""What each policy would have cost those who hear its alarms, and which events it would have told of, and when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models import burden
from models.policy.decided import Condition
from models.policy.tape import CUFFED, READ, RELEASE, Ints
from models.policy.twin import Happening, Told
from models.ward.policy import Limits

GAP_MS: Final = 60_000
"""An excursion of which nothing is heard for so long is over."""
_UNTOLD: Final = np.iinfo(np.int64).max
Bed = tuple[str, str]


class Event(NamedTuple):
    """Something that a limit alarm should have told of, from ``start`` to before ``end`` in event time.

    ``condition`` None: any limit of the patient may tell of it.
    """

    ward: str
    patient: str
    condition: str | None
    start_ms: int
    end_ms: int
    severe: bool


class Weighed(NamedTuple):
    """One policy. Rates are of limit alarms, a bed-day; delays of the events that it and the one in force tell of.

    ``alarms`` counts each time that one sounds: raised, or again because a latched condition came back. ``added_s`` are
    seconds later than under the policy in force (below 0: earlier), ``missed_new`` events that only that one tells of.
    """

    alarms: int
    alarms_per_bed_day: float | None
    high_per_bed_day: float | None
    worsened: int
    standing_h: float
    top_tenth_share: float | None
    missed: int
    missed_severe: int
    missed_new: int
    missed_severe_new: int
    delay_s_p50: float | None
    added_s_p50: float | None
    added_s_p95: float | None
    added_s_max: float | None


@dataclass
class Scales:
    """Takes one condition after the other and adds up what each of ``n`` policies told.

    ``from_ms``: what was told before that log time is warm-up and does not count. ``known`` are events known from
    elsewhere; without them each lasting excursion beyond the limits in force is one (``lasting``).
    """

    n: int
    from_ms: int = 0
    known: Sequence[Event] | None = None
    event_ms: int = 60_000
    severe_event_ms: int = 60_000
    events: list[Event] = field(default_factory=list)
    _first: list[Ints] = field(default_factory=list)
    _alarms: dict[Bed, Ints] = field(default_factory=dict)
    _by_condition: dict[str, Ints] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._high = np.zeros(self.n, np.int64)
        self._worsened = np.zeros(self.n, np.int64)
        self._standing_ms = np.zeros(self.n, np.int64)
        if self.known is not None:
            self.events = list(self.known)
            self._first = [np.full(self.n, _UNTOLD) for _ in self.events]

    def take(self, condition: Condition, limits: Limits | None, last_ms: int) -> None:
        """One condition under every policy. ``limits`` are those in force, ``last_ms`` the end of the span."""
        told, row_of = condition.told, condition.sides.row_of
        rows = len(condition.sides.side.limit)
        sounds = (told.what == Happening.RAISED) | (told.what == Happening.REALARMED)
        counted = told.now >= self.from_ms
        heard = np.bincount(told.row[sounds & counted], minlength=rows)[row_of]
        bed = condition.ward, condition.patient
        self._alarms[bed] = self._alarms.get(bed, np.zeros(self.n, np.int64)) + heard
        self._by_condition[condition.name] = self._by_condition.get(condition.name, np.zeros(self.n, np.int64)) + heard
        self._high += np.bincount(told.row[sounds & counted & told.high], minlength=rows)[row_of]
        worse = told.what == Happening.PRIORITY_RAISED
        self._worsened += np.bincount(told.row[worse & counted], minlength=rows)[row_of]
        self._standing_ms += _standing_ms(told, rows, self.from_ms, last_ms)[row_of]
        if self.known is None:
            if limits is not None:
                for event in lasting(condition, limits, self.event_ms, self.severe_event_ms, self.from_ms):
                    self.events.append(event)
                    self._first.append(_first_told(told, rows, event)[row_of])
            return
        for event, first in zip(self.events, self._first, strict=True):
            if (event.ward, event.patient) == bed:
                np.minimum(first, _first_told(told, rows, event)[row_of], out=first)

    def add(self, other: Scales) -> None:
        """Takes over what another part of the span weighed: of other wards, under the same policies and events."""
        if self.known is None:
            self.events += other.events
            self._first += other._first
        else:
            for first, more in zip(self._first, other._first, strict=True):
                np.minimum(first, more, out=first)
        for name, counts in other._by_condition.items():
            self._by_condition[name] = self._by_condition.get(name, np.zeros(self.n, np.int64)) + counts
        for bed, counts in other._alarms.items():
            self._alarms[bed] = self._alarms.get(bed, np.zeros(self.n, np.int64)) + counts
        self._high += other._high
        self._worsened += other._worsened
        self._standing_ms += other._standing_ms

    def weighed(self, heard_s: Mapping[Bed, float]) -> list[Weighed]:
        """Every policy, the one in force first."""
        days = sum(heard_s.values()) / burden.DAY_S
        beds = max(len(heard_s), len(self._alarms))
        each = np.array([*self._alarms.values()]) if self._alarms else np.zeros((0, self.n), np.int64)
        first = np.array(self._first).reshape(len(self.events), self.n)
        start = np.array([event.start_ms for event in self.events], np.int64)
        severe = np.array([event.severe for event in self.events], np.bool_)
        untold = first == _UNTOLD
        found = []
        for p in range(self.n):
            both = ~untold[:, 0] & ~untold[:, p]
            added = np.sort((first[both, p] - first[both, 0]) / 1000).tolist()
            waits = np.sort((first[~untold[:, p], p] - start[~untold[:, p]]) / 1000).tolist()
            new = untold[:, p] & ~untold[:, 0]
            alarms = int(each[:, p].sum())
            found.append(
                Weighed(
                    alarms=alarms,
                    alarms_per_bed_day=burden.rate(alarms, days),
                    high_per_bed_day=burden.rate(int(self._high[p]), days),
                    worsened=int(self._worsened[p]),
                    standing_h=round(float(self._standing_ms[p]) / 3_600_000, 2),
                    top_tenth_share=burden.top_tenth(each[:, p].tolist(), beds),
                    missed=int(untold[:, p].sum()),
                    missed_severe=int((untold[:, p] & severe).sum()),
                    missed_new=int(new.sum()),
                    missed_severe_new=int((new & severe).sum()),
                    delay_s_p50=burden.quantile(waits, 0.5),
                    added_s_p50=burden.quantile(added, 0.5),
                    added_s_p95=burden.quantile(added, 0.95),
                    added_s_max=added[-1] if added else None,
                )
            )
        return found

    def by_condition(self) -> dict[str, list[int]]:
        """Alarms of each condition, by policy."""
        return {name: counts.tolist() for name, counts in sorted(self._by_condition.items())}


def lasting(
    condition: Condition, limits: Limits, event_ms: int, severe_event_ms: int, from_ms: int = 0
) -> Iterable[Event]:
    """The stretches of values beyond the limit for at least ``event_ms``; severe where beyond the extreme one for
    ``severe_event_ms`` within it.

    A stretch ends with the first judged value that is inside, when the patient leaves, or ``GAP_MS`` after its last.
    """
    low = condition.low
    limit = limits.low if low else limits.high
    extreme = limits.extreme_low if low else limits.extreme_high
    if limit is None:
        return
    steps = condition.steps
    at, kind = steps.at, steps.kind
    judged = np.flatnonzero((kind == READ) | (kind == CUFFED) | (kind == RELEASE))
    value = np.where(kind == RELEASE, np.nan, steps.value)[judged]
    at = np.where(kind == RELEASE, steps.now, at)[judged]
    now = steps.now[judged]
    beyond = (value < limit) if low else (value > limit)
    beyond &= kind[judged] == READ
    worse = np.zeros(len(at), np.bool_) if extreme is None else (value < extreme) if low else (value > extreme)
    for first, last in _runs(beyond, at):
        end_ms = _ends(at, last)
        if end_ms - at[first] < event_ms or now[first] < from_ms:
            continue
        stretch = slice(first, last + 1)
        severe = any(
            _ends(at, first + b) - at[first + a] >= severe_event_ms for a, b in _runs(worse[stretch], at[stretch])
        )
        yield Event(condition.ward, condition.patient, condition.name, int(at[first]), int(end_ms), severe)


def _runs(which: NDArray[np.bool_], at: Ints) -> Iterable[tuple[int, int]]:
    """First and last place of each run of true values without a gap."""
    places = np.flatnonzero(which)
    if not len(places):
        return []
    cuts = np.flatnonzero((np.diff(places) > 1) | (np.diff(at[places]) > GAP_MS)) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(places, cuts)]


def _ends(at: Ints, last: int) -> int:
    """When what was last seen at that place is over."""
    following = at[last + 1] if last + 1 < len(at) else at[last]
    return int(min(following, at[last] + GAP_MS))


def _first_told(told: Told, rows: int, event: Event) -> Ints:
    """When each row first tells of the event: at its start where the alarm sounds already, else when it does."""
    first = np.full(rows, _UNTOLD)
    early = told.at < event.start_ms
    last = np.full(rows, -1, np.int64)
    places = np.flatnonzero(early)
    np.maximum.at(last, told.row[places], places)
    sounding = last >= 0
    what = told.what[last[sounding]]
    sounding[sounding] = (what != Happening.LATCHED) & (what != Happening.CLEARED)
    first[sounding] = event.start_ms
    within = ~early & (told.at < event.end_ms) & (told.what <= Happening.PRIORITY_RAISED)
    np.minimum.at(first, told.row[within], told.at[within])
    return first


def _standing_ms(told: Told, rows: int, from_ms: int, last_ms: int) -> Ints:
    """For how long alarms of each row stood, latched or not, by the log's clock within the span."""
    begins, ends = told.what == Happening.RAISED, told.what == Happening.CLEARED
    now = np.clip(told.now, from_ms, last_ms)
    spent = np.zeros(rows, np.int64)
    np.add.at(spent, told.row[begins], last_ms - now[begins])
    np.subtract.at(spent, told.row[ends], last_ms - now[ends])
    return spent
