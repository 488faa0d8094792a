"""``ward shadow``: a candidate on the live log, beside what is in force."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.topology import VITALS
from streams.compare.asked import models_of, side_of
from streams.compare.cli import SIDE, AsJson, WarmUp

if TYPE_CHECKING:
    from streams.compare.shadow import Shadow

FINDINGS, INTERRUPTED = 6, 130

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def shadow(
    candidate: Annotated[list[str], typer.Option(help=SIDE)],
    champion: Annotated[list[str] | None, typer.Option(help=SIDE, show_default="what is in force")] = None,
    topic: Annotated[str, typer.Option(help="A topic of vitals frames.")] = VITALS.name,
    length: Annotated[str | None, typer.Option("--for", help="90s, 8h, 7d.", show_default="until Ctrl-C")] = None,
    every: Annotated[str, typer.Option(help="How often the report is written.")] = "60s",
    to: Annotated[
        Path | None, typer.Option(help="Keep report.json and report.html in this folder, always as they stand.")
    ] = None,
    warm_up: WarmUp = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="Ask no model: quicker, no advisories.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward shadow --candidate new.toml --to shadow · ward shadow --candidate vitals_anomaly@candidate

    Runs a candidate on the live log beside what is in force, silent to the ward, and reports as `ward compare` does
    what it would have told otherwise. Writes into no topic. Exit 6 when the decisions differ, 130 after Ctrl-C.
    """
    import asyncio
    import signal
    import time

    import msgspec

    from contracts.settings import Settings
    from models.registry import Registry, own_folder
    from streams.compare import report
    from streams.compare.moment import length_s
    from streams.compare.shadow import Shadow, line, told
    from streams.compare.span import ahead

    settings = Settings.from_env(os.environ)
    registry = Registry(own_folder(settings))
    sides = [side_of(n, of or (), settings, registry) for n, of in (("champion", champion), ("candidate", candidate))]
    every_s, end_s = length_s(every, "--every"), None if length is None else length_s(length, "--for")
    span = ahead(settings.kafka, topic, None if warm_up is None else length_s(warm_up, "--warm-up"))
    missing: set[tuple[str, str]] = set()
    running = Shadow(span, sides, None if no_models else models_of(registry, missing), missing)
    began, came = time.monotonic(), list[int]()
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, lambda number, _: came.append(number))

    def going() -> bool:
        return not came and (end_s is None or time.monotonic() - began < end_s)

    def tell(so_far: Shadow) -> None:
        print(f"ward shadow: {line(told(so_far, to))}", file=sys.stderr, flush=True)

    print(f"ward shadow: beside {topic}, from {span.since}; Ctrl-C ends it", file=sys.stderr, flush=True)
    asyncio.run(running.go(settings.kafka, going, every_s, tell))
    document = told(running, to)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), flush=True)
    else:
        for one in report.lines(document):
            print(one)
    if signal.SIGINT in came:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if document["equal"] else FINDINGS)
