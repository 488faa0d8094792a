"""Pacing on one anchor, with a clock that the test moves."""

from __future__ import annotations

import random

import pytest

from producers.replay.pacing import Anchor, Control, Lateness


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def test_the_time_that_sending_takes_never_becomes_drift() -> None:
    clock, dice = Clock(), random.Random(3)
    anchor = Anchor(60.0, clock)
    assert anchor.wait_s(0) == 0
    began = clock.s
    for second in range(1, 3600):
        clock.s += max(anchor.wait_s(second * 1000), 0.0)
        assert clock.s - began >= second / 60 - 1e-9
        clock.s += dice.choice([0.0, 0.001, 0.012, 0.1])  # sending; now and then much longer than the gap
        if dice.random() < 0.3:
            clock.s += max(anchor.wait_s(second * 1000 + 999), 0.0)
    clock.s += max(anchor.wait_s(7_200_000), 0.0)
    assert clock.s - began == pytest.approx(120.0)


def test_a_pause_puts_everything_off_and_is_no_lateness() -> None:
    clock = Clock()
    anchor = Anchor(10.0, clock)
    anchor.wait_s(5000)
    clock.s += 30.0
    anchor.put_off(30.0)
    assert anchor.wait_s(6000) == pytest.approx(0.1)


def test_after_a_seek_the_next_message_is_due_at_once() -> None:
    clock = Clock()
    anchor = Anchor(1.0, clock)
    anchor.wait_s(0)
    anchor.lift()
    assert anchor.wait_s(600_000) == 0
    assert anchor.wait_s(601_000) == pytest.approx(1.0)


def test_unpaced_everything_is_due_at_once() -> None:
    anchor = Anchor(None, Clock())
    assert anchor.wait_s(0) == anchor.wait_s(10**12) == 0


def test_lateness_is_told_to_two_percent_and_its_worst_exactly() -> None:
    lateness = Lateness()
    assert lateness.figures() is None
    for n in range(1, 1001):
        lateness.note(n / 10)
    lateness.note(-5.0)
    figures = lateness.figures()
    assert figures is not None
    assert figures.records == 1001
    assert figures.p50_ms == pytest.approx(50.0, rel=0.025)
    assert figures.p99_ms == pytest.approx(99.0, rel=0.025)
    assert figures.max_ms == 100.0
    assert sum(count for _, count in figures.bins) == 1001


def test_a_stop_ends_a_pause_and_a_skip_is_told_once() -> None:
    control = Control()
    control.pause()
    assert control.paused
    control.skip(60_000)
    control.skip(60_000)
    assert control.seeks
    assert (control.sought_ms(5000), control.sought_ms(5000), control.seeks) == (125_000, None, False)
    control.wait(60.0)  # somebody wanted something: no wait
    control.stop()
    assert control.stopped
    assert not control.paused
