"""The lake as reports read it: published Parquet through pyarrow, only the partitions and columns that are needed."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import msgspec

from batch.storage import Storage
from contracts.errors import Transient
from contracts.lake import BY_DATE, BY_WARD, TABLES, Table, partition_value

T = TypeVar("T")
BATCH: Final = 131_072
"""Rows held at once."""
TRIES: Final = 4
"""Files that are joined while they are read are read anew, so often."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What a page was made from: the first line of what its foot says.

    ``snapshot`` is a hash over path and size of the ``files`` that were read: the same for the same lake.
    """

    from_ms: int | None
    to_ms: int | None
    rows: int
    files: int
    snapshot: str
    code: str
    made_ms: int


class Reader:
    """Reads tables of one lake and keeps account of what it read."""

    def __init__(self, storage: Storage) -> None:
        """Raises Transient when HDFS does not answer; asked first, for hdfs-native would wait for it for minutes."""
        storage.exists(TABLES)
        self._storage = storage
        self._fs = storage.arrow()
        self._read: dict[str, tuple[int, int]] = {}

    def dates(self, table: Table) -> list[str]:
        """The dates for which the table has a partition, in order."""
        return self._values(table.path, BY_DATE.name)

    def wards(self, table: Table, dates: Collection[str]) -> list[str]:
        """The wards with rows of these dates; the log's own words, like ``~clock``, are none."""
        found = {
            unquote(value)
            for date in dates
            for value in self._values(f"{table.path}/{BY_DATE.name}={date}", BY_WARD.name)
        }
        return sorted(ward for ward in found if not ward.startswith("~"))

    def _values(self, folder: str, name: str) -> list[str]:
        import pyarrow.fs

        try:
            found = self._fs.get_file_info(pyarrow.fs.FileSelector(folder))
        except FileNotFoundError:
            return []
        except OSError as away:
            raise Transient(f"HDFS does not answer: {away}; `./ward up datanode` starts it") from away
        bases = [posixpath.basename(info.path) for info in found]
        return sorted(base.removeprefix(f"{name}=") for base in bases if base.startswith(f"{name}="))

    def fold(
        self,
        table: Table,
        dates: Sequence[str],
        wards: Sequence[str],
        columns: Sequence[str],
        use: Callable[[Iterator[Any]], T],
    ) -> T:
        """What ``use`` makes of the record batches of these partitions; a column that a file has not is null.

        When files vanish under it, for a compaction joined them, it is called anew with a fresh iterator: it must
        begin at nothing each time. Raises Transient when HDFS does not answer.
        """
        for _ in range(TRIES):
            read: dict[str, tuple[int, int]] = {}
            try:
                made = use(self._batches(table, dates, wards, columns, read))
            except FileNotFoundError:
                continue
            except OSError as away:
                raise Transient(f"{table.name} cannot be read: {away}; is HDFS up? `./ward status`") from away
            self._read |= read
            return made
        raise Transient(f"{table.name} changed {TRIES} times while it was read; try again")

    def _batches(
        self,
        table: Table,
        dates: Sequence[str],
        wards: Sequence[str],
        columns: Sequence[str],
        read: dict[str, tuple[int, int]],
    ) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for date in dates:
            for ward in wards:
                folder = f"{table.path}/{BY_DATE.name}={date}/{BY_WARD.name}={partition_value(ward)}"
                for entry in self._storage.entries(folder):
                    with self._fs.open_input_file(entry.path) as source:
                        file = pq.ParquetFile(source)
                        read[entry.path] = (entry.size, file.metadata.num_rows)
                        there = [name for name in columns if name in file.schema_arrow.names]
                        for batch in file.iter_batches(BATCH, columns=there):
                            missing = [name for name in columns if name not in there]
                            for name in missing:
                                batch = batch.append_column(name, pa.nulls(batch.num_rows))
                            yield batch.append_column(BY_WARD.name, pa.array([ward] * batch.num_rows, pa.string()))

    @property
    def rows(self) -> int:
        """How many rows the files that were read hold."""
        return sum(rows for _, rows in self._read.values())

    def provenance(self, from_ms: int | None, to_ms: int | None, made_ms: int) -> Provenance:
        """Of a page whose data reaches from ``from_ms`` to ``to_ms``; both None where there was none."""
        from batch.version import code_version

        listed = "\n".join(f"{path.removeprefix(TABLES)} {size}" for path, (size, _) in sorted(self._read.items()))
        return Provenance(
            from_ms=from_ms,
            to_ms=to_ms,
            rows=self.rows,
            files=len(self._read),
            snapshot=hashlib.sha256(listed.encode()).hexdigest()[:12],
            code=code_version(),
            made_ms=made_ms,
        )


def rows_where(batches: Iterator[Any], **equal: Any) -> Iterator[dict[str, Any]]:
    """The rows whose columns have these values, as dicts, batch by batch."""
    for batch in batches:
        yield from chosen(batch, **equal).to_pylist()


def chosen(batch: Any, **equal: Any) -> Any:
    """The rows of a batch whose columns have these values."""
    import pyarrow.compute as pc

    for name, value in equal.items():
        batch = batch.filter(pc.equal(batch[name], value))
    return batch


def between(batch: Any, from_ms: int, to_ms: int, column: str = "event_ms") -> Any:
    """The rows of a batch with from <= column < to."""
    import pyarrow.compute as pc

    times = batch[column]
    return batch.filter(pc.and_(pc.greater_equal(times, from_ms), pc.less(times, to_ms)))
