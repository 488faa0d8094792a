"""A span as the lake has it, whatever the broker still keeps: told and read out by ``python -m batch.spool``."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

import msgspec

from contracts.errors import Misconfigured, Poison, Transient
from contracts.spool import Ask, Held, HeldLog, Row, Tally, taken
from contracts.topology import topic_named
from producers.replay.merge import InOrder, Message
from producers.replay.plan import LogPlan, Wish, empty
from producers.replay.source import Keep, Log, Sieve, Span
from producers.replay.topics import Found, NotFound
from producers.replay.window import Window

PROGRAM: Final = ("-m", "batch.spool")
AHEAD: Final = 10_000
"""Records that wait here; more wait in the pipe and in the lake."""
MISCONFIGURED, UNREACHABLE, BAD_INPUT = 2, 4, 5


class Lake:
    """The lake that the environment names, as the origin of a replay of this window."""

    def __init__(self, window: Window = Window()) -> None:  # noqa: B008 frozen
        self._window = window

    def find(self, wish: Wish) -> dict[str, Found]:
        """The topics that were asked for, as the topology has them. Raises NotFound for one that it does not have."""
        found = {}
        for name in wish.sources:
            try:
                topic = topic_named(name)
            except KeyError as missing:
                raise NotFound(f"no topic {name} in the lake: it keeps those of the topology") from missing
            found[name] = Found(name, "", topic.partitions, topic.config)
        return found

    def planned(self, wish: Wish, found: Mapping[str, Found], named: Mapping[str, str]) -> tuple[list[LogPlan], str]:
        """Every partition, and how its records were counted. Raises NotFound for a span without records."""
        start_ms, end_ms = wish.window.start_ms, wish.window.end_ms
        held = _held(Ask(topics=wish.sources, keys=wish.keys, start_ms=start_ms, end_ms=end_ms))
        planned = [_planned(log, named[log.topic]) for log in held.logs]
        if not any(log.records for log in planned):
            raise NotFound(empty(wish, [_whole(log) for log in _held(Ask(topics=wish.sources)).logs]))
        return planned, "lake"

    def spans(self, logs: Sequence[Log], start_ms: int | None, end_ms: int | None) -> dict[Log, Span]:
        """The offsets of these log times."""
        topics = tuple(dict.fromkeys(log.topic for log in logs))
        held = _held(Ask(topics=topics, start_ms=start_ms, end_ms=end_ms))
        return {Log(log.topic, log.partition): (log.start, log.end) for log in held.logs}

    def reading(
        self,
        logs: Sequence[Log],
        wanted: Mapping[int, Span],
        keep: Keep | None,
        leave: Mapping[int, int],
        ahead_bytes: int,
    ) -> tuple[InOrder, Drawing]:
        """What gives the records by time, and what fills it."""
        merge = InOrder()
        return merge, Drawing(logs, wanted, merge, keep, leave, self._window)


class Drawing(Sieve):
    """Fills ``merge`` with what the spool gives out. Raises what ended the spool."""

    def __init__(
        self,
        logs: Sequence[Log],
        wanted: Mapping[int, Span],
        merge: InOrder,
        keep: Keep | None,
        leave: Mapping[int, int],
        window: Window,
    ) -> None:
        super().__init__(keep, leave)
        self._merge = merge
        spans = tuple((*logs[number], *span) for number, span in wanted.items())
        topics = tuple(dict.fromkeys(topic for topic, *_ in spans))
        ask = Ask(topics=topics, spans=spans, start_ms=window.start_ms, end_ms=window.end_ms)
        self._came: queue.Queue[Row | None] = queue.Queue(AHEAD)
        self._spool = _spool(ask)
        self._drawn = threading.Thread(target=self._draw, name="spool", daemon=True)
        self._closed = False
        self._drawn.start()

    def fill(self, wait_s: float) -> None:
        """Take what has come; wait up to ``wait_s`` when nothing waits."""
        until_s = time.monotonic() + wait_s
        for _ in range(AHEAD):
            left_s = 0.0 if len(self._merge) else until_s - time.monotonic()
            try:
                row = self._came.get(timeout=left_s) if left_s > 0 else self._came.get_nowait()
            except queue.Empty:
                return
            if row is None:
                _check(self._spool)
                self._merge.end()
                return
            message = Message(row.log, row.offset, row.at_ms, row.key, row.value, list(row.headers or ()) or None)
            if self.passes(message):
                self._merge.add(message)

    def close(self) -> None:
        """Let the spool go."""
        self._closed = True
        self._spool.kill()
        self._spool.wait()
        while self._drawn.is_alive():
            try:
                self._came.get(timeout=0.05)
            except queue.Empty:
                continue
        for pipe in (self._spool.stdout, self._spool.stderr):
            if pipe is not None:
                pipe.close()

    def _draw(self) -> None:
        pipe = _pipe(self._spool)
        try:
            taken(pipe, Held)
            while (row := taken(pipe, Row)) is not None and not self._closed:
                self._came.put(row)
        except (EOFError, msgspec.DecodeError):
            self._spool.kill()
        self._came.put(None)


def _held(ask: Ask) -> Held:
    with _spool(ask) as spool:
        try:
            held = taken(_pipe(spool), Held)
        except EOFError:
            held = None
        _check(spool)
    if held is None:
        raise Transient("the lake gave no answer: try again, or see `ward logs lake`")
    return held


def _spool(ask: Ask) -> subprocess.Popen[bytes]:
    spool = subprocess.Popen(  # noqa: S603 our own module
        [sys.executable, *PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    stdin: Any = spool.stdin
    stdin.write(msgspec.json.encode(ask))
    stdin.close()
    return spool


def _pipe(spool: subprocess.Popen[bytes]) -> IO[bytes]:
    pipe: Any = spool.stdout
    return pipe  # type: ignore[no-any-return]  # it was asked for


def _check(spool: subprocess.Popen[bytes]) -> None:
    """Raise what the spool ended with."""
    errors: Any = spool.stderr
    said = errors.read().decode(errors="replace").strip().splitlines()
    code = spool.wait()
    why = said[-1] if said else f"the reader of the lake ended with {code}"
    if code == MISCONFIGURED:
        raise Misconfigured(why)
    if code == BAD_INPUT:
        raise Poison("lake", why)
    if code:
        raise Transient(why if code == UNREACHABLE else f"the reader of the lake ended: {why}")


def _planned(log: HeldLog, target: str) -> LogPlan:
    """Ticks of the clock go with the keys that were asked for, where there are any."""
    both = [one for one in (log.asked, log.ticks) if one is not None] if log.asked else []
    return _log_plan(log, target, both, has_key=log.asked is not None)


def _whole(log: HeldLog) -> LogPlan:
    return _log_plan(log, log.topic, [log.whole] if log.whole else [], has_key=True)


def _log_plan(log: HeldLog, target: str, tallies: list[Tally], has_key: bool) -> LogPlan:
    return LogPlan(
        topic=log.topic,
        target=target,
        partition=log.partition,
        start=log.start,
        end=log.end,
        records=sum(one.records for one in tallies),
        first_ms=min((one.first_ms for one in tallies), default=None),
        last_ms=max((one.last_ms for one in tallies), default=None),
        has_key=has_key,
    )
