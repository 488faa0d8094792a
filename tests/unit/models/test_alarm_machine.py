"""The alarms under whatever a ward may do to them, in any order: Hypothesis writes the log, the promises are kept.

WARDSTREAM_TEST_DEPTH=deep runs thousands of shifts; without it a few, for every day.
"""

from __future__ import annotations

import os
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from contracts.records import (
    ActionKind,
    AlarmEvent,
    AlarmState,
    Category,
    Priority,
    Quality,
    Reading,
    Source,
    Tag,
    Vital,
    VitalsFrame,
)
from contracts.topology import CLOCK_KEY
from tests.unit.models.bedside import T0, Bedside, Ledger, Values, as_bytes

DEEP = os.environ.get("WARDSTREAM_TEST_DEPTH", "") == "deep"
RANK: Final = {Priority.LOW: 0, Priority.MEDIUM: 1, Priority.HIGH: 2}
USABLE: Final = {Tag.OK, Tag.CLOCK_SUSPECT}

SILENCE_S, NO_SIGNAL_S, IMPLAUSIBLE_S, REALARM_S, PAUSE_MAX_S, RELEVANT_S = 6, 5, 3, 20, 15, 30
POLICY: Final = f"""
version = 1
name = "quick-shift"
[limits.heart_rate]
extreme_low = 40.0
low = 50.0
high = 120.0
extreme_high = 140.0
hysteresis = 2.0
delay_s = 4.0
extreme_delay_s = 2.0
[limits.spo2]
extreme_low = 85.0
low = 90.0
hysteresis = 1.0
delay_s = 5.0
extreme_delay_s = 3.0
[limits.systolic]
extreme_low = 70.0
low = 90.0
hysteresis = 3.0
delay_s = 4.0
extreme_delay_s = 2.0
[stale_after_s]
heart_rate = 20.0
respiration = 20.0
spo2 = 20.0
systolic = 600.0
diastolic = 600.0
mean_pressure = 600.0
temperature = 600.0
supplemental_oxygen = 600.0
consciousness = 600.0
[technical]
silence_after_s = {SILENCE_S}.0
no_signal_after_s = {NO_SIGNAL_S}.0
implausible_after_s = {IMPLAUSIBLE_S}.0
clock_after_s = 5.0
[technical.frozen_after_s]
heart_rate = 30.0
[news2]
delay_s = 4.0
[alarm]
realarm_after_s = {REALARM_S}.0
escalate_after_s = 12.0
audio_pause_s = 10.0
audio_pause_max_s = {PAUSE_MAX_S}.0
relevant_s = {RELEVANT_S}.0
"""

ZONES: Final[dict[str, dict[str, float]]] = {
    "heart_rate": {"normal": 80.0, "edge": 119.0, "high": 130.0, "very high": 150.0, "low": 45.0, "very low": 30.0},
    "spo2": {"normal": 97.0, "edge": 90.0, "low": 87.0, "very low": 75.0},
    "systolic": {"normal": 120.0, "edge": 91.0, "low": 80.0, "very low": 60.0},
    "respiration": {"normal": 16.0, "high": 26.0},
}
BREACH: Final = {
    ("heart_rate", "high"): "heart_rate_high",
    ("heart_rate", "very high"): "heart_rate_high",
    ("heart_rate", "low"): "heart_rate_low",
    ("heart_rate", "very low"): "heart_rate_low",
    ("spo2", "low"): "spo2_low",
    ("spo2", "very low"): "spo2_low",
    ("systolic", "low"): "systolic_low",
    ("systolic", "very low"): "systolic_low",
}
BEDS: Final = st.sampled_from(["B1", "B2"])
WHERE: Final = st.sampled_from([(vital, zone) for vital, zones in ZONES.items() for zone in zones])


