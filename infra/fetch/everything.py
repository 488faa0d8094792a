"""Everything the topology needs, fetched side by side, with progress on stderr, and never twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.fetch import extras, influx, jars, wheels
from infra.site import only_one


@dataclass(frozen=True)
class Item:
    """One thing to have: how to tell that it is here, how to get it, how many ticks that takes.

    It is fetched beside all others, or once those in ``after`` have come or failed: the wall wants the line first.
    """

    what: str
    here: Callable[[Path], bool]
    get: Callable[[Path, jars.Tick], None]
    ticks: Callable[[], int]
    after: tuple[str, ...] = ()


def _jar_set(name: str, what: str, after: tuple[str, ...] = ()) -> Item:
    return Item(
        what,
        here=lambda cache: jars.is_complete(cache, name),
        get=lambda cache, tick: jars.fetch(cache, name, tick),
        ticks=lambda: len(jars.locked(name)),
        after=after,
    )


def _extra(extra: str, what: str, after: tuple[str, ...]) -> Item:
    return Item(
        what,
        here=lambda _cache: extras.is_here(extra),
        get=lambda cache, tick: extras.install(cache, tick, extra),
        ticks=lambda: 1,
        after=after,
    )


OF_THE_WALL: Final = ("kafka", "web")


ITEMS: Final[Mapping[str, Item]] = {
    "kafka": _jar_set("kafka", "Apache Kafka 4.3.1"),
    "hadoop": _jar_set("hadoop", "Apache Hadoop HDFS 3.5.0"),
    "influxdb": Item(f"InfluxDB {influx.VERSION} (compiled here)", influx.is_complete, influx.build, lambda: 2),
    "images": _extra(extras.IMAGES, "DICOM for Python", OF_THE_WALL),
    "spark": _jar_set("spark", "Spark's Kafka connector", OF_THE_WALL),
    # one environment takes one extra at a time: the small one first, else images would wait for all of Spark
    "spark-python": _extra(extras.LAKE, "Spark for Python", (*OF_THE_WALL, "images")),
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
    with arriving(cache, names) as futures:
        failures = [failure for future in futures.values() if (failure := future.exception())]
        if failures:
            raise failures[0]
        return {name: future.result() for name, future in futures.items()}


@contextmanager
def arriving(cache: Path, names: Iterable[str] = ITEMS) -> Iterator[dict[str, Future[float]]]:
    """Get what is missing in the background: item -> its seconds, once it is there. Leaving waits for all of them."""
    wanted = list(names)
    if not missing(cache, wanted):
        yield {}
        return
    jars.trust_the_machine()
    with only_one(cache / ".fetch.lock", "fetching the servers"):
        absent = missing(cache, wanted)
        with _progress() as show, ThreadPoolExecutor(len(absent) or 1, thread_name_prefix="fetch") as pool:
            futures: dict[str, Future[float]] = {}
            for name in sorted(absent, key=lambda name: len(ITEMS[name].after)):
                before = [futures[other] for other in ITEMS[name].after if other in futures]
                futures[name] = pool.submit(_get, ITEMS[name], cache, show, before)
            yield futures


Show = Callable[[Item], tuple[jars.Tick, Callable[[float], None]]]
"""Announces an item; gives what to call for each of its files and when it is there."""


def _get(item: Item, cache: Path, show: Show, before: Iterable[Future[float]]) -> float:
    wait(before)
    began = time.monotonic()
    tick, done = show(item)
    item.get(cache, tick)
    took = round(time.monotonic() - began, 1)
    done(took)
    return took


@contextmanager
def _progress() -> Iterator[Show]:
    """Bars on a terminal, plain lines anywhere else."""
    if not sys.stderr.isatty():
        yield _plainly
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    what, at = TextColumn("{task.description:32}"), TextColumn("{task.fields[at]}")
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), at)
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def show(item: Item) -> tuple[jars.Tick, Callable[[float], None]]:
            bar = progress.add_task(item.what, total=item.ticks(), at="")
            return lambda name: progress.update(bar, advance=1, at=name), lambda _: progress.update(bar, at="")

        yield show


def _plainly(item: Item) -> tuple[jars.Tick, Callable[[float], None]]:
    print(f"fetching {item.what}", file=sys.stderr, flush=True)
    return lambda _: None, lambda took: print(f"fetched {item.what} in {took} s", file=sys.stderr, flush=True)
