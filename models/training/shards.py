"""Images to train on, from the shards of the lake or of any folder laid out like them, as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured, Poison

COLUMNS: Final = ("image_id", "patient", "label", "split", "pixels", "pixels_sha256")
AT_ONCE: Final = 256


@dataclass(frozen=True)
class Images:
    """Images of one dataset and size, in order of their ids. ``pixels`` (n, size, size) float32 in [0, 1]; labels,
    splits and patients are "" where none was told. ``patients`` are for keeping a patient on one side."""

    ids: NDArray[np.str_]
    pixels: NDArray[np.float32]
    labels: NDArray[np.str_]
    splits: NDArray[np.str_]
    patients: NDArray[np.str_]

    def __len__(self) -> int:
        """How many."""
        return len(self.ids)

    def of(self, *splits: str) -> Images:
        """Those of these splits. Raises Misconfigured when there are none."""
        chosen = np.isin(self.splits, splits)
        if not chosen.any():
            there = ", ".join(sorted({str(one) or "none told" for one in self.splits}))
            raise Misconfigured(f"no image of split {' or '.join(splits)}; there are {there}")
        return Images(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def numbers(self) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """(the label of each image as a number, the labels in their order)."""
        names, numbers = np.unique(self.labels, return_inverse=True)
        return numbers.astype(np.int64), tuple(str(name) for name in names)


def load(path: str, dataset: str, size: int, filesystem: Any = None, *, check: bool = True) -> Images:
    """The images of a table of shards at ``path``, of pyarrow's ``filesystem`` (None: of this machine).

    ``check`` holds the pixels against their sha256. Raises Misconfigured when there are none of that dataset and size,
    Poison (``damaged_shard``) for one that is not as it was made.
    """
    rows: list[tuple[str, str, str, str]] = []
    parts: list[NDArray[np.float32]] = []
    for batch in _batches(path, dataset, size, filesystem):
        for row in batch.to_pylist():
            parts.append(_pixels(row, size, check))
            rows.append(tuple(row[name] or "" for name in ("image_id", "label", "split", "patient")))  # type: ignore[arg-type]  # of four
    if not rows:
        raise Misconfigured(f"no shards of {dataset!r} with {size} pixels in {path}: `ward lake images` makes them")
    order = sorted(range(len(rows)), key=lambda i: rows[i][0])
    pixels = np.empty((len(rows), size, size), np.float32)
    for at, i in enumerate(order):
        pixels[at] = parts[i]
    ids, labels, splits, patients = (np.asarray(column) for column in zip(*(rows[i] for i in order), strict=True))
    return Images(ids, pixels, labels, splits, patients)


def _batches(path: str, dataset: str, size: int, filesystem: Any) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    placed = pa.schema([("dataset", pa.string()), ("size", pa.int32()), ("modality", pa.string())])
    told = [(name, pa.binary() if name == "pixels" else pa.string()) for name in COLUMNS]
    try:
        found = ds.dataset(
            path,
            filesystem=filesystem,
            format="parquet",
            schema=pa.schema([*told, *placed]),
            partitioning=ds.partitioning(placed, flavor="hive"),
        )
    except FileNotFoundError as missing:
        raise Misconfigured(f"{path} is not there: `ward lake images` makes shards") from missing
    wanted = (ds.field("dataset") == dataset) & (ds.field("size") == size)
    yield from found.to_batches(columns=list(COLUMNS), filter=wanted, batch_size=AT_ONCE)


def _pixels(row: dict[str, Any], size: int, check: bool) -> NDArray[np.float32]:
    raw = row["pixels"]
    if len(raw) != 4 * size * size or (check and hashlib.sha256(raw).hexdigest() != row["pixels_sha256"]):
        raise Poison("damaged_shard", "its pixels are not those that were written", row["image_id"])
    return np.frombuffer(raw, "<f4").reshape(size, size)
