"""``ward policy sweep``: which limits, delays, hysteresis and latches would have alarmed less and missed nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts.topology import VITALS

if TYPE_CHECKING:
    from contracts.settings import Settings
    from models.policy.grid import Grid
    from models.ward.policy import Policy
    from streams.compare.policy_report import Sweep
    from streams.compare.policy_span import Share

NOT_FOUND = 3

app = typer.Typer(name="policy", add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def policy() -> None:
    """Examples: ward policy sweep --from -24h --delays 5,10,15,19,30 --limits -5%..+10% --write next.toml

    Other alarm policies, tried on what is on record.
    """


@app.command(context_settings={"ignore_unknown_options": True})  # -24h is a time, -5%..+10% a range
def sweep(
    topic: Annotated[str, typer.Option(help="A topic of vitals frames.")] = VITALS.name,
    start: Annotated[
        str | None,
        typer.Option("--from", help="RFC 3339 with zone, or -2h: so long ago.", show_default="the log's start"),
    ] = None,
    length: Annotated[
        str | None, typer.Option("--for", help="90s, 15m, 2h, 1d.", show_default="up to --to, or the log's end")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Until when; as --from.", show_default="the end")] = None,
    case: Annotated[list[Path] | None, typer.Option(help="Cases instead of a topic; again for more.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Recordings instead: samples, mimic, eicu, challenge2012, or DIR:SOURCE.")
    ] = None,
    beds: Annotated[int, typer.Option(min=1, max=500, help="With --data: so many stays.")] = 20,
    hours: Annotated[float, typer.Option(min=0.01, max=240, help="With --data: the first hours of each.")] = 24.0,
    between: Annotated[str, typer.Option(help="With --data, between two values: hold or interpolate.")] = "hold",
    grid: Annotated[Path | None, typer.Option(help="A grid file; the options below add to it.")] = None,
    limits: Annotated[str | None, typer.Option(help="-5%..+10%, or a list: limits so much wider.")] = None,
    delays: Annotated[str | None, typer.Option(help="Seconds: 0,5,10,15,19,30.")] = None,
    hysteresis: Annotated[str | None, typer.Option(help="Times the policy's own: 0,1,2.")] = None,
    latch: Annotated[str | None, typer.Option(help="high,none,high+medium.")] = None,
    vital: Annotated[list[str] | None, typer.Option(help="Only of these vitals.", show_default="all")] = None,
    base: Annotated[str | None, typer.Option(help="The policy to start from.", show_default="what is in force")] = None,
    truth: Annotated[Path | None, typer.Option(help="What really happened: `ward simulate --truth`.")] = None,
    event: Annotated[float, typer.Option(min=1, help="Without --truth: an event lasts so many seconds.")] = 60.0,
    added: Annotated[float, typer.Option(min=0, help="The rule: 95 in 100 told at most so much later, s.")] = 15.0,
    missed: Annotated[int, typer.Option(min=0, help="The rule: so many more events missed, none severe.")] = 0,
    without_acknowledgements: Annotated[
        bool, typer.Option("--without-acknowledgements", help="Leave them out; else a span with some is refused.")
    ] = False,
    write: Annotated[Path | None, typer.Option(help="Write the policy that is taken to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report, with plots, to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward policy sweep --from -24h --delays 5,10,15,19,30 --limits -5%..+10% --write next.toml --html s.html

    Decides a span under every policy of a grid at once and weighs alarms per bed-day against missed events and added
    delay; takes one by a stated rule and says why. Changes nothing: a written policy is in force once WARD_POLICY names
    it. Exit 3 without the topic, 4 without the broker, 5 for a bad grid or a span that holds acknowledgements.
    """
    from models.policy.grid import policies
    from models.ward.policy import load_policy
    from streams.compare.policy_report import Rule, document, lines

    settings = _settings()
    began = perf_counter()
    tried = policies(load_policy(base or settings.policy), _grid(grid, limits, delays, hysteresis, latch, vital or ()))
    if data is not None:
        shares, source = _of_recordings(tried, data, settings, beds, hours, between)
    elif case:
        shares, source = _of_cases(tried, case)
    else:
        shares, source = _of_topic(tried, settings, topic, (start, length, end))
    found = _weighed(shares, tried, truth, event, without_acknowledgements, Rule(added, missed), source, began)
    told = document(found)
    _keep(found, told, write, html)
    if as_json:
        _print(told)
        return
    for line in lines(told):
        print(line)


def _weighed(
    shares: list[Share],
    tried: list[Policy],
    truth: Path | None,
    event_s: float,
    unacknowledged: bool,
    rule: Any,
    source: str,
    began: float,
) -> Sweep:
    from dataclasses import replace

    from streams.compare.policy_report import Sweep
    from streams.compare.policy_span import weighed

    known = None if truth is None else _known(truth)
    words = (
        f"a proxy: values beyond a limit of the policy in force for {event_s:g} s or longer, severe where beyond its "
        f"extreme limit for {event_s:g} s; what ailed the patient is not known"
        if known is None
        else f"scripted episodes of the simulated hospital, SYNTHETIC ({truth})"
    )
    shares = [replace(s, known=known, event_s=event_s, unacknowledged=unacknowledged) for s in shares]
    _say(f"{len(tried)} policies over {source}")
    weight = weighed(shares, _say)
    return Sweep(tried, weight.scales.weighed(weight.heard_s), weight, rule, source, words, perf_counter() - began)


