"""The tables of contracts/lake.py in Hive's metastore, and kept there: new columns, new partitions, views by role.

Spark's own readers are told to remember no listing of files, so a registered partition is read as it is at that moment;
what is left to do is to register partitions as their folders appear.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

from batch.snapshot import visible
from batch.storage import Storage
from contracts.lake import ALL, Column, Table

WARD: Final = "ward"
"""The database of every table, for clinicians, engineers and stewards."""
RESEARCH: Final = "research"
"""The database of views on the de-identified tables, without names of staff and free text."""
NULL: Final = "__HIVE_DEFAULT_PARTITION__"
AT_ONCE: Final = 100
"""Partitions registered by one statement."""
SETTLED_MS: Final = 10_000
"""A folder that changed longer ago than this is not listed again: nothing can have come into it unseen."""
FRESH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "spark.sql.hive.filesourcePartitionFileCacheSize": "0",
        "spark.sql.filesourceTableRelationCacheSize": "0",
        "spark.sql.hive.manageFilesourcePartitions": "true",
        # a Derby metastore fails on ranges of dates once any table has a partition that is no date (it casts before it
        # filters): then the names of the partitions are pruned here
        "spark.sql.hive.metastorePartitionPruningFallbackOnException": "true",
        "spark.sql.hive.metastorePartitionPruningFastFallback": "true",
    }
)
"""Settings under which every query lists the files that it reads: no REFRESH, and none that a compaction took away."""

Values = tuple[str, ...]
"""The values of a partition in the order of the table's partitions, as text; NULL for none."""
Sql = Callable[[str], Sequence[Sequence[Any]]]
"""Runs one statement; its rows."""


def quoted(name: str) -> str:
    """A name in Spark's SQL: some of ours are words of the language."""
    return f"`{name}`"


def text(value: str) -> str:
    """A string literal in Spark's SQL.

    >>> print(text("it's"))
    'it\\'s'
    """
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def columns(of: Iterable[Column]) -> str:
    """Columns as they stand in DDL, with their meaning."""
    return ", ".join(f"{quoted(one.name)} {one.type} COMMENT {text(one.means)}" for one in of)


def table_ddl(table: Table, uri: str) -> str:
    """The statement that makes the external table at ``uri``.

    Tables are Hive's own, readable by anything that speaks to the metastore. Bucketed ones are Spark's: Spark and Hive
    hash differently, so a Hive-bucketed Parquet table that Spark wrote would be pruned wrongly by Hive; and a file's
    bucket stands in its name (``…_00003.c000.parquet``), which batch/publish.py keeps.
    """
    name = f"{WARD}.{quoted(table.name)}"
    about = f"COMMENT {text(table.grain)}"
    if table.buckets is None:
        by = f"PARTITIONED BY ({columns(table.partitions)}) " if table.partitions else ""
        stored = f"STORED AS PARQUET LOCATION {text(uri)}"
        return f"CREATE EXTERNAL TABLE {name} ({columns(table.columns)}) {about} {by}{stored}"
    column, number = table.buckets
    keys = ", ".join(quoted(one.name) for one in table.partitions)
    by = f"PARTITIONED BY ({keys}) " if keys else ""
    return (
        f"CREATE TABLE {name} ({columns((*table.columns, *table.partitions))}) USING parquet {by}"
        f"CLUSTERED BY ({quoted(column)}) INTO {number} BUCKETS LOCATION {text(uri)} {about}"
    )


def view_ddl(table: Table) -> str | None:
    """The statement that makes the researchers' view of a table; None when they see nothing of it."""
    if table.zone != "deidentified":
        return None
    chosen = ", ".join(quoted(name) for name in visible(table))
    made = f"CREATE OR REPLACE VIEW {RESEARCH}.{quoted(table.name)} COMMENT {text(table.grain)} AS "
    return f"{made}SELECT {chosen} FROM {WARD}.{quoted(table.name)}"  # noqa: S608 - names are the contract's


def views() -> tuple[str, ...]:
    """The tables that researchers see."""
    return tuple(table.name for table in ALL.values() if table.zone == "deidentified")


def spec(table: Table, values: Values) -> str:
    """A partition as Spark's SQL names it."""
    parts = []
    for column, value in zip(table.partitions, values, strict=True):
        literal = "NULL" if value == NULL else value if column.type == "int" else text(value)
        parts.append(f"{quoted(column.name)}={'DATE ' if column.type == 'date' and value != NULL else ''}{literal}")
    return ", ".join(parts)


def values_of(place: str) -> Values:
    """The values in a partition's path below its table, like ``date=2026-01-02/ward=W3%2Fa``."""
    return tuple(unquote(part.partition("=")[2]) for part in place.split("/"))


