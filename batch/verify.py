"""Proves that every record of every landed offset stands in the tables exactly once: manifests, data and Kafka agree.

It may run beside the stream and a compaction: what they are in the middle of is pending, no finding. Memory is bounded:
about 60 bytes a row of the largest table, in passes of ``PASS_ROWS``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from batch.evidence import Book, Dates, Evidence, Part
from batch.expected import tables_of
from batch.findings import Finding, Findings
from batch.ledgers import Bounds, check_files, check_kafka, check_spans, compare_with_kafka, judge_records
from batch.reckoning import ROW_BITS, Found, Wanted, difference, place_of
from batch.storage import Storage
from batch.topics import Topics
from contracts.errors import Misconfigured
from contracts.lake import FROM_TOPICS, LANDED, RECORDS
from contracts.settings import Settings
from contracts.topology import Topic

PASS_ROWS: Final = 8_000_000
CHECKED: Final = (RECORDS.name, *(table.name for table in FROM_TOPICS))

Say = Callable[[str], None]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was proved. ``reconciled``: nothing was found. ``pending`` records are in Kafka and not landed yet.

    ``compared`` records were held against Kafka's bytes, ``refused`` ones codec does not take wholly, and ``unproven``
    rows belong to records that retention took. ``counts`` has all findings, ``findings`` the first of each kind.
    """

    reconciled: bool
    records: int
    rows: Mapping[str, int]
    pending: int
    compared: int
    refused: int
    unproven: int
    files: int
    bytes: int
    seconds: float
    counts: Mapping[str, int]
    findings: list[Finding]


@dataclass(frozen=True)
class Wish:
    """What to verify: those ``tables`` of topics (none: all), rows of ``dates``.

    ``kafka`` None: without it. ``full``: hold every record against Kafka's bytes, not a sample.
    """

    kafka: str | None
    tables: tuple[str, ...] = ()
    dates: Dates = field(default_factory=Dates)
    full: bool = False


def verify(storage: Storage, wish: Wish, say: Say = lambda _line: None, pass_rows: int = PASS_ROWS) -> Report:
    """Verify. Raises Transient when HDFS or Kafka does not answer, Misconfigured for an unknown table."""
    for name in wish.tables:
        if name not in CHECKED:
            raise Misconfigured(f"--table {name}: verify knows {', '.join(CHECKED)}")
    return _Run(storage, wish, say, pass_rows).report()


