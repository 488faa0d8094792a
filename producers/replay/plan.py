"""What a replay would do, known before it does anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from contracts.errors import Misconfigured
from contracts.topology import CLOCK_KEY, VITALS
from producers.replay import shift, topics
from producers.replay.merge import Merging, Message
from producers.replay.source import Filling, Keep, Log, Span
from producers.replay.topics import Found
from producers.replay.window import Window, rfc3339

_CLOCK: Final = CLOCK_KEY.encode()


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. ``speed`` None: as fast as it goes. ``from_lake``: not from the broker, which may have
    forgotten long ago."""

    sources: tuple[str, ...]
    to: str
    window: Window = Window()
    speed: float | None = 1.0
    keys: tuple[str, ...] = ()
    shift_to_now: bool = False
    from_lake: bool = False


class LogPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One partition: offsets [start, end) and what they hold. Times are the log's; None when it holds nothing."""

    topic: str
    target: str
    partition: int
    start: int
    end: int
    records: int
    first_ms: int | None = None
    last_ms: int | None = None
    has_key: bool = True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A replay to be made. ``records`` is exact unless ``counted`` is ``offsets`` and offsets are missing in the log.

    ``seconds`` is how long it will take; None when nothing is known of how fast this machine is. ``shift_ms`` is added
    to every time; None keeps them.
    """

    wish: Wish
    bootstrap: str
    made_ms: int
    logs: tuple[LogPlan, ...]
    counted: str
    records: int
    first_ms: int
    last_ms: int
    shift_ms: int | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def span_ms(self) -> int:
        """From the first record's time to the last one's."""
        return self.last_ms - self.first_ms

    @property
    def targets(self) -> dict[str, str]:
        """Source of each target topic."""
        return {log.target: log.topic for log in self.logs}

    @property
    def frames(self) -> str | None:
        """The target that holds frames of vitals: that of the live ones, else that of the one source that is no live
        topic."""
        for name, of in self.targets.items():
            if of == VITALS.name:
                return name
        copies = [name for name, of in self.targets.items() if of not in topics.LIVE]
        return copies[0] if len(copies) == 1 else None

    def keeps(self, message: Message) -> bool:
        """Whether the message is one of those asked for: of these keys, or a tick of the clock that goes with them."""
        if not self.wish.keys:
            return True
        if message.key == _CLOCK:
            return self.logs[message.log].has_key
        return message.key is not None and message.key.decode(errors="replace") in self.wish.keys


class Origin(Protocol):
    """Where the records of a replay come from: a broker, or the lake."""

    def find(self, wish: Wish) -> dict[str, Found]:
        """The topics that were asked for. Raises NotFound when one is missing."""

    def planned(self, wish: Wish, found: Mapping[str, Found], named: Mapping[str, str]) -> tuple[list[LogPlan], str]:
        """Every partition, and how its records were counted. Raises NotFound for a span without records."""

    def spans(self, logs: Sequence[Log], start_ms: int | None, end_ms: int | None) -> dict[Log, Span]:
        """The offsets of these log times, as ``producers.replay.source.spans`` tells them."""

    def reading(
        self,
        logs: Sequence[Log],
        wanted: Mapping[int, Span],
        keep: Keep | None,
        leave: Mapping[int, int],
        ahead_bytes: int,
    ) -> tuple[Merging, Filling]:
        """What gives the records by time, and what fills it."""


def make(wish: Wish, bootstrap: str, now_ms: int, rate: float | None = None, origin: Origin | None = None) -> Plan:
    """The plan for ``wish``; ``rate`` is records a second that an unpaced replay reached here before. Without
    ``origin`` the records come from the broker itself.

    Raises Misconfigured for a live target or a topic whose times cannot be moved, NotFound for a missing topic or a
    span without records, Transient when the broker does not answer.
    """
    from producers.replay.from_broker import Broker

    named = dict(zip(wish.sources, topics.targets(wish.sources, wish.to), strict=True))
    if wish.shift_to_now and (cannot := sorted(shift.CANNOT.intersection(wish.sources))):
        raise Misconfigured(
            f"--shift-to-now: only the core can read the times in {', '.join(cannot)}; use --keep-times"
        )
    whence = origin or Broker(bootstrap)
    found = whence.find(wish)
    taken = topics.find(bootstrap, list(named.values()))
    planned, counted = whence.planned(wish, found, named)
    held = [log for log in planned if log.first_ms is not None and log.last_ms is not None]
    first_ms = min(log.first_ms for log in held if log.first_ms is not None)
    last_ms = max(log.last_ms for log in held if log.last_ms is not None)
    records = sum(log.records for log in planned)
    at_most = None if rate is None else records / rate
    paced = None if wish.speed is None else (last_ms - first_ms) / 1000 / wish.speed
    return Plan(
        wish=wish,
        bootstrap=bootstrap,
        made_ms=now_ms,
        logs=tuple(planned),
        counted=counted,
        records=records,
        first_ms=first_ms,
        last_ms=last_ms,
        shift_ms=shift.to_now(first_ms, now_ms) if wish.shift_to_now else None,
        seconds=at_most if paced is None else max(paced, at_most or 0.0),
        notes=tuple(_notes(wish, planned, taken, first_ms, named)),
    )


def _notes(
    wish: Wish, logs: Sequence[LogPlan], taken: Mapping[str, Found], first_ms: int, named: Mapping[str, str]
) -> list[str]:
    notes = []
    for target in named.values():
        if target in taken:
            notes.append(f"topic {target} is there already: name a fresh one, or go on by --resume")
    start_ms = wish.window.start_ms
    if start_ms is not None and first_ms - start_ms > 60_000:
        notes.append(f"nothing is kept before {rfc3339(first_ms)}: the span begins there, not at {rfc3339(start_ms)}")
    for name in wish.sources:
        if not any(log.records for log in logs if log.topic == name):
            notes.append(f"{name} has no record in this span")
    if wish.keys and any(log.has_key for log in logs):
        notes.append("with the keys come the ticks of the clock in their partitions")
    return notes


def empty(wish: Wish, there: Sequence[LogPlan]) -> str:
    """What to say when nothing lies in the span; ``there`` is all that is kept."""
    what = f"{', '.join(wish.sources)}{f' with key {chr(32).join(wish.keys)}' if wish.keys else ''}"
    first = [log.first_ms for log in there if log.first_ms is not None]
    last = [log.last_ms for log in there if log.last_ms is not None]
    if not first:
        return f"{what}: no record at all; is anything playing?"
    return f"{what}: no record from {wish.window}; it holds {rfc3339(min(first))} to {rfc3339(max(last))}"
