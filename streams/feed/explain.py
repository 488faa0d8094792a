"""Why an alarm is there, in words and numbers: the rule as the policy states it, for a person at the bedside."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from contracts.clinical.codes import VITALS
from contracts.clinical.news2 import MAXIMUM
from contracts.records import AlertTransition, Category, Vital
from models.ward.policy import Limits, Policy
from streams.feed.advice import kind_of

AUDIENCE: Final = "research"
"""Who may rely on this: nobody for care. Every answer says so."""

_encoder: Final = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """JSON bytes."""
    return _encoder.encode(value)


def limits_summary(limits: dict[Vital, Limits]) -> dict[str, dict[str, float | None]]:
    """The four limits of each vital that has any."""
    return {
        vital.value: {
            "extreme_low": limit.extreme_low,
            "low": limit.low,
            "high": limit.high,
            "extreme_high": limit.extreme_high,
        }
        for vital, limit in limits.items()
    }


def policy_summary(policy: Policy) -> dict[str, Any]:
    """What the page needs of the policy."""
    return {
        "name": policy.name,
        "hash": policy.hash,
        "limits": limits_summary(policy.limits),
        "audio_pause_s": policy.alarm.audio_pause_s,
        "audio_pause_max_s": policy.alarm.audio_pause_max_s,
        "escalate_after_s": policy.alarm.escalate_after_s,
        "realarm_after_s": policy.alarm.realarm_after_s,
        "silence_after_s": policy.technical.silence_after_s,
    }


def rule_text(policy: Policy, alarm: AlertTransition) -> str:
    """The rule behind an alarm as sentences: condition, delay, when it is over, and what follows if nobody comes."""
    return " ".join([_condition(policy, alarm), *_afterwards(policy, alarm)])


def _condition(policy: Policy, alarm: AlertTransition) -> str:
    if alarm.category is Category.ADVISORY:
        return _advisory(policy, alarm)
    if alarm.condition == "news2":
        return _news2(policy, alarm)
    if alarm.condition == "silence":
        return f"Nothing at all was heard from the bed for {_seconds(policy.technical.silence_after_s)}."
    if alarm.condition == "clock":
        tail = f"for {_seconds(policy.technical.clock_after_s)}."
        return f"The device's clock runs ahead of the ward's by more than 5 s {tail}"
    if alarm.vital is not None and alarm.category is Category.TECHNICAL:
        return _fault(policy, alarm, alarm.vital)
    limits = policy.limits_for(alarm.ward, alarm.patient).get(alarm.vital) if alarm.vital is not None else None
    if alarm.vital is None or limits is None:
        return f"Condition {alarm.condition}: {alarm.message}."
    return _limit(alarm, alarm.vital, limits)


def _limit(alarm: AlertTransition, vital: Vital, limits: Limits) -> str:
    below = alarm.condition.endswith("_low")
    plain, extreme = (limits.low, limits.extreme_low) if below else (limits.high, limits.extreme_high)
    if plain is None:
        return f"Condition {alarm.condition}: {alarm.message}."
    over = plain + limits.hysteresis if below else plain - limits.hysteresis
    side, back = ("below", "at or above") if below else ("above", "at or below")
    name = VITALS[vital].display
    text = f"{name} {side} {_value(vital, plain)} for {_seconds(limits.delay_s)} alarms at medium priority"
    if extreme is not None:
        text += f", {side} {_value(vital, extreme)} for {_seconds(limits.extreme_delay_s)} at high priority"
    how = f"hysteresis {_value(vital, limits.hysteresis)}"
    return f"{text}. It is over once the value is {back} {_value(vital, over)} ({how})."


def _advisory(policy: Policy, alarm: AlertTransition) -> str:
    rule, kind = policy.models, kind_of(alarm.condition)
    model = alarm.model or "a model"
    if kind.kind == "forecast" and kind.vital is not None:
        crosses = "falls below" if kind.side == "low" else "rises above"
        limit = _value(kind.vital, alarm.limit) if alarm.limit is not None else "its limit"
        what = f"{VITALS[kind.vital].display.lower()} {crosses} {limit}"
        within, after = _duration(rule.early_warning_horizon_s), rule.early_warning_sustained_s
        return (
            f"When {model} holds it at least {_percent(rule.early_warning_from)} likely for {_seconds(after)} that "
            f"{what} within {within}, it warns. It is over once that is less than "
            f"{_percent(rule.early_warning_until)} likely, or the limit is crossed and the alarm takes over."
        )
    if kind.kind == "risk":
        begin, end = rule.risk_from.get(kind.risk), rule.risk_until.get(kind.risk)
        what = kind.risk.replace("_", " ")
        if begin is None or end is None:
            return f"{model} told a risk of {what}; the policy in force now does not warn of it."
        return (
            f"When {model} holds {what} at least {_percent(begin)} likely for {_seconds(rule.risk_sustained_s)}, it "
            f"warns. It is over once that is less than {_percent(end)} likely."
        )
    return (
        f"When {model} scores the last minutes at least {rule.anomaly_from:g} of 1 unlike this patient's own past for "
        f"{_seconds(rule.anomaly_sustained_s)}, it warns. It is over once the score is below {rule.anomaly_until:g}."
    )


def _news2(policy: Policy, alarm: AlertTransition) -> str:
    rule = policy.news2
    scale = policy.spo2_scale_for(alarm.ward, alarm.patient)
    return (
        f"The certain part of NEWS2 (its minimum over what is missing, of {MAXIMUM}, SpO2 scale {scale}) "
        f"for {_seconds(rule.delay_s)} at {rule.high_from} or more alarms at high priority, at {rule.medium_from} or "
        "more at medium; a single component at 3 points at low priority."
    )


def _fault(policy: Policy, alarm: AlertTransition, vital: Vital) -> str:
    name, technical = VITALS[vital].display, policy.technical
    kind = alarm.condition.removeprefix(f"{vital.value}_")
    if kind == "no_signal":
        return (
            f"{name} gave no usable value for {_seconds(technical.no_signal_after_s)} while the bed's devices spoke on."
        )
    if kind == "frozen" and vital in technical.frozen_after_s:
        return (
            f"{name} repeated exactly one value for {_seconds(technical.frozen_after_s[vital])}, which a body does not."
        )
    if kind == "implausible":
        return (
            f"{name} was outside what a living patient on a working sensor can show for "
            f"{_seconds(technical.implausible_after_s)}; the value is shown as sent and takes no part in scores."
        )
    return f"Condition {alarm.condition}: {alarm.message}."


def _afterwards(policy: Policy, alarm: AlertTransition) -> list[str]:
    rule = policy.alarm
    told = []
    if alarm.category is Category.ADVISORY:
        return ["It makes no sound, does not repeat itself and calls nobody; it also ends when its model falls silent."]
    if alarm.category is Category.PHYSIOLOGICAL:
        if alarm.priority in rule.latch:
            told.append(f"At {alarm.priority.value} priority it stays until it is acknowledged, even when it is over.")
        told.append(f"Unacknowledged for {_seconds(rule.escalate_after_s)} it is escalated.")
    told.append(f"Acknowledged and still there after {_seconds(rule.realarm_after_s)} it sounds again.")
    return told


def _percent(share: float) -> str:
    return f"{share * 100:g} %"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"


def _seconds(seconds: float) -> str:
    return f"{seconds:g} s"


def _value(vital: Vital, value: float) -> str:
    code = VITALS[vital]
    return f"{value:.{code.decimals}f} {code.shown_unit}".strip()
