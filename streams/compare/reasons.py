"""Why an alarm stands, and why none does: for each condition of a bed the exact reason, from its state alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from contracts.clinical.codes import VITALS as CODES
from contracts.records import AlarmState, BedOutlook, Tag, VitalForecast
from models.ward.alarms import Alarm
from models.ward.conditions import ANOMALY as ANOMALY_CONDITION
from models.ward.conditions import CLOCK, CONDITIONS, NEWS2, SILENCE, risk_of, warning_of
from models.ward.policy import Limits
from models.ward.rulebook import Rulebook
from models.ward.scoring import news2_of
from models.ward.state import INDEX, VITALS, BedState, VitalState
from models.ward.tagging import USABLE
from models.ward.values import number, shown

Code = Literal[
    "raised",
    "paused",
    "hysteresis",
    "pending",
    "late",
    "inside",
    "no_limit",
    "no_data",
    "stale",
    "implausible",
    "not_believed",
    "no_signal",
    "below_threshold",
    "not_asked",
]
_LIMITED: Final = ("low", "high")


class Reason(NamedTuple):
    """Why a condition is as it is. ``margin``: how far inside, in the vital's unit; ``left_s``: of its delay."""

    condition: str
    code: Code
    words: str
    margin: float | None = None
    left_s: float | None = None
    since_ms: int | None = None
    alert_id: str | None = None


class Moment(NamedTuple):
    """A bed as of ``now_ms`` (log time) under its rules."""

    rulebook: Rulebook
    ward: str
    bed: BedState
    now_ms: int

    @property
    def silent_ms(self) -> int:
        """How long it has not been heard."""
        return self.now_ms - self.bed.heard_ms

    @property
    def as_of_ms(self) -> int:
        """Event time now."""
        return self.bed.newest_ms + self.silent_ms


def reasons(at: Moment, outlook: BedOutlook | None, forecasts: Sequence[VitalForecast]) -> list[Reason]:
    """Of each condition that the policy or a model knows, one reason; what stands comes first."""
    found = [*_of_vitals(at), _of_news2(at), *_of_equipment(at), *_of_models(at, outlook, forecasts)]
    told = {reason.condition for reason in found}
    found += [_standing(at, alarm) for condition, alarm in at.bed.alarms.items() if condition not in told]
    ranks: dict[str, int] = {"raised": 0, "paused": 0, "hysteresis": 0, "pending": 1, "late": 1}
    return sorted(found, key=lambda reason: ranks.get(reason.code, 2))


def _of_vitals(at: Moment) -> Iterator[Reason]:
    rules = at.rulebook.of(at.ward, at.bed.patient)
    for i, vital in enumerate(VITALS):
        limits, current = rules.limits[i], at.bed.vitals[i]
        if limits is None:
            continue
        for side in _LIMITED:
            condition = f"{vital.value}_{side}"
            alarm = at.bed.alarms.get(condition)
            limit = limits.low if side == "low" else limits.high
            if limit is None:
                yield Reason(condition, "no_limit", "the policy has no limit on this side")
            elif alarm is not None:
                yield _going(at, alarm, limits, limit, current)
            elif current is None:
                yield Reason(condition, "no_data", "nothing of it was ever heard from this bed")
            else:
                yield _quiet(at, i, side, limit, current)


