"""Steps and asks together are a function of the log, whatever is told twice, told between, or killed."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.records import BedReadings, ModelRef, PatientFacts, Reading, Vital, VitalsFrame
from contracts.topology import CLOCK_KEY
from models.ports import ANOMALY
from models.ward.core import WardCore
from models.ward.policy import load_policy
from models.ward.state import BedState, WardState
from tests.unit.models.bedside import T0, check_ledger
from tests.unit.models.beside import SERVING, a_past, running_means, source

DEEP = os.environ.get("WARDSTREAM_TEST_DEPTH", "") == "deep"
CORE = WardCore(load_policy())

Log = list[tuple[VitalsFrame, int]]


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """Some minutes of a ward: ticks each few seconds, beds that come and go and change places, models that change."""
    log: Log = []
    second = 0
    for _ in range(draw(st.integers(20, 60))):
        second += draw(st.integers(1, 8))
        at_ms = T0 + second * 1000
        what = draw(st.sampled_from(["tick", "tick", "frame", "frame", "frame", "past"]))
        frame = VitalsFrame(version=1, ward="W1", gateway="g1", seq=second, at_ms=at_ms)
        if what == "tick":
            version = draw(st.sampled_from(["aaaaaaaaaaaa"] * 9 + ["bbbbbbbbbbbb"]))
            champions = {**SERVING, ANOMALY: version}
            models = tuple(ModelRef(name=name, version=champion) for name, champion in champions.items())
            frame = VitalsFrame(version=1, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=0, at_ms=at_ms, models=models)
        elif what == "frame":
            patients = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3, unique=True))
            moved = draw(st.sampled_from([0] * 9 + [1]))
            frame = msgspec.structs.replace(
                frame, beds=tuple(a_bed(patient, moved, draw(st.integers(60, 140))) for patient in patients)
            )
        else:
            patient = f"p-{draw(st.integers(1, 4))}"
            past = a_past(second - 60, draw(st.integers(1, 90)), 70.0, patient)
            facts = PatientFacts(patient=patient, age_years=float(draw(st.integers(18, 99))))
            frame = msgspec.structs.replace(frame, past=(past,), facts=(facts,))
        log.append((frame, at_ms + 200))
    return log


def a_bed(patient: int, moved: int, rate: int) -> BedReadings:
    said = (Reading(vital=Vital.HEART_RATE, value=float(rate)), Reading(vital=Vital.SPO2, value=97.0))
    return BedReadings(bed=f"B{patient + moved}", patient=f"p-{patient}", readings=said)


class Run:
    """One reading of a log; ``written`` is what its models led to and every alarm, as bytes."""

    def __init__(self, ward: str = "W1") -> None:
        self.state = CORE.fresh(ward)
        self.written: list[bytes] = []
        self.told: list[Any] = []
        self.asks: list[tuple[int, bool]] = []

    def take(self, offset: int, frame: VitalsFrame, now_ms: int) -> None:
        """One record, and what is asked after it."""
        self.state, out = CORE.step(self.state, frame, now_ms, source(offset))
        self._write(out.transitions)
        if frame.ward != CLOCK_KEY:
            return
        ask = CORE.ask(self.state, now_ms)
        if ask is not None:
            self.asks.append((now_ms // 10_000, ask.risks))
            self.state, heeded = CORE.heed(self.state, ask, running_means(ask), now_ms, source(offset))
            self.written.append(msgspec.json.encode((heeded.scores, heeded.forecast)))
            self._write(heeded.transitions)

    def _write(self, transitions: tuple[Any, ...]) -> None:
        self.told += transitions
        self.written += [msgspec.json.encode(t) for t in transitions]

    def kill(self) -> None:
        """Nothing is left but the snapshot."""
        raw = CORE.dump(self.state)
        self.state = CORE.load(raw)
        assert CORE.dump(self.state) == raw


def whole(log: Log) -> Run:
    run = Run()
    for offset, (frame, now_ms) in enumerate(log):
        run.take(offset, frame, now_ms)
    return run


few = settings(
    max_examples=200 if DEEP else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@few
@given(logs(), st.data())
def test_a_kill_after_any_record_changes_no_byte(log: Log, data: st.DataObject) -> None:
    once = whole(log)
    check_ledger(once.told)
    killed = Run()
    kills = data.draw(st.sets(st.integers(0, len(log) - 1)))
    for offset, (frame, now_ms) in enumerate(log):
        killed.take(offset, frame, now_ms)
        if offset in kills:
            killed.kill()
    assert killed.written == once.written
    assert CORE.dump(killed.state) == CORE.dump(once.state)


@few
@given(logs(), st.data())
def test_records_told_twice_lead_to_nothing_new(log: Log, data: st.DataObject) -> None:
    once, twice = whole(log), Run()
    for offset, (frame, now_ms) in enumerate(log):
        twice.take(offset, frame, now_ms)
        if data.draw(st.booleans()):
            twice.take(offset, frame, now_ms)
    assert twice.written == once.written


@few
@given(logs(), logs())
def test_wards_read_in_turn_say_what_each_says_alone(log: Log, other: Log) -> None:
    alone, beside = whole(log), Run()
    neighbour = Run("W9")
    for offset, (frame, now_ms) in enumerate(log):
        beside.take(offset, frame, now_ms)
        if offset < len(other):
            elsewhere, then_ms = other[offset]
            ward = elsewhere.ward if elsewhere.ward == CLOCK_KEY else "W9"
            neighbour.take(offset, msgspec.structs.replace(elsewhere, ward=ward), then_ms)
    assert beside.written == alone.written


@few
@given(logs())
def test_a_slot_is_asked_about_once(log: Log) -> None:
    slots = [slot for slot, _ in whole(log).asks]
    assert len(slots) == len(set(slots))


def test_what_a_core_before_models_wrote_is_read_and_asked_about() -> None:
    run = Run()
    for second in range(30):
        frame = VitalsFrame(
            version=1, ward="W1", gateway="g1", seq=second, at_ms=T0 + second * 1000, beds=(a_bed(1, 0, 80),)
        )
        run.take(second, frame, T0 + second * 1000)
    old = [*msgspec.msgpack.decode(CORE.dump(run.state))[1][:8]]
    old[1] = {patient: [*bed[:16], *bed[16:19]] for patient, bed in old[1].items()}
    run.state = CORE.load(msgspec.msgpack.encode((1, old)))
    assert run.state.beds["p-1"].history.minute == 0
    assert run.state.beds["p-1"].vitals[0] is not None
    tick = tuple(ModelRef(name=name, version=version) for name, version in SERVING.items())
    for second in range(30, 60):
        at_ms = T0 + second * 1000
        run.take(second, VitalsFrame(version=1, ward=CLOCK_KEY, gateway="c", seq=0, at_ms=at_ms, models=tick), at_ms)
        frame = VitalsFrame(version=1, ward="W1", gateway="g1", seq=second, at_ms=at_ms, beds=(a_bed(1, 0, 80),))
        run.take(second, frame, at_ms)
    assert len(run.asks) >= 2


def test_a_bed_with_a_full_day_and_full_memories_costs_less_than_eight_kilobytes() -> None:
    run = Run()
    values = {Vital.HEART_RATE: 80.0, Vital.RESPIRATION: 16.0, Vital.SPO2: 97.0, Vital.SYSTOLIC: 120.0}
    values |= {Vital.DIASTOLIC: 80.0, Vital.MEAN_PRESSURE: 93.0, Vital.TEMPERATURE: 37.0}
    for minute in range(26 * 60):
        said = tuple(Reading(vital=vital, value=value + minute % 3) for vital, value in values.items())
        beds = tuple(BedReadings(bed=f"B{n}", patient=f"p-{n}", readings=said) for n in range(3))
        at_ms = T0 + minute * 60_000
        frame = VitalsFrame(version=1, ward="W1", gateway="g1", seq=minute, at_ms=at_ms, beds=beds)
        run.take(minute, frame, at_ms)
    rng = np.random.default_rng(1)
    state = msgspec.structs.replace(run.state, beds={p: crammed(bed, rng) for p, bed in run.state.beds.items()})
    assert len(CORE.dump(state)) / 3 < 8 * 1024


def crammed(bed: BedState, rng: np.random.Generator) -> BedState:
    memories = {name: rng.bytes(1536) for name in SERVING}
    facts = PatientFacts(patient=bed.patient, age_years=71.0, sex="female", admitted_ms=T0)
    return msgspec.structs.replace(bed, memories=memories, facts=facts)


def test_equal_states_are_equal_bytes_whatever_order_memories_came_in() -> None:
    run = Run()
    bed = a_bed(1, 0, 80)
    run.take(0, VitalsFrame(version=1, ward="W1", gateway="g", seq=0, at_ms=T0, beds=(bed,)), T0)
    names = sorted(SERVING)
    champions = [ModelRef(name=name, version=SERVING[name]) for name in names]
    states: list[WardState] = []
    for order in (champions, champions[::-1]):
        other = Run()
        other.state = run.state
        tick = VitalsFrame(version=1, ward=CLOCK_KEY, gateway="c", seq=0, at_ms=T0, models=tuple(order))
        for second in range(1, 40):
            other.take(second, tick, T0 + second * 1000)
        states.append(other.state)
    assert CORE.dump(states[0]) == CORE.dump(states[1])


def test_who_comes_from_another_ward_is_told_of_as_they_were_there() -> None:
    here, there = Run(), Run("W9")
    for minute in range(90):
        at_ms = T0 + minute * 60_000
        frame = VitalsFrame(
            version=1, ward="W1", gateway="g", seq=minute, at_ms=at_ms, beds=(a_bed(1, 0, 70 + minute % 9),)
        )
        here.take(minute, frame, at_ms)
    known = PatientFacts(patient="p-1", age_years=71.0)
    here.take(90, VitalsFrame(version=1, ward="W1", gateway="g", seq=90, at_ms=T0, facts=(known,)), at_ms)
    at_ms += 60_000
    fresh, arrival = there.state, a_bed(1, 4, 80)
    there.take(0, VitalsFrame(version=1, ward="W9", gateway="g", seq=0, at_ms=at_ms, beds=(arrival,)), at_ms)
    assert CORE.newcomers(fresh, there.state) == (("B5", "p-1"),)
    past, facts = CORE.past_of(here.state, "p-1", "B5", "topic")
    assert {(told.bed, told.origin) for told in past} == {("B5", "topic")}
    told = VitalsFrame(version=1, ward="W9", gateway="w", seq=0, at_ms=at_ms, past=past, facts=facts)
    before = there.state
    there.take(1, told, at_ms)
    assert CORE.newcomers(before, there.state) == ()
    bed, was = there.state.beds["p-1"], here.state.beds["p-1"]
    assert bed.facts == known
    assert bed.history.minutes[:-12] == was.history.moved_to(at_ms // 60_000).minutes[:-12]
    assert CORE.past_of(here.state, "p-7", "B1", "topic") == ((), ())
