"""A span weighed under many policies: where its records come from, and a share of it for each process.

Wards do not touch one another, so each process takes wards of its own, and what they find is added up.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

import msgspec

from contracts import codec
from contracts.errors import Misconfigured, Poison
from contracts.records import SCHEMA_VERSION, Category, VitalsFrame
from contracts.topology import CLOCK_KEY, VITALS, partition_for
from models.policy.decided import decided
from models.policy.family import Family
from models.policy.weighing import Event, Scales
from models.policy.witness import Notes, WitnessCore
from models.ward.policy import Policy
from streams.compare.case import unpacked
from streams.compare.shares import PROCESSES, dealt
from streams.compare.sides import Decided, Decider, Side
from streams.compare.span import Cut, Part, Span, records
from streams.wardlog import LogRecord

START_MS: Final = 1_767_340_800_000
"""Recordings are put on a day of the calendar: 2026-01-02 08:00 UTC."""
WARD_BEDS: Final = 12
_LOGGED_MS: Final = 200
_TICK_MS: Final = 500


@dataclass(frozen=True)
class Recordings:
    """Stays of a source, played at one frame a second into wards of ``WARD_BEDS``."""

    source: str
    data_dir: str | None
    beds: int
    hours: float
    between: str = "hold"


@dataclass(frozen=True)
class Share:
    """What one process takes: the partitions of a topic's span, a case, or one ward of recordings."""

    policies: tuple[Policy, ...]
    bootstrap: str | None = None
    span: Span | None = None
    case: Path | None = None
    recordings: Recordings | None = None
    ward: int = 0
    known: tuple[Event, ...] | None = None
    event_s: float = 60.0
    unacknowledged: bool = False


@dataclass
class Weight:
    """What a span weighs. ``others`` are alarms that the swept limits do not raise, by condition, under the policy in
    force; seconds are of one process each, ``cpu_s`` of all."""

    scales: Scales
    heard_s: dict[tuple[str, str], float] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    records: int = 0
    readings: int = 0
    judged: int = 0
    steps: int = 0
    unacknowledged: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    watch_s: float = 0.0
    weigh_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, other: Weight) -> None:
        """Adds another share."""
        self.scales.add(other.scales)
        for bed, seconds in other.heard_s.items():
            self.heard_s[bed] = self.heard_s.get(bed, 0.0) + seconds
        self.others.update(other.others)
        for name in ("records", "readings", "judged", "steps", "unacknowledged", "watch_s", "weigh_s", "cpu_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_ms = min(filter(None, (self.first_ms, other.first_ms)), default=None)
        self.last_ms = max(filter(None, (self.last_ms, other.last_ms)), default=None)


def shares_of_topic(policies: Sequence[Policy], bootstrap: str, span: Span, processes: int = PROCESSES) -> list[Share]:
    """The span's partitions dealt out to so many processes, the fullest first."""
    return [Share(tuple(policies), bootstrap=bootstrap, span=share) for share in dealt(span, processes)]


def shares_of_recordings(policies: Sequence[Policy], recordings: Recordings) -> list[Share]:
    """A share a ward."""
    return [Share(tuple(policies), recordings=recordings, ward=n) for n in range(_wards(recordings))]


def weighed(shares: Sequence[Share], say: Callable[[str], None]) -> Weight:
    """All shares, in two processes where there is more than one. Raises what a share raises."""
    if len(shares) == 1:
        return weigh(shares[0])
    whole: Weight | None = None
    with ProcessPoolExecutor(min(PROCESSES, len(shares)), mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(weigh, share) for share in shares]):
            if whole is None:
                whole = done.result()
            else:
                whole.add(done.result())
            say(f"{whole.readings} readings of {len(whole.heard_s)} beds weighed")
    if whole is None:
        raise Misconfigured("nothing to weigh")
    return whole


def weigh(share: Share) -> Weight:
    """One share: watched by the core once, then decided under every policy."""
    began, cpu = perf_counter(), process_time()
    family = Family(share.policies)
    notes, seen = witnessed(*share_records(share), family, share.unacknowledged)
    watched = perf_counter()
    event_ms = int(share.event_s * 1000)
    scales = Scales(len(family.policies), seen.first_ms or 0, share.known, event_ms, event_ms)
    weight = Weight(scales, seen.heard_s, _others(seen), seen.records, seen.readings)
    weight.unacknowledged, weight.first_ms, weight.last_ms = notes.unacknowledged, seen.first_ms, seen.last_ms
    for _, tape in notes.tapes():
        weight.judged += tape.judged
        weight.steps += len(tape)
    for condition in decided(notes):
        limits = family.limits(condition.ward, condition.patient, condition.vital)[0]
        scales.take(condition, limits, seen.last_ms or 0)
    weight.watch_s, weight.weigh_s = watched - began, perf_counter() - watched
    weight.cpu_s = process_time() - cpu
    return weight


