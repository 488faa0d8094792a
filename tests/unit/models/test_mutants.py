"""Do the checks bite? Each mutant is the core with one fault planted in its source; each must break its rule.

A mutant whose pattern is no longer found in the source fails here too: then it is to be planted anew.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import pytest

import models.vitals.history
import models.ward
from tests.unit.models import model_rules
from tests.unit.models.bedside import Lab
from tests.unit.models.rules import RULES
from tests.unit.models.test_oracle import agree

SOURCE: Final = Path(models.ward.__file__).parent
HISTORY: Final = Path(models.vitals.history.__file__)
"""What a bed's vitals were belongs to the core's faults too; its copy stands among the others."""


class Mutant(NamedTuple):
    """One fault: in ``module``, ``old`` becomes ``new``; ``noticed_by`` is the rule that must break."""

    name: str
    module: str
    old: str
    new: str
    noticed_by: str


MUTANTS: Final = (
    Mutant(
        "a value on its low limit is a breach",
        "judgement",
        "beyond = value < limit if low else value > limit",
        "beyond = value <= limit if low else value > limit",
        "a_value_on_its_limit_is_no_breach",
    ),
    Mutant(
        "a value on its extreme limit is severe",
        "judgement",
        "severe = extreme is not None and (value < extreme if low else value > extreme)",
        "severe = extreme is not None and (value <= extreme if low else value >= extreme)",
        "an_extreme_value_alarms_sooner_and_at_high_priority",
    ),
    Mutant(
        "hysteresis is ignored",
        "judgement",
        "back = value >= limit + limits.hysteresis if low else value <= limit - limits.hysteresis",
        "back = True",
        "over_means_back_inside_by_the_hysteresis",
    ),
    Mutant(
        "the delay is ignored",
        "alarms",
        "if may_raise and (held_ms >= delay_ms or severe_held):\n            state, event = _ACTIVE, AlarmEvent.RAISED",
        "if may_raise:\n            state, event = _ACTIVE, AlarmEvent.RAISED",
        "a_breach_alarms_when_its_delay_has_passed_and_no_earlier",
    ),
    Mutant(
        "the delay is one reading longer",
        "alarms",
        "if may_raise and (held_ms >= delay_ms or severe_held):\n            state, event = _ACTIVE, AlarmEvent.RAISED",
        "if may_raise and (held_ms > delay_ms or severe_held):\n            state, event = _ACTIVE, AlarmEvent.RAISED",
        "a_breach_alarms_when_its_delay_has_passed_and_no_earlier",
    ),
    Mutant(
        "nothing latches",
        "alarms",
        "latches = alarm.category is Category.PHYSIOLOGICAL and alarm.priority in latch",
        "latches = False",
        "a_high_alarm_latches_until_it_is_acknowledged",
    ),
    Mutant(
        "technical alarms latch",
        "alarms",
        "latches = alarm.category is Category.PHYSIOLOGICAL and alarm.priority in latch",
        "latches = alarm.priority in latch",
        "a_technical_alarm_never_latches",
    ),
    Mutant(
        "an acknowledged alarm never sounds again",
        "alarms",
        "if now_ms - alarm.acked_ms >= rule.realarm_after_s * 1000:",
        "if False:",
        "an_acknowledged_alarm_that_lasts_sounds_again",
    ),
    Mutant(
        "a pause lasts as long as it was asked for",
        "people",
        "int(min(max(asked_s, 1), rule.audio_pause_max_s) * 1000)",
        "int(max(asked_s, 1) * 1000)",
        "a_pause_ends_by_itself_however_long_it_was_asked_for",
    ),
    Mutant(
        "a pause never ends",
        "alarms",
        "if alarm.audio_until_ms is not None and now_ms >= alarm.audio_until_ms:",
        "if False:",
        "a_pause_ends_by_itself_however_long_it_was_asked_for",
    ),
    Mutant(
        "a higher priority does not break a pause",
        "alarmbook",
        "if quiet and rank > bed.quiet_rank:",
        "if False:",
        "a_higher_priority_ends_the_pause_of_its_bed",
    ),
    Mutant(
        "an episode begins when it is raised",
        "alarmbook",
        "ident = machine.alert_id(self.rulebook.policy_hash, bed.patient, after.condition, after.onset_ms)",
        "ident = machine.alert_id(self.rulebook.policy_hash, bed.patient, after.condition, self.now_ms)",
        "a_breach_alarms_when_its_delay_has_passed_and_no_earlier",
    ),
    Mutant(
        "silence is judged by event time",
        "alarmbook",
        "silent_ms = self.clock_ms - bed.heard_clock_ms",
        "silent_ms = bed.newest_ms - bed.heard_ms",
        "a_silent_bed_is_found_by_the_clock",
    ),
    Mutant(
        "an outage of the log is silence",
        "core",
        "(passed if passed <= OUTAGE_MS else CHECK_EVERY_MS)",
        "passed",
        "an_outage_of_the_log_is_no_silence_of_beds",
    ),
    Mutant(
        "a gateway that repeats itself is heard",
        "intake",
        "book.clock_ms if fresh else bed.heard_clock_ms,",
        "book.clock_ms,",
        "a_gateway_that_repeats_itself_or_says_nothing_is_not_heard",
    ),
    Mutant(
        "a late reading is taken for the newest",
        "intake",
        "if at_ms <= previous.at_ms:",
        "if at_ms == previous.at_ms:",
        "a_late_reading_never_raises_but_an_episode_may_start_with_it",
    ),
    Mutant(
        "what is long past raises",
        "alarmbook",
        "may_raise = category is Category.TECHNICAL or self.now_ms - breach.at_ms <= self.rulebook.relevant_ms",
        "may_raise = True",
        "an_old_reading_that_is_the_newest_raises_only_when_the_bed_is_current_again",
    ),
    Mutant(
        "transitions are not numbered",
        "alarmbook",
        "seq=alarm.seq + 1",
        "seq=alarm.seq",
        "each_silence_is_an_alert_of_its_own",
    ),
    Mutant(
        "a missing component scores 0",
        "scoring",
        "high = low + missing",
        "high = low",
        "news2_alarms_by_its_certain_part",
    ),
    Mutant(
        "an implausible value is clamped",
        "intake",
        "            vitals[i] = VitalState(\n                value,",
        "            vitals[i] = VitalState(\n"
        "                min(value, plausible[1]) if plausible and value else value,",
        "an_implausible_value_is_kept_as_sent_tagged_and_told_and_scores_nothing",
    ),
    Mutant(
        "an implausible value scores",
        "scoring",
        "if not (tag is _OK or tag is _CLOCK_SUSPECT) or value is None:",
        "if value is None:",
        "an_implausible_value_is_kept_as_sent_tagged_and_told_and_scores_nothing",
    ),
    Mutant(
        "acknowledging ends an active alarm",
        "alarms",
        "after = msgspec.structs.replace(alarm, state=_ACKNOWLEDGED, acked_ms=now_ms, audio_until_ms=None)",
        "after = None",
        "an_acknowledged_alarm_ends_by_itself_but_acknowledging_does_not_end_it",
    ),
    Mutant(
        "an action is done each time it is told",
        "core",
        "if action.action_id not in actions:",
        "if True:",
        "an_action_told_twice_is_done_once",
    ),
    Mutant(
        "any acknowledgement is for every alarm",
        "people",
        "action.alert_id in (None, alarm.alert_id)",
        "True",
        "only_the_alarm_that_was_meant_is_acknowledged",
    ),
    Mutant(
        "a lost signal is recovery",
        "judgement",
        "        _judge_fault(book, bed, vital, names, current)\n        return",
        "        _judge_fault(book, bed, vital, names, current)\n"
        "        book.calm(bed, names.low, at_ms)\n        return",
        "losing_the_signal_is_no_recovery",
    ),
    Mutant(
        "nobody is told twice",
        "alarms",
        "alarm.escalation < rule.escalation_levels",
        "alarm.escalation < 1",
        "an_alarm_that_nobody_acknowledges_is_escalated_step_by_step",
    ),
    Mutant(
        "a cuff has to say it twice",
        "alarmbook",
        "self._ripen(bed, alarm, bed.newest_ms + silent_ms)",
        "pass",
        "one_reading_of_a_cuff_alarms_by_itself",
    ),
    Mutant(
        "an id may be given again",
        "alarmbook",
        "after = msgspec.structs.replace(after, onset_ms=last_ms + 1)",
        "pass",
        "who_comes_back_with_old_readings_gets_no_id_that_has_ended",
    ),
    Mutant(
        "a broker's clock that was set back stops the ward's",
        "core",
        "if set_back >= SET_BACK_RECORDS:",
        "if False:",
        "a_broker_whose_clock_ran_ahead_does_not_stop_the_ward",
    ),
    Mutant(
        "only the last sample of a frame is judged",
        "intake",
        "if previous is not kept:",
        "if False:",
        "two_samples_of_a_vital_in_one_frame_are_both_judged",
    ),
    Mutant(
        "a vital lost after an odd value is not missed",
        "judgement",
        "or newest_ms - current.at_ms >= no_signal_ms",
        "",
        "a_signal_lost_after_an_unusable_value_is_missed_all_the_same",
    ),
    Mutant(
        "the state that was handed in is written to",
        "intake",
        "        bed.alarms.copy(),\n",
        "        bed.alarms,\n",
        "a_breach_alarms_when_its_delay_has_passed_and_no_earlier",
    ),
    Mutant(
        "a snapshot forgets the pauses",
        "state",
        "    return _encoder.encode((STATE_VERSION, state))",
        "    beds = {p: msgspec.structs.replace(b, quiet_until_ms=0) for p, b in state.beds.items()}\n"
        "    return _encoder.encode((STATE_VERSION, msgspec.structs.replace(state, beds=beds)))",
        "the_same_log_gives_the_same_bytes_with_a_crash_after_any_record",
    ),
    Mutant(
        "models are told of no alarm",
        "asking",
        "alarm.category is Category.PHYSIOLOGICAL and alarm.state is not AlarmState.INACTIVE",
        "alarm.category is Category.PHYSIOLOGICAL and alarm.state is AlarmState.ACTIVE",
        "a_bed_is_alarming_from_the_first_breach_until_its_alarm_is_gone",
    ),
    Mutant(
        "a poor signal is an alarming patient",
        "asking",
        "alarm.category is Category.PHYSIOLOGICAL and alarm.state",
        "alarm.state",
        "a_bed_is_alarming_from_the_first_breach_until_its_alarm_is_gone",
    ),
    Mutant(
        "what was asked is asked again",
        "heeding",
        "asked_ms=now_ms,",
        "asked_ms=state.asked_ms,",
        "nothing_is_asked_twice",
    ),
    Mutant(
        "all wards ask at the same second",
        "asking",
        "phase_ms = crc32(state.ward.encode()) * 1000 % every_ms",
        "phase_ms = 0",
        "models_are_asked_every_ten_seconds_and_about_risks_every_minute",
    ),
    Mutant(
        "a clock that was put right stops the asking",
        "state",
        "asked_ms=state.asked_ms + by_ms if state.asked_ms else 0,",
        "",
        "a_broker_whose_clock_ran_ahead_does_not_stop_the_models",
    ),
    Mutant(
        "a clock that was put right leaves the past in the future",
        "state",
        "        history=bed.history.rebased(by_ms) if bed.history.minute * MINUTE_MS > latest_ms else bed.history,\n",
        "",
        "a_broker_whose_clock_ran_ahead_does_not_stop_the_models",
    ),
    Mutant(
        "a bed that is gone is asked about",
        "asking",
        "now_ms - bed.heard_ms <= HEARD_MS",
        "now_ms >= bed.heard_ms",
        "a_silent_bed_is_not_asked_about",
    ),
    Mutant(
        "a gateway may change models",
        "core",
        "if frame.models and frame.ward == CLOCK_KEY:",
        "if frame.models:",
        "nobody_is_asked_without_a_model_and_only_the_clock_says_which_are_in_force",
    ),
    Mutant(
        "what nobody believes is remembered",
        "intake",
        "        if tag is _OK or tag is _CLOCK_SUSPECT:\n            at_ms = current.at_ms",
        "        if current.value is not None:\n            at_ms = current.at_ms",
        "a_frozen_or_disbelieved_value_is_not_remembered",
    ),
    Mutant(
        "the past is taken for what was read",
        "history",
        "free = (ring == _EMPTY) & np.isfinite(found)",
        "free = np.isfinite(found)",
        "the_past_is_written_over_nothing_that_was_read",
    ),
    Mutant(
        "a redelivered reading counts again",
        "history",
        "if minute > self.minute or (minute == self.minute and not self.running[channel + _WIDTH]):",
        "if minute >= self.minute:",
        "a_reading_told_again_counts_once_for_the_models",
    ),
    Mutant(
        "who comes back is a stranger",
        "roster",
        "known = self.kept.get(incoming.patient, _NOBODY)",
        "known = _NOBODY",
        "who_is_moved_or_comes_back_keeps_past_and_memory",
    ),
    Mutant(
        "patients without a bed are kept for ever",
        "roster",
        "next(iter(self.kept.values())).since_ms < oldest_ms",
        "False",
        "at_most_sixty_four_patients_without_a_bed_are_kept_for_a_day",
    ),
    Mutant(
        "a patient who has left is answered for",
        "heeding",
        "        if bed is not None:",
        "        if bed is None:\n"
        '            bed = BedState("B1", patient, 0, 0, 0, (None,) * 9, {})\n'
        "        if bed is not None:",
        "answers_about_who_has_left_or_by_a_model_that_has_gone_are_dropped",
    ),
    Mutant(
        "a model that is gone may still answer",
        "heeding",
        "for name, model in state.models.items() if ask.models.get(name) == model.version",
        "for name, model in state.models.items()",
        "answers_about_who_has_left_or_by_a_model_that_has_gone_are_dropped",
    ),
    Mutant(
        "a version in force takes over again and again",
        "knowledge",
        "if known is not None and known.version == ref.version:",
        "if False:",
        "the_core_changes_over_at_the_record_that_says_so_and_outputs_name_it",
    ),
    Mutant(
        "an advisory has one threshold",
        "advice",
        "over=score < rule.anomaly_until",
        "over=True",
        "an_unusual_pattern_is_told_when_it_lasts_and_until_it_is_well_over",
    ),
    Mutant(
        "an advisory need not last",
        "alarmbook",
        "            del bed.alarms[condition]\n        else:\n            advice",
        "            pass\n        else:\n            advice",
        "an_unusual_pattern_is_told_when_it_lasts_and_until_it_is_well_over",
    ),
    Mutant(
        "an early warning has one threshold",
        "advice",
        "over=max(p for _, p in chances) < rule.early_warning_until",
        "over=True",
        "a_limit_that_will_be_crossed_is_told_with_its_lead",
    ),
    Mutant(
        "a warning looks ahead for ever",
        "advice",
        "if horizon_s <= book.rulebook.models.early_warning_horizon_s",
        "if horizon_s",
        "a_limit_that_will_be_crossed_is_told_with_its_lead",
    ),
    Mutant(
        "a warning outlives the alarm it was of",
        "alarmbook",
        "if warning_of(after.condition) in bed.alarms:",
        "if False:",
        "an_early_warning_ends_when_the_limit_is_crossed_and_none_is_given_then",
    ),
    Mutant(
        "a warning is given of what is there",
        "advice",
        "if alarm is not None or (value is not None and (value < bound if low else value > bound)):",
        "if False:",
        "an_early_warning_ends_when_the_limit_is_crossed_and_none_is_given_then",
    ),
    Mutant(
        "advisories come back and are escalated",
        "alarmbook",
        "self.calm(bed, condition, self.now_ms, UNHEARD)\n                continue",
        "self.calm(bed, condition, self.now_ms, UNHEARD)",
        "an_advisory_never_sounds_and_once_acknowledged_is_still_until_it_is_over",
    ),
    Mutant(
        "advisories are paused with the alarms that sound",
        "people",
        " and alarm.category is not Category.ADVISORY",
        "",
        "an_advisory_never_sounds_and_once_acknowledged_is_still_until_it_is_over",
    ),
    Mutant(
        "a new advisory is muted as if it sounded",
        "alarmbook",
        "silent = after.category is Category.ADVISORY",
        "silent = False",
        "an_advisory_never_sounds_and_once_acknowledged_is_still_until_it_is_over",
    ),
    Mutant(
        "an advisory hides alarms",
        "intake",
        "return not alarms or all(alarm.category is _ADVISORY for alarm in alarms.values())",
        "return not alarms or any(alarm.category is _ADVISORY for alarm in alarms.values())",
        "an_advisory_changes_nothing_of_the_alarms",
    ),
    Mutant(
        "an advisory outlives its model",
        "alarmbook",
        "if self.clock_ms - alarm.advice.heard_clock_ms > ADVICE_MS:",
        "if False:",
        "an_advisory_is_over_when_its_model_falls_silent_or_is_gone",
    ),
    Mutant(
        "an advisory is raised from old windows",
        "alarmbook",
        "may_raise = category is Category.TECHNICAL or self.now_ms - breach.at_ms <= self.rulebook.relevant_ms",
        "may_raise = category is not Category.PHYSIOLOGICAL or self.now_ms - breach.at_ms <= self.rulebook.relevant_ms",
        "an_advisory_is_raised_from_a_fresh_outlook_only",
    ),
    Mutant(
        "a snapshot forgets what models remember",
        "state",
        "    return _encoder.encode((STATE_VERSION, state))",
        "    beds = {p: msgspec.structs.replace(b, memories={}) for p, b in state.beds.items()}\n"
        "    return _encoder.encode((STATE_VERSION, msgspec.structs.replace(state, beds=beds)))",
        "the_same_log_and_the_same_models_give_the_same_bytes",
    ),
)


@pytest.fixture
def breed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes mutants: copies of the package under a name of their own. Their modules are gone afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    names: list[str] = []

    def make(module: str = "", old: str = "", new: str = "") -> Lab:
        name = f"mutant_ward_{len(names)}_{tmp_path.name.replace('-', '_')}"
        names.append(name)
        shutil.copytree(SOURCE, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(HISTORY, tmp_path / name / HISTORY.name)
        for path in (tmp_path / name).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            if path.stem == module:
                found = text.count(old)
                assert found == 1, f"the pattern stands {found} times in {module}.py: {old}"
                text = text.replace(old, new)
            text = text.replace("models.ward", name).replace("models.vitals.history", f"{name}.history")
            path.write_text(text, encoding="utf-8")
        return Lab(*(importlib.import_module(f"{name}.{part}") for part in ("core", "policy", "state")))

    yield make
    for name in names:
        for loaded in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
            del sys.modules[loaded]


def broken_rules(lab: Lab, names: Collection[str] = ()) -> list[str]:
    """Which of these rules (of all, when none is named) this core breaks; a crash breaks a rule too."""
    broken = []
    for rule in (r for r in RULES if not names or r.__name__ in names):
        try:
            rule(lab)
        except Exception:  # whatever a mutant does is a way of being caught
            broken.append(rule.__name__)
    return broken


def test_a_copy_without_a_fault_keeps_every_rule(breed: Any) -> None:
    lab = breed()
    assert model_rules.nothing_is_asked_twice in RULES
    assert broken_rules(lab) == []
    rng = Random(7)
    for _ in range(20):
        agree(some_case(rng), lab)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_the_mutant_is_caught(mutant: Mutant, breed: Any) -> None:
    lab = breed(mutant.module, mutant.old, mutant.new)
    assert broken_rules(lab, [mutant.noticed_by]), f"it lives, or is caught only by {broken_rules(lab)}"


def some_case(rng: Random) -> dict[str, Any]:
    """A case for the oracle, by chance."""
    values = [v for _ in range(10) for v in [rng.choice([39.0, 45.0, 50.0, 53.0, 80.0, 119.0, 130.0, 150.0])] * 4]
    return {
        "vital": "heart_rate",
        "extreme_low": 40.0,
        "low": 50.0,
        "high": 120.0,
        "extreme_high": 140.0,
        "hysteresis": 2.0,
        "delay": 5.0,
        "extreme_delay": 2.0,
        "latch": '["high"]',
        "values": values,
        "steps": [1] * len(values),
    }
