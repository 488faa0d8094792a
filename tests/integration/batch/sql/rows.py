"""Rows of the lake's tables as any writer could put them there: one Parquet file in its partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch.storage import Storage
from batch.typed import schema
from contracts.lake import ALL


def put(storage: Storage, table: str, place: str, columns: Mapping[str, Sequence[Any]], only: int | None = None) -> str:
    """Write a file of a table at ``place`` below it; columns not named are null, and beyond the first ``only`` ones
    not in the file at all. Its path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = list(schema(ALL[table], partitions=False))[:only]
    n = len(next(iter(columns.values())))
    arrays = [pa.array(columns.get(field.name, [None] * n), field.type) for field in fields]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, schema=pa.schema(fields)), sink, compression="zstd")
    path = f"{ALL[table].path}/{place}"
    storage.write(path, sink.getvalue().to_pybytes())
    return path
