"""What was published, told by manifests: which offsets a batch holds, which files, and what replaced what.

A batch of the stream has one manifest for all its tables, ``b<number>.json``; a compaction and a retention have one
each, ``c<…>.json`` and ``r<…>.json``. Together they say which files make up a table, and what must be in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from contracts.errors import Poison

VERSION: Final = 1


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets ``first`` up to, not including, ``until`` of one partition, and how many records stood there.

    ``records`` is below ``until - first`` where the log has holes (control records, compaction).
    """

    topic: str
    partition: int
    first: int
    until: int
    records: int


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One published Parquet file: its table, full path on HDFS, rows and size."""

    table: str
    path: str
    rows: int
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one batch, compaction or retention did. ``kind`` is batch, compaction or retention.

    ``batch`` is Spark's number of the batch; ``replaces`` are paths that are gone because ``files`` hold their rows (a
    compaction) or because their time was over (a retention). ``code`` is the version of the code that did it.
    """

    version: int
    kind: str
    name: str
    made_ms: int
    code: str
    batch: int | None = None
    spans: tuple[Span, ...] = ()
    files: tuple[File, ...] = ()
    replaces: tuple[str, ...] = ()

    def encoded(self) -> bytes:
        """As it stands on HDFS."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)


def decoded(raw: bytes, path: str) -> Manifest:
    """A manifest from its bytes. Raises Poison, naming the file, when it is none."""
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.DecodeError as wrong:
        raise Poison("bad_manifest", f"{path}: {wrong}") from wrong


def current(manifests: Iterable[Manifest]) -> dict[str, File]:
    """The files that make up the tables after all of these: path -> file."""
    told = list(manifests)
    gone = {path for manifest in told for path in manifest.replaces}
    kept = {file.path: file for manifest in told for file in manifest.files if file.path not in gone}
    return kept
