"""The rings of a bed's past say what a slow and obvious book of every reading says."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.records import PastSeries, PastVitals, Vital
from models.vitals.history import (
    CHANNELS,
    HOURS,
    MINUTE_MS,
    MINUTES,
    TENS,
    History,
    rings,
)

DEEP = os.environ.get("WARDSTREAM_TEST_DEPTH", "") == "deep"
T0 = 1_767_340_800_000
M0 = T0 // MINUTE_MS
HR, SPO2 = 0, 2
WIDTH = len(CHANNELS)


PLAIN = (70.0, 14.0, 88.0, 110.0, 80.0, 30.0)
"""A value of each channel that any patient may have."""


class Book:
    """Every cell by its own time, no rings, no windows: what ``History`` says in 2.5 KB."""

    def __init__(self) -> None:
        self.now = 0
        self.open: dict[int, list[float]] = {}
        self.minutes: dict[tuple[int, int], int] = {}
        self.tens: dict[tuple[int, int], int] = {}
        self.newest: dict[int, int] = {}

    def read(self, at_ms: int, channel: int, value: float) -> None:
        """In the order of arrival; late ones too."""
        minute = at_ms // MINUTE_MS
        if at_ms >= self.newest.get(channel, 0):
            self.newest[channel] = at_ms
            if minute >= self.now:
                self.move(minute)
                self.open.setdefault(channel, []).append(value)
                return
        if minute > self.now or (minute == self.now and not self.open.get(channel)):
            self.move(minute)
            self.open.setdefault(channel, []).append(value)
        elif minute < self.now:
            self.minutes.setdefault((minute, channel), round(value * 10))
            if minute // 10 < self.now // 10:
                self.tens.setdefault((minute // 10, channel), round(value * 10))

    def move(self, minute: int) -> None:
        """Time goes on, minute by minute."""
        if not self.now:
            self.now = minute
        while self.now < minute:
            for channel, values in self.open.items():
                self.minutes[self.now, channel] = round(sum(values) / len(values) * 10)
            self.open = {}
            ten = self.now // 10
            self.now += 1
            if self.now // 10 > ten:
                for channel in range(WIDTH):
                    cells = [self.minutes.get((m, channel)) for m in range(ten * 10, ten * 10 + 10)]
                    known = [cell for cell in cells if cell is not None]
                    if known:
                        self.tens[ten, channel] = round(sum(known) / len(known))

    def windows(self) -> tuple[Any, Any]:
        """(minutes, tens) as the rings should have them, NaN where empty."""
        minutes = np.full((MINUTES, WIDTH), np.nan)
        for i, minute in enumerate(range(self.now - MINUTES, self.now)):
            for channel in range(WIDTH):
                minutes[i, channel] = self.minutes.get((minute, channel), np.nan)
        tens = np.full((TENS, WIDTH), np.nan)
        for i, ten in enumerate(range(self.now // 10 - TENS, self.now // 10)):
            for channel in range(WIDTH):
                tens[i, channel] = self.tens.get((ten, channel), np.nan)
        return minutes, tens


def cells(raw: bytes) -> Any:
    found = np.frombuffer(raw, "<i2").reshape(-1, WIDTH).astype(float)
    found[found == -32_768] = np.nan
    return found


def fed(readings: list[tuple[int, int, float]]) -> tuple[History, Book]:
    """Both after these readings; a reading older than the newest of its channel is late, as it is in the core."""
    history, book, newest = History(), Book(), dict.fromkeys(range(WIDTH), 0)
    for at_ms, channel, value in readings:
        if at_ms >= newest[channel]:
            newest[channel] = at_ms
            history = history.with_reading(at_ms, channel, value)
        else:
            history = history.with_late(at_ms, channel, value)
        book.read(at_ms, channel, value)
    return history, book


steps = st.one_of(
    st.integers(0, 30),
    st.integers(30, 700),
    st.integers(3_000, 5_000),
    st.integers(80_000, 100_000),
    st.integers(-9_000, -1),
)
series = st.lists(
    st.tuples(steps, st.integers(0, WIDTH - 1), st.integers(200, 3_000).map(lambda v: v / 10)), min_size=1, max_size=60
)


def times(moves: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Steps in seconds as times; a step back is one reading that comes late."""
    at_ms, readings = T0, []
    for step, channel, value in moves:
        if step >= 0:
            at_ms += step * 1000
        readings.append((at_ms + min(step, 0) * 1000, channel, value))
    return readings


