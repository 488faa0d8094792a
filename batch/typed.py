"""The tables of contracts/lake.py as Arrow schemas: for every reader and writer that is not Spark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from contracts.lake import Column, Table

_PLAIN: Final = {
    "string": "string",
    "double": "float64",
    "float": "float32",
    "int": "int32",
    "bigint": "int64",
    "boolean": "bool_",
    "date": "date32",
    "binary": "binary",
}


def schema(table: Table, partitions: bool = True) -> Any:
    """The Arrow schema of a table, with the columns of its partitions at the end unless told otherwise."""
    import pyarrow as pa

    columns = (*table.columns, *(table.partitions if partitions else ()))
    return pa.schema([(column.name, arrow_type(column.type)) for column in columns])


def partitioning(table: Table) -> Any:
    """How the values of partitions stand in the paths."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    return ds.partitioning(pa.schema([_field(column) for column in table.partitions]), flavor="hive")


def dataset(storage: Any, table: Table, paths: list[str], copies: str | None = None) -> Any:
    """These files of a table as one Arrow dataset; a column that a file does not have is null in its rows.

    ``copies`` is a local folder that has them under the same paths: then HDFS is not asked.
    """
    import pyarrow.dataset as ds
    import pyarrow.fs

    return ds.dataset(
        [f"{copies or ''}{path}" for path in paths],
        schema=schema(table),
        format="parquet",
        filesystem=pyarrow.fs.LocalFileSystem() if copies else storage.arrow(),
        partitioning=partitioning(table) if table.partitions else None,
        partition_base_dir=f"{copies or ''}{table.path}",
    )


def arrow_type(hive: str) -> Any:
    """The Arrow type of a type in Hive's words. ValueError for one that no table has.

    >>> str(arrow_type("array<struct<what:string,share:double>>"))
    'list<item: struct<what: string, share: double>>'
    """
    import pyarrow as pa

    if hive in _PLAIN:
        return getattr(pa, _PLAIN[hive])()
    outer, _, inner = hive.partition("<")
    inner = inner.removesuffix(">")
    if outer == "array":
        return pa.list_(arrow_type(inner))
    if outer == "map":
        key, _, item = inner.partition(",")
        return pa.map_(arrow_type(key), arrow_type(item))
    if outer == "struct":
        fields = (part.partition(":") for part in _parts(inner))
        return pa.struct([(name, arrow_type(kind)) for name, _, kind in fields])
    raise ValueError(f"no Arrow type is known for {hive!r}")


def _parts(inner: str) -> Iterator[str]:
    """The fields of a struct: split at commas that stand in no further ``<>``."""
    depth = start = 0
    for at, letter in enumerate(inner):
        depth += (letter == "<") - (letter == ">")
        if letter == "," and not depth:
            yield inner[start:at]
            start = at + 1
    yield inner[start:]


def _field(column: Column) -> tuple[str, Any]:
    return column.name, arrow_type(column.type)
