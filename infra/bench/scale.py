"""``ward bench scale``: whether a bed costs the same in a small ward and in a large hospital, in CPU and in memory."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.errors import Transient
from infra.bench.backlog import answer, make
from infra.bench.broker import Broker, own_stack
from infra.bench.stream import OURS, SEED, drain
from infra.stack import Say

SIZES: Final = (100, 300, 1_000, 3_000, 10_000)
BED_READINGS: Final = 150_000
"""About so many in each backlog, so that each takes as long."""
SHORTEST_S: Final = 15
FRAME_BEDS: Final = 50
GROWTH: Final = 1.2
STATE_BYTES: Final = 8 * 1024
FROM, TO = 1_000, 10_000
"""CPU a bed-reading at ``TO`` beds: at most ``GROWTH`` times that at ``FROM``. State: at most ``STATE_BYTES`` a bed."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """One hospital: medians of the rounds. ``state_bytes`` is a bed's part of a snapshot."""

    beds: int
    bed_readings: int
    cpu_us: float
    beds_per_s: float
    rss_mb: float
    state_bytes: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench scale --json`` prints. ``growth`` is None where either size was not measured."""

    cores: int
    python: str
    load_average: float
    rounds: int
    sizes: list[Size]
    growth: float | None
    reached: bool


def measure(sizes: Sequence[int], rounds: int, say: Say) -> Report:
    """Drain a backlog of each size with the real worker, durable; sizes interleaved. Raises Transient on failure."""
    backlogs = {beds: make(beds, max(SHORTEST_S, BED_READINGS // beds), FRAME_BEDS, SEED) for beds in sizes}
    expected = {beds: answer(backlog) for beds, backlog in backlogs.items()}
    runs: dict[int, list[tuple[float, float, float]]] = {beds: [] for beds in sizes}
    with own_stack(say) as stack:
        stack.up(["kafka"])
        broker = Broker(stack.environment()["WARD_KAFKA"])
        for number in range(rounds):
            for beds in sizes:
                run = drain(broker, backlogs[beds], expected[beds], OURS, "durable")
                if run.void is not None:
                    raise Transient(f"{beds} beds: {run.void}")
                runs[beds].append((run.cpu_us, run.beds_per_s, run.rss_mb))
                say(f"round {number + 1}: {beds} beds, {run.cpu_us:.1f} us CPU a bed-reading, {run.rss_mb:.0f} MB")
    found = [
        Size(
            beds=beds,
            bed_readings=backlogs[beds].bed_readings,
            cpu_us=statistics.median(cpu for cpu, _, _ in runs[beds]),
            beds_per_s=statistics.median(rate for _, rate, _ in runs[beds]),
            rss_mb=max(rss for _, _, rss in runs[beds]),
            state_bytes=expected[beds].state_bytes / beds,
        )
        for beds in sizes
    ]
    cpu_us = {size.beds: size.cpu_us for size in found}
    growth = cpu_us[TO] / cpu_us[FROM] if FROM in cpu_us and TO in cpu_us else None
    return Report(
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        rounds=rounds,
        sizes=found,
        growth=growth,
        reached=(growth is None or growth <= GROWTH) and all(size.state_bytes <= STATE_BYTES for size in found),
    )


def lines(report: Report) -> list[str]:
    """The report in columns."""
    out = [
        f"the worker, durable, frames of {FRAME_BEDS}; {report.rounds} rounds, {report.cores} cores, "
        f"Python {report.python}, load {report.load_average}",
        f"{'beds':>7} {'CPU us':>8} {'beds/s':>9} {'RSS MB':>7} {'state B/bed':>12}",
    ]
    for size in report.sizes:
        out.append(
            f"{size.beds:7} {size.cpu_us:8.1f} {size.beds_per_s:9.0f} {size.rss_mb:7.0f} {size.state_bytes:12.0f}"
        )
    growth = "not measured" if report.growth is None else f"{report.growth:.2f}"
    out.append(
        f"CPU a bed-reading at {TO} beds / at {FROM}: {growth}, promised <= {GROWTH:g}; state promised <= "
        f"{STATE_BYTES} B a bed: " + ("reached" if report.reached else "NOT reached")
    )
    return out


def exit_code(report: Report) -> int:
    """0 when the promises are kept, else 6."""
    return 0 if report.reached else 6
