"""The core, policy by policy, as the judge of the twin."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.records import AlarmEvent, AlertTransition, Category, Priority, SourceOffset, VitalsFrame
from contracts.topology import VITALS
from models.policy.decided import Transition, decided, transitions
from models.policy.family import Family
from models.policy.twin import Happening
from models.policy.witness import WitnessCore
from models.ward.core import WardCore
from models.ward.policy import Policy

Log = Sequence[tuple[VitalsFrame, int]]
_WHAT = {
    AlarmEvent.RAISED: Happening.RAISED,
    AlarmEvent.REALARMED: Happening.REALARMED,
    AlarmEvent.PRIORITY_RAISED: Happening.PRIORITY_RAISED,
    AlarmEvent.LATCHED: Happening.LATCHED,
    AlarmEvent.CLEARED: Happening.CLEARED,
}


def played(core: WardCore, log: Log, ward: str = "W1") -> list[AlertTransition]:
    """All that a core tells of the log."""
    state, told = core.fresh(ward), list[AlertTransition]()
    for offset, (frame, now_ms) in enumerate(log):
        source = SourceOffset(topic=VITALS.name, partition=0, offset=offset)
        state, out = core.step(state, frame, now_ms, source)
        told += out.transitions
    return told


def by_the_core(policy: Policy, log: Log) -> list[Transition]:
    """What the core itself tells of limits."""
    return sorted(
        Transition(t.ward, t.patient, t.condition, t.onset_ms, _WHAT[t.event], t.at_ms, t.priority is Priority.HIGH)
        for t in played(WardCore(policy), log)
        if t.category is Category.PHYSIOLOGICAL and t.vital is not None and t.event in _WHAT
    )


def by_the_twin(family: Family, log: Log) -> list[list[Transition]]:
    """By policy what the twin tells."""
    core = WitnessCore(family)
    played(core, log)
    told: list[list[Transition]] = [[] for _ in family.policies]
    for condition in decided(core.notes):
        for policy, more in zip(told, transitions(family, condition), strict=True):
            policy += more
    return [sorted(one) for one in told]


def agree(policies: Sequence[Policy], log: Log) -> int:
    """Asserts that twin and core tell the same under each policy; how many transitions that were."""
    found = by_the_twin(Family(policies), log)
    for policy, told in zip(policies, found, strict=True):
        assert told == by_the_core(policy, log), policy.name
    return sum(map(len, found))
