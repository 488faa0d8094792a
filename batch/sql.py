"""``ward lake sql`` and ``ward lake tables``: ask the lake, and see what it holds."""

from __future__ import annotations

import posixpath
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from batch import cli

if TYPE_CHECKING:
    from batch.answers import Answer
    from batch.storage import Storage
    from contracts.lake import Table
    from contracts.settings import Settings

LIMIT: Final = 1000
TIMEOUT_S: Final = 300.0


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT, WITH, SHOW, DESCRIBE or EXPLAIN; - reads it from stdin.")],
    engine: Annotated[
        str, typer.Option(help="spark: all of SQL and our functions; duckdb: no server, quick.")
    ] = "spark",
    purpose: Annotated[str | None, typer.Option(help="Why you read it; kept with the record of the read.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many rows; 0 for all.")] = LIMIT,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which the query is ended.")] = TIMEOUT_S,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward lake sql "select ward, count(*) from vitals group by ward" · ward lake sql "show tables"
    · ward lake sql "select bed, vital_stats(value, event_ms) from vitals where vital = 'spo2' group by bed" --json

    Researchers (the default of WARD_ROLE) see the de-identified views of `research`, everyone else the tables of
    `ward`. Each read is recorded with your name before it happens.
    """
    from batch.answers import show_csv, show_table
    from contracts.errors import Misconfigured

    if as_csv and as_json:
        raise Misconfigured("one of --csv and --json")
    text = (sys.stdin.read() if query == "-" else query).strip().rstrip(";").rstrip()
    answer = ask(cli.settings(), text, engine, purpose, limit, timeout)
    if as_json:
        cli.document({"engine": engine, **asdict(answer)})
    elif as_csv:
        show_csv(answer)
    else:
        show_table(answer.columns, answer.rows)
    more = ", and there are more: --limit 0 gives all" if answer.cut else ""
    cli.say(f"{len(answer.rows)} rows in {answer.seconds:.2f} s{more}")


def ask(
    settings: Settings, query: str, engine: str, purpose: str | None, limit: int, timeout_s: float = TIMEOUT_S
) -> Answer:
    """The answer to one question, recorded before it is asked. Exits 3 for a table that is not there.

    Raises Poison for bad SQL and for what is no read, Misconfigured for a role that may not, Transient when a server
    is away or the time is over.
    """
    from batch import engines
    from batch.access import told
    from batch.asked import NoTable
    from contracts.errors import Misconfigured, Poison

    if engine not in engines.ENGINES:
        raise Misconfigured(f"--engine {engine}: {' or '.join(engines.ENGINES)}")
    if not query:
        raise Poison("bad_sql", "there is no statement", "query")
    with engines.ENGINES[engine](settings, timeout_s) as opened:
        try:
            asked = opened.understood(query)
        except NoTable as missing:
            _missing(f"ward lake sql: {missing}")
        if asked.tables:
            told(settings, "sql", ", ".join(asked.tables), query, purpose, asked.zone)
        if asked.wrong is not None:
            raise asked.wrong
        return opened.answer(query, limit)


@dataclass
class Holding:
    """What stands of one table: files, their bytes and rows, partitions, first and last date (None without dates)."""

    table: str
    zone: str
    rows: int = 0
    files: int = 0
    bytes: int = 0
    partitions: int = 0
    first: str | None = None
    last: str | None = None


def tables(
    name: Annotated[str | None, typer.Argument(help="One table: its columns too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward lake tables · ward lake tables vitals · ward lake tables --json

    The tables of the lake and what stands in them now: rows, files, bytes, partitions, dates, who may read them.
    """
    import difflib

    from batch.answers import show_table
    from batch.storage import Storage
    from contracts.lake import ALL

    if name is not None and name not in ALL:
        near = difflib.get_close_matches(name, ALL, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(ALL)}"
        _missing(f"ward lake tables: no table {name}: {hint}")
    chosen = [ALL[name]] if name is not None else list(ALL.values())
    found = holdings(Storage.of(cli.settings()), chosen)
    if as_json:
        document: dict[str, Any] = {"tables": [asdict(one) for one in found]}
        if name is not None:
            document |= {"grain": ALL[name].grain, "columns": [asdict(one) for one in _columns(ALL[name])]}
        cli.document(document)
        return
    show_table(list(asdict(found[0])), [list(asdict(one).values()) for one in found])
    if name is not None:
        print(f"\n{ALL[name].grain}\n")
        show_table(("column", "type", "means"), [(one.name, one.type, one.means) for one in _columns(ALL[name])])


def holdings(storage: Storage, chosen: list[Table]) -> list[Holding]:
    """What stands of each table, by the files on HDFS; rows as their manifests tell them, else as the files do."""
    from batch.manifests import current, load

    told = current(load(storage))
    found = []
    for table in chosen:
        holding = Holding(table.name, table.zone)
        places: defaultdict[str, int] = defaultdict(int)
        for entry in storage.entries(table.path):
            known = told.get(entry.path)
            rows = known.rows if known is not None and known.size == entry.size else _rows_in(storage, entry.path)
            if rows is None:
                continue  # compacted away since the listing
            holding.rows += rows
            holding.files += 1
            holding.bytes += entry.size
            places[posixpath.dirname(entry.path)] += 1
        holding.partitions = len(places) if table.partitions else 0
        days = sorted(day for place in places if (day := _day(place)) is not None)
        holding.first, holding.last = (days[0], days[-1]) if days else (None, None)
        found.append(holding)
    return found


def _rows_in(storage: Storage, path: str) -> int | None:
    import pyarrow.parquet as pq

    from contracts.errors import Transient

    try:
        with storage.arrow().open_input_file(path) as file:
            return int(pq.read_metadata(file).num_rows)
    except FileNotFoundError:
        return None
    except OSError as away:
        raise Transient(f"HDFS does not give {path}: {away}") from away


def _day(place: str) -> str | None:
    """The date of a partition's folder, or its year and month."""
    values = dict(part.split("=", 1) for part in place.split("/") if "=" in part)
    if "date" in values:
        return values["date"]
    return f"{int(values['year']):04}-{int(values['month']):02}" if {"year", "month"} <= values.keys() else None


def _columns(table: Table) -> list[Any]:
    return [*table.columns, *table.partitions]


def _missing(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(cli.NOT_FOUND)
