"""What jobs share that make tables of images from others: what stands already, and writing in buckets."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from batch import manifests
from batch.publish import publish
from batch.storage import Storage
from contracts.errors import Transient
from contracts.lake import STAGING, Table, partition_value

if TYPE_CHECKING:
    from contracts.settings import Settings

TOP: Final = Path(__file__).resolve().parent.parent
ROW_GROUP: Final = 16 * 1024 * 1024

Advance = Callable[[str, int, int], None]
"""Told how far a step is: its name, done, total."""
Standing = Mapping[str, manifests.File]


def standing(storage: Storage) -> Standing:
    """Every file that makes up the tables now, by its path."""
    return manifests.current(manifests.load(storage))


def paths(now: Standing, table: Table, **parts: str | int) -> list[str]:
    """A table's files, of these partitions only, in order."""
    wanted = [f"/{name}={partition_value(str(value))}/" for name, value in parts.items()]
    return sorted(p for p, file in now.items() if file.table == table.name and all(one in p for one in wanted))


def read(storage: Storage, files: Sequence[str], names: Sequence[str]) -> Any:
    """Columns of files, as an Arrow table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow, parts = storage.arrow(), []
    for path in files:
        # in this thread alone: Arrow's own may still hold a file of Python's when the process ends, and abort it
        with arrow.open_input_file(path) as file:
            parts.append(pq.ParquetFile(file, pre_buffer=False).read(list(names), use_threads=False))
    return pa.concat_tables(parts, promote_options="default")


def ids(storage: Storage, files: Sequence[str], **equal: str) -> set[str]:
    """The images that these files have rows of, with these values in other columns."""
    if not files:
        return set()
    found = read(storage, files, ["image_id", *equal]).to_pylist()
    return {row["image_id"] for row in found if all(row[name] == value for name, value in equal.items())}


def publication(prefix: str, dataset: str, parts: Iterable[bytes]) -> str:
    """The name under which something is published: by what it is made from. Names of datasets have no dots, names of
    publications no underscores."""
    return f"{prefix}{dataset.replace('_', '.')}-{digest(parts)[:16]}"


def digest(parts: Iterable[bytes]) -> str:
    """The sha256 of parts, one after the other, in hex."""
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return made.hexdigest()


def finish_started(storage: Storage, prefix: str) -> None:
    """Finish what an earlier run with such names had decided to publish and did not get to.

    What it had not decided stays in staging and goes when the same run comes again.
    """

    def nothing(folder: str) -> Iterable[Any]:
        return ()

    for entry in list(storage.entries(STAGING, hidden=True)):
        parts = entry.path.removeprefix(f"{STAGING}/").split("/")
        if parts[0].startswith(prefix) and parts[1:] == ["_intent.json"]:
            publish(storage, parts[0], nothing)


def write(rows: Any, storage: Storage, folder: str, table: Table) -> None:
    """Write a table's rows below a staging folder: partitioned and bucketed as the contract says, in order of the
    image's id, so that the same rows give the same files."""
    parts = [column.name for column in table.partitions]
    target = storage.uri(f"{folder}/{table.name}")
    if table.buckets is None:
        rows.coalesce(1).sortWithinPartitions("image_id").write.mode("append").partitionBy(parts).parquet(target)
        return
    column, number = table.buckets
    spread = rows.repartition(number, column).sortWithinPartitions(*parts, "image_id")
    writer = spread.write.format("parquet").mode("append").option("path", target)
    writer = writer.option("parquet.block.size", ROW_GROUP).option("parquet.enable.dictionary#pixels", "false")
    # Spark writes buckets into tables only: this one has a name while it is written
    scratch = f"ward_{table.name}_{hashlib.sha256(target.encode()).hexdigest()[:12]}"
    writer.partitionBy(parts).bucketBy(number, column).sortBy("image_id").saveAsTable(scratch)
    rows.sparkSession.sql(f"drop table {scratch}")


@contextlib.contextmanager
def running(name: str, settings: Settings, spark: Any = None) -> Iterator[Any]:
    """``spark``, or a session of this name that ends with the block; its Python workers import what we import.

    What Spark gives up on in the block is Transient: nothing was published, and the same call may succeed later.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    made = spark
    if made is None:
        from batch.spark import session

        made = session(name, settings, more={"spark.sql.warehouse.dir": f"{settings.hdfs_rpc}{STAGING}/_warehouse"})
    try:
        made.sparkContext.environment["PYTHONPATH"] = str(TOP)
        yield made
    except (Py4JError, PySparkException) as failed:
        said = [
            line for line in str(failed).splitlines() if "Error" in line or "Exception" in line or "Transient" in line
        ]
        raise Transient(f"Spark gave up, nothing was published: {(said or [str(failed)])[-1].strip():.300}") from failed
    finally:
        if spark is None:
            made.stop()


@contextlib.contextmanager
def watched(spark: Any, step: str, total: int, tasks: int, advance: Advance) -> Iterator[None]:
    """Tells how far the stage with so many tasks is, which does ``total`` of something."""
    over = threading.Event()
    tracker = spark.sparkContext.statusTracker()

    def watch() -> None:
        while not over.wait(0.5):
            for stage in tracker.getActiveStageIds():
                if (info := tracker.getStageInfo(stage)) is not None and info.numTasks == tasks:
                    advance(step, min(total, info.numCompletedTasks * total // tasks), total)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    advance(step, total, total)


@contextlib.contextmanager
def bars() -> Iterator[Advance]:
    """Bars on stderr, where it is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    parts = (TextColumn("{task.description:16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    steps: dict[str, Any] = {}
    with Progress(*parts, console=Console(stderr=True)) as shown:

        def advance(step: str, done: int, total: int) -> None:
            if step not in steps:
                steps[step] = shown.add_task(step, total=total)
            shown.update(steps[step], completed=done, total=total)

        yield advance
