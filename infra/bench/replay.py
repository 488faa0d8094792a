"""``ward bench replay``: a day of a hundred beds, replayed and decided anew, against what was told live.

Live is the real worker on the log of that day. The replay is what its user types: ``ward replay`` into fresh topics,
unpaced, and then everything in them decided again. A second replay must add nothing to the first. A third one goes at
60 times the day's pace, for how late each record is and how long it was said to take.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts import codec
from contracts.errors import Transient
from contracts.records import AlertTransition, ScoreFrame
from contracts.topology import ALERTS, CLOCK_KEY, SCORES, VITALS
from infra.bench.backlog import START_MS, Entry, entries
from infra.bench.broker import Broker, own_stack
from infra.bench.meter import Meter
from infra.bench.stream import OURS, end, start
from infra.site import CHECKOUT
from infra.stack import Say, wait_until
from models.ward.policy import load_policy
from producers.scenario import load_script
from producers.ward import Hospital
from streams.compare.episodes import Book
from streams.compare.shares import PROCESSES, decided_in_two
from streams.compare.sides import Side
from streams.compare.span import Span, survey
from streams.ledger import read

MOST_S: Final = 300.0
SEED: Final = 24
SCRIPT: Final = "hospital"
LIVE_S: Final = 3600.0
"""How long the worker may take for the whole day."""
SPEED: Final = 60
PACED_S: Final = 20.0
LATE_MS: Final = 20.0
OFF: Final = 0.05


class Paced(msgspec.Struct, frozen=True, kw_only=True):
    """A replay at ``SPEED``. ``off``: by what share it took longer than its plan said."""

    records_per_s: float
    late_p50_ms: float
    late_p99_ms: float
    late_max_ms: float
    estimated_s: float
    seconds: float
    off: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench replay --json`` prints. Seconds on the wall; ``copy_s`` is ``ward replay`` whole,
    ``decide_s`` all its decisions; ``added``: transitions of the second replay that the first one did not have."""

    cores: int
    python: str
    load_average: float
    beds: int
    wards: int
    hours: float
    records: int
    bed_readings: int
    readings: int
    live_s: float
    live_cpu_s: float
    copy_s: float
    decide_s: float
    seconds: float
    processes: int
    transitions: int
    alarms: int
    same_as_live: bool
    added: int
    hash: str
    paced: Paced
    reached: bool


@dataclass
class Poured:
    """What went into the log. ``last``: by partition, the offset of its last frame; ``ends``: of the next record."""

    records: int = 0
    bed_readings: int = 0
    last: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Decided:
    """One replay: how long it took, and what it led to."""

    copy_s: float
    decide_s: float
    readings: int
    book: Book


def measure(beds: int, hours: float, beds_per_ward: int, say: Say) -> Report:
    """Play the day, hear it live, replay it twice. Raises Transient when a part fails or does not come to its end."""
    seconds = round(hours * 3600)
    hospital = Hospital(
        beds,
        seed=SEED,
        script=load_script(SCRIPT),
        start_ms=START_MS,
        beds_per_ward=beds_per_ward,
        frame_beds=beds_per_ward,
    )
    with own_stack(say) as stack, tempfile.TemporaryDirectory(prefix="ward-bench-") as folder:
        stack.up(["kafka"])
        broker = Broker(stack.environment()["WARD_KAFKA"])
        broker.renew()
        began, poured = time.monotonic(), Poured()
        broker.fill(_counted(entries(hospital, seconds), poured))
        say(f"{poured.records:,} records of {poured.bed_readings:,} bed-readings in {time.monotonic() - began:.0f} s")
        live_s, live_cpu_s, live = _live(broker, poured, Path(folder) / "live")
        say(f"live: the worker took {live_s:.0f} s, {live_cpu_s:.0f} s of CPU; {live.transitions} transitions")
        until_ms = START_MS + seconds * 1000
        first = _again(broker, "again", until_ms, Path(folder))
        say(f"replay: copied in {first.copy_s:.1f} s, decided in {first.decide_s:.1f} s")
        second = _again(broker, "once_more", until_ms, Path(folder))
        paced = _paced(broker, seconds, Path(folder))
    took_s = first.copy_s + first.decide_s
    known = {line for alert in first.book.alerts.values() for line in alert.lines.values()}
    added = sum(line not in known for alert in second.book.alerts.values() for line in alert.lines.values())
    same = first.book.hash() == live.hash() and not live.conflicts
    return Report(
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        beds=beds,
        wards=len(set(hospital.roster.wards)),
        hours=hours,
        records=poured.records,
        bed_readings=poured.bed_readings,
        readings=first.readings,
        live_s=round(live_s, 1),
        live_cpu_s=round(live_cpu_s, 1),
        copy_s=round(first.copy_s, 1),
        decide_s=round(first.decide_s, 1),
        seconds=round(took_s, 1),
        processes=PROCESSES,
        transitions=first.book.transitions,
        alarms=len(first.book.alerts),
        same_as_live=same,
        added=added,
        hash=first.book.hash(),
        paced=paced,
        reached=same
        and not added
        and second.book.hash() == first.book.hash()
        and took_s <= MOST_S
        and paced.late_p99_ms <= LATE_MS
        and abs(paced.off) <= OFF,
    )


