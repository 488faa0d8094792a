"""The lake's files read for ``ward lake verify``: a record as a number and a digest, a row as a number and a hash.

Columns are streamed and only numbers are held. Files may be compacted while they are read: then they are read again.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, TypeVar

import numpy as np

from batch.expected import GRAINS, Row, day_of, expected, tables_of
from batch.findings import Findings
from batch.manifests import File
from batch.reckoning import Found, Wanted, hashed, record_id, row_ids
from batch.storage import Storage
from batch.topics import digest
from batch.view import View, partition_of, view
from contracts.errors import Poison, Transient
from contracts.lake import RECORDS, Table, partition_value
from contracts.topology import Topic

RECORDS_AT_ONCE: Final = 500
ROWS_AT_ONCE: Final = 100_000
BLOCK: Final = 4096
"""Offsets that stay together when a topic is read in several passes."""
TRIES: Final = 5
COLUMNS: Final = ("kafka_partition", "kafka_offset", "ingest_ms", "key", "value", "headers", "rows", "unreadable")

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """One pass of ``passes`` over a topic: blocks of offsets take turns, so that memory is bounded."""

    number: int = 0
    passes: int = 1

    def has(self, offsets: Any) -> Any:
        """Whether that offset, or each of an array, is of this pass."""
        return offsets // BLOCK % self.passes == self.number


@dataclass(frozen=True)
class Dates:
    """Dates ``first`` to ``last``, both included; None: without end."""

    first: date | None = None
    last: date | None = None

    @property
    def all(self) -> bool:
        """Whether every date is meant."""
        return self.first is None and self.last is None

    def has(self, day: str) -> bool:
        """Whether that date, as it stands in a path, is meant."""
        return (self.first is None or day >= self.first.isoformat()) and (
            self.last is None or day <= self.last.isoformat()
        )


@dataclass
class Book:
    """One topic's records as the lake has them: number, digest and file of each, and what each must have become.

    ``refused`` of them codec does not take, or not wholly. ``told`` are findings of the reading itself.
    """

    wanted: dict[str, Wanted]
    ids: array[int] = field(default_factory=lambda: array("Q"))
    digests: array[int] = field(default_factory=lambda: array("Q"))
    at: array[int] = field(default_factory=lambda: array("L"))
    files: list[str] = field(default_factory=list)
    refused: int = 0
    told: Findings = field(default_factory=Findings)


class Moved(Exception):
    """A file was compacted since the manifests were read."""


class Evidence:
    """Reads what stood when it was made. ``now`` is the newest look at the manifests, ``until`` the first one's end."""

    def __init__(self, storage: Storage, findings: Findings, dates: Dates) -> None:
        self.storage, self.findings, self.dates = storage, findings, dates
        self.now: View = view(storage)
        self.until = self._ends()
        self._arrow = storage.arrow()
        self._ends_now = self.until
        self._removed = self.now.removed()

    def _ends(self) -> dict[tuple[str, int], int]:
        return {place: spans[-1].until for place, spans in self.now.spans().items()}

    def still(self, read: Callable[[], T]) -> T:
        """What ``read`` reads, read again when a compaction changed files meanwhile."""
        for _ in range(TRIES):
            try:
                return read()
            except Moved:
                self.now = view(self.storage)
                self._ends_now = self._ends()
        raise Transient("the lake's files change faster than they can be read")

    def records(self, topic: Topic[Any], tables: Sequence[Table], part: Part) -> Book:
        """The topic's records, and the rows that they must have become. Raises Moved."""
        book = Book({table.name: Wanted() for table in tables})
        here = partition_value(topic.name)
        for file in self.now.of(RECORDS.name):
            if partition_of(file.path).get("topic") != here:
                continue
            book.files.append(file.path)
            for batch in self._batches(file, list(COLUMNS), RECORDS_AT_ONCE):
                for record in zip(*(batch.column(name).to_pylist() for name in COLUMNS), strict=True):
                    place = (topic.name, record[0])
                    newer = self.until.get(place, 0) <= record[1] < self._ends_now.get(place, 0)
                    if part.has(record[1]) and not newer:
                        self._enter(topic, record, book)
        return book

    def _enter(self, topic: Topic[Any], record: tuple[Any, ...], book: Book) -> None:
        partition, offset, ingest_ms, key, value, headers, told, unreadable = record
        number, makes = record_id(partition, offset), expected(topic, value, ingest_ms)
        place = f"{topic.name}/{partition}/{offset}"
        book.ids.append(number)
        book.digests.append(digest(key, value, [(one["key"], one["value"]) for one in headers or ()], ingest_ms))
        book.at.append(len(book.files) - 1)
        book.refused += not makes.sound
        total = sum(map(len, makes.rows.values()))
        if makes.sound and unreadable is not None:
            book.told.add("unread_record", RECORDS.name, place, f"codec reads it; `unreadable` says {unreadable}")
        elif makes.sound and told != total:
            book.told.add("short_record", RECORDS.name, place, f"`rows` says {told}, codec reads {total}")
        alone = len(tables_of(topic)) == 1
        for table, wanted in book.wanted.items():
            rows = makes.rows.get(table, ())
            if not makes.sound or unreadable is not None:
                wanted.loose[number] = (len(rows), told if alone else None) if self.dates.all else None
            elif self.dates.all and table not in self._removed:
                wanted.add(number, rows)
            else:
                self._enter_some(topic.name, table, (partition, offset), rows, wanted)

    def _enter_some(self, topic: str, table: str, place: tuple[int, int], rows: Sequence[Row], wanted: Wanted) -> None:
        """Only rows of the wanted dates; those of dates that retention removed since may be gone."""
        must, may = [], []
        for number, row in enumerate(rows):
            day = day_of(row[1], row[0])
            if not self.dates.has(day):
                continue
            if any(
                day in days and place[1] < until.get((topic, place[0]), 0)
                for days, until in self._removed.get(table, ())
            ):
                may.append(number)
            else:
                must.append((number, row))
        wanted.add_some(record_id(*place), must, may)

    def rows(self, topic: str, table: str, part: Part) -> Found:
        """The rows of a table that come from this topic. Raises Moved."""
        found, columns = Found(), ["kafka_partition", "kafka_offset", "row", "ingest_ms", *GRAINS[table].columns]
        for file in self.now.of(table):
            if not self.dates.has(partition_of(file.path).get("date", "")):
                continue
            for batch in self._batches(file, columns, ROWS_AT_ONCE):
                try:
                    self._take(topic, batch, file, part, found)
                except Poison as wrong:
                    self._broken("unreadable_file", file, wrong.detail)
                    break
        return found

    def _take(self, topic: str, batch: Any, file: File, part: Part, found: Found) -> None:
        place = partition_of(file.path)
        partitions, offsets, numbers = (batch.column(i).to_numpy(zero_copy_only=False) for i in range(3))
        ids = row_ids(partitions, offsets, numbers)
        kept = np.flatnonzero(part.has(offsets) & ~self._newer(topic, partitions, offsets))
        taken = batch if len(kept) == len(ids) else batch.take(kept)
        ward = (place["ward"],) if "ward" in place else ()
        rows = list(zip(*(taken.column(i).to_pylist() for i in range(3, taken.num_columns)), strict=True))
        found.add(file.path, ids[kept], hashed(row + ward for row in rows))
        if astray := sum(day_of(row[1] or 0, row[0]) != place["date"] for row in rows):
            found.astray[file.path] = found.astray.get(file.path, 0) + astray

    def _newer(self, topic: str, partitions: Any, offsets: Any) -> Any:
        """Which rows were landed since we began: they are not looked at."""
        until, ends = np.zeros(256, np.int64), np.zeros(256, np.int64)
        for into, told in ((until, self.until), (ends, self._ends_now)):
            for (name, partition), offset in told.items():
                if name == topic:
                    into[partition] = offset
        return (until[partitions] <= offsets) & (offsets < ends[partitions])

    def _batches(self, file: File, columns: list[str], size: int) -> Iterator[Any]:
        """The file's rows, some at a time; nothing, and a finding, when it is no Parquet file with these columns."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if file.path in self.findings.broken:
            return
        try:
            with self._arrow.open_input_file(file.path) as opened:
                parquet = pq.ParquetFile(opened)
                if parquet.metadata.num_rows != file.rows:
                    told = f"{parquet.metadata.num_rows} rows, the manifest says {file.rows}"
                    self._check(file)
                    self.findings.add("file_differs", file.table, file.path, told)
                yield from parquet.iter_batches(batch_size=size, columns=columns, use_threads=False)
        except FileNotFoundError:
            self._broken("missing_file", file, "a manifest names it")
        except (pa.ArrowException, OSError, KeyError) as wrong:
            self._broken("unreadable_file", file, (str(wrong).splitlines() or [type(wrong).__name__])[0])

    def _broken(self, word: str, file: File, detail: str) -> None:
        self._check(file)
        self.findings.broken_file(word, file.table, file.path, detail)

    def _check(self, file: File) -> None:
        """Raises Moved when the file is another one by now."""
        if view(self.storage).files.get(file.path) != file:
            raise Moved
