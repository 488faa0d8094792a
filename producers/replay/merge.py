"""Logs merged into one by time: deterministic, each log in its own order. Knows no broker."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from contracts.errors import WardError

Headers = list[tuple[str, bytes | None]] | None
_OVERHEAD: Final = 400


class Message(NamedTuple):
    """One record of a log, as it stands there. ``log`` numbers the logs of one replay: a partition of a topic."""

    log: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = None

    @property
    def size(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")

    @property
    def weight(self) -> int:
        """Bytes of memory, about: a tick of the clock weighs more than it says."""
        return self.size + _OVERHEAD


class Merging(Protocol):
    """Gives the messages of several logs in the order of their times."""

    @property
    def over(self) -> bool:
        """Every log has ended and all is given."""

    def due_ms(self) -> int | None:
        """The time at which the next message is due; None while nobody knows it, and when all is given."""

    def take(self) -> Message:
        """The next message. Only when ``due_ms`` is not None."""


class Merge:
    """Gives the messages of several logs in the order of their times, whatever the order in which they are added.

    A message is due at the latest time its log has shown up to it, so that a log whose times jump back still keeps its
    order. Equal times go by the number of the log. Nothing is given while any log that is not ended has nothing to
    show, for its next message might be the earliest.
    """

    def __init__(self, logs: Sequence[int]) -> None:
        self._waiting: dict[int, deque[Message]] = {log: deque() for log in logs}
        self._bytes = dict.fromkeys(logs, 0)
        self._due: dict[int, int] = {}
        self._heads: list[tuple[int, int]] = []
        self._bare = set(logs)
        self._open = set(logs)

    @property
    def bare(self) -> frozenset[int]:
        """Logs that must show a message, or end, before anything can be given."""
        return frozenset(self._bare)

    @property
    def over(self) -> bool:
        """Every log has ended and all is given."""
        return not self._open and not self._heads

    def held(self, log: int) -> int:
        """Bytes of memory that a log's waiting messages take, about."""
        return self._bytes[log]

    def is_open(self, log: int) -> bool:
        """Whether the log may still add."""
        return log in self._open

    def add(self, message: Message) -> None:
        """Append to its log; messages of one log come in their order."""
        if message.log not in self._open:
            raise WardError(f"log {message.log} had ended before offset {message.offset}")
        self._waiting[message.log].append(message)
        self._bytes[message.log] += message.weight
        if message.log in self._bare:
            self._show(message.log)

    def end(self, log: int) -> None:
        """Nothing more comes from this log."""
        self._open.discard(log)
        self._bare.discard(log)

    def due_ms(self) -> int | None:
        """The time at which the next message is due; None while a log is bare, and when all is given."""
        return None if self._bare or not self._heads else self._heads[0][0]

    def take(self) -> Message:
        """The next message. Only when ``due_ms`` is not None."""
        _, log = heapq.heappop(self._heads)
        message = self._waiting[log].popleft()
        self._bytes[log] -= message.weight
        if self._waiting[log]:
            self._show(log)
        elif log in self._open:
            self._bare.add(log)
        return message

    def _show(self, log: int) -> None:
        self._bare.discard(log)
        at_ms = self._waiting[log][0].at_ms
        due = self._due[log] = max(self._due.get(log, at_ms), at_ms)
        heapq.heappush(self._heads, (due, log))


class InOrder:
    """Gives messages that come in the order in which they are due already."""

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()
        self._latest: dict[int, int] = {}
        self._ended = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def over(self) -> bool:
        """Every log has ended and all is given."""
        return self._ended and not self._waiting

    def add(self, message: Message) -> None:
        """Append."""
        self._waiting.append(message)

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True

    def due_ms(self) -> int | None:
        """The latest time that the next message's log has shown up to it; None when none waits."""
        if not self._waiting:
            return None
        head = self._waiting[0]
        return max(head.at_ms, self._latest.get(head.log, head.at_ms))

    def take(self) -> Message:
        """The next message. Only when ``due_ms`` is not None."""
        message = self._waiting.popleft()
        self._latest[message.log] = max(message.at_ms, self._latest.get(message.log, message.at_ms))
        return message
