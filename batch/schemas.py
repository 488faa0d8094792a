"""Spark's view of what travels and what is kept: DDL of a record's JSON, and of a table's columns.

Both are text, derived from contracts/records.py and contracts/lake.py, so that nothing here needs Spark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from contracts import records as r
from contracts.lake import Column, Table

CORRUPT: Final = "_corrupt"
"""Spark puts the text of a record here when a part of it does not fit."""

UNUSED: Final[Mapping[str, frozenset[str]]] = {
    r.VitalsFrame.__name__: frozenset(("actions", "models", "past", "facts")),
    r.OpenAlarm.__name__: frozenset(("audio_until_ms",)),
    r.ModelInForce.__name__: frozenset(("since",)),
    r.DeadLetter.__name__: frozenset(("raw", "key")),
}
"""Fields that no table holds (``records`` has their bytes): they are not even parsed."""

_LONG: Final = frozenset(("offset", "seq", "size", "revision"))


def json_ddl(record: type[r.Record]) -> str:
    """The columns of a record's JSON, each nullable, as ``from_json`` takes them; with a column for misfits."""
    return f"{fields_ddl(record)}, {CORRUPT} string"


def fields_ddl(record: type[r.Record]) -> str:
    """The same without that column, for a part of a record."""
    return _fields(msgspec.inspect.type_info(record), " ")


def required(record: type[r.Record]) -> tuple[str, ...]:
    """The fields without which a record is none."""
    return tuple(field.name for field in msgspec.structs.fields(record) if field.required)


def table_ddl(table: Table) -> str:
    """The columns of a table's files, in order, as Spark's and Hive's DDL: without those of its partitions."""
    return ", ".join(f"`{column.name}` {column.type}" for column in table.columns)


def whole_ddl(table: Table) -> str:
    """The columns of a table with its partitions behind them: what a reader of its folder gets."""
    partitions: tuple[Column, ...] = table.partitions
    return ", ".join(f"`{column.name}` {column.type}" for column in (*table.columns, *partitions))


def _fields(kind: Any, colon: str) -> str:
    unused = UNUSED.get(kind.cls.__name__, frozenset())
    return ", ".join(
        f"`{field.encode_name}`{colon}{_type(field.type, field.encode_name, isinstance(field.default, int))}"
        for field in kind.fields
        if field.name not in unused
    )


def _type(kind: Any, name: str, wide: bool = False) -> str:
    """A type's DDL. Whole numbers with a default are read ``wide``: what has no room in its column is null there, and
    must not be taken for what did not travel; and one of a list must not take the others with it."""
    if isinstance(kind, msgspec.inspect.UnionType):
        own = [one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType)]
        # a number or a letter arrives as its text
        return _type(own[0], name) if len(own) == 1 else "string"
    if isinstance(kind, msgspec.inspect.StructType):
        return f"struct<{_fields(kind, ':')}>"
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return f"array<{_type(kind.item_type, name, wide=True)}>"
    if isinstance(kind, msgspec.inspect.DictType):
        return f"map<{_type(kind.key_type, name)},{_type(kind.value_type, name)}>"
    if isinstance(kind, msgspec.inspect.IntType):
        return "bigint" if wide or name.endswith("_ms") or name in _LONG else "int"
    plain: Mapping[type[Any], str] = {
        msgspec.inspect.FloatType: "double",
        msgspec.inspect.BoolType: "boolean",
        msgspec.inspect.StrType: "string",
        msgspec.inspect.BytesType: "string",
        msgspec.inspect.EnumType: "string",
    }
    return plain[type(kind)]
