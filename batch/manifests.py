"""What was published, told by manifests: which offsets a batch holds, which files, and what replaced what.

A batch of the stream has one manifest for all its tables, ``b<number>.json``; a compaction and a retention have one
each, ``c<…>.json`` and ``r<…>.json``, and so has every derived publication, under its own name. Together they say
which files make up a table, and what must be in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from batch.storage import Storage
from contracts.errors import Poison, Transient
from contracts.lake import MANIFESTS

VERSION: Final = 1
_ORDER: Final = {"fold": 0, "batch": 1, "derived": 1, "compaction": 2, "retention": 3}
"""What a manifest of a later kind replaces was published by an earlier one, whatever the clocks said."""


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
    """What one batch, derived publication, compaction or retention did: ``kind`` is one of these, or fold.

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


def path_of(name: str) -> str:
    """Where the manifest of that name stands."""
    return f"{MANIFESTS}/{name}.json"


def load(storage: Storage) -> tuple[Manifest, ...]:
    """Every manifest, in the order in which ``current`` takes them. Raises Transient when HDFS does not answer."""
    for _ in range(5):
        paths = [entry.path for entry in storage.entries(MANIFESTS) if entry.path.endswith(".json")]
        try:
            told = [decoded(storage.read(path), path) for path in paths]
        except FileNotFoundError:  # folded between the listing and the reading
            continue
        return tuple(sorted(told, key=lambda one: (_ORDER.get(one.kind, 9), one.made_ms, one.name)))
    raise Transient(f"the manifests in {MANIFESTS} change faster than they can be read")


def current(manifests: Iterable[Manifest]) -> dict[str, File]:
    """The files that make up the tables after all of these, told in the order of ``load``: path -> file.

    A compaction may name among its ``files`` a path that stood before: its rows and size are those of the later one.
    """
    kept: dict[str, File] = {}
    for manifest in manifests:
        for path in manifest.replaces:
            kept.pop(path, None)
        kept |= {file.path: file for file in manifest.files}
    return kept