@dataclass
class Watch:
    """Finds a table's partitions on HDFS; folders that did not change since are not listed again."""

    storage: Storage
    table: Table
    _known: dict[str, frozenset[str]] = field(default_factory=dict)

    def places(self) -> frozenset[str]:
        """The partitions' paths below the table. Raises Transient when HDFS does not answer."""
        return frozenset(self._below(self.table.path, 0)) if self.table.partitions else frozenset()

    def _below(self, path: str, level: int) -> Iterator[str]:
        last = level + 1 == len(self.table.partitions)
        for folder in self.storage.folders(path):
            if not posixpath.basename(folder.path).startswith(f"{self.table.partitions[level].name}="):
                continue
            if last:
                yield folder.path.removeprefix(f"{self.table.path}/")
            elif level + 2 == len(self.table.partitions):
                yield from self._leaves(folder.path, folder.modified_ms, level + 1)
            else:
                yield from self._below(folder.path, level + 1)

    def _leaves(self, path: str, modified_ms: int, level: int) -> frozenset[str]:
        stamp = f"{path}@{modified_ms}"
        if stamp in self._known:
            return self._known[stamp]
        found = frozenset(self._below(path, level))
        if time.time_ns() // 1_000_000 - modified_ms > SETTLED_MS:
            self._known[stamp] = found
        return found


class Keeper:
    """Makes the databases, tables and views, and registers what appears on HDFS."""

    def __init__(self, sql: Sql, storage: Storage) -> None:
        self._sql = sql
        self._storage = storage
        self._watches = {table.name: Watch(storage, table) for table in ALL.values()}
        self._registered: dict[str, set[Values]] = {}

    def make(self) -> None:
        """Bring the metastore to what contracts/lake.py says; a table that is right already is left alone."""
        for database, about in ((WARD, "every table of the lake"), (RESEARCH, "de-identified views, for researchers")):
            self._sql(f"CREATE DATABASE IF NOT EXISTS {database} COMMENT {text(about)}")
        there = {row[1] for row in self._sql(f"SHOW TABLES IN {WARD}")}
        seen = {row[1] for row in self._sql(f"SHOW TABLES IN {RESEARCH}")}
        for table in ALL.values():
            changed = self._make(table, table.name in there)
            view = view_ddl(table)
            if view is not None and (changed or table.name not in seen):
                self._sql(view)

    def look(self) -> int:
        """Register new partitions and forget those that are gone; how many changed. Raises Transient without HDFS."""
        return sum(self._look(table) for table in ALL.values() if table.partitions)

    def _make(self, table: Table, exists: bool) -> bool:
        uri = self._storage.uri(table.path)
        name = f"{WARD}.{quoted(table.name)}"
        if exists:
            rows = self._sql(f"DESCRIBE TABLE EXTENDED {name}")
            if _place(rows) == (uri, table.buckets[1] if table.buckets else None):
                return self._add_columns(table, {row[0] for row in rows})
            self._sql(f"DROP TABLE {name}")  # an external one: its files stay
        self._sql(table_ddl(table, uri))
        return True

    def _add_columns(self, table: Table, there: set[str]) -> bool:
        missing = [column for column in table.columns if column.name not in there]
        if missing:
            self._sql(f"ALTER TABLE {WARD}.{quoted(table.name)} ADD COLUMNS ({columns(missing)})")
        return bool(missing)

    def _look(self, table: Table) -> int:
        name = f"{WARD}.{quoted(table.name)}"
        if table.name not in self._registered:
            shown = self._sql(f"SHOW PARTITIONS {name}")
            self._registered[table.name] = {values_of(row[0]) for row in shown}
        registered = self._registered[table.name]
        places = {values_of(place): place for place in self._watches[table.name].places()}
        new = sorted(places.keys() - registered)
        for some in _slices(new):
            parts = (
                f"PARTITION ({spec(table, one)}) LOCATION {text(self._storage.uri(f'{table.path}/{places[one]}'))}"
                for one in some
            )
            self._sql(f"ALTER TABLE {name} ADD IF NOT EXISTS {' '.join(parts)}")
            registered.update(some)
        gone = sorted(registered - places.keys())
        for some in _slices(gone):
            dropped = ", ".join(f"PARTITION ({spec(table, one)})" for one in some)
            self._sql(f"ALTER TABLE {name} DROP IF EXISTS {dropped}")
            registered.difference_update(some)
        return len(new) + len(gone)


def _slices(values: Sequence[Values]) -> Iterator[Sequence[Values]]:
    return (values[at : at + AT_ONCE] for at in range(0, len(values), AT_ONCE))


def _place(described: Sequence[Sequence[Any]]) -> tuple[str | None, int | None]:
    """Where a described table lies and how many buckets it has."""
    said = {str(row[0]): str(row[1]) for row in described}
    buckets = said.get("Num Buckets", "")
    return said.get("Location"), int(buckets) if buckets.isdigit() and int(buckets) > 0 else None