def witnessed(found: Iterable[LogRecord], span: Span, family: Family, unacknowledged: bool) -> tuple[Notes, Decided]:
    """The records taken in by the core that watches: its notes, and the alarms that no limit raises."""
    if any(part.cut is not None and part.cut.states for part in span.parts.values()):
        raise Poison("outside_twin", "the span begins with alarms of the policy in force: begin with a warm-up")
    core = WitnessCore(family, unacknowledged)
    decider = Decider(Side("watching", core.policy), span, None, core)

    async def take() -> None:
        for record in found:
            await decider.take(record)

    asyncio.run(take())
    return core.notes, decider.decided


def _others(seen: Decided) -> Counter[str]:
    raised = (alert for alert in seen.book.alerts.values() if alert.raised_ms is not None)
    return Counter(alert.episode.condition for alert in raised if alert.category is not Category.ADVISORY)


def share_records(share: Share) -> tuple[Iterable[LogRecord], Span]:
    """What there is to decide, and how it lies in its log."""
    if share.span is not None and share.bootstrap is not None:
        return records(share.bootstrap, share.span), share.span
    if share.case is not None:
        return case_records(share.case)
    if share.recordings is not None:
        return _played(share.recordings, share.ward)
    raise Misconfigured("a share of nothing")


def case_records(path: Path) -> tuple[list[LogRecord], Span]:
    """What a case holds. Raises Misconfigured where there is none, Poison when it is damaged."""
    try:
        case = unpacked(path.read_bytes())
    except OSError as failure:
        raise Misconfigured(f"--case {path}: {failure.strerror}") from failure
    parts = {
        p: Part(s.begin, s.start, s.stop, None if s.cut_at is None else Cut(s.cut_at, s.states, s.own))
        for p, s in case.parts.items()
    }
    found = [LogRecord(case.topic, p, offset, at_ms, key, value) for p, offset, at_ms, key, value in case.records]
    return found, Span(case.topic, case.partitions, None, None, parts, case.since)


def _played(recordings: Recordings, ward: int) -> tuple[Iterable[LogRecord], Span]:
    name = f"R{ward + 1}"
    partition = partition_for(name, VITALS.partitions)
    part = {partition: Part(0, 0, sys.maxsize)}
    span = Span(VITALS.name, VITALS.partitions, None, None, part, "nothing: the recordings begin with the span")
    return _log_of(recordings, ward, name, partition), span


def _log_of(recordings: Recordings, ward: int, name: str, partition: int) -> Iterator[LogRecord]:
    """The ward's log: each second its frame and a tick of the clock. The player is a process of its own."""
    first, end = (recordings.beds * n // _wards(recordings) for n in (ward, ward + 1))
    asked = {
        "--ward": name,
        "--beds": end - first,
        "--skip": first,
        "--hours": recordings.hours,
        "--between": recordings.between,
        "--start-ms": START_MS,
        **({} if recordings.data_dir is None else {"--data-dir": recordings.data_dir}),
    }
    command = [sys.executable, "-m", "producers.span", recordings.source]
    command += [str(part) for pair in asked.items() for part in pair]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as player:  # noqa: S603  # our own module, no shell
        if player.stdout is None or player.stderr is None:
            raise Misconfigured("the player has no output")
        offset = 0
        for line in player.stdout:
            at_ms = _time_of(line)
            yield LogRecord(VITALS.name, partition, offset, at_ms + _LOGGED_MS, name.encode(), line[:-1])
            yield LogRecord(VITALS.name, partition, offset + 1, at_ms + _TICK_MS, CLOCK_KEY.encode(), _tick(at_ms))
            offset += 2
        if player.wait():
            raise Misconfigured(player.stderr.read().decode(errors="replace").strip().rpartition("\n")[2])


class _When(msgspec.Struct):
    at_ms: int


_WHEN: Final = msgspec.json.Decoder(_When)


def _wards(recordings: Recordings) -> int:
    """So many that no ward has more than ``WARD_BEDS``, and each process has one."""
    return min(recordings.beds, max(PROCESSES, -(-recordings.beds // WARD_BEDS)))


def _time_of(line: bytes) -> int:
    return _WHEN.decode(line).at_ms


def _tick(at_ms: int) -> bytes:
    return codec.encode(
        VitalsFrame(version=SCHEMA_VERSION, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=0, at_ms=at_ms + _TICK_MS)
    )
