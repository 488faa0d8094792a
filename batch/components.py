"""Principal components of images that do not fit into one machine's memory, found by passes of Spark over the shards.

Subspace iteration: every pass multiplies a thin basis by the covariance, C V = X'(XV)/n - m m'V, a partition's part at
a time; what travels is as large as the basis, however many images there are. Seeded, and summed in the partitions'
order: the same shards in the same files give the same basis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Advance = Callable[[str, int, int], None]

SPARE: Final = 10
"""Directions more than asked for: they take up what the last ones would have to wait for."""
PASSES: Final = 6
SEED: Final = 20260102
_PARTIAL: Final = "part int, n bigint, total binary, product binary, squares double"


@dataclass(frozen=True)
class Basis:
    """``components`` (k, pixels) are orthonormal, the widest spread first; ``variances`` theirs, ``total`` that of all
    pixels together, ``n`` the images that it was fitted on."""

    mean: Floats
    components: Floats
    variances: Floats
    total: float
    n: int

    def applied(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """(n, pixels) -> (n, k)."""
        return np.asarray((images - self.mean) @ self.components.T, np.float32)


def fitted(shards: Any, pixels: int, k: int, advance: Advance) -> Basis:
    """The basis of a DataFrame with a column ``pixels``. Raises ValueError for fewer than two images.

    ``k`` is cut to what so many images can span.
    """
    width = min(k + SPARE, pixels)
    v = np.linalg.qr(np.random.default_rng(SEED).standard_normal((pixels, width)))[0]
    for done in range(PASSES):
        n, mean, product, squares = _pass(shards, v)
        if n < 2:
            raise ValueError(f"{n} images: principal components need two")
        spread = product / n - np.outer(mean, mean @ v)
        advance("fit components", done + 1, PASSES)
        if done + 1 < PASSES:
            v = np.linalg.qr(spread)[0]
    values, turned = np.linalg.eigh((v.T @ spread + spread.T @ v) / 2)
    order = values.argsort()[::-1][: min(k, n - 1, pixels)]
    components = (v @ turned[:, order]).T
    components *= np.sign(components[np.arange(len(components)), np.abs(components).argmax(1)])[:, None]
    variances = np.maximum(values[order], 0.0) * n / (n - 1)
    total = max(0.0, (squares / n - float(mean @ mean)) * n / (n - 1))
    return Basis(mean, components, variances, total, n)


def _pass(shards: Any, v: Floats) -> tuple[int, Floats, Floats, float]:
    """(number, mean, X'XV, sum of squares) over all images."""
    spark = shards.sparkSession
    sent = spark.sparkContext.broadcast(v.astype(np.float32))
    rows = shards.select("pixels").mapInArrow(_Multiply(sent), _PARTIAL).collect()
    sent.destroy()
    rows.sort(key=lambda row: row["part"])
    n = sum(row["n"] for row in rows)
    zero = np.zeros(v.size)
    total = sum((np.frombuffer(row["total"]) for row in rows), np.zeros(len(v)))
    product = sum((np.frombuffer(row["product"]) for row in rows), zero).reshape(v.shape)
    return n, total / max(1, n), product, float(sum(row["squares"] for row in rows))


@dataclass(frozen=True)
class _Multiply:
    """A partition's part of a pass."""

    basis: Any

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa
        from pyspark import TaskContext

        v = self.basis.value
        n, total, product, squares = 0, np.zeros(len(v)), np.zeros(v.shape), 0.0
        for batch in batches:
            x = matrix(batch.column("pixels"))
            n += len(x)
            total += x.sum(0, dtype=np.float64)
            product += x.T @ (x @ v)
            squares += float(np.einsum("ij,ij->", x, x, dtype=np.float64))
        if n:
            context = TaskContext.get()
            row = [context.partitionId() if context else 0], [n], [total.tobytes()], [product.tobytes()], [squares]
            kinds = (pa.int32(), pa.int64(), pa.binary(), pa.binary(), pa.float64())
            arrays = [pa.array(value, kind) for value, kind in zip(row, kinds, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, names=["part", "n", "total", "product", "squares"])


def matrix(column: Any) -> NDArray[np.float32]:
    """A column of packed images as rows of pixels."""
    rows = [np.frombuffer(value, "<f4") for value in column.to_pylist()]
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)
