"""Shards to vectors by Spark: components of the training images alone, the backbone's features, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from batch.features import basis_of, with_backbone, with_components
from batch.publish import publish
from batch.storage import Storage
from contracts.errors import Misconfigured
from contracts.lake import FEATURES, SHARDS
from contracts.settings import Settings
from models.imaging.backbone import Backbone, shipped
from models.imaging.pixels import packed, resized
from models.registry import Registry, own_folder
from models.training.shards import load

pytestmark = [pytest.mark.hdfs, pytest.mark.spark]


def scans(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Images of three patterns in changing strength, and a little noise."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[0:128, 0:128] / 128
    patterns = np.stack([np.sin(9 * x), np.cos(7 * y), np.sin(5 * (x + y))])
    strength = rng.normal(0, 1, (count, 3)) * [0.2, 0.12, 0.06]
    return np.clip(0.5 + np.tensordot(strength, patterns, 1) + rng.normal(0, 0.01, (count, 128, 128)), 0, 1).astype(
        np.float32
    )


def add(lake: Storage, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]], first: int) -> None:
    """Shards of both sizes, published; every fourth is of the test split."""
    import hashlib

    def fill(folder: str) -> tuple[()]:
        for size in (128, 224):
            rows = []
            for number, image in enumerate(images, first):
                raw = packed(resized(image, size))
                rows.append(
                    {
                        "image_id": f"{number:04}",
                        "patient": f"p-{number // 2}",
                        "label": None,
                        "split": "test" if number % 4 == 3 else "train",
                        "pixels": raw,
                        "pixels_sha256": hashlib.sha256(raw).hexdigest(),
                        "code": "t",
                    }
                )
            where = f"{folder}/image_shards/dataset=scans/size={size}/modality=MR"
            lake.makedirs(where)
            schema = pa.schema([(n, pa.binary() if n == "pixels" else pa.string()) for n in rows[0]])
            with lake.arrow().open_output_stream(f"{where}/a_00000.parquet") as out:
                pq.write_table(pa.Table.from_pylist(rows, schema), out)
        return ()

    publish(lake, f"shards-{first}", fill)


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    return msgspec.structs.replace(settings, models_dir=str(tmp_path))


def vectors(lake: Storage, kind: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    found = ds.dataset(FEATURES.path, filesystem=lake.arrow(), format="parquet", partitioning="hive")
    rows = found.to_table(filter=ds.field("kind") == kind).to_pylist()
    assert len({row["image_id"] for row in rows}) == len(rows)
    return {row["image_id"]: np.asarray(row["vector"], np.float32) for row in rows}


def test_components_are_those_of_the_training_images_and_hold_for_later_ones(
    own: Settings, lake: Storage, spark: Any
) -> None:
    images = scans(44)
    add(lake, images[:40], 0)
    made = with_components(own, lake, spark, "scans", 3)
    assert (made.new, made.width, made.fitted_on) == (40, 3, 30)

    held = load(SHARDS.path, "scans", 128, lake.arrow()).of("train").pixels.reshape(30, -1).astype(np.float64)
    _, spread, right = np.linalg.svd(held - held.mean(0), full_matrices=False)
    registry = Registry(own_folder(own))
    name, _, version = made.model.partition("@")
    basis = basis_of(registry.load(name, version))
    assert np.allclose(np.abs(np.sum(basis.components * right[:3], 1)), 1, atol=1e-3)
    assert np.allclose(basis.variances, spread[:3] ** 2 / 29, rtol=1e-3)
    assert made.explained == pytest.approx(float((spread[:3] ** 2).sum() / (spread**2).sum()), abs=1e-3)

    told = vectors(lake, "pca")
    expected = (held[0] - held.mean(0)) @ basis.components.T
    assert np.allclose(told["0000"], expected, atol=1e-2)

    assert with_components(own, lake, spark, "scans", 3).new == 0
    add(lake, images[40:], 40)
    later = with_components(own, lake, spark, "scans", 3)
    assert (later.new, later.images, later.model) == (4, 44, made.model)
    assert len(vectors(lake, "pca")) == 44


def test_the_backbone_in_spark_says_what_it_says_here(own: Settings, lake: Storage, spark: Any) -> None:
    images = scans(5)
    add(lake, images, 0)
    made = with_backbone(own, lake, spark, "scans")
    assert (made.new, made.width) == (5, 1280)
    here = Backbone(shipped(Registry())).features(np.stack([resized(one, 224) for one in images]))
    told = vectors(lake, "backbone")
    assert np.allclose(np.stack([told[f"{n:04}"] for n in range(5)]), here, atol=1e-4)
    assert with_backbone(own, lake, spark, "scans").new == 0


def test_features_of_nothing_are_refused(own: Settings, lake: Storage, spark: Any) -> None:
    with pytest.raises(Misconfigured, match="no shards of 'nobody'"):
        with_components(own, lake, spark, "nobody", 3)
