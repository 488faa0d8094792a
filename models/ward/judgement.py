"""Is something the matter? Judges a bed's values against limits and against what devices do, and its NEWS2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contracts.clinical.codes import VITALS as CODES
from contracts.clinical.news2 import COMPONENTS, RED
from contracts.clinical.plausibility import FUTURE_TOLERANCE_MS, PLAUSIBLE
from contracts.records import AlarmState, Category, News2, Priority, Tag, Vital
from models.ward import alarms as machine
from models.ward import news2
from models.ward.alarmbook import AlarmBook
from models.ward.alarms import Breach
from models.ward.conditions import CLOCK, CONDITIONS, NEWS2, Conditions
from models.ward.policy import Limits, News2Rule
from models.ward.rulebook import PatientRules
from models.ward.scoring import news2_of
from models.ward.state import INDEX, VITALS, BedState, VitalState
from models.ward.tagging import USABLE
from models.ward.values import number, shown

_GRAVE: Final = {
    Vital.HEART_RATE: (Priority.HIGH, "check patient and leads"),
    Vital.SPO2: (Priority.MEDIUM, "check patient and probe"),
}
"""Vitals whose implausibly low value may be the patient's after all: the technical alarm's priority and advice."""
_NEWS2_PLACES: Final = tuple(INDEX[vital] for vital in COMPONENTS)


def judge_vitals(
    book: AlarmBook, bed: BedState, rules: PatientRules, vitals: Sequence[VitalState | None], found: list[int]
) -> None:
    """Raises and ends the alarms of the values that are new: those at the places ``found``."""
    for i in found:
        current = vitals[i]
        if current is not None:
            _judge_vital(book, bed, rules.limits[i], i, current)


def _judge_vital(book: AlarmBook, bed: BedState, limits: Limits | None, i: int, current: VitalState) -> None:
    vital, at_ms = VITALS[i], current.at_ms
    names = CONDITIONS[i]
    if current.tag not in USABLE:
        _judge_fault(book, bed, vital, names, current)
        return
    if bed.alarms:
        book.calm(bed, names.implausible, at_ms)
        book.calm(bed, names.frozen, at_ms)
    if limits is not None:
        value = number(current.value)
        _judge_limit(book, bed, vital, names.low, value, limits, at_ms)
        _judge_limit(book, bed, vital, names.high, value, limits, at_ms)


def _judge_fault(book: AlarmBook, bed: BedState, vital: Vital, names: Conditions, current: VitalState) -> None:
    """A value that no patient has or that no longer moves. It says nothing about the vital's limits."""
    at_ms, tag = current.at_ms, current.tag
    short = CODES[vital].short
    if tag is Tag.IMPLAUSIBLE or tag is Tag.UNIT_MISMATCH:
        priority, word = Priority.LOW, tag.value.replace("_", " ")
        grave = _GRAVE.get(vital)
        if tag is Tag.IMPLAUSIBLE and grave is not None and 0.0 <= number(current.value) < PLAUSIBLE[vital].low:
            # below what a sensor can show, and yet what a dying patient would show
            word = "zero" if current.value == 0.0 else word
            priority, word = grave[0], f"{word}: {grave[1]}"
        breach = Breach(at_ms, priority, f"{short} {shown(vital, current.value)} {word}", vital, current.value)
        book.breach(bed, names.implausible, Category.TECHNICAL, breach, book.rulebook.implausible_ms)
    elif tag is Tag.FROZEN:
        held_s = (at_ms - current.same_since_ms) // 1000
        breach = Breach(at_ms, Priority.LOW, f"{short} frozen {held_s} s", vital, current.value)
        book.breach(bed, names.frozen, Category.TECHNICAL, breach, 0)


def _judge_limit(
    book: AlarmBook, bed: BedState, vital: Vital, condition: str, value: float, limits: Limits, at_ms: int
) -> None:
    """Judges one side of one vital."""
    low = condition.endswith("_low")
    limit = limits.low if low else limits.high
    if limit is None:
        return
    beyond = value < limit if low else value > limit
    if not beyond:
        if bed.alarms:
            back = value >= limit + limits.hysteresis if low else value <= limit - limits.hysteresis
            alarm = bed.alarms.get(condition)
            if alarm is not None and (back or alarm.state is AlarmState.PENDING):
                book.calm(bed, condition, at_ms)
            elif alarm is not None:
                bed.alarms[condition] = machine.on_lull(alarm)
        return
    extreme = limits.extreme_low if low else limits.extreme_high
    severe = extreme is not None and (value < extreme if low else value > extreme)
    crossed = extreme if severe and extreme is not None else limit
    value_shown, limit_shown = shown(vital, value), shown(vital, crossed)
    if value_shown == limit_shown:
        value_shown = shown(vital, value, more=1)  # 89.6 is not "90<90"
    message = f"{CODES[vital].short} {value_shown}{'<' if low else '>'}{limit_shown}"
    breach = Breach(at_ms, Priority.HIGH if severe else Priority.MEDIUM, message, vital, value, crossed)
    delay_ms, severe_ms = int(limits.delay_s * 1000), int(limits.extreme_delay_s * 1000)
    book.breach(bed, condition, Category.PHYSIOLOGICAL, breach, delay_ms, severe_ms)


