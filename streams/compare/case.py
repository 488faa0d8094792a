"""A recorded span with the decisions expected of it, in one small file: a test of the whole core.

No model is asked: their versions come and go, and a case must outlive them. The policy is in the file, so that a change
of the one that is shipped changes no case.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from typing import Final

import msgspec

from contracts import codec
from contracts.errors import Poison
from contracts.records import AlertTransition
from models.ward.policy import Policy
from streams.compare.episodes import Alert, Book
from streams.compare.matching import Pair, match
from streams.compare.sides import Decided, Side, decided
from streams.compare.span import Cut, Part, Span
from streams.wardlog import LogRecord

CASE_VERSION: Final = 1
MOST_BYTES: Final = 64 * 1024 * 1024
SUFFIX: Final = ".case"


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Where a partition begins and from where on it counts; the states before it, when they came from a snapshot."""

    begin: int
    start: int
    stop: int
    cut_at: int | None = None
    states: dict[str, bytes] = {}
    own: dict[str, int] = {}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """``records`` are (partition, offset, log time, key, value); ``ledger`` the canonical lines, as they are hashed."""

    version: int
    about: str
    topic: str
    partitions: int
    since: str
    policy: Policy
    parts: dict[int, Start]
    records: list[tuple[int, int, int, bytes | None, bytes | None]]
    ledger: list[bytes]
    hash: str


def recorded(records: Iterable[LogRecord], span: Span, policy: Policy, about: str) -> tuple[Case, Decided]:
    """The case of these records, and what they lead to now, which is what it will expect."""
    kept = list(records)
    (found,) = decided(kept, span, [Side("recorded", policy)], None)
    case = Case(
        version=CASE_VERSION,
        about=about,
        topic=span.topic,
        partitions=span.partitions,
        since=span.since,
        policy=policy,
        parts={p: _start(part) for p, part in span.parts.items()},
        records=[(r.partition, r.offset, r.at_ms, r.key, r.value) for r in kept],
        ledger=[line for alert in _ordered(found.book) for _, line in sorted(alert.lines.items())],
        hash=found.book.hash(),
    )
    return case, found


def _start(part: Part) -> Start:
    cut = part.cut or Cut(-1)
    cut_at = None if part.cut is None else cut.offset
    return Start(
        begin=part.begin,
        start=part.start,
        stop=part.stop,
        cut_at=cut_at,
        states=dict(cut.states),
        own=dict(cut.own),
    )


def _ordered(book: Book) -> list[Alert]:
    return sorted(book.alerts.values(), key=lambda alert: alert.episode)


def packed(case: Case) -> bytes:
    """The case as bytes; the same case gives the same bytes."""
    return lzma.compress(msgspec.msgpack.encode(case), preset=9)


def unpacked(raw: bytes) -> Case:
    """The case in those bytes; raises Poison when they are damaged, of another version, or say two things."""
    try:
        opener = lzma.LZMADecompressor()
        whole = opener.decompress(raw, MOST_BYTES)
        if not opener.eof:
            raise Poison("bad_case", f"not a whole case, or one above {MOST_BYTES} bytes")
        case = msgspec.msgpack.decode(whole, type=Case)
    except (lzma.LZMAError, msgspec.MsgspecError, EOFError) as damage:
        raise Poison("bad_case", f"not a case: {damage}") from damage
    if case.version != CASE_VERSION:
        raise Poison("bad_case", f"a case of version {case.version}; this one reads {CASE_VERSION}")
    if expected(case).hash() != case.hash:
        raise Poison("bad_case", "its ledger is not the one of its hash")
    return case


def expected(case: Case) -> Book:
    """The decisions that the case holds."""
    book = Book()
    for line in case.ledger:
        book.add(codec.decode(line, AlertTransition))
    return book


def played(case: Case) -> tuple[Decided, list[Pair]]:
    """What the code decides now, and its alarms (candidate) matched with those expected (champion)."""
    parts = {
        p: Part(
            start.begin,
            start.start,
            start.stop,
            None if start.cut_at is None else Cut(start.cut_at, start.states, start.own),
        )
        for p, start in case.parts.items()
    }
    span = Span(case.topic, case.partitions, None, None, parts, case.since)
    records = (LogRecord(case.topic, p, offset, at_ms, key, value) for p, offset, at_ms, key, value in case.records)
    (found,) = decided(records, span, [Side("now", case.policy)], None)
    return found, match(expected(case).alerts.values(), found.book.alerts.values())
