"""The alarm policy: limits, delays and rules as a file, checked at birth and hashed into every alert."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import resources
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.clinical.plausibility import PLAUSIBLE
from contracts.errors import Misconfigured
from contracts.records import Priority, Vital

POLICY_VERSIONS: Final = frozenset({1})
_DEFAULT: Final = "adult.toml"


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alarm limits of one vital in its canonical unit; None means no limit on that side.

    A value beyond ``low``/``high`` for ``delay_s`` alarms at medium priority, beyond the extreme limit for
    ``extreme_delay_s`` at high. It is over once the value is back inside by ``hysteresis``.
    """

    extreme_low: float | None = None
    low: float | None = None
    high: float | None = None
    extreme_high: float | None = None
    hysteresis: float = 0.0
    delay_s: float = 10.0
    extreme_delay_s: float = 5.0


class LimitsOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of ``Limits`` to replace for a ward or a patient."""

    extreme_low: float | msgspec.UnsetType | None = msgspec.UNSET
    low: float | msgspec.UnsetType | None = msgspec.UNSET
    high: float | msgspec.UnsetType | None = msgspec.UNSET
    extreme_high: float | msgspec.UnsetType | None = msgspec.UNSET
    hysteresis: float | msgspec.UnsetType = msgspec.UNSET
    delay_s: float | msgspec.UnsetType = msgspec.UNSET
    extreme_delay_s: float | msgspec.UnsetType = msgspec.UNSET


class Override(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What differs for one ward or one patient. ``spo2_scale`` 2 needs a recorded hypercapnic respiratory failure."""

    limits: dict[Vital, LimitsOverride] = {}
    spo2_scale: int | None = None