class _Run:
    def __init__(self, storage: Storage, wish: Wish, say: Say, pass_rows: int) -> None:
        self.wish, self.say, self.pass_rows = wish, say, pass_rows
        self.began = time.monotonic()
        self.findings = Findings()
        self.read = Evidence(storage, self.findings, wish.dates)
        self.first = self.read.now
        self.spans, self.taken = self.first.spans(), self.first.taken()
        self.storage = storage
        self.records = self.compared = self.refused = self.unproven = 0
        self.rows: dict[str, int] = {}

    def report(self) -> Report:
        bounds, pending = None, 0
        check_spans(self.storage, self.first, self.findings)
        check_files(self.storage, self.first, self.findings)
        if self.wish.kafka is not None:
            with Topics(self.wish.kafka) as topics:
                bounds = topics.bounds(topic.name for topic in LANDED)
            pending = check_kafka(self.first, bounds, self.findings)
        for topic in LANDED:
            if any(name == topic.name for name, _ in self.spans):
                self._topic(topic, bounds)
        return Report(
            reconciled=not self.findings.counts,
            records=self.records,
            rows=self.rows,
            pending=pending,
            compared=self.compared,
            refused=self.refused,
            unproven=self.unproven,
            files=len(self.first.files),
            bytes=sum(file.size for file in self.first.files.values()),
            seconds=round(time.monotonic() - self.began, 3),
            counts=dict(self.findings.counts),
            findings=self.findings.named,
        )

    def _topic(self, topic: Topic[Any], bounds: Bounds | None) -> None:
        chosen = self.wish.tables
        tables = [table for table in tables_of(topic) if not chosen or table.name in chosen]
        if chosen and RECORDS.name not in chosen and not tables:
            return
        self.say(f"{topic.name} ...")
        most = max((sum(file.rows for file in self.first.of(table.name)) for table in tables), default=0)
        passes = 1 + most // self.pass_rows
        for part in (Part(number, passes) for number in range(passes)):
            book = self.read.still(lambda part=part: self.read.records(topic, tables, part))  # type: ignore[misc]  # mypy knows no such lambda
            self._judge(topic.name, book, part, bounds)
            for table in tables:
                found = self.read.still(lambda t=table.name, part=part: self.read.rows(topic.name, t, part))  # type: ignore[misc]  # nor such
                self._judge_rows(topic.name, table.name, book.wanted.pop(table.name), found, book)

    def _judge(self, topic: str, book: Book, part: Part, bounds: Bounds | None) -> None:
        self.findings.take(book.told)
        self.refused += book.refused
        spans = {partition: found for (name, partition), found in self.spans.items() if name == topic}
        taken = {partition: found for (name, partition), found in self.taken.items() if name == topic}
        self.records += judge_records(topic, book, spans, taken, part, self.findings)
        if bounds is not None and self.wish.kafka is not None:
            self.compared += compare_with_kafka(
                self.wish.kafka, topic, self.first, bounds, book, part, self.wish.full, self.findings
            )

    def _judge_rows(self, topic: str, table: str, wanted: Wanted, found: Found, book: Book) -> None:
        told = difference(wanted, found)
        self.rows[table] = self.rows.get(table, 0) + told.rows
        for word, rows in (
            ("missing_row", dict.fromkeys(told.missing, "")),
            ("doubled_row", {row: " and ".join(files) for row, files in told.doubled.items()}),
            ("stray_row", self._unexplained(topic, told.strange, book)),
            ("altered_row", told.different),
        ):
            for row, where in rows.items():
                partition, offset, number = place_of(row)
                self.findings.add(word, table, f"{topic}/{partition}/{offset} row {number}", where)
        for record, why in told.short.items():
            partition, offset, _ = place_of(record << ROW_BITS)
            self.findings.add("short_record", table, f"{topic}/{partition}/{offset}", why)
        for path, times in found.astray.items():
            self.findings.add("misplaced_row", table, path, f"{times} rows of another date", times)

    def _unexplained(self, topic: str, strange: Mapping[int, str], book: Book) -> dict[int, str]:
        """Strangers without those whose record does not stand in ``records`` because its time was over there."""
        left: dict[int, str] = {}
        present = set(book.ids) if strange else set()
        for row, file in strange.items():
            partition, offset, _ = place_of(row)
            taken = self.taken.get((topic, partition))
            if taken is not None and offset < taken.until and row >> ROW_BITS not in present:
                self.unproven += 1
            else:
                left[row] = file
        return left


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The lake in a line: ``rows`` in the tables of topics, ``records`` landed, ``pending`` ones not yet."""

    rows: int
    records: int
    pending: int
    files: int
    bytes: int
    reconciled: bool


def summary(settings: Settings) -> Summary:
    """A cheap look, which opens no data file: spans tile, files are there and whole, and their rows add up.

    ``reconciled`` says as much; the proof is ``verify``. Raises Transient when HDFS or Kafka does not answer.
    """
    storage, findings = Storage.of(settings), Findings()
    now = Evidence(storage, findings, Dates()).now
    check_spans(storage, now, findings)
    check_files(storage, now, findings)
    with Topics(settings.kafka) as topics:
        pending = check_kafka(now, topics.bounds(topic.name for topic in LANDED), findings)
    landed = sum(span.records for spans in now.spans().values() for span in spans)
    removed = sum(span.records for span in now.taken().values())
    records = sum(file.rows for file in now.of(RECORDS.name))
    return Summary(
        rows=sum(file.rows for table in FROM_TOPICS for file in now.of(table.name)),
        records=records,
        pending=pending,
        files=len(now.files),
        bytes=sum(file.size for file in now.files.values()),
        reconciled=not findings.counts and landed - removed == records,
    )