def _known(path: Path) -> tuple[Any, ...]:
    """The episodes of a truth file; each is severe, for each was scripted to be found."""
    from models.policy.weighing import Event
    from streams.compare.truth import read_truth

    events = read_truth(path, 0, sys.maxsize)
    return tuple(Event(e.ward, e.patient, None, e.start_ms, e.faded_ms, True) for e in events if e.family == "episode")


def _grid(
    file: Path | None,
    limits: str | None,
    delays: str | None,
    hysteresis: str | None,
    latch: str | None,
    vitals: Any,
) -> Grid:
    import msgspec

    from contracts.errors import Misconfigured, Poison
    from contracts.records import Vital
    from models.policy.grid import Grid, parse_grid, parse_latches, parse_numbers, parse_percents

    grid = Grid()
    if file is not None:
        try:
            grid = parse_grid(file.read_bytes())
        except OSError as failure:
            raise Misconfigured(f"--grid {file}: {failure.strerror}") from failure
    axes = {
        "limits_percent": None if limits is None else parse_percents(limits, "--limits"),
        "delay_s": None if delays is None else parse_numbers(delays, "--delays"),
        "hysteresis_times": None if hysteresis is None else parse_numbers(hysteresis, "--hysteresis"),
        "latch": None if latch is None else parse_latches(latch, "--latch"),
    }
    given = {name: values for name, values in axes.items() if values is not None}
    named = tuple(Vital(one) for one in vitals if one in Vital.__members__.values())
    if len(named) < len(vitals):
        raise Poison("bad_grid", f"no vital {', '.join(vitals)}; there are {', '.join(Vital)}", "--vital")
    return Grid(all=msgspec.structs.replace(grid.all, **given), vitals=named or grid.vitals, vital=grid.vital)


def _of_topic(
    tried: list[Policy], settings: Settings, topic: str, span: tuple[str | None, str | None, str | None]
) -> tuple[list[Share], str]:
    from streams.compare.moment import between_ms
    from streams.compare.policy_span import shares_of_topic
    from streams.compare.span import WARM_UP_S, survey, there

    if not there(settings.kafka, topic):
        print(f"ward policy: no topic {topic} at {settings.kafka}", file=sys.stderr)
        raise typer.Exit(NOT_FOUND)
    found = survey(settings.kafka, topic, *between_ms(*span), WARM_UP_S)
    return shares_of_topic(tried, settings.kafka, found), f"{topic} of {settings.kafka}"


def _of_cases(tried: list[Policy], files: list[Path]) -> tuple[list[Share], str]:
    from streams.compare.case import SUFFIX
    from streams.compare.policy_span import Share

    paths = sorted(p for file in files for p in (file.glob(f"*{SUFFIX}") if file.is_dir() else [file]))
    if not paths:
        print("ward policy: there is no case", file=sys.stderr)
        raise typer.Exit(NOT_FOUND)
    return [Share(tuple(tried), case=path) for path in paths], f"{len(paths)} cases"


def _of_recordings(
    tried: list[Policy], data: str, settings: Settings, beds: int, hours: float, between: str
) -> tuple[list[Share], str]:
    from streams.compare.policy_span import Recordings, shares_of_recordings

    folder, _, source = data.rpartition(":")
    found = Recordings(source, folder or settings.data_dir, beds, hours, between)
    shown = "values held" if between == "hold" else "values joined by lines"
    return shares_of_recordings(tried, found), f"recordings {source}, the first {hours:g} h of each stay, {shown}"


def _keep(found: Sweep, told: dict[str, Any], write: Path | None, html: Path | None) -> None:
    from models.policy.written import as_toml
    from streams.compare.policy_page import page

    taken = found.policies[found.picked]
    if write is not None:
        about = [f"Written by `ward policy sweep`; hash {taken.hash}.", f"Over {found.source}.", *told["explained"]]
        _write("--write", write, as_toml(taken, about))
        told["written"] = {"file": str(write), "hash": taken.hash}
        _say(f"{write}: {taken.name}, hash {taken.hash}")
    if html is not None:
        _write("--html", html, page(told))


def _write(option: str, path: Path, text: str) -> None:
    from contracts.errors import Misconfigured

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as failure:
        raise Misconfigured(f"{option} {path}: {failure.strerror}") from failure


def _settings() -> Settings:
    from contracts.settings import Settings

    return Settings.from_env(os.environ)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(document: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), flush=True)


if __name__ == "__main__":
    app()
