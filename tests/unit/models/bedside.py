"""A ward's log written by hand: what the gateways, the clock and people say, second by second, to a core under test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import EllipsisType
from typing import Any, Protocol

import msgspec

from contracts.records import (
    ActionKind,
    AlarmEvent,
    AlarmState,
    AlertAction,
    AlertTransition,
    BedReadings,
    BedScore,
    Category,
    Quality,
    Reading,
    Source,
    SourceOffset,
    Vital,
    VitalsFrame,
)
from contracts.topology import CLOCK_KEY
from models.ward import core as real_core
from models.ward import policy as real_policy
from models.ward import state as real_state

T0 = 1_767_340_800_000
APPEND_MS = 200
"""From a device's tick to its record in the log."""

Value = float | str | Reading | EllipsisType | None
Values = Mapping[str, Value | Callable[[int], Value]]


class Core(Protocol):
    """What the real core and a mutant of it have in common."""

    policy_hash: str

    def fresh(self, ward: str) -> Any: ...

    def step(self, state: Any, frame: VitalsFrame, now_ms: int, source: SourceOffset) -> tuple[Any, Any]: ...

    def dump(self, state: Any) -> bytes: ...

    def load(self, raw: bytes) -> Any: ...


class Lab(msgspec.Struct, frozen=True):
    """The core's modules, real or mutated."""

    core: Any = real_core
    policy: Any = real_policy
    state: Any = real_state


REAL = Lab()


def healthy(second: int) -> dict[str, Value]:
    """A patient at rest; the pulse varies, as a living one does."""
    return {"heart_rate": 78.0 + second % 3, "respiration": 16.0, "spo2": 97.0}


class Bedside:
    """A ward whose log is being written. ``told``: every transition so far; ``score``: the last one of each patient."""

    def __init__(self, lab: Lab = REAL, policy: str | None = None, ward: str = "W1") -> None:
        base = lab.policy.load_policy() if policy is None else lab.policy.parse_policy(policy.encode())
        self.core: Core = lab.core.WardCore(base)
        self.ward = ward
        self.state = self.core.fresh(ward)
        self.log: list[tuple[VitalsFrame, int]] = []
        self.told: list[AlertTransition] = []
        self.outputs: list[Any] = []
        self.score: dict[str, BedScore] = {}
        self.sent = 0

    def put(self, frame: VitalsFrame, now_ms: int) -> Any:
        """One record of the log."""
        before = self.core.dump(self.state)
        after, out = self.core.step(self.state, frame, now_ms, self._source(len(self.log)))
        assert self.core.dump(self.state) == before, "the state that was handed in has changed"
        self.state = after
        self.log.append((frame, now_ms))
        self.outputs.append(out)
        self.told.extend(out.transitions)
        if out.scores is not None:
            self.score.update({bed.patient: bed for bed in out.scores.beds})
        return out

    def tick(self, second: float) -> Any:
        """A clock tick of the log."""
        now_ms = T0 + int(second * 1000)
        return self.put(VitalsFrame(version=1, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=0, at_ms=now_ms), now_ms)

    def read(
        self, second: float, bed: str = "B1", patient: str = "p-1", append_s: float = APPEND_MS / 1000, **values: Value
    ) -> Any:
        """One frame of one bed, taken at ``second`` and appended ``append_s`` later."""
        return self.frame(second, {(bed, patient): values}, append_s)

    def frame(
        self, second: float, beds: Mapping[tuple[str, str], Mapping[str, Value]], append_s: float = APPEND_MS / 1000
    ) -> Any:
        """One frame of several beds."""
        self.sent += 1
        said = tuple(
            BedReadings(bed=bed, patient=patient, readings=readings(values)) for (bed, patient), values in beds.items()
        )
        at_ms = T0 + int(second * 1000)
        record = VitalsFrame(version=1, ward=self.ward, gateway="g1", seq=self.sent, at_ms=at_ms, beds=said)
        return self.put(record, at_ms + int(append_s * 1000))

    def live(self, start: int, stop: int, bed: str = "B1", patient: str = "p-1", **values: Any) -> None:
        """Seconds ``start`` to ``stop - 1``: a tick and a frame each; a value may be a function of the second."""
        for second in range(start, stop):
            self.tick(second)
            now = {name: value(second) if callable(value) else value for name, value in values.items()}
            self.read(second, bed, patient, **(healthy(second) | now))

    def wait(self, start: int, stop: int) -> None:
        """Ticks only."""
        for second in range(start, stop):
            self.tick(second)

    def act(self, second: float, kind: ActionKind, bed: str = "B1", **fields: Any) -> Any:
        """A person's action."""
        self.sent += 1
        now_ms = T0 + int(second * 1000)
        said: dict[str, Any] = {
            "action_id": f"a{self.sent}",
            "actor": "nurse-1",
            "role": "nurse",
            "at_ms": now_ms,
        } | fields
        action = AlertAction(version=1, ward=self.ward, bed=bed, kind=kind, **said)
        record = VitalsFrame(
            version=1, ward=self.ward, gateway="actions", seq=self.sent, at_ms=now_ms, actions=(action,)
        )
        return self.put(record, now_ms)

    def restart(self) -> None:
        """Crash and come back from the snapshot."""
        raw = self.core.dump(self.state)
        self.state = self.core.load(raw)
        assert self.core.dump(self.state) == raw, "a snapshot does not come back as it was written"

    def replay(self) -> list[bytes]:
        """The outputs of the whole log from its start, as bytes."""
        state, written = self.core.fresh(self.ward), []
        for offset, (frame, now_ms) in enumerate(self.log):
            state, out = self.core.step(state, frame, now_ms, self._source(offset))
            written.append(as_bytes(out))
        assert self.core.dump(state) == self.core.dump(self.state), "a replay ends in another state"
        return written

    def of(self, condition: str) -> list[AlertTransition]:
        """The transitions of one condition."""
        return [t for t in self.told if t.condition == condition]

    def events(self, condition: str) -> list[AlarmEvent]:
        """What happened to one condition, in order."""
        return [t.event for t in self.of(condition)]

    def open_alarm(self, condition: str, patient: str = "p-1") -> Any:
        """The alarm as the core holds it now; None when there is none."""
        return self.state.beds[patient].alarms.get(condition)

    def _source(self, offset: int) -> SourceOffset:
        return SourceOffset(topic="log", partition=0, offset=offset)


