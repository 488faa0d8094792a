"""``ward replay``: plan, run, resume, list, clean."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from producers.replay import show_cli, steering_cli
from producers.replay.exits import INTERRUPTED, ending, say, show
from producers.replay.steering_cli import AsJson, Models, Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.settings import Settings
    from producers.replay.deciding import Decider
    from producers.replay.journal import Entry, Journal
    from producers.replay.pacing import Control
    from producers.replay.plan import Plan, Wish
    from producers.replay.terminal import Teller


class _TopicsFirst(TyperGroup):
    """``ward replay TOPIC ...`` is ``ward replay start TOPIC ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in ``start`` where it was left out."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_TopicsFirst, add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def replay() -> None:
    """Examples: ward replay patient_vitals --from -2h --speed 60 --to again --decide · ward replay pause again

    Replays a span of any topics into fresh ones. `ward replay start --help` has every option; `start` may be left out.
    """


@app.command()
def start(
    topics: Annotated[list[str] | None, typer.Argument(help="What to replay; several are merged by time.")] = None,
    to: Annotated[
        str | None,
        typer.Option(help="The fresh topic; with several topics TO_TOPIC each.", show_default="replay_<time>"),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="2026-01-02T07:00+01:00, '2026-01-02T07:00 Europe/Paris' or -2h.", show_default="beginning"
        ),
    ] = None,
    length: Annotated[str | None, typer.Option("--for", help="How long: 90s, 2h, 1h30m.", show_default=False)] = None,
    to_time: Annotated[str | None, typer.Option(help="Until when; as --from.", show_default="the end as it is")] = None,
    speed: Annotated[
        float | None, typer.Option(help="Seconds of the log a second; 60: an hour a minute.", show_default="1")
    ] = None,
    unpaced: Annotated[bool, typer.Option("--unpaced", help="As fast as possible.")] = False,
    key: Annotated[
        list[str] | None, typer.Option(help="Only records of this key, such as a ward; may be given again.")
    ] = None,
    shift_to_now: Annotated[
        bool,
        typer.Option(
            "--shift-to-now/--keep-times", help="Move all times by whole minutes so that the span begins now."
        ),
    ] = False,
    from_lake: Annotated[
        bool, typer.Option("--from-lake", help="From the lake, so that the broker's retention is no limit.")
    ] = False,
    decide: Annotated[bool, typer.Option("--decide", help="Decide it as it comes, into topics of its own.")] = False,
    policy: Policy = None,
    model: Models = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with --to where it stopped or was killed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward replay patient_vitals --from -2h --for 30m --speed 60 --to again · ward replay --to again --resume
    · ward replay patient_vitals --from -8h --unpaced --to night --policy stricter.toml

    Replays a span of topics into fresh ones: bytes, keys, headers, partitions and order as they are. Never into a live
    topic. While it runs: space pauses, f skips a minute, F ten minutes, q or Ctrl-C stops; --resume goes on. With
    --decide, --policy or --model it is decided as it comes; the report says whether to the byte as it was live.
    """
    from contracts.errors import Misconfigured
    from contracts.settings import Settings

    settings = Settings.from_env(os.environ)
    others = (topics, from_, length, to_time, speed, key, policy, model)
    if resume:
        if to is None or any(others) or unpaced or shift_to_now or dry_run or from_lake or decide:
            raise Misconfigured("--resume goes by the replay's own plan: give it with --to NAME, and nothing else")
        raise typer.Exit(ending(lambda: _go_on(to, settings, as_json)))
    if not topics:
        raise Misconfigured("name a topic to replay, such as: ward replay patient_vitals --from -2h --to again")
    if speed is not None and unpaced:
        raise Misconfigured("--speed and --unpaced contradict each other: leave one out")
    if speed is not None and not 0 < speed < float("inf"):
        raise Misconfigured(f"--speed {speed:g}: it is above 0; 60 plays an hour a minute")
    wish = _wish(topics, to, (from_, length, to_time), None if unpaced else speed or 1.0, key, shift_to_now, from_lake)
    if dry_run:
        raise typer.Exit(ending(lambda: _planned(wish, settings, as_json)))
    wanted = (policy, model or ()) if decide or policy or model else None
    raise typer.Exit(ending(lambda: _begin(wish, settings, wanted, as_json)))


def _wish(
    topics: list[str],
    to: str | None,
    span: tuple[str | None, str | None, str | None],
    speed: float | None,
    keys: list[str] | None,
    shift_to_now: bool,
    from_lake: bool,
) -> Wish:
    from producers.replay.plan import Wish
    from producers.replay.window import window

    now_ms = int(time.time() * 1000)
    return Wish(
        sources=tuple(topics),
        to=to or time.strftime("replay_%Y%m%dT%H%M%SZ", time.gmtime()),
        window=window(*span, now_ms),
        speed=speed,
        keys=tuple(keys or ()),
        shift_to_now=shift_to_now,
        from_lake=from_lake,
    )


@app.command("list")
def list_replays(as_json: AsJson = False) -> None:
    """Examples: ward replay list · ward replay list --json

    The replays made from this state folder: the newest first, how far each came and where its report is.
    """
    from contracts.replays import decisions
    from contracts.settings import Settings
    from producers.replay import report
    from producers.replay.journal import REPORT_HTML, Journal

    journal = Journal.of(Settings.from_env(os.environ))
    entries = journal.all()
    if as_json:
        show([report.document(entry, decisions(journal.place(entry.name))) for entry in entries])
        return
    if not entries:
        say("no replay yet; `ward replay --help` shows how to make one")
    for entry in entries:
        where = journal.place(entry.name) / REPORT_HTML
        sent = sum(run.records for run in entry.runs)
        print(
            f"{entry.name:28} {entry.state:9} {sent:>10,} of {entry.plan.records:,} records  "
            f"{', '.join(entry.plan.wish.sources)}  {where if where.exists() else ''}".rstrip()
        )


@app.command()
def clean(
    names: Annotated[list[str] | None, typer.Argument(help="Replays to remove.", show_default="finished ones")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward replay clean · ward replay clean again --yes

    Removes replays: their topics from the broker, their reports from the state folder. Without names, all that are
    finished. A topic that the replay did not make itself is never removed, nor is a replay that runs.
    """
    from contracts.errors import Misconfigured
    from contracts.settings import Settings
    from producers.replay import topics
    from producers.replay.journal import Journal, State
    from producers.replay.run import made

    journal = Journal.of(Settings.from_env(os.environ))

    def work() -> int:
        chosen = [journal.load(name) for name in names or ()] or (
            [] if names else [entry for entry in journal.all() if entry.state is State.FINISHED]
        )
        if running := [entry.name for entry in chosen if entry.state in (State.RUNNING, State.MAKING)]:
            raise Misconfigured(f"replay {', '.join(running)} is running: stop it first")
        if chosen and not yes:
            if not sys.stdin.isatty():
                raise Misconfigured(f"this would remove {', '.join(e.name for e in chosen)}: say --yes")
            typer.confirm(f"remove {', '.join(entry.name for entry in chosen)} and their topics?", abort=True, err=True)
        gone = []
        for entry in chosen:
            with journal.held(entry.name):
                gone += topics.remove(entry.plan.bootstrap, made(entry))
                journal.forget(entry.name)
        if as_json:
            show({"replays": [entry.name for entry in chosen], "topics": gone})
        else:
            say(f"removed {len(chosen)} replays and {len(gone)} topics")
        return 0

    raise typer.Exit(ending(work))


