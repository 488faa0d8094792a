"""Policies that the twin can tell apart at once: alike but for their limits and for which priorities latch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from contracts.records import Priority, Vital
from models.policy.tape import Floats, Ints, Reach
from models.ward.policy import Limits, Override, Policy
from models.ward.rulebook import Rulebook
from models.ward.state import INDEX

MOST: Final = 10_000
_OUT_OF_REACH: Final = -1e9
"""A high limit that every number is beyond, so that a core under it judges every value."""
_FREE: Final = Limits(high=_OUT_OF_REACH)
_NO_LIMIT: Final = -np.inf


class Side(NamedTuple):
    """What differing policies make of one side of one vital, a row each; those of a high limit are turned about.

    A turned value alarms when it is below ``limit``, severely when below ``severe``, and is back from ``back`` on.
    ``cuff`` is the low limit of the saturation, which a cuff explains.
    """

    limit: Floats
    severe: Floats
    back: Floats
    delay_ms: Ints
    severe_delay_ms: Ints
    pending_max_ms: Ints
    cuff: Floats
    latch_medium: NDArray[np.bool_]
    latch_high: NDArray[np.bool_]


class Sides(NamedTuple):
    """The rows of one side without repeats, and the row of each policy."""

    side: Side
    row_of: NDArray[np.intp]


class Family:
    """Policies under which one pass over a span decides the limit alarms of all.

    The first one is the one in force, whose rules hold for all that the policies agree on. Raises Misconfigured when
    they differ in more than limits, latches and names: those would have to be decided by the core, one by one.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        if not 1 <= len(policies) <= MOST:
            raise Misconfigured(f"{len(policies)} policies; one to {MOST} can be told apart at once")
        self.policies = tuple(policies)
        base = _without_limits(policies[0])
        for policy in policies[1:]:
            if _without_limits(policy) != base:
                raise Misconfigured(
                    f"policy {policy.name} {policy.hash} differs from {policies[0].name} in more than limits, delays, "
                    "hysteresis and latch; compare the two with `ward compare`"
                )
        self.books = [Rulebook(policy) for policy in policies]
        self.rulebook = self.books[0]
        self.vitals = tuple(v for v in Vital if any(_limits_any(policy, v) for policy in policies))
        self.latch = np.array(
            [[p in policy.alarm.latch for p in (Priority.MEDIUM, Priority.HIGH)] for policy in policies], np.bool_
        )
        pending = np.array([book.pending_max_ms for book in self.books], np.int64)
        self.pending_max_ms = pending
        self.pending_bounds_ms = (int(pending.min()), int(pending.max()))

    def watched(self) -> Policy:
        """The policy of the core that watches: every value of a vital with limits is judged, nothing else differs."""
        first = self.policies[0]

        def freed(overrides: dict[str, Override]) -> dict[str, Override]:
            return {name: msgspec.structs.replace(override, limits={}) for name, override in overrides.items()}

        return msgspec.structs.replace(
            first,
            limits=dict.fromkeys(self.vitals, _FREE),
            wards=freed(first.wards),
            patients=freed(first.patients),
        )

    def limits(self, ward: str, patient: str, vital: Vital) -> list[Limits | None]:
        """The limits of each policy for that patient there."""
        return [book.of(ward, patient).limits[INDEX[vital]] for book in self.books]

    def reach(self, ward: str, patient: str, vital: Vital) -> Reach:
        """Between which values all policies agree that nothing is the matter, and nothing stands on."""
        limits = [one for one in self.limits(ward, patient, vital) if one is not None]
        lows = [one.low + one.hysteresis for one in limits if one.low is not None]
        highs = [one.high - one.hysteresis for one in limits if one.high is not None]
        lows += [one.low for one in limits if one.low is not None]
        highs += [one.high for one in limits if one.high is not None]
        return Reach(max(lows, default=-np.inf), min(highs, default=np.inf))

    def stale_ms(self, vital: Vital) -> int | None:
        """How long a value that is not continuous holds; None for a continuous vital."""
        i = INDEX[vital]
        return None if i in self.rulebook.continuous else self.rulebook.stale_ms[i]

    def side(self, ward: str, patient: str, vital: Vital, low: bool) -> Sides | None:
        """The rows of one side of a vital of that patient; None when no policy has a limit there."""
        every = self.limits(ward, patient, vital)
        cuffs = self.limits(ward, patient, Vital.SPO2) if vital is Vital.SPO2 else [None] * len(every)
        rows = [_row(limits, cuff, low) for limits, cuff in zip(every, cuffs, strict=True)]
        if all(row[0] == _NO_LIMIT for row in rows):
            return None
        table = np.column_stack([np.array(rows, np.float64), self.pending_max_ms.astype(np.float64), self.latch])
        unique, row_of = np.unique(table, axis=0, return_inverse=True)
        limit, severe, back, delay, severe_delay, cuff, pending, medium, high = unique.T.copy()
        found = Side(
            limit,
            severe,
            back,
            delay.astype(np.int64),
            severe_delay.astype(np.int64),
            pending.astype(np.int64),
            cuff,
            medium.astype(np.bool_),
            high.astype(np.bool_),
        )
        return Sides(found, np.asarray(row_of, np.intp).reshape(-1))


def _without_limits(policy: Policy) -> Policy:
    def bare(overrides: dict[str, Override]) -> dict[str, Override]:
        without = {name: msgspec.structs.replace(one, limits={}) for name, one in overrides.items()}
        return {name: one for name, one in without.items() if one != Override()}

    return msgspec.structs.replace(
        policy,
        name="",
        limits={},
        alarm=msgspec.structs.replace(policy.alarm, latch=()),
        wards=bare(policy.wards),
        patients=bare(policy.patients),
    )


def _limits_any(policy: Policy, vital: Vital) -> bool:
    overrides = (*policy.wards.values(), *policy.patients.values())
    return vital in policy.limits or any(vital in override.limits for override in overrides)


def _row(limits: Limits | None, cuff: Limits | None, low: bool) -> tuple[float, ...]:
    """limit, severe, back, delay, severe delay, cuff: in floats, which hold every int of ms that there is."""
    explained = _NO_LIMIT if cuff is None or cuff.low is None else cuff.low
    limit = None if limits is None else limits.low if low else limits.high
    if limits is None or limit is None:
        return (_NO_LIMIT, _NO_LIMIT, _NO_LIMIT, 0.0, 0.0, explained)
    extreme = limits.extreme_low if low else limits.extreme_high
    back = limit + limits.hysteresis if low else limit - limits.hysteresis
    sign = 1.0 if low else -1.0
    severe = _NO_LIMIT if extreme is None else sign * extreme
    return (
        sign * limit,
        severe,
        sign * back,
        float(int(limits.delay_s * 1000)),
        float(int(limits.extreme_delay_s * 1000)),
        explained,
    )
