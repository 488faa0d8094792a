"""What manifests, folders and Kafka say of each other: spans that tile, files that are there, records that are one."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from batch import offsets
from batch.evidence import Book, Part
from batch.findings import Findings
from batch.manifests import Span
from batch.publish import Intent
from batch.reckoning import ROW_BITS, place_of, record_id
from batch.storage import Storage
from batch.topics import Topics
from batch.view import View, table_of, view
from contracts.lake import ALL, CHECKPOINT, RECORDS, STAGING

SAMPLE: Final = 200
"""Records of each partition that are held against Kafka's: the first and the last of what both have."""
LOOKS: Final = 3

Bounds = Mapping[tuple[str, int], tuple[int, int]]


def check_spans(storage: Storage, now: View, findings: Findings) -> None:
    """The batches of each partition tile it, up to where the stream's checkpoint says that it is."""
    for wrong in now.damaged:
        findings.add("bad_manifest", "", wrong.detail.partition(": ")[0], wrong.detail)
    until: dict[tuple[str, int], int] = {}
    for (topic, partition), spans in now.spans().items():
        for before, after in pairwise(spans):
            if before.until != after.first:
                word = "gap" if before.until < after.first else "overlap"
                low, high = sorted((before.until, after.first))
                findings.add(word, RECORDS.name, f"{topic}/{partition}/{low}..{high - 1}", "between two batches")
        until[topic, partition] = spans[-1].until
    for place, offset in _checkpoint(storage).items():
        if offset > until.get(place, 0) and (offset > 0):
            where = f"{place[0]}/{place[1]}/{until.get(place, 0)}..{offset - 1}"
            findings.add("lost_batch", RECORDS.name, where, "the stream will go on behind them")


def _checkpoint(storage: Storage) -> dict[tuple[str, int], int]:
    """Up to which offset the stream has landed each partition, by its last committed batch; empty without one.

    Spark writes ``offsets/<batch>`` before a batch and ``commits/<batch>`` after it; a checkpoint that follows a lost
    one has a higher number.
    """
    kept = [name for name in storage.names(CHECKPOINT) if name.isdigit()]
    home = f"{CHECKPOINT}/{max(kept, key=int)}" if kept else CHECKPOINT
    done = [int(name) for name in storage.names(f"{home}/commits") if name.isdigit()]
    return dict(offsets.planned(storage, home, max(done))) if done else {}


def _name(path: str) -> str:
    return posixpath.basename(path)


def check_files(storage: Storage, now: View, findings: Findings) -> None:
    """The folders hold the files that manifests name, of the sizes that they tell, and no other.

    What a batch or a compaction is about to do just now changes between two looks: only what stays wrong is told.
    """
    wrong = _wrong_files(storage, now)
    for _ in range(LOOKS - 1):
        if wrong:
            again = _wrong_files(storage, view(storage))
            wrong = {path: told for path, told in wrong.items() if again.get(path) == told}
    for path, (word, detail) in sorted(wrong.items()):
        if word in ("missing_file", "file_differs"):
            findings.broken_file(word, table_of(path), path, detail)
        else:
            findings.add(word, table_of(path), path, detail)


def _wrong_files(storage: Storage, now: View) -> dict[str, tuple[str, str]]:
    there = {entry.path: entry.size for table in ALL.values() for entry in storage.entries(table.path)}
    wrong: dict[str, tuple[str, str]] = {}
    for path, file in now.files.items():
        if path not in there:
            wrong[path] = ("missing_file", "a manifest names it")
        elif there[path] != file.size:
            wrong[path] = ("file_differs", f"{there[path]} bytes, the manifest says {file.size}")
    extra = there.keys() - now.files.keys()
    if extra:
        over = {path for manifest in now.manifests for path in manifest.replaces}
        coming = _coming(storage)
        for path in extra - coming:
            wrong[path] = ("unfinished" if path in over else "extra_file", f"{there[path]} bytes")
    return wrong


def _coming(storage: Storage) -> set[str]:
    """Files of batches that are between their intent and their manifest: their next start finishes them."""
    found: set[str] = set()
    for entry in storage.entries(STAGING, hidden=True):
        if _name(entry.path) == "_intent.json":
            try:
                found |= {move.final for move in msgspec.json.decode(storage.read(entry.path), type=Intent).moves}
            except (FileNotFoundError, msgspec.DecodeError):
                continue  # it is over by now, or another one's
    return found


