"""One side of a comparison: a policy and models, and all that a span of a log leads to under them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from contracts.records import ModelRef, SourceOffset, VitalsFrame
from contracts.topology import CLOCK_KEY
from models.burden import SLOT_MS
from models.vitals.asked import NONE
from models.vitals.engine import VitalsModels
from models.ward.core import Outputs, WardCore, WardState
from models.ward.policy import Policy
from streams.compare.episodes import Book
from streams.compare.span import Cut, Span
from streams.counsel import Inline
from streams.wardlog import Effects, LogRecord, WardLog


@dataclass(frozen=True)
class Side:
    """``models`` are those of which the side has another version than the log names; ``none``: it has none."""

    name: str
    policy: Policy
    models: Mapping[str, str] = field(default_factory=dict)


class SideCore(WardCore):
    """The core under a side's policy, told in every tick of the side's models."""

    def __init__(self, side: Side) -> None:
        super().__init__(side.policy)
        self._models = side.models

    def step(
        self, state: WardState, frame: VitalsFrame, now_ms: int, source: SourceOffset
    ) -> tuple[WardState, Outputs]:
        """As the core does."""
        if self._models and frame.ward == CLOCK_KEY:
            frame = msgspec.structs.replace(frame, models=self._in_place_of(frame.models))
        return super().step(state, frame, now_ms, source)

    def _in_place_of(self, models: Sequence[ModelRef]) -> tuple[ModelRef, ...]:
        named = {**{ref.name: ref.version for ref in models}, **self._models}
        return tuple(ModelRef(name=n, version=v) for n, v in sorted(named.items()) if v != NONE)

    def begin(self, raw: bytes) -> WardState:
        """A ward's state out of a snapshot, without the models that the side does not have."""
        state = self.load(raw)
        gone = {name for name, version in self._models.items() if version == NONE}
        if not gone & state.models.keys():
            return state
        return msgspec.structs.replace(state, models={n: m for n, m in state.models.items() if n not in gone})


@dataclass
class Decided:
    """What a span led to on one side. ``heard`` counts slots by (ward, bed); times are log times."""

    side: Side
    book: Book = field(default_factory=Book)
    heard: Counter[tuple[str, str]] = field(default_factory=Counter)
    models: set[tuple[str, str]] = field(default_factory=set)
    records: int = 0
    readings: int = 0
    late: int = 0
    duplicates: int = 0
    unreadable: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    @property
    def heard_s(self) -> dict[tuple[str, str], float]:
        """For how long each bed was heard."""
        return {bed: slots * SLOT_MS / 1000 for bed, slots in self.heard.items()}


class Decider:
    """One side at work: takes records of any partition, each partition's in order; ``core`` is another than its."""

    def __init__(self, side: Side, span: Span, models: VitalsModels | None, core: WardCore | None = None) -> None:
        self._own = SideCore(side)
        self.core = self._own if core is None else core
        self.decided = Decided(side)
        self._span = span
        self._counsel = None if models is None else Inline(models)
        self._slots: dict[int, int] = {}
        self.logs = {p: self._log(p, part.begin, part.cut) for p, part in span.parts.items()}

    def _log(self, partition: int, begin: int, cut: Cut | None) -> WardLog:
        states: dict[str, Any] = {ward: self._own.begin(raw) for ward, raw in cut.states.items()} if cut else {}
        own = dict(cut.own) if cut else {}
        return WardLog(partition, self.core, begin, states, own, self._span.partitions, self._counsel)

    async def watch(self, record: LogRecord) -> Effects:
        """Decide one record and hand over what it led to, counting nothing."""
        return await self.logs[record.partition].take(record)

    async def take(self, record: LogRecord) -> Effects:
        """Decide one record and hand over what it led to; what the warm-up leads to is not counted."""
        log, decided = self.logs[record.partition], self.decided
        effects = await log.take(record)
        if record.offset < self._span.parts[record.partition].start:
            return effects
        decided.records += 1
        decided.readings += effects.readings
        decided.late += effects.late
        decided.duplicates += effects.duplicates
        decided.unreadable += len(effects.letters)
        if decided.first_ms is None or record.at_ms < decided.first_ms:
            decided.first_ms = record.at_ms
        if decided.last_ms is None or record.at_ms > decided.last_ms:
            decided.last_ms = record.at_ms
        for transition in effects.transitions:
            decided.book.add(transition)
        if self._slots.get(record.partition) != record.at_ms // SLOT_MS:
            self._slots[record.partition] = record.at_ms // SLOT_MS
            self._hear(log, record.at_ms)
        return effects

    def _hear(self, log: WardLog, at_ms: int) -> None:
        """Once a slot, by the log's clock: which beds were heard in it, and which models are in force."""
        for state in log.wards.values():
            self.decided.models.update((m.name, m.version) for m in state.models.values())
            for bed in state.beds.values():
                if at_ms - bed.heard_ms <= SLOT_MS:
                    self.decided.heard[state.ward, bed.bed] += 1


async def decide(
    records: Iterable[LogRecord],
    span: Span,
    sides: Sequence[Side],
    models: VitalsModels | None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Decided]:
    """What these records lead to on each side, read once. Without ``models`` no model speaks on either.

    Memory holds the wards' states and the alarms, never the span.
    """
    deciders = [Decider(side, span, models) for side in sides]
    for n, record in enumerate(records, 1):
        for decider in deciders:
            await decider.take(record)
        if not n % 1000:
            progress(n)
    return [decider.decided for decider in deciders]


def decided(
    records: Iterable[LogRecord],
    span: Span,
    sides: Sequence[Side],
    models: VitalsModels | None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Decided]:
    """As ``decide``, outside an event loop."""
    return asyncio.run(decide(records, span, sides, models, progress))
