"""The wards of one partition of patient_vitals: record in, effects out. Knows no broker and no Faust."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from typing import Any, Final, Literal, NamedTuple, Protocol

from contracts import codec
from contracts.errors import Poison
from contracts.records import SCHEMA_VERSION, AlertTransition, DeadLetter, ScoreFrame, SourceOffset, VitalsFrame
from contracts.topology import CLOCK_KEY, VITALS, partition_for
from streams.sequence import Sequence

BREATH_S: Final = 0.010
"""A tick over many wards hands the event loop back this often."""
RAW_MAX: Final = 512 * 1024
"""Longer bytes stay where they are: a dead letter must itself fit into a record. Re-driving reads the source."""
DETAIL_MAX: Final = 500
WORKER: Final = "streams.worker"

Kind = Literal["readings", "actions", "tick", "empty", "poison", "skipped"]


class LogRecord(NamedTuple):
    """One record as the log holds it; ``at_ms`` is the log's own time."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None

    @property
    def source(self) -> SourceOffset:
        """Where it stands."""
        return SourceOffset(topic=self.topic, partition=self.partition, offset=self.offset)


class StepOutputs(Protocol):
    """What a core's step gives besides the state."""

    @property
    def scores(self) -> ScoreFrame | None: ...
    @property
    def transitions(self) -> tuple[AlertTransition, ...]: ...
    @property
    def readings(self) -> int: ...
    @property
    def late(self) -> int: ...
    @property
    def duplicates(self) -> int: ...


class Core(Protocol):
    """What the shell asks of the core (``models.ward.core.WardCore``); a state is immutable and opaque."""

    def fresh(self, ward: str) -> Any: ...
    def step(self, state: Any, frame: VitalsFrame, now_ms: int, source: SourceOffset) -> tuple[Any, StepOutputs]: ...
    def dump(self, state: Any) -> bytes: ...
    def load(self, raw: bytes) -> Any: ...


@dataclass(slots=True)
class Effects:
    """What one record led to. ``good`` is False when nothing of it could be used."""

    kind: Kind
    scores: list[ScoreFrame] = field(default_factory=list)
    transitions: list[AlertTransition] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    readings: int = 0
    late: int = 0
    duplicates: int = 0
    good: bool = True


class WardLog:
    """State of every ward of one partition after all records below ``sequence.expected``.

    ``own`` holds, after a restore, wards whose snapshot is newer than where reading starts: records below their offset
    are in their state already.
    """

    def __init__(
        self,
        partition: int,
        core: Core,
        expected: int = 0,
        wards: Mapping[str, Any] | None = None,
        own: Mapping[str, int] | None = None,
        partitions: int = VITALS.partitions,
    ) -> None:
        self.partition = partition
        self.core = core
        self.sequence = Sequence(expected)
        self.wards = dict(wards or {})
        self.own = {ward: offset for ward, offset in (own or {}).items() if offset > expected}
        self.partitions = partitions
        self.lock = asyncio.Lock()
        """Held from before a record is applied until all it led to is handed to the outbox; a cut is taken under it."""
        self.took_at = monotonic()

    async def take(self, record: LogRecord) -> Effects:
        """Apply the record and say what must be written; nothing is changed before all of it is decided.

        Never raises for what is in the record: whatever cannot be used comes back as dead letters.
        """
        try:
            decoded = codec.decode_frame(record.value)
            frame = decoded.frame
            self._check_place(frame)
        except Poison as poison:
            effects = Effects("poison", letters=[dead_letter(record, poison)], good=False)
        else:
            if frame.ward == CLOCK_KEY:
                effects = await self._tick(record, frame)
            else:
                effects = self._step(record, frame)
            effects.letters += [
                dead_letter(record, Poison(f.reason, f.detail, f.field), part=f.raw) for f in decoded.faults
            ]
        self.sequence.took(record.offset)
        self.took_at = monotonic()
        if self.own and record.offset + 1 >= max(self.own.values()):
            self.own = {}
        return effects

    def _check_place(self, frame: VitalsFrame) -> None:
        if frame.ward == CLOCK_KEY:
            if frame.beds or frame.actions:
                raise Poison("reserved_ward", f"{CLOCK_KEY} names the clock and has no beds", "$.ward")
            return
        belongs = _partition_of(frame.ward, self.partitions)
        if belongs != self.partition:
            raise Poison(
                "wrong_partition",
                f"ward {frame.ward!r} belongs into partition {belongs}: send it with the ward as key",
                "$.ward",
            )

    def _step(self, record: LogRecord, frame: VitalsFrame) -> Effects:
        ward = frame.ward
        if record.offset < self.own.get(ward, 0):
            return Effects("skipped")
        state = self.wards.get(ward)
        try:
            state, out = self.core.step(
                self.core.fresh(ward) if state is None else state, frame, record.at_ms, record.source
            )
        except Exception as fault:  # the one guard: a fault of the core costs this record, never the ward's stream
            return _blamed(record, fault)
        self.wards[ward] = state
        return Effects(
            "readings" if frame.beds else "actions" if frame.actions else "empty",
            [] if out.scores is None else [out.scores],
            list(out.transitions),
            [],
            out.readings,
            out.late,
            out.duplicates,
        )

    async def _tick(self, record: LogRecord, frame: VitalsFrame) -> Effects:
        effects = Effects("tick")
        source = record.source
        after: dict[str, Any] = {}
        breath = monotonic()
        for ward in sorted(self.wards):
            if record.offset < self.own.get(ward, 0):
                continue
            try:
                after[ward], out = self.core.step(self.wards[ward], frame, record.at_ms, source)
            except Exception as fault:  # as above: one ward's fault must not stop the clock of the others
                effects.letters += _blamed(record, fault).letters
                continue
            effects.transitions += out.transitions
            if out.scores is not None:
                effects.scores.append(out.scores)
            if monotonic() - breath > BREATH_S:
                await asyncio.sleep(0)
                breath = monotonic()
        self.wards.update(after)
        return effects


@lru_cache(maxsize=65_536)
def _partition_of(ward: str, partitions: int) -> int:
    return partition_for(ward, partitions)


def _blamed(record: LogRecord, fault: Exception) -> Effects:
    poison = Poison("core_fault", f"{type(fault).__name__}: {fault}")
    return Effects("poison", letters=[dead_letter(record, poison)], good=False)


def dead_letter(record: LogRecord, poison: Poison, part: bytes | None = None) -> DeadLetter:
    """The dead letter of a record, or of a ``part`` of it; the same bytes whenever the record is read again."""
    raw, detail = record.value if part is None else part, poison.detail
    if raw is not None and (size := len(raw)) > RAW_MAX:
        raw, detail = None, f"{detail} ({size} bytes, left at the source offset)"
    return DeadLetter(
        version=SCHEMA_VERSION,
        source=record.source,
        reason=poison.reason,
        field=poison.field,
        detail=detail[:DETAIL_MAX],
        by=WORKER,
        at_ms=record.at_ms,
        raw=raw,
        key=record.key,
        partial=part is not None,
    )