def _quiet(at: Moment, i: int, side: str, limit: float, current: VitalState) -> Reason:
    """Why nothing of one side of one vital is even pending."""
    vital, age_ms = VITALS[i], at.as_of_ms - current.at_ms
    condition, value = f"{vital.value}_{side}", shown(vital, current.value)
    if current.tag not in USABLE:
        code: Code = "no_signal" if current.tag is Tag.NO_SIGNAL else "not_believed"
        if current.tag in (Tag.IMPLAUSIBLE, Tag.UNIT_MISMATCH):
            code = "implausible"
        return Reason(condition, code, f"{value} is {_words(current.tag)}, so it is not held against the limit")
    unit = CODES[vital].ucum
    gap = number(current.value) - limit if side == "low" else limit - number(current.value)
    sign = ">=" if side == "low" else "<="
    if age_ms > at.rulebook.stale_ms[i]:
        words = f"last heard {age_ms / 1000:g} s ago: too old to count; it was {value} {sign} {shown(vital, limit)}"
        return Reason(condition, "stale", words, round(gap, 3))
    if gap < 0:  # it was pending, or the alarm would stand
        words = f"{value} is beyond {shown(vital, limit)}, but nothing has confirmed it since: it was let go"
        return Reason(condition, "late", words)
    return Reason(condition, "inside", f"{value} {sign} {shown(vital, limit)}: inside by {gap:g} {unit}", round(gap, 3))


def _going(at: Moment, alarm: Alarm, limits: Limits, limit: float, current: VitalState | None) -> Reason:
    """A limit's condition that is pending, raised, acknowledged or latched."""
    if alarm.state is AlarmState.PENDING:
        return _pending(at, alarm, limits.delay_s, limits.extreme_delay_s)
    usable = current is not None and current.tag in USABLE and current.value is not None
    if usable and current is not None and alarm.state is not AlarmState.LATCHED:
        value, low = number(current.value), alarm.condition.endswith("_low")
        back = limit + limits.hysteresis if low else limit - limits.hysteresis
        inside = value - limit if low else limit - value
        if inside >= 0:
            needed = f"over once it is {'>=' if low else '<='} {back:g}"
            words = f"{alarm.message}; {value:g} is inside again, but not beyond the hysteresis: {needed}"
            return _standing(at, alarm)._replace(code="hysteresis", words=words, margin=round(inside, 3))
    return _standing(at, alarm)


def _pending(at: Moment, alarm: Alarm, delay_s: float, severe_delay_s: float | None) -> Reason:
    held_s = (alarm.breach_ms - alarm.onset_ms) / 1000
    left_s = delay_s - held_s
    if alarm.severe_ms is not None and severe_delay_s is not None:
        left_s = min(left_s, severe_delay_s - (alarm.breach_ms - alarm.severe_ms) / 1000)
    if left_s <= 0:
        behind_s = (at.now_ms - alarm.breach_ms) / 1000
        words = f"{alarm.message} for {held_s:g} s, but its readings came {behind_s:g} s late: too late to raise it"
        return Reason(alarm.condition, "late", words, since_ms=alarm.onset_ms, left_s=0.0)
    words = f"{alarm.message} for {held_s:g} s of {delay_s:g} s: {left_s:g} s of its delay are left"
    return Reason(alarm.condition, "pending", words, left_s=left_s, since_ms=alarm.onset_ms)


def _standing(at: Moment, alarm: Alarm) -> Reason:
    """An alarm that was raised, whatever became of it since."""
    if alarm.state is AlarmState.PENDING:
        return _pending(at, alarm, 0.0, None)
    state = "raised" if alarm.state is AlarmState.ACTIVE else alarm.state.value
    words, code = f"{alarm.message} ({alarm.priority}): {state}", "raised"
    if alarm.audio_until_ms is not None and alarm.audio_until_ms > at.now_ms:
        code = "paused"
        words += f", its sound paused for another {(alarm.audio_until_ms - at.now_ms) / 1000:g} s"
    return Reason(
        alarm.condition,
        "paused" if code == "paused" else "raised",
        words,
        since_ms=alarm.onset_ms,
        alert_id=alarm.alert_id,
    )


def _of_news2(at: Moment) -> Reason:
    alarm, rule = at.bed.alarms.get(NEWS2), at.rulebook.news2
    if alarm is not None and alarm.state is AlarmState.PENDING:
        return _pending(at, alarm, rule.delay_s, None)
    if alarm is not None:
        return _standing(at, alarm)
    scale = at.rulebook.of(at.ward, at.bed.patient).spo2_scale
    score, _, _ = news2_of(at.rulebook, at.bed, scale, at.as_of_ms)
    words = f"its certain part is {score.minimum} (at most {score.maximum}), below {rule.medium_from}, no red score"
    return Reason(NEWS2, "below_threshold", words, float(rule.medium_from - score.minimum))


