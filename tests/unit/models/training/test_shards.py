"""Shards to arrays: in order, whole, with their labels; a damaged one is found."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from contracts.errors import Misconfigured, Poison
from models.imaging.pixels import packed
from models.training.shards import load


def image(number: int, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(number).random((size, size)).astype(np.float32)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six images in two sizes, laid out as the lake lays them out, the files in no order."""
    for size in (4, 8):
        for number in range(6):
            raw = packed(image(number, size))
            row = {
                "image_id": f"{number:02}",
                "patient": f"p-{number % 2}",
                "label": ["a", "b", None][number % 3],
                "split": "train" if number < 4 else "test",
                "pixels": raw,
                "pixels_sha256": hashlib.sha256(raw).hexdigest(),
                "code": "1",
            }
            folder = tmp_path / "dataset=scans" / f"size={size}" / f"modality={'MR' if number % 2 else 'unknown'}"
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist([row]), folder / f"z{9 - number}.parquet")
    return tmp_path


def test_images_come_in_order_with_what_was_told_of_them(table: Path) -> None:
    found = load(str(table), "scans", 8, pyarrow.fs.LocalFileSystem())
    assert found.ids.tolist() == [f"{number:02}" for number in range(6)]
    assert found.pixels.dtype == np.float32
    assert np.array_equal(found.pixels, np.stack([image(number, 8) for number in range(6)]))
    assert found.labels.tolist() == ["a", "b", "", "a", "b", ""]
    assert found.of("test").patients.tolist() == ["p-0", "p-1"]
    numbers, names = found.of("train").numbers()
    assert (numbers.tolist(), names) == ([1, 2, 0, 1], ("", "a", "b"))
    assert len(load(str(table), "scans", 4)) == 6


def test_what_is_not_there_is_told(table: Path) -> None:
    with pytest.raises(Misconfigured, match="'others'"):
        load(str(table), "others", 8)
    with pytest.raises(Misconfigured, match="not there"):
        load(str(table / "nowhere"), "scans", 8)
    with pytest.raises(Misconfigured, match="validation; there are test, train"):
        load(str(table), "scans", 8).of("validation")


def test_a_damaged_shard_is_found(table: Path) -> None:
    path = next((table / "dataset=scans" / "size=8").rglob("z9.parquet"))
    rows = pq.ParquetFile(path).read().to_pylist()
    rows[0]["pixels"] = bytes(256)
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(Poison, match=r"damaged_shard at 00"):
        load(str(table), "scans", 8)
    assert len(load(str(table), "scans", 8, check=False)) == 6