class Technical(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the equipment, not the patient, is the matter. ``continuous`` vitals are expected on every tick."""

    silence_after_s: float = 10.0
    no_signal_after_s: float = 10.0
    implausible_after_s: float = 5.0
    clock_after_s: float = 10.0
    continuous: tuple[Vital, ...] = (Vital.HEART_RATE, Vital.RESPIRATION, Vital.SPO2)
    frozen_after_s: dict[Vital, float] = {}


class News2Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the certain part of NEWS2 (its minimum) alarms."""

    spo2_scale: int = 1
    medium_from: int = 5
    high_from: int = 7
    delay_s: float = 30.0


class AlarmRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How alarms live on after they are raised. Nothing here can silence one for ever."""

    latch: tuple[Priority, ...] = (Priority.HIGH,)
    realarm_after_s: float = 120.0
    escalate_after_s: float = 180.0
    escalation_levels: int = 2
    audio_pause_s: float = 60.0
    audio_pause_max_s: float = 120.0
    relevant_s: float = 60.0


class ModelsRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often models are asked, and when what they say becomes an advisory.

    An advisory is raised once its score or probability has been at least ``..._from`` for ``..._sustained_s``, and is
    over once it is below ``..._until``. An early warning is of a limit that will be crossed within
    ``early_warning_horizon_s``; a risk without ``risk_from`` raises nothing. Advisories never sound, whatever their
    ``priority``, which is low or medium.
    """

    ask_every_s: float = 10.0
    risks_every_s: float = 60.0
    priority: Priority = Priority.LOW
    anomaly_from: float = 0.99
    anomaly_until: float = 0.9
    anomaly_sustained_s: float = 180.0
    early_warning_from: float = 0.5
    early_warning_until: float = 0.35
    early_warning_horizon_s: float = 14400.0
    early_warning_sustained_s: float = 30.0
    risk_sustained_s: float = 120.0
    risk_from: dict[str, float] = {}
    risk_until: dict[str, float] = {}


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole alarm policy; equal content has an equal ``hash``, whatever the file looked like."""

    version: int
    name: str
    limits: dict[Vital, Limits]
    stale_after_s: dict[Vital, float]
    technical: Technical = Technical()
    news2: News2Rule = News2Rule()
    alarm: AlarmRule = AlarmRule()
    models: ModelsRule = ModelsRule()
    wards: dict[str, Override] = {}
    patients: dict[str, Override] = {}

    @property
    def hash(self) -> str:
        """First 12 hex digits of the sha256 of the canonical content."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]

    def limits_for(self, ward: str, patient: str) -> dict[Vital, Limits]:
        """The limits in force: the policy's, then the ward's overrides, then the patient's."""
        merged = dict(self.limits)
        for override in (self.wards.get(ward), self.patients.get(patient)):
            if override is not None:
                for vital, change in override.limits.items():
                    merged[vital] = _with(merged.get(vital, Limits()), change)
        return merged

    def spo2_scale_for(self, ward: str, patient: str) -> int:
        """NEWS2 SpO2 scale of a patient, 1 or 2."""
        for override in (self.patients.get(patient), self.wards.get(ward)):
            if override is not None and override.spo2_scale is not None:
                return override.spo2_scale
        return self.news2.spo2_scale


def load_policy(path: str | Path | None = None) -> Policy:
    """The policy in that file, or the built-in one for adults.

    Raises Misconfigured naming the file, the field and what is wrong with it.
    """
    name = str(path) if path is not None else _DEFAULT
    try:
        if path is None:
            raw = resources.files("models.ward").joinpath("policies", _DEFAULT).read_bytes()
        else:
            raw = Path(path).read_bytes()
    except OSError as unreadable:
        raise Misconfigured(f"policy {name} cannot be read: {unreadable.strerror}; check WARD_POLICY") from unreadable
    return parse_policy(raw, name)


def parse_policy(raw: bytes, name: str = "policy") -> Policy:
    """The policy in TOML bytes; raises Misconfigured as ``load_policy`` does."""
    try:
        policy = msgspec.toml.decode(raw, type=Policy)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise Misconfigured(f"policy {name}: {wrong}") from wrong
    for problem in _problems(policy):
        raise Misconfigured(f"policy {name}: {problem}")
    return policy


def _with(base: Limits, change: LimitsOverride) -> Limits:
    fields = {f: getattr(change, f) for f in change.__struct_fields__ if getattr(change, f) is not msgspec.UNSET}
    return msgspec.structs.replace(base, **fields)


_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "technical.silence_after_s": (1, 60),
    "technical.no_signal_after_s": (1, 300),
    "technical.implausible_after_s": (0, 300),
    "technical.clock_after_s": (0, 300),
    "news2.delay_s": (0, 600),
    "alarm.realarm_after_s": (1, 600),
    "alarm.escalate_after_s": (1, 3600),
    "alarm.escalation_levels": (0, 10),
    "alarm.audio_pause_s": (1, 600),
    "alarm.audio_pause_max_s": (1, 600),
    "alarm.relevant_s": (1, 600),
    "models.ask_every_s": (1, 60),
    "models.risks_every_s": (1, 3600),
    "models.anomaly_from": (0.5, 1),
    "models.anomaly_until": (0, 1),
    "models.anomaly_sustained_s": (0, 3600),
    "models.early_warning_from": (0.05, 1),
    "models.early_warning_until": (0, 1),
    "models.early_warning_horizon_s": (60, 21600),
    "models.early_warning_sustained_s": (0, 3600),
    "models.risk_sustained_s": (0, 3600),
}
"""Inclusive; in seconds, but for levels, scores and probabilities. Beyond them an alarm would as good as never come, or
come back."""
DELAY_MAX_S: Final = 600


def _endless(content: Any, path: str) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _endless(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, float) and not isfinite(content):
        yield f"{path} is {content}; a limit or time is a finite number"


