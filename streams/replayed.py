"""Decides a replay as it comes, under a policy and models of its own: ``python -m streams.replayed NAME``.

Writes what a worker would have written, but into the replay's own topics, and tells in the replay's folder what came of
it (``contracts.replays``). Begun again it leaves out what is there, for the same log is decided the same. Exit codes:
0 at the end, or told to stop before it; 2 for a wrong setting, 3 for an unknown replay, 4 when the broker is away.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from contracts.errors import Misconfigured, Transient
from contracts.records import Priority
from contracts.replays import COPY, DECISIONS, START, Copy, Decisions, copied, folder, progress, put
from contracts.settings import Settings
from models.registry import Registry, own_folder
from models.vitals.asked import versions_of
from models.ward.policy import load_policy
from streams.compare.asked import models_of
from streams.compare.copied import same_as_live, started
from streams.compare.sides import Decider, Side
from streams.compare.span import Span, ends, follow
from streams.logs import set_up
from streams.outgoing import outgoing
from streams.outlet import Outlet

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.25
TELL_S: Final = 5.0
NICE: Final = 5
"""Deciding gives way to a paced replay, which has moments to keep."""
RUNNING: Final = "running"
MISCONFIGURED, NOT_FOUND, UNREACHABLE = 2, 3, 4


class Replayed:
    """A replay's frames at being decided. ``missing`` are models that are not to be had."""

    def __init__(self, place: Path, copy: Copy, side: Side, missing: set[tuple[str, str]]) -> None:
        self._place, self._copy, self._side, self._missing = place, copy, side, missing
        self._ends: dict[int, int] | None = None
        self._at: dict[int, int] = {}

    async def go(self, registry: Registry, going: Callable[[], bool]) -> bool:
        """Decide what is there and what comes until the replay is over (True), or while ``going`` says so."""
        models = models_of(registry, self._missing)
        resumed = (self._place / START).exists()
        start = await started(self._place, self._copy, self._side, models)
        outlet = Outlet(self._copy.bootstrap, self._copy.replay, resumed)
        log.info("deciding", replay=self._copy.replay, since=start.since, left_out=outlet.left_out)
        span = start.span(self._copy)
        decider = Decider(self._side, span, models)
        over = await self._follow(decider, span, outlet, going)
        if over:
            outlet.check()
        else:
            outlet.flush()
        self._tell(decider, over, start.since)
        return over

    async def _follow(self, decider: Decider, span: Span, outlet: Outlet, going: Callable[[], bool]) -> bool:
        self._at = dict.fromkeys(span.parts, 0)
        look_s = tell_s = time.monotonic()
        for record in follow(self._copy.bootstrap, span):
            if record is not None:
                effects = await decider.take(record)
                for out in outgoing(record, effects):
                    outlet.put(record.partition, out)
                self._at[record.partition] = record.offset + 1
            now_s = time.monotonic()
            if now_s - look_s < LOOK_S:
                continue
            look_s = now_s
            outlet.serve()
            if self._is_over():
                return True
            if not going():
                return False
            if now_s - tell_s >= TELL_S:
                tell_s = now_s
                self._tell(decider, False, span.since)
        return False

    def _is_over(self) -> bool:
        """Whether the replay has ended and all of it is decided."""
        if self._ends is None:
            how_far = progress(self._place)
            if how_far is None or how_far.state == RUNNING:
                return False
            self._ends = ends(self._copy.bootstrap, self._copy.target)
        return all(self._at[p] >= end for p, end in self._ends.items())

    def _tell(self, decider: Decider, over: bool, since: str) -> None:
        found, policy = decider.decided, self._side.policy
        alerts = [alert for alert in found.book.alerts.values() if alert.raised_ms is not None]
        sounding = [alert.priority for alert in alerts if alert.sounds]
        told = Decisions(
            replay=self._copy.replay,
            policy=policy.name,
            policy_hash=policy.hash,
            models=tuple(f"{name}@{version}" for name, version in sorted(found.models)),
            records=found.records,
            transitions=found.book.transitions,
            alarms={str(priority): sounding.count(priority) for priority in Priority},
            hash=found.book.hash(),
            hash_without_advisories=found.book.hash_without_advisories(),
            same_as_live=same_as_live(self._copy, self._at, found.book) if over else None,
            over=over,
            told_ms=time.time_ns() // 1_000_000,
            since=since,
            advisories=len(alerts) - len(sounding),
            missing=tuple(f"{name}@{version}" for name, version in sorted(self._missing)),
        )
        put(self._place / DECISIONS, told)
        if over:
            log.info("decided", records=told.records, transitions=told.transitions, hash=told.hash)


def main(arguments: Sequence[str] | None = None) -> int:
    """Decide one replay; the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        settings = Settings.from_env(os.environ)
        set_up(settings.log_level, settings.log_format)
        place = folder(settings.state_dir, asked.name)
        copy = copied(place)
        if copy is None:
            print(f"ward replay: no {COPY} in {place}: `ward replay decide {asked.name}`", file=sys.stderr)
            return NOT_FOUND
        registry = Registry(own_folder(settings))
        models = versions_of(asked.model, "--model", registry)
        side = Side(asked.name, load_policy(asked.policy or settings.policy), models)
        how_far = progress(place)
        if how_far is not None and how_far.state == RUNNING and how_far.speed is not None:
            os.nice(NICE)
        going = _going(asked.tied)
        asyncio.run(Replayed(place, copy, side, set()).go(registry, going))
    except Misconfigured as wrong:
        print(f"ward replay: {wrong}", file=sys.stderr)
        return MISCONFIGURED
    except Transient as away:
        print(f"ward replay: {away}", file=sys.stderr)
        return UNREACHABLE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m streams.replayed", description="Decides a replay as it comes.")
    parser.add_argument("name", help="the replay")
    parser.add_argument("--policy", help="a policy file; what is in force without one")
    parser.add_argument("--model", action="append", default=[], help="NAME@VERSION; may be given again")
    parser.add_argument("--tied", action="store_true", help="end when stdin ends, that is when who started it is gone")
    return parser


def _going(tied: bool) -> Callable[[], bool]:
    """Whether nobody has told it to stop, and who started it is there."""
    told: list[int] = []
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda number, _: told.append(number))

    def going() -> bool:
        if told:
            return False
        # who started it never says a word: what can be read is the end
        return not (tied and select.select([sys.stdin], [], [], 0)[0])

    return going


if __name__ == "__main__":
    sys.exit(main())
