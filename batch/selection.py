"""A query of a cohort: what it may ask for, what it asks of, and its rows from a snapshot."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from batch.asked import by_duckdb
from batch.snapshot import Snapshot, connected, read_with
from batch.storage import Storage
from batch.tables import RESEARCH, views
from batch.typed import dataset
from contracts.errors import Poison
from contracts.lake import ALL

PATIENT: Final = "patient"
PIECES: Final = re.compile(
    r"(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<quoted>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`)|(?P<space>\s+)|(?P<word>.)",
    re.DOTALL,
)
VOLATILE: Final = frozenset(
    (
        "random",
        "setseed",
        "uuid",
        "gen_random_uuid",
        "uuidv4",
        "uuidv7",
        "now",
        "today",
        "current_date",
        "current_time",
        "current_timestamp",
        "get_current_timestamp",
        "get_current_time",
        "transaction_timestamp",
        "localtime",
        "localtimestamp",
        "txid_current",
        "nextval",
        "currval",
        "getvariable",
        "current_setting",
        "version",
    )
)
_INSTEAD: Final = "write the moment or the sample as a literal, so that the query gives the same rows again"


@dataclass(frozen=True)
class Query:
    """A query that may be run: its text, the tables that it reads, the string literals in it."""

    text: str
    tables: tuple[str, ...]
    literals: tuple[str, ...]

    @property
    def normal(self) -> str:
        """Its text without comments, with single spaces, in lower case outside quotes."""
        return normal(self.text)


def normal(text: str) -> str:
    """A query as it is compared: comments and spaces do not count, nor does case outside quotes.

    >>> normal("SELECT  a -- one\\n FROM T WHERE b = 'X  y' ;")
    "select a from t where b = 'X  y'"
    """
    parts = []
    for found in PIECES.finditer(text):
        if found["comment"] or found["space"]:
            parts.append(" ")
        else:
            parts.append(found["quoted"] or found["word"].lower())
    return re.sub(r"(?P<quoted>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`)|\s+", _squeezed, "".join(parts)).strip(" ;")


def _squeezed(found: re.Match[str]) -> str:
    return found["quoted"] or " "


def parsed(text: str) -> Query:
    """The query in ``text``. Raises Poison when it is not one SELECT over de-identified tables that gives the same rows
    whenever it is run, and NoTable for a table that is not there or not for researchers."""
    import duckdb

    connection = duckdb.connect(config={"enable_external_access": "false"})
    try:
        statements = connection.extract_statements(text)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise Poison("bad_sql", "a cohort is selected by one SELECT", "query")
        tree = msgspec.json.decode(connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0][0])
    except duckdb.Error as wrong:
        raise Poison("bad_sql", _first_line(wrong), "query") from wrong
    finally:
        connection.close()
    full = by_duckdb(tree, "researcher").tables
    if not full:
        raise Poison("bad_sql", f"it reads no table; there are {', '.join(views())}", "query")
    if closed := [name for name in full if not name.startswith(f"{RESEARCH}.")]:
        raise Poison("closed_table", f"cohorts are of the de-identified tables, not of {closed[0]}", "query")
    for word in _volatile(tree):
        raise volatile(word)
    literals = tuple(sorted({piece["quoted"][1:-1].replace("''", "'") for piece in _strings(text)}))
    return Query(text, tuple(name.partition(".")[2] for name in full), literals)


def volatile(word: str) -> Poison:
    """Why a query with this word is refused."""
    return Poison("volatile_sql", f"{word} gives something else every time: {_INSTEAD}", "query")


def _strings(text: str) -> Iterator[re.Match[str]]:
    return (found for found in PIECES.finditer(text) if found["quoted"] and found["quoted"][0] == "'")


def _volatile(node: Any) -> Iterator[str]:
    """What in a parsed query gives something else every time."""
    if isinstance(node, list):
        for each in node:
            yield from _volatile(each)
    elif isinstance(node, dict):
        if node.get("function_name") in VOLATILE:
            yield f"{node['function_name']}()"
        names = node.get("column_names")
        if isinstance(names, list) and len(names) == 1 and str(names[0]).lower() in VOLATILE:
            yield str(names[0])
        if node.get("sample"):
            yield "TABLESAMPLE"
        for each in node.values():
            yield from _volatile(each)


def selected(storage: Storage, query: Query, snapshot: Snapshot) -> Any:
    """The rows of the query as an Arrow table. Raises Poison for bad SQL and a result without ``patient``."""

    def read(files: dict[str, list[str]]) -> Any:
        import duckdb

        with connected(storage, snapshot, files) as connection:
            try:
                return connection.sql(query.text).to_arrow_table()
            except duckdb.Error as wrong:
                raise Poison("bad_sql", _first_line(wrong), "query") from wrong

    return checked(read_with(storage, snapshot, read))


def checked(rows: Any) -> Any:
    """``rows`` when they tell whose each is. Raises Poison."""
    import pyarrow as pa

    names = rows.column_names
    if PATIENT not in names:
        raise Poison("no_patient", f"the query must give a column `patient`; it gives {', '.join(names)}", "query")
    if len(set(names)) < len(names):
        raise Poison("bad_sql", "two columns have the same name: give them names with AS", "query")
    kind = rows.schema.field(PATIENT).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise Poison("no_patient", f"`patient` is a {kind}; it must be the tables' pseudonym", "query")
    if rows[PATIENT].null_count:
        raise Poison("no_patient", "some rows have no patient: add WHERE patient IS NOT NULL", "query")
    return rows


def pseudonyms_among(storage: Storage, query: Query, snapshot: Snapshot) -> tuple[str, ...]:
    """Which of the query's string literals name a patient of the tables that it reads."""
    having = [held.table for held in snapshot.tables if PATIENT in {c.name for c in ALL[held.table].columns}]
    if not query.literals or not having:
        return ()

    def read(files: dict[str, list[str]]) -> tuple[str, ...]:
        import pyarrow.compute as pc

        named = pc.field(PATIENT).isin(list(query.literals))
        found: set[str] = set()
        for table in (ALL[name] for name in having if files[name]):
            rows = dataset(storage, table, files[table.name]).to_table(columns=[PATIENT], filter=named)
            found |= set(rows[PATIENT].unique().to_pylist())
        return tuple(sorted(found))

    found: tuple[str, ...] = read_with(storage, snapshot, read)
    return found


def digest(rows: Any) -> str:
    """SHA-256 over the names of the columns and the rows in sorted order: the order of rows does not count."""
    whole = hashlib.sha256(msgspec.json.encode(sorted(rows.column_names)))
    for each in sorted(_row_digests(rows)):
        whole.update(each)
    return whole.hexdigest()


def _row_digests(rows: Any) -> Iterator[bytes]:
    ordered = rows.select(sorted(rows.column_names))
    for batch in ordered.to_batches():
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield hashlib.sha256(msgspec.json.encode(row, enc_hook=str)).digest()


def _first_line(wrong: Exception) -> str:
    return str(wrong).strip().splitlines()[0]