def _plan(wish: Wish, settings: Settings, journal: Journal) -> Plan:
    from producers.replay import plan
    from producers.replay.run import origin_of

    origin = origin_of(wish, settings.kafka)
    return plan.make(wish, settings.kafka, int(time.time() * 1000), journal.rate(), origin)


def _planned(wish: Wish, settings: Settings, as_json: bool) -> int:
    from producers.replay import report
    from producers.replay.journal import Journal

    made = _plan(wish, settings, Journal.of(settings))
    if as_json:
        show(report.told(made))
    else:
        print(_in_words(made))
    return 0


def _in_words(plan: Plan) -> str:
    from producers.replay import report

    told = report.told(plan)
    pace = "as fast as possible" if told["speed"] is None else f"at {told['speed']:g} x"
    took = "time unknown" if told["estimated_s"] is None else f"about {told['estimated_s']:,.1f} s"
    times = "kept" if plan.shift_ms is None else f"moved by {plan.shift_ms:,} ms, inside records too"
    lines = [f"{told['replay']}: {told['records']:,} records, {told['from']} to {told['to']}, {pace}, {took}"]
    lines += [
        f"  {one['source']} -> {one['target']}: {one['partitions']} partitions, {one['records']:,} records"
        for one in told["topics"]
    ]
    lines += [f"  times: {times}"] + ([f"  keys: {', '.join(told['keys'])}"] if told["keys"] else [])
    return "\n".join(lines + [f"  note: {note}" for note in told["notes"]])


