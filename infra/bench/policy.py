"""``ward bench policy``: hundreds of policies over a day of real recordings, and whether the core tells the same."""

from __future__ import annotations

import os
import sys
import time
from random import Random
from typing import Final

import msgspec

from contracts.errors import Misconfigured
from contracts.records import AlarmEvent, AlertTransition, Category, Priority
from infra.stack import Say
from models.policy.decided import Transition, decided, transitions
from models.policy.family import Family
from models.policy.grid import Axes, Grid, policies
from models.policy.twin import Happening
from models.ward.policy import Policy, load_policy
from streams.compare.policy_span import (
    Recordings,
    Share,
    share_records,
    shares_of_recordings,
    weighed,
    witnessed,
)
from streams.compare.shares import PROCESSES
from streams.compare.sides import Side
from streams.compare.sides import decided as decided_by_the_core

LEAST_POLICIES: Final = 200
MOST_S: Final = 300.0
SEED: Final = 8
GRID: Final = Grid(
    all=Axes(
        limits_percent=(-5.0, 0.0, 5.0, 10.0),
        hysteresis_times=(0.0, 1.0, 2.0),
        delay_s=(0.0, 5.0, 10.0, 15.0, 19.0, 30.0),
        latch=((), (Priority.HIGH,), (Priority.HIGH, Priority.MEDIUM)),
    )
)
_WHAT: Final = {
    AlarmEvent.RAISED: Happening.RAISED,
    AlarmEvent.REALARMED: Happening.REALARMED,
    AlarmEvent.PRIORITY_RAISED: Happening.PRIORITY_RAISED,
    AlarmEvent.LATCHED: Happening.LATCHED,
    AlarmEvent.CLEARED: Happening.CLEARED,
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench policy --json`` prints. ``seconds``: the whole sweep on the wall, in ``processes``;
    ``equal`` of ``sampled`` policies told to the core, over ``checked_beds`` of the set, gave the same transitions."""

    cores: int
    python: str
    load_average: float
    source: str
    beds: int
    hours: float
    readings: int
    events: int
    policies: int
    processes: int
    seconds: float
    watching_s: float
    weighing_s: float
    cpu_s: float
    sampled: int
    checked_beds: int
    equal: int
    transitions: int
    reached: bool


def measure(source: str, data_dir: str | None, beds: int, hours: float, sampled: int, say: Say) -> Report:
    """Sweep, and hold sampled policies against the core. Raises Misconfigured without the recordings."""
    tried = policies(load_policy(), GRID)
    recordings = Recordings(source, data_dir, beds, hours)
    say(f"{len(tried)} policies over {beds} stays of {source}, {hours:g} h each")
    began = time.perf_counter()
    whole = weighed(shares_of_recordings(tried, recordings), say)
    found = whole.scales.weighed(whole.heard_s)
    seconds = time.perf_counter() - began
    if len(found) != len(tried):
        raise Misconfigured("a policy was lost")
    checked_beds = min(2, beds)
    few = Recordings(source, data_dir, checked_beds, hours)
    equal, told = held(tried, few, sampled, say)
    return Report(
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        source=source,
        beds=len(whole.heard_s),
        hours=hours,
        readings=whole.readings,
        events=len(whole.scales.events),
        policies=len(tried),
        processes=PROCESSES,
        seconds=round(seconds, 1),
        watching_s=round(whole.watch_s, 1),
        weighing_s=round(whole.weigh_s, 1),
        cpu_s=round(whole.cpu_s, 1),
        sampled=sampled,
        checked_beds=checked_beds,
        equal=equal,
        transitions=told,
        reached=seconds <= MOST_S and len(tried) >= LEAST_POLICIES and equal == sampled,
    )


def held(tried: list[Policy], recordings: Recordings, sampled: int, say: Say) -> tuple[int, int]:
    """How many of so many policies, drawn by chance, the core itself decides alike; how many transitions that were."""
    chosen = [tried[0], *Random(SEED).sample(tried[1:], sampled - 1)] if sampled else []  # noqa: S311  # a sample
    if not chosen:
        return 0, 0
    share = Share(tuple(chosen), recordings=recordings)
    family = Family(chosen)
    notes, _ = witnessed(*share_records(share), family, False)
    twin: list[list[Transition]] = [[] for _ in chosen]
    for condition in decided(notes):
        for mine, more in zip(twin, transitions(family, condition), strict=True):
            mine += more
    equal = told = 0
    for policy, mine in zip(chosen, twin, strict=True):
        records, span = share_records(share)
        (side,) = decided_by_the_core(records, span, [Side("core", policy)], None)
        lines = [line for alert in side.book.alerts.values() for line in alert.lines.values()]
        core = sorted(filter(None, (_transition(msgspec.json.decode(line, type=AlertTransition)) for line in lines)))
        equal += core == sorted(mine)
        told += len(core)
        say(f"{policy.name}: {len(core)} transitions, {'the same' if core == sorted(mine) else 'NOT THE SAME'}")
    return equal, told


def _transition(one: AlertTransition) -> Transition | None:
    if one.category is not Category.PHYSIOLOGICAL or one.vital is None or one.event not in _WHAT:
        return None
    high = one.priority is Priority.HIGH
    return Transition(one.ward, one.patient, one.condition, one.onset_ms, _WHAT[one.event], one.at_ms, high)


def lines(report: Report) -> list[str]:
    """The report for people."""
    return [
        f"{report.policies} policies over {report.beds} real stays of {report.source} x {report.hours:g} h, a value a "
        f"second ({report.readings:,} readings, {report.events} events); {report.cores} cores, Python {report.python}, "
        f"load {report.load_average}",
        f"whole sweep {report.seconds} s in {report.processes} processes (CPU {report.cpu_s} s without the player: "
        f"watching {report.watching_s} s, {report.policies} policies {report.weighing_s} s, summed over processes)",
        f"of {report.sampled} policies told to the core over {report.checked_beds} stays {report.equal} gave the same "
        f"{report.transitions} transitions",
        f"promised: {LEAST_POLICIES} policies in {MOST_S:g} s, all the same: "
        + ("reached" if report.reached else "NOT reached"),
    ]


def exit_code(report: Report) -> int:
    """0 when the promises are kept, else 6."""
    return 0 if report.reached else 6
