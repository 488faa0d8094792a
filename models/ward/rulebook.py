"""A policy compiled for the core: rules by place of the vital, times in ms; those of a patient are derived once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import nan
from typing import Any, Final, NamedTuple

from contracts.clinical.news2 import COMPONENTS
from contracts.records import News2Component, Vital
from models.vitals.history import CHANNELS
from models.ward import news2
from models.ward.conditions import CONDITIONS
from models.ward.policy import Limits, Policy
from models.ward.state import INDEX, VITALS

PENDING_MAX_MS: Final = 60_000
"""A pending alarm whose condition was not seen again for this long (or twice the longest delay) is forgotten."""


class PatientRules(NamedTuple):
    """What holds for one patient. ``bounds`` are the low and high of ``limits``, for the hot path.

    ``channels`` are those of the vitals that models see, NaN where there is none.
    """

    limits: tuple[Limits | None, ...]
    bounds: tuple[tuple[float | None, float | None] | None, ...]
    spo2_scale: int
    channels: tuple[tuple[float, float], ...]


ChartRow = tuple[int, Vital, int, Mapping[Any, int], Callable[[Any], int], int, Mapping[int | None, News2Component]]
"""One component of NEWS2: the place of its vital in the state, the vital, for how many ms it counts, then the points of
usual values, of any value and the most (see ``news2.Row``), then the component just measured, as most are, by points.

A plain tuple, which is taken apart faster than a named one.
"""


class Rulebook:
    """The rules of one policy."""

    def __init__(self, policy: Policy) -> None:
        technical = policy.technical
        self.policy = policy
        self.policy_hash = policy.hash
        self.alarm = policy.alarm
        self.news2 = policy.news2
        self.models = policy.models
        self.stale_ms = tuple(int(policy.stale_after_s[vital] * 1000) for vital in VITALS)
        self.frozen_ms = tuple(int(technical.frozen_after_s.get(vital, 0) * 1000) for vital in VITALS)
        self.continuous = tuple(frozenset(INDEX[vital] for vital in technical.continuous))
        self.absences = tuple((i, CONDITIONS[i].no_signal) for i in self.continuous)
        self.no_signal_ms = int(technical.no_signal_after_s * 1000)
        self.implausible_ms = int(technical.implausible_after_s * 1000)
        self.clock_after_ms = int(technical.clock_after_s * 1000)
        self.silence_ms = int(technical.silence_after_s * 1000)
        self.relevant_ms = int(policy.alarm.relevant_s * 1000)
        self.news2_delay_ms = int(policy.news2.delay_s * 1000)
        self.pending_max_ms = max(PENDING_MAX_MS, 2 * _longest_delay_ms(policy))
        self.chart: tuple[ChartRow, ...] = tuple(
            (INDEX[vital], vital, self.stale_ms[INDEX[vital]], *row, _just_now(vital))
            for vital, row in zip(COMPONENTS, news2.ROWS, strict=True)
        )
        self.ask_every_ms = int(policy.models.ask_every_s * 1000)
        self.risks_every_ms = int(policy.models.risks_every_s * 1000)
        self._patients: dict[tuple[str, str], PatientRules] = {}

    def of(self, ward: str, patient: str) -> PatientRules:
        """The rules of that patient in that ward."""
        rules = self._patients.get((ward, patient))
        if rules is None:
            limits = self.policy.limits_for(ward, patient)
            ordered = tuple(limits.get(v) for v in VITALS)
            bounds = tuple(None if each is None else (each.low, each.high) for each in ordered)
            channels = tuple(_bounds_or_nan(bounds[INDEX[vital]]) for vital in CHANNELS)
            rules = PatientRules(ordered, bounds, self.policy.spo2_scale_for(ward, patient), channels)
            self._patients[(ward, patient)] = rules
        return rules


def _bounds_or_nan(bounds: tuple[float | None, float | None] | None) -> tuple[float, float]:
    low, high = (None, None) if bounds is None else bounds
    return nan if low is None else low, nan if high is None else high


def _just_now(vital: Vital) -> Mapping[int | None, News2Component]:
    return {points: News2Component(vital=vital, points=points, age_ms=0) for points in (None, 0, 1, 2, 3)}


def _longest_delay_ms(policy: Policy) -> int:
    delays = [max(limits.delay_s, limits.extreme_delay_s) for limits in policy.limits.values()]
    for override in (*policy.wards.values(), *policy.patients.values()):
        for change in override.limits.values():
            delays += [d for d in (change.delay_s, change.extreme_delay_s) if isinstance(d, float)]
    return int(max([policy.news2.delay_s, policy.technical.implausible_after_s, *delays]) * 1000)
