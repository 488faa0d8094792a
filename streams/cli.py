"""``ward tail``, ``ward acknowledge`` and ``ward dlq``: the terminal's feed and the dead letters."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from contracts.topology import ALERTS, TOPICS

if TYPE_CHECKING:
    from contracts.settings import Settings

FAILURE, MISCONFIGURED, NOT_FOUND, BAD_INPUT, FINDINGS, INTERRUPTED = 1, 2, 3, 5, 6, 130

app = typer.Typer(add_completion=False, rich_markup_mode=None)
dlq = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Records that could not be read.

    ward dlq list · ward dlq show 12 · ward dlq redrive --reason wrong_partition --dry-run
    """,
)
app.add_typer(dlq, name="dlq")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command()
def tail(
    topic: Annotated[str, typer.Argument(help=f"{', '.join(known.name for known in TOPICS)}.")] = ALERTS.name,
    ward: Annotated[str | None, typer.Option(help="Only this ward.")] = None,
    patient: Annotated[str | None, typer.Option(help="Only this patient.")] = None,
    severity: Annotated[str | None, typer.Option(help="high, medium or low: this and above (alerts).")] = None,
    start: Annotated[str, typer.Option("--from", help="now or beginning.")] = "now",
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many records.", show_default="never")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Examples: ward tail · ward tail --severity high --ward W1 · ward tail vitals_forecasts --patient eicu-01

    Prints a topic's records as they come, until Ctrl-C. Marks: *** high, ** medium, * low, ! technical, ~ advisory.
    """
    from contracts.errors import Misconfigured
    from contracts.records import Priority
    from streams import tail as feed

    if start not in ("now", "beginning"):
        raise Misconfigured(f"--from {start}: now or beginning")
    if severity is not None and severity not in list(Priority):
        raise Misconfigured(f"--severity {severity}: high, medium or low")
    found = feed.topic_of(topic)
    wanted = feed.matcher(ward, patient, Priority(severity) if severity else None)
    try:
        _follow(_settings(), found, start == "beginning", wanted, limit, as_json, patient)
    except BrokenPipeError:
        # the reader of our output has gone; keep Python from complaining about it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _follow(
    settings: Settings, topic: Any, beginning: bool, wanted: Any, limit: int | None, as_json: bool, patient: str | None
) -> None:
    from contracts.codec import encode
    from contracts.errors import Poison
    from streams import tail as feed

    show = _printer(as_json)
    shown = 0
    for record in feed.follow(settings.kafka, topic.name, beginning):
        if record is None:
            sys.stdout.flush()
            continue
        what = feed.decoded(topic, record)
        if isinstance(what, Poison):
            place = f"{record.topic}/{record.partition}/{record.offset}"
            print(f"unreadable record {place}: {what}", file=sys.stderr)
            continue
        if not wanted(what):
            continue
        if as_json:
            show(encode(what).decode(), "")
        else:
            for text, style in feed.lines(what, patient):
                show(text, style)
        shown += 1
        if shown == limit:
            sys.stdout.flush()
            return


def _printer(as_json: bool) -> Any:
    if as_json or not sys.stdout.isatty():
        return lambda text, _style: print(text)
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    return lambda text, style: console.print(Text(text, style=style))


@app.command()
def acknowledge(
    alert_id: Annotated[str, typer.Argument(help="Id of the alarm, as `ward tail` prints it.")],
    actor: Annotated[str, typer.Option("--as", help="Who acknowledges.")],
    note: Annotated[str | None, typer.Option(help="A note to keep with it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Examples: ward acknowledge 3f9c2ab1d0e4a7b5 --as nurse.kim

    Acknowledges an alarm. It counts once the worker has it in the ward's log; `ward tail` shows it.
    """
    from streams import acknowledging

    settings = _settings()
    alarm = acknowledging.latest(settings.kafka, alert_id)
    if alarm is None:
        print(f"ward acknowledge: no alarm {alert_id}; `ward tail --from beginning` lists them", file=sys.stderr)
        raise typer.Exit(NOT_FOUND)
    if alarm.state == "inactive":
        print(f"ward acknowledge: {alarm.message} of {alarm.bed} is over already", file=sys.stderr)
        raise typer.Exit(FAILURE)
    action = acknowledging.acknowledgement(alarm, actor, note)
    acknowledging.send(settings.kafka, action)
    if as_json:
        _document({"action_id": action.action_id, "alert_id": alert_id, "ward": action.ward, "bed": action.bed})
    else:
        print(f"{alarm.message} of {alarm.bed}: acknowledged by {actor} ({action.action_id})")


@dlq.command("list")
def list_letters(
    reason: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    as_json: AsJson = False,
) -> None:
    """Examples: ward dlq list · ward dlq list --reason not_json --json

    The dead letters, oldest first: number, reason, where it stood, what was wrong.
    """
    from collections import Counter

    from streams import dlq as letters

    found = letters.parked(_settings().kafka, reason)
    counts = Counter(one.letter.reason for one in found)
    if as_json:
        _document({"count": len(found), "reasons": counts, "letters": [letters.as_row(one) for one in found]})
        return
    for one in found:
        source = one.letter.source
        part = " (part)" if one.letter.partial else ""
        print(
            f"{one.offset:>6}  {one.letter.reason:16} {source.topic}/{source.partition}/{source.offset}{part}  "
            f"{one.letter.field}  {one.letter.detail}"
        )
    summary = ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
    print(f"{len(found)} dead letters: {summary}", file=sys.stderr)


@dlq.command()
def show(number: Annotated[int, typer.Argument(help="Number in `ward dlq list`.")], as_json: AsJson = False) -> None:
    """Examples: ward dlq show 12

    One dead letter with its bytes.
    """
    from streams import dlq as letters

    one = next((one for one in letters.parked(_settings().kafka) if one.offset == number), None)
    if one is None:
        _none(f"no dead letter {number}")
    row = letters.as_row(one)
    if as_json:
        _document(row)
        return
    for name, value in row.items():
        print(f"{name:8} {value}")


@dlq.command()
def redrive(
    reason: Annotated[str | None, typer.Option(help="All of this reason.")] = None,
    number: Annotated[int | None, typer.Option("--offset", help="One, by its number in `ward dlq list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    fix: Annotated[
        list[str] | None, typer.Option(help="Set a field first: --fix version=1, --fix 'beds[0].bed=\"W1-01\"'.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examples: ward dlq redrive --all --dry-run · ward dlq redrive --offset 12 --fix version=1

    Sends dead letters to their topic again, with a header that says so. A part of a frame goes as a frame of its own.
    What would only come back is named and not sent (exit 6).
    """
    from contracts.errors import Misconfigured
    from streams import dlq as letters

    if sum((reason is not None, number is not None, everything)) != 1:
        raise Misconfigured("ward dlq redrive: one of --reason, --offset, --all says which")
    fixes = dict(_fix(one) for one in fix or ())
    bootstrap = _settings().kafka
    chosen = letters.parked(bootstrap, reason)
    if number is not None:
        chosen = [one for one in chosen if one.offset == number]
    if not chosen:
        _none("no such dead letter")
    plans = letters.plans(bootstrap, chosen, fixes)
    sent = 0 if dry_run else letters.send(bootstrap, plans)
    left = [plan for plan in plans if plan.value is None]
    if as_json:
        rows = [{"n": p.parked.offset, "reason": p.parked.letter.reason, "plan": p.why} for p in plans]
        _document(
            {"chosen": len(plans), "ready": len(plans) - len(left), "sent": sent, "dry_run": dry_run, "letters": rows}
        )
    else:
        for plan in plans:
            print(f"{plan.parked.offset:>6}  {plan.parked.letter.reason:16} {plan.why}")
        verb = "would be sent" if dry_run else "sent"
        print(f"{len(plans) - len(left)} {verb}, {len(left)} not redrivable", file=sys.stderr)
    raise typer.Exit(FINDINGS if left else 0)


def _fix(text: str) -> tuple[str, Any]:
    import json

    from contracts.errors import Misconfigured

    path, equals, value = text.partition("=")
    if not equals or not path:
        raise Misconfigured(f"--fix {text}: write FIELD=VALUE")
    try:
        return path, json.loads(value)
    except ValueError:
        return path, value


def _none(message: str) -> NoReturn:
    print(f"ward dlq: {message}; `ward dlq list` lists them", file=sys.stderr)
    raise typer.Exit(NOT_FOUND)


def _settings() -> Settings:
    from contracts.settings import Settings

    return Settings.from_env(os.environ)


def _document(document: Any) -> None:
    import msgspec

    print(msgspec.json.encode(document).decode())
