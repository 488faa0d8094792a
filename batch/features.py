"""``ward lake features``: shards become vectors, by principal components or by the backbone, in Spark's workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import numpy as np
import typer

from batch import components, derived
from batch.components import Basis, fitted, matrix
from batch.originals import dataset_name
from batch.publish import publish
from batch.storage import Storage
from batch.version import code_version
from contracts.errors import Misconfigured, Poison
from contracts.lake import FEATURES, SHARDS
from models.bundle import Bundle, Dataset
from models.imaging import backbone as networks
from models.registry import Registry, own_folder

if TYPE_CHECKING:
    from contracts.settings import Settings

PREFIX: Final = "features-"
PCA_SIZE: Final = 128
MOST: Final = 1000
AT_ONCE: Final = 64
_VECTORS: Final = "image_id string, patient string, vector array<float>"


class Made(msgspec.Struct, kw_only=True):
    """What became of one kind of features. ``explained`` is the share of all variance that the components hold."""

    kind: str
    model: str
    images: int
    new: int
    width: int
    publication: str | None = None
    fitted_on: int | None = None
    explained: float | None = None
    seconds: float = 0.0


def features(
    dataset: Annotated[str, typer.Option(help="Images that `ward lake images` made shards of.", show_default=False)],
    pca: Annotated[int | None, typer.Option(min=1, max=MOST, help="So many principal components.")] = None,
    backbone: Annotated[bool, typer.Option("--backbone", help="1,280 features of the pretrained network.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward lake features --dataset knee --pca 50 · ward lake features --dataset knee --backbone

    Makes a vector of each image, into the table features. Components are fitted on the split `train` alone and kept as
    a model of WARD_MODELS_DIR; images that came later are told by the same ones.
    """
    from batch import access, cli

    if pca is None and not backbone:
        raise Misconfigured("which features? --pca 50, --backbone, or both")
    settings, name = cli.settings(), dataset_name(dataset)
    storage = Storage.of(settings)
    access.told(settings, "features", name)
    with derived.bars() as advance, derived.running("features", settings) as spark:
        made = []
        if pca is not None:
            made.append(with_components(settings, storage, spark, name, pca, advance=advance))
        if backbone:
            made.append(with_backbone(settings, storage, spark, name, advance=advance))
    if as_json:
        cli.document({"dataset": name, "features": made})
        return
    for one in made:
        print(f"{name}: {one.kind} by {one.model}, {one.images:,} images, {one.new:,} new, {one.seconds:g} s")
        if one.explained is not None:
            print(f"  {one.width} components of {one.fitted_on:,} images hold {one.explained:.1%} of the variance")


def with_components(
    settings: Settings,
    storage: Storage,
    spark: Any,
    dataset: str,
    k: int,
    *,
    advance: derived.Advance = lambda step, done, total: None,
) -> Made:
    """Principal components of the dataset's training images, applied to all of them.

    Raises Misconfigured where there are no shards or fewer than two to fit on, Transient when HDFS does not answer.
    """
    begun = time.monotonic()
    shards = _shards(storage, spark, dataset, PCA_SIZE)
    registry = Registry(own_folder(settings))
    bundle = _kept(registry, dataset, k) or _fit(registry, shards, dataset, k, advance)
    basis = basis_of(bundle)
    made = _publish(
        storage, spark, dataset, "pca", bundle, shards, _Project(spark.sparkContext.broadcast(basis)), advance
    )
    made.width, made.fitted_on = len(basis.components), basis.n
    made.explained = round(float(basis.variances.sum() / basis.total), 4) if basis.total else None
    made.seconds = round(time.monotonic() - begun, 1)
    return made


def with_backbone(
    settings: Settings,
    storage: Storage,
    spark: Any,
    dataset: str,
    *,
    advance: derived.Advance = lambda step, done, total: None,
) -> Made:
    """The backbone's features of every image of the dataset. Raises as ``with_components``."""
    begun = time.monotonic()
    shards = _shards(storage, spark, dataset, networks.SIZE)
    bundle = networks.shipped(Registry(own_folder(settings)))
    made = _publish(
        storage, spark, dataset, "backbone", bundle, shards, _See(spark.sparkContext.broadcast(bundle)), advance
    )
    made.width, made.seconds = networks.WIDTH, round(time.monotonic() - begun, 1)
    return made


def basis_of(bundle: Bundle) -> Basis:
    """The basis in a version. Raises Poison when its arrays are not what its manifest tells."""
    k, pixels = bundle.parameters["k"], bundle.parameters["size"] ** 2
    raw = np.frombuffer(bundle.read("basis.f64"), "<f8")
    if len(raw) != pixels + k * pixels + k:
        raise Poison("bad_basis", f"{len(raw)} numbers for {k} components of {pixels} pixels", bundle.name)
    mean, rest = raw[:pixels], raw[pixels:]
    return Basis(
        mean,
        rest[: k * pixels].reshape(k, pixels),
        rest[k * pixels :],
        bundle.parameters["total"],
        bundle.parameters["n"],
    )


def _name(dataset: str) -> str:
    return f"pca_{dataset.replace('-', '_')}"[:64]


