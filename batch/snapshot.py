"""What the tables held at one moment, so that the same rows can be read again when there are more of them.

A table of a topic is held by offsets: rows below ``until`` of each partition, whichever files they stand in by then.
A derived table is held by its files.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from batch.manifests import Manifest, current, load
from batch.storage import Storage
from batch.typed import dataset, schema
from contracts.errors import Poison, Transient, WardError
from contracts.lake import ALL, Table

HIDDEN: Final = "not in the de-identified view"
"""Words in the meaning of a column that researchers do not get."""
TRIES: Final = 5


class Part(msgspec.Struct, frozen=True):
    """A file as it stood. ``rows`` is None for one that no manifest told yet."""

    path: str
    size: int
    rows: int | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What one table held: offsets (partition -> first offset that does not count), rows, and the files it was in."""

    table: str
    topic: str | None
    until: dict[str, int]
    rows: int
    files: tuple[Part, ...]


class Snapshot(msgspec.Struct, frozen=True):
    """What each table held that was read."""

    tables: tuple[Held, ...]

    def sha256(self) -> str:
        """Its identity: offsets and rows of tables of topics (which files they are in changes), files of the others."""
        return hashlib.sha256(
            msgspec.json.encode([_identity(held) for held in self.tables], order="sorted")
        ).hexdigest()


class Lost(Poison):
    """A table can no longer be read as it stood; the detail says why."""

    def __init__(self, table: str, detail: str) -> None:
        super().__init__("snapshot_lost", detail, table)


def taken(storage: Storage, names: Iterable[str]) -> Snapshot:
    """What these tables hold now, by the manifests. Raises Transient when HDFS does not answer."""
    manifests = load(storage)
    return Snapshot(tuple(_held(storage, ALL[name], manifests) for name in sorted(set(names))))


def _held(storage: Storage, table: Table, manifests: Sequence[Manifest]) -> Held:
    told = {path: file for path, file in current(manifests).items() if file.table == table.name}
    standing = [e for e in storage.entries(table.path) if table.topic is not None or e.path in told]
    until: dict[str, int] = {}
    for manifest in manifests:
        for span in manifest.spans:
            if table.topic is not None and span.topic == table.topic.name:
                key = str(span.partition)
                until[key] = max(until.get(key, 0), span.until)
    return Held(
        table=table.name,
        topic=table.topic.name if table.topic else None,
        until=dict(sorted(until.items(), key=lambda pair: int(pair[0]))),
        rows=sum(file.rows for file in told.values()),
        files=tuple(Part(e.path, e.size, told[e.path].rows if e.path in told else None) for e in standing),
    )


def _identity(held: Held) -> list[Any]:
    if held.topic is not None:
        return [held.table, held.until, held.rows]
    return [held.table, sorted([part.path, part.rows] for part in held.files)]


def read_with(storage: Storage, snapshot: Snapshot, read: Any) -> Any:
    """``read(files)`` of what the snapshot held, ``files`` being table -> paths to read now.

    Read again when files changed meanwhile (a compaction), because then a row may have been seen twice or not at all.
    Raises Lost when a derived table is no longer what it was, Transient when the tables do not come to rest.
    """
    for _ in range(TRIES):
        files = {held.table: _now(storage, held) for held in snapshot.tables}
        failure: Exception | None = None
        found = None
        try:
            found = read({table: [part.path for part in parts] for table, parts in files.items()})
        except (OSError, WardError) as gone:
            failure = gone
        if any(_moved(storage, table, parts) for table, parts in files.items()):
            continue
        if isinstance(failure, OSError):
            raise Transient(f"HDFS does not give the files of the tables: {failure}") from failure
        if failure is not None:
            raise failure
        return found
    raise Transient("the tables' files change faster than they can be read; try again")


def _moved(storage: Storage, table: str, parts: Sequence[Part]) -> bool:
    """Whether a file is no longer what it was; files that came since do not count."""
    standing = {entry.path: entry.size for entry in storage.entries(ALL[table].path)}
    return any(standing.get(part.path) != part.size for part in parts)


def _now(storage: Storage, held: Held) -> list[Part]:
    """The files in which the held rows stand now."""
    table = ALL[held.table]
    standing = {entry.path: entry.size for entry in storage.entries(table.path)}
    if held.topic is not None:
        return [Part(path, size) for path, size in standing.items()]
    for part in held.files:  # derived tables are published whole and never merged
        if standing.get(part.path) != part.size:
            raise Lost(held.table, f"{part.path} is gone or another, so {held.table} cannot be read as it stood")
    return [Part(part.path, part.size) for part in held.files]


def visible(table: Table) -> list[str]:
    """The columns of a table that a researcher gets."""
    return [column.name for column in (*table.columns, *table.partitions) if HIDDEN not in column.means]


@contextlib.contextmanager
def connected(storage: Storage, snapshot: Snapshot, files: Mapping[str, Sequence[str]]) -> Iterator[Any]:
    """A DuckDB connection that sees the held rows as views named like the tables, and nothing else of any kind.

    The files are copied first, see ``Storage.copy_down``.
    """
    import duckdb

    from batch.tables import RESEARCH

    with tempfile.TemporaryDirectory(prefix="ward-cohort-") as copies:
        storage.copy_down([path for paths in files.values() for path in paths], copies)
        connection = duckdb.connect(config={"threads": "2", "memory_limit": "4GB"})
        try:
            connection.execute(f"CREATE SCHEMA {RESEARCH}")
            for held in snapshot.tables:
                table, paths = ALL[held.table], list(files[held.table])
                source = dataset(storage, table, paths, copies) if paths else schema(table).empty_table()
                connection.register(f"held_{table.name}", source)
                columns = ", ".join(f'"{name}"' for name in visible(table))
                rows = f"SELECT {columns} FROM main.held_{table.name} WHERE {limit(held)}"  # noqa: S608  # names are the contract's
                connection.execute(f"CREATE VIEW {RESEARCH}.{table.name} AS {rows}")
            connection.execute(f"SET search_path = '{RESEARCH}'")
            for setting in ("enable_external_access", "python_enable_replacements"):
                connection.execute(f"SET {setting}=false")
            connection.execute("SET lock_configuration=true")
            yield connection
        finally:
            connection.close()


def limit(held: Held) -> str:
    """The condition that a row is one of those held, in SQL."""
    if held.topic is None:
        return "true"
    below = [f"(kafka_partition = {int(one)} AND kafka_offset < {offset})" for one, offset in held.until.items()]
    return f"({' OR '.join(below)})" if below else "false"
