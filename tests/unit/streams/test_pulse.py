"""The watchdog leaves when the worker is stuck, and only then."""

from __future__ import annotations

from streams.pulse import LAG_S, LOOP_S, UNASSIGNED_S, Pulse, answers


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def running() -> tuple[Clock, Pulse]:
    clock = Clock()
    pulse = Pulse(clock)
    pulse.assigned()
    return clock, pulse


def test_a_worker_that_takes_its_ticks_is_well() -> None:
    clock, pulse = running()
    for n in range(200):
        clock.now += 1
        pulse.beat()
        pulse.appended(0, n)
        assert pulse.complaint({0: (n + 1, clock.now)}, lambda: True) is None


def test_a_loop_that_does_not_turn_is_stuck() -> None:
    clock, pulse = running()
    clock.now += LOOP_S + 1
    assert "event loop" in str(pulse.complaint({}, lambda: True))


def test_a_partition_that_does_not_move_while_its_ticks_are_in_the_log_is_stuck() -> None:
    clock, pulse = running()
    moved_at = clock.now
    for n in range(int(LAG_S) + 60):
        clock.now += 1
        pulse.beat()
        if n == 0:
            pulse.appended(4, 17)
    assert "partition 4 stands at 9 while 17" in str(pulse.complaint({4: (9, moved_at)}, lambda: True))


def test_a_long_read_from_the_log_is_progress() -> None:
    clock, pulse = running()
    pulse.appended(4, 1_000_000)
    clock.now += LAG_S * 2
    pulse.beat()
    assert pulse.complaint({4: (500_000, clock.now - 1)}, lambda: True) is None


def test_an_outage_of_the_broker_is_no_reason_to_leave() -> None:
    clock, pulse = running()
    pulse.appended(0, 41)
    pulse.waiting_for_group()
    clock.now += 600
    pulse.beat()
    assert pulse.complaint({0: (42, clock.now - 600)}, lambda: False) is None


def test_a_group_that_never_answers_is_a_reason_to_leave() -> None:
    clock, pulse = running()
    pulse.waiting_for_group()
    clock.now += UNASSIGNED_S + 1
    pulse.beat()
    assert "no partitions from the group" in str(pulse.complaint({}, lambda: True))


def test_nothing_answers_on_a_port_where_nothing_listens() -> None:
    assert not answers("127.0.0.1:1")
