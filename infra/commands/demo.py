"""demo."""

from __future__ import annotations

import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Final

import msgspec
import typer

from contracts.errors import Misconfigured
from contracts.settings import Settings
from infra import demo as measured
from infra.archive import reckoned
from infra.commands.output import AsJson, print_json, say, the_stack
from infra.commands.running import Without, apart
from infra.processes import BY_NAME
from infra.site import made_by_demo, write_atomically
from infra.stack import Stack
from infra.topics import Offsets

FAILURE, INTERRUPTED = 1, 130
DRAIN_S: Final = 15.0
OF_THE_LOG: Final = ("kafka", "namenode", "datanode", "hive")
"""Data folders that tell of one log: the log itself, and the lake with offsets of it."""
SECONDS: Final = {"s": 1, "m": 60, "h": 3600}

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def seconds(text: str) -> float:
    """A duration such as 90s, 2m or 1h, in seconds. Raises Misconfigured for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise Misconfigured(f"--for {text!r} is no duration; write it as 90s, 2m or 1h")
    return float(found[1]) * SECONDS[found[2] or "s"]


@app.command(epilog="Examples: ward demo · ward demo --for 120s --json · ward demo --beds 200 --without lake,hive")
def demo(
    for_: Annotated[str | None, typer.Option("--for", help="Stop by itself after 90s, 2m ... of play.")] = None,
    beds: Annotated[int, typer.Option("--beds", help="Beds of the simulated hospital.", min=1, max=10_000)] = 24,
    without: Without = None,
    as_json: AsJson = False,
) -> None:
    """A whole ward on real servers: real recordings and scripted patients play, alarms rise, images are classified.

    Without --for it plays until Ctrl-C. Nobody acknowledges anything unless you do. Each demo begins with an empty
    log and an empty lake; a log that `ward up` has begun is kept, and played on top of. Images and the lake start
    behind the live wall; --without images, --without lake,hive play without them.
    """
    began = time.monotonic()
    duration = seconds(for_) if for_ else None
    stack = the_stack()
    _begin_afresh(stack)
    with _told_to_stop() as told:
        try:
            summary = _play(stack, began, duration, beds, told, apart(without))
        finally:
            say("stopping")
            stack.down()
    if as_json:
        print_json(summary)
    elif duration is not None:
        _print(summary)
    if told.is_set() and duration is not None:
        raise typer.Exit(INTERRUPTED)
    torn = summary.lake is not None and not summary.lake.reconciled
    if torn or any(state not in ("healthy", "done") for state in summary.processes.values()):
        raise typer.Exit(FAILURE)


def _begin_afresh(stack: Stack) -> None:
    """Discard the last demo's log, so that its patients do not alarm in this one, and its lake, which holds that log.

    Never those of a real ward.
    """
    log, mine = stack.state / "data" / "kafka", made_by_demo(stack.state)
    if stack.supervised() or stack.strays():
        return
    if mine.exists():
        for name in OF_THE_LOG:
            shutil.rmtree(stack.state / "data" / name, ignore_errors=True)
    elif log.exists():
        say(f"{log} was begun by `ward up`: the demo plays on top of it")
        return
    write_atomically(mine, "The log beside this file was made by `ward demo`; the next demo may discard it.\n")


def _play(
    stack: Stack, began: float, duration: float | None, beds: int, told: threading.Event, without: Sequence[str]
) -> measured.Summary:
    extra = {"WARD_FEED_DEMO": "1", "WARD_BEDS": str(beds)}
    since: Offsets = {}
    watchers: list[measured.Watcher] = []

    def begin(name: str) -> None:
        if name == "topics":
            since.update(measured.ends(stack.environment()["WARD_KAFKA"]))
            watchers.append(measured.Watcher(stack.site().url("feed"), began))
            watchers[0].start()
        elif name == "feed":
            say(f"\nthe ward is live at {stack.site().url('feed')}\n")
        elif name == "scanner":
            say(f"images come in: {stack.site().url('feed')}/images")

    try:
        stack.up(profile="demo", extra_env=extra, on_well=begin, without=without)
        kafka, watcher = stack.environment()["WARD_KAFKA"], watchers[0]
        ready_s, played = time.monotonic() - began, time.monotonic()
        say(f"all of it is up after {ready_s:.0f} s: {stack.site().url('feed')}")
        say("Ctrl-C stops it" if duration is None else f"it plays for {duration:.0f} s")
        told.wait(duration)
        played_s = time.monotonic() - played
        here = {name for name, process in BY_NAME.items() if process.absent() is None} - stack.site().left_out
        rows = [row for row in stack.status() if row.name in here]
        images = stack.pid("gateway") is not None
        stack.down(["recordings", "simulator", "scanner"])
        until = measured.ends_once_taken(kafka, Settings(), images, DRAIN_S)
        lake = reckoned(stack.environment()) if stack.pid("lake") else None
    finally:
        for one in watchers:
            one.stop()
    counts = measured.count(kafka, since, until)
    return measured.Summary(
        readings=counts.readings,
        frames=counts.frames,
        scores=counts.scores,
        forecasts=counts.forecasts,
        first_forecast_s=counts.first_forecast_s,
        outlooks=counts.outlooks,
        models=counts.models,
        alerts=len(counts.alert_ids),
        advisories=len(counts.advisory_ids),
        alert_transitions=counts.transitions,
        dead_letters=counts.dead_letters,
        alert_latency_ms=measured.latency(watcher, counts.appended_ms),
        alerts_on_the_feed=len({alert_id for alert_id, _ in watcher.seen_ms}),
        first_tile_s=watcher.first_tile_s,
        first_alarm_s=watcher.first_alarm_s,
        ready_s=round(ready_s, 2),
        played_s=round(played_s, 1),
        images=counts.images if images else None,
        lake=lake,
        processes={row.name: row.state for row in rows},
        restarts={row.name: row.restarts for row in rows if row.restarts},
        memory_mb=round(sum(row.rss_mb or 0.0 for row in rows), 0),
        feed=stack.site().url("feed"),
    )


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second Ctrl-C ends at once."""
    told = threading.Event()

    def tell(_number: int, _frame: FrameType | None) -> None:
        if told.is_set():
            raise KeyboardInterrupt
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(summary: measured.Summary) -> None:
    for name in summary.__struct_fields__:
        print(f"{name:20} {_in_words(getattr(summary, name))}")


def _in_words(value: object) -> object:
    """A part of the summary on one line."""
    if isinstance(value, msgspec.Struct):
        value = {field: getattr(value, field) for field in value.__struct_fields__ if getattr(value, field) is not None}
    return ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, dict) else value