def _counted(made: Iterator[tuple[Entry, int]], poured: Poured) -> Iterator[Entry]:
    for entry, spoken in made:
        offset = poured.ends.get(entry.partition, 0)
        poured.ends[entry.partition] = offset + 1
        if entry.key != CLOCK_KEY.encode():
            poured.last[entry.partition] = offset
        poured.records += 1
        poured.bed_readings += spoken
        yield entry


def _live(broker: Broker, poured: Poured, folder: Path) -> tuple[float, float, Book]:
    """The worker on the whole log, as in a ward; the seconds it took, of them CPU, and what it wrote of the log."""
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        began = time.monotonic()
        worker = start(broker.address, OURS, "durable", folder, log)
        meter = Meter(worker.pid)
        try:
            if not wait_until(lambda: worker.poll() is not None or _through(broker, poured), LIVE_S):
                raise Transient(f"the worker was not through after {LIVE_S:g} s")
            if worker.poll() is not None:
                raise Transient(f"the worker ended with {worker.returncode}: {(folder / 'log').read_text()[-2000:]}")
            took_s, cpu_s = time.monotonic() - began, meter.cpu_s()
        finally:
            end(worker)
    book = Book()
    for record in read(broker.address, ALERTS.name):
        transition = codec.decode(record.value, AlertTransition)
        if transition.source.offset < poured.ends[transition.source.partition]:
            book.add(transition)
    return took_s, cpu_s, book


def _through(broker: Broker, poured: Poured) -> bool:
    """Whether the scores of the last frame of every partition stand in the log."""
    return all(
        (value := broker.newest(SCORES.name, p)) is not None
        and codec.decode(value, ScoreFrame).source.offset >= poured.last[p]
        for p in poured.last
    )


def _again(broker: Broker, name: str, until_ms: int, folder: Path) -> Decided:
    """``ward replay`` of all up to a moment, as a user types it, and all of it decided."""
    began = time.monotonic()
    _replayed(broker, name, folder, "--unpaced", "--to-time", _moment(until_ms))
    copied = time.monotonic()
    span: Span = survey(broker.address, name, None, None, None)
    (found,) = decided_in_two(broker.address, span, [Side("again", load_policy())])
    return Decided(copied - began, time.monotonic() - copied, found.readings, found.book)


def _paced(broker: Broker, seconds: int, folder: Path) -> Paced:
    """The first of the day at ``SPEED``, for ``PACED_S`` at most."""
    until_ms = START_MS + 1000 * min(seconds, round(SPEED * PACED_S))
    told = _replayed(broker, "paced", folder, "--speed", str(SPEED), "--to-time", _moment(until_ms))
    late = told["lateness_ms"]
    return Paced(
        records_per_s=told["records_per_s"],
        late_p50_ms=late["p50"],
        late_p99_ms=late["p99"],
        late_max_ms=late["max"],
        estimated_s=told["estimated_s"],
        seconds=told["seconds"],
        off=told["estimate_off"],
    )


def _moment(at_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ms / 1000))


def _replayed(broker: Broker, name: str, folder: Path, *words: str) -> dict[str, Any]:
    """What ``ward replay`` into that topic says of itself at its end. Raises Transient when it fails."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WARD_")}
    ours = {"PYTHONPATH": str(CHECKOUT), "WARD_KAFKA": broker.address, "WARD_STATE_DIR": str(folder)}
    command = [sys.executable, "-m", "infra.cli", "replay", VITALS.name, "--to", name, "--json", *words]
    done = subprocess.run(command, cwd=CHECKOUT, env=kept | ours, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        raise Transient(f"ward replay ended with {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return dict(msgspec.json.decode(done.stdout))


def lines(report: Report) -> list[str]:
    """The report for people."""
    paced = report.paced
    return [
        f"{report.hours:g} h of {report.beds} beds in {report.wards} wards: {report.bed_readings:,} bed-readings, "
        f"{report.readings:,} values, {report.records:,} records; {report.cores} cores, Python {report.python}, "
        f"load {report.load_average}",
        f"live, one worker: {report.live_s} s (CPU {report.live_cpu_s} s), {report.transitions} transitions of "
        f"{report.alarms} alarms",
        f"replayed in {report.copy_s} s and decided in {report.decide_s} s by {report.processes} processes: "
        f"{report.seconds} s in all, promised <= {MOST_S:g}",
        f"decisions {'the same as live, to the byte' if report.same_as_live else 'NOT those of live'}; a second replay "
        f"added {report.added}",
        f"at {SPEED} x, {paced.records_per_s:,.0f} records/s: late p50 {paced.late_p50_ms} ms, p99 {paced.late_p99_ms} "
        f"(promised <= {LATE_MS:g}), most {paced.late_max_ms}; {paced.seconds:.1f} s of {paced.estimated_s:.1f}, "
        f"{paced.off:+.1%} (promised within {OFF:.0%}): " + ("all reached" if report.reached else "NOT all reached"),
    ]


def exit_code(report: Report) -> int:
    """0 when the promises are kept, else 6."""
    return 0 if report.reached else 6
