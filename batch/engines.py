"""The two ways to ask the lake: Spark's Thrift server as any Hive client, and DuckDB over the same files."""

from __future__ import annotations

import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from batch import asked
from batch.answers import Answer, plain
from batch.asked import Asked
from batch.storage import USER, Storage
from batch.tables import RESEARCH, WARD, views
from contracts.errors import Misconfigured, Poison, Transient
from contracts.lake import ALL
from contracts.settings import Settings

FIX: Final = "`ward up hive` starts it, or ask with --engine duckdb"
CONNECT_S: Final = 5.0
QUICK_BYTES: Final = 2 * 1024**3
"""More than this is not copied for DuckDB."""
POLL_S: Final = (0.02, 0.5)
_MOVED: Final = re.compile(r"FileNotFoundException|FAILED_READ_FILE|is not a Parquet file|does not exist: hdfs")
"""What a query says when a compaction took a file from under it: asked again, it finds the new one."""
_AWAY: Final = re.compile(
    r"ConnectException|ConnectTimeout|NoRouteToHost|SafeMode|BlockMissing|StandbyException|Connection refused"
)
_NESTED: Final = frozenset({"STRUCT_TYPE", "ARRAY_TYPE", "MAP_TYPE"})


class Spark:
    """One session of the Thrift server, in the role's database. Use as ``with Spark(settings) as engine``."""

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._connection: Any = None

    def __enter__(self) -> Spark:
        """Open the session. Raises Transient when the server is away, Misconfigured when none is named."""
        from pyhive import exc, hive
        from thrift.transport.TTransport import TTransportException

        from batch.access import actor
        from batch.thrift import address

        if self._settings.hive is None:
            raise Misconfigured(f"WARD_HIVE names no Thrift server: {FIX}")
        host, port = address(self._settings)
        try:
            socket.create_connection((host, port), CONNECT_S).close()
            self._connection = hive.connect(
                host, port, username=actor(self._settings), database=asked.database(self._settings.role)
            )
        except (OSError, TTransportException, exc.Error) as away:
            raise Transient(f"no Thrift server at {self._settings.hive}: {FIX} ({_said(away)})") from away
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session."""
        from thrift.Thrift import TException

        try:
            self._connection.close()
        except (OSError, TException):
            return  # the server went first

    def understood(self, query: str) -> Asked:
        """What the query reads. Raises Poison for what is not SQL or no read, NoTable."""
        return asked.by_spark(str(self._rows(f"EXPLAIN EXTENDED\n{query}", 1).rows[0][0]), self._settings.role)

    def answer(self, query: str, limit: int) -> Answer:
        """Run it; at most ``limit`` rows, 0 for all. Ctrl-C and the time limit end it on the server too."""
        try:
            return self._rows(query, limit)
        except _Moved:
            return self._rows(query, limit)

    def _rows(self, query: str, limit: int) -> Answer:
        from pyhive import exc
        from thrift.Thrift import TException

        begun = time.monotonic()
        cursor = self._connection.cursor()
        try:
            cursor.execute(query, async_=True)
            self._wait(cursor, begun)
            found = (cursor.fetchmany(limit + 1) if limit else cursor.fetchall()) if cursor.description else []
            kinds = [column[1] for column in cursor.description or ()]
            names = tuple(column[0] for column in cursor.description or ())
        except KeyboardInterrupt:
            cursor.cancel()
            raise
        except exc.Error as refused:
            raise _meaning(_said(refused)) from refused
        except (OSError, TException) as away:
            raise Transient(f"the Thrift server went away: {FIX} ({_said(away)})") from away
        rows = tuple(tuple(_value(one, kind) for one, kind in zip(row, kinds, strict=True)) for row in found)
        cut = bool(limit) and len(rows) > limit
        return Answer(names, rows[:limit] if limit else rows, time.monotonic() - begun, cut)

    def _wait(self, cursor: Any, begun: float) -> None:
        from TCLIService.ttypes import TOperationState as State

        pause, longest = POLL_S
        while True:
            status = cursor.poll()
            if status.operationState == State.FINISHED_STATE:
                return
            if status.operationState not in (State.INITIALIZED_STATE, State.PENDING_STATE, State.RUNNING_STATE):
                raise _meaning(status.errorMessage or "the server ended the query")
            if time.monotonic() - begun > self._timeout_s:
                cursor.cancel()
                raise Transient(f"no answer within {self._timeout_s:g} s, so the query was ended: --timeout gives more")
            threading.Event().wait(pause)
            pause = min(pause * 1.5, longest)


class Duck:
    """DuckDB over the tables' files, without any server but HDFS. Use as ``with Duck(settings) as engine``."""

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        researcher = settings.role == "researcher"
        # HDFS itself keeps a researcher from what is not de-identified
        self._storage = Storage.of(settings, user="researcher" if researcher else USER)
        self._databases = (RESEARCH,) if researcher else (WARD, RESEARCH)
        self._tables: tuple[str, ...] = ()

    def __enter__(self) -> Duck:
        """Nothing is opened before the query is known."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def understood(self, query: str) -> Asked:
        """What the query reads. Raises Poison for what is not SQL or no read, NoTable."""
        import duckdb

        connection = duckdb.connect(config={"enable_external_access": "false"})
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1:
                raise Poison("bad_sql", f"one statement at a time; here are {len(statements)}", "query")
            if _looks(query):
                return Asked(())
            if statements[0].type != duckdb.StatementType.SELECT:
                kind = statements[0].type.name
                raise Poison("not_a_read", f"{kind} is no read: SELECT, WITH, SHOW and DESCRIBE are", "query")
            tree = json.loads(connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0][0])
        except duckdb.Error as wrong:
            raise _bad(wrong) from wrong
        finally:
            connection.close()
        found = asked.by_duckdb(tree, self._settings.role)
        self._tables = found.tables
        return found

    def answer(self, query: str, limit: int) -> Answer:
        """Run what was ``understood``; at most ``limit`` rows, 0 for all. Ctrl-C and the time limit end it."""
        try:
            return self._rows(query, limit)
        except _Moved:
            return self._rows(query, limit)

    def _rows(self, query: str, limit: int) -> Answer:

        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ward-sql-") as copies:
            names, rows = self._fetched(query, limit, copies)
        told = tuple(tuple(plain(value) for value in row) for row in rows)
        cut = bool(limit) and len(told) > limit
        return Answer(names, told[:limit] if limit else told, time.monotonic() - begun, cut)

    def _fetched(self, query: str, limit: int, copies: str) -> tuple[tuple[str, ...], list[Any]]:
        import duckdb

        connection = self._connected(self._tables, copies)
        try:
            with _within(connection, self._timeout_s) as late:
                found = connection.execute(query)
                names = tuple(column[0] for column in found.description)
                rows = found.fetchmany(limit + 1) if limit else found.fetchall()
        except duckdb.InterruptException as ended:
            if not late.is_set():
                raise KeyboardInterrupt from ended
            raise Transient(f"no answer within {self._timeout_s:g} s, so the query was ended") from ended
        except duckdb.Error as wrong:
            if _MOVED.search(str(wrong)) or "FileNotFound" in str(wrong) or "No such file" in str(wrong):
                raise _Moved(str(wrong)) from wrong
            raise _bad(wrong) from wrong
        finally:
            connection.close()
        return names, rows

    def _files(self, tables: tuple[str, ...], folder: str) -> dict[str, list[str]]:
        """The files of the tables asked for, as ``database.name``, copied below the folder."""
        asked_for = {name.partition(".")[2] for name in tables} & ALL.keys()
        found = {name: list(self._storage.entries(ALL[name].path)) for name in asked_for}
        size = sum(entry.size for entries in found.values() for entry in entries)
        if size > QUICK_BYTES:
            raise Poison("too_much", f"{size:,} bytes are no quick look: ask with --engine spark", "query")
        paths = {name: [entry.path for entry in entries] for name, entries in found.items()}
        try:
            self._storage.copy_down([path for one in paths.values() for path in one], folder)
        except FileNotFoundError as gone:
            raise _Moved(str(gone)) from gone
        return paths

    def _connected(self, tables: tuple[str, ...], folder: str) -> Any:
        """A connection that sees the tables that are asked for, the others without rows, and nothing else at all."""
        import duckdb

        from batch.snapshot import visible
        from batch.typed import dataset, schema

        files = self._files(tables, folder)
        connection = duckdb.connect(config={"threads": "2", "memory_limit": "2GB"})
        for home in self._databases:
            connection.execute(f"CREATE SCHEMA {home}")
            for name in views() if home == RESEARCH else tuple(ALL):
                table = ALL[name]
                paths = files.get(name, []) if f"{home}.{name}" in tables else []
                source = dataset(self._storage, table, paths, folder) if paths else schema(table).empty_table()
                connection.register(f"{home}_{name}", source)
                chosen = [c.name for c in (*table.columns, *table.partitions)] if home == WARD else visible(table)
                quoted = ", ".join(f'"{column}"' for column in chosen)
                connection.execute(f'CREATE VIEW {home}.{name} AS SELECT {quoted} FROM "{home}_{name}"')  # noqa: S608 - names are the contract's
        connection.execute(f"SET search_path = '{self._databases[0]}'")
        for setting in ("enable_external_access=false", "python_enable_replacements=false", "lock_configuration=true"):
            connection.execute(f"SET {setting}")
        return connection


ENGINES: Final[Mapping[str, type[Spark] | type[Duck]]] = MappingProxyType({"spark": Spark, "duckdb": Duck})


class _Moved(Transient):
    """A file was compacted away between the listing and the reading, or HDFS lost it."""


@contextmanager
def _within(connection: Any, seconds: float) -> Iterator[threading.Event]:
    """Interrupt the connection when the block takes longer; the event tells whether that was so."""
    late = threading.Event()

    def end() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _looks(query: str) -> bool:
    return re.match(r"\s*(?:show|describe|desc)\b", query, re.IGNORECASE) is not None


def _value(value: Any, kind: str) -> Any:
    return plain(json.loads(value) if kind in _NESTED and isinstance(value, str) else value)


def _meaning(message: str) -> Exception:
    """What a message of Spark's server means to whoever asked."""
    if "stopped SparkContext" in message:
        return Transient(f"the Thrift server is stopping: {FIX}")
    if _AWAY.search(message):
        return Transient(f"HDFS does not answer the Thrift server: `ward up datanode` starts it ({message[:200]})")
    if _MOVED.search(message):
        return _Moved(message[:400])
    return asked.refusal(message)


def _said(failure: Exception) -> str:
    """The server's own words in an exception of PyHive or Thrift."""
    answer = failure.args[0] if failure.args else ""
    status = getattr(answer, "status", None)
    return str(getattr(status, "errorMessage", None) or answer or failure)


def _bad(wrong: Exception) -> Poison:
    """DuckDB's message: what it is, and where, by the line that it draws under the text."""
    lines = str(wrong).strip().splitlines()
    line = next((one for one in lines if re.match(r"LINE \d+: ", one)), None)
    caret = next((one for one in lines if re.fullmatch(r"\s*\^+", one)), None)
    why = lines[0].partition(": ")[2] or lines[0]
    if "does not exist" in why and "unction" in why:
        why += "; functions of the lake are Spark's: --engine spark"
    if line is None or caret is None:
        return Poison("bad_sql", why, "query")
    number = line.split(":")[0].removeprefix("LINE ")
    return Poison("bad_sql", why, f"line {number}, column {caret.index('^') - len(f'LINE {number}: ') + 1}")
