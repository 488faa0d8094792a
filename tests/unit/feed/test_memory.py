"""Cursors, the ledger of alarms, the board, the trends and the words of a rule: right, and bounded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import codec
from contracts.records import AlarmEvent, AlarmState, BedScore, Category, ScoredVital, Tag, Vital
from models.ward.policy import load_policy
from streams.feed.board import FORGET_MS, Board, natural
from streams.feed.cursor import format_cursor, parse_cursor
from streams.feed.explain import rule_text
from streams.feed.ledger import KEEP_FIRST, KEEP_LAST, Ledger
from streams.feed.trends import TRACED, Trends
from tests.unit.feed.rig import T0, scores, transition


@given(st.dictionaries(st.integers(0, 99), st.integers(1, 10**15), max_size=12))
def test_a_cursor_survives_being_text(offsets: dict[int, int]) -> None:
    assert parse_cursor(format_cursor(offsets)) == offsets


@pytest.mark.parametrize("text", ["-", "0", "0-", "-1", "0-1.", "0-1..1-1", "0-1 ", "0--1", "٠-١", "0-1.0-1"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    assert parse_cursor(text) is None


def ledger(**limits: int) -> Ledger:
    made = Ledger(**limits)
    made.begin(0, 0)
    return made


def test_repeats_and_unreadable_records_are_passed_over_for_ever() -> None:
    book = ledger()
    raw = [codec.encode(transition("a", 0)), codec.encode(transition("a", 1))]
    taken = [book.take(0, offset, value) for offset, value in enumerate([raw[0], raw[0], None, b"{", raw[1], raw[0]])]
    assert [found is not None for found in taken] == [True, False, False, False, True, False]
    assert [book.passes_over(0, offset) for offset in range(6)] == [False, True, True, True, False, True]
    assert (book.repeats, book.unreadable, book.offsets()) == (2, 2, {0: 6})
    assert [event.offset for event in book.since({0: 1})] == [4]


def test_a_record_delivered_again_changes_nothing() -> None:
    book = ledger()
    raw = codec.encode(transition("a"))
    assert book.take(0, 0, raw) is not None
    assert book.take(0, 0, raw) is None
    assert not book.passes_over(0, 0)


def test_ended_alarms_leave_memory_but_their_repeats_are_still_known() -> None:
    book = ledger(keep_closed=10, keep_events=20)
    offset = 0
    for number in range(100):
        for seq, state in enumerate((AlarmState.ACTIVE, AlarmState.INACTIVE)):
            step = transition(f"a{number}", seq, state=state, event=AlarmEvent.CLEARED if seq else AlarmEvent.RAISED)
            assert book.take(0, offset, codec.encode(step)) is not None
            offset += 1
    assert (len(book.open), len(book.closed)) == (0, 10)
    assert book.floors()[0] == 180
    assert len(list(book.since({0: 0}))) == 20
    assert book.take(0, offset, codec.encode(transition("a0", 0))) is None


def test_a_very_long_alarm_keeps_its_beginning_and_its_end() -> None:
    book = ledger()
    for seq in range(1000):
        book.take(0, seq, codec.encode(transition("a", seq)))
    alert = book.open["a"]
    assert alert.count == 1000
    kept = [codec.decode(raw, type(alert.latest)).seq for raw in alert.transitions()]
    assert kept == [*range(KEEP_FIRST), *range(1000 - KEEP_LAST, 1000)]


def test_a_log_made_anew_takes_its_alarms_with_it() -> None:
    book = ledger()
    book.begin(1, 0)
    book.take(0, 0, codec.encode(transition("a")))
    book.take(1, 0, codec.encode(transition("b")))
    book.begin(0, 0)
    assert set(book.open) == {"b"}


def test_beds_stand_in_natural_order() -> None:
    assert sorted(["W10", "W2", "W1", "W2-10", "W2-9", "A"], key=natural) == ["A", "W1", "W2", "W2-9", "W2-10", "W10"]


def test_a_bed_not_heard_for_half_a_day_leaves_the_wall() -> None:
    board = Board()
    board.take(scores("W1", ["gone", "here"], offset=1), 1)
    board.take(scores("W1", ["here"], offset=2, at_ms=T0 + FORGET_MS + 1), 2)
    assert board.sweep() == [("W1", "gone")]
    assert board.find("gone") is None
    assert board.find("here") is not None


def test_an_older_frame_fills_in_only_beds_that_are_not_known() -> None:
    board = Board()
    board.take(scores("W1", ["known"], offset=9, at_ms=T0 + 60_000, spo2=95.0), 1)
    board.fill_in(scores("W1", ["known", "silent"], offset=1, spo2=80.0), 2)
    assert {key: placed.at_ms for key, placed in board.tiles.items()} == {
        ("W1", "known"): T0 + 60_000,
        ("W1", "silent"): T0,
    }
    assert board.clock_ms == T0 + 60_000


def heart_rate(value: float, at_ms: int, tag: Tag = Tag.OK) -> BedScore:
    vital = ScoredVital(vital=Vital.HEART_RATE, value=value, at_ms=at_ms, tag=tag)
    return BedScore(bed="b", patient="p", heard_ms=at_ms, values=(vital,))


def test_a_trend_is_a_regular_grid_with_gaps_where_nothing_was_measured() -> None:
    trends = Trends(60)
    for second in (0, 1, 4):
        trends.write("W", heart_rate(70.0 + second, T0 + second * 1000), T0 + second * 1000)
    read = trends.read("W", "b", 60)
    assert read.t_ms == [T0 + second * 1000 for second in range(5)]
    assert read.series["heart_rate"] == [70.0, 71.0, None, None, 74.0]
    assert set(read.series) == {vital.value for vital in TRACED}


def test_a_trend_shows_neither_untrusted_nor_old_values() -> None:
    trends = Trends(60)
    trends.write("W", heart_rate(300.0, T0, Tag.IMPLAUSIBLE), T0)
    trends.write("W", heart_rate(70.0, T0), T0 + 5000)
    trends.write("W", heart_rate(71.0, T0 + 6000, Tag.CLOCK_SUSPECT), T0 + 6000)
    assert trends.read("W", "b", 60).series["heart_rate"] == [71.0]


def test_a_ring_forgets_what_is_older_than_its_length_and_backfill_never_replaces() -> None:
    trends = Trends(60)
    for second in range(100):
        trends.write("W", heart_rate(float(second), T0 + second * 1000), T0 + second * 1000)
    trends.write("W", heart_rate(999.0, T0 + 30_000), T0 + 30_000, backfill=True)
    read = trends.read("W", "b", 600)
    assert (len(read.t_ms), read.series["heart_rate"][0], read.series["heart_rate"][-1]) == (60, 40.0, 99.0)
    assert trends.read("W", "b", 10, T0 + 60_000).series["heart_rate"] == [float(n) for n in range(51, 61)]
    assert trends.read("W", "unknown", 10).t_ms == []


def test_a_bed_known_only_from_before_the_start_has_its_whole_trend() -> None:
    trends = Trends(60)
    for second in range(5):
        trends.write("W", heart_rate(float(second), T0 + second * 1000), T0 + second * 1000, backfill=True)
    assert trends.read("W", "b", 60).series["heart_rate"] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_ten_thousand_beds_fit_in_half_a_gigabyte() -> None:
    trends = Trends(900)
    trends.write("W", heart_rate(70.0, T0), T0)
    assert trends.bytes_used() * 10_000 < 500_000_000
    assert not math.isnan(trends.read("W", "b", 1).series["heart_rate"][0] or math.nan)


RULES = [
    (
        transition("a"),
        "Oxygen saturation below 90 % for 15 s alarms at medium priority, below 85 % for 8 s at high priority. "
        "It is over once the value is at or above 91 % (hysteresis 1 %).",
    ),
    (transition("a", condition="heart_rate_high", vital=Vital.HEART_RATE), "Heart rate above 120 /min for 10 s"),
    (transition("a", condition="news2", vital=None), "at 7 or more alarms at high priority, at 5 or more at medium"),
    (transition("a", condition="silence", vital=None, category=Category.TECHNICAL), "heard from the bed for 10 s"),
    (transition("a", condition="clock", vital=None, category=Category.TECHNICAL), "by more than 5 s for 10 s"),
    (transition("a", condition="spo2_no_signal", category=Category.TECHNICAL), "no usable value for 10 s"),
    (transition("a", condition="spo2_implausible", category=Category.TECHNICAL), "takes no part in scores"),
    (
        transition("a", condition="heart_rate_frozen", vital=Vital.HEART_RATE, category=Category.TECHNICAL),
        "exactly one value for 120 s",
    ),
    (transition("a", condition="something_new", vital=None), "Condition something_new: SpO2 84<85."),
]


@pytest.mark.parametrize(("alarm", "words"), RULES, ids=lambda case: getattr(case, "condition", ""))
def test_a_rule_is_told_with_its_limit_delay_and_end(alarm: object, words: str) -> None:
    from contracts.records import AlertTransition

    assert isinstance(alarm, AlertTransition)
    text = rule_text(load_policy(), alarm)
    assert words in text
    if alarm.category is Category.PHYSIOLOGICAL:
        assert "Unacknowledged for 180 s it is escalated." in text
        assert "stays until it is acknowledged" in text
    assert "after 120 s it sounds again." in text
