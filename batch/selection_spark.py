"""A cohort's query asked of the Thrift server: Spark's SQL and our functions, over the held rows alone."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

import msgspec

from batch.answers import Answer
from batch.engines import Spark
from batch.selection import PIECES, VOLATILE, Query, checked, normal, volatile
from batch.snapshot import Held, Lost, Snapshot, limit, read_with, visible
from batch.storage import Storage
from batch.tables import RESEARCH, quoted, views
from batch.typed import arrow_type
from contracts.errors import Poison
from contracts.lake import ALL
from contracts.settings import Settings

TIMEOUT_S: Final = 300.0
LAG_S: Final = 20.0
"""So long the server may take to register a partition that just appeared."""
_QUALIFIED: Final = re.compile(r"[`\"]?\b(?:ward|research|spark_catalog)\b[`\"]?\s*\.", re.IGNORECASE)
_WORD: Final = re.compile(r"\btablesample\b|\b(?:" + "|".join(sorted(VOLATILE | {"rand", "randn"})) + r")\b")
_BARE: Final = frozenset(("tablesample", "current_date", "current_timestamp", "localtimestamp", "current_time"))


class Selection:
    """Asks the server that the settings name, as a researcher, whoever calls."""

    def __init__(self, settings: Settings) -> None:
        self._settings = msgspec.structs.replace(settings, role="researcher")

    def parsed(self, text: str) -> Query:
        """As ``batch.selection.parsed``, by Spark's own parser."""
        plain = "".join(piece[0] for piece in PIECES.finditer(text) if not _is_text(piece))
        if _QUALIFIED.search(plain):
            raise Poison("bad_sql", "name tables without their database: the cohort's own rows are meant", "query")
        with Spark(self._settings, TIMEOUT_S) as engine:
            asked = engine.understood(text)
        if asked.wrong is not None:
            raise asked.wrong
        if not asked.tables:
            raise Poison("bad_sql", f"it reads no table; there are {', '.join(views())}", "query")
        for found in _WORD.finditer(normal(plain)):
            if found[0] in _BARE or normal(plain)[found.end() :].lstrip().startswith("("):
                raise volatile(found[0])
        texts = (piece["quoted"] for piece in PIECES.finditer(text) if _is_text(piece))
        literals = tuple(sorted({one[1:-1].replace("''", "'") for one in texts}))
        return Query(text, tuple(sorted(name.partition(".")[2] for name in asked.tables)), literals)

    def __call__(self, storage: Storage, query: Query, snapshot: Snapshot) -> Any:
        """The rows of the query as an Arrow table. Raises as ``batch.selection.selected``, Transient too.

        A derived table is read as it is now: Lost when that is not what it was.
        """

        def read(files: Mapping[str, list[str]]) -> Any:
            for held in snapshot.tables:
                now = [entry.path for entry in storage.entries(ALL[held.table].path)]
                if held.topic is None and sorted(now) != sorted(files[held.table]):
                    raise Lost(held.table, f"{held.table} has other files now: ask with --engine duckdb")
            with Spark(self._settings, TIMEOUT_S) as engine:
                for held in snapshot.tables:
                    _await(engine, held)
                whole = bounded(query.text, snapshot)
                kinds = engine.answer(f"DESCRIBE QUERY {whole}", 0)
                return _table(engine.answer(whole, 0), {row[0]: row[1] for row in kinds.rows})

        return checked(read_with(storage, snapshot, read))


def bounded(text: str, snapshot: Snapshot) -> str:
    """The query over the held rows: each table's name means those rows only."""
    parts = []
    for held in snapshot.tables:
        columns = ", ".join(quoted(name) for name in visible(ALL[held.table]))
        rows = f"SELECT {columns} FROM {RESEARCH}.{held.table} WHERE {limit(held)}"  # noqa: S608  # names are the contract's
        parts.append(f"{held.table} AS ({rows})")
    return f"WITH {', '.join(parts)} SELECT * FROM (\n{text.strip().rstrip(';')}\n) AS cohort"  # noqa: S608  # it is to be run


def _is_text(piece: re.Match[str]) -> bool:
    return bool(piece["quoted"]) and piece["quoted"][0] == "'"


def _await(engine: Spark, held: Held) -> None:
    """Wait until the server sees every held row."""
    deadline = time.monotonic() + LAG_S
    asked = f"SELECT count(*) FROM {RESEARCH}.{held.table} WHERE {limit(held)}"  # noqa: S608  # names are the contract's
    while (seen := int(engine.answer(asked, 1).rows[0][0])) < held.rows:
        if time.monotonic() > deadline:
            raise Lost(
                held.table,
                f"Spark finds {seen} of the {held.rows} rows: retention took some, or its tables lag; try again",
            )
        threading.Event().wait(1.0)


def _table(answer: Answer, kinds: Mapping[str, str]) -> Any:
    import pyarrow as pa

    if len(set(answer.columns)) < len(answer.columns):
        raise Poison("bad_sql", "two columns have the same name: give them names with AS", "query")
    columns = {}
    for index, name in enumerate(answer.columns):
        kind = kinds.get(name, "string")
        values = [_typed(row[index], kind) for row in answer.rows]
        try:
            columns[name] = pa.array(values, arrow_type(kind))
        except ValueError:  # a type that no table has, such as a decimal or a moment
            columns[name] = pa.array(values)
    return pa.table(columns)


def _typed(value: Any, kind: str) -> Any:
    """A value of an answer, which has dates and bytes as text, in its own type."""
    if not isinstance(value, str):
        return value
    if kind == "date":
        return date.fromisoformat(value)
    if kind.startswith("timestamp"):
        return datetime.fromisoformat(value)
    return bytes.fromhex(value) if kind == "binary" else value