def check_kafka(now: View, bounds: Bounds, findings: Findings) -> int:
    """Hold the landed offsets against the topics' own; how many records wait to be landed."""
    pending, spans = 0, now.spans()
    for (topic, partition), (begin, end) in sorted(bounds.items()):
        landed = spans.get((topic, partition))
        if not landed:
            pending += end - begin
            continue
        first, until = landed[0].first, landed[-1].until
        where = f"{topic}/{partition}"
        if until > end:
            findings.add("beyond_end", RECORDS.name, where, f"landed up to {until}, Kafka ends at {end}")
            continue
        if begin < first:
            findings.add("unlanded", RECORDS.name, f"{where}/{begin}..{first - 1}", "", first - begin)
        if begin > until:
            findings.add("lost", RECORDS.name, f"{where}/{until}..{begin - 1}", "", begin - until)
        pending += end - max(begin, until)
    return pending


def compare_with_kafka(
    address: str, topic: str, now: View, bounds: Bounds, book: Book, part: Part, full: bool, findings: Findings
) -> int:
    """Hold the records against Kafka's bytes where Kafka still has them; how many were compared."""
    ids = np.frombuffer(book.ids, np.uint64)
    order = np.argsort(ids, kind="stable")
    ids, digests = ids[order], np.frombuffer(book.digests, np.uint64)[order]
    compared = 0
    with Topics(address) as topics:
        for (name, partition), spans in now.spans().items():
            if name != topic or (name, partition) not in bounds:
                continue
            begin, end = bounds[name, partition]
            for first, until in _stretches(max(begin, spans[0].first), min(end, spans[-1].until), full):
                for offset, digest in topics.records(topic, partition, first, until):
                    if not part.has(offset):
                        continue
                    number = record_id(partition, offset)
                    at = int(np.searchsorted(ids, np.uint64(number)))
                    if at < len(ids) and int(ids[at]) == number:
                        compared += 1
                        if int(digests[at]) != digest:
                            file = book.files[book.at[int(order[at])]]
                            findings.add("altered_record", RECORDS.name, f"{topic}/{partition}/{offset}", file)
    return compared


def _stretches(first: int, until: int, full: bool) -> list[tuple[int, int]]:
    if full or until - first <= SAMPLE:
        return [(first, until)]
    return [(first, first + SAMPLE // 2), (until - SAMPLE // 2, until)]


def judge_records(
    topic: str, book: Book, spans: Mapping[int, list[Span]], taken: Mapping[int, Span], part: Part, findings: Findings
) -> int:
    """Every landed offset stands once in ``records``; how many there are. ``taken``: what retention removed."""
    ids = np.frombuffer(book.ids, np.uint64)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]

    def tell(word: str, number: int, detail: str = "") -> None:
        partition, offset, _ = place_of(int(number) << ROW_BITS)
        findings.add(word, RECORDS.name, f"{topic}/{partition}/{offset}", detail)

    for at in np.flatnonzero(ids[1:] == ids[:-1]):
        both = (book.files[book.at[int(order[at])]], book.files[book.at[int(order[at + 1])]])
        tell("doubled_record", ids[at], " and ".join(both))
    present = np.unique(ids)
    known = np.zeros(len(present), bool)
    for partition, tiles in spans.items():
        low, high = record_id(partition, 0), record_id(partition, tiles[-1].until)
        gone = taken.get(partition)
        for tile in tiles:
            first, until = low + tile.first, low + tile.until
            at, after = np.searchsorted(present, np.array([first, until], np.uint64))
            known[at:after] = True
            if gone is not None and tile.first < gone.until:
                continue
            must = np.arange(first, until, dtype=np.uint64)
            must = must[part.has(must - np.uint64(low))]
            absent = must[~np.isin(must, present[at:after], assume_unique=True)]
            holes = tile.until - tile.first - tile.records
            if part.passes == 1 and len(absent) == holes:
                for start, end in _runs(absent - np.uint64(low)):
                    findings.add("lost", RECORDS.name, f"{topic}/{partition}/{start}..{end}", "", end - start + 1)
            elif part.passes == 1 or not holes:
                for number in absent:
                    tell("missing_record", number)
        if gone is not None and part.passes == 1:
            _count(topic, partition, tiles, gone, int(((present >= low) & (present < high)).sum()), findings)
    for at in np.flatnonzero(~known):
        where = int(np.searchsorted(ids, present[at]))
        tell("stray_record", present[at], book.files[book.at[int(order[where])]])
    return len(ids)


def _runs(numbers: NDArray[np.uint64]) -> list[tuple[int, int]]:
    """Numbers in a row as (first, last)."""
    cuts = np.flatnonzero(np.diff(numbers) > 1) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(numbers, cuts) if len(part)]


def _count(topic: str, partition: int, tiles: list[Span], gone: Span, present: int, findings: Findings) -> None:
    """Where retention took some, only their number can tell whether all others are there."""
    told = sum(tile.records for tile in tiles) - gone.records
    if present < told:
        where = f"{topic}/{partition}/{tiles[0].first}..{tiles[-1].until - 1}"
        findings.add("missing_record", RECORDS.name, where, f"{present} of {told} are there", told - present)
