"""What ``ward lake verify`` finds: a stable word, where, what exactly, and the way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import msgspec

NAMED: Final = 20
"""So many of one word in one table are named; all are counted."""
_REPLAY: Final = (
    "`records` still holds the bytes: stop the stream, remove the file, and publish its rows anew from there"
)
_LAND: Final = "the stream lands it when it starts again: `ward up lake`, then verify"
_TWICE: Final = "keep the file that a manifest names, remove the other: `ward lake verify --json` names both"

FIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gap": "offsets between two batches were never landed: read them from Kafka while it has them (ward replay)",
        "overlap": "two batches hold the same offsets: remove the files and the manifest of the later one",
        "unlanded": "Kafka holds records from before the first batch: they were never landed; land them by ward replay",
        "lost": "Kafka's retention took records before they were landed; they are gone. Keep the stream running",
        "beyond_end": "the topic was made anew since; the lake's offsets are of the old one: give the lake a new root",
        "lost_batch": "the checkpoint says landed and no manifest does: restore the manifest, or land the span anew",
        "bad_manifest": "restore the manifest from a backup; without it nobody knows what its batch published",
        "missing_file": "restore the file from a backup, or publish its rows anew from `records`",
        "extra_file": "no manifest names it and every reader of the folder sees it: move it out of /lake/tables",
        "unfinished": "a retention was cut off: `ward lake retain --yes` finishes it",
        "file_differs": "restore the file from a backup, or publish its rows anew from `records`",
        "unreadable_file": "restore the file from a backup, or publish its rows anew from `records`",
        "missing_record": _LAND,
        "doubled_record": _TWICE,
        "stray_record": "no batch says that it landed this offset: move the file out of /lake/tables",
        "altered_record": "Kafka holds other bytes: restore the file, or land the span anew while Kafka has it",
        "unread_record": "codec reads it, the lake did not: report it; then publish its rows anew from `records`",
        "missing_row": _REPLAY,
        "doubled_row": _TWICE,
        "stray_row": "its record does not hold it: move the file out of /lake/tables, or publish it anew",
        "altered_row": _REPLAY,
        "short_record": _REPLAY,
        "misplaced_row": _REPLAY,
    }
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. ``where``: topic/partition/offset/row, a path, or both."""

    word: str
    table: str
    where: str
    detail: str
    fix: str


@dataclass
class Findings:
    """Collects them; ``counts`` has all, ``named`` the first of each word in each table."""

    named: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    broken: set[str] = field(default_factory=set)
    """Paths that cannot be read, or are not there: told once, not opened again."""
    _of_table: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, word: str, table: str, where: str, detail: str = "", times: int = 1) -> None:
        """One more; ``word`` is one of ``FIXES``."""
        self.counts[word] += times
        self._of_table[word, table] += 1
        if self._of_table[word, table] <= NAMED:
            self.named.append(Finding(word=word, table=table, where=where, detail=detail, fix=FIXES[word]))

    def broken_file(self, word: str, table: str, path: str, detail: str) -> None:
        """A file that is not to be opened again."""
        if path not in self.broken:
            self.broken.add(path)
            self.add(word, table, path, detail)

    def take(self, others: Findings) -> None:
        """Those of another collection too."""
        for one in others.named:
            self.add(one.word, one.table, one.where, one.detail, 0)
        self.counts += others.counts