def _begin(wish: Wish, settings: Settings, wanted: tuple[str | None, Sequence[str]] | None, as_json: bool) -> int:
    from producers.replay.deciding import asked_for, frames_of
    from producers.replay.journal import Journal
    from producers.replay.run import begin

    journal = Journal.of(settings)
    deciding = None if wanted is None else asked_for(*wanted, settings)
    plan = _plan(wish, settings, journal)
    say(_in_words(plan))
    if deciding is not None:
        say(f"  decided as it comes: {frames_of(plan)}")
    with journal.held(wish.to):
        return _run(begin(plan, journal, deciding), journal, as_json)


def _go_on(name: str, settings: Settings, as_json: bool) -> int:
    from contracts.errors import Misconfigured
    from producers.replay.journal import Journal, State
    from producers.replay.run import complete

    journal = Journal.of(settings)
    journal.load(name)
    with journal.held(name):
        entry = journal.load(name)
        if entry.state is State.FINISHED:
            raise Misconfigured(f"replay {name} is finished: nothing is left to send")
        if entry.plan.bootstrap != settings.kafka:
            raise Misconfigured(f"replay {name} was made at {entry.plan.bootstrap}, WARD_KAFKA is {settings.kafka}")
        complete(entry, journal)
        return _run(entry, journal, as_json)


def _run(entry: Entry, journal: Journal, as_json: bool) -> int:
    import signal

    from contracts.replays import decisions
    from producers.replay import report, terminal
    from producers.replay.deciding import Decider
    from producers.replay.journal import State
    from producers.replay.pacing import Control

    control, teller = Control(), terminal.Teller(entry.plan.wish.speed, entry.plan.last_ms)
    decider = Decider(entry, journal)
    try:
        with terminal.stopping_on_signals(control) as came, terminal.heeding_keys(control, sys.stdin) as keys:
            say(f"replaying; {terminal.KEYS if keys else 'Ctrl-C stops it, --resume goes on'}")
            _send(entry, journal, control, teller, decider)
        decider.finish(say)
    finally:
        decider.leave()
        paths = report.write(entry, journal)
    found = report.document(entry, decisions(journal.place(entry.name)))
    if as_json:
        show(found)
    else:
        print(report.outcome(entry, found))
    say(f"report: {paths[1]}")
    if entry.state is not State.FINISHED:
        say(f"  go on with: ward replay --to {entry.name} --resume")
    return INTERRUPTED if signal.SIGINT in came else 0


def _send(entry: Entry, journal: Journal, control: Control, teller: Teller, decider: Decider) -> None:
    """The replay itself, told and steered from its folder while it runs."""
    from contracts.errors import WardError
    from producers.replay.desk import Desk
    from producers.replay.run import Replay

    replay = Replay(entry, journal, control, teller)
    try:
        with Desk(entry, journal.place(entry.name), control, replay.progress, say):
            decider.begin()
            replay.go()
    except WardError:
        say(f"  go on with: ward replay --to {entry.name} --resume")
        raise
    finally:
        teller.end()


steering_cli.attach(app)
show_cli.attach(app)
