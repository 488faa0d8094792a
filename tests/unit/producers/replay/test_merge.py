"""Merging: by time, each log in its own order, the same whatever came first."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import WardError
from producers.replay.merge import Merge, Message

TIMES = st.lists(st.lists(st.integers(0, 50), max_size=20), min_size=1, max_size=5)


def logs_of(times: list[list[int]]) -> list[list[Message]]:
    return [
        [Message(log, offset, at_ms, b"k", b"v") for offset, at_ms in enumerate(of)] for log, of in enumerate(times)
    ]


def merged(logs: list[list[Message]], dice: random.Random) -> list[tuple[int, Message]]:
    """What comes out, with its due time, when messages arrive in a chance order."""
    merge = Merge(range(len(logs)))
    left = {n: list(log) for n, log in enumerate(logs)}
    got: list[tuple[int, Message]] = []
    while not merge.over:
        while (due := merge.due_ms()) is not None and dice.random() < 0.8:
            got.append((due, merge.take()))
        if left:
            log = dice.choice(sorted(left))
            for _ in range(dice.randrange(4)):
                if left[log]:
                    merge.add(left[log].pop(0))
            if not left[log]:
                merge.end(log)
                del left[log]
    return got


@given(TIMES, st.integers(0, 1000))
def test_everything_comes_out_once_in_due_order_and_each_log_in_its_own(times: list[list[int]], seed: int) -> None:
    logs = logs_of(times)
    got = merged(logs, random.Random(seed))
    assert sorted(m for _, m in got) == sorted(m for log in logs for m in log)
    dues = [due for due, _ in got]
    assert dues == sorted(dues)
    for number, log in enumerate(logs):
        assert [m for _, m in got if m.log == number] == log


@given(TIMES, st.integers(0, 1000), st.integers(0, 1000))
def test_the_order_does_not_depend_on_what_arrived_first(times: list[list[int]], one: int, other: int) -> None:
    logs = logs_of(times)
    assert merged(logs, random.Random(one)) == merged(logs, random.Random(other))


@given(st.lists(st.lists(st.integers(0, 50), max_size=20).map(sorted), min_size=1, max_size=5))
def test_logs_whose_times_never_go_back_are_merged_by_time_alone(times: list[list[int]]) -> None:
    got = [message for _, message in merged(logs_of(times), random.Random(7))]
    assert got == sorted(got, key=lambda m: (m.at_ms, m.log, m.offset))


def test_nothing_is_given_while_a_log_has_nothing_to_show() -> None:
    merge = Merge([0, 1])
    merge.add(Message(0, 0, 10, None, b"x"))
    assert merge.due_ms() is None
    assert merge.bare == {1}
    merge.end(1)
    assert merge.due_ms() == 10


def test_what_waits_is_weighed_so_that_a_reader_can_hold_back() -> None:
    merge = Merge([0])
    merge.add(Message(0, 0, 10, b"key", b"value"))
    merge.add(Message(0, 1, 10, None, None))
    assert merge.held(0) > 2 * 100  # an empty record takes memory too
    merge.take()
    merge.take()
    assert merge.held(0) == 0


def test_an_ended_log_takes_nothing_more() -> None:
    merge = Merge([0])
    merge.end(0)
    assert merge.over
    with pytest.raises(WardError, match="ended"):
        merge.add(Message(0, 3, 10, None, b"x"))