def _of_equipment(at: Moment) -> Iterator[Reason]:
    """Silence of the whole bed, its clock, and continuous vitals that stopped."""
    for condition in (SILENCE, CLOCK):
        if (alarm := at.bed.alarms.get(condition)) is not None:
            yield _standing(at, alarm)
    if SILENCE not in at.bed.alarms:
        after_s = at.rulebook.silence_ms / 1000
        words = f"heard {at.silent_ms / 1000:g} s ago; silence alarms after {after_s:g} s"
        yield Reason(SILENCE, "inside", words, margin=after_s - at.silent_ms / 1000)
    if CLOCK not in at.bed.alarms:
        yield Reason(CLOCK, "inside", f"its device's clock is {-at.bed.lag_ms / 1000:+g} s off the log's")
    for i, names in enumerate(CONDITIONS):
        current = at.bed.vitals[i]
        for condition in (names.implausible, names.frozen, names.no_signal):
            alarm = at.bed.alarms.get(condition)
            if alarm is None:
                continue
            if alarm.state is AlarmState.PENDING and current is not None and condition == names.implausible:
                yield _pending(at, alarm, at.rulebook.implausible_ms / 1000, None)
            else:
                yield _standing(at, alarm)


def _of_models(at: Moment, outlook: BedOutlook | None, forecasts: Sequence[VitalForecast]) -> Iterator[Reason]:
    rule = at.rulebook.models
    if outlook is not None and outlook.anomaly is not None:
        yield _advised(at, ANOMALY_CONDITION, outlook.anomaly.score, rule.anomaly_from, rule.anomaly_sustained_s)
    for risk in outlook.risks if outlook is not None else ():
        if (from_ := rule.risk_from.get(risk.name)) is not None:
            yield _advised(at, risk_of(risk.name), risk.probability, from_, rule.risk_sustained_s)
    chances: dict[str, float] = {}
    for forecast in forecasts:
        names = CONDITIONS[INDEX[forecast.vital]]
        for condition, side in ((names.low, forecast.below), (names.high, forecast.above)):
            near = [
                chance
                for horizon_s, chance in zip(forecast.horizons_s, side or (), strict=False)
                if horizon_s <= rule.early_warning_horizon_s
            ]
            if near:
                chances[condition] = max(*near, chances.get(condition, 0.0))
    for condition, chance in chances.items():
        from_, sustained_s = rule.early_warning_from, rule.early_warning_sustained_s
        yield _advised(at, warning_of(condition), chance, from_, sustained_s)


def _advised(at: Moment, condition: str, score: float, from_: float, sustained_s: float) -> Reason:
    alarm = at.bed.alarms.get(condition)
    if alarm is not None and alarm.state is AlarmState.PENDING:
        return _pending(at, alarm, sustained_s, None)
    if alarm is not None:
        return _standing(at, alarm)
    if score >= from_:
        return Reason(condition, "below_threshold", f"{score:g} >= {from_:g}, but its limit is crossed already")
    words = f"{score:g}, an advisory from {from_:g} on"
    return Reason(condition, "below_threshold", words, round(from_ - score, 4))


def _words(tag: Tag) -> str:
    return {
        Tag.IMPLAUSIBLE: "no value that a patient has (implausible)",
        Tag.UNIT_MISMATCH: "in a unit that it cannot have",
        Tag.NO_SIGNAL: "no value at all (no signal)",
        Tag.CUFF_INTERFERENCE: "taken while a cuff stops the flow",
        Tag.FROZEN: "frozen: exactly the same for too long",
    }.get(tag, tag.value.replace("_", " "))
