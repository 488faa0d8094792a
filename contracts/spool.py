"""What a reader of the lake's raw records is asked and answers, between two programs: ``python -m batch.spool``.

It reads one ``Ask`` as JSON from its standard input and writes messages to its standard output, each msgpack behind
four bytes of length, big-endian: ``Held`` first, then, when it was asked for spans, every ``Row`` in the order in which
a replay sends them, and an empty message at the end. Whoever sees no empty message was cut off.
"""

from __future__ import annotations

import struct
from typing import IO, Any, Final, TypeVar

import msgspec

LENGTH: Final = struct.Struct(">I")
T = TypeVar("T")


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records of these topics with broker times in [start_ms, end_ms); None is the beginning or end of what is kept.

    ``spans`` (topic, partition, first offset, end offset) asks for these rows, which lie in the window or close to it.
    ``keys`` counts what carries one of them, and apart from it the ticks of the clock.
    """

    topics: tuple[str, ...]
    start_ms: int | None = None
    end_ms: int | None = None
    keys: tuple[str, ...] = ()
    spans: tuple[tuple[str, int, int, int], ...] | None = None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many records, and the times of the earliest and the latest."""

    records: int
    first_ms: int
    last_ms: int


class HeldLog(msgspec.Struct, frozen=True, kw_only=True):
    """What the lake has of one partition: offsets [start, end) of the window, what of it was asked for and, when keys
    were named, the ticks of the clock; ``whole`` is all that the lake has of it, whatever the window."""

    topic: str
    partition: int
    start: int
    end: int
    asked: Tally | None
    ticks: Tally | None
    whole: Tally | None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Every partition of the topics that were asked for, in their order."""

    logs: tuple[HeldLog, ...]


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One record, as the broker had it; ``log`` numbers ``Ask.spans``."""

    log: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] | None


def put(pipe: IO[bytes], message: Any | None) -> None:
    """Write a message, or the empty one."""
    raw = b"" if message is None else msgspec.msgpack.encode(message)
    pipe.write(LENGTH.pack(len(raw)) + raw)


def taken(pipe: IO[bytes], kind: type[T]) -> T | None:
    """The next message; None for the empty one. Raises EOFError when the other side is gone before it."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError("the records broke off")
    (size,) = LENGTH.unpack(head)
    raw = pipe.read(size)
    if len(raw) < size:
        raise EOFError("the records broke off inside one")
    return msgspec.msgpack.decode(raw, type=kind) if size else None
