"""Everything the topology needs, fetched side by side, with progress on stderr, and never twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.fetch import influx, jars, wheels
from infra.site import only_one


@dataclass(frozen=True)
class Item:
    """One thing to have: how to tell that it is here, how to get it, how many ticks that takes."""

    what: str
    here: Callable[[Path], bool]
    get: Callable[[Path, jars.Tick], None]
    ticks: Callable[[], int]


def _jar_set(name: str, what: str) -> Item:
    return Item(
        what,
        here=lambda cache: jars.is_complete(cache, name),
        get=lambda cache, tick: jars.fetch(cache, name, tick),
        ticks=lambda: len(jars.locked(name)),
    )


ITEMS: Final[Mapping[str, Item]] = {
    "kafka": _jar_set("kafka", "Apache Kafka 4.3.1"),
    "hadoop": _jar_set("hadoop", "Apache Hadoop HDFS 3.5.0"),
    "influxdb": Item(f"InfluxDB {influx.VERSION} (compiled here)", influx.is_complete, influx.build, lambda: 2),
    "web": Item(
        "uPlot 1.6.31", lambda cache: not wheels.damaged_web(cache), wheels.fetch_web, lambda: len(wheels.WEB_FILES)
    ),
}


def missing(cache: Path, names: Iterable[str] = ITEMS) -> list[str]:
    """The items not in the cache yet; asks no network and reads no large file."""
    return [name for name in names if not ITEMS[name].here(cache)]


def fetch(cache: Path, names: Iterable[str] = ITEMS) -> dict[str, float]:
    """Get what is missing, side by side; seconds taken an item. A no-op, offline, when all is here.

    Raises Transient or Misconfigured for the first item that could not be had; the others are kept.
    """
    wanted = list(names)
    if not missing(cache, wanted):
        return {}
    jars.trust_the_machine()
    with only_one(cache / ".fetch.lock", "fetching the servers"):
        return _fetch_side_by_side(cache, missing(cache, wanted))


def _fetch_side_by_side(cache: Path, names: list[str]) -> dict[str, float]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[at]}"),
    )
    took: dict[str, float] = {}
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(len(names) or 1) as pool,
    ):

        def get(name: str) -> None:
            item, began = ITEMS[name], time.monotonic()
            bar = progress.add_task(item.what, total=item.ticks(), at="")
            item.get(cache, lambda at: progress.update(bar, advance=1, at=at))
            took[name] = round(time.monotonic() - began, 1)
            if not console.is_terminal:
                print(f"fetched {item.what} in {took[name]} s", file=sys.stderr)

        if not console.is_terminal and names:
            print(f"fetching {', '.join(ITEMS[name].what for name in names)} into {cache}", file=sys.stderr)
        running: list[Future[None]] = [pool.submit(get, name) for name in names]
        failures = [failure for future in running if (failure := future.exception())]
    if failures:
        raise failures[0]
    return took
