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
FOLD: Final = "fold"
BATCH: Final = "batch"
DERIVED: Final = "derived"
COMPACTION: Final = "compaction"
RETENTION: Final = "retention"
_ORDER: Final = {FOLD: 0, BATCH: 1, DERIVED: 1, COMPACTION: 2, RETENTION: 3}
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

    ``batch`` is the number of the batch; ``replaces`` are paths that are gone because ``files`` hold their rows (a
    compaction) or because their time was over (a retention). ``code`` is the version of the code that did it. A fold
    stands for all batches up to its ``batch`` and for the compactions named in ``folds``: their spans joined, their
    files.
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
    folds: tuple[str, ...] = ()

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
    """Every manifest that counts, in the order in which ``current`` takes them: what a fold holds is left out.

    Raises Transient when HDFS does not answer, Poison for a file that is no manifest.
    """
    for _ in range(5):
        paths = [entry.path for entry in storage.entries(MANIFESTS) if entry.path.endswith(".json")]
        try:
            return standing(decoded(storage.read(path), path) for path in paths)
        except FileNotFoundError:  # folded between the listing and the reading
            continue
    raise Transient(f"the manifests in {MANIFESTS} change faster than they can be read")


def standing(told: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """Those manifests that count, in order: a fold speaks for all that it holds, though they be still there."""
    found = sorted(told, key=lambda one: (_ORDER.get(one.kind, 9), one.made_ms, one.name))
    newest = max((one for one in found if one.kind == FOLD), key=lambda one: one.batch or 0, default=None)
    return tuple(one for one in found if newest is None or one is newest or not _held(one, newest))


def _held(one: Manifest, fold: Manifest) -> bool:
    if one.kind in (FOLD, BATCH):
        return (one.batch or 0) <= (fold.batch or 0)
    return one.name in fold.folds


def fold(storage: Storage, code: str) -> Manifest | None:
    """Put all batches and compactions into one manifest, so that reading them stays quick; None when there are none.

    For the stream alone, between two batches. The fold appears whole; what it holds is removed after it, and a crash in
    between leaves what ``standing`` passes over and the next fold removes.
    """
    there = [entry.path for entry in storage.entries(MANIFESTS) if entry.path.endswith(".json")]
    told = standing(decoded(storage.read(path), path) for path in there)
    taken = [one for one in told if one.kind in (FOLD, BATCH, COMPACTION)]
    batches = [one.batch for one in taken if one.batch is not None]
    if not batches:
        return None
    gone = {path for one in told if one.kind == RETENTION for path in one.replaces}
    newest = max(batches)
    made = Manifest(
        version=VERSION,
        kind=FOLD,
        name=f"f{newest:012d}",
        made_ms=max(one.made_ms for one in taken),
        code=code,
        batch=newest,
        spans=_merged(span for one in taken for span in one.spans),
        files=tuple(file for path, file in sorted(current(taken).items()) if path not in gone),
        folds=tuple(one.name for one in taken if one.kind == COMPACTION),
    )
    if path_of(made.name) not in there:
        storage.write(path_of(made.name), made.encoded())
    keep = {path_of(one.name) for one in told if one.kind not in (FOLD, BATCH, COMPACTION)} | {path_of(made.name)}
    for path in there:
        if path not in keep:
            storage.remove(path)
    return made


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans that follow one another, as one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.topic, one.partition, one.first)):
        last = found[-1] if found else None
        if last and (last.topic, last.partition, last.until) == (span.topic, span.partition, span.first):
            found[-1] = msgspec.structs.replace(last, until=span.until, records=last.records + span.records)
        else:
            found.append(span)
    return tuple(found)


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
