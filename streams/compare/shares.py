"""A long span decided in two processes: each takes partitions of its own, and what they decide is put together.

Exact, for the wards of one partition never hear of another's. Without models only: those are loaded once a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Final

from streams.compare.sides import Decided, Side, decided
from streams.compare.span import Span, records

PROCESSES: Final = 2
WORTH_RECORDS: Final = 200_000
"""Below that a process takes longer to begin than it saves."""


def dealt(span: Span, processes: int = PROCESSES) -> list[Span]:
    """The span's partitions dealt to so many processes, the fullest first, each to the one with the least."""
    hands: list[list[int]] = [[] for _ in range(processes)]
    loads = [0] * processes
    for p in sorted(span.parts, key=lambda p: span.parts[p].begin - span.parts[p].stop):
        least = loads.index(min(loads))
        hands[least].append(p)
        loads[least] += span.parts[p].stop - span.parts[p].begin
    return [replace(span, parts={p: span.parts[p] for p in sorted(hand)}) for hand in hands if hand]


def worth_sharing(span: Span) -> bool:
    """Whether two processes would be done sooner than one."""
    return span.records >= WORTH_RECORDS and len(span.parts) > 1


def decided_in_two(bootstrap: str, span: Span, sides: Sequence[Side]) -> list[Decided]:
    """As ``sides.decided`` over the whole span, in two processes. Raises what a process raises."""
    shares = dealt(span)
    with ProcessPoolExecutor(len(shares), mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_decided, [(bootstrap, share, tuple(sides)) for share in shares]))
    return [together(side, of) for side, of in zip(sides, zip(*found, strict=True), strict=True)]


def _decided(work: tuple[str, Span, tuple[Side, ...]]) -> list[Decided]:
    bootstrap, span, sides = work
    return decided(records(bootstrap, span), span, sides, None)


def together(side: Side, shares: Iterable[Decided]) -> Decided:
    """What the shares of one side decided, as one process would have."""
    whole = Decided(side)
    for one in shares:
        whole.book.alerts.update(one.book.alerts)
        whole.book.conflicts += one.book.conflicts
        whole.book.repeats += one.book.repeats
        whole.heard.update(one.heard)
        whole.models |= one.models
        for name in ("records", "readings", "late", "duplicates", "unreadable"):
            setattr(whole, name, getattr(whole, name) + getattr(one, name))
        whole.first_ms = min(filter(None, (whole.first_ms, one.first_ms)), default=None)
        whole.last_ms = max(filter(None, (whole.last_ms, one.last_ms)), default=None)
    return whole
