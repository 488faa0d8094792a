"""The measures of alarm burden: by brute force, and the same as a comparison's for the same transitions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.burden import Alarm, alarms, burden, fates, raised_in, within
from contracts.records import AlarmEvent, AlarmState, AlertTransition, Category, Priority, SourceOffset, Vital
from models.burden import FLOOD, FLOOD_MS, MINUTE_MS, flooded
from streams.compare.burden import burden as compared
from streams.compare.episodes import Book

HOUR_S = 3600
WARD = "W1"
AFTER_RAISED = st.lists(
    st.tuples(
        st.sampled_from(
            [
                (AlarmEvent.ACKNOWLEDGED, AlarmState.ACKNOWLEDGED),
                (AlarmEvent.REALARMED, AlarmState.ACTIVE),
                (AlarmEvent.PRIORITY_RAISED, AlarmState.ACTIVE),
                (AlarmEvent.ESCALATED, AlarmState.ACTIVE),
            ]
        ),
        st.integers(1, 900),
        st.sampled_from(list(Priority)),
    ),
    max_size=4,
)


@st.composite
def episodes(draw: st.DrawFn) -> list[AlertTransition]:
    """Transitions of some alarms of one ward within an hour, as the core might write them."""
    found = []
    for n in range(draw(st.integers(0, 25))):
        at_s = draw(st.integers(0, HOUR_S))
        category, priority = draw(st.sampled_from(list(Category))), draw(st.sampled_from(list(Priority)))
        bed = draw(st.sampled_from(["01", "02", "03"]))
        steps = [(AlarmEvent.RAISED, AlarmState.ACTIVE, at_s, priority)]
        for (event, state), wait_s, then in draw(AFTER_RAISED):
            steps.append((event, state, steps[-1][2] + wait_s, then))
        if draw(st.booleans()):
            steps.append((AlarmEvent.CLEARED, AlarmState.INACTIVE, steps[-1][2] + draw(st.integers(1, 900)), priority))
        for seq, (event, state, at, rank) in enumerate(steps):
            found.append(transition(n, seq, bed, at, event, state, category, rank, at_s))
    return found


def transition(
    n: int,
    seq: int,
    bed: str,
    at_s: float,
    event: AlarmEvent,
    state: AlarmState,
    category: Category = Category.PHYSIOLOGICAL,
    priority: Priority = Priority.MEDIUM,
    onset_s: float | None = None,
    **more: Any,
) -> AlertTransition:
    return AlertTransition(
        version=1,
        alert_id=f"a{n:04}",
        seq=seq,
        ward=WARD,
        bed=bed,
        patient=f"p{bed}",
        condition=f"c{n:04}",
        category=category,
        priority=priority,
        event=event,
        state=state,
        at_ms=int(at_s * 1000),
        onset_ms=int((at_s if onset_s is None else onset_s) * 1000),
        message="HR 134>120",
        source=SourceOffset(topic="t", partition=0, offset=0),
        policy="p",
        **more,
    )


def row(one: AlertTransition) -> dict[str, Any]:
    """As the table ``alerts`` has it."""
    fields: dict[str, Any] = msgspec.to_builtins(msgspec.structs.asdict(one))
    return fields | {"event_ms": one.at_ms}


def book_of(transitions: list[AlertTransition]) -> Book:
    book = Book()
    for one in transitions:
        book.add(one)
    return book


HEARD_S = {"01": 40_000.0, "02": 3600.0, "03": 86_400.0}


@settings(max_examples=40, deadline=None)
@given(episodes(), st.randoms(use_true_random=False))
def test_the_same_word_is_the_same_number_as_in_a_comparison(told: list[AlertTransition], chance: Any) -> None:
    rows = [row(one) for one in [*told, *told[: len(told) // 2]]]  # some of them twice, and in any order
    chance.shuffle(rows)
    ours = burden(alarms(rows), HEARD_S)
    theirs = compared(list(book_of(told).alerts.values()), {(WARD, bed): s for bed, s in HEARD_S.items()})
    for name in (
        *("beds", "bed_days", "alarms", "alarms_per_bed_day", "signals", "advisories", "advisories_per_bed_day"),
        *("technical_share", "by_priority", "by_condition", "flood_minutes", "top_tenth_share"),
    ):
        assert getattr(ours, name) == theirs[name], name
    waits = theirs["acknowledge_s"]
    assert (ours.acknowledge.acknowledged, ours.acknowledge.median_s, ours.acknowledge.p95_s) == (
        waits["n"],
        waits["p50"],
        waits["p95"],
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3 * HOUR_S * 1000), max_size=60))
def test_minutes_in_flood_by_brute_force(times: list[int]) -> None:
    ends = range(MINUTE_MS, 4 * HOUR_S * 1000, MINUTE_MS)
    brute = [end for end in ends if sum(end - FLOOD_MS <= at < end for at in times) >= FLOOD]
    assert flooded(times) == brute


@settings(max_examples=40, deadline=None)
@given(episodes(), st.integers(0, HOUR_S), st.integers(1, HOUR_S))
def test_rates_waits_and_the_table_by_brute_force(told: list[AlertTransition], start_s: int, length_s: int) -> None:
    span = start_s * 1000, (start_s + length_s) * 1000
    found = alarms(row(one) for one in told)
    raised = raised_in(found, *span)
    first = [one for one in told if one.event is AlarmEvent.RAISED and span[0] <= one.at_ms < span[1]]
    assert sorted(alarm.alert_id for alarm in raised) == sorted(one.alert_id for one in first)

    ours = burden(raised, HEARD_S)
    days = sum(HEARD_S.values()) / 86_400
    highest = {one.alert_id: max((t.priority for t in told if t.alert_id == one.alert_id), key=rank) for one in first}
    pairs = Counter((str(one.category), str(highest[one.alert_id])) for one in first)
    assert {(c, p): n for c, p, n, _ in ours.table} == pairs
    assert all(per == round(n / days, 2) for *_, n, per in ours.table)

    waits = sorted(
        (min(acks) - one.at_ms) / 1000
        for one in first
        if one.category is not Category.ADVISORY
        and (acks := [t.at_ms for t in told if t.alert_id == one.alert_id and t.event is AlarmEvent.ACKNOWLEDGED])
    )
    assert ours.acknowledge.acknowledged == len(waits)
    for q, value in ((0.5, ours.acknowledge.median_s), (0.9, ours.acknowledge.p90_s)):
        assert value == next((w for w in waits if sum(v <= w for v in waits) >= q * len(waits)), None)

    standing = {
        one.alert_id
        for one in told
        if one.event is AlarmEvent.RAISED
        and one.at_ms < span[1]
        and not any(t.alert_id == one.alert_id and t.state is AlarmState.INACTIVE and t.at_ms <= span[0] for t in told)
    }
    assert {alarm.alert_id for alarm in within(found, *span)} == standing


def rank(priority: Priority) -> int:
    return [Priority.LOW, Priority.MEDIUM, Priority.HIGH].index(priority)


def test_nobody_heard_is_no_rate_and_no_alarm_is_no_quantile() -> None:
    none = burden([], {})
    assert (none.alarms, none.bed_days, none.alarms_per_bed_day, none.technical_share) == (0, 0, None, None)
    assert (none.acknowledge.median_s, none.top_tenth_share, none.flood_minutes) == (None, None, 0)


def test_an_advisory_is_followed_by_an_alarm_of_its_vital_within_its_lead_passed_or_still_open() -> None:
    def told(n: int, at_s: int, category: Category, vital: Vital, **more: Any) -> AlertTransition:
        return transition(n, 0, "01", at_s, AlarmEvent.RAISED, AlarmState.ACTIVE, category, vital=vital, **more)

    advisory = {"lead_s": 600, "model": "m@1"}
    rows = [
        told(0, 1000, Category.ADVISORY, Vital.SPO2, **advisory),  # followed at 1500
        told(1, 2000, Category.ADVISORY, Vital.SPO2, **advisory),  # only another vital's alarm comes
        told(2, 9000, Category.ADVISORY, Vital.SPO2, **advisory),  # the data ends before its lead does
        told(3, 1500, Category.PHYSIOLOGICAL, Vital.SPO2),
        told(4, 2100, Category.PHYSIOLOGICAL, Vital.HEART_RATE),
        told(5, 2200, Category.TECHNICAL, Vital.SPO2),
    ]
    found = alarms([row(msgspec.structs.replace(one, condition="forecast_spo2_low")) for one in rows])
    (fate,) = fates(found, found, seen_until_ms=9_100_000)
    assert (fate.raised, fate.followed, fate.passed, fate.open) == (3, 1, 1, 1)


def test_an_alarm_stands_until_somebody_answers_or_it_is_over() -> None:
    def standing(**more: Any) -> Alarm:
        return Alarm(
            alert_id="a",
            bed="b",
            patient="p",
            condition="c",
            category=Category.PHYSIOLOGICAL,
            priority=Priority.HIGH,
            message="m",
            onset_ms=0,
            raised_ms=10_000,
            **more,
        )

    assert standing().stood_s(60_000) == 50
    assert standing(ended_ms=30_000).stood_s(60_000) == 20
    assert standing(ended_ms=30_000, acknowledged_ms=15_000).stood_s(60_000) == 5
