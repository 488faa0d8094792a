"""What a sweep found: the policies that nothing beats, the one to take and why, as a document and as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.records import Vital
from models import burden
from models.policy.weighing import Weighed
from models.ward.policy import Limits, Policy
from streams.compare.policy_span import Weight
from streams.compare.report import iso

SHOWN: Final = 12


@dataclass(frozen=True)
class Rule:
    """Which policy is taken: of those that miss no severe event and at most ``missed`` others which the policy in force
    tells of, and tell of 95 in 100 at most ``added_s`` later, the one with fewest alarms, if fewer than now."""

    added_s: float = 15.0
    missed: int = 0

    def allows(self, one: Weighed) -> bool:
        """Whether a policy keeps to it."""
        late = one.added_s_p95 is not None and one.added_s_p95 > self.added_s
        return one.missed_severe_new == 0 and one.missed_new <= self.missed and not late

    @property
    def words(self) -> str:
        """The rule as it is told."""
        others = "no other event" if not self.missed else f"at most {self.missed} other events"
        return (
            f"fewest alarms a bed-day among those that miss no severe event and {others} which the policy in force "
            f"tells of, and tell of 95 in 100 of them at most {self.added_s:g} s later"
        )


@dataclass(frozen=True)
class Sweep:
    """A whole sweep; the first policy is the one in force. ``truth`` says what the events are."""

    policies: Sequence[Policy]
    weighed: Sequence[Weighed]
    weight: Weight
    rule: Rule
    source: str
    truth: str
    took_s: float

    @property
    def front(self) -> list[int]:
        """The policies to which no other is at least equal in alarms, missed events and delay, and better in one."""
        costs = [_costs(one) for one in self.weighed]
        order = sorted(range(len(costs)), key=lambda n: (costs[n], n))
        kept: list[int] = []
        for n in order:
            if not any(all(a <= b for a, b in zip(costs[k], costs[n], strict=True)) for k in kept):
                kept.append(n)
        return kept

    @property
    def picked(self) -> int:
        """The policy that the rule takes; 0 is the one in force."""
        now = self.weighed[0].alarms
        fit = [n for n, one in enumerate(self.weighed) if one.alarms < now and self.rule.allows(one)]
        return min(fit, key=lambda n: (*_costs(self.weighed[n]), n), default=0)


def _costs(one: Weighed) -> tuple[float, float, float]:
    return one.alarms, one.missed, one.added_s_p95 or 0.0


def document(sweep: Sweep) -> dict[str, Any]:
    """Everything, as plain values."""
    weight, picked = sweep.weight, sweep.picked
    days = sum(weight.heard_s.values()) / burden.DAY_S
    conditions = weight.scales.by_condition()
    return {
        "source": sweep.source,
        "span": {
            "from": iso(weight.first_ms),
            "to": iso(weight.last_ms),
            "beds": len(weight.heard_s),
            "bed_days": round(days, 4),
            "records": weight.records,
            "readings": weight.readings,
            "judged": weight.judged,
            "acknowledgements_left_out": weight.unacknowledged,
        },
        "truth": {
            "what": sweep.truth,
            "events": len(weight.scales.events),
            "severe": sum(event.severe for event in weight.scales.events),
        },
        "rule": sweep.rule.words,
        "picked": picked,
        "explained": explained(sweep),
        "front": sweep.front,
        "policies": [
            {
                "name": policy.name,
                "hash": policy.hash,
                "latch": [str(one) for one in policy.alarm.latch],
                **_settings(policy),
                **one._asdict(),
                "by_condition": {name: counts[n] for name, counts in conditions.items() if counts[n]},
            }
            for n, (policy, one) in enumerate(zip(sweep.policies, sweep.weighed, strict=True))
        ],
        "other_alarms": dict(sorted(weight.others.items())),
        "took": {
            "seconds": round(sweep.took_s, 2),
            "watching_s": round(weight.watch_s, 2),
            "weighing_s": round(weight.weigh_s, 2),
            "cpu_s": round(weight.cpu_s, 2),
            "policies": len(sweep.policies),
        },
    }


def _settings(policy: Policy) -> dict[str, Any]:
    return {
        "limits": {
            str(vital): [one.extreme_low, one.low, one.high, one.extreme_high, one.hysteresis, one.delay_s]
            for vital, one in policy.limits.items()
        }
    }


def explained(sweep: Sweep) -> list[str]:
    """Why this policy, in words."""
    picked = sweep.picked
    now, then = sweep.weighed[0], sweep.weighed[picked]
    told = [f"Taken: {sweep.rule.words}."]
    if not sweep.weight.scales.events:
        told.append("The span holds no event: nothing here says what a policy misses. A longer span is needed.")
    if picked == 0:
        return [*told, f"That is the policy in force: none of the {len(sweep.policies) - 1} others does better."]
    fewer = round(100 * (1 - then.alarms / now.alarms)) if now.alarms else 0
    told.append(
        f"{sweep.policies[picked].name}: {then.alarms_per_bed_day} limit alarms a bed-day instead of "
        f"{now.alarms_per_bed_day} ({fewer} % fewer)."
    )
    told.append(
        f"Of {len(sweep.weight.scales.events)} events it misses {then.missed} ({then.missed_severe} severe); "
        f"the policy in force misses {now.missed} ({now.missed_severe})."
    )
    if then.added_s_p95 is not None:
        told.append(
            f"It tells of them {then.added_s_p50:g} s later at the median, {then.added_s_p95:g} s at the 95th "
            f"percentile, {then.added_s_max:g} s at most (below 0: earlier)."
        )
    refused = [one for one in sweep.weighed[1:] if one.alarms < then.alarms]
    severe = sum(one.missed_severe_new > 0 for one in refused)
    if refused:
        told.append(
            f"{len(refused)} policies have fewer alarms and were not taken: {severe} miss severe events, the others "
            "miss too many other events or tell too late."
        )
    changes = list(changed(sweep.policies[0], sweep.policies[picked]))
    return [*told, f"What changes: {'; '.join(changes)}."]


def changed(before: Policy, after: Policy) -> Iterator[str]:
    """Field by field what is otherwise."""
    for vital in Vital:
        old, new = before.limits.get(vital), after.limits.get(vital)
        if old == new or new is None:
            continue
        fields = (f for f in Limits.__struct_fields__ if old is None or getattr(old, f) != getattr(new, f))
        told = (f"{f} {_shown(None if old is None else getattr(old, f))} to {_shown(getattr(new, f))}" for f in fields)
        yield f"{vital} {', '.join(told)}"
    if before.alarm.latch != after.alarm.latch:
        yield f"latch {'+'.join(before.alarm.latch) or 'none'} to {'+'.join(after.alarm.latch) or 'none'}"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def lines(told: dict[str, Any]) -> Iterator[str]:
    """The document for people."""
    span, truth, took = told["span"], told["truth"], told["took"]
    yield (
        f"{told['source']}: {span['beds']} beds, {span['bed_days']} bed-days, {span['readings']} readings, "
        f"{took['policies']} policies in {took['seconds']} s (CPU {took['cpu_s']} s)"
    )
    yield f"events: {truth['events']} ({truth['severe']} severe): {truth['what']}"
    if span["acknowledgements_left_out"]:
        yield f"{span['acknowledgements_left_out']} acknowledgements left out: as if nobody had acknowledged"
    yield ""
    yield f"{'alarms/bed-day':>14} {'high':>7} {'missed':>6} {'severe':>6} {'added p95 s':>11}  policy"
    rows = [0, *(n for n in told["front"] if n != 0)]
    shown = rows[:SHOWN] if told["picked"] in rows[:SHOWN] else [*rows[: SHOWN - 1], told["picked"]]
    for n in shown:
        one = told["policies"][n]
        mark = "in force" if n == 0 else "taken" if n == told["picked"] else ""
        yield (
            f"{_cell(one['alarms_per_bed_day']):>14} {_cell(one['high_per_bed_day']):>7} {one['missed']:>6} "
            f"{one['missed_severe']:>6} {_cell(one['added_s_p95']):>11}  {one['name']} {f'<- {mark}' if mark else ''}"
        )
    if len(rows) > len(shown):
        yield f"and {len(rows) - len(shown)} more on the front, in --json and --html"
    yield ""
    yield from told["explained"]
    others = sum(told["other_alarms"].values())
    yield f"Beside them {others} technical and NEWS2 alarms, which the sweep leaves as they are."


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
