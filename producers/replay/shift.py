"""Times inside records moved by a constant, so that a replay can be of today.

Works on the JSON document, with the fields that the records declare as moments: what a newer producer added stays, and
what is broken stays just as broken. Intervals never change.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from contracts import records as r
from contracts.topology import SNAPSHOTS, TOPICS

LENGTHS: Final = frozenset({"age_ms"})
"""Fields in milliseconds that are a length, no moment."""
MINUTE_MS: Final = 60_000


def _moments() -> frozenset[str]:
    structs = [kind for kind in vars(r).values() if isinstance(kind, type) and issubclass(kind, r.Record)]
    names = {name for kind in structs for name in kind.__struct_fields__ if name.endswith("_ms")}
    return frozenset(names - LENGTHS)


MOMENTS: Final = _moments()
CANNOT: Final = frozenset(topic.name for topic in TOPICS if topic.name == SNAPSHOTS.name)
"""Topics whose records hold times that only the core can read."""


def to_now(first_ms: int, now_ms: int) -> int:
    """By how much: whole minutes, so that the first record is of the minute that runs now.

    The core asks the models at fixed places within a minute; they stay where they were, and so does what is decided.
    """
    return (now_ms - first_ms) // MINUTE_MS * MINUTE_MS


def shifted(value: bytes | None, by_ms: int) -> tuple[bytes | None, bool]:
    """The record's bytes with every moment moved, and whether they could be read; else the bytes as they are."""
    if value is None:
        return None, False
    try:
        document = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return value, False
    if not isinstance(document, dict):
        return value, False
    _move(document, by_ms)
    return msgspec.json.encode(document), True


def _move(part: Any, by_ms: int) -> None:
    if isinstance(part, dict):
        for name, value in part.items():
            if isinstance(value, (dict, list)):
                _move(value, by_ms)
            elif name in MOMENTS and type(value) is int:
                part[name] = value + by_ms
    elif isinstance(part, list):
        for value in part:
            if isinstance(value, (dict, list)):
                _move(value, by_ms)
