"""Files appear in their tables by whole batches' names, once, whatever dies in between.

Written to a folder that no reader looks into; told in an intent; renamed to names that follow from the batch's own;
told in a manifest. Whoever comes after a crash finds the intent and finishes, or finds none and starts afresh: the same
name published twice is published once. A reader of a table's folder sees whole files only, and no row twice.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from batch.manifests import DERIVED, VERSION, File, Manifest, Span, decoded, path_of
from batch.storage import Entry, Storage
from batch.version import code_version
from contracts.errors import Misconfigured, Poison, Transient, WardError
from contracts.lake import ALL, STAGING, Table, partition_value

Fill = Callable[[str], Iterable[Span]]
"""Writes ``<folder>/<table>/<name=value>/…/*.parquet`` below the folder that it is given; tells which offsets it took.

Derived tables take none. Values of partitions stand in the paths as Spark and pyarrow write them."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}")
_BUCKET: Final = re.compile(r"_(\d{5})(?:\.c\d+)?(?:\.\w+)?\.parquet$")


class Move(msgspec.Struct, frozen=True):
    """A staged file and the name under which it is published."""

    staged: str
    final: str


class Intent(msgspec.Struct, frozen=True):
    """What is about to be published. From its writing on, the batch is decided: its renames can only be finished."""

    manifest: Manifest
    moves: tuple[Move, ...]


def publish(storage: Storage, name: str, fill: Fill, *, kind: str = DERIVED, batch: int | None = None) -> Manifest:
    """Publish what ``fill`` writes, under ``name``; at once what is told when that name was published before.

    The same name must mean the same content: name it by what it is made from. ``kind`` is ``derived`` for tables made
    from other tables, ``batch`` for the stream. May be called again after any crash, and by two at once.
    Raises Transient when HDFS does not answer or has no room, Misconfigured for a bad name or an unknown table, and
    what ``fill`` raises; then nothing is published, or what an earlier run had decided is finished by the next call.
    """
    if not _NAME.fullmatch(name):
        raise Misconfigured(f"{name!r} cannot name a publication: letters, digits, . and -")
    home = f"{STAGING}/{name}"
    if (standing := published(storage, name)) is not None:
        storage.remove(home)  # left by a crash right after the manifest
        return standing
    return _finish(storage, home, _intent(storage, home) or _decide(storage, home, name, fill, kind, batch))


def resume(storage: Storage, name: str) -> Manifest | None:
    """Finish the publication of that name if it was decided; None when it was not."""
    home = f"{STAGING}/{name}"
    intent = _intent(storage, home)
    return _finish(storage, home, intent) if intent else None


def published(storage: Storage, name: str) -> Manifest | None:
    """The manifest of that name, None when it was not published. Batches of the stream that were folded have none."""
    path = path_of(name)
    try:
        return decoded(storage.read(path), path)
    except FileNotFoundError:
        return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _intent(storage: Storage, home: str) -> Intent | None:
    path = f"{home}/_intent.json"
    try:
        return msgspec.json.decode(storage.read(path), type=Intent)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as wrong:
        raise Poison("bad_intent", f"{path}: {wrong}") from wrong


def _decide(storage: Storage, home: str, name: str, fill: Fill, kind: str, batch: int | None) -> Intent:
    """Write the files and the intent. Each try has a folder of its own, so that a writer which was thought dead can do
    no harm to the one that took over; the first intent written is the one that counts."""
    folder = f"{home}/{uuid.uuid4().hex[:8]}"
    storage.makedirs(folder)
    try:
        spans = tuple(fill(folder))
        moves, files = _named(storage, folder, name)
    except Exception:
        with contextlib.suppress(WardError):  # what was written in vain must not fill the disk, try after try
            storage.remove(folder)
        raise
    manifest = Manifest(
        version=VERSION,
        kind=kind,
        name=name,
        made_ms=_now_ms(),
        code=code_version(),
        batch=batch,
        spans=spans,
        files=files,
    )
    intent = Intent(manifest, moves)
    try:
        storage.write(f"{home}/_intent.json", msgspec.json.encode(intent))
    except FileExistsError:
        return _intent(storage, home) or intent
    return intent


def _named(storage: Storage, folder: str, name: str) -> tuple[tuple[Move, ...], tuple[File, ...]]:
    moves, files = [], []
    number: defaultdict[str, int] = defaultdict(int)
    arrow = storage.arrow()
    for entry in storage.entries(folder):
        if not entry.path.endswith(".parquet") or not (rows := _rows(arrow, entry)):
            continue
        table, place = _place(entry.path.removeprefix(f"{folder}/"))
        n, number[place] = number[place], number[place] + 1
        bucket = _BUCKET.search(entry.path) if table.buckets else None
        final = f"{place}/{name}-{n}{f'_{bucket[1]}.c000' if bucket else ''}.parquet"
        moves.append(Move(entry.path, final))
        files.append(File(table=table.name, path=final, rows=rows, size=entry.size))
    return tuple(moves), tuple(files)


def _rows(arrow: Any, entry: Entry) -> int:
    import pyarrow.parquet as pq

    try:
        with arrow.open_input_file(entry.path) as file:
            return int(pq.read_metadata(file).num_rows)
    except (OSError, RuntimeError) as away:  # hdfs-native tells of a DataNode that is away by the latter
        raise Transient(f"HDFS does not give {entry.path}: {away}") from away


def _place(below: str) -> tuple[Table, str]:
    """The table of a staged file and the folder where it belongs, its partitions written as the contract says."""
    name, *parts = posixpath.dirname(below).split("/")
    table = ALL.get(name)
    if table is None:
        raise Misconfigured(f"no table {name!r}: contracts/lake.py knows {', '.join(ALL)}")
    keys = [part.partition("=")[0] for part in parts]
    if keys != [column.name for column in table.partitions]:
        raise Misconfigured(f"{below}: {name} is partitioned by {[column.name for column in table.partitions]}")
    values = [partition_value(unquote(part.partition("=")[2])) for part in parts]
    return table, posixpath.join(table.path, *(f"{key}={value}" for key, value in zip(keys, values, strict=True)))


def _finish(storage: Storage, home: str, intent: Intent) -> Manifest:
    for move in intent.moves:
        try:
            _rename(storage, move)
        except FileExistsError:
            continue  # renamed before the crash, or by another one at the same time
        except FileNotFoundError:
            if not storage.exists(move.final):
                raise Poison("lost_file", f"{move.staged} was to become {move.final}; neither is there") from None
    manifest = msgspec.structs.replace(intent.manifest, made_ms=_now_ms())
    try:
        storage.write(path_of(manifest.name), manifest.encoded())
    except FileExistsError:  # another one finished the same intent
        manifest = published(storage, manifest.name) or manifest
    storage.remove(home)
    return manifest


def _rename(storage: Storage, move: Move) -> None:
    try:
        storage.rename(move.staged, move.final)
    except Transient:  # HDFS says no more than no: most likely the partition's folder is not there yet
        storage.makedirs(posixpath.dirname(move.final))
        storage.rename(move.staged, move.final)
