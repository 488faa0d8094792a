"""Whatever Faust skips, repeats or brings late: every record counts once, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.sequence import Sequence, Verdict


@given(start=st.integers(0, 50), delivered=st.lists(st.integers(0, 120), max_size=60))
def test_any_delivery_leads_to_every_record_once_and_in_order(start: int, delivered: list[int]) -> None:
    sequence, taken = Sequence(start), list[int]()
    for offset in delivered:
        verdict = sequence.judge(offset)
        if verdict is Verdict.SEEN:
            continue
        if verdict is Verdict.GAP:
            for missed in range(sequence.expected, offset):
                taken.append(missed)
                sequence.took(missed)
        assert sequence.judge(offset) is Verdict.NEXT
        taken.append(offset)
        sequence.took(offset)
    assert taken == list(range(start, max([start, *(o + 1 for o in delivered)])))


def test_a_record_is_not_taken_twice() -> None:
    sequence = Sequence(5)
    sequence.took(5)
    with pytest.raises(ValueError, match="taken already"):
        sequence.took(5)


def test_offsets_that_hold_no_record_are_passed_over_but_never_back() -> None:
    sequence = Sequence(5)
    sequence.pass_over(9)
    sequence.pass_over(7)
    assert sequence.expected == 9
