"""What the core promises of the models beside it, one sentence a function; they join the rules of the ward."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from contracts.records import (
    ActionKind,
    AlarmState,
    Category,
    ModelRef,
    PatientFacts,
    Priority,
    Quality,
    Reading,
    Vital,
    VitalsFrame,
)
from models.ports import ANOMALY, DETERIORATION, FORECAST, Memory
from models.ward.policy import load_policy
from tests.unit.models.bedside import T0, Lab, check_ledger, expected_id, second_of
from tests.unit.models.beside import QUICK, SERVING, Beside, Saying, a_past, advisories, source
from tests.unit.models.rules import ACKNOWLEDGED, CLEARED, RAISED, WORSE, rule

HOURS_6 = 6 * 3600
DYING = [(1800, 0.83)]
OTHER = {**SERVING, ANOMALY: "bbbbbbbbbbbb"}


# -- asking ----------------------------------------------------------------------------------------------------------


@rule
def models_are_asked_every_ten_seconds_and_about_risks_every_minute(lab: Lab) -> None:
    phases = set()
    for name in ("W1", "W4", "ICU"):
        says = Saying()
        ward = Beside(lab, says, ward=name)
        ward.live(0, 200)
        asked = sorted(ward.heeded)
        seconds = [second_of(ward.log[offset][1]) for offset in asked]
        assert {b - a for a, b in pairwise(seconds[1:])} == {10.0}
        risks = [second for second, ask in zip(seconds, says.asked, strict=True) if ask.risks]
        assert {b - a for a, b in pairwise(risks[1:])} == {60.0}
        phases.add(seconds[-1] % 10)
    assert len(phases) > 1, "all wards ask at once"


@rule
def nothing_is_asked_twice(lab: Lab) -> None:
    ward = Beside(lab, Saying())
    ward.live(0, 30)
    now_ms = ward.log[-1][1]
    asks: Any = ward.core
    assert asks.ask(ward.state, now_ms) is None
    before = len(ward.heeded)
    for _ in range(5):
        ward.tick(30)
    assert len(ward.heeded) - before <= 1


@rule
def nobody_is_asked_without_a_model_and_only_the_clock_says_which_are_in_force(lab: Lab) -> None:
    says = Saying()
    ward = Beside(lab, says, serving={})
    ward.live(0, 30)
    champions = (ModelRef(name=ANOMALY, version="aaaaaaaaaaaa"),)
    frame = VitalsFrame(version=1, ward="W1", gateway="g1", seq=99, at_ms=T0 + 30_000, models=champions)
    ward.put(frame, T0 + 30_000)
    ward.live(31, 60)
    assert not says.asked
    assert not ward.state.models


@rule
def a_silent_bed_is_not_asked_about(lab: Lab) -> None:
    says = Saying()
    ward = Beside(lab, says)
    ward.live(0, 20)
    ward.live(20, 200, bed="B2", patient="p-2")
    assert says.asked[0].patients == ("p-1",)
    assert ("p-1", "p-2") in [ask.patients for ask in says.asked]
    assert says.asked[-1].patients == ("p-2",)


@rule
def the_windows_hold_the_means_of_what_can_be_believed(lab: Lab) -> None:
    says = Saying()
    ward = Beside(lab, says)
    ward.live(0, 60, heart_rate=lambda second: 100.0 if second % 2 else 0.0, respiration=None, spo2=97.0)
    ward.live(60, 75, heart_rate=70.0)
    windows = says.asked[-1].windows
    assert windows.minutes[0, -2:, 0].tolist() == [100.0, 70.0]
    assert windows.minutes[0, -1, 1:3].tolist() == [16.0, 97.0]
    assert np.isnan(windows.minutes[0, -2, 1])
    assert windows.limits[0, 0].tolist() == [50.0, 120.0]
    assert np.isnan(windows.limits[0, 2, 1])
    assert T0 + 60_000 <= windows.at_ms[0] <= T0 + 75_000
    assert np.isnan(windows.age_years[0])


@rule
def a_frozen_or_disbelieved_value_is_not_remembered(lab: Lab) -> None:
    says = Saying()
    ward = Beside(lab, says)
    pressures: dict[str, Any] = {"systolic": 90.0, "diastolic": 90.0, "mean_pressure": 90.0}
    ward.live(0, 240, heart_rate=80.0, **pressures)
    windows = says.asked[-1].windows
    assert not np.isfinite(windows.minutes[0, :, 3:5]).any(), "pressures that cannot belong together"
    assert np.isfinite(windows.minutes[0, :, 0]).sum() == 2, "a heart rate that repeats itself exactly"


@rule
def a_bed_is_alarming_from_the_first_breach_until_its_alarm_is_gone(lab: Lab) -> None:
    says = Saying()
    ward = Beside(lab, says)
    ward.live(0, 60, spo2=lambda second: 80.0 if 20 <= second < 40 else 97.0)
    ward.live(60, 120)
    ward.act(120, ActionKind.ACKNOWLEDGE)
    ward.live(121, 140)
    flags = {second_of(int(ask.windows.at_ms[0])): bool(ask.windows.alarming[0]) for ask in says.asked}
    assert all(flag is (20 <= second < 120) for second, flag in flags.items()), flags
    assert {True, False} <= set(flags.values())
    technical = Saying()
    ward = Beside(lab, technical)
    ward.live(0, 40, spo2=lambda second: None if second > 5 else 97.0)
    assert ward.events("spo2_no_signal") == [RAISED]
    assert not any(ask.windows.alarming[0] for ask in technical.asked)


@rule
def a_broker_whose_clock_ran_ahead_does_not_stop_the_models(lab: Lab) -> None:
    says = Saying()
    ward = Beside(lab, says)
    ward.live(0, 20)
    for second in range(20, 60):
        ward.tick(second + 3600)
        ward.frame(second, {("B1", "p-1"): {"heart_rate": 90.0 + second % 3}}, append_s=3600)
    ahead = len(says.asked)
    ward.live(60, 200)
    assert len(says.asked) >= ahead + 12, "not asked until the clock has caught up"
    assert 77 < says.asked[-1].windows.minutes[0, -1, 0] < 81, "blind until the clock has caught up"
    ward.restart()


# -- what is known of patients ---------------------------------------------------------------------------------------


@rule
def the_past_fills_the_windows_and_is_no_reading(lab: Lab) -> None:
    for early in (True, False):
        says = Saying()
        ward = Beside(lab, says)
        facts = PatientFacts(patient="p-1", age_years=71.0, sex="female", admitted_ms=T0 - 7_200_000)
        if early:
            out = ward.tell(0, [a_past(0, 50, 66.0)], [facts])
            assert not ward.state.beds
        ward.live(0, 20)
        if not early:
            heard_ms = ward.state.beds["p-1"].heard_ms
            out = ward.tell(20, [a_past(0, 50, 66.0)], [facts])
            assert ward.state.beds["p-1"].heard_ms == heard_ms
        assert (out.scores, out.readings, out.late, out.duplicates, out.transitions) == (None, 0, 0, 0, ())
        ward.live(20, 40)
        windows = says.asked[-1].windows
        assert windows.minutes[0, -11:-1, 0].tolist() == [66.0] * 10
        assert 75 < windows.minutes[0, -1, 0] < 82
        assert (windows.age_years[0], windows.female[0]) == (71.0, 1.0)
        assert 2.0 < windows.stay_h[0] < 2.1
        assert not ward.told
        ward.restart()


@rule
def the_past_is_written_over_nothing_that_was_read(lab: Lab) -> None:
    says = Saying()
    ward = Beside(lab, says)
    ward.live(0, 120)
    ward.tell(120, [a_past(120, 50, 66.0)])
    ward.live(121, 140)
    minutes = says.asked[-1].windows.minutes[0, :, 0]
    assert minutes[-4:-3].tolist() == [66.0]
    assert all(77 < value < 81 for value in minutes[-3:].tolist())


@rule
def a_reading_told_again_counts_once_for_the_models(lab: Lab) -> None:
    once, twice = Beside(lab, Saying()), Beside(lab, Saying())
    for second in range(0, 100, 2):
        for ward in (once, twice):
            ward.tick(second)
            ward.read(second, heart_rate=70.0 + second % 7)
            if ward is twice and second % 10 == 8:
                ward.read(second - 6, append_s=6.2, heart_rate=70.0 + (second - 6) % 7)
                ward.read(second, heart_rate=70.0 + second % 7)
    assert twice.state.beds["p-1"].late > 0
    assert twice.state.beds["p-1"].history == once.state.beds["p-1"].history


@rule
def what_is_told_later_of_a_patient_adds_to_what_was_told(lab: Lab) -> None:
    ward = Beside(lab, Saying())
    ward.tell(0, facts=[PatientFacts(patient="p-1", age_years=71.0)])
    ward.tell(1, facts=[PatientFacts(patient="p-1", sex="male")])
    ward.live(2, 5)
    ward.tell(6, facts=[PatientFacts(patient="p-1", age_years=72.0)])
    facts = ward.state.beds["p-1"].facts
    assert (facts.age_years, facts.sex) == (72.0, "male")


@rule
def who_is_moved_or_comes_back_keeps_past_and_memory(lab: Lab) -> None:
    ward = Beside(lab)
    ward.live(0, 100)
    bed = ward.state.beds["p-1"]
    assert bed.memories[ANOMALY]
    ward.read(100, "B7", "p-1", heart_rate=80.0)
    assert ward.state.beds["p-1"].memories == bed.memories
    ward.act(101, ActionKind.STANDBY, bed="B7")
    assert "p-1" not in ward.state.beds
    ward.restart()
    ward.wait(102, 160)
    ward.read(160, "B2", "p-1", heart_rate=81.0)
    back = ward.state.beds["p-1"]
    assert back.memories == bed.memories
    assert back.history.minutes[-24:] != bed.history.minutes[-24:]
    assert back.history.moved_to(back.history.minute).minutes.count(b"\x00\x80") < 360 - 2
    assert not ward.state.kept


@rule
def at_most_sixty_four_patients_without_a_bed_are_kept_for_a_day(lab: Lab) -> None:
    ward = Beside(lab, Saying())
    for n in range(70):
        ward.tell(n, [a_past(n, 5, 70.0, patient=f"p-{n}")])
    assert list(ward.state.kept) == [f"p-{n}" for n in range(6, 70)]
    ward.tell(70, [a_past(70, 5, 70.0, patient="p-6")])
    assert list(ward.state.kept)[-1] == "p-6"
    ward.tick(24 * 3600 + 50)
    assert list(ward.state.kept) == [*(f"p-{n}" for n in range(50, 70)), "p-6"]
    ward.tick(24 * 3600 + 100)
    assert not ward.state.kept


# -- models in force -------------------------------------------------------------------------------------------------


@rule
def the_core_changes_over_at_the_record_that_says_so_and_outputs_name_it(lab: Lab) -> None:
    ward = Beside(lab)
    ward.live(0, 50)
    asked = next(offset for offset, (frame, _) in enumerate(ward.log) if frame.models)
    ward.serving = OTHER
    changed = len(ward.log)
    ward.live(50, 100)
    since: dict[tuple[str, str], int] = {}
    for heeded in ward.heeded.values():
        for model in (*heeded.scores.models, *heeded.forecast.models) if heeded.scores and heeded.forecast else ():
            since.setdefault((model.name, model.version), model.since.offset)
    assert since == {
        (ANOMALY, SERVING[ANOMALY]): asked,
        (DETERIORATION, SERVING[DETERIORATION]): asked,
        (FORECAST, SERVING[FORECAST]): asked,
        (ANOMALY, OTHER[ANOMALY]): changed,
    }
    assert int.from_bytes(ward.state.memories[ANOMALY], "little") == len(ward.heeded), "memory is not handed on"


@rule
def answers_about_who_has_left_or_by_a_model_that_has_gone_are_dropped(lab: Lab) -> None:
    ward = Beside(lab, Saying(anomaly=0.5, above=DYING, vital=Vital.HEART_RATE))
    ward.tick(0)
    ward.frame(0, {("B1", "p-1"): {"heart_rate": 80.0}, ("B2", "p-2"): {"heart_rate": 80.0}})
    core: Any = ward.core
    now_ms = T0 + 15_000
    ask = core.ask(ward.state, now_ms)
    assert ask.patients == ("p-1", "p-2")
    memory = Memory((b"one", b"two"), b"ward")
    answers = ward.models(ask)._replace(memories={ANOMALY: memory, FORECAST: memory})
    ward.act(1, ActionKind.STANDBY, bed="B1")
    ward.serving = OTHER
    frame = VitalsFrame(
        version=1,
        ward="~clock",
        gateway="~clock",
        seq=0,
        at_ms=T0,
        models=tuple(ModelRef(name=name, version=version) for name, version in OTHER.items()),
    )
    state, _ = core.step(ward.state, frame, T0 + 2000, source(9))
    after, heeded = core.heed(state, ask, answers, now_ms, source(9))
    assert heeded.scores is None, "an outlook of a model that is no longer in force"
    assert [bed.patient for bed in heeded.forecast.beds] == ["p-2"]
    assert after.memories == {FORECAST: b"ward"}
    assert list(after.beds) == ["p-2"]
    assert after.beds["p-2"].memories == {FORECAST: b"two"}


# -- advisories ------------------------------------------------------------------------------------------------------


@rule
def an_unusual_pattern_is_told_when_it_lasts_and_until_it_is_well_over(lab: Lab) -> None:
    says = Saying(anomaly=0.97)
    ward = Beside(lab, says)
    ward.live(0, 50)
    assert not ward.told
    says.anomaly = 0.9  # one lower score: it has not lasted
    ward.live(50, 60)
    says.anomaly = 0.97
    ward.live(60, 115)
    assert not ward.told, "told before it lasted"
    ward.live(115, 140)
    (told,) = advisories(ward, "anomaly")
    assert (told.event, told.state, told.priority) == (RAISED, AlarmState.ACTIVE, Priority.LOW)
    assert told.message == "Unusual pattern 0.97: heart rate"
    assert (told.model, told.probability, told.lead_s) == (f"{ANOMALY}@{SERVING[ANOMALY]}", 0.97, None)
    assert [driver.what for driver in told.drivers] == ["level 134, usually 82", "swings", "quiet night"]
    assert told.alert_id == expected_id(ward.core.policy_hash, "p-1", "anomaly", told.onset_ms)
    assert 60 <= (told.at_ms - told.onset_ms) / 1000 < 75
    says.anomaly = 0.85
    ward.live(140, 200)
    assert ward.events("anomaly") == [RAISED], "over although it is not below the lower threshold"
    says.anomaly = 0.79
    ward.live(200, 215)
    assert ward.events("anomaly") == [RAISED, CLEARED]
    check_ledger(ward.told)


@rule
def a_limit_that_will_be_crossed_is_told_with_its_lead(lab: Lab) -> None:
    says = Saying(below=[(300, 0.2), (600, 0.79), (1800, 0.83), (HOURS_6 + 1, 1.0)])
    ward = Beside(lab, says)
    ward.live(0, 70, spo2=92.0)
    (told,) = advisories(ward, "forecast_spo2_low")
    assert told.message == "SpO2 <90 likely within 30 min (83 %)"
    assert (told.vital, told.value, told.limit, told.lead_s, told.probability) == (Vital.SPO2, 92.0, 90.0, 1800, 0.83)
    assert told.model == f"{FORECAST}@{SERVING[FORECAST]}"
    says.below = [(600, 0.3), (1800, 0.7)]
    ward.live(70, 130, spo2=92.0)
    assert ward.events("forecast_spo2_low") == [RAISED]
    says.below = [(600, 0.3), (1800, 0.59), (HOURS_6 + 1, 1.0)]
    ward.live(130, 150, spo2=92.0)
    assert ward.events("forecast_spo2_low") == [RAISED, CLEARED]
    says.below, says.above, says.vital = [], [(7200, 0.9)], Vital.HEART_RATE
    ward.live(150, 220)
    assert [t.message for t in advisories(ward, "forecast_heart_rate_high")] == ["HR >120 likely within 2 h (90 %)"]
    check_ledger(ward.told)


@rule
def an_early_warning_ends_when_the_limit_is_crossed_and_none_is_given_then(lab: Lab) -> None:
    ward = Beside(lab, Saying(below=DYING))
    ward.live(0, 60, spo2=92.0)
    ward.live(60, 70, spo2=88.0)
    assert ward.events("forecast_spo2_low") == [RAISED], "over before the alarm is there"
    ward.live(70, 80, spo2=88.0)
    assert ward.events("spo2_low") == [RAISED]
    warned = advisories(ward, "forecast_spo2_low")
    assert [t.event for t in warned] == [RAISED, CLEARED]
    assert warned[-1].note == "the limit is crossed"
    assert warned[-1].source == ward.of("spo2_low")[0].source
    ward.live(80, 200, spo2=88.0)
    assert ward.events("forecast_spo2_low") == [RAISED, CLEARED]
    late = Beside(lab, Saying(below=DYING))
    late.live(0, 30, spo2=92.0)
    late.live(30, 44, spo2=88.0)
    late.live(44, 55, spo2=92.0)
    assert not late.told, "a warning of what is there already"
    check_ledger(ward.told)


@rule
def a_risk_is_told_by_the_threshold_of_its_name(lab: Lab) -> None:
    rule = load_policy().models
    says = Saying(risks={"hypotension": rule.risk_from["hypotension"], "boredom": 1.0})
    ward = Beside(lab, says)
    ward.live(0, 300)
    assert {t.condition for t in ward.told} == {"risk_hypotension"}
    (told,) = advisories(ward, "risk_hypotension")
    percent = f"{told.probability * 100:.0f} %" if told.probability else ""
    assert told.message == f"Hypotension risk {percent} within 4 h"
    assert (told.lead_s, told.model) == (14_400, f"{DETERIORATION}@{SERVING[DETERIORATION]}")
    says.risks = {"hypotension": rule.risk_until["hypotension"] - 0.01}
    ward.live(300, 380)
    assert ward.events("risk_hypotension") == [RAISED, CLEARED]


@rule
def an_advisory_never_sounds_and_once_acknowledged_is_still_until_it_is_over(lab: Lab) -> None:
    says = Saying(anomaly=0.99)
    ward = Beside(lab, says, policy=MEDIUM)
    ward.live(0, 700)
    assert ward.events("anomaly") == [RAISED], "escalated"
    ward.act(700, ActionKind.PAUSE_AUDIO)
    assert ward.events("anomaly") == [RAISED], "what makes no sound was paused"
    ward.act(701, ActionKind.ACKNOWLEDGE)
    ward.live(702, 1000)
    assert ward.events("anomaly") == [RAISED, ACKNOWLEDGED], "it came back"
    says.anomaly = 0.1
    ward.live(1000, 1020)
    assert ward.events("anomaly") == [RAISED, ACKNOWLEDGED, CLEARED]
    ward.live(1020, 1040, spo2=88.0)
    ward.act(1040, ActionKind.PAUSE_AUDIO, pause_s=120)
    says.anomaly = 0.99
    ward.live(1041, 1130, spo2=88.0)
    assert len(advisories(ward, "anomaly")) == 4
    assert WORSE not in ward.events("anomaly")
    check_ledger(ward.told)


@rule
def an_advisory_is_over_when_its_model_falls_silent_or_is_gone(lab: Lab) -> None:
    says = Saying(anomaly=0.99)
    ward = Beside(lab, says)
    ward.live(0, 100)
    says.anomaly = None
    ward.live(100, 390)
    assert ward.events("anomaly") == [RAISED]
    ward.live(390, 410)
    last = advisories(ward, "anomaly")[-1]
    assert (last.event, last.state, last.note) == (CLEARED, AlarmState.INACTIVE, "its model has said nothing for 5 min")
    ward = Beside(lab, Saying(anomaly=0.99))
    ward.live(0, 100)
    ward.serving = {FORECAST: SERVING[FORECAST]}
    ward.live(100, 102)
    last = advisories(ward, "anomaly")[-1]
    assert (last.event, last.note) == (CLEARED, "its model is no longer in force")
    ward = Beside(lab, Saying(anomaly=0.99))
    ward.live(0, 100)
    ward.serving = OTHER
    ward.live(100, 130)
    assert ward.events("anomaly") == [RAISED], "a newer version says the same"
    check_ledger(ward.told)


@rule
def an_advisory_is_raised_from_a_fresh_outlook_only(lab: Lab) -> None:
    ward = Beside(lab, Saying(anomaly=0.99))
    for second in range(200):  # slower and slower: too uneven a lag for a clock that is merely wrong
        lag_s = 90 + second // 5 * 5
        ward.tick(second + lag_s)
        ward.read(second, heart_rate=80.0 + second % 3, append_s=lag_s)
    assert not ward.of("anomaly"), "raised from what was so a minute and a half ago"
    assert ward.outlooks()


@rule
def an_advisory_changes_nothing_of_the_alarms(lab: Lab) -> None:
    wards = [Beside(lab, says) for says in (Saying(), Saying(anomaly=0.99, below=DYING, risks={"hypotension": 0.9}))]
    for ward in wards:
        ward.live(0, 250)
        ward.live(250, 280, spo2=88.0)
        ward.live(280, 300, heart_rate=150.0)
        ward.live(300, 330, respiration=None)
        ward.wait(330, 350)
        ward.live(350, 500, heart_rate=80.0)
        ward.live(500, 530)
    plain, advised = ([t for t in ward.told if t.category is not Category.ADVISORY] for ward in wards)
    assert plain == advised
    assert len(plain) >= 10
    assert len(wards[1].told) > len(advised) + 2
    check_ledger(wards[1].told)


@rule
def outlooks_and_forecasts_are_told_in_frames_of_their_own(lab: Lab) -> None:
    ward = Beside(lab, Saying(anomaly=0.2, below=[(600, 0.1)], risks={"hypotension": 0.1}))
    ward.live(0, 100)
    with_risks = 0
    for offset, heeded in ward.heeded.items():
        scores, forecast = heeded.scores, heeded.forecast
        assert (scores.beds, scores.source.offset, scores.policy) == ((), offset, ward.core.policy_hash)
        (outlook,) = scores.outlooks
        assert (outlook.bed, outlook.patient, outlook.anomaly.score) == ("B1", "p-1", 0.2)
        assert scores.now_ms - 1500 < outlook.at_ms <= scores.now_ms
        assert [model.name for model in scores.models] == ([ANOMALY, DETERIORATION] if outlook.risks else [ANOMALY])
        with_risks += bool(outlook.risks)
        assert (forecast.source, [model.name for model in forecast.models]) == (scores.source, [FORECAST])
        assert forecast.beds[0].vitals[0].below == (0.1,)
        assert 0 < forecast.beds[0].known < 0.1
    assert 1 <= with_risks < len(ward.heeded)
    nothing = Beside(lab, Saying())
    nothing.live(0, 60)
    assert all(heeded.scores is heeded.forecast is None for heeded in nothing.heeded.values())


@rule
def the_same_log_and_the_same_models_give_the_same_bytes(lab: Lab) -> None:
    once, broken = Beside(lab), Beside(lab)
    for ward in (once, broken):
        ward.tell(0, [a_past(0, 60, 70.0)], [PatientFacts(patient="p-1", sex="male")])
        for start in range(0, 300, 20):
            ward.live(start, start + 20, heart_rate=rising)
            if ward is broken:
                ward.restart()
        held = Reading(vital=Vital.HEART_RATE, value=90.0, quality=Quality.HELD, at_ms=T0 + 290_000)
        ward.read(300, "B2", "p-2", held=held)
        ward.live(301, 330, bed="B1", patient="p-3")
    assert once.written == broken.written
    assert once.core.dump(once.state) == broken.core.dump(broken.state)
    assert once.replay() == once.written
    assert {t.condition for t in once.told} >= {"anomaly", "forecast_heart_rate_high", "heart_rate_high"}


def rising(second: int) -> float:
    """A heart rate that comes near its limit, and crosses it later."""
    return (75.0 if second < 80 else 117.0 if second < 220 else 130.0) + second % 3


def _medium() -> str:
    assert 'priority = "low" ' in QUICK
    return QUICK.replace('priority = "low" ', 'priority = "medium" ')


MEDIUM = _medium()
