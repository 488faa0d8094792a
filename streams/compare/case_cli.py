"""``ward case``: record a span as a test case, and run cases."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.topology import VITALS

NOT_FOUND, FINDINGS = 3, 6

case = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Test cases: a recorded span with the decisions expected of it, in one file.

    ward case record fall.case --from -10m --for 5m · ward case run tests/cases
    """,
)
app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(case, name="case")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@case.command("record")
def record(
    file: Annotated[Path, typer.Argument(help="Write the case to this file; it must not be there.")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="RFC 3339 with zone, or -2h: so long ago.", show_default="the log's start"),
    ] = None,
    length: Annotated[
        str | None, typer.Option("--for", help="90s, 15m, 2h, 1d.", show_default="up to the log's end")
    ] = None,
    topic: Annotated[str, typer.Option(help="A topic of vitals frames.")] = VITALS.name,
    policy: Annotated[str | None, typer.Option(help="A policy file.", show_default="what is in force")] = None,
    about: Annotated[str, typer.Option(help="What it is a case of, in a line.")] = "",
    as_json: AsJson = False,
) -> None:
    """Examples: ward case record fall.case --from 2026-01-02T07:00+01:00 --for 5m --about "a fall in saturation"

    Keeps the span and all that is decided of it now. The case expects it of every later version of the code.
    """
    from contracts.errors import Misconfigured
    from contracts.settings import Settings
    from models.ward.policy import load_policy
    from streams.compare.case import packed, recorded
    from streams.compare.moment import window_ms
    from streams.compare.span import records, survey

    settings = Settings.from_env(os.environ)
    from_ms, to_ms = window_ms(start, length)
    span = survey(settings.kafka, topic, from_ms, to_ms, None)
    made, found = recorded(records(settings.kafka, span), span, load_policy(policy or settings.policy), about)
    raw = packed(made)
    try:
        with file.open("xb") as out:
            out.write(raw)
    except OSError as failure:
        raise Misconfigured(f"{file}: {failure.strerror}") from failure
    told = {
        "file": str(file),
        "bytes": len(raw),
        "records": len(made.records),
        "transitions": found.book.transitions,
        "hash": made.hash,
    }
    _tell(told, as_json, f"{file}: {len(made.records)} records, {found.book.transitions} transitions, {len(raw)} bytes")


@case.command("run")
def run(
    files: Annotated[list[Path], typer.Argument(help="Cases, or folders of them.")],
    as_json: AsJson = False,
) -> None:
    """Examples: ward case run tests/cases · ward case run fall.case --json

    Decides each case anew. Exit 6 when one is decided otherwise than it expects.
    """
    from contracts.errors import Misconfigured
    from streams.compare.case import SUFFIX, played, unpacked
    from streams.compare.report import totals

    paths = sorted(p for file in files for p in (file.glob(f"*{SUFFIX}") if file.is_dir() else [file]))
    if not paths:
        print("ward case: there is no case", file=sys.stderr)
        raise typer.Exit(NOT_FOUND)
    rows: list[dict[str, Any]] = []
    for path in paths:
        try:
            one = unpacked(path.read_bytes())
        except OSError as failure:
            raise Misconfigured(f"{path}: {failure.strerror}") from failure
        found, pairs = played(one)
        same = found.book.hash() == one.hash
        rows.append({"case": path.stem, "about": one.about, "passed": same, "hash": one.hash, "alarms": totals(pairs)})
        if not as_json:
            print(f"{'ok  ' if same else 'FAIL'} {path.stem:24} {found.book.transitions:4} transitions  {one.about}")
            for pair in pairs if not same else ():
                if pair.fate != "same":
                    print(f"     {pair.fate:8} {pair.either.bed} {pair.either.episode.condition} {pair.either.message}")
    if as_json:
        _tell({"cases": rows}, True, "")
    raise typer.Exit(0 if all(row["passed"] for row in rows) else FINDINGS)


def _tell(document: dict[str, Any], as_json: bool, line: str) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() if as_json else line)
