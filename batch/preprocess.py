"""``ward lake images``: image files in HDFS become a metadata row, shards to train on, or a row of the quarantine.

Spark reads each file in a guarded child (models.imaging.guarded), so one file that crashes, hangs or eats memory is a
row of the quarantine. Everything is published at once under a name that follows from what was read: the same images
again change nothing.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlparse

import msgspec
import typer

from batch import derived
from batch.decoding import LABELLED, SIZES, Work, columns
from batch.originals import Original, Put, dataset_name, images_of, put
from batch.publish import publish
from batch.storage import Storage
from batch.version import code_version
from contracts.errors import Misconfigured
from contracts.lake import IMAGE_METADATA, IMAGES, QUARANTINE, SHARDS, Table, Zone
from models.imaging import keyfile

if TYPE_CHECKING:
    from contracts.settings import Settings

ARRIVALS: Final = "arrivals"
SECONDS: Final = 20.0
FILES_A_TASK: Final = 64
PREFIX: Final = "images-"


class Outcome(msgspec.Struct, kw_only=True):
    """What a call of ``ward lake images`` did. ``shards_sha256`` is over all shards of the dataset, sorted: the same
    images give the same, whenever and wherever they are read."""

    dataset: str
    found: int
    put: int = 0
    there: int = 0
    passed_over: int = 0
    too_large: int = 0
    new: int = 0
    usable: int = 0
    quarantined: dict[str, int] = {}
    rows: dict[str, int] = {}
    publication: str | None = None
    shards: int = 0
    shards_sha256: str = ""
    seconds: float = 0.0


def images(
    paths: Annotated[list[Path] | None, typer.Argument(help="Image files, or folders of them, to put in.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of the set of images.", show_default="the first folder's name")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV with image, label, split.", show_default="labels.csv in the folder")
    ] = None,
    label_column: Annotated[str, typer.Option(help="The column that is the label.")] = "label",
    identified: Annotated[bool, typer.Option("--identified", help="Keep pictures in the identified zone too.")] = False,
    arrivals: Annotated[bool, typer.Option("--arrivals", help="Read what the lake's images table names.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Time limit for one file.")] = SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward lake images scans/ --dataset knee · ward lake images --dataset knee · ward lake images --arrivals

    Puts DICOM, JPEG, PNG and TIFF files into HDFS and reads them by Spark: rows of image_metadata (de-identified),
    image_shards (128 and 224 pixels, in [0, 1]) and quarantine. What is there is not done again. DICOM goes to the
    identified zone, whose reading takes WARD_ROLE=steward.
    """
    from batch import access, cli

    settings, begun = cli.settings(), time.monotonic()
    if arrivals and paths:
        raise Misconfigured("--arrivals reads what the lake knows; it takes no paths")
    given = ARRIVALS if arrivals else dataset or (paths[0].resolve().name.lower() if paths else None)
    if given is None:
        raise Misconfigured("say which images: a folder, --dataset NAME of images put in before, or --arrivals")
    name = dataset_name(given)
    storage = Storage.of(settings)
    with derived.bars() as advance:
        told = Put()
        if paths:
            names = keyfile.pseudonyms(settings)
            told = put(
                storage,
                name,
                paths,
                names,
                labels=labels,
                column=label_column,
                identified=identified,
                count=lambda done, total: advance("put into HDFS", done, total),
            )
        todo = arrived(storage) if arrivals else images_of(storage, name)
        zone: Zone = "identified" if any(one.identified for one in todo.values()) else "deidentified"
        access.told(settings, "images", name, zone=zone)
        outcome = preprocess(settings, storage, name, todo.values(), seconds=seconds, advance=advance)
    outcome.put, outcome.there = told.put, told.there
    outcome.passed_over, outcome.too_large = told.passed_over, told.too_large
    outcome.seconds = round(time.monotonic() - begun, 1)
    if as_json:
        cli.document(outcome)
    else:
        print("\n".join(_lines(outcome)))


def preprocess(
    settings: Settings,
    storage: Storage,
    dataset: str,
    wanted: Iterable[Original],
    *,
    seconds: float = SECONDS,
    advance: derived.Advance = lambda step, done, total: None,
    spark: Any = None,
) -> Outcome:
    """Read those of the images that the lake does not hold yet and publish what they become.

    ``spark`` is a session to use; else one is made and ended. Safe to call again after any crash. Raises Transient when
    HDFS does not answer; then nothing is published.
    """
    derived.finish_started(storage, PREFIX)
    now = derived.standing(storage)
    done = set[str]()
    for table in (SHARDS, QUARANTINE):
        done |= derived.ids(storage, derived.paths(now, table, dataset=dataset))
    images = {one.image_id: one for one in wanted}
    todo = [images[image_id] for image_id in sorted(images.keys() - done)]
    outcome = Outcome(dataset=dataset, found=len(images), new=len(todo))
    if todo:
        known = derived.ids(storage, derived.paths(now, IMAGE_METADATA))
        name = derived.publication(PREFIX, dataset, (msgspec.json.encode(one) for one in todo))
        job = _Job(settings, storage, dataset, todo, known, seconds, advance)
        with derived.running("images", settings, spark) as session:
            manifest = publish(storage, name, lambda folder: job.fill(session, folder))
        outcome.publication = name
        for file in manifest.files:
            outcome.rows[file.table] = outcome.rows.get(file.table, 0) + file.rows
        lost = [file.path for file in manifest.files if file.table == QUARANTINE.name]
        outcome.quarantined = (
            dict(Counter(derived.read(storage, lost, ["reason"])["reason"].to_pylist())) if lost else {}
        )
        outcome.usable = outcome.rows.get(SHARDS.name, 0) // len(SIZES)
    outcome.shards, outcome.shards_sha256 = shards_digest(storage, dataset)
    return outcome


