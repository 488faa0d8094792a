"""What the core promises a ward, one sentence a function; each takes the core's modules, real or mutated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from contracts.records import (
    ActionKind,
    AlarmEvent,
    AlarmState,
    AlertTransition,
    Category,
    Priority,
    Quality,
    Reading,
    Source,
    Tag,
    Vital,
)
from tests.unit.models.bedside import Bedside, Lab, as_bytes, check_ledger, cuff, expected_id, healthy, second_of

Rule = Callable[[Lab], None]
RULES: Final[list[Rule]] = []

RAISED, CLEARED, LATCHED = AlarmEvent.RAISED, AlarmEvent.CLEARED, AlarmEvent.LATCHED
ACKNOWLEDGED, REALARMED, ESCALATED = AlarmEvent.ACKNOWLEDGED, AlarmEvent.REALARMED, AlarmEvent.ESCALATED
PAUSED, RESUMED, WORSE = AlarmEvent.AUDIO_PAUSED, AlarmEvent.AUDIO_RESUMED, AlarmEvent.PRIORITY_RAISED


def rule(function: Rule) -> Rule:
    """Puts a rule on the list."""
    RULES.append(function)
    return function


def raised(ward: Bedside, condition: str) -> list[AlertTransition]:
    """The transitions that raised this condition."""
    return [t for t in ward.of(condition) if t.event is RAISED]


# -- limits ----------------------------------------------------------------------------------------------------------


@rule
def a_breach_alarms_when_its_delay_has_passed_and_no_earlier(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 10)
    ward.live(10, 25, spo2=88.0)
    assert not ward.told
    assert ward.open_alarm("spo2_low").state is AlarmState.PENDING
    ward.live(25, 40, spo2=88.0)
    (told,) = ward.told
    assert (told.event, told.state, told.priority) == (RAISED, AlarmState.ACTIVE, Priority.MEDIUM)
    assert (second_of(told.onset_ms), second_of(told.at_ms)) == (10.0, 25.0)
    assert (told.message, told.value, told.limit, told.vital) == ("SpO2 88<90", 88.0, 90.0, Vital.SPO2)
    assert told.alert_id == expected_id(ward.core.policy_hash, "p-1", "spo2_low", told.onset_ms)
    assert told.source.offset == ward.outputs.index(next(out for out in ward.outputs if out.transitions))


@rule
def a_value_on_its_limit_is_no_breach(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 60, spo2=90.0, heart_rate=lambda s: 120.0 - s % 2, respiration=30.0)
    assert not [t for t in ward.told if t.condition.endswith(("_low", "_high"))]
    ward = Bedside(lab)
    ward.live(0, 60, heart_rate=lambda s: 121.0 + s % 2)
    assert ward.events("heart_rate_high") == [RAISED]


@rule
def a_breach_that_ends_within_its_delay_is_forgotten(lab: Lab) -> None:
    ward = Bedside(lab)
    for start in (0, 20, 40):
        ward.live(start, start + 14, spo2=88.0)
        ward.live(start + 14, start + 20)
    assert not ward.told


@rule
def an_extreme_value_alarms_sooner_and_at_high_priority(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=84.0)
    (told,) = ward.of("spo2_low")
    assert (told.priority, second_of(told.at_ms), told.message) == (Priority.HIGH, 8.0, "SpO2 84<85")
    ward = Bedside(lab)
    ward.live(0, 20, spo2=85.0)
    (told,) = ward.of("spo2_low")
    assert (told.priority, second_of(told.at_ms)) == (Priority.MEDIUM, 15.0)


@rule
def a_worsening_is_the_same_alert_at_a_higher_priority(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.ACKNOWLEDGE)
    assert ward.open_alarm("spo2_low").state is AlarmState.ACKNOWLEDGED
    ward.live(21, 40, spo2=83.0)
    told = ward.of("spo2_low")
    assert [t.event for t in told] == [RAISED, ACKNOWLEDGED, WORSE]
    assert len({t.alert_id for t in told}) == 1
    assert (told[-1].priority, told[-1].state, second_of(told[-1].at_ms)) == (Priority.HIGH, AlarmState.ACTIVE, 29.0)


@rule
def over_means_back_inside_by_the_hysteresis(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.live(20, 60, spo2=90.0)
    assert ward.events("spo2_low") == [RAISED]
    ward.live(60, 62, spo2=91.0)
    assert ward.events("spo2_low") == [RAISED, CLEARED]
    assert second_of(ward.of("spo2_low")[-1].at_ms) == 60.0


@rule
def a_severe_spell_is_timed_anew_after_a_value_inside_the_limit(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.live(20, 22, spo2=84.0)
    ward.live(22, 26, spo2=90.0)
    ward.live(26, 34, spo2=84.0)
    assert ward.events("spo2_low") == [RAISED]
    ward.live(34, 36, spo2=84.0)
    assert ward.events("spo2_low") == [RAISED, WORSE]


@rule
def two_samples_of_a_vital_in_one_frame_are_both_judged(lab: Lab) -> None:
    for first, second, expected in ((97.0, 84.0, []), (84.0, 97.0, []), (84.0, 84.0, [RAISED])):
        ward = Bedside(lab)
        for s in range(0, 40, 2):
            early = Reading(vital=Vital.SPO2, value=first, at_ms=1_767_340_800_000 + s * 1000 - 1000)
            ward.read(s, heart_rate=80.0 + s % 3, first=early, spo2=second)
        assert ward.events("spo2_low") == expected, (first, second)


# -- latching, acknowledgement, re-alarm, escalation -------------------------------------------------------------------


@rule
def a_high_alarm_latches_until_it_is_acknowledged(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 12, spo2=80.0)
    ward.live(12, 90)
    assert ward.events("spo2_low") == [RAISED, LATCHED]
    ward.act(90, ActionKind.ACKNOWLEDGE, alert_id=ward.of("spo2_low")[0].alert_id)
    last = ward.of("spo2_low")[-1]
    assert (last.event, last.state, last.actor) == (ACKNOWLEDGED, AlarmState.INACTIVE, "nurse-1")
    assert ward.open_alarm("spo2_low") is None


@rule
def a_medium_alarm_does_not_latch(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.live(20, 30)
    assert ward.events("spo2_low") == [RAISED, CLEARED]


@rule
def an_acknowledged_alarm_ends_by_itself_but_acknowledging_does_not_end_it(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 12, spo2=80.0)
    ward.act(12, ActionKind.ACKNOWLEDGE)
    ward.live(13, 40, spo2=80.0)
    assert ward.events("spo2_low") == [RAISED, ACKNOWLEDGED]
    assert ward.open_alarm("spo2_low").state is AlarmState.ACKNOWLEDGED
    ward.live(40, 45)
    assert ward.events("spo2_low") == [RAISED, ACKNOWLEDGED, CLEARED]


@rule
def an_acknowledged_alarm_that_lasts_sounds_again(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.ACKNOWLEDGE)
    ward.live(21, 300, spo2=88.0)
    assert ward.events("spo2_low")[:3] == [RAISED, ACKNOWLEDGED, REALARMED]
    again = ward.of("spo2_low")[2]
    assert again.state is AlarmState.ACTIVE
    assert 140.0 <= second_of(again.at_ms) <= 141.3


@rule
def an_acknowledged_alarm_sounds_again_although_its_bed_is_silent(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.ACKNOWLEDGE)
    ward.wait(21, 160)
    assert ward.events("spo2_low") == [RAISED, ACKNOWLEDGED, REALARMED]


@rule
def an_alarm_that_nobody_acknowledges_is_escalated_step_by_step(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 800, spo2=88.0)
    told = [t for t in ward.of("spo2_low") if t.event is ESCALATED]
    assert [t.escalation for t in told] == [1, 2]
    assert all(due <= second_of(t.at_ms) <= due + 1.3 for due, t in zip((195.2, 375.2), told, strict=True))


@rule
def a_silent_bed_that_nobody_looks_at_is_escalated_and_a_poor_signal_is_not(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    ward.live(5, 700, bed="B2", patient="p-2", spo2=lambda second: 97.0 if second < 20 else None)
    assert ward.events("silence") == [RAISED, ESCALATED, ESCALATED]
    assert ward.events("spo2_no_signal") == [RAISED]


@rule
def an_acknowledgement_finds_its_alert_although_the_patient_was_moved(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=82.0)
    ward.live(20, 25, bed="B7", spo2=82.0)
    (alert,) = {t.alert_id for t in ward.of("spo2_low")}
    ward.act(26, ActionKind.ACKNOWLEDGE, bed="B1", alert_id=alert)
    assert ward.events("spo2_low")[-1] is ACKNOWLEDGED


@rule
def a_relapse_does_not_put_off_the_escalation(lab: Lab) -> None:
    ward = Bedside(lab)
    for start in range(0, 400, 100):
        ward.live(start, start + 50, spo2=80.0)
        ward.live(start + 50, start + 100)
    told = ward.of("spo2_low")
    assert [t.event for t in told if t.event is not LATCHED][:4] == [RAISED, REALARMED, ESCALATED, REALARMED]
    assert [t.escalation for t in told if t.event is ESCALATED] == [1, 2]


@rule
def a_latched_alarm_that_comes_back_sounds_again_under_its_id(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 12, spo2=80.0)
    ward.live(12, 60)
    ward.live(60, 64, spo2=80.0)
    ward.live(64, 70)
    ward.live(70, 90, spo2=88.0)
    told = ward.of("spo2_low")
    assert [t.event for t in told] == [RAISED, LATCHED, REALARMED]
    assert second_of(told[-1].at_ms) == 85.0


@rule
def a_technical_alarm_never_latches(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, heart_rate=0.0)
    (told,) = ward.of("heart_rate_implausible")
    assert (told.category, told.priority) == (Category.TECHNICAL, Priority.HIGH)
    ward.live(20, 25)
    assert ward.events("heart_rate_implausible") == [RAISED, CLEARED]


# -- people ------------------------------------------------------------------------------------------------------------


@rule
def a_pause_ends_by_itself_however_long_it_was_asked_for(lab: Lab) -> None:
    for asked, expected in ((None, 60), (5, 5), (10_000, 120), (-3, 1)):
        ward = Bedside(lab)
        ward.live(0, 20, spo2=88.0)
        ward.act(20, ActionKind.PAUSE_AUDIO, pause_s=asked)
        ward.live(21, 200, spo2=88.0)
        paused, resumed = ward.of("spo2_low")[1:3]
        assert (paused.event, resumed.event, resumed.audio_until_ms) == (PAUSED, RESUMED, None)
        assert paused.audio_until_ms is not None
        assert second_of(paused.audio_until_ms) == 20 + expected
        assert 20 + expected <= second_of(resumed.at_ms) <= 20 + expected + 1.3
        assert paused.state is AlarmState.ACTIVE


@rule
def a_higher_priority_ends_the_pause_of_its_bed(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.PAUSE_AUDIO, pause_s=120)
    ward.live(21, 30, spo2=88.0, heart_rate=lambda s: 150.0 + s % 2)
    (high,) = ward.of("heart_rate_high")
    assert (high.priority, high.audio_until_ms) == (Priority.HIGH, None)
    assert ward.events("spo2_low") == [RAISED, PAUSED, RESUMED]
    ward.live(30, 60, spo2=88.0, heart_rate=lambda s: 150.0 + s % 2, respiration=33.0)
    (new,) = ward.of("respiration_high")
    assert new.audio_until_ms is None, "a pause that was broken mutes a new alarm"


@rule
def a_new_alarm_of_no_higher_priority_is_shown_but_muted_until_the_pause_ends(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.PAUSE_AUDIO, pause_s=60)
    ward.live(21, 120, spo2=88.0, respiration=33.0)
    told = ward.of("respiration_high")
    assert [t.event for t in told] == [RAISED, RESUMED]
    assert told[0].audio_until_ms is not None
    assert second_of(told[0].audio_until_ms) == 80.0


@rule
def a_pause_is_resumed_by_hand(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.PAUSE_AUDIO, pause_s=100)
    ward.act(25, ActionKind.RESUME_AUDIO)
    assert ward.events("spo2_low") == [RAISED, PAUSED, RESUMED]
    assert ward.of("spo2_low")[-1].actor == "nurse-1"
    ward.live(26, 45, spo2=88.0, respiration=33.0)
    assert ward.of("respiration_high")[0].audio_until_ms is None


@rule
def only_the_alarm_that_was_meant_is_acknowledged(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 30, spo2=88.0, respiration=33.0)
    meant = ward.of("spo2_low")[0].alert_id
    ward.act(30, ActionKind.ACKNOWLEDGE, alert_id="0123456789abcdef")
    ward.act(30, ActionKind.ACKNOWLEDGE, bed="B9")
    assert not [t for t in ward.told if t.event is ACKNOWLEDGED]
    ward.act(31, ActionKind.ACKNOWLEDGE, alert_id=meant)
    assert [t.condition for t in ward.told if t.event is ACKNOWLEDGED] == ["spo2_low"]


@rule
def an_action_told_twice_is_done_once(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.ACKNOWLEDGE, action_id="once")
    ward.live(21, 150, spo2=88.0)
    ward.act(150, ActionKind.ACKNOWLEDGE, action_id="once")
    assert ward.events("spo2_low") == [RAISED, ACKNOWLEDGED, REALARMED]


@rule
def a_note_and_an_escalation_by_hand_leave_the_alarm_as_it_is(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.NOTE, text="suctioned")
    ward.act(21, ActionKind.ESCALATE)
    note, escalated = ward.of("spo2_low")[1:]
    assert (note.event, note.state, note.note) == (AlarmEvent.NOTE, AlarmState.ACTIVE, "suctioned")
    assert (escalated.event, escalated.state, escalated.escalation) == (ESCALATED, AlarmState.ACTIVE, 1)


@rule
def standby_ends_every_alarm_of_the_bed_by_name_and_lasts_until_it_speaks_again(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=80.0, respiration=33.0)
    ward.act(20, ActionKind.STANDBY, text="to theatre")
    ended = [t for t in ward.told if t.state is AlarmState.INACTIVE]
    assert {t.condition for t in ended} >= {"spo2_low", "respiration_high"}
    assert {(t.actor, t.note) for t in ended} == {("nurse-1", "to theatre")}
    before = len(ward.told)
    ward.wait(21, 60)
    assert len(ward.told) == before, "a bed on standby is not silent"
    ward.live(60, 80, spo2=80.0)
    assert ward.events("spo2_low")[-1] is RAISED
    check_ledger(ward.told)


# -- silence -----------------------------------------------------------------------------------------------------------


@rule
def a_silent_bed_is_found_by_the_clock(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    ward.wait(5, 60)
    (told,) = ward.told
    assert (told.condition, told.category, told.priority) == ("silence", Category.TECHNICAL, Priority.MEDIUM)
    offset = told.source.offset
    assert 10 <= (ward.log[offset][1] - ward.log[9][1]) / 1000 <= 12
    ward.live(60, 62)
    assert ward.events("silence") == [RAISED, CLEARED]


@rule
def a_bed_is_silent_although_its_neighbour_speaks(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    ward.live(5, 30, bed="B2", patient="p-2")
    assert [(t.condition, t.patient) for t in ward.told] == [("silence", "p-1")]


@rule
def a_silent_bed_is_scored_by_the_clock_and_its_values_grow_stale(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20)
    assert ward.tick(21).scores is None, "a bed that was just heard is scored by its frames"
    (silent,) = ward.tick(23).scores.beds
    assert (silent.patient, silent.news2.minimum, [v.tag for v in silent.values]) == ("p-1", 0, [Tag.OK] * 3)
    ward.wait(24, 85)
    (stale,) = ward.tick(85).scores.beds
    assert [v.tag for v in stale.values] == [Tag.STALE] * 3
    assert [v.value for v in stale.values] == [v.value for v in silent.values]
    assert (stale.news2.minimum, stale.news2.maximum) == (0, 20)
    assert [a.condition for a in stale.alarms] == ["silence"]


@rule
def a_value_just_beyond_its_limit_does_not_read_as_the_limit(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 30, spo2=89.6)
    assert raised(ward, "spo2_low")[0].message == "SpO2 89.6<90"


@rule
def an_outage_of_the_log_is_no_silence_of_beds(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    ward.tick(600)
    ward.live(601, 620)
    assert not ward.told


@rule
def slow_ticks_do_not_hide_a_silent_bed(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    for second in range(8, 80, 3):
        ward.tick(second)
    assert ward.events("silence") == [RAISED]


@rule
def a_gateway_that_repeats_itself_or_says_nothing_is_not_heard(lab: Lab) -> None:
    choices: list[dict[str, Any]] = [{}, {"spo2": 97.0, "heart_rate": 80.0}]
    for values in choices:
        ward = Bedside(lab)
        ward.live(0, 5)
        ward.read(5, heart_rate=80.0, respiration=16.0, spo2=97.0)
        for second in range(6, 30):
            ward.tick(second)
            ward.read(5 if values else second, append_s=second - 5 if values else 0.2, **values)
        assert ward.events("silence") == [RAISED], values


@rule
def each_silence_is_an_alert_of_its_own(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    for start in (5, 40, 80):
        ward.wait(start, start + 20)
        ward.live(start + 20, start + 25)
    assert ward.events("silence") == [RAISED, CLEARED] * 3
    check_ledger(ward.told)


# -- missing, implausible, frozen --------------------------------------------------------------------------------------


@rule
def a_lost_signal_is_a_technical_alarm_while_the_bed_speaks_on(lab: Lab) -> None:
    for lost in (None, ...):
        ward = Bedside(lab)
        ward.live(0, 5)
        ward.live(5, 30, spo2=lost)
        (told,) = ward.told
        assert (told.condition, told.category, told.message) == (
            "spo2_no_signal",
            Category.TECHNICAL,
            "SpO2 no signal",
        )
        assert second_of(told.at_ms) <= 16
        ward.live(30, 33)
        assert ward.events("spo2_no_signal") == [RAISED, CLEARED]


@rule
def a_signal_lost_after_an_unusable_value_is_missed_all_the_same(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    ward.live(5, 6, spo2=45.0)
    ward.live(6, 40, spo2=...)
    assert ward.events("spo2_no_signal") == [RAISED]


@rule
def losing_the_signal_is_no_recovery(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=80.0)
    ward.live(20, 60, spo2=None)
    assert ward.events("spo2_low") == [RAISED]
    assert ward.open_alarm("spo2_low").state is AlarmState.ACTIVE


@rule
def an_implausible_value_is_kept_as_sent_tagged_and_told_and_scores_nothing(lab: Lab) -> None:
    for vital, value in (("respiration", 140.0), ("temperature", 98.6), ("systolic", 400.0)):
        ward = Bedside(lab)
        sent: dict[str, Any] = {vital: value}
        ward.live(0, 30, **sent)
        (scored,) = (v for v in ward.score["p-1"].values if v.vital == vital)
        assert (scored.value, scored.tag) == (value, Tag.IMPLAUSIBLE)
        news2 = ward.score["p-1"].news2
        assert news2 is not None
        assert {c.vital: c.points for c in news2.components}[Vital(vital)] is None
        (told,) = ward.of(f"{vital}_implausible")
        assert (told.category, told.value) == (Category.TECHNICAL, value)


@rule
def minus_one_and_minus_hundred_are_no_signal(lab: Lab) -> None:
    for value in (-1.0, -100.0):
        ward = Bedside(lab)
        ward.live(0, 5)
        ward.live(5, 30, spo2=value)
        assert ward.events("spo2_no_signal") == [RAISED]


@rule
def a_fall_through_the_floor_of_the_sensor_is_still_a_fall(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 10)
    ward.live(10, 16, spo2=lambda s: 92.0 - (s - 9) * 6)
    ward.live(16, 40, spo2=lambda s: 48.0 - s % 3)
    told = ward.of("spo2_low")
    assert [t.event for t in told] == [RAISED], "a pending alarm is lost when its values become implausible"
    assert told[0].priority is Priority.HIGH
    assert told[0].value in (56.0, 62.0), "an implausible value took part in a limit"
    (technical,) = ward.of("spo2_implausible")
    assert technical.priority is Priority.MEDIUM


@rule
def a_pulse_below_what_we_accept_is_not_taken_lightly(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, heart_rate=lambda s: 5.0 + s % 2)
    (told,) = ward.of("heart_rate_implausible")
    assert told.priority is Priority.HIGH
    assert told.message.endswith("check patient and leads")


@rule
def a_value_that_never_changes_is_frozen_and_no_longer_scored(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 130, heart_rate=80.0)
    (told,) = ward.of("heart_rate_frozen")
    assert second_of(told.at_ms) == 120.0
    news2 = ward.score["p-1"].news2
    assert news2 is not None
    assert {c.vital: c.points for c in news2.components}[Vital.HEART_RATE] is None
    ward.live(130, 133)
    assert ward.events("heart_rate_frozen") == [RAISED, CLEARED]


@rule
def pressures_that_no_artery_has_are_disowned(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 30, systolic=80.0, diastolic=80.0, mean_pressure=80.0)
    tags = {v.vital: v.tag for v in ward.score["p-1"].values}
    assert {tags[v] for v in (Vital.SYSTOLIC, Vital.DIASTOLIC, Vital.MEAN_PRESSURE)} == {Tag.IMPLAUSIBLE}
    assert not ward.of("systolic_low")


@rule
def a_low_saturation_under_an_inflating_cuff_waits_but_not_for_ever(lab: Lab) -> None:
    measuring = Reading(vital=Vital.SYSTOLIC, value=None, quality=Quality.MEASURING, source=Source.CUFF)
    ward = Bedside(lab)
    ward.live(0, 9)
    ward.live(9, 10, systolic=measuring)
    ward.live(10, 60, spo2=80.0, systolic=measuring)
    assert not ward.of("spo2_low")
    assert {v.vital: v.tag for v in ward.score["p-1"].values}[Vital.SPO2] is Tag.CUFF_INTERFERENCE
    ward.live(60, 100, spo2=80.0, systolic=measuring)
    (told,) = ward.of("spo2_low")
    assert 69 + 8 <= second_of(told.at_ms) <= 69 + 9


# -- spot measurements -------------------------------------------------------------------------------------------------


@rule
def one_reading_of_a_cuff_alarms_by_itself(lab: Lab) -> None:
    for value, condition, priority, by in (
        (60.0, "systolic_low", Priority.HIGH, 22),
        (85.0, "systolic_low", Priority.MEDIUM, 22),
        (190.0, "systolic_high", Priority.MEDIUM, 22),
        (98.6, "temperature_implausible", Priority.LOW, 22),
        (39.5, "temperature_high", Priority.MEDIUM, 75),
    ):
        vital = condition.rsplit("_", 1)[0]
        ward = Bedside(lab)
        ward.live(0, 10)
        spot: dict[str, Any] = {vital: cuff(vital, value)}
        ward.live(10, 11, **spot)
        ward.live(11, 120)
        (told,) = ward.of(condition)
        assert (told.priority, told.value) == (priority, value)
        assert (second_of(told.onset_ms), told.reading_ms) == (10.0, told.onset_ms)
        assert second_of(told.at_ms) <= by
        back = {"systolic": 120.0, "temperature": 37.0}[vital]
        spot[vital] = cuff(vital, back)
        ward.live(120, 125, **spot)
        assert ward.events(condition)[1] in (CLEARED, LATCHED)


@rule
def a_spot_value_that_was_put_right_in_time_does_not_alarm(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 10)
    ward.live(10, 11, systolic=cuff("systolic", 85.0))
    ward.live(11, 15)
    ward.live(15, 16, systolic=cuff("systolic", 125.0))
    ward.live(16, 60)
    assert not ward.told


@rule
def two_cuff_readings_that_agree_are_no_frozen_device(lab: Lab) -> None:
    ward = Bedside(lab)
    for start in (0, 300, 600):
        ward.live(start, start + 1, systolic=cuff("systolic", 60.0))
        ward.live(start + 1, start + 30)
        ward.tick(start + 200)
    assert not ward.of("systolic_frozen")
    assert ward.events("systolic_low")[0] is RAISED
    assert {v.vital: v.tag for v in ward.score["p-1"].values}[Vital.SYSTOLIC] is Tag.OK


# -- time --------------------------------------------------------------------------------------------------------------


@rule
def a_late_reading_never_raises_but_an_episode_may_start_with_it(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 30)
    for second in range(2, 29):
        out = ward.read(second + 0.5, append_s=31 - second, spo2=70.0)
        assert out.late == 1
    ward.wait(31, 40)
    assert not ward.told
    ward = Bedside(lab)
    ward.live(0, 10)
    ward.live(12, 20, spo2=88.0)
    ward.read(10, append_s=10.5, spo2=88.0)
    ward.read(11, append_s=10.5, spo2=88.0)
    ward.live(21, 40, spo2=88.0)
    (told,) = ward.of("spo2_low")
    assert (second_of(told.onset_ms), second_of(told.at_ms)) == (10.0, 25.0)


@rule
def an_old_reading_that_is_the_newest_raises_only_when_the_bed_is_current_again(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    for second in range(5, 100):
        ward.read(second, append_s=200 - second + second / 100, spo2=80.0, heart_rate=80.0 + second % 3)
    spilled = [t for t in ward.of("spo2_low") if t.at_ms < 1_767_340_800_000 + 140_000]
    assert not spilled, "a spool raised what was long past"


@rule
def a_spool_that_empties_is_no_wrong_clock(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 5)
    behind = 295.0
    for second in range(5, 320):
        behind = max(0.2, behind - 0.95)
        ward.read(second, append_s=behind, heart_rate=80.0 + second % 3, respiration=16.0, spo2=97.0)
        tags = {v.tag for v in ward.score["p-1"].values}
        assert tags == {Tag.OK}, second


@rule
def a_clock_that_is_ahead_is_not_believed_and_told(lab: Lab) -> None:
    ward = Bedside(lab)
    for second in range(60):
        ward.read(second + 300, append_s=-300, heart_rate=80.0 + second % 3, respiration=16.0, spo2=80.0)
    assert ward.events("clock") == [RAISED]
    assert ward.of("clock")[0].message == "Device clock off by +300 s"
    assert {v.tag for v in ward.score["p-1"].values} == {Tag.CLOCK_SUSPECT}
    (low,) = ward.of("spo2_low")
    assert low.at_ms <= 1_767_340_800_000 + 10_000, "an alert from the future, or too late"
    ward.live(60, 70)
    assert ward.events("clock") == [RAISED, CLEARED]


@rule
def a_clock_that_is_behind_does_not_blind_its_bed(lab: Lab) -> None:
    ward = Bedside(lab)
    for second in range(60):
        ward.tick(second)
        ward.read(second - 300, append_s=300, heart_rate=80.0 + second % 3, respiration=16.0, spo2=80.0)
    assert ward.events("clock") == [RAISED]
    (low,) = ward.of("spo2_low")
    assert 10 <= second_of(low.at_ms) <= 19
    for second in range(60, 90):  # its lag jumps, it is still wrong
        ward.tick(second)
        ward.read(
            second - 300 + second % 7, append_s=300 - second % 7, heart_rate=80.0, respiration=16.0, spo2=second % 40
        )
        assert ward.outputs[-1].late == 0, "blind for a jump of the lag"


@rule
def readings_that_always_come_too_late_to_raise_are_told(lab: Lab) -> None:
    ward = Bedside(lab)
    for second in range(60):
        ward.tick(second)
        ward.read(second - 300, append_s=300 + second * 37 % 9, heart_rate=80.0 + second % 3, spo2=80.0)
    assert RAISED in ward.events("clock"), "a bed minutes behind has no alarm at all"


@rule
def a_clock_on_the_edge_of_what_is_believed_makes_no_two_alerts_of_one_id(lab: Lab) -> None:
    ward = Bedside(lab)
    for second in range(0, 400):
        ahead = 5.6 if second % 20 < 12 else 4.0 if second % 40 < 20 else 2.2
        ward.read(second + ahead, append_s=-ahead, heart_rate=80.0 + second % 3, respiration=16.0, spo2=97.0)
    check_ledger(ward.told)


@rule
def a_repeated_frame_changes_nothing_but_the_count(lab: Lab) -> None:
    once, twice = Bedside(lab), Bedside(lab)
    for second in range(60):
        values: dict[str, Any] = {"heart_rate": 80.0 + second % 3, "spo2": 88.0 if second < 40 else 97.0}
        once.read(second, **values)
        twice.read(second, **values)
        out = twice.read(second, **values)
        assert (out.duplicates, out.late, out.transitions) == (2, 0, ())
    assert [(t.alert_id, t.seq, t.event, t.at_ms) for t in once.told] == [
        (t.alert_id, t.seq, t.event, t.at_ms) for t in twice.told
    ]


# -- NEWS2 as an alarm -------------------------------------------------------------------------------------------------


@rule
def news2_alarms_by_its_certain_part(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 10)
    ward.live(10, 60, respiration=25.0, temperature=39.2, supplemental_oxygen=2.0)
    told = ward.of("news2")
    assert [(t.event, t.priority, t.message) for t in told] == [(RAISED, Priority.HIGH, "NEWS2 7≥7")]
    assert (second_of(told[0].onset_ms), second_of(told[0].at_ms)) == (10.0, 40.0)
    news2 = ward.score["p-1"].news2
    assert news2 is not None
    assert (news2.minimum, news2.maximum, news2.single_red) == (7, 13, True)


@rule
def a_total_that_sinks_because_a_component_is_missing_is_no_recovery(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 60, respiration=25.0, heart_rate=lambda s: 112.0 + s % 2)
    assert ward.events("news2") == [RAISED]
    ward.live(60, 200, respiration=None, heart_rate=lambda s: 112.0 + s % 2)
    assert ward.events("news2") == [RAISED]
    ward.live(200, 230)
    assert ward.events("news2") == [RAISED, CLEARED]


@rule
def a_component_that_is_only_stale_does_not_hold_a_news2_alarm_for_ever(lab: Lab) -> None:
    ward = Bedside(lab, policy=STALE_SOON)
    ward.live(0, 60, respiration=25.0, temperature=lambda s: 37.0 if s == 0 else ...)
    assert RAISED in ward.events("news2")
    ward.live(60, 120)
    assert ward.events("news2")[-1] is CLEARED


# -- patients and beds -------------------------------------------------------------------------------------------------


@rule
def a_patient_who_moves_keeps_the_alarms(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 12, spo2=80.0)
    ward.live(12, 20, bed="B7", spo2=80.0)
    assert ward.events("spo2_low") == [RAISED]
    ward.act(20, ActionKind.ACKNOWLEDGE, bed="B7")
    assert (ward.of("spo2_low")[-1].bed, ward.of("spo2_low")[-1].event) == ("B7", ACKNOWLEDGED)


@rule
def another_patient_in_the_bed_starts_with_no_alarm_and_ends_the_old_ones(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 12, spo2=80.0)
    ward.live(12, 14, patient="p-2")
    assert ward.events("spo2_low") == [RAISED, CLEARED]
    assert ward.of("spo2_low")[-1].note == "bed given to another patient"
    assert set(ward.state.beds) == {"p-2"}
    assert not ward.state.beds["p-2"].alarms


@rule
def two_patients_who_change_places_keep_their_alarms(lab: Lab) -> None:
    ward = Bedside(lab)
    low = {"heart_rate": 80.0, "spo2": 80.0}
    for second in range(12):
        ward.frame(second, {("B1", "p-1"): low, ("B2", "p-2"): low})
    ward.frame(12, {("B2", "p-1"): low, ("B1", "p-2"): low})
    assert ward.events("spo2_low") == [RAISED, RAISED]
    assert {p: b.bed for p, b in ward.state.beds.items()} == {"p-1": "B2", "p-2": "B1"}


@rule
def one_bed_named_twice_in_a_frame_breaks_nothing(lab: Lab) -> None:
    ward = Bedside(lab)
    for second in range(12):
        ward.frame(second, {("B1", "p-1"): {"spo2": 80.0}, ("B1", "p-2"): {"spo2": 80.0}})
    assert set(ward.state.beds) == {"p-2"}
    check_ledger(ward.told)


@rule
def who_comes_back_with_old_readings_gets_no_id_that_has_ended(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 12, spo2=80.0)
    ward.act(12, ActionKind.STANDBY)
    for second in range(12):
        ward.read(second, append_s=13 - second + second / 10, spo2=80.0, heart_rate=80.0)
    assert ward.events("spo2_low").count(RAISED) == 2
    check_ledger(ward.told)


# -- the log -----------------------------------------------------------------------------------------------------------


@rule
def the_same_log_gives_the_same_bytes_with_a_crash_after_any_record(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 12, spo2=80.0)
    ward.act(12, ActionKind.PAUSE_AUDIO)
    ward.live(12, 20, respiration=33.0)
    ward.restart()
    ward.wait(20, 40)
    ward.restart()
    ward.live(40, 50, heart_rate=0.0)
    ward.act(50, ActionKind.ACKNOWLEDGE)
    ward.restart()
    ward.live(50, 60)
    assert ward.replay() == [as_bytes(out) for out in ward.outputs]
    check_ledger(ward.told)


@rule
def the_clock_of_the_log_never_goes_back(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    ward.act(20, ActionKind.ACKNOWLEDGE)
    for second in (100, 50, 101, 60, 150, 30):
        ward.tick(second)
        assert ward.state.log_ms >= 1_767_340_800_000 + 100_000
    assert ward.events("spo2_low") == [RAISED, ACKNOWLEDGED, REALARMED]


@rule
def a_broker_whose_clock_ran_ahead_does_not_stop_the_ward(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 20, spo2=88.0)
    for second in range(20, 40):
        ward.tick(second + 3600)
        ward.frame(second, {("B1", "p-1"): healthy(second) | {"spo2": 88.0}}, append_s=3600)
    ward.act(3640, ActionKind.ACKNOWLEDGE)
    ward.live(40, 60, spo2=88.0)
    late = ward.outputs[-1].late
    assert late == 0, "blind until the clock has caught up"
    ward.live(60, 300, bed="B2", patient="p-2")
    assert REALARMED in ward.events("spo2_low"), "acknowledged until the clock has caught up"
    assert RAISED in [t.event for t in ward.of("silence") if t.patient == "p-1"]
    check_ledger(ward.told)
    assert ward.replay() == [as_bytes(out) for out in ward.outputs]


@rule
def one_record_with_an_old_time_moves_nothing(lab: Lab) -> None:
    ward = Bedside(lab)
    ward.live(0, 100)
    for second in range(100, 130):
        ward.tick(second)
        ward.tick(second - 60)
        ward.frame(second, {("B1", "p-1"): healthy(second)})
    assert not ward.told
    assert second_of(ward.state.log_ms) == 129.2


STALE_SOON: Final = """
version = 1
name = "stale-soon"
[limits.spo2]
low = 90.0
[stale_after_s]
heart_rate = 60.0
respiration = 60.0
spo2 = 60.0
systolic = 60.0
diastolic = 60.0
mean_pressure = 60.0
temperature = 5.0
supplemental_oxygen = 60.0
consciousness = 60.0
[news2]
medium_from = 3
"""