def judge_absence(book: AlarmBook, bed: BedState) -> None:
    """A continuous vital that was there and is not, while the bed speaks on."""
    rulebook = book.rulebook
    vitals, newest_ms, no_signal_ms = bed.vitals, bed.newest_ms, rulebook.no_signal_ms
    for i, condition in rulebook.absences:
        current = vitals[i]
        if current is None:
            continue
        since_ms = current.good_ms or current.same_since_ms
        if newest_ms - since_ms < no_signal_ms:
            if bed.alarms and current.good_ms:
                book.calm(bed, condition, newest_ms)
        elif (
            current.tag is Tag.NO_SIGNAL
            or (current.tag in USABLE and current.at_ms < newest_ms)
            or newest_ms - current.at_ms >= no_signal_ms
        ):
            breach = Breach(since_ms, Priority.LOW, f"{CODES[VITALS[i]].short} no signal", VITALS[i])
            book.breach(bed, condition, Category.TECHNICAL, breach, 0)


def judge_skew(book: AlarmBook, bed: BedState) -> None:
    """A device whose times cannot be believed, or whose readings come too late to raise anything."""
    after_ms = book.rulebook.clock_after_ms
    ahead = bed.lag_ms < -FUTURE_TOLERANCE_MS
    behind_ms = bed.behind_since_ms
    seconds = -round(bed.lag_ms / 1000)
    if bed.skewed or (ahead and book.now_ms - bed.lag_since_ms >= after_ms):
        breach = Breach(bed.lag_since_ms, Priority.LOW, f"Device clock off by {seconds:+d} s")
        book.breach(bed, CLOCK, Category.TECHNICAL, breach, 0)
    elif behind_ms and book.now_ms - behind_ms >= after_ms:
        breach = Breach(behind_ms, Priority.LOW, f"Data {-seconds} s behind")
        book.breach(bed, CLOCK, Category.TECHNICAL, breach, 0)
    elif bed.alarms and not behind_ms and bed.lag_ms >= -FUTURE_TOLERANCE_MS // 2:
        book.calm(bed, CLOCK, bed.newest_ms)


def judge_news2(book: AlarmBook, bed: BedState, rules: PatientRules) -> News2:
    """Scores NEWS2 and judges its certain part.

    A total that sinks only because a component went missing is no recovery: for the end of an alarm a stale
    component counts as it was last seen, and one that turned unusable keeps the alarm as it is.
    """
    rulebook, at_ms = book.rulebook, bed.newest_ms
    rule = rulebook.news2
    score, each, lost = news2_of(rulebook, bed, rules.spo2_scale, at_ms)
    low = score.minimum
    breach = _news2_breach(rule, low, each, at_ms) if score.single_red or low >= rule.medium_from else None
    if breach is not None:
        delay_ms = rulebook.news2_delay_ms
        book.breach(bed, NEWS2, Category.PHYSIOLOGICAL, breach, delay_ms, delay_ms)
    elif not lost and NEWS2 in bed.alarms:
        last = [None if (current := bed.vitals[i]) is None else current.value for i in _NEWS2_PLACES]
        lowest, _, _, seen = news2.total(last, rules.spo2_scale)
        if _news2_breach(rule, lowest, seen, at_ms) is None:
            book.calm(bed, NEWS2, at_ms)
    return score


def _news2_breach(rule: News2Rule, low: int, each: Sequence[int | None], at_ms: int) -> Breach | None:
    if low >= rule.high_from:
        return Breach(at_ms, Priority.HIGH, f"NEWS2 {low}≥{rule.high_from}", None, float(low), float(rule.high_from))
    if low >= rule.medium_from:
        limit = float(rule.medium_from)
        return Breach(at_ms, Priority.MEDIUM, f"NEWS2 {low}≥{rule.medium_from}", None, float(low), limit)
    if RED in each:
        red = ", ".join(CODES[vital].short for vital, points in zip(COMPONENTS, each, strict=True) if points == RED)
        return Breach(at_ms, Priority.LOW, f"NEWS2 red score: {red}", None, float(low))
    return None
