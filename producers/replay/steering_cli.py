"""``ward replay pause``, ``go-on``, ``seek``, ``stop``, ``decide``: a replay steered from another terminal."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from contracts.replays import Want
from producers.replay.exits import ending, say, show

if TYPE_CHECKING:
    from pathlib import Path

    from contracts.replays import ReplayProgress
    from contracts.settings import Settings
    from producers.replay.journal import Entry, Journal

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Policy = Annotated[
    str | None, typer.Option(help="Decide it by this policy file.", show_default="what is in force, with --decide")
]
Models = Annotated[
    list[str] | None,
    typer.Option(help="Decide it with NAME@VERSION of a model (@candidate, @champion, @none); again for more."),
]
Name = Annotated[str, typer.Argument(help="The replay, as `ward replay list` names it.")]
ANSWER_S: Final = 10.0
_LOOK_S: Final = 0.05


def attach(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("pause")(pause)
    app.command("go-on")(go_on)
    app.command("seek", context_settings={"ignore_unknown_options": True})(seek)  # -5m is a time and no option
    app.command("stop")(stop)
    app.command("decide")(decide)


def pause(name: Name, as_json: AsJson = False) -> None:
    """Examples: ward replay pause again

    Pauses a replay that runs, in whichever terminal; its lateness is not counted meanwhile.
    """
    raise typer.Exit(ending(lambda: _wish(name, Want.PAUSE, None, as_json)))


def go_on(name: Name, as_json: AsJson = False) -> None:
    """Examples: ward replay go-on again

    Lets a paused replay go on. One that was stopped or killed goes on by `ward replay --to NAME --resume`.
    """
    raise typer.Exit(ending(lambda: _wish(name, Want.GO_ON, None, as_json)))


def seek(
    name: Name,
    to: Annotated[
        str, typer.Argument(metavar="TIME", help="2026-01-02T07:30+01:00 in the log's time, or +10m from where it is.")
    ],
    as_json: AsJson = False,
) -> None:
    """Examples: ward replay seek again +10m · ward replay seek again 2026-01-02T07:30+01:00

    Leaves out what is before that moment. A replay never goes back: a moment behind is refused.
    """
    raise typer.Exit(ending(lambda: _wish(name, Want.SEEK, to, as_json)))


def stop(name: Name, as_json: AsJson = False) -> None:
    """Examples: ward replay stop again

    Ends a replay in order, with its report; `ward replay --to NAME --resume` goes on with it.
    """
    raise typer.Exit(ending(lambda: _wish(name, Want.STOP, None, as_json)))


def decide(name: Name, policy: Policy = None, model: Models = None, as_json: AsJson = False) -> None:
    """Examples: ward replay decide again · ward replay decide again --policy stricter.toml --json

    Decides a replay that is there already, and makes its topics of decisions anew. The report says what came of it.
    """
    from contracts.settings import Settings

    settings = Settings.from_env(os.environ)
    raise typer.Exit(ending(lambda: _decide(name, settings, (policy, model or ()), as_json)))


def _wish(name: str, what: Want, to: str | None, as_json: bool) -> int:
    from contracts.errors import Misconfigured
    from contracts.replays import progress, wish
    from contracts.settings import Settings
    from producers.replay.journal import Journal, State

    settings = Settings.from_env(os.environ)
    journal = Journal.of(settings)
    entry, place = journal.load(name), journal.place(name)
    now = progress(place)
    if entry.state is not State.RUNNING or now is None:
        raise Misconfigured(f"replay {name} does not run, it is {entry.state}: `ward replay --to {name} --resume`")
    to_ms = None if to is None else _moment_ms(to, now.at_ms)
    number = wish(place, what, settings.actor or "the terminal", to_ms)
    answer = _answer(place, number, name)
    if answer.refused is not None and answer.heeded == number:
        raise Misconfigured(answer.refused)
    if as_json:
        show({"replay": name, "what": what, "number": number, "at_ms": answer.at_ms, "paused": answer.paused})
    else:
        say(f"{name}: {what.replace('_', ' ')}, heeded")
    return 0


def _moment_ms(text: str, at_ms: int) -> int:
    from producers.replay.window import length_ms, moment_ms

    if text.startswith("+"):
        return at_ms + length_ms(text[1:], "TIME")
    return moment_ms(text, int(time.time() * 1000), "TIME")


def _answer(place: Path, number: int, name: str) -> ReplayProgress:
    """What the replay says once it has looked. Raises Transient when it does not."""
    from contracts.errors import Transient
    from contracts.replays import progress

    until_s = time.monotonic() + ANSWER_S
    while (now := progress(place)) is None or now.heeded < number:
        if time.monotonic() > until_s or (now is not None and now.state != "running"):
            raise Transient(f"replay {name} ended, or does not answer: see `ward replay list`")
        time.sleep(_LOOK_S)
    return now


def _decide(name: str, settings: Settings, wanted: tuple[str | None, Any], as_json: bool) -> int:
    from contracts.errors import Misconfigured
    from producers.replay.deciding import asked_for, frames_of, remade
    from producers.replay.journal import Journal, State

    journal = Journal.of(settings)
    entry = journal.load(name)
    frames = frames_of(entry.plan)
    deciding = asked_for(*wanted, settings)
    with journal.held(name):
        entry = journal.load(name)
        if entry.state not in (State.FINISHED, State.STOPPED):
            raise Misconfigured(f"replay {name} is {entry.state}: `ward replay --to {name} --resume` first")
        if entry.plan.bootstrap != settings.kafka:
            raise Misconfigured(f"replay {name} was made at {entry.plan.bootstrap}, WARD_KAFKA is {settings.kafka}")
        say(f"deciding {frames} anew")
        remade(entry, journal, deciding)
        return _decided(entry, journal, as_json)


def _decided(entry: Entry, journal: Journal, as_json: bool) -> int:
    from contracts.replays import PROGRESS, decisions, progress, put
    from producers.replay import report
    from producers.replay.deciding import Decider
    from producers.replay.desk import ended

    place = journal.place(entry.name)
    if progress(place) is None:
        put(place / PROGRESS, ended(entry))
    decider = Decider(entry, journal)
    try:
        decider.begin()
        decider.finish(say)
    finally:
        decider.leave()
        paths = report.write(entry, journal)
    found = report.document(entry, decisions(place))
    if as_json:
        show(found["decisions"])
    else:
        print(report.decided_words(found["decisions"]))
    say(f"report: {paths[1]}")
    return 0
