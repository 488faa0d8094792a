"""What stands on the pages, before anything is drawn: steps of NEWS2, forecasts in force, hours, floods, waits."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from batch import report_look, report_rows
from batch.burden import Alarm
from batch.plot_draw import panels, sparkline
from batch.report_day import flood_by_minute, longest, waits_in_parts
from batch.report_rows import Made, Readings, Scored
from batch.report_shift import Band, band_of, bands_of, in_force, marks, steps, trends_of
from batch.report_time import HOUR_MS, zone_named
from contracts.records import Category, Priority, Vital
from models.burden import FLOOD
from models.ward.policy import load_policy

POLICY = load_policy()
BERLIN = zone_named("Europe/Berlin")


def alarm(n: int, at_s: float, **more: Any) -> Alarm:
    told: dict[str, Any] = {
        "alert_id": f"a{n}",
        "bed": "01",
        "patient": "p",
        "condition": "hr_high",
        "category": Category.PHYSIOLOGICAL,
        "priority": Priority.HIGH,
        "message": "HR 134>120",
        "onset_ms": int(at_s * 1000),
        "raised_ms": int(at_s * 1000),
    }
    return Alarm(**(told | more))


def test_the_forecast_of_every_hour_of_a_shift_is_drawn_and_of_its_end() -> None:
    found = marks(7 * HOUR_MS, 19 * HOUR_MS)
    assert found == [n * HOUR_MS for n in range(8, 20)]
    assert len(marks(0, 150_000)) == 3, "of a short span there are as many as can be seen"


def made(at_ms: int, *ahead: tuple[int, tuple[float, ...]]) -> Made:
    return Made(Vital.HEART_RATE, at_ms, "lstm", (0.05, 0.5, 0.95), list(ahead), [])


def test_a_forecast_is_drawn_from_the_value_in_force_to_where_the_next_one_takes_over() -> None:
    times = np.arange(0, 100_000, 1000)
    drawn = trends_of({Vital.HEART_RATE: Readings(times, np.full(100, 80.0))}, 0, 100_000, POLICY, {})
    ahead = (100, (70.0, 90.0, 110.0))
    both = {(50_000, Vital.HEART_RATE): made(50_000, ahead), (100_000, Vital.HEART_RATE): made(99_000, ahead)}
    bands, ends_ms = bands_of(both, drawn, 0, 100_000)
    assert ends_ms == 112_500, "an eighth of the span ahead"
    first, last = bands
    assert (first.at_ms, first.middle) == ((50_000, 99_000), (80.0, 84.9))
    assert (last.at_ms[-1], first.levels) == (ends_ms, (0.05, 0.95))
    assert bands_of({}, drawn, 0, 100_000) == ((), 100_000)


def test_a_forecast_without_a_value_in_force_begins_at_its_first_horizon_or_not_at_all() -> None:
    later = made(0, (100, (70.0, 80.0, 90.0)), (200, (60.0, 80.0, 100.0)))
    assert band_of(later, None, 100_000) is None
    band = band_of(later, None, 150_000)
    assert isinstance(band, Band)
    assert (band.at_ms, band.low) == ((100_000, 150_000), (70.0, 65.0))


SCORES = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9), st.integers(0, 9)), max_size=60)


@settings(max_examples=40, deadline=None)
@given(SCORES)
def test_news2_steps_say_at_every_second_what_was_scored_last_within_a_minute(told: list[tuple[int, int, int]]) -> None:
    rows = sorted({s: (low, low + wide) for s, low, wide in told}.items())
    at = np.array([s * 1000 for s, _ in rows], np.int64)
    least, most = (np.array([pair[n] for _, pair in rows], np.float64) for n in (0, 1))
    found = steps(Scored(at, least, most, 0.0, {}, []), 0, 400_000)
    for at_ms in range(0, 400_000, 1000):
        now = [(one.least, one.most) for one in found if one.from_ms <= at_ms < one.to_ms]
        last = [(s, pair) for s, pair in rows if s * 1000 <= at_ms]
        assert now == ([last[-1][1]] if last and at_ms - last[-1][0] * 1000 < 60_000 else [])


def test_limits_of_a_policy_that_is_not_at_hand_are_not_drawn_and_that_is_said() -> None:
    at_hand = {POLICY.hash: POLICY}
    _, limits, notes = in_force([POLICY.hash], {POLICY.hash: (0, 1)}, at_hand, ["W1"], "p", BERLIN)
    assert limits[Vital.SPO2].low == 90.0
    assert not notes
    _, limits, notes = in_force(["abc", "def"], {"abc": (0, 1), "def": (2, 3)}, at_hand, ["W1"], "p", BERLIN)
    assert not limits
    assert any("def" in note and "--policy" in note for note in notes)
    assert any("changed" in note for note in notes)


def test_the_flood_line_counts_ten_minutes_back_at_the_end_of_each_minute() -> None:
    raised = [alarm(n, 60 * 5 + n) for n in range(FLOOD)]
    line = flood_by_minute(raised, 0, HOUR_MS)
    assert line[:6] == (0, 0, 0, 0, 0, FLOOD)
    assert sum(n >= FLOOD for n in line) == 10
    assert len(line) == 60
    assert not any(flood_by_minute([alarm(0, 300, category=Category.ADVISORY)], 0, HOUR_MS)), "advisories are silent"


def test_every_alarm_stands_in_exactly_one_part_of_the_waits() -> None:
    waits = (0, 30, 31, 60, 300, 599, 600, 601)
    raised = [alarm(n, 100, acknowledged_ms=100_000 + wait * 1000) for n, wait in enumerate(waits)] + [alarm(99, 100)]
    found = dict(waits_in_parts(raised))
    assert found == {
        "up to 30 s": 2,
        "up to 1 min": 2,
        "up to 2 min": 0,
        "up to 5 min": 1,
        "up to 10 min": 2,
        "over 10 min": 1,
        "not acknowledged": 1,
    }


def test_who_stood_longest_without_an_answer_comes_first() -> None:
    raised = [
        alarm(1, 0, acknowledged_ms=9000),
        alarm(2, 5),
        alarm(3, 1, ended_ms=3000),
        alarm(4, 0, category=Category.ADVISORY),
    ]
    assert [one.alert_id for one in longest(raised, 60_000)] == ["a2", "a1", "a3"]


def test_text_that_could_mislead_is_shown_by_its_number_and_a_name_from_right_to_left_stays_apart() -> None:
    assert report_look.plain("a\u202eb\nc") == "a<U+202E>b<U+000A>c"
    assert report_look.plain("日本") == "<U+65E5><U+672C>", "no glyph for it in the font of the page"
    assert report_look.plain("דוד") == "\u2068דוד\u2069"
    assert report_look.plain("$x$ 134≥120") == "$x$ 134≥120"


def test_marks_tell_what_colours_do() -> None:
    kinds = [
        (Category.PHYSIOLOGICAL, Priority.HIGH, "***", "high"),
        (Category.PHYSIOLOGICAL, Priority.MEDIUM, "**", "medium"),
        (Category.PHYSIOLOGICAL, Priority.LOW, "*", "low"),
        (Category.TECHNICAL, Priority.HIGH, "!", "technical"),
        (Category.ADVISORY, Priority.LOW, "~", "advisory"),
    ]
    for category, priority, mark, kind in kinds:
        one = alarm(0, 0, category=category, priority=priority)
        assert (report_look.mark(one), report_look.kind(one)) == (mark, kind)
    looks = {(report_look.colour(kind), report_look.HATCHES[kind]) for *_, kind in kinds}
    assert len(looks) == len(kinds)


def test_pressures_share_a_panel_and_a_gap_is_blank_in_letters_too() -> None:
    assert panels([Vital.SPO2, Vital.SYSTOLIC, Vital.DIASTOLIC]) == [[Vital.SPO2], [Vital.SYSTOLIC, Vital.DIASTOLIC]]
    times = np.append(np.arange(0, 30_000, 1000), np.arange(70_000, 100_000, 1000))
    values = np.append(np.full(30, 80.0), np.full(30, 130.0))
    limits = POLICY.limits_for("W1", "p")
    one = trends_of({Vital.HEART_RATE: Readings(times, values)}, 0, 100_000, POLICY, limits)[Vital.HEART_RATE]
    line, beyond = sparkline(one, 0, 100_000, 10)
    assert (line, beyond) == ("▁▁▁▁   ███", "       !!!")
    assert sparkline(trends_of({}, 0, 100_000, POLICY, {})[Vital.HEART_RATE], 0, 100_000, 10) == (" " * 10, " " * 10)


def test_a_forecast_of_a_record_is_the_last_of_its_tick() -> None:
    row = {
        "vital": "spo2",
        "event_ms": 5,
        "engine": "lstm",
        "levels": [0.1, 0.5, 0.9],
        "models": [{"name": "m", "version": "1"}],
    }
    one = report_rows._made(
        [row | {"horizon_s": 3600, "quantiles": [1, 2, 3]}, row | {"horizon_s": 300, "quantiles": [4, 5, 6]}]
    )
    assert (one.ahead, one.models) == ([(300, (4, 5, 6)), (3600, (1, 2, 3))], ["m@1"])
