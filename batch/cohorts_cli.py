"""``ward cohort``: rows selected by SQL, frozen with where they came from, and handed out guarded."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from batch.cohorts import Cohort, Select
    from batch.selection import Query
    from batch.storage import Storage
    from contracts.settings import Settings

NOT_FOUND, FINDINGS = 3, 6
ENGINES = ("duckdb", "spark")

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Cohorts of de-identified patients.

    ward cohort preview "select patient from alerts where condition = 'spo2_low'"

    ward cohort freeze desaturation "select ..." --purpose "study 12"

    ward cohort export desaturation --to ./desaturation --format csv
    """,
)

Sql = Annotated[str, typer.Argument(metavar="SQL", help="One SELECT that gives a column `patient`.")]
Ident = Annotated[str, typer.Argument(metavar="ID", help="A cohort's id, its beginning, or its name.")]
Engine = Annotated[str, typer.Option(help="duckdb reads the files itself; spark asks the Thrift server.")]
SmallCell = Annotated[int, typer.Option("--k", min=2, help="Fewest patients of a group that is told.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command()
def preview(sql: Sql, k: SmallCell = 10, engine: Engine = "duckdb", as_json: AsJson = False) -> None:
    """Examples: ward cohort preview "select patient, ward from alerts where priority = 'high'"

    How many patients a freeze would select, and by what they can be grouped; no count below k. Keeps nothing.
    """
    from batch.access import told
    from batch.cohorts import previewed

    settings = _settings()
    query, by_sql = _asked(engine, sql, settings)
    told(settings, "cohort_preview", ", ".join(query.tables), sql)
    found = previewed(_storage(settings), query, k, by_sql)
    if as_json:
        _document(found)
        return
    print(f"patients {found['patients']}, rows {found['rows'] if found['rows'] is not None else 'not told'}")
    for column, counts in found["by"].items():
        shown = ", ".join(f"{value} {'-' if count is None else count}" for value, count in counts.items())
        print(f"  {column}: {shown}")


@app.command()
def freeze(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What you call it.")],
    sql: Sql,
    purpose: Annotated[str | None, typer.Option(help="What it is for; kept with it and in the access log.")] = None,
    engine: Engine = "duckdb",
    as_json: AsJson = False,
) -> None:
    """Examples: ward cohort freeze sepsis "select patient, event_ms, value from vitals where ..." --purpose "study 12"

    Selects the rows and keeps them with the query and what the tables held. The same again is the same cohort.
    """
    from batch.access import actor, told
    from batch.cohorts import freeze as frozen

    settings = _settings()
    query, by_sql = _asked(engine, sql, settings)
    told(settings, "cohort_freeze", ", ".join(query.tables), sql, purpose)
    made, new = frozen(
        _storage(settings),
        name,
        query,
        by=actor(settings),
        role=settings.role,
        purpose=purpose,
        engine=engine,
        by_sql=by_sql,
    )
    if as_json:
        _document(_row(made) | {"new": new})
        return
    if not new:
        print(f"ward cohort: frozen before, as {made.name}: same query, same data, same code", file=sys.stderr)
    print(f"{made.cohort}  {made.name}: {made.patients} patients, {made.rows} rows")


@app.command("list")
def listed(as_json: AsJson = False) -> None:
    """Examples: ward cohort list · ward cohort list --json

    Every frozen cohort, oldest first.
    """
    from batch.cohorts import every

    rows = [_row(one) for one in every(_storage(_settings()))]
    if as_json:
        _document({"cohorts": rows})
        return
    for row in rows:
        print(f"{row['cohort']}  {row['made']}  {row['patients']:>7} patients {row['rows']:>9} rows  {row['name']}")


@app.command()
def show(ident: Ident, as_json: AsJson = False) -> None:
    """Examples: ward cohort show 3f9c2ab1d0e4a7b5 · ward cohort show sepsis --json

    Where a cohort came from: query, by whom, what the tables held. None of its rows.
    """
    import msgspec

    made = _found(_storage(_settings()), ident)
    if as_json:
        _document(msgspec.to_builtins(made))
        return
    lines = _row(made) | {
        "query": made.query,
        "purpose": made.purpose,
        "engine": made.engine,
        "code": made.code,
        "columns": ", ".join(f"{name} {kind}" for name, kind in made.columns.items()),
        "snapshot": made.snapshot_sha256,
        "digest": made.digest,
    }
    for name, value in lines.items():
        print(f"{name:9} {value}")
    for held in made.snapshot.tables:
        offsets = f", {held.topic} below {_offsets(held.until)}" if held.topic else ""
        print(f"  {held.table}: {held.rows} rows in {len(held.files)} files{offsets}")


@app.command()
def export(
    ident: Ident,
    to: Annotated[Path, typer.Option(help="Make this folder; it must not be there.")],
    form: Annotated[str, typer.Option("--format", help="parquet or csv.")] = "parquet",
    k: SmallCell = 10,
    quasi: Annotated[
        str | None, typer.Option(help="More columns by which somebody could be recognised, with commas.")
    ] = None,
    keep_key: Annotated[
        bool, typer.Option("--keep-key", help="Keep the key of the pseudonyms in the identified zone (stewards).")
    ] = False,
    purpose: Annotated[str | None, typer.Option(help="What it is for.", show_default="as frozen")] = None,
    as_json: AsJson = False,
) -> None:
    """Examples: ward cohort export sepsis --to ./sepsis · ward cohort export sepsis --to ./out --format csv --k 20

    Pseudonyms of its own, times as offsets, small groups coarser or left out, and a README that says so and how to
    cite it. Refused (exit 5) with fewer than k patients. The key is kept nowhere unless --keep-key.
    """
    from batch import export as out
    from batch.access import told
    from batch.cohorts import rows_of
    from contracts.errors import Misconfigured

    if form not in ("parquet", "csv"):
        raise Misconfigured(f"--format {form}: parquet or csv")
    if to.exists():
        raise Misconfigured(f"{to} is there already: name a new folder")
    settings = _settings()
    storage = _storage(settings)
    made = _found(storage, ident)
    why = purpose or made.purpose
    told(settings, "cohort_export", made.cohort, made.query, why, "identified" if keep_key else "deidentified")
    key, kept = out.key_for(storage, made, keep_key)
    ready = out.prepared(rows_of(storage, made), key, k, [one for one in (quasi or "").split(",") if one.strip()])
    document = out.write(to, made, ready, "csv" if form == "csv" else "parquet", k, kept)
    if as_json:
        _document(document | {"folder": str(to)})
        return
    for line in document["suppressed"]:
        print(f"  {line['column']}: {line['what']} ({line['patients']} patients)", file=sys.stderr)
    print(f"{to}: {document['patients']} patients, {document['rows']} rows; see {to / 'README.txt'}")


@app.command()
def rerun(ident: Ident, as_json: AsJson = False) -> None:
    """Examples: ward cohort rerun sepsis · ward cohort rerun 3f9c2ab1 --json

    Selects again from what the tables held then, whatever came since. Exit 6 when the rows are not the same.
    """
    from batch.access import told
    from batch.cohorts import rerun as again

    settings = _settings()
    storage = _storage(settings)
    made = _found(storage, ident)
    told(settings, "cohort_rerun", made.cohort, made.query, made.purpose)
    query, by_sql = _asked(made.engine, made.query, settings)
    found = again(storage, made, query, by_sql)
    if as_json:
        _document(found)
    else:
        print(f"{made.cohort}  {'the same' if found['same'] else 'NOT the same'}: {made.rows} rows then, ", end="")
        print(f"{found['rows_now'] if found['rows_now'] is not None else 'not to be read'} now")
        if found["why"]:
            print(f"  {found['why']}")
        if found["code_then"] != found["code_now"]:
            print(f"  by other code: {found['code_then']} then, {found['code_now']} now", file=sys.stderr)
    raise typer.Exit(0 if found["same"] else FINDINGS)


def _asked(engine: str, sql: str, settings: Settings) -> tuple[Query, Select]:
    """The query, and what selects its rows."""
    from batch.asked import NoTable
    from batch.selection import parsed, selected
    from contracts.errors import Misconfigured

    if engine not in ENGINES:
        raise Misconfigured(f"--engine {engine}: {' or '.join(ENGINES)}")
    try:
        if engine == "duckdb":
            return parsed(sql), selected
        from batch.selection_spark import Selection

        selection = Selection(settings)
        return selection.parsed(sql), selection
    except NoTable as missing:
        print(f"ward cohort: {missing}", file=sys.stderr)
        raise typer.Exit(NOT_FOUND) from None


def _found(storage: Storage, ident: str) -> Cohort:
    from batch.cohorts import NotThere, find

    try:
        return find(storage, ident)
    except NotThere as missing:
        print(f"ward cohort: {missing}", file=sys.stderr)
        raise typer.Exit(NOT_FOUND) from None


def _row(made: Cohort) -> dict[str, Any]:
    from datetime import UTC, datetime

    return {
        "cohort": made.cohort,
        "name": made.name,
        "patients": made.patients,
        "rows": made.rows,
        "made": datetime.fromtimestamp(made.made_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "by": made.made_by,
    }


def _offsets(until: dict[str, int]) -> str:
    return " ".join(f"{partition}:{offset}" for partition, offset in until.items())


def _storage(settings: Settings) -> Storage:
    from batch.storage import Storage

    return Storage.of(settings)


def _settings() -> Settings:
    from contracts.settings import Settings

    return Settings.from_env(os.environ)


def _document(document: Any) -> None:
    import msgspec

    print(msgspec.json.encode(document).decode())


if __name__ == "__main__":
    app()