def _kept(registry: Registry, dataset: str, k: int) -> Bundle | None:
    """Components that were fitted before; the first fit of so many holds for what comes later."""
    found = [registry.load(_name(dataset), version) for version in registry.versions(_name(dataset))]
    same = [one for one in found if (one.parameters["asked"], one.parameters["dataset"]) == (k, dataset)]
    return min(same, key=lambda one: (one.manifest.made, one.version)) if same else None


def _fit(registry: Registry, shards: Any, dataset: str, k: int, advance: derived.Advance) -> Bundle:
    train = shards.where("split = 'train'")
    split = "train" if train.limit(1).count() else None
    if split is None and shards.where("split is not null").limit(1).count():
        raise Misconfigured(f"{dataset} has no image of split train to fit components on")
    chosen = train if split else shards
    told = sorted(row["image_id"] for row in chosen.select("image_id").collect())
    try:
        basis = fitted(chosen, PCA_SIZE**2, k, advance)
    except ValueError as few:
        raise Misconfigured(f"{dataset}: {few}") from few
    arrays = (basis.mean, basis.components.ravel(), basis.variances)
    version = registry.add(
        _name(dataset),
        {"basis.f64": b"".join(one.astype("<f8").tobytes() for one in arrays)},
        code=f"batch.components {code_version()}",
        seed=components.SEED,
        data=[
            Dataset(
                name=f"image_shards of {dataset}, split {split or 'none told: all'}",
                licence="that of the images",
                sha256=derived.digest(f"{one}\n".encode() for one in told),
                rows=len(told),
            )
        ],
        parameters={
            "dataset": dataset,
            "asked": k,
            "k": len(basis.components),
            "size": PCA_SIZE,
            "n": basis.n,
            "total": basis.total,
            "layout": "mean, components row by row, variances; float64 little-endian",
        },
        purpose=f"Principal components of the images of {dataset}.",
        limits=("Describes the images that it was fitted on; it names no finding.",),
    )
    return registry.load(_name(dataset), version)


def _shards(storage: Storage, spark: Any, dataset: str, size: int) -> Any:
    found = derived.paths(derived.standing(storage), SHARDS, dataset=dataset, size=size)
    if not found:
        raise Misconfigured(f"no shards of {dataset!r}: `ward lake images --dataset {dataset}` makes them")
    # batches of what a worker takes at once: 64 images of 224 pixels are 13 MB
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", AT_ONCE)
    return spark.read.parquet(*map(storage.uri, found)).select("image_id", "patient", "split", "pixels")


def _publish(
    storage: Storage,
    spark: Any,
    dataset: str,
    kind: str,
    bundle: Bundle,
    shards: Any,
    work: Any,
    advance: derived.Advance,
) -> Made:
    from pyspark.sql import functions as F

    derived.finish_started(storage, PREFIX)
    model = f"{bundle.name}@{bundle.version}"
    now = derived.standing(storage)
    done = derived.ids(storage, derived.paths(now, FEATURES, dataset=dataset, kind=kind), model=model)
    every = {row["image_id"] for row in shards.select("image_id").collect()}
    todo = sorted(every - done)
    made = Made(kind=kind, model=model, images=len(every), new=len(todo), width=0)
    if not todo:
        return made
    wanted = shards
    if done:
        new = spark.createDataFrame([(one,) for one in todo], "image_id string")
        wanted = shards.join(F.broadcast(new), "image_id", "left_semi")

    def fill(folder: str) -> tuple[()]:
        vectors = wanted.select("image_id", "patient", "pixels").mapInArrow(work, _VECTORS)
        rows = vectors.select(
            "image_id",
            "patient",
            "vector",
            F.lit(model).alias("model"),
            F.lit(code_version()).alias("code"),
            F.lit(dataset).alias("dataset"),
            F.lit(kind).alias("kind"),
        )
        with derived.watched(spark, f"{kind} features", len(todo), vectors.rdd.getNumPartitions(), advance):
            derived.write(rows, storage, folder, FEATURES)
        return ()

    made.publication = derived.publication(f"{PREFIX}{kind}-", dataset, (one.encode() for one in (model, *todo)))
    publish(storage, made.publication, fill)
    return made


@dataclass(frozen=True)
class _Project:
    """A worker's part of applying components."""

    basis: Any

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            yield _told(batch, self.basis.value.applied(matrix(batch.column("pixels"))))


@dataclass(frozen=True)
class _See:
    """A worker's part of asking the backbone, on one thread: there is a worker a core."""

    bundle: Any

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        network = networks.Backbone(self.bundle.value)
        for batch in batches:
            images = matrix(batch.column("pixels")).reshape(-1, networks.SIZE, networks.SIZE)
            yield _told(batch, network.features(images))


def _told(batch: Any, vectors: Any) -> Any:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    ends = pa.array(np.arange(0, vectors.size + 1, max(1, vectors.shape[1]), dtype=np.int32))
    columns = [batch.column("image_id"), batch.column("patient"), pa.ListArray.from_arrays(ends, flat)]
    return pa.RecordBatch.from_arrays(columns, names=["image_id", "patient", "vector"])
