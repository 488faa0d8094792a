"""What the lake holds at this moment: every manifest, the files that stand, the offsets that were landed.

A compaction that is between two of its steps is read as what it has done already, so that what is told here agrees
with the folders at every moment, also after a crash (docs/why/compaction-in-one-step.md).
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from batch import manifests
from batch.manifests import COMPACTION, RETENTION, File, Manifest, Span
from batch.storage import Storage
from contracts.errors import Poison
from contracts.lake import MANIFESTS, ROOT, TABLES

OPEN: Final = f"{ROOT}/_compaction"
"""Compactions that are not over yet, a folder each, and the lock of whoever compacts."""
INTENT: Final = "_intent.json"
State = Literal["planned", "joined", "whole"]


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction is about to do, written before its first step that a reader could see.

    ``sources`` become one file at the path of the first: at first ``joined`` (their bytes and, behind them, the
    ``tail`` that holds all rows anew), later ``whole`` (only the rows; it waits as ``clean``).
    """

    version: int
    name: str
    table: str
    made_ms: int
    code: str
    sources: tuple[File, ...]
    tail: str
    joined: File
    clean: str
    whole: File

    @property
    def target(self) -> str:
        """The path of the file that all become."""
        return self.joined.path

    def told(self, state: State) -> tuple[Manifest, ...]:
        """The manifests that say what has been done up to that state."""
        gone = tuple(file.path for file in self.sources[1:])
        first = self._manifest(self.name, self.joined, gone)
        last = self._manifest(f"{self.name}z", self.whole, ())
        return {"planned": (), "joined": (first,), "whole": (first, last)}[state]

    def _manifest(self, name: str, file: File, gone: tuple[str, ...]) -> Manifest:
        return Manifest(
            version=manifests.VERSION,
            kind=COMPACTION,
            name=name,
            made_ms=self.made_ms,
            code=self.code,
            files=(file,),
            replaces=gone,
        )


@dataclass(frozen=True)
class View:
    """The lake at one moment. ``damaged`` are manifests that cannot be read, and why."""

    manifests: tuple[Manifest, ...]
    files: Mapping[str, File]
    open: tuple[Compaction, ...] = ()
    damaged: tuple[Poison, ...] = ()

    def of(self, table: str) -> list[File]:
        """The files of one table, in order of path."""
        return sorted((file for file in self.files.values() if file.table == table), key=lambda file: file.path)

    def spans(self) -> dict[tuple[str, int], list[Span]]:
        """The landed offsets of each (topic, partition), in order."""
        found: dict[tuple[str, int], list[Span]] = defaultdict(list)
        for manifest in self.manifests:
            if manifest.kind != RETENTION:
                for span in manifest.spans:
                    found[span.topic, span.partition].append(span)
        return {place: sorted(spans, key=lambda span: (span.first, span.until)) for place, spans in found.items()}

    def taken(self) -> dict[tuple[str, int], Span]:
        """Of each (topic, partition): how many of its ``records`` retention removed, all of them below ``until``."""
        found: dict[tuple[str, int], Span] = {}
        for manifest in self._retentions():
            for span in manifest.spans:
                if span.records:
                    before = found.get((span.topic, span.partition))
                    more = span.records + (before.records if before else 0)
                    found[span.topic, span.partition] = msgspec.structs.replace(span, records=more)
        return found

    def removed(self) -> dict[str, list[tuple[frozenset[str], dict[tuple[str, int], int]]]]:
        """Of each table: the dates that a retention removed, and the offset below which it did, of each partition."""
        found: dict[str, list[tuple[frozenset[str], dict[tuple[str, int], int]]]] = defaultdict(list)
        for manifest in self._retentions():
            until = {(span.topic, span.partition): span.until for span in manifest.spans}
            dates: dict[str, set[str]] = defaultdict(set)
            for path in manifest.replaces:
                dates[table_of(path)].add(partition_of(path)["date"])
            for table, days in dates.items():
                found[table].append((frozenset(days), until))
        return dict(found)

    def _retentions(self) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest.kind == RETENTION]


def view(storage: Storage) -> View:
    """Read it. Raises Transient when HDFS does not answer."""
    told, damaged = _manifests(storage)
    going, torn = _open(storage)
    names = {manifest.name for manifest in told}
    virtual = [manifest for one in going for manifest in one.told(state_of(storage, one)) if manifest.name not in names]
    return View(tuple(told), manifests.current(manifests.standing([*told, *virtual])), tuple(going), (*damaged, *torn))


def state_of(storage: Storage, going: Compaction) -> State:
    """How far a compaction has come, told by what stands in its folder."""
    sizes = {
        entry.path: entry.size for entry in storage.entries(posixpath.dirname(going.target)) if entry.path in _of(going)
    }
    if going.sources[1].path in sizes or going.target not in sizes:
        return "planned"
    return "joined" if sizes[going.target] == going.joined.size else "whole"


def _of(going: Compaction) -> set[str]:
    return {file.path for file in going.sources}


def _manifests(storage: Storage) -> tuple[list[Manifest], list[Poison]]:
    told: list[Manifest] = []
    damaged: list[Poison] = []
    for entry in storage.entries(MANIFESTS):
        if not entry.path.endswith(".json"):
            continue
        try:
            told.append(manifests.decoded(storage.read(entry.path), entry.path))
        except Poison as wrong:
            damaged.append(wrong)
        except FileNotFoundError:
            continue  # folded into another one since the listing
    return list(manifests.standing(told)), damaged


def _open(storage: Storage) -> tuple[list[Compaction], list[Poison]]:
    going: list[Compaction] = []
    torn: list[Poison] = []
    for entry in storage.entries(OPEN, hidden=True):
        if posixpath.basename(entry.path) != INTENT:
            continue
        try:
            going.append(msgspec.json.decode(storage.read(entry.path), type=Compaction))
        except msgspec.DecodeError as wrong:
            torn.append(Poison("bad_manifest", f"{entry.path}: {wrong}"))
        except FileNotFoundError:
            continue  # it ended just now
    return sorted(going, key=lambda one: one.name), torn


def folder_of(path: str) -> str:
    """The partition that a file stands in, as its folder."""
    return posixpath.dirname(path)


def table_of(path: str) -> str:
    """The table that a file of the lake belongs to."""
    return path.removeprefix(f"{TABLES}/").partition("/")[0]


def partition_of(path: str) -> dict[str, str]:
    """The partition values in a path, still encoded: ``{"date": "2026-01-02", "ward": "W1"}``."""
    return dict(part.split("=", 1) for part in path.split("/") if "=" in part)


def landed(spans: Mapping[tuple[str, int], Sequence[Span]]) -> tuple[Span, ...]:
    """What was landed of each partition, as one span each."""
    return tuple(
        Span(
            topic=topic,
            partition=partition,
            first=found[0].first,
            until=max(span.until for span in found),
            records=sum(span.records for span in found),
        )
        for (topic, partition), found in sorted(spans.items())
    )