@settings(max_examples=3000 if DEEP else 150, deadline=None)
@given(series)
def test_rings_and_book_agree_whatever_gaps_days_and_late_readings_there_are(
    moves: list[tuple[int, int, float]],
) -> None:
    history, book = fed(times(moves))
    minutes, tens = book.windows()
    assert history.minute == book.now
    np.testing.assert_array_equal(cells(history.minutes), minutes)
    np.testing.assert_array_equal(cells(history.tens), tens)


@settings(max_examples=1000 if DEEP else 60, deadline=None)
@given(series, st.data())
def test_a_reading_that_is_told_again_later_changes_nothing(
    moves: list[tuple[int, int, float]], data: st.DataObject
) -> None:
    """That is what a redelivered frame is: its readings are older than the newest of their vital."""
    readings = times([(abs(step) % 600 + 1, channel, value) for step, channel, value in moves])
    history, _ = fed(readings)
    newest = {channel: at_ms for at_ms, channel, _ in readings}
    for at_ms, channel, value in data.draw(st.lists(st.sampled_from(readings), max_size=8)):
        if at_ms < newest[channel]:
            assert history.with_late(at_ms, channel, value) == history


def test_a_minute_is_the_mean_of_its_readings_and_the_newest_is_the_running_one() -> None:
    history = History()
    for second in range(90):
        history = history.with_reading(T0 + second * 1000, HR, 80.0 if second < 30 else 90.0)
    minutes, hours = rings([history], [M0 + 1])
    assert minutes.shape == (1, MINUTES, WIDTH)
    assert hours.shape == (1, HOURS, WIDTH)
    assert minutes.dtype == hours.dtype == np.float32
    assert minutes[0, -2:, HR].tolist() == [85.0, 90.0]
    assert hours[0, -1, HR] == 87.5
    assert np.isnan(minutes[0, :-2]).all()
    assert np.isnan(minutes[0, :, 1:]).all()
    assert np.isnan(hours[0, :-1]).all()


