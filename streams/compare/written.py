"""What was written live of a span, held against what is decided of it anew."""

from __future__ import annotations

from typing import Any

from contracts import codec
from contracts.records import AlertTransition
from contracts.topology import ALERTS
from streams.compare.episodes import Book
from streams.compare.span import Span
from streams.ledger import read


def written_live(bootstrap: str, span: Span) -> Book:
    """The alarms of the live topic that records of the span led to. Raises Transient without a broker."""
    book = Book()
    for record in read(bootstrap, ALERTS.name):
        transition = codec.decode(record.value, AlertTransition)
        if span.counts(transition.source):
            book.add(transition)
    return book


def held_against(decided: Book, written: Book) -> dict[str, Any]:
    """Whether they say the same to the byte, and how many transitions are missing, too many, or said otherwise."""
    ours = {(episode, seq): line for episode, alert in decided.alerts.items() for seq, line in alert.lines.items()}
    theirs = {(episode, seq): line for episode, alert in written.alerts.items() for seq, line in alert.lines.items()}
    return {
        "same": ours == theirs and not written.conflicts,
        "hash": written.hash(),
        "transitions": len(theirs),
        "missing": len(ours.keys() - theirs.keys()),
        "unexplained": len(theirs.keys() - ours.keys()),
        "otherwise": sum(ours[key] != theirs[key] for key in ours.keys() & theirs.keys()),
    }
