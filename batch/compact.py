"""Makes few large files of many small ones without any reader noticing (docs/why/compaction-in-one-step.md).

All rows are written anew as the tail of a Parquet file whose first part are the small files as they are; HDFS joins
them in one step. Later the rows alone take the joined file's place, in one step too. What is about to be done is told
first, so that whoever comes after a crash finishes it.
"""

from __future__ import annotations

import contextlib
import posixpath
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from batch.manifests import VERSION, File, path_of
from batch.storage import Storage
from batch.turns import Busy, held
from batch.version import code_version
from batch.view import INTENT, OPEN, Compaction, View, folder_of, state_of, view
from contracts.errors import Misconfigured, Poison, Transient
from contracts.lake import ALL, FROM_TOPICS, RECORDS, Table

MB: Final = 1024 * 1024
TARGET_MB: Final = 16
MIN_FILES: Final = 8
GRACE_S: Final = 600.0
"""So long a reader that opened one of the small files may go on reading it after they were joined."""
GROUP_MB: Final = 64
"""At most so much is read into memory at once, as it stands on disk ..."""
GROUP_ROWS: Final = 4_000_000
"""... and so many rows: about 1 GB."""
SOME_ROWS: Final = 400_000
SOME_MB: Final = 8
"""The same beside the stream, in its process: about 100 MB."""
URL_BYTES: Final = 40_000
"""Names of files to be joined travel in one URL; the NameNode takes 64 KB."""
MAGIC: Final = b"PAR1"
LEVEL: Final = 6
ROW_GROUP: Final = 500_000
ROW_GROUP_BYTES: Final = 128 * MB
COMPACTED: Final = (RECORDS, *FROM_TOPICS)
"""Derived tables are published whole, and bucketed ones must stay in their buckets."""
ORDER: Final = ("event_ms", "ingest_ms", "kafka_partition", "kafka_offset", "row")


class Group(msgspec.Struct, frozen=True):
    """Small files of one partition that are to become one file, at the path of the first."""

    table: str
    files: tuple[File, ...]

    @property
    def folder(self) -> str:
        """Their partition's folder."""
        return folder_of(self.files[0].path)


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did: ``groups`` joined, their ``files``, ``rows`` and sizes; ``cleaned``: joined files made small.

    ``damaged`` says why a group was left as it is.
    """

    groups: int
    cleaned: int
    files: int
    rows: int
    bytes_before: int
    bytes_after: int
    damaged: tuple[str, ...] = ()


NOTHING: Final = Done(groups=0, cleaned=0, files=0, rows=0, bytes_before=0, bytes_after=0)


def candidates(now: View, target: int, min_files: int, tables: Iterable[str] = (), tiered: bool = False) -> list[Group]:
    """The groups of small files that are worth joining, those of most files first.

    ``tiered``: leave out files that are much larger than all smaller ones together, so that a partition which grows all
    day is not written anew at every call; and join no more at once than fits into the stream's process.
    """
    busy = {file.path for going in now.open for file in going.sources}
    wanted = set(tables) or {table.name for table in COMPACTED}
    folders: dict[str, list[File]] = defaultdict(list)
    for file in now.files.values():
        if file.table in wanted and file.size < target and file.path not in busy:
            folders[folder_of(file.path)].append(file)
    groups: list[Group] = []
    for files in folders.values():
        small = sorted(files, key=lambda file: (file.size, file.path))
        if tiered:
            small = _tier(small)
        parts = _parts(small, SOME_ROWS if tiered else GROUP_ROWS, (SOME_MB if tiered else GROUP_MB) * MB)
        groups += [Group(part[0].table, part) for part in parts if len(part) >= max(2, min_files)]
    return sorted(groups, key=lambda group: (-len(group.files), group.files[0].path))


def planned(storage: Storage, tables: Sequence[str], target_mb: int, min_files: int) -> list[Group]:
    """What ``compact`` would join first. Raises as it does."""
    _known(tables)
    return candidates(view(storage), target_mb * MB, min_files, tables)


def _tier(files: Sequence[File]) -> list[File]:
    taken: list[File] = []
    total = 0
    for file in files:
        if len(taken) >= 2 and file.size > 2 * total:
            break
        taken.append(file)
        total += file.size
    return taken


def _parts(files: Sequence[File], most_rows: int, most_bytes: int) -> Iterator[tuple[File, ...]]:
    """Cut where memory, or the length of a URL, asks for it; each part in order of path, the oldest batch first."""
    part: list[File] = []
    size = rows = text = 0
    for file in sorted(files, key=lambda one: one.path):
        length = len(quote(file.path)) + 3
        full = size + file.size > most_bytes or rows + file.rows > most_rows or text + length > URL_BYTES
        if part and full:
            yield tuple(part)
            part, size, rows, text = [], 0, 0, 0
        part.append(file)
        size, rows, text = size + file.size, rows + file.rows, text + length
    if part:
        yield tuple(part)


def compact(
    storage: Storage,
    *,
    tables: Sequence[str] = (),
    target_mb: int = TARGET_MB,
    min_files: int = 2,
    grace_s: float = GRACE_S,
    say: Callable[[str], None] = lambda _line: None,
) -> Done:
    """Compact until every partition has only files of at least ``target_mb``, or one file.

    A partition with a damaged file is left as it is, and told. Raises Transient when HDFS does not answer or another
    compaction runs, Misconfigured for a table that is not compacted. May be killed at any moment; the next run finishes
    what was begun.
    """
    _known(tables)
    total = NOTHING
    with held(storage):
        while True:
            done, more = _round(storage, tables, target_mb, min_files, grace_s, None, False, say)
            total = _sum(total, done)
            if not more:
                return total


def compact_some(
    storage: Storage,
    *,
    most: int = 4,
    min_files: int = MIN_FILES,
    target_mb: int = TARGET_MB,
    grace_s: float = GRACE_S,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Done:
    """A bounded piece of work, to be called again and again beside the stream: at most ``most`` groups, tier by tier.

    ``may_go_on`` is asked before each. Does nothing while another compaction runs. Raises Transient when HDFS does not
    answer.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(storage))
        except Busy:
            return NOTHING
        limit = _limit(most, may_go_on)
        return _round(storage, (), target_mb, min_files, grace_s, limit, True, lambda _line: None)[0]


