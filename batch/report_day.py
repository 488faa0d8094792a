"""The page of one ward's day as data: what its alarms cost, by bed and hour, and how whole the data was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime, tzinfo
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from batch import report_rows
from batch.burden import Alarm, Burden, Fate, burden, fates, raised_in, within
from batch.report_lake import Provenance, Reader, between
from batch.report_time import HOUR_MS, length_shown, utc_dates, zone_shown
from contracts.lake import SCORES_TABLE, VITALS_TABLE
from contracts.records import Vital
from models.burden import FLOOD_MS, MINUTE_MS, SLOT_MS, in_ten_minutes

CONTINUOUS: Final = (Vital.HEART_RATE, Vital.RESPIRATION, Vital.SPO2)
"""A slot of a bed is whole when each of these had a reading in it that can be believed."""
WAITS_S: Final = (30, 60, 120, 300, 600)
LONGEST: Final = 12
TOP: Final = 10


class BedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One bed's day, hour by hour. None in an hour in which it was not heard, which is not the same as 0.

    ``news2`` is the highest total that was certain; ``heard`` and ``whole`` are shares of the part of the day that the
    page covers.
    """

    bed: str
    alarms: tuple[int | None, ...]
    news2: tuple[int | None, ...]
    heard_s: float
    heard: float
    whole: float
    raised: int


class DayPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page. ``hours`` are the labels of the local hours: 23 or 25 when the clocks change.

    ``until_ms`` is where the page's data ends: the day's end, or its last record. ``flood`` counts, minute by minute up
    to then, the alarms raised in the ten minutes before.
    """

    ward: str
    date: date
    from_ms: int
    to_ms: int
    until_ms: int
    zone: str
    hours: tuple[str, ...]
    hour_ms: tuple[int, ...]
    beds: tuple[BedRow, ...]
    burden: Burden
    waits: tuple[tuple[str, int], ...]
    flood: tuple[int, ...]
    conditions: tuple[tuple[str, str, int], ...]
    longest: tuple[Alarm, ...]
    fates: tuple[Fate, ...]
    policies: tuple[str, ...]
    alarms: tuple[Alarm, ...]
    notes: tuple[str, ...]
    foot: Provenance


class Hours:
    """The hours of a local day, counted from its start; each is an hour long whatever the clock on the wall does."""

    def __init__(self, from_ms: int, to_ms: int, zone: tzinfo) -> None:
        self.from_ms = from_ms
        self.starts = list(range(from_ms, to_ms, HOUR_MS))
        clock = [datetime.fromtimestamp(at / 1000, zone) for at in self.starts]
        names = [at.strftime("%H") for at in clock]
        twice = {name for name in names if names.count(name) > 1}
        letters: defaultdict[str, Iterator[str]] = defaultdict(lambda: iter("AB"))
        self.names = [name + next(letters[name]) if name in twice else name for name in names]

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, at_ms: int) -> int:
        """The number of the hour in which the moment lies."""
        return (at_ms - self.from_ms) // HOUR_MS


class Heard:
    """For each bed: in which slots it was heard, the highest certain NEWS2 an hour."""

    def __init__(self, hours: Hours, slots: int) -> None:
        self.hours, self.slots = hours, slots
        self.beds: dict[str, NDArray[np.bool_]] = {}
        self.news2: dict[str, NDArray[np.int64]] = {}
        self.policies: dict[str, int] = {}
        self.last_ms: int | None = None
        self.first_ms: int | None = None

    def add(self, batch: Any, to_ms: int) -> None:
        """Takes in rows of scores."""
        start = self.hours.from_ms
        at = np.asarray(batch["event_ms"], np.int64)
        heard = np.asarray(batch["heard_ms"].fill_null(0), np.int64)
        news2 = np.asarray(batch["news2_min"].cast("double").fill_null(np.nan), np.float64)
        names, which = report_rows.coded(batch["bed"])
        for n, bed in enumerate(names):
            mine = which == n
            if bed is None or not mine.any():
                continue
            slots = self.beds.setdefault(bed, np.zeros(self.slots, bool))
            inside = heard[mine & (heard >= start) & (heard < to_ms)]
            slots[(inside - start) // SLOT_MS] = True
            hourly = self.news2.setdefault(bed, np.full(len(self.hours), -1))
            known = mine & np.isfinite(news2)
            np.maximum.at(hourly, (at[known] - start) // HOUR_MS, news2[known].astype(np.int64))
        for name in batch["policy"].unique().to_pylist():
            if name is not None:
                self.policies.setdefault(name, int(at.min()))
        if len(at):
            self.last_ms = max(self.last_ms or 0, int(at.max()))
            self.first_ms = min(self.first_ms or int(at.min()), int(at.min()))

    def in_hours(self, bed: str) -> NDArray[np.bool_]:
        """In which hours the bed was heard at all."""
        padded = np.zeros(len(self.hours) * (HOUR_MS // SLOT_MS), bool)
        padded[: self.slots] = self.beds[bed]
        hourly: NDArray[np.bool_] = np.any(padded.reshape(len(self.hours), -1), axis=1)
        return hourly


def day_page(reader: Reader, ward: str, day: date, from_ms: int, to_ms: int, zone: tzinfo, made_ms: int) -> DayPage:
    """Read what the page needs and put it together."""
    hours = Hours(from_ms, to_ms, zone)
    heard = heard_in(reader, ward, hours, from_ms, to_ms)
    found = within(report_rows.alarms_of(reader, [ward], from_ms, to_ms), from_ms, to_ms)
    raised = raised_in(found, from_ms, to_ms)
    ends = [at for at in (heard.last_ms, *(alarm.start_ms for alarm in raised)) if at is not None]
    until_ms = min(to_ms, max(ends, default=from_ms - 1) + 1)
    whole = whole_slots(reader, ward, sorted(heard.beds), from_ms, to_ms)
    heard_s = {bed: float(slots.sum()) * SLOT_MS / 1000 for bed, slots in heard.beds.items()}
    measures = burden(raised, heard_s)
    notes = []
    if until_ms < to_ms and heard.beds:
        notes.append(f"the data ends {length_shown(to_ms - until_ms)} before the day does: what is missing is not 0")
    if not heard.beds:
        notes.append("nothing was heard of this ward on this day: that is no quiet day, it is no data")
    if len(heard.policies) > 1:
        notes.append(f"the alarm policy changed during the day: {', '.join(heard.policies)}")
    return DayPage(
        ward=ward,
        date=day,
        from_ms=from_ms,
        to_ms=to_ms,
        until_ms=until_ms,
        zone=zone_shown(from_ms, to_ms, zone),
        hours=tuple(hours.names),
        hour_ms=tuple(hours.starts),
        beds=bed_rows(heard, whole, raised, hours, from_ms, until_ms),
        burden=measures,
        waits=waits_in_parts(raised),
        flood=flood_by_minute(raised, from_ms, until_ms),
        conditions=conditions(raised),
        longest=longest(raised, until_ms),
        fates=tuple(fates(raised, found, until_ms)),
        policies=tuple(heard.policies),
        alarms=tuple(found),
        notes=tuple(notes),
        foot=reader.provenance(heard.first_ms, heard.last_ms, made_ms),
    )


def heard_in(reader: Reader, ward: str, hours: Hours, from_ms: int, to_ms: int) -> Heard:
    """What the scores of the day say of each bed."""

    def use(batches: Iterator[Any]) -> Heard:
        found = Heard(hours, -(-(to_ms - from_ms) // SLOT_MS))
        for batch in batches:
            found.add(between(batch, from_ms, to_ms), to_ms)
        return found

    columns = ("event_ms", "bed", "heard_ms", "news2_min", "policy")
    return reader.fold(SCORES_TABLE, utc_dates(from_ms, to_ms), [ward], columns, use)


def whole_slots(reader: Reader, ward: str, beds: Sequence[str], from_ms: int, to_ms: int) -> dict[str, int]:
    """In how many slots each bed had a believable reading of every continuous vital.

    Memory holds a bit for each bed, vital and slot, whatever the number of readings.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    number = {bed: n for n, bed in enumerate(beds)}
    wanted = pa.array([str(vital) for vital in CONTINUOUS])

    def use(batches: Iterator[Any]) -> NDArray[np.bool_]:
        seen = np.zeros((len(beds), len(CONTINUOUS), -(-(to_ms - from_ms) // SLOT_MS)), bool)
        for batch in batches:
            mine = between(batch, from_ms, to_ms)
            mine = mine.filter(pc.and_(pc.is_in(mine["vital"], wanted), pc.is_in(mine["bed"], pa.array(beds))))
            for n, vital in enumerate(CONTINUOUS):
                of = mine.filter(pc.equal(mine["vital"], str(vital)))
                values = np.asarray(pc.fill_null(of["value"], float("nan")), np.float64)
                fine, _ = report_rows.fine_of(of, vital, values)
                names, codes = report_rows.coded(of["bed"])
                rows = np.array([number.get(bed or "", -1) for bed in names], np.int64)[codes]
                slots = (np.asarray(of["event_ms"], np.int64) - from_ms) // SLOT_MS
                seen[rows[fine], n, slots[fine]] = True
        return seen

    if not beds:
        return {}
    columns = ("event_ms", "bed", "vital", "value", "unit", "quality")
    seen = reader.fold(VITALS_TABLE, utc_dates(from_ms, to_ms), [ward], columns, use)
    return {bed: int(seen[n].all(axis=0).sum()) for bed, n in number.items()}


def bed_rows(
    heard: Heard, whole: dict[str, int], raised: Sequence[Alarm], hours: Hours, from_ms: int, until_ms: int
) -> tuple[BedRow, ...]:
    """Each bed of which anything was heard, by name."""
    counts: dict[str, NDArray[np.int64]] = {bed: np.zeros(len(hours), np.int64) for bed in heard.beds}
    for alarm in raised:
        if alarm.sounds and alarm.raised_ms is not None and alarm.bed in counts:
            counts[alarm.bed][hours.of(alarm.raised_ms)] += 1
    slots = max(-(-(until_ms - from_ms) // SLOT_MS), 1)
    return tuple(
        BedRow(
            bed=bed,
            alarms=tuple(int(n) if there or n else None for n, there in zip(counts[bed], known, strict=True)),
            news2=tuple(int(n) if n >= 0 else None for n in heard.news2[bed]),
            heard_s=float(heard.beds[bed].sum()) * SLOT_MS / 1000,
            heard=round(float(heard.beds[bed].sum()) / slots, 4),
            whole=round(whole.get(bed, 0) / slots, 4),
            raised=int(counts[bed].sum()),
        )
        for bed in sorted(heard.beds)
        for known in [heard.in_hours(bed)]
    )


def waits_in_parts(raised: Sequence[Alarm]) -> tuple[tuple[str, int], ...]:
    """How many alarms were acknowledged within how long; the last row are those that never were."""
    loud = [alarm for alarm in raised if alarm.sounds]
    waits = [wait for alarm in loud if (wait := alarm.acknowledged_s) is not None]
    found, below = [], 0.0
    for edge in (*WAITS_S, float("inf")):
        words = f"up to {length_shown(edge * 1000)}" if edge != float("inf") else f"over {length_shown(below * 1000)}"
        found.append((words, sum(below < wait <= edge or wait == below == 0 for wait in waits)))
        below = edge
    return (*found, ("not acknowledged", len(loud) - len(waits)))


def flood_by_minute(raised: Sequence[Alarm], from_ms: int, until_ms: int) -> tuple[int, ...]:
    """At the end of each minute of the day, how many alarms were raised in the ten minutes before it."""
    times = sorted(a.raised_ms for a in raised if a.sounds and a.raised_ms is not None)
    last = until_ms + (MINUTE_MS if times and until_ms - times[-1] < FLOOD_MS else 0)
    ends = range((from_ms // MINUTE_MS + 1) * MINUTE_MS, last + 1, MINUTE_MS)
    return tuple(in_ten_minutes(times, end) for end in ends)


def conditions(raised: Sequence[Alarm]) -> tuple[tuple[str, str, int], ...]:
    """The conditions that sounded most: (condition, category, alarms)."""
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    for alarm in raised:
        if alarm.sounds:
            counts[alarm.condition, str(alarm.category)] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple((condition, category, n) for (condition, category), n in ordered)


def longest(raised: Sequence[Alarm], until_ms: int) -> tuple[Alarm, ...]:
    """The alarms that stood longest before anybody answered."""
    loud = [alarm for alarm in raised if alarm.sounds]
    return tuple(sorted(loud, key=lambda alarm: (-alarm.stood_s(until_ms), alarm.start_ms))[:LONGEST])


def lines(page: DayPage) -> list[str]:
    """The page in a few words, for a terminal."""
    told = page.burden
    waits = told.acknowledge
    median = "" if waits.median_s is None else f" (median {length_shown(waits.median_s * 1000)})"
    return [
        f"{page.ward} on {page.date}: {told.beds} beds, {told.bed_days:g} bed-days heard",
        f"{told.alarms} alarms, {told.alarms_per_bed_day} a bed-day; {waits.acknowledged} acknowledged{median}; "
        f"{told.flood_minutes} minutes in flood; {told.advisories} advisories",
        *page.notes,
    ]
