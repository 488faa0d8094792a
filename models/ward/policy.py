"""The alarm policy: limits, delays and rules as a file, checked at birth and hashed into every alert."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

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


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole alarm policy; equal content has an equal ``hash``, whatever the file looked like."""

    version: int
    name: str
    limits: dict[Vital, Limits]
    stale_after_s: dict[Vital, float]
    technical: Technical = Technical()
    news2: News2Rule = News2Rule()
    alarm: AlarmRule = AlarmRule()
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


def _problems(policy: Policy) -> list[str]:
    found = []
    if policy.version not in POLICY_VERSIONS:
        found.append(f"version {policy.version} is unknown; known are {sorted(POLICY_VERSIONS)}")
    found += [f"stale_after_s.{vital} is missing" for vital in Vital if vital not in policy.stale_after_s]
    cases = [("limits", policy.limits)]
    cases += [(f"wards.{ward}.limits", policy.limits_for(ward, "")) for ward in policy.wards]
    cases += [(f"patients.{patient}.limits", policy.limits_for("", patient)) for patient in policy.patients]
    for where, limits in cases:
        for vital, limit in limits.items():
            found += [f"{where}.{vital}: {problem}" for problem in _limit_problems(vital, limit)]
    scales = [("news2", policy.news2.spo2_scale)]
    scales += [(f"wards.{w}", o.spo2_scale) for w, o in policy.wards.items() if o.spo2_scale is not None]
    scales += [(f"patients.{p}", o.spo2_scale) for p, o in policy.patients.items() if o.spo2_scale is not None]
    found += [f"{where}.spo2_scale is {scale}; it is 1 or 2" for where, scale in scales if scale not in (1, 2)]
    if policy.technical.silence_after_s <= 0 or policy.alarm.realarm_after_s <= 0:
        found.append("technical.silence_after_s and alarm.realarm_after_s must be above 0")
    if policy.alarm.audio_pause_s > policy.alarm.audio_pause_max_s or policy.alarm.audio_pause_max_s > 600:
        found.append("alarm.audio_pause_s <= alarm.audio_pause_max_s <= 600: no silence without an end")
    if not 0 < policy.news2.medium_from <= policy.news2.high_from:
        found.append("news2: 0 < medium_from <= high_from")
    return found


def _limit_problems(vital: Vital, limit: Limits) -> list[str]:
    if vital in (Vital.CONSCIOUSNESS, Vital.SUPPLEMENTAL_OXYGEN):
        return ["has no limits; it takes part through NEWS2"]
    steps = [x for x in (limit.extreme_low, limit.low, limit.high, limit.extreme_high) if x is not None]
    problems = []
    if steps != sorted(set(steps)):
        problems.append("extreme_low < low < high < extreme_high must hold")
    if (limit.extreme_low is not None and limit.low is None) or (limit.extreme_high is not None and limit.high is None):
        problems.append("an extreme limit needs the plain limit on its side")
    if min(limit.hysteresis, limit.delay_s, limit.extreme_delay_s) < 0:
        problems.append("hysteresis and delays must not be negative")
    if (
        limit.low is not None
        and limit.high is not None
        and limit.low + limit.hysteresis > limit.high - limit.hysteresis
    ):
        problems.append("hysteresis is wider than the range between low and high")
    return problems
