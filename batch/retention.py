"""Removes whole dates whose time is over. What is removed is told first, so that nobody takes it for a loss."""

from __future__ import annotations

import posixpath
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec

from batch.manifests import RETENTION, VERSION, File, Manifest, path_of
from batch.storage import Storage
from batch.turns import held
from batch.version import code_version
from batch.view import View, folder_of, landed, partition_of, view
from contracts.errors import Misconfigured, Transient
from contracts.lake import ALL, BY_DATE, FROM_TOPICS, RECORDS

KEPT: Final = (RECORDS, *FROM_TOPICS)
"""Tables that have a date to be judged by."""


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """One date of one table."""

    table: str
    date: str
    files: int
    rows: int
    bytes: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, or would be; ``leftovers`` are files of an earlier run that was cut off."""

    removed: bool
    dates: list[Removed]
    leftovers: int = 0


def days(override: str = "") -> dict[str, int]:
    """How many days each table keeps its rows; a table that is not in it keeps them for ever.

    ``override`` is ``vitals=90,records=30``; 0 is for ever. Raises Misconfigured for what is no such thing.
    """
    kept = {table.name: table.keep_days for table in KEPT if table.keep_days is not None}
    for part in filter(None, (part.strip() for part in override.split(","))):
        name, _, number = (text.strip() for text in part.partition("="))
        if name not in {table.name for table in KEPT}:
            raise Misconfigured(f"WARD_LAKE_KEEP {part}: it knows {', '.join(table.name for table in KEPT)}")
        if not number.isdigit():
            raise Misconfigured(f"WARD_LAKE_KEEP {part}: write TABLE=DAYS, like vitals=90")
        kept[name] = int(number)
    return {name: number for name, number in kept.items() if number}


def retain(storage: Storage, keep: Mapping[str, int], *, remove: bool, today: date | None = None) -> Report:
    """Remove every date that is more than its table's days before ``today`` (UTC); without ``remove`` only say so.

    Raises Transient when HDFS does not answer or a compaction runs. May be killed at any moment; the next run with
    ``remove`` finishes.
    """
    if not remove:
        return Report(removed=False, dates=_dates(_over(view(storage), keep, today or _today())))
    with held(storage):
        leftovers = _remove_told(storage, view(storage))
        now = view(storage)
        over = _over(now, keep, today or _today())
        if over:
            manifest = _manifest(storage, now, over)
            storage.write(path_of(manifest.name), manifest.encoded())
            _remove(storage, manifest.replaces)
    return Report(removed=True, dates=_dates(over), leftovers=leftovers)


def _today() -> date:
    return datetime.now(UTC).date()


def _over(now: View, keep: Mapping[str, int], today: date) -> list[File]:
    """The files whose date is over. Files that are just being compacted wait for the next run."""
    busy = {file.path for going in now.open for file in going.sources}
    first = {name: (today - timedelta(days=number)).isoformat() for name, number in keep.items()}
    return sorted(
        (
            file
            for file in now.files.values()
            if file.table in first
            and partition_of(file.path).get(BY_DATE.name, "~") < first[file.table]
            and file.path not in busy
        ),
        key=lambda file: file.path,
    )


def _dates(files: Iterable[File]) -> list[Removed]:
    found: dict[tuple[str, str], list[File]] = defaultdict(list)
    for file in files:
        found[file.table, partition_of(file.path)[BY_DATE.name]].append(file)
    return [
        Removed(
            table=table,
            date=day,
            files=len(of),
            rows=sum(file.rows for file in of),
            bytes=sum(file.size for file in of),
        )
        for (table, day), of in sorted(found.items())
    ]


def _manifest(storage: Storage, now: View, over: Sequence[File]) -> Manifest:
    """What is about to be removed, and of which offsets: up to where the stream was, and how many records of each."""
    taken = _records(storage, [file for file in over if file.table == RECORDS.name])
    spans = tuple(
        msgspec.structs.replace(span, records=taken[span.topic, span.partition]) for span in landed(now.spans())
    )
    made_ms = time.time_ns() // 1_000_000
    return Manifest(
        version=VERSION,
        kind=RETENTION,
        name=f"r{made_ms:013}-{uuid.uuid4().hex[:8]}",
        made_ms=made_ms,
        code=code_version(),
        spans=spans,
        replaces=tuple(file.path for file in over),
    )


def _records(storage: Storage, files: Sequence[File]) -> Counter[tuple[str, int]]:
    """How many records of each (topic, partition) these files hold."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow: Any = storage.arrow()
    found: Counter[tuple[str, int]] = Counter()
    for file in files:
        topic = partition_of(file.path)["topic"]
        try:
            with arrow.open_input_file(file.path) as opened:
                column = pq.ParquetFile(opened).read(columns=["kafka_partition"]).column(0)
        except (pa.ArrowException, OSError) as wrong:
            raise Transient(f"{file.path} cannot be read now: {wrong}; `ward lake verify` tells more") from wrong
        for counted in column.value_counts().to_pylist():
            found[topic, counted["values"]] += counted["counts"]
    return found


def _remove(storage: Storage, paths: Iterable[str]) -> None:
    folders = set()
    for path in paths:
        storage.remove(path)
        folders.add(folder_of(path))
    for folder in sorted(folders, reverse=True):
        top = ALL[folder.split("/tables/", 1)[1].split("/")[0]].path
        while folder != top and _is_empty(storage, folder):
            _remove_empty(storage, folder)
            folder = posixpath.dirname(folder)


def _is_empty(storage: Storage, folder: str) -> bool:
    return next(storage.entries(folder, hidden=True), None) is None


def _remove_empty(storage: Storage, folder: str) -> None:
    """Remove a folder if it is empty at that moment: the stream may just be putting a late row into it."""
    import hdfs

    try:
        storage.web.delete(folder, recursive=False)
    except hdfs.HdfsError as kept:
        if "is non empty" not in str(kept):
            raise Transient(f"HDFS does not remove {folder}: {kept}") from kept


def _remove_told(storage: Storage, now: View) -> int:
    """Remove what an earlier run told and did not come to; how many files that were."""
    told = {path for manifest in now.manifests if manifest.kind == RETENTION for path in manifest.replaces}
    there = {
        entry.path
        for folder in sorted({folder_of(path) for path in told})
        for entry in storage.entries(folder)
        if entry.path in told
    }
    _remove(storage, sorted(there))
    return len(there)
