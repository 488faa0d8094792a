"""All that a family of policies tells over one span: of each limit of each patient, under each policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.records import Vital
from models.policy.family import Family, Sides
from models.policy.tape import Steps
from models.policy.twin import Happening, Told, limit_alarms
from models.policy.witness import Notes
from models.ward.conditions import CONDITIONS
from models.ward.state import INDEX


class Condition(NamedTuple):
    """One limit of one patient: what was seen of its vital, and what is told under each row of ``sides``."""

    ward: str
    patient: str
    bed: str
    vital: Vital
    low: bool
    steps: Steps
    sides: Sides
    told: Told

    @property
    def name(self) -> str:
        """The condition's name in alerts."""
        names = CONDITIONS[INDEX[self.vital]]
        return names.low if self.low else names.high


class Transition(NamedTuple):
    """One thing that is told under one policy, as the core would tell it."""

    ward: str
    patient: str
    condition: str
    onset_ms: int
    what: Happening
    at_ms: int
    high: bool


def decided(notes: Notes) -> Iterator[Condition]:
    """Every limit alarm of the span under every policy, a condition at a time.

    Raises Poison when the span holds what the twin cannot decide, saying what.
    """
    if notes.outside:
        found = ", ".join(f"{why} ({n} times)" for why, n in sorted(notes.outside.items()))
        raise Poison("outside_twin", f"the span holds {found}: what follows depends on the policy")
    family = notes.family
    relevant_ms = family.rulebook.relevant_ms
    for who, tape in notes.tapes():
        steps = tape.steps()
        for low in (True, False):
            sides = family.side(who.ward, who.patient, who.vital, low)
            if sides is None:
                continue
            stale_ms = family.stale_ms(who.vital)
            told = limit_alarms(steps, sides.side, low, stale_ms is None, stale_ms or 0, relevant_ms)
            bed = notes.beds[who.ward, who.patient]
            yield Condition(who.ward, who.patient, bed, who.vital, low, steps, sides, told)


def transitions(family: Family, condition: Condition) -> list[list[Transition]]:
    """By policy what is told of the condition, in order."""
    told = condition.told
    by_row: list[list[Transition]] = [[] for _ in range(len(condition.sides.side.limit))]
    columns: tuple[NDArray[np.generic], ...] = (told.row, told.what, told.at, told.now, told.onset, told.high)
    for row, what, at_ms, _, onset_ms, high in zip(*(column.tolist() for column in columns), strict=True):
        by_row[row].append(
            Transition(condition.ward, condition.patient, condition.name, onset_ms, Happening(what), at_ms, bool(high))
        )
    return [by_row[row] for row in condition.sides.row_of.tolist()]