def _problems(policy: Policy) -> list[str]:
    found = list(_endless(msgspec.to_builtins(policy), ""))
    if policy.version not in POLICY_VERSIONS:
        found.append(f"version {policy.version} is unknown; known are {sorted(POLICY_VERSIONS)}")
    found += [f"stale_after_s.{vital} is missing" for vital in Vital if vital not in policy.stale_after_s]
    found += [f"stale_after_s.{v} is {s}; it is above 0" for v, s in policy.stale_after_s.items() if s <= 0]
    frozen = policy.technical.frozen_after_s
    found += [f"technical.frozen_after_s.{v} is {s}; it is above 0" for v, s in frozen.items() if s <= 0]
    for name, (least, most) in _BOUNDS.items():
        part, field = name.split(".")
        value = getattr(getattr(policy, part), field)
        if not least <= value <= most:
            found.append(f"{name} is {value}; it is {least} to {most}")
    cases = [("limits", policy.limits)]
    cases += [(f"wards.{ward}.limits", policy.limits_for(ward, "")) for ward in policy.wards]
    cases += [(f"patients.{patient}.limits", policy.limits_for("", patient)) for patient in policy.patients]
    cases += [
        (f"patients.{patient}.limits in ward {ward}", policy.limits_for(ward, patient))
        for ward, patient in product(policy.wards, policy.patients)
    ]
    for where, limits in cases:
        for vital, limit in limits.items():
            found += [f"{where}.{vital}: {problem}" for problem in _limit_problems(vital, limit)]
    scales = [("news2", policy.news2.spo2_scale)]
    scales += [(f"wards.{w}", o.spo2_scale) for w, o in policy.wards.items() if o.spo2_scale is not None]
    scales += [(f"patients.{p}", o.spo2_scale) for p, o in policy.patients.items() if o.spo2_scale is not None]
    found += [f"{where}.spo2_scale is {scale}; it is 1 or 2" for where, scale in scales if scale not in (1, 2)]
    if policy.alarm.audio_pause_s > policy.alarm.audio_pause_max_s:
        found.append("alarm.audio_pause_s <= alarm.audio_pause_max_s must hold")
    if not 0 < policy.news2.medium_from <= policy.news2.high_from:
        found.append("news2: 0 < medium_from <= high_from")
    return found + _model_problems(policy.models)


def _model_problems(rule: ModelsRule) -> list[str]:
    found = []
    if rule.priority is Priority.HIGH:
        found.append("models.priority is high; an advisory is low or medium")
    pairs = [(f"models.{name}", getattr(rule, f"{name}_from"), getattr(rule, f"{name}_until")) for name in _ADVISED]
    for name, from_ in rule.risk_from.items():
        until = rule.risk_until.get(name)
        if until is None:
            found.append(f"models.risk_until.{name} is missing")
            continue
        pairs.append((f"models.risk {name}", from_, until))
        if not (0.01 <= from_ <= 1 and 0 <= until <= 1):
            found.append(f"models.risk_from.{name} is {from_}, models.risk_until.{name} {until}; they are 0.01 to 1")
    found += [f"models.risk_until.{name} has no risk_from" for name in rule.risk_until if name not in rule.risk_from]
    found += [
        f"{name}: until <= from must hold, not {until} and {from_}" for name, from_, until in pairs if until > from_
    ]
    return found


_ADVISED: Final = ("anomaly", "early_warning")


def _steps(limit: Limits) -> tuple[float | None, ...]:
    return limit.extreme_low, limit.low, limit.high, limit.extreme_high


def _limit_problems(vital: Vital, limit: Limits) -> list[str]:
    if vital in (Vital.CONSCIOUSNESS, Vital.SUPPLEMENTAL_OXYGEN):
        return ["has no limits; it takes part through NEWS2"]
    steps = [step for step in _steps(limit) if step is not None]
    problems = []
    if steps != sorted(set(steps)):
        problems.append("extreme_low < low < high < extreme_high must hold")
    if (limit.extreme_low is not None and limit.low is None) or (limit.extreme_high is not None and limit.high is None):
        problems.append("an extreme limit needs the plain limit on its side")
    if min(limit.hysteresis, limit.delay_s, limit.extreme_delay_s) < 0:
        problems.append("hysteresis and delays must not be negative")
    if max(limit.delay_s, limit.extreme_delay_s) > DELAY_MAX_S:
        problems.append(f"a delay above {DELAY_MAX_S} s is no alarm")
    plausible = PLAUSIBLE[vital]
    for side, value in zip(("extreme_low", "low", "high", "extreme_high"), _steps(limit), strict=True):
        if value is not None and not plausible.low < value < plausible.high:
            between = f"{plausible.low:g} and {plausible.high:g}"
            problems.append(f"{side} {value:g} could never be crossed: what is not between {between} is implausible")
    if (
        limit.low is not None
        and limit.high is not None
        and limit.low + limit.hysteresis > limit.high - limit.hysteresis
    ):
        problems.append("hysteresis is wider than the range between low and high")
    return problems
