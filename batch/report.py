"""``ward lake report``: a patient's shift or a ward's day on one page of A4, out of the lake, as PDF and PNG."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Collection, Mapping
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

if TYPE_CHECKING:
    from batch.report_lake import Reader
    from contracts.settings import Settings
    from models.ward.policy import Policy

NOT_FOUND: Final = 3
NEAREST: Final = 8

report = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""One page of A4 out of the lake, as PDF and PNG.

    ward lake report shift sim-0a1b20003 --shift 2026-11-21T07:00+01:00 · ward lake report day W1 2026-11-21
    """,
)

To = Annotated[Path, typer.Option("--to", help="Write the files into this folder.")]
Formats = Annotated[str, typer.Option("--format", help="pdf, png, or both.")]
Zone = Annotated[
    str | None,
    typer.Option(
        help="The ward's clock, like Europe/Berlin.", show_default="the offset of the time that you type, or UTC"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures behind the page as one JSON document.")]
Purpose = Annotated[str | None, typer.Option(help="Why, for the record of accesses.")]


@report.command(context_settings={"ignore_unknown_options": True})  # -2h is a time and no option
def shift(
    patient: Annotated[str, typer.Argument(help="A patient's pseudonym.")],
    start: Annotated[str | None, typer.Option("--from", help="RFC 3339, a local time, or -2h.")] = None,
    end: Annotated[str | None, typer.Option("--until", help="Likewise, or now.")] = None,
    length: Annotated[str | None, typer.Option("--for", help="90s, 15m, 12h, 1d.", show_default="12h a shift")] = None,
    begins: Annotated[
        str | None, typer.Option("--shift", help="The beginning of a shift, by the clock on the wall.")
    ] = None,
    to: To = Path(),
    formats: Formats = "pdf,png",
    zone: Zone = None,
    policy: Annotated[list[Path] | None, typer.Option(help="Further alarm policies, for the limits of then.")] = None,
    purpose: Purpose = None,
    as_json: AsJson = False,
) -> None:
    """Examples: ward lake report shift sim-0a1b20003 --shift 2026-11-21T07:00+01:00
    · ward lake report shift sim-0a1b20003 --from -2h --until now --zone Europe/Berlin --to pages

    Trends with their limits and forecasts, NEWS2, alarms and what became of them. A gap is shown as a gap. Exit 3:
    nobody of that name was there, with who was; exit 5: a time that cannot be.
    """
    from batch import report_draw, report_look, report_shift
    from batch.report_rows import who_is_there
    from batch.report_time import shown, span, utc_dates, zone_for

    now_ms = time.time_ns() // 1_000_000
    clock = zone_for(zone, start, begins)
    from_ms, to_ms = span(start, end, length, begins, clock, now_ms)
    wanted, known = _formats(formats), _policies(policy or ())
    reader = _reader("shift", f"patient {patient}, {shown(from_ms, clock)} to {shown(to_ms, clock)}", purpose)
    there = who_is_there(reader, utc_dates(from_ms, to_ms))
    if patient not in there:
        beds = {bed: name for name, places in there.items() for _, bed in places}
        meant = f"{patient} is the bed of {beds[patient]}; " if patient in beds else ""
        _absent(
            f"{meant}no patient {patient} between {shown(from_ms, clock)} and {shown(to_ms, clock)}", patient, there
        )
    wards = sorted({ward for ward, _ in there[patient]})
    page = report_shift.shift_page(reader, patient, wards, from_ms, to_ms, clock, known, now_ms)
    name = f"shift-{patient}-{shown(from_ms, clock, '%Y%m%dT%H%M')}"
    with report_look.pages():
        figure = report_draw.draw(page, clock)
        files = _saved(report_look.rendered(figure, f"Patient-shift {patient}", now_ms, wanted), to, name)
    _told(page, report_shift.lines(page), files, as_json)


@report.command()
def day(
    ward: Annotated[str, typer.Argument(help="A ward.")],
    date: Annotated[str, typer.Argument(metavar="DATE", help="A local day: 2026-11-21, today or yesterday.")],
    to: To = Path(),
    formats: Formats = "pdf,png",
    zone: Zone = None,
    purpose: Purpose = None,
    as_json: AsJson = False,
) -> None:
    """Examples: ward lake report day W1 2026-11-21 --zone Europe/Berlin · ward lake report day W1 yesterday --json

    Alarms and NEWS2 by bed and hour, alarms a bed-day, who answered when, floods, how whole the data was, and what
    became of the models' advisories. Exit 3: no such ward, with those there are; exit 5: a day that cannot be.
    """
    from batch import report_day, report_draw_day, report_look
    from batch.report_time import day_span, zone_for
    from contracts.lake import SCORES_TABLE

    now_ms = time.time_ns() // 1_000_000
    clock: tzinfo = zone_for(zone)
    asked, from_ms, to_ms = day_span(date, clock, now_ms)
    wanted = _formats(formats)
    reader = _reader("day", f"ward {ward}, {asked}", purpose)
    wards = reader.wards(SCORES_TABLE, reader.dates(SCORES_TABLE))
    if ward not in wards:
        _absent(f"no ward {ward} in the lake", ward, wards)
    page = report_day.day_page(reader, ward, asked, from_ms, to_ms, clock, now_ms)
    with report_look.pages():
        figure = report_draw_day.draw(page, clock)
        files = _saved(
            report_look.rendered(figure, f"Ward-day {ward} {asked}", now_ms, wanted), to, f"day-{ward}-{asked}"
        )
    _told(page, report_day.lines(page), files, as_json)


def _reader(what: str, target: str, purpose: str | None) -> Reader:
    """The lake to read from, once it is told that it is read."""
    from batch.access import told
    from batch.cli import settings
    from batch.report_lake import Reader
    from batch.storage import Storage

    found = settings()
    storage = Storage.of(found)
    told(found, "report", target, query=f"ward lake report {what}", purpose=purpose)
    return Reader(storage)


def _policies(files: Collection[Path]) -> Mapping[str, Policy]:
    """The policies at hand by hash, that of the settings first."""
    from batch.cli import settings
    from models.ward.policy import load_policy

    found: Settings = settings()
    every = [load_policy(found.policy), load_policy(None), *(load_policy(file) for file in files)]
    return {policy.hash: policy for policy in every}


def _formats(text: str) -> list[str]:
    from batch.report_look import FORMATS
    from contracts.errors import Misconfigured

    asked = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if not asked or not set(asked) <= set(FORMATS):
        raise Misconfigured(f"--format {text}: pdf, png, or pdf,png")
    return asked


def _absent(words: str, name: str, there: Collection[str]) -> NoReturn:
    """Tell who is there instead, the most alike first, and leave."""
    from batch.cli import say

    near = difflib.get_close_matches(name, there, n=NEAREST, cutoff=0.5) or sorted(there)[:NEAREST]
    more = f" and {len(there) - len(near)} more" if len(there) > len(near) else ""
    say(f"ward lake report: {words}; there " + (f"are {', '.join(near)}{more}" if near else "is nobody at all"))
    raise typer.Exit(NOT_FOUND)


def _saved(rendered: Mapping[str, bytes], folder: Path, name: str) -> list[Path]:
    """Each page under its name, whole or not at all. Raises Misconfigured where that is no folder to write into."""
    from contracts.errors import Misconfigured
    from contracts.lake import partition_value

    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for form, content in rendered.items():
            path = folder / f"{partition_value(name).replace(' ', '_')}.{form}"
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            draft.write_bytes(content)
            draft.replace(path)
            files.append(path)
    except OSError as failure:
        raise Misconfigured(f"--to {folder}: {failure.strerror}") from failure
    return files


def _told(page: Any, lines: list[str], files: list[Path], as_json: bool) -> None:
    from batch.cli import document, say

    if as_json:
        document({"files": [str(path) for path in files], "page": page})
        return
    for line in lines:
        say(line)
    for path in files:
        print(path)
