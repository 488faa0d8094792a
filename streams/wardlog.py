"""The wards of one partition of patient_vitals: record in, effects out. Knows no broker and no Faust."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from time import monotonic, perf_counter
from typing import Any, Final, Literal, NamedTuple, Protocol

from contracts import codec
from contracts.errors import Poison
from contracts.records import (
    SCHEMA_VERSION,
    AlertTransition,
    DeadLetter,
    PastVitals,
    PatientFacts,
    ScoreFrame,
    SourceOffset,
    VitalsForecast,
    VitalsFrame,
)
from contracts.topology import CLOCK_KEY, VITALS, partition_for
from models.ports import Answers, Ask
from streams.counsel import Counsel
from streams.sequence import Sequence

BREATH_S: Final = 0.010
"""A tick over many wards hands the event loop back this often."""
RAW_MAX: Final = 512 * 1024
"""Longer bytes stay where they are: a dead letter must itself fit into a record. Re-driving reads the source."""
DETAIL_MAX: Final = 500
WORKER: Final = "streams.worker"

Kind = Literal["readings", "actions", "past", "tick", "empty", "poison", "skipped"]


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


class HeededOutputs(Protocol):
    """What the core makes of the models' answers, besides the state."""

    @property
    def scores(self) -> ScoreFrame | None: ...
    @property
    def forecast(self) -> VitalsForecast | None: ...
    @property
    def transitions(self) -> tuple[AlertTransition, ...]: ...


class Core(Protocol):
    """What the shell asks of the core (``models.ward.core.WardCore``); a state is immutable and opaque."""

    def fresh(self, ward: str) -> Any: ...
    def step(self, state: Any, frame: VitalsFrame, now_ms: int, source: SourceOffset) -> tuple[Any, StepOutputs]: ...
    def ask(self, state: Any, now_ms: int) -> Ask | None: ...
    def heed(
        self, state: Any, ask: Ask, answers: Answers, now_ms: int, source: SourceOffset
    ) -> tuple[Any, HeededOutputs]: ...
    def newcomers(self, before: Any, after: Any) -> tuple[tuple[str, str], ...]: ...
    def past_of(
        self, state: Any, patient: str, bed: str, origin: str
    ) -> tuple[tuple[PastVitals, ...], tuple[PatientFacts, ...]]: ...
    def dump(self, state: Any) -> bytes: ...
    def load(self, raw: bytes) -> Any: ...


class Newcomer(NamedTuple):
    """Somebody who was given a bed and of whose past the ward knows nothing."""

    ward: str
    bed: str
    patient: str


@dataclass(slots=True)
class Effects:
    """What one record led to. ``good`` is False when nothing of it could be used; ``asked_s`` is what it took the
    models to speak of each ward that was due, ``told_of`` the (ward, patient) whose past it told."""

    kind: Kind
    scores: list[ScoreFrame] = field(default_factory=list)
    transitions: list[AlertTransition] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    forecasts: list[VitalsForecast] = field(default_factory=list)
    newcomers: list[Newcomer] = field(default_factory=list)
    told_of: list[tuple[str, str]] = field(default_factory=list)
    asked_s: list[float] = field(default_factory=list)
    readings: int = 0
    late: int = 0
    duplicates: int = 0
    good: bool = True


class WardLog:
    """State of every ward of one partition after all records below ``sequence.expected``.

    ``own`` holds, after a restore, wards whose snapshot is newer than where reading starts: records below their offset
    are in their state already. Without ``counsel`` no model is asked.
    """

    def __init__(
        self,
        partition: int,
        core: Core,
        expected: int = 0,
        wards: Mapping[str, Any] | None = None,
        own: Mapping[str, int] | None = None,
        partitions: int = VITALS.partitions,
        counsel: Counsel | None = None,
    ) -> None:
        self.partition = partition
        self.core = core
        self.counsel = counsel
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
            if frame.beds or frame.actions or frame.past or frame.facts:
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
        before = self.wards.get(ward)
        try:
            before = self.core.fresh(ward) if before is None else before
            state, out = self.core.step(before, frame, record.at_ms, record.source)
            newcomers = self.core.newcomers(before, state) if frame.beds else ()
        except Exception as fault:  # the one guard: a fault of the core costs this record, never the ward's stream
            return _blamed(record, fault)
        self.wards[ward] = state
        return Effects(
            _kind(frame),
            [] if out.scores is None else [out.scores],
            list(out.transitions),
            newcomers=[Newcomer(ward, bed, patient) for bed, patient in newcomers],
            told_of=[(ward, past.patient) for past in frame.past],
            readings=out.readings,
            late=out.late,
            duplicates=out.duplicates,
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
        asks = self._asks(record, after, effects) if self.counsel is not None else {}
        if self.counsel is not None and asks:
            spoken = await self.counsel.aside(partial(self._consult, self.counsel, record, after, asks))
            effects.scores += spoken.scores
            effects.forecasts += spoken.forecasts
            effects.transitions += spoken.transitions
            effects.letters += spoken.letters
            effects.asked_s += spoken.asked_s
        self.wards.update(after)
        return effects

    def _asks(self, record: LogRecord, wards: dict[str, Any], effects: Effects) -> dict[str, Ask]:
        """What is to be asked about each ward that is due. Found here and not beside the event loop, so that a tick at
        which nothing is due need not wait for the models of other partitions."""
        asks: dict[str, Ask] = {}
        for ward, state in wards.items():
            try:
                ask = self.core.ask(state, record.at_ms)
            except Exception as fault:  # as above
                effects.letters += _blamed(record, fault).letters
                continue
            if ask is not None:
                asks[ward] = ask
        return asks

    def _consult(self, counsel: Counsel, record: LogRecord, wards: dict[str, Any], asks: dict[str, Ask]) -> Effects:
        """Have the models answer, and heed them: ``wards`` then holds the states afterwards.

        Touches nothing else, for it may run beside the event loop.
        """
        effects, core = Effects("tick"), self.core
        for ward, ask in asks.items():
            began = perf_counter()
            try:
                answers = counsel.answer(ask)
                wards[ward], heeded = core.heed(wards[ward], ask, answers, record.at_ms, record.source)
            except Exception as fault:  # as above
                effects.letters += _blamed(record, fault).letters
                continue
            effects.transitions += heeded.transitions
            effects.scores += () if heeded.scores is None else (heeded.scores,)
            effects.forecasts += () if heeded.forecast is None else (heeded.forecast,)
            effects.asked_s.append(perf_counter() - began)
        return effects


def _kind(frame: VitalsFrame) -> Kind:
    if frame.beds:
        return "readings"
    if frame.actions:
        return "actions"
    return "past" if frame.past or frame.facts else "empty"


@lru_cache(maxsize=65_536)
def _partition_of(ward: str, partitions: int) -> int:
    return partition_for(ward, partitions)


def _blamed(record: LogRecord, fault: Exception) -> Effects:
    poison = Poison("core_fault", f"{type(fault).__name__}: {fault}")
    return Effects("poison", letters=[dead_letter(record, poison)], good=False)


def dead_letter(record: LogRecord, poison: Poison, part: bytes | None = None, by: str = WORKER) -> DeadLetter:
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
        by=by,
        at_ms=record.at_ms,
        raw=raw,
        key=record.key,
        partial=part is not None,
    )
