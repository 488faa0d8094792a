"""The limit alarms of one vital under hundreds of policies at once, exactly as the core decides them one by one.

The alarm machine of ``models/ward/alarms.py`` over arrays, a policy an element. A stretch of values that no policy can
tell apart is taken in one step: when a delay runs out within it is looked up, not waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.policy.family import Side
from models.policy.tape import CHECK, CUFFED, CUFFED_RECALL, NEVER, READ, REBASE, RECALL, RELEASE, Floats, Ints, Steps

Flags = NDArray[np.bool_]

_NONE, _PENDING, _ACTIVE, _LATCHED = range(4)
_ALWAYS: Final = np.iinfo(np.int64).max


class Happening(IntEnum):
    """What is told of a limit alarm."""

    RAISED = 0
    REALARMED = 1
    PRIORITY_RAISED = 2
    LATCHED = 3
    CLEARED = 4


class Told(NamedTuple):
    """What happened to the alarms of one side of one vital, in order for each row of the side.

    ``at`` and ``onset`` are event times, ``now`` the log's, in ms; ``high``: the alarm was of high priority then.
    """

    row: NDArray[np.intp]
    what: NDArray[np.int8]
    at: Ints
    now: Ints
    onset: Ints
    high: Flags


def limit_alarms(steps: Steps, side: Side, low: bool, continuous: bool, stale_ms: int, relevant_ms: int) -> Told:
    """What a core under each row of ``side`` tells of the condition, whose tape ``steps`` is."""
    machine = _Machine(side, continuous, stale_ms, relevant_ms)
    value = steps.value if low else -steps.value
    for first, end in _stretches(steps, value, side, relevant_ms):
        machine.take(steps, value, first, end)
    return machine.told()


def _stretches(steps: Steps, value: Floats, side: Side, relevant_ms: int) -> Iterator[tuple[int, int]]:
    """Steps that can be taken together: values that no row tells apart, or time that passes over one value."""
    n = len(steps.kind)
    if n == 0:
        return
    thresholds = np.unique(np.concatenate([side.limit, side.severe, side.back]))
    read = steps.kind == READ
    band = np.where(read, np.searchsorted(thresholds, value, "right"), 0)
    behind = steps.now - steps.at > relevant_ms
    check = steps.kind == CHECK
    same = (steps.kind[1:] == steps.kind[:-1]) & (behind[1:] == behind[:-1])
    same_read = read[1:] & (band[1:] == band[:-1]) & (steps.at[1:] > steps.at[:-1])
    alike = (value[1:] == value[:-1]) | (np.isnan(value[1:]) & np.isnan(value[:-1]))
    same_check = check[1:] & alike & (steps.current[1:] == steps.current[:-1])
    same_check &= (steps.at[1:] >= steps.at[:-1]) & (steps.newest[1:] >= steps.newest[:-1])
    cuts = np.flatnonzero(~(same & (same_read | same_check))) + 1
    edges = [0, *cuts.tolist(), n]
    yield from pairwise(edges)


class _Machine:
    """One side of one vital. An element of each array is the alarm under one row of rules."""

    def __init__(self, side: Side, continuous: bool, stale_ms: int, relevant_ms: int) -> None:
        n = len(side.limit)
        self.side = side
        self.continuous, self.stale_ms, self.relevant_ms = continuous, stale_ms, relevant_ms
        self.highest = float(side.limit.max())
        self.state = np.zeros(n, np.int8)
        self.onset, self.breached = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.severe_since = np.full(n, NEVER, np.int64)
        self.relapse = np.full(n, NEVER, np.int64)
        self.calm = np.zeros(n, np.int64)
        self.ended = np.full(n, NEVER, np.int64)
        self.limit = side.limit.copy()
        self.high = np.zeros(n, np.bool_)
        self.standing = False
        self._told: list[tuple[Ints, Happening, Ints, Ints, Ints, Flags]] = []

    def told(self) -> Told:
        """All that was told."""
        if not self._told:
            none = np.zeros(0, np.int64)
            return Told(none.astype(np.intp), none.astype(np.int8), none, none, none, none.astype(np.bool_))
        rows, whats, at, now, onset, high = zip(*self._told, strict=True)
        what = np.concatenate([np.full(len(row), each, np.int8) for row, each in zip(rows, whats, strict=True)])
        joined = [np.concatenate(column) for column in (at, now, onset)]
        return Told(np.concatenate(rows), what, joined[0], joined[1], joined[2], np.concatenate(high))

    def take(self, steps: Steps, value: Floats, first: int, end: int) -> None:
        """One stretch."""
        kind = steps.kind[first]
        at, now = steps.at[first:end], steps.now[first:end]
        if kind == READ:
            if value[first] >= self.highest and not self.standing:
                self.calm[:] = at[-1]
                return
            self._read(value[first], at, now, None)
            self.standing = bool(self.state.any())
        elif kind == CUFFED:
            self._read(value[first], at, now, steps.value[first] >= self.side.cuff)
            self.standing = bool(self.state.any())
        elif kind == CHECK:
            if self.standing:
                self._check(value[first], at, now, steps.newest[end - 1], steps.current[first])
        elif kind in (RECALL, CUFFED_RECALL):
            self._recall(value[first], steps.value[first], at[0], kind == CUFFED_RECALL)
        elif kind == RELEASE:
            self._release(now[0])
        elif kind == REBASE:
            self._rebase(at[0], steps.newest[first])

    # -- values ------------------------------------------------------------------------------------------------------

    def _read(self, value: float, at: Ints, now: Ints, judged: Flags | None) -> None:
        """Values that every row judges alike; ``judged`` are the rows that judge them at all."""
        beyond = value < self.side.limit
        inside = ~beyond
        if judged is not None:
            beyond, inside = beyond & judged, inside & judged
        if inside.any():
            self.calm[inside] = at[-1]
            if self.standing:
                self._inside(value, inside, at[:1], now[:1])
        if beyond.any():
            self._beyond(value, beyond, at, now)

    def _inside(self, value: float, inside: Flags, at: Ints, now: Ints) -> None:
        state, side = self.state, self.side
        state[inside & (state == _PENDING)] = _NONE
        standing = inside & (state >= _ACTIVE)
        if not standing.any():
            return
        self.severe_since[standing] = NEVER
        self.relapse[standing] = NEVER
        over = standing & (state == _ACTIVE) & (value >= side.back)
        if over.any():
            latches = over & np.where(self.high, side.latch_high, side.latch_medium)
            self._tell(Happening.LATCHED, latches, at[0], now[0])
            state[latches] = _LATCHED
            self._clear(over & ~latches, at[0], now[0])

    def _beyond(self, value: float, beyond: Flags, at: Ints, now: Ints) -> None:
        state, side, first_ms = self.state, self.side, at[0]
        severe = beyond & (value < side.severe)
        new = beyond & (state == _NONE)
        if new.any():
            state[new] = _PENDING
            self.onset[new] = np.maximum(first_ms, self.ended[new] + 1)
            self.breached[new] = first_ms
            self.relapse[new] = NEVER
            self.severe_since[new] = NEVER
        self.severe_since[beyond & ~severe] = NEVER
        self.severe_since[severe & (self.severe_since == NEVER)] = first_ms
        self.relapse[beyond & (state == _LATCHED) & (self.relapse == NEVER)] = first_ms
        self.breached[beyond] = np.maximum(self.breached[beyond], at[-1])
        self.limit[beyond] = np.where(severe, side.severe, side.limit)[beyond]
        if now[0] - first_ms > self.relevant_ms:
            return
        ripe_ms = np.where(severe, self.severe_since + side.severe_delay_ms, _ALWAYS)
        raised_at = np.zeros(len(state), np.intp)
        waiting = beyond & ((state == _PENDING) | (state == _LATCHED))
        if waiting.any():
            since = np.where(state == _LATCHED, self.relapse, self.onset)
            due = np.minimum(since + side.delay_ms, ripe_ms)
            due[new & (side.delay_ms == 0)] = first_ms
            raised_at = np.searchsorted(at, due)
            raised = waiting & (raised_at < len(at))
            if raised.any():
                self._raise(raised, at, now, raised_at, ripe_ms)
                raised_at = np.where(raised, raised_at + 1, 0)
            else:
                raised_at[:] = 0
        self._worsen(severe, at, now, raised_at, ripe_ms)

    def _raise(self, raised: Flags, at: Ints, now: Ints, where: NDArray[np.intp], ripe_ms: Ints) -> None:
        """Pending alarms and latched ones sound."""
        rows = np.flatnonzero(raised)
        times, logged = at[where[rows]], now[where[rows]]
        again = self.state[rows] == _LATCHED
        fresh = rows[~again]
        self.high[fresh] = (times >= ripe_ms[rows])[~again]
        self.state[rows] = _ACTIVE
        self.relapse[rows] = NEVER
        for what, which in ((Happening.RAISED, ~again), (Happening.REALARMED, again)):
            if which.any():
                self._note(what, rows[which], times[which], logged[which])

    def _worsen(self, severe: Flags, at: Ints, now: Ints, earliest: NDArray[np.intp], ripe_ms: Ints) -> None:
        """Active alarms of medium priority become high once the severe limit was passed for long enough."""
        rows = np.flatnonzero(severe & (self.state == _ACTIVE) & ~self.high)
        if not len(rows):
            return
        where = np.maximum(np.searchsorted(at, ripe_ms[rows]), earliest[rows])
        reached = where < len(at)
        rows, where = rows[reached], where[reached]
        if len(rows):
            self.high[rows] = True
            self._note(Happening.PRIORITY_RAISED, rows, at[where], now[where])

    # -- time --------------------------------------------------------------------------------------------------------

    def _check(self, value: float, at: Ints, now: Ints, newest_ms: int, current_ms: int) -> None:
        """Time passes over a value that was read before: pending alarms ripen where it holds on, or are forgotten."""
        pending = self.state == _PENDING
        if not pending.any():
            return
        if self.continuous:
            held, lasting = pending & (value < self.limit), len(at)
        else:
            held = pending & (self.breached == current_ms)
            lasting = int(np.searchsorted(at, current_ms + self.stale_ms, "right"))
        if lasting and now[0] - at[0] <= self.relevant_ms and held.any():
            ripe_ms = np.where(self.severe_since == NEVER, _ALWAYS, self.severe_since + self.side.severe_delay_ms)
            due = np.minimum(self.onset + self.side.delay_ms, ripe_ms)
            where = np.searchsorted(at, due)
            raised = held & (where < lasting)
            if raised.any():
                self._raise(raised, at, now, where, ripe_ms)
        if lasting == len(at):
            pending &= ~held
        pending &= self.state == _PENDING
        self.state[pending & (newest_ms - self.breached > self.side.pending_max_ms)] = _NONE

    def _recall(self, value: float, raw: float, at_ms: int, cuffed: bool) -> None:
        earlier = (self.state == _PENDING) & (value < self.side.limit) & (at_ms < self.onset)
        earlier &= np.maximum(self.calm, self.ended) < at_ms
        if cuffed:
            earlier &= raw >= self.side.cuff
        self.onset[earlier] = at_ms

    def _release(self, now_ms: int) -> None:
        standing = self.state >= _ACTIVE
        if standing.any():
            self._clear(standing, now_ms, now_ms)
        self.state[:] = _NONE
        self.calm[:] = 0
        self.standing = False

    def _rebase(self, by_ms: int, latest_ms: int) -> None:
        for times in (self.breached, self.severe_since, self.relapse, self.calm):
            times[times > latest_ms] += by_ms
        self.onset[(self.state == _PENDING) & (self.onset > latest_ms)] += by_ms

    # -- what is told ------------------------------------------------------------------------------------------------

    def _clear(self, over: Flags, at_ms: int, now_ms: int) -> None:
        self._tell(Happening.CLEARED, over, at_ms, now_ms)
        self.ended[over] = self.onset[over]
        self.state[over] = _NONE

    def _tell(self, what: Happening, which: Flags, at_ms: int, now_ms: int) -> None:
        rows = np.flatnonzero(which)
        if len(rows):
            self._note(what, rows, np.full(len(rows), at_ms), np.full(len(rows), now_ms))

    def _note(self, what: Happening, rows: Ints, at: Ints, now: Ints) -> None:
        self._told.append((rows, what, at, now, self.onset[rows], self.high[rows]))
