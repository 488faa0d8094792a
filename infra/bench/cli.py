"""``ward bench``: measured figures beside the promises. Exit code 0 when they are kept, 6 when not, 1 when void."""

from __future__ import annotations

import re
import sys
from typing import Annotated, Final, Literal

import typer

app = typer.Typer(
    name="bench",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Measure on this machine and print the figures beside the promises.",
)

SHORTEST_S: Final = 10

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.callback()
def bench() -> None:
    """Measure on this machine and print the figures beside the promises."""


@app.command(epilog="Examples: ward bench stream · ward bench stream --short · ward bench stream --beds 10000 --models")
def stream(
    beds: Annotated[int, typer.Option(min=1, max=10_000, help="Beds in the backlog.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Interleaved rounds.")] = 5,
    short: Annotated[bool, typer.Option("--short", help="One round, at most 200 beds.")] = False,
    layout: Annotated[
        Literal["frames50", "frames1", "both"], typer.Option(help="Beds a record: 50, one, or both in turn.")
    ] = "both",
    durable: Annotated[bool, typer.Option("--durable", help="Only state that survives kill -9.")] = False,
    volatile: Annotated[bool, typer.Option("--volatile", help="Only state in memory.")] = False,
    models: Annotated[
        bool, typer.Option("--models", help="No rivals: the live chain with scores and a forecast every 10 s.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """CPU a bed-reading of the worker, a plain confluent-kafka loop and Quix Streams, all doing the same work.

    No rival asks models, so none are asked there; with --models the live chain is measured up to so many beds.
    """
    if models:
        latency(beds, "20s" if short else "60s", "spread", True, as_json)
    from infra.bench import stream as side_by_side

    wanted = side_by_side.plan(
        beds,
        rounds,
        short,
        tuple(side_by_side.LAYOUTS) if layout == "both" else (layout,),
        [name for name, chosen in (("durable", durable), ("volatile", volatile)) if chosen or durable == volatile],
    )
    report = side_by_side.measure(wanted, say)
    _print(report, side_by_side.lines(report), as_json)
    raise typer.Exit(side_by_side.exit_code(report))


@app.command(epilog="Examples: ward bench latency · ward bench latency --beds 10000 --for 30s --no-models")
def latency(
    beds: Annotated[int, typer.Option(min=1, max=10_000, help="Above 1000: a staircase up to there.")] = 1000,
    duration: Annotated[str, typer.Option("--for", help="How long for each number of beds: 60s, 2m.")] = "60s",
    form: Annotated[
        Literal["at_once", "spread", "both"], typer.Option(help="Wards tick at the same moment, or each at its own.")
    ] = "both",
    models: Annotated[bool, typer.Option("--models/--no-models", help="With the champions asked, or without.")] = True,
    as_json: AsJson = False,
) -> None:
    """From a gateway's tick to the tile parsed by a client of the feed, over the whole chain; the knee above 1000."""
    from infra.bench import latency as chain

    seconds = _seconds(duration)
    report = chain.measure(chain.sizes(beds), chain.FORMS if form == "both" else (form,), seconds, say, models)
    _print(report, chain.lines(report), as_json)
    raise typer.Exit(chain.exit_code(report))


@app.command(epilog="Examples: ward bench scale · ward bench scale --beds 3000 --rounds 1")
def scale(
    beds: Annotated[int, typer.Option(min=100, max=10_000, help="The largest hospital of the curve.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Interleaved rounds.")] = 3,
    as_json: AsJson = False,
) -> None:
    """CPU and memory a bed of the worker, from 100 to 10,000 beds."""
    from infra.bench import scale as curve

    report = curve.measure([size for size in curve.SIZES if size <= beds], rounds, say)
    _print(report, curve.lines(report), as_json)
    raise typer.Exit(curve.exit_code(report))


@app.command(epilog="Examples: ward bench models · ward bench models --short --json")
def models(
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Interleaved rounds.")] = 5,
    short: Annotated[bool, typer.Option("--short", help="Fewer calls a round.")] = False,
    as_json: AsJson = False,
) -> None:
    """CPU of a batch of 256 through ONNX Runtime against a call an event: scikit-learn, river, Keras."""
    from infra.bench import models as runtimes

    report = runtimes.measure(rounds, short, say)
    _print(report, runtimes.lines(report), as_json)
    raise typer.Exit(runtimes.exit_code(report))


@app.command(epilog="Examples: ward bench sink · ward bench sink --beds 1000 --json")
def sink(
    beds: Annotated[int, typer.Option(min=1000, max=10_000, help="The largest hospital.")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """Points a second into a real InfluxDB, CPU a point of client and server, and a line against a Point()."""
    from infra.bench import sink as points

    report = points.measure([size for size in points.SIZES if size <= beds], say)
    _print(report, points.lines(report), as_json)
    raise typer.Exit(points.exit_code(report))


@app.command(epilog="Examples: ward bench policy · ward bench policy --source mimic --beds 1 --json")
def policy(
    source: Annotated[str, typer.Option(help="eicu, challenge2012, mimic (of WARD_DATA_DIR) or samples.")] = "eicu",
    beds: Annotated[int, typer.Option(min=1, max=200, help="Stays.")] = 20,
    hours: Annotated[float, typer.Option(min=0.01, max=48, help="The first hours of each.")] = 24.0,
    sampled: Annotated[int, typer.Option(min=0, max=200, help="Policies that the core decides too, over 2 stays.")] = 3,
    as_json: AsJson = False,
) -> None:
    """217 alarm policies over a day of real recordings at once, and whether the core tells the same one by one."""
    import os

    from contracts.settings import Settings
    from infra.bench import policy as sweep

    report = sweep.measure(source, Settings.from_env(os.environ).data_dir, beds, hours, sampled, say)
    _print(report, sweep.lines(report), as_json)
    raise typer.Exit(sweep.exit_code(report))


@app.command(epilog="Examples: ward bench replay · ward bench replay --hours 1 --json")
def replay(
    beds: Annotated[int, typer.Option(min=2, max=10_000, help="Beds of the hospital.")] = 100,
    hours: Annotated[float, typer.Option(min=0.01, max=48, help="Of the log.")] = 24.0,
    ward_beds: Annotated[int, typer.Option(min=1, max=1000, help="Beds of a ward, and of a frame.")] = 25,
    as_json: AsJson = False,
) -> None:
    """A day of a hundred beds heard live, replayed, decided again: how long that takes, and whether it is the same."""
    from infra.bench import replay as again

    report = again.measure(beds, hours, ward_beds, say)
    _print(report, again.lines(report), as_json)
    raise typer.Exit(again.exit_code(report))


@app.command(epilog="Examples: ward bench lake · ward bench lake --short · ward bench lake --for 5m --json")
def lake(
    beds: Annotated[int, typer.Option(min=50, max=10_000, help="Beds of each backlog; live from 1000 on.")] = 1_250,
    ticks: Annotated[int, typer.Option(min=5, max=600, help="Seconds of each backlog.")] = 60,
    duration: Annotated[str, typer.Option("--for", help="How long live readings are played: 60s, 5m.")] = "60s",
    short: Annotated[bool, typer.Option("--short", help="100 beds, three backlogs of 20 s, 30 s live.")] = False,
    as_json: AsJson = False,
) -> None:
    """Rows a second and CPU a million of the lake's stream, event to readable, cost of growth, files when compacted."""
    from infra.bench import lake as stream

    wanted = (100, 20, 30, say, 3) if short else (beds, ticks, _seconds(duration), say)
    report = stream.measure(*wanted)
    _print(report, stream.lines(report), as_json)
    raise typer.Exit(stream.exit_code(report))


@app.command(epilog="Examples: ward bench images · ward bench images --for 30s --json · ward bench images --rate 4")
def images(
    beds: Annotated[int, typer.Option(min=50, max=10_000, help="Beds that tick meanwhile.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, max=50, help="Images a second.")] = 2.0,
    duration: Annotated[str, typer.Option("--for", help="How long the beds tick in each run: 60s, 2m.")] = "60s",
    rounds: Annotated[int, typer.Option(min=1, max=20, help="Rounds, each with and without images.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Images by C-STORE beside a hospital: arrival to result, none lost, and what the alarms feel of it."""
    from infra.bench import images as beside

    report = beside.measure(beds, rate, _seconds(duration), rounds, say)
    _print(report, beside.lines(report), as_json)
    raise typer.Exit(beside.exit_code(report))


def _seconds(text: str) -> int:
    """``90s``, ``2m`` or ``90`` as seconds, at least 10."""
    match = re.fullmatch(r"(\d+)(s|m)?", text.strip())
    seconds = int(match[1]) * (60 if match[2] == "m" else 1) if match else 0
    if seconds < SHORTEST_S:
        raise typer.BadParameter(
            f"{text!r} is no duration of at least {SHORTEST_S} s, such as 60s or 2m", param_hint="--for"
        )
    return seconds


def say(line: str) -> None:
    """A line of chatter."""
    print(line, file=sys.stderr, flush=True)


def _print(report: object, lines: list[str], as_json: bool) -> None:
    import msgspec

    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    app()
