"""``ward plot``: one patient's vitals straight from the topic, as a picture, in a window or in the terminal."""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

if TYPE_CHECKING:
    from batch.plot_draw import Chart
    from batch.plot_topic import Log, Watch
    from contracts.records import Vital
    from models.ward.policy import Policy

NOT_FOUND: Final = 3
EVERY_S: Final = 2.0
NEAREST: Final = 8
LOOK_BACK_MS: Final = 4 * 3_600_000
"""Readings from before what is drawn are let go; who types a longer time is shown as much."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def plot(
    patient: Annotated[str, typer.Argument(help="A patient's pseudonym, or a bed.")],
    last: Annotated[str, typer.Option(help="How much to draw: 90s, 15m, 2h.")] = "1h",
    vitals: Annotated[
        str | None, typer.Option(help="Only these: hr, rr, spo2, bp, sbp, map, dbp, temp.", show_default="all")
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Write this file, .png or .pdf.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on drawing, every two seconds, until Ctrl-C.")] = False,
    zone: Annotated[
        str | None, typer.Option(help="Whose clock, like Europe/Berlin.", show_default="this machine's")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the points; with --follow a document a line.")] = False,
) -> None:
    """Examples: ward plot W1-03 · ward plot sim-0a1b20003 --last 15m --follow · ward plot W1-03 --vitals bp --to a.png

    Draws a patient's vitals as they stand in patient_vitals, with their limits and the newest forecast. Without --to:
    a window where there is a display, else letters in the terminal. Exit 3: nobody of that name is there, with who is.
    """
    from batch.access import told
    from batch.plot_draw import NAMES
    from batch.plot_topic import Log, find, read
    from batch.report_time import length_ms, zone_named
    from contracts.settings import Settings
    from models.ward.policy import load_policy

    settings = Settings.from_env(os.environ)
    last_ms, chosen, path = length_ms(last, "--last"), _vitals(vitals, NAMES), _checked(to)
    local = datetime.now().astimezone().tzinfo
    clock = zone_named(zone) if zone else local
    policy = load_policy(settings.policy)
    told(settings, "plot", f"patient {patient}", query=f"--last {last}")
    with Log(settings.kafka) as log:
        place, there = find(log, patient, _now_ms(), last_ms)
        if place is None:
            _absent(patient, {name for one in there.values() for name in (one.patient, one.bed)}, len(there))
        watch = read(log, place, _now_ms(), last_ms)
        with ExitStack() as shown:
            show = _shown_in(path, clock or UTC, as_json, follow, shown)
            _draw(log, watch, chosen, last_ms, policy, clock or UTC, show, follow)


def _draw(
    log: Log,
    watch: Watch,
    vitals: Sequence[Vital],
    last_ms: int,
    policy: Policy,
    zone: tzinfo,
    show: Callable[[Chart], None],
    on: bool,
) -> None:
    """Once, or again whenever something came, at most every two seconds, until interrupted."""
    from batch.plot_draw import chart
    from batch.plot_topic import follow

    show(chart(watch, vitals, last_ms, policy, _now_ms(), zone))
    if not on:
        return
    due = time.monotonic() + EVERY_S
    for spoke in follow(log, watch):
        if time.monotonic() >= due and (spoke or watch.latest_ms is not None):
            due = time.monotonic() + EVERY_S
            if watch.latest_ms is not None:
                watch.forget(watch.latest_ms - max(last_ms, LOOK_BACK_MS))
            show(chart(watch, vitals, last_ms, policy, _now_ms(), zone))


def _shown_in(path: Path | None, zone: tzinfo, as_json: bool, on: bool, shown: ExitStack) -> Callable[[Chart], None]:
    """Where charts go: JSON, the file, a window, or the terminal."""
    if as_json:
        return _printed
    if path is not None:
        return lambda one: _written(one, path, zone)
    window = _window(zone, on)
    return window or _terminal(zone, on, shown)


def _printed(one: Chart) -> None:
    import msgspec

    print(msgspec.json.encode(one).decode(), flush=True)


def _written(one: Chart, path: Path, zone: tzinfo) -> None:
    """The picture under its name, whole or not at all."""
    from batch import report_look
    from batch.plot_draw import drawn
    from contracts.errors import Misconfigured

    draft = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with report_look.pages():
            drawn(one, zone).savefig(draft, format=path.suffix[1:])
        draft.replace(path)
    except OSError as failure:
        raise Misconfigured(f"--to {path}: {failure.strerror}") from failure
    finally:
        draft.unlink(missing_ok=True)
    print(path, flush=True)


def _window(zone: tzinfo, on: bool) -> Callable[[Chart], None] | None:
    """A window, where matplotlib is there and finds a display; else None."""
    try:
        import matplotlib.pyplot as plt
        from matplotlib.backends import BackendFilter, backend_registry
    except ModuleNotFoundError:
        return None
    if plt.get_backend().lower() not in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
        return None
    from batch import report_look
    from batch.plot_draw import drawn

    figure = plt.figure(figsize=(9.0, 7.5))

    def show(one: Chart) -> None:
        with report_look.pages():
            drawn(one, zone, figure)
            if not on:
                plt.show()
                return
            figure.canvas.draw_idle()
            plt.pause(0.05)

    return show


def _terminal(zone: tzinfo, on: bool, shown: ExitStack) -> Callable[[Chart], None]:
    from rich.console import Console

    from batch.plot_draw import letters

    console = Console(highlight=False)
    if not (on and console.is_terminal):
        return lambda one: console.print(letters(one, zone, console.width))
    from rich.live import Live

    live = shown.enter_context(Live(console=console, auto_refresh=False))
    return lambda one: live.update(letters(one, zone, console.width), refresh=True)


def _vitals(text: str | None, names: Any) -> list[Vital]:
    from batch.trends import SHOWN
    from contracts.errors import Misconfigured

    if text is None:
        return list(SHOWN)
    asked = [part.strip().lower() for part in text.split(",") if part.strip()]
    if unknown := [part for part in asked if part not in names]:
        raise Misconfigured(f"--vitals {unknown[0]}: there are {', '.join(names)}")
    wanted = {vital for part in asked for vital in names[part]}
    if not wanted:
        raise Misconfigured(f"--vitals {text!r} names none: there are {', '.join(names)}")
    return [vital for vital in SHOWN if vital in wanted]


def _checked(to: Path | None) -> Path | None:
    from contracts.errors import Misconfigured

    if to is None:
        return None
    if to.suffix.lower() not in (".png", ".pdf"):
        raise Misconfigured(f"--to {to}: the name ends in .png or .pdf")
    if not to.parent.is_dir():
        raise Misconfigured(f"--to {to}: there is no folder {to.parent}")
    return to.with_suffix(to.suffix.lower())


def _absent(who: str, there: Collection[str], patients: int) -> NoReturn:
    near = difflib.get_close_matches(who, there, n=NEAREST, cutoff=0.5) or sorted(there)[:NEAREST]
    told = f"; {patients} were heard, like {', '.join(near)}" if near else "; nobody was heard at all"
    print(f"ward plot: nobody called {who} is there{told}", file=sys.stderr)
    raise typer.Exit(NOT_FOUND)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    app()