def arrived(storage: Storage) -> dict[str, Original]:
    """The de-identified images that the gateway stored, as the lake's ``images`` table tells of them."""
    paths = derived.paths(derived.standing(storage), IMAGES)
    if not paths:
        raise Misconfigured("the lake has no arrival of an image yet")
    rows = derived.read(storage, paths, ["uri", "sha256"]).to_pylist()
    found = {}
    for row in sorted(rows, key=lambda row: str(row["uri"])):
        path = urlparse(row["uri"]).path if "://" in row["uri"] else row["uri"]
        found[row["sha256"]] = Original(image_id=row["sha256"], path=path, size=0, deidentified=True)
    return found


def shards_digest(storage: Storage, dataset: str) -> tuple[int, str]:
    """How many shards of one image and size a dataset has, and the sha256 over all of them in order."""
    paths = derived.paths(derived.standing(storage), SHARDS, dataset=dataset)
    if not paths:
        return 0, ""
    rows = derived.read(storage, paths, ["image_id", "pixels_sha256"]).to_pylist()
    lines = sorted(f"{row['image_id']} {row['pixels_sha256']}\n" for row in rows)
    return len(lines), derived.digest(line.encode() for line in lines)


class _Job:
    """One run over images that are new to the lake."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        dataset: str,
        todo: Sequence[Original],
        known: set[str],
        seconds: float,
        advance: derived.Advance,
    ) -> None:
        self._storage, self._dataset, self._todo, self._known = storage, dataset, todo, known
        needs_key = any(not one.deidentified for one in todo)
        place = str(keyfile.place(settings)) if needs_key else None
        self._work = Work(storage.url, storage.rpc, storage.user, place, seconds)
        self._advance = advance

    def fill(self, spark: Any, folder: str) -> tuple[()]:
        """Write all three tables below a staging folder."""
        from pyspark.sql import functions as F

        decoded = self._decode(spark, f"{folder}/_decoded")
        good, bad = decoded.where("reason is null"), decoded.where("reason is not null")
        coded = F.lit(code_version()).alias("code")
        shards = [
            good.select(
                *_plain(SHARDS, pixels=f"pixels{size}", pixels_sha256=f"sha{size}"),
                coded,
                F.lit(self._dataset).alias("dataset"),
                F.lit(size).alias("size"),
                "modality",
            )
            for size in SIZES
        ]
        derived.write(
            functools.reduce(lambda one, other: one.unionByName(other), shards), self._storage, folder, SHARDS
        )
        fresh = good.where("fresh")
        day = F.col("study_date").cast("date")
        parts = [F.coalesce(part(day), F.lit(0)).alias(part.__name__) for part in (F.year, F.month)]
        told = _plain(IMAGE_METADATA, study_date=day.alias("study_date"))
        derived.write(fresh.select(*told, coded, *parts, "modality"), self._storage, folder, IMAGE_METADATA)
        lost = bad.select(*_plain(QUARANTINE), coded, F.lit(self._dataset).alias("dataset"))
        derived.write(lost, self._storage, folder, QUARANTINE)
        return ()

    def _decode(self, spark: Any, path: str) -> Any:
        """Every file read once, kept beside the tables until they are written."""
        rows = [
            (
                one.image_id,
                one.path,
                one.size,
                one.label,
                one.split,
                "deidentified" if one.deidentified else one.patient,
                one.image_id not in self._known,
            )
            for one in self._todo
        ]
        tasks = max(2, -(-len(rows) // FILES_A_TASK))
        given = spark.createDataFrame(spark.sparkContext.parallelize(rows, tasks), LABELLED)
        names = ", ".join(f"`{name}` {kind}" for name, kind in columns())
        with derived.watched(spark, "read by Spark", len(rows), tasks, self._advance):
            given.mapInArrow(self._work, names).write.mode("overwrite").parquet(self._storage.uri(path))
        return spark.read.parquet(self._storage.uri(path))


def _plain(table: Table, **instead: Any) -> list[Any]:
    """The table's columns but ``code``, each from the column of its name or from ``instead``."""
    from pyspark.sql import functions as F

    made = {"code": None} | instead
    chosen = []
    for column in table.columns:
        source = made.get(column.name, column.name)
        if source is not None:
            chosen.append(F.col(source).alias(column.name) if isinstance(source, str) else source)
    return chosen


def _lines(told: Outcome) -> Iterator[str]:
    yield f"{told.dataset}: {told.found:,} images, {told.new:,} new to the lake, {told.seconds:g} s"
    if told.put or told.there or told.too_large:
        yield f"  put into HDFS: {told.put:,}; there before: {told.there:,}; too large: {told.too_large:,}"
    if told.new:
        yield f"  usable: {told.usable:,}; quarantined: {sum(told.quarantined.values()):,}"
        yield from (f"    {reason}: {count:,}" for reason, count in sorted(told.quarantined.items()))
        yield f"  published as {told.publication}"
    yield f"  shards: {told.shards:,}, sha256 {told.shards_sha256[:16] or 'none'}"
