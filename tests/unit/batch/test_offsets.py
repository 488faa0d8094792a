"""Offsets of a batch: spans, holes, and where a new checkpoint goes on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.manifests import Manifest, Span
from batch.offsets import holes, reached, spans, starting
from contracts.errors import Misconfigured

A, B = ("a", 0), ("b", 1)


def span(first: int, until: int, records: int = 0, partition: int = 0) -> Span:
    return Span(topic="a", partition=partition, first=first, until=until, records=records)


def test_a_batch_tells_only_partitions_that_moved() -> None:
    assert spans({A: 3, B: 7}, {A: 5, B: 7}, {A: 2}, {A: 3}) == (span(3, 5, 2),)


def test_a_partition_that_is_new_begins_at_its_first_record() -> None:
    assert spans({}, {A: 9}, {A: 2}, {A: 7}) == (span(7, 9, 2),)
    assert spans({}, {A: 9}, {}, {}) == ()


def test_a_log_that_went_back_is_another_log() -> None:
    with pytest.raises(Misconfigured, match="another log"):
        spans({A: 9}, {A: 2}, {}, {})


@given(st.integers(0, 20), st.sets(st.integers(0, 20)))
def test_holes_and_records_make_up_the_span(first: int, found: set[int]) -> None:
    there = sorted(offset for offset in found if offset >= first)
    gone = [offset for begin, end in holes(span(first, 21), there) for offset in range(begin, end)]
    assert sorted([*gone, *there]) == list(range(first, 21))


def test_what_is_reached_is_told_by_batches_and_not_by_retention() -> None:
    batch = Manifest(version=1, kind="batch", name="b", made_ms=0, code="-", spans=(span(0, 5), span(5, 9)))
    gone = Manifest(version=1, kind="retention", name="r", made_ms=0, code="-", spans=(span(0, 99),))
    assert reached([batch, gone]) == {A: 9}


def test_a_new_checkpoint_begins_where_the_lake_ends_and_at_nothing_that_is_gone() -> None:
    there = {A: (0, 20), ("a", 1): (4, 20), B: (7, 20)}
    assert starting({}, there) == "earliest"
    assert json.loads(starting({A: 9, ("a", 1): 2}, there)) == {"a": {"0": 9, "1": 4}, "b": {"1": 7}}