def test_hours_are_means_of_ten_minutes_each_and_a_day_later_all_is_gone() -> None:
    history = History()
    for minute in range(6 * 60):
        history = history.with_reading(T0 + minute * MINUTE_MS, HR, 60.0 + minute // 60)
    _, hours = rings([history], [M0 + 6 * 60])
    assert hours[0, -6:-1, HR].tolist() == [60.0, 61.0, 62.0, 63.0, 64.0]
    minutes, hours = rings([history], [M0 + 24 * 60])
    assert np.isnan(minutes).all()
    assert np.isnan(hours[0, :, 1:]).all()
    assert hours[0, 1:6, HR].tolist() == [61.0, 62.0, 63.0, 64.0, 65.0]
    for days in (1.5, 2, 30):
        gone = history.moved_to(M0 + int(days * 24 * 60))
        assert gone == History(gone.minute)


def test_what_a_bed_is_shown_does_not_depend_on_who_lies_beside_it() -> None:
    rng = np.random.default_rng(3)
    histories = []
    for bed in range(17):
        history = History()
        for second in range(0, 5_000, 37 + bed):
            value = float(rng.uniform(40, 160))
            history = history.with_reading(T0 + second * 1000, int(rng.integers(WIDTH)), value)
        histories.append(history)
    nows = [M0 + 85 + n for n in range(17)]
    together = rings(histories, nows)
    for i, history in enumerate(histories):
        for whole, alone in zip(together, rings([history], [nows[i]]), strict=True):
            assert whole[i].tobytes() == alone[0].tobytes()


# -- the past --------------------------------------------------------------------------------------------


def past(step_s: int, start_ms: int, *values: float | None, vital: Vital = Vital.HEART_RATE) -> PastVitals:
    series = (PastSeries(vital=vital, values=values),)
    return PastVitals(bed="B1", patient="p-1", start_ms=start_ms, step_s=step_s, origin="recording", series=series)


def test_the_past_fills_what_is_empty_and_changes_nothing_that_was_read() -> None:
    history = History()
    for minute in range(5):
        history = history.with_reading(T0 + minute * MINUTE_MS, HR, 99.0)
    filled = history.with_past(past(60, T0 - 60 * MINUTE_MS, *[70.0] * 70), T0 + 5 * MINUTE_MS)
    minutes, _ = rings([filled], [filled.minute])
    assert minutes[0, -5:, HR].tolist() == [99.0] * 5
    assert minutes[0, :-5, HR].tolist() == [70.0] * 55
    assert np.isnan(minutes[0, :, 1:]).all()
    again = filled.with_past(past(60, T0 - 60 * MINUTE_MS, *[50.0] * 70), T0 + 5 * MINUTE_MS)
    assert again == filled


@pytest.mark.parametrize("step_s", [1, 60, 300, 600, 900, 3600])
def test_a_steady_past_fills_the_day_whatever_its_step(step_s: int) -> None:
    count = 24 * 3600 // step_s
    known = History().with_past(past(step_s, T0 - 24 * 3_600_000, *[72.0] * count), T0)
    assert known.minute == M0
    minutes, hours = rings([known], [M0])
    assert hours[0, :-1, HR].tolist() == [72.0] * (HOURS - 1)
    if step_s < 600:
        assert minutes[0, :-1, HR].tolist() == [72.0] * (MINUTES - 1)
    else:
        assert np.isnan(minutes).all(), "a mean of ten minutes was taken for a minute's"


def test_shorter_steps_are_averaged_and_longer_ones_cover() -> None:
    known = History().with_past(past(30, T0 - 120_000, 70.0, 80.0, None, 90.0), T0)
    minutes, _ = rings([known], [M0])
    assert minutes[0, -3:-1, HR].tolist() == [75.0, 90.0]
    known = History().with_past(past(120, T0 - 240_000, 70.0, 90.0), T0)
    minutes, _ = rings([known], [M0])
    assert minutes[0, -5:-1, HR].tolist() == [70.0, 70.0, 90.0, 90.0]


def test_a_past_told_in_hours_is_the_newest_hour_too_until_minutes_are_known() -> None:
    known = History().with_past(past(3600, T0 - 3 * 3_600_000, 70.0, 80.0, 90.0), T0)
    _, hours = rings([known], [M0])
    assert hours[0, -3:, HR].tolist() == [70.0, 80.0, 90.0]
    _, hours = rings([known.with_reading(T0, HR, 97.0)], [M0])
    assert hours[0, -3:, HR].tolist() == [70.0, 80.0, 97.0]


def test_what_no_patient_can_have_or_no_model_sees_is_left_out() -> None:
    known = History().with_past(past(60, T0 - 180_000, 0.0, 400.0, 70.0), T0)
    minutes, _ = rings([known], [M0])
    assert np.isfinite(minutes).sum() == 1
    other = History().with_past(past(60, T0 - 180_000, 80.0, vital=Vital.DIASTOLIC), T0)
    assert not np.isfinite(rings([other], [M0])[0]).any()


def test_a_past_that_claims_the_future_ends_now() -> None:
    known = History().with_past(past(60, T0 - 60 * MINUTE_MS, *[70.0] * 600), T0)
    assert known.minute == M0


@settings(max_examples=1000 if DEEP else 60, deadline=None)
@given(series)
def test_a_past_told_to_another_ward_is_the_same_past(moves: list[tuple[int, int, float]]) -> None:
    here, _ = fed(times([(step, channel, PLAIN[channel] + value % 10) for step, channel, value in moves]))
    here = here.moved_to(here.minute + 1)
    there = History()
    for told in here.as_past("B9", "p-1", "topic"):
        there = there.with_past(told, here.minute * MINUTE_MS)
    assert there.moved_to(here.minute) == here


def test_a_clock_put_right_moves_the_rings_with_it() -> None:
    history = History().with_reading(T0, HR, 80.0).with_reading(T0 + MINUTE_MS, HR, 90.0)
    moved = history.rebased(-30 * MINUTE_MS)
    assert moved.minute == history.minute - 30
    assert (moved.minutes, moved.running) == (history.minutes, history.running)
    assert History().rebased(5) == History()


def test_a_bed_costs_two_and_a_half_kilobytes_however_long_it_has_been_here() -> None:
    history = History()
    for minute in range(3_000):
        for channel in range(WIDTH):
            history = history.with_reading(T0 + minute * MINUTE_MS, channel, 60.0 + minute % 50)
    assert len(msgspec.msgpack.encode(history)) < 2_600
    assert history.is_sound
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(history), type=History) == history
    assert not History(1, history.running, b"", history.tens).is_sound
