"""Identities of rows as numbers, and what two sets of them say of each other: missing, doubled, strange, different."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison

ROW_BITS: Final = 20
OFFSET_BITS: Final = 36
ROWS: Final = 1 << ROW_BITS
MASK: Final = (1 << 64) - 1

Ids = NDArray[np.uint64]


def record_id(partition: int, offset: int) -> int:
    """A record of one topic as a number; ``row_id`` of its first row is this, shifted."""
    if not (0 <= partition < 256 and 0 <= offset < 1 << OFFSET_BITS):
        raise Poison("bad_identity", f"partition {partition}, offset {offset}")
    return partition << OFFSET_BITS | offset


def place_of(row: int) -> tuple[int, int, int]:
    """(partition, offset, row) of a row's number."""
    record = row >> ROW_BITS
    return record >> OFFSET_BITS, record & ((1 << OFFSET_BITS) - 1), row & (ROWS - 1)


def row_ids(partitions: NDArray[Any], offsets: NDArray[Any], rows: NDArray[Any]) -> Ids:
    """The rows' numbers. Raises Poison for what can be no identity: a null, a negative or an absurd one."""
    for values, limit in ((partitions, 256), (offsets, 1 << OFFSET_BITS), (rows, ROWS)):
        if values.dtype.kind not in "iu" or (len(values) and not 0 <= values.min() <= values.max() < limit):
            raise Poison("bad_identity", "kafka_partition, kafka_offset or row is null, negative or absurd")
    shifted = partitions.astype(np.uint64) << np.uint64(OFFSET_BITS) | offsets.astype(np.uint64)
    made: Ids = shifted << np.uint64(ROW_BITS) | rows.astype(np.uint64)
    return made


def hashed(rows: Iterable[Any]) -> list[int]:
    """64 bits of each row's compared values; the same within one process only. A NaN counts as null."""
    return [hash(tuple(None if value != value else value for value in row)) & MASK for row in rows]


@dataclass
class Wanted:
    """The rows that a table must hold, collected record by record.

    ``loose`` records are those whose number of rows is not known from their bytes: (at least, told in ``records``);
    None when it cannot be judged at all.
    ``spared`` rows may be there or not: their date was removed when its time was over.
    """

    ids: array[int] = field(default_factory=lambda: array("Q"))
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    spared: array[int] = field(default_factory=lambda: array("Q"))
    loose: dict[int, tuple[int, int | None] | None] = field(default_factory=dict)

    def add(self, record: int, rows: Iterable[Any]) -> None:
        """A record that becomes exactly these rows."""
        found = hashed(rows)
        first = record << ROW_BITS
        self.ids.extend(range(first, first + len(found)))
        self.hashes.extend(found)

    def add_some(self, record: int, rows: Iterable[tuple[int, Any]], spared: Iterable[int] = ()) -> None:
        """A record of which only these rows, by their numbers, must be there; the ``spared`` may be."""
        told = list(rows)
        first = record << ROW_BITS
        self.ids.extend(first + number for number, _ in told)
        self.hashes.extend(hashed(row for _, row in told))
        self.spared.extend(first + number for number in spared)


@dataclass
class Found:
    """The rows that a table's files hold, file by file."""

    ids: list[Ids] = field(default_factory=list)
    hashes: list[Ids] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    astray: dict[str, int] = field(default_factory=dict)
    """Of each file: how many of its rows are of another date than its folder's."""

    def add(self, file: str, ids: Ids, hashes: Iterable[int]) -> None:
        """Rows of one file."""
        self.ids.append(ids)
        self.hashes.append(np.fromiter(hashes, np.uint64, len(ids)))
        self.files.append(file)
        self.counts.append(len(ids))


@dataclass(frozen=True)
class Difference:
    """What is wrong, each a row's number; ``doubled`` and ``strange`` tell the files, ``short`` the loose records."""

    rows: int = 0
    missing: tuple[int, ...] = ()
    doubled: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    strange: Mapping[int, str] = field(default_factory=dict)
    different: Mapping[int, str] = field(default_factory=dict)
    short: Mapping[int, str] = field(default_factory=dict)


def difference(wanted: Wanted, found: Found) -> Difference:
    """Hold the rows that are there against those that must be."""
    ids = np.concatenate([np.zeros(0, np.uint64), *found.ids])
    hashes = np.concatenate([np.zeros(0, np.uint64), *found.hashes])
    files = np.repeat(np.arange(len(found.files), dtype=np.uint32), found.counts)
    order = np.argsort(ids, kind="stable")
    ids, hashes, files = ids[order], hashes[order], files[order]
    again = np.flatnonzero(ids[1:] == ids[:-1]) + 1 if len(ids) else np.zeros(0, np.int64)
    doubled: dict[int, tuple[str, ...]] = {}
    for at in again:
        first = doubled.get(int(ids[at]), (found.files[files[at - 1]],))
        doubled[int(ids[at])] = (*first, found.files[files[at]])
    once = np.ones(len(ids), bool)
    once[again] = False
    ids, hashes, files = ids[once], hashes[once], files[once]

    must, first_at = np.unique(np.frombuffer(wanted.ids, np.uint64), return_index=True)
    must_hash = np.frombuffer(wanted.hashes, np.uint64)[first_at]
    near: NDArray[np.int64] = np.searchsorted(must, ids)
    near[near == len(must)] = 0
    known = must[near] == ids if len(must) else np.zeros(len(ids), bool)
    wrong = known & (must_hash[near] != hashes if len(must) else False)
    missing = must[~np.isin(must, ids[known], assume_unique=True)]
    known |= np.isin(ids, np.frombuffer(wanted.spared, np.uint64))
    strange = {int(ids[i]): found.files[files[i]] for i in np.flatnonzero(~known)}
    strange, short = _loose(wanted, strange)
    return Difference(
        rows=len(order),
        missing=tuple(map(int, missing)),
        doubled=doubled,
        strange=strange,
        different={int(ids[i]): found.files[files[i]] for i in np.flatnonzero(wrong)},
        short=short,
    )


def _loose(wanted: Wanted, strange: dict[int, str]) -> tuple[dict[int, str], dict[int, str]]:
    """Strangers that belong to loose records are none; those records must be whole: 0..n-1, as many as was told."""
    held: dict[int, list[int]] = {record: [] for record in wanted.loose}
    left = {}
    for row, file in strange.items():
        record = row >> ROW_BITS
        if record in held:
            held[record].append(row & (ROWS - 1))
        else:
            left[row] = file
    short = {}
    for record, rows in held.items():
        known = wanted.loose[record]
        if known is None:
            continue
        least, told = known
        if sorted(rows) != list(range(len(rows))):
            short[record] = f"holds rows {sorted(rows)[:20]}, which are not 0 to {len(rows) - 1}"
        elif told is not None and len(rows) != told:
            short[record] = f"holds {len(rows)} rows where `records` tells {told}"
        elif len(rows) < least:
            short[record] = f"holds {len(rows)} rows where codec reads {least}"
    return left, short