def _limit(most: int, may_go_on: Callable[[], bool]) -> Callable[[int], bool]:
    return lambda done: done < most and may_go_on()


def _known(tables: Sequence[str]) -> None:
    for name in tables:
        if name not in ALL or ALL[name] not in COMPACTED:
            raise Misconfigured(f"--table {name}: compacted are {', '.join(table.name for table in COMPACTED)}")


def _round(
    storage: Storage,
    tables: Sequence[str],
    target_mb: int,
    min_files: int,
    grace_s: float,
    limit: Callable[[int], bool] | None,
    tiered: bool,
    say: Callable[[str], None],
) -> tuple[Done, bool]:
    """Finish what was begun, then join what there is to join; whether another round may find more."""
    now = view(storage)
    cleaned = sum(finish(storage, going, grace_s) for going in now.open)
    if now.open:
        now = view(storage)
    groups = candidates(now, target_mb * MB, min_files, tables, tiered)
    done = msgspec.structs.replace(NOTHING, cleaned=cleaned)
    for group in groups:
        if limit is not None and not limit(done.groups):
            break
        try:
            going = join(storage, group)
        except Poison as wrong:
            done = _sum(done, msgspec.structs.replace(NOTHING, damaged=(str(wrong),)))
            continue
        say(f"{len(group.files)} files of {group.folder}: {going.joined.rows} rows, {going.whole.size} bytes")
        one = Done(
            groups=1,
            cleaned=int(finish(storage, going, grace_s)),
            files=len(group.files),
            rows=going.joined.rows,
            bytes_before=sum(file.size for file in group.files),
            bytes_after=going.whole.size,
        )
        done = _sum(done, one)
    # what was joined may be joined again with others, once it is clean
    return done, bool(done.groups) and grace_s <= 0


def _sum(one: Done, other: Done) -> Done:
    added = {name: getattr(one, name) + getattr(other, name) for name in Done.__struct_fields__}
    return msgspec.convert(added, Done)


# -- one group -------------------------------------------------------------------------------------------------------


def join(storage: Storage, group: Group) -> Compaction:
    """Join the files: intent, tail and clean file, proof, the one step. Raises Transient, Poison for a damaged file."""
    contents = [storage.read(file.path) for file in group.files]
    for file, content in zip(group.files, contents, strict=True):
        if len(content) != file.size:
            raise Transient(f"{file.path} has {len(content)} bytes, not {file.size}: it is being changed")
    rows = _merged(ALL[group.table], group.files, contents)
    offset = sum(map(len, contents))
    del contents
    whole, tail = parquet(rows), parquet(rows, offset)
    prove(rows, whole, tail, offset)
    going = _told(storage, group, len(rows), len(whole), offset + len(tail))
    storage.write(going.clean, whole)
    storage.write(going.tail, tail)
    storage.concat(going.target, [*(file.path for file in group.files[1:]), going.tail])
    return going