class Shift(Bedside):
    """A log whose every record is followed by a look at all that must hold."""

    def __init__(self) -> None:
        super().__init__(policy=POLICY)
        self.ledger = Ledger()
        self.sent_values: set[tuple[str, Vital, Any]] = set()
        self.clock_ms = 0
        self.spoke_ms: dict[str, int] = {}
        self.certain_ms: dict[str, int] = {}
        self.log_ms = 0

    def put(self, frame: VitalsFrame, now_ms: int) -> Any:
        before = self.state
        now_ms = max(now_ms, self.log_ms)
        passed = now_ms - self.log_ms if self.log_ms else 0
        self.clock_ms += passed if passed <= 2500 else 1000
        self.log_ms = now_ms
        state, out = self.core.step(before, frame, now_ms, self._source(len(self.log)))
        self.state = state
        self.log.append((frame, now_ms))
        self.outputs.append(out)
        for bed in frame.beds:
            self.spoke_ms[bed.patient] = self.clock_ms
            self.certain_ms.setdefault(bed.patient, self.clock_ms)
            self.sent_values.update((bed.patient, r.vital, r.value) for r in bed.readings)
        for t in out.transitions:
            self.told.append(t)
            self.ledger.add(t)
            assert t.source.offset == len(self.log) - 1
            assert t.value is None or t.condition == "news2" or (t.patient, t.vital, t.value) in self.sent_values
        self._look(before, out)
        return out

    def _look(self, before: Any, out: Any) -> None:
        open_now = {
            (patient, condition): (alarm.alert_id, alarm.state)
            for patient, bed in self.state.beds.items()
            for condition, alarm in bed.alarms.items()
            if alarm.state is not AlarmState.PENDING
        }
        assert open_now == {key: (t.alert_id, t.state) for key, t in self.ledger.open.items()}, (
            "state and ledger differ"
        )
        for patient, bed in self.state.beds.items():
            self._look_at_silence(patient, bed)
            for alarm in bed.alarms.values():
                if alarm.state is AlarmState.ACKNOWLEDGED:
                    assert self.log_ms - alarm.acked_ms < (REALARM_S + 1) * 1000, "acknowledged for ever"
                if alarm.audio_until_ms is not None:
                    assert -1000 < alarm.audio_until_ms - self.log_ms <= PAUSE_MAX_S * 1000, "paused for ever"
            assert bed.quiet_until_ms - self.log_ms <= PAUSE_MAX_S * 1000
            self._look_at_losses(bed)
        for t in out.transitions:
            if t.event in (AlarmEvent.RAISED, AlarmEvent.PRIORITY_RAISED) and t.patient in before.beds:
                bed = before.beds[t.patient]
                if bed.quiet_until_ms > self.log_ms and RANK[t.priority] > bed.quiet_rank:
                    muted = [a for a in self.state.beds[t.patient].alarms.values() if a.audio_until_ms is not None]
                    assert not muted, "a higher priority did not break the pause"
            if t.event is AlarmEvent.RAISED and t.condition == "silence":
                assert self.clock_ms - self.certain_ms[t.patient] > SILENCE_S * 1000, "silent too soon"
        if out.scores is not None:
            for scored in out.scores.beds:
                self._look_at_score(scored)

    def _look_at_silence(self, patient: str, bed: Any) -> None:
        if self.clock_ms - self.spoke_ms[patient] > (SILENCE_S + 2) * 1000:
            alarm = bed.alarms.get("silence")
            assert alarm is not None, "a silent bed without an alarm"
            assert alarm.state in (AlarmState.ACTIVE, AlarmState.ACKNOWLEDGED)

    def _look_at_losses(self, bed: Any) -> None:
        for i, name in ((0, "heart_rate"), (1, "respiration"), (2, "spo2")):
            vital = bed.vitals[i]
            grace_ms = (NO_SIGNAL_S + IMPLAUSIBLE_S + 1) * 1000
            if vital is None or bed.newest_ms - (vital.good_ms or vital.same_since_ms) < grace_ms:
                continue
            if vital.tag is Tag.CUFF_INTERFERENCE and bed.newest_ms - vital.at_ms < NO_SIGNAL_S * 1000:
                continue
            alarms = [bed.alarms.get(f"{name}_{word}") for word in ("no_signal", "implausible", "frozen")]
            assert any(
                a is not None
                and (a.state is not AlarmState.PENDING or bed.newest_ms - a.onset_ms < IMPLAUSIBLE_S * 1000)
                for a in alarms
            ), f"{name} lost unnoticed"

    def _look_at_score(self, scored: Any) -> None:
        tags = {}
        for v in scored.values:
            assert (scored.patient, v.vital, v.value) in self.sent_values, "a value was changed"
            tags[v.vital] = v.tag
        assert 0 <= scored.news2.minimum <= scored.news2.maximum <= 20
        for component in scored.news2.components:
            if component.points is not None:
                assert tags[component.vital] in USABLE, f"{component.vital} scored as {tags[component.vital]}"
        states = {a.condition: a.state for a in scored.alarms}
        assert states == {c: a.state for c, a in self.state.beds[scored.patient].alarms.items()}