def readings(values: Mapping[str, Value]) -> tuple[Reading, ...]:
    """Readings of plain values; ``...`` leaves a vital out, ``None`` is "no signal"."""
    said = []
    for name, value in values.items():
        if isinstance(value, Reading):
            said.append(value)
        elif value is None:
            said.append(Reading(vital=Vital(name), value=None, quality=Quality.NO_SIGNAL))
        elif not isinstance(value, EllipsisType):
            said.append(Reading(vital=Vital(name), value=value))
    return tuple(said)


def cuff(vital: str, value: float, second: float | None = None) -> Reading:
    """A cuff's measurement, taken once."""
    at_ms = None if second is None else T0 + int(second * 1000)
    return Reading(vital=Vital(vital), value=value, at_ms=at_ms, source=Source.CUFF)


def as_bytes(out: Any) -> bytes:
    """Everything that a step puts out, as it would travel."""
    return msgspec.json.encode((out.scores, out.transitions, out.readings, out.late, out.duplicates))


def second_of(at_ms: int) -> float:
    """Seconds since the start of the log."""
    return (at_ms - T0) / 1000


def expected_id(policy: str, patient: str, condition: str, onset_ms: int) -> str:
    """The alert id by its published definition, worked out here."""
    return hashlib.sha256(f"{policy}|{patient}|{condition}|{onset_ms}".encode()).hexdigest()[:16]


class Ledger:
    """The alerts as a sink sees them; refuses what must never be, whatever led to it."""

    def __init__(self) -> None:
        self.lives: dict[str, list[AlertTransition]] = {}
        self.open: dict[tuple[str, str], AlertTransition] = {}

    def add(self, t: AlertTransition) -> None:
        """One transition, in the order in which the core told it."""
        life = self.lives.setdefault(t.alert_id, [])
        assert t.seq == len(life), f"{t.condition} {t.alert_id}: seq {t.seq} follows {len(life) - 1}"
        if life:
            _check_step(life[-1], t)
        else:
            assert (t.event, t.state) == (AlarmEvent.RAISED, AlarmState.ACTIVE), f"an alert begins with {t.event}"
            assert t.alert_id == expected_id(t.policy, t.patient, t.condition, t.onset_ms)
            assert (t.patient, t.condition) not in self.open, f"two open alerts of {t.condition}"
        if t.category is Category.TECHNICAL:
            assert t.state is not AlarmState.LATCHED, "a technical alarm latches"
        if t.state is AlarmState.INACTIVE:
            del self.open[(t.patient, t.condition)]
        else:
            self.open[(t.patient, t.condition)] = t
        life.append(t)


def check_ledger(told: Iterable[AlertTransition]) -> None:
    """What must be true of any sequence of transitions."""
    ledger = Ledger()
    for t in told:
        ledger.add(t)


def _check_step(before: AlertTransition, t: AlertTransition) -> None:
    assert before.state is not AlarmState.INACTIVE, f"{t.alert_id} lives on after its end"
    assert (t.patient, t.condition, t.onset_ms, t.policy, t.category) == (
        before.patient,
        before.condition,
        before.onset_ms,
        before.policy,
        before.category,
    )
    rank = ("low", "medium", "high")
    assert rank.index(t.priority) >= rank.index(before.priority), "a priority fell within an episode"
    by_hand = t.actor is not None
    allowed: Mapping[AlarmEvent, Sequence[AlarmState]] = {
        AlarmEvent.PRIORITY_RAISED: [AlarmState.ACTIVE],
        AlarmEvent.ACKNOWLEDGED: [AlarmState.ACKNOWLEDGED, AlarmState.INACTIVE],
        AlarmEvent.REALARMED: [AlarmState.ACTIVE],
        AlarmEvent.LATCHED: [AlarmState.LATCHED],
        AlarmEvent.CLEARED: [AlarmState.INACTIVE],
    }
    assert t.state in allowed.get(t.event, [before.state]), f"{t.event} leads to {t.state}"
    if t.event is AlarmEvent.ACKNOWLEDGED:
        assert by_hand, "acknowledged by nobody"
        assert t.state is (AlarmState.INACTIVE if before.state is AlarmState.LATCHED else AlarmState.ACKNOWLEDGED), (
            f"acknowledging a {before.state} alarm leads to {t.state}"
        )
    if before.state is AlarmState.LATCHED and t.state is AlarmState.INACTIVE:
        released = by_hand or t.note == "bed given to another patient"
        assert released, "a latched alarm ended by itself"
