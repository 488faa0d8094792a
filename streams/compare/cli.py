"""``ward compare``, ``ward why``, ``ward case``: what would be decided otherwise, why it was so, that it stays so."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.topology import VITALS
from streams.compare.asked import models_of, side_of

if TYPE_CHECKING:
    from contracts.settings import Settings
    from models.registry import Registry
    from streams.compare.report import Comparison
    from streams.compare.sides import Decided, Side
    from streams.compare.span import Span

NOT_FOUND, FINDINGS = 3, 6
EVERY_S = 2.0

app = typer.Typer(add_completion=False, rich_markup_mode=None)
case = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Test cases: a recorded span with the decisions expected of it, in one file.

    ward case record fall.case --from -10m --for 5m · ward case run tests/cases
    """,
)
app.add_typer(case, name="case")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
WarmUp = Annotated[
    str | None,
    typer.Option(
        help="Begin with so much of the log before the span, not with a snapshot.",
        show_default="newest snapshot before it, else 15m",
    ),
]
SIDE = "A policy file, or NAME@VERSION of a model (@candidate, @champion, @none); again for more."


@app.command()
def compare(
    start: Annotated[
        str | None,
        typer.Option("--from", help="RFC 3339 with zone, or -2h: so long ago.", show_default="the log's start"),
    ] = None,
    length: Annotated[
        str | None, typer.Option("--for", help="90s, 15m, 2h, 1d.", show_default="up to the log's end")
    ] = None,
    topic: Annotated[str, typer.Option(help="A topic of vitals frames.")] = VITALS.name,
    champion: Annotated[list[str] | None, typer.Option(help=SIDE, show_default="what is in force")] = None,
    candidate: Annotated[list[str] | None, typer.Option(help=SIDE, show_default="what is in force")] = None,
    warm_up: WarmUp = None,
    truth: Annotated[Path | None, typer.Option(help="What really happened: `ward simulate --truth`.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report, with plots, to this file.")] = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="Ask no model: quicker, no advisories.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward compare --from -2h --candidate new.toml · ward compare --candidate vitals_anomaly@candidate

    Decides a span of the log anew, twice, at full speed, and says what the candidate would have told otherwise. Exit 6
    when the decisions differ, 0 when they are the same to the byte. Changes nothing and writes into no topic.
    """
    from streams.compare import report

    found = _compared(start, length, topic, (champion or (), candidate or ()), warm_up, truth, not no_models)
    document = report.document(found)
    if html is not None:
        from streams.compare.page import page

        _write(html, page(document, found))
    if as_json:
        _print(document)
    else:
        for line in report.lines(document):
            print(line)
    raise typer.Exit(0 if found.equal else FINDINGS)


@app.command(context_settings={"ignore_unknown_options": True})  # -5m is a time and no option
def why(
    who: Annotated[str, typer.Argument(metavar="PATIENT", help="A patient's pseudonym, or a bed.")],
    when: Annotated[str, typer.Argument(metavar="TIME", help="RFC 3339 with zone, now, or -5m: so long ago.")] = "now",
    topic: Annotated[str, typer.Option(help="A topic of vitals frames.")] = VITALS.name,
    side: Annotated[list[str] | None, typer.Option(help=SIDE, show_default="what is in force")] = None,
    warm_up: WarmUp = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="Ask no model: quicker, no advisories.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward why W1-03 · ward why W1-03 -5m · ward why sim-0a1b20003 2026-01-02T07:12:30+01:00 --json

    Why an alarm stood at that moment of the log, and for every other condition exactly why none did: from the log
    alone, decided anew up to then.
    """
    import asyncio
    import time

    from models.registry import Registry, own_folder
    from streams.compare.answer import answered, lines
    from streams.compare.inquiry import watch
    from streams.compare.moment import length_s, moment_ms
    from streams.compare.span import around, records

    settings = _settings()
    registry = Registry(own_folder(settings))
    asked = side_of("side", side or (), settings, registry)
    at_ms = moment_ms(when, int(time.time() * 1000), "TIME")
    span = around(settings.kafka, topic, who, at_ms, None if warm_up is None else length_s(warm_up, "--warm-up"))
    missing: set[tuple[str, str]] = set()
    seen = None
    if span is not None:
        models = None if no_models else models_of(registry, missing)
        seen = asyncio.run(watch(records(settings.kafka, span), span, asked, models, who, at_ms))
    if span is None or seen is None:
        print(f"ward why: nobody called {who} in {topic} around then", file=sys.stderr)
        raise typer.Exit(NOT_FOUND)
    for name, version in sorted(missing):
        print(f"ward why: {name}@{version} is not to be had, so it says nothing here", file=sys.stderr)
    told = answered(seen, asked, span)
    if as_json:
        _print(told)
        return
    for line in lines(told, seen):
        print(line)


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
    from models.ward.policy import load_policy
    from streams.compare.case import packed, recorded
    from streams.compare.moment import window_ms
    from streams.compare.span import records, survey

    settings = _settings()
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
    if as_json:
        _print(told)
    else:
        print(f"{file}: {len(made.records)} records, {found.book.transitions} transitions, {len(raw)} bytes")


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
        _print({"cases": rows})
    raise typer.Exit(0 if all(row["passed"] for row in rows) else FINDINGS)


def _compared(
    start: str | None,
    length: str | None,
    topic: str,
    asked: tuple[Sequence[str], Sequence[str]],
    warm_up: str | None,
    truth: Path | None,
    with_models: bool,
) -> Comparison:
    import time

    from models.registry import Registry, own_folder
    from streams.compare.moment import length_s, window_ms
    from streams.compare.report import Comparison
    from streams.compare.span import survey
    from streams.compare.truth import read_truth
    from streams.compare.written import written_live

    settings = _settings()
    registry = Registry(own_folder(settings))
    sides = [side_of(n, of, settings, registry) for n, of in zip(("champion", "candidate"), asked, strict=True)]
    from_ms, to_ms = window_ms(start, length)
    span = survey(settings.kafka, topic, from_ms, to_ms, None if warm_up is None else length_s(warm_up, "--warm-up"))
    began = time.perf_counter()
    both, missing = _decided(settings, span, sides, registry if with_models else None)
    took_s = time.perf_counter() - began
    events = None
    if truth is not None:
        first, last = both[0].first_ms or 0, both[0].last_ms or 0
        events = read_truth(truth, first if from_ms is None else from_ms, last if to_ms is None else to_ms)
    written = written_live(settings.kafka, span) if topic == VITALS.name else None
    return Comparison.of(span, both, took_s, with_models, events=events, written=written, missing=missing)


def _decided(
    settings: Settings, span: Span, sides: Sequence[Side], registry: Registry | None
) -> tuple[list[Decided], frozenset[tuple[str, str]]]:
    import time

    from streams.compare import sides as deciding
    from streams.compare.shares import decided_in_two, worth_sharing
    from streams.compare.span import records

    missing: set[tuple[str, str]] = set()
    if registry is None and worth_sharing(span):
        return decided_in_two(settings.kafka, span, sides), frozenset()
    models = None if registry is None else models_of(registry, missing)
    began = last = time.monotonic()

    def progress(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY_S:
            last = time.monotonic()
            print(f"{done} of {span.records} records, {done / (last - began):.0f} a second", file=sys.stderr)

    return deciding.decided(records(settings.kafka, span), span, sides, models, progress), frozenset(missing)


def _settings() -> Settings:
    from contracts.settings import Settings

    return Settings.from_env(os.environ)


def _print(document: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), flush=True)


def _write(path: Path, text: str) -> None:
    from contracts.errors import Misconfigured

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as failure:
        raise Misconfigured(f"--html {path}: {failure.strerror}") from failure