class WardShift(RuleBasedStateMachine):
    """One ward with two beds through a shift."""

    actions = Bundle("actions")

    @initialize()
    def begin(self) -> None:
        self.ward = Shift()
        self.second = 0
        self.last: tuple[VitalsFrame, float] | None = None
        self.patients = {"B1": "p-1", "B2": "p-2"}
        self.number = 2
        self.kept: tuple[Any, bytes] = (self.ward.state, self.ward.core.dump(self.ward.state))

    def _say(self, second: float, bed: str, values: Values, append_s: float = 0.2, certain: bool = False) -> Any:
        self.ward.sent += 1
        out = self.ward.frame(second, {(bed, self.patients[bed]): values}, append_s)  # type: ignore[dict-item]  # no callables
        if certain and not out.late and not out.duplicates:
            self.ward.certain_ms[self.patients[bed]] = self.ward.clock_ms
        return out

    def _normal(self, bed: str) -> dict[str, Any]:
        return {"heart_rate": 78.0 + self.second % 5, "respiration": 16.0, "spo2": 97.0}

    def _second(self, speaking: tuple[str, ...] = ("B1", "B2"), **changed: Any) -> None:
        """One second: a tick, and a frame of every speaking bed; ``changed`` at B1 only."""
        self.second += 1
        self.ward.tick(self.second)
        for bed in speaking:
            self._say(self.second, bed, self._normal(bed) | (changed if bed == speaking[0] else {}), certain=True)

    def _order(self, bed: str) -> tuple[str, ...]:
        return (bed, *(other for other in self.patients if other != bed))

    @rule(bed=BEDS, where=WHERE, seconds=st.integers(1, 14))
    def a_while(self, bed: str, where: tuple[str, str], seconds: int) -> None:
        vital, zone = where
        for _ in range(seconds):
            self._second(self._order(bed), **{vital: ZONES[vital][zone] + self.second % 2 * 0.5})
        condition = BREACH.get(where)
        if condition is None or seconds < 13:
            return
        state = self.ward.state.beds[self.patients[bed]]
        alarm = state.alarms.get(condition)
        if vital == "spo2" and any(v.tag is Tag.CUFF_INTERFERENCE for v in state.vitals if v is not None):
            return
        assert alarm is not None, "a lasting breach raised nothing"
        assert alarm.state in (AlarmState.ACTIVE, AlarmState.ACKNOWLEDGED), alarm

    @rule(bed=BEDS, age=st.integers(2, 50), value=st.sampled_from([30.0, 150.0, 80.0]))
    def a_late_reading(self, bed: str, age: int, value: float) -> None:
        out = self._say(self.second - age + 0.5, bed, {"heart_rate": value, "spo2": 70.0}, append_s=age)
        if out.late == 2:
            raised = [t for t in out.transitions if t.event is AlarmEvent.RAISED]
            assert not [t for t in raised if t.category is Category.PHYSIOLOGICAL and t.condition != "news2"]

    @precondition(lambda self: len(self.ward.log) > 3)
    @rule(back=st.integers(1, 3))
    def a_duplicate(self, back: int) -> None:
        frame = self.ward.log[-back][0]
        if frame.ward == CLOCK_KEY or any(self.patients.get(b.bed) != b.patient for b in frame.beds):
            return
        out = self.ward.put(frame, self.ward.log_ms)
        assert not [t for t in out.transitions if t.event is AlarmEvent.RAISED and t.actor is not None]
        if frame.actions:
            assert not [t for t in out.transitions if t.actor is not None], "an action was done twice"

    @rule(bed=BEDS, order=st.permutations(range(6)), value=st.sampled_from([97.0, 75.0]))
    def shuffled(self, bed: str, order: list[int], value: float) -> None:
        self.second += 6
        self.ward.tick(self.second)
        for n in order:
            self._say(self.second - 5 + n, bed, self._normal(bed) | {"spo2": value}, append_s=5.2 - n)

    @rule(
        bed=BEDS,
        vital=st.sampled_from(["heart_rate", "respiration", "spo2"]),
        how=st.sampled_from([None, ...]),
        seconds=st.integers(1, 15),
    )
    def dropout(self, bed: str, vital: str, how: Any, seconds: int) -> None:
        for _ in range(seconds):
            self._second(self._order(bed), **{vital: how})

    @rule(
        bed=BEDS,
        vital=st.sampled_from(["heart_rate", "respiration", "spo2", "temperature"]),
        value=st.sampled_from([0.0, 5.0, 45.0, 98.6, 400.0, -7.0]),
        seconds=st.integers(1, 8),
    )
    def odd_values(self, bed: str, vital: str, value: float, seconds: int) -> None:
        for _ in range(seconds):
            self._second(self._order(bed), **{vital: value})

    @rule(bed=BEDS, value=st.sampled_from([120.0, 80.0, 60.0]), seconds=st.integers(0, 9))
    def a_cuff(self, bed: str, value: float, seconds: int) -> None:
        inflating = Reading(vital=Vital.SYSTOLIC, value=None, quality=Quality.MEASURING, source=Source.CUFF)
        for _ in range(seconds):
            self._second(self._order(bed), systolic=inflating, spo2=80.0)
        self._second(self._order(bed), systolic=Reading(vital=Vital.SYSTOLIC, value=value, source=Source.CUFF))

    @rule(bed=BEDS, seconds=st.integers(1, 15))
    def silent(self, bed: str, seconds: int) -> None:
        for _ in range(seconds):
            self._second(self._order(bed)[1:])

    @rule(bed=BEDS, seconds=st.integers(1, 10))
    def empty_frames(self, bed: str, seconds: int) -> None:
        for _ in range(seconds):
            self._second(self._order(bed)[1:])
            patient = self.patients[bed]
            spoke_ms = self.ward.spoke_ms.get(patient)
            self._say(self.second, bed, {})
            if spoke_ms is not None:
                self.ward.spoke_ms[patient] = spoke_ms

    @rule(gap=st.integers(3, 400))
    def outage(self, gap: int) -> None:
        self.second += gap
        self.ward.tick(self.second)

    @rule(ticks=st.integers(1, 12))
    def slow_ticks(self, ticks: int) -> None:
        for _ in range(ticks):
            self.second += 3
            self.ward.tick(self.second)

    @rule(
        bed=BEDS,
        off=st.sampled_from([-300, -40, -20, 4, 7, 60, 300]),
        seconds=st.integers(1, 15),
        jitter=st.integers(0, 4),
    )
    def skewed(self, bed: str, off: int, seconds: int, jitter: int) -> None:
        for n in range(seconds):
            self._second(self._order(bed)[1:])
            off_now = off + n * 3 % (jitter + 1)
            self._say(self.second + off_now, bed, self._normal(bed) | {"spo2": 87.0}, append_s=0.2 - off_now)
        assert all(t.at_ms <= self.ward.log_ms + 5000 for t in self.ward.told), "an alert from the future"

    @rule(
        target=actions,
        bed=BEDS,
        kind=st.sampled_from(ActionKind),
        text=st.sampled_from([None, "seen"]),
        pause=st.sampled_from([None, 1, 7, 9999]),
        which=st.sampled_from(["bed", "open", "stale", "unknown"]),
        pick=st.integers(0, 50),
    )
    def act(self, bed: str, kind: ActionKind, text: str | None, pause: int | None, which: str, pick: int) -> str:
        choices: dict[str, list[str | None]] = {
            "bed": [None],
            "open": [t.alert_id for t in self.ward.ledger.open.values()] or [None],
            "stale": [t.alert_id for t in self.ward.told if t.state is AlarmState.INACTIVE] or [None],
            "unknown": ["ffffffffffffffff"],
        }
        ids = choices[which]
        alert_id = ids[pick % len(ids)]
        open_before = dict(self.ward.ledger.open)
        beds_before = dict(self.ward.state.beds)
        out = self.ward.act(self.second, kind, bed, text=text, pause_s=pause, alert_id=alert_id)
        if kind is ActionKind.STANDBY:
            gone = beds_before.keys() - self.ward.state.beds.keys()
            if alert_id is None:  # the bed of that name; with an alert, the bed that holds it
                meant = {patient for patient, before in beds_before.items() if before.bed == bed}
            else:
                meant = {t.patient for t in open_before.values() if t.alert_id == alert_id}
            assert gone == meant, "standby of another bed than was meant"
            for patient in gone:
                self._gone(patient)
        elif which in ("stale", "unknown") and ids != [None]:
            assert not [t for t in out.transitions if t.actor is not None], "an action on an alert that is not open"
        for t in out.transitions:
            assert t.actor is None or (t.patient, t.condition) in open_before
        return f"a{self.ward.sent}"

    @rule(action_id=consumes(actions), bed=BEDS)
    def the_same_action_again(self, action_id: str, bed: str) -> None:
        out = self.ward.act(self.second, ActionKind.ACKNOWLEDGE, bed, action_id=action_id)
        assert not [t for t in out.transitions if t.actor is not None], "an action was done twice"

    def _gone(self, patient: str) -> None:
        self.ward.spoke_ms.pop(patient, None)
        self.ward.certain_ms.pop(patient, None)

    @rule()
    def two_change_places(self) -> None:
        self.patients = {"B1": self.patients["B2"], "B2": self.patients["B1"]}
        self.second += 1
        frame = {(bed, patient): self._normal(bed) for bed, patient in self.patients.items()}
        out = self.ward.frame(self.second, frame)
        for patient in self.patients.values():
            if not out.late and not out.duplicates:
                self.ward.certain_ms[patient] = self.ward.clock_ms

    @rule(bed=BEDS, back=st.booleans())
    def another_patient(self, bed: str, back: bool) -> None:
        self.number += 1
        leaving = self.patients[bed]
        others = {p for b, p in self.patients.items() if b != bed}
        self.patients[bed] = "p-1" if back and "p-1" not in others else f"p-{self.number}"
        self._second(self._order(bed))
        if leaving != self.patients[bed]:
            self._gone(leaving)

    @rule()
    def crash_and_restore(self) -> None:
        self.ward.restart()

    def teardown(self) -> None:
        if not hasattr(self, "ward"):
            return
        state, raw = self.kept
        assert self.ward.core.dump(state) == raw, "a state that was handed in has changed"
        assert self.ward.replay() == [as_bytes(out) for out in self.ward.outputs], "the same log, other bytes"
        assert self.ward.log_ms >= T0 or not self.ward.log


SETTINGS = settings(
    max_examples=5000 if DEEP else 40,
    stateful_step_count=40 if DEEP else 20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_no_shift_however_odd_loses_doubles_or_silences_an_alarm() -> None:
    run_state_machine_as_test(WardShift, settings=SETTINGS)
