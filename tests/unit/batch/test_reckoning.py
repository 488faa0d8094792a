"""Rows as numbers: what two sets of them say of each other, whatever is wrong and wherever."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from batch.reckoning import ROW_BITS, Difference, Found, Wanted, difference, hashed, place_of, record_id, row_ids
from contracts.errors import Poison

ROWS = [("a", 1.0), ("b", None), ("c", 3)]


def found(files: dict[str, Sequence[tuple[int, int, object]]]) -> Found:
    """Files of (offset, row, content) of partition 2."""
    made = Found()
    for name, rows in files.items():
        offsets = np.array([row[0] for row in rows], np.int64)
        numbers = np.array([row[1] for row in rows], np.int32)
        ids = row_ids(np.full(len(rows), 2, np.int32), offsets, numbers)
        made.add(name, ids, hashed(row[2] for row in rows))
    return made


def wanted(*offsets: int) -> Wanted:
    made = Wanted()
    for offset in offsets:
        made.add(record_id(2, offset), ROWS)
    return made


def whole(offset: int) -> list[tuple[int, int, object]]:
    return [(offset, number, row) for number, row in enumerate(ROWS)]


def at(offset: int, row: int) -> int:
    return record_id(2, offset) << ROW_BITS | row


def test_a_place_is_a_number_and_back() -> None:
    assert place_of(record_id(11, 2**35) << ROW_BITS | 99) == (11, 2**35, 99)
    for partition, offset in ((-1, 0), (256, 0), (0, 2**36)):
        with pytest.raises(Poison):
            record_id(partition, offset)
    with pytest.raises(Poison, match="null"):
        row_ids(np.array([0.0, np.nan]), np.array([1, 2]), np.array([0, 0]))


def test_the_same_rows_in_any_order_and_any_files_are_no_difference() -> None:
    told = difference(wanted(7, 8), found({"x": whole(8)[::-1], "y": whole(7)[:1], "z": whole(7)[1:]}))
    assert told == Difference(rows=6)
    assert difference(Wanted(), Found()).rows == 0


def test_each_kind_of_difference_is_named_with_its_file() -> None:
    rows = [*whole(7)[:2], (8, 0, ("a", 2.0)), *whole(8)[1:]]
    told = difference(wanted(7, 8), found({"x": rows, "y": [*whole(8)[1:2], (9, 0, ("a", 1.0))]}))
    assert told.missing == (at(7, 2),)
    assert told.doubled == {at(8, 1): ("x", "y")}
    assert told.strange == {at(9, 0): "y"}
    assert told.different == {at(8, 0): "x"}


def test_one_and_one_point_nought_are_equal_and_nothing_is_a_nan() -> None:
    assert hashed([(1, float("nan"))]) == hashed([(1.0, None)])
    assert hashed([("1",)]) != hashed([(1,)])


def test_what_codec_does_not_take_must_be_whole_in_itself() -> None:
    for rows, least, told, short in (
        ([0, 1, 2], 2, 3, False),
        ([0, 2], 0, None, True),
        ([0, 1], 0, 3, True),
        ([0, 1], 3, None, True),
        ([], 0, 0, False),
    ):
        one = Wanted(loose={record_id(2, 7): (least, told)})
        seen = difference(one, found({"x": [(7, row, ()) for row in rows]}))
        assert (not seen.strange, bool(seen.short)) == (True, short), rows
    unjudged = Wanted(loose={record_id(2, 7): None})
    assert not difference(unjudged, found({"x": [(7, 5, ())]})).short


def test_rows_of_a_date_that_retention_took_may_be_there_or_not() -> None:
    one = Wanted()
    one.add_some(record_id(2, 7), [(2, ROWS[2])], spared=[0, 1])
    for rows in (whole(7), whole(7)[1:], whole(7)[2:]):
        told = difference(one, found({"x": rows}))
        assert told == Difference(rows=len(rows))
    assert difference(one, found({"x": whole(7)[:2]})).missing == (at(7, 2),)