def _told(storage: Storage, group: Group, rows: int, whole: int, joined: int) -> Compaction:
    """Write the intent."""
    made_ms = time.time_ns() // 1_000_000
    name = f"c{made_ms:013}-{uuid.uuid4().hex[:8]}"
    home, target = f"{OPEN}/{name}", group.files[0].path
    going = Compaction(
        version=VERSION,
        name=name,
        table=group.table,
        made_ms=made_ms,
        code=code_version(),
        sources=group.files,
        tail=f"{folder_of(target)}/_{name}.tail",
        joined=File(table=group.table, path=target, rows=rows, size=joined),
        clean=f"{home}/_whole.parquet",
        whole=File(table=group.table, path=target, rows=rows, size=whole),
    )
    storage.write(f"{home}/{INTENT}", msgspec.json.encode(going))
    return going


def finish(storage: Storage, going: Compaction, grace_s: float) -> bool:
    """Do what is left of a compaction; whether the clean file is in its place.

    One that was not joined is given up: the tail goes first, without which nothing can be joined any more. The clean
    file waits until ``grace_s`` after the intent; whoever moves it is the only one who can.
    """
    home = posixpath.dirname(going.clean)
    if state_of(storage, going) == "planned":
        storage.remove(going.tail)
        if state_of(storage, going) == "planned":
            storage.remove(home)
            return False
    _publish(storage, going, "joined")
    if state_of(storage, going) == "joined":
        if time.time() * 1000 < going.made_ms + grace_s * 1000:
            return False
        if storage.exists(going.clean):
            storage.replace(going.clean, going.target)
        elif state_of(storage, going) == "joined":
            storage.remove(home)  # the clean file was lost: the joined one is as good, only larger
            return False
    _publish(storage, going, "whole")
    storage.remove(home)
    return True


def _publish(storage: Storage, going: Compaction, state: Any) -> None:
    for manifest in going.told(state):
        with contextlib.suppress(FileExistsError):
            storage.write(path_of(manifest.name), manifest.encoded())


# -- rows ------------------------------------------------------------------------------------------------------------


def _merged(table: Table, files: Sequence[File], contents: Sequence[bytes]) -> Any:
    """All rows, by time, in the schema of the newest file that has most columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        read = [pq.read_table(pa.BufferReader(content), partitioning=None) for content in contents]
    except (pa.ArrowException, OSError) as wrong:
        raise Poison(
            "unreadable_file", f"in {folder_of(files[0].path)}: {wrong}; `ward lake verify` names it"
        ) from wrong
    for file, part in zip(files, read, strict=True):
        if part.num_rows != file.rows:
            raise Poison("file_differs", f"{file.path} has {part.num_rows} rows, its manifest says {file.rows}")
    widest = max(read, key=lambda part: part.num_columns).schema
    merged = pa.concat_tables(read, promote_options="default")
    names = [column.name for column in table.columns if column.name in merged.column_names]
    merged = merged.select([*names, *(name for name in merged.column_names if name not in names)])
    order = [(name, "ascending") for name in ORDER if name in merged.column_names]
    return merged.sort_by(order).replace_schema_metadata(widest.metadata)


def parquet(rows: Any, offset: int = 0) -> bytes:
    """The rows as a Parquet file; with ``offset``, what must stand behind so many bytes for the whole to be one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    group = max(100_000, min(ROW_GROUP, int(ROW_GROUP_BYTES * len(rows) / max(1, rows.nbytes))))
    with pq.ParquetWriter(sink, rows.schema, compression="zstd", compression_level=LEVEL, store_schema=False) as writer:
        if offset:
            sink.write(bytes(offset - len(MAGIC)))  # the writer has just written its first bytes
        writer.write_table(rows, row_group_size=group)
    made = sink.getvalue()
    return bytes(made[offset:]) if offset else bytes(made)


def prove(rows: Any, whole: bytes, tail: bytes, offset: int) -> None:
    """Read both back: the very same rows, or nothing is swapped."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for content in (whole, bytes(offset) + tail):
        back = pq.read_table(pa.BufferReader(content), partitioning=None)
        if not back.equals(rows.cast(back.schema)):
            raise Poison("compaction_differs", "what was written is not what was read; nothing was changed")
