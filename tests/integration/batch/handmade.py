"""A small lake made by hand, file by file, and the faults that are planted in one."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batch.expected import GRAINS, day_of, expected, tables_of, utc_day
from batch.manifests import VERSION, File, Manifest, Span, path_of
from batch.storage import Storage
from batch.typed import schema
from contracts import codec
from contracts.lake import ALL, RECORDS, ROOT, partition_value
from contracts.records import SCHEMA_VERSION, BedReadings, Reading, Vital, VitalsFrame
from contracts.topology import VITALS, Topic, partition_for

START_MS = 1_767_340_800_000


@dataclass(frozen=True)
class Sent:
    """One record as Kafka has it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    at_ms: int
    headers: tuple[tuple[str, bytes | None], ...] = ()


def frame(ward: str, second: int, beds: int = 3, start_ms: int = START_MS) -> bytes:
    """A frame of that ward: three readings a bed, one of them a letter."""
    at_ms = start_ms + second * 1000
    return codec.encode(
        VitalsFrame(
            version=SCHEMA_VERSION,
            ward=ward,
            gateway="g",
            seq=second,
            at_ms=at_ms,
            beds=tuple(
                BedReadings(
                    bed=f"{ward}-{n:02}",
                    patient=f"p-{ward}-{n}",
                    readings=(
                        Reading(vital=Vital.HEART_RATE, value=60.0 + n + second),
                        Reading(vital=Vital.SPO2, value=None),
                        Reading(vital=Vital.CONSCIOUSNESS, value="A", at_ms=at_ms - 400),
                    ),
                )
                for n in range(beds)
            ),
        )
    )


def sent(values: Iterable[bytes | None], ward: str = "W1", first: int = 0, at_ms: int = START_MS) -> list[Sent]:
    """Those values as records of one partition, a second apart."""
    partition = partition_for(ward, VITALS.partitions)
    return [Sent(partition, first + n, ward.encode(), value, at_ms + 1000 * n + 40) for n, value in enumerate(values)]


@dataclass
class Lake:
    """A lake on HDFS; ``land`` adds what one batch of the stream would."""

    storage: Storage
    batches: int = 0
    files: list[File] = field(default_factory=list)

    def land(self, records: list[Sent], topic: Topic[Any] = VITALS) -> Manifest:
        """Land these records as one batch."""
        name = f"b{self.batches:012}"
        made = _rows(topic, records)
        files = tuple(self._file(table, place, name, rows) for (table, place), rows in sorted(made.items()))
        manifest = Manifest(
            version=VERSION,
            kind="batch",
            name=name,
            made_ms=START_MS + self.batches,
            code="test",
            batch=self.batches,
            spans=_spans(topic, records),
            files=files,
        )
        self.storage.write(path_of(name), manifest.encoded())
        self.batches += 1
        self.files += files
        return manifest

    def _file(self, table: str, place: str, name: str, rows: list[dict[str, Any]]) -> File:
        content = parquet(pa.Table.from_pylist(rows, schema(ALL[table], partitions=False)))
        path = posixpath.join(ALL[table].path, place, f"{name}-0.parquet")
        self.storage.write(path, content)
        return File(table=table, path=path, rows=len(rows), size=len(content))

    def tell(self, manifest: Manifest) -> None:
        """Write this manifest over the one of its name."""
        self.storage.remove(path_of(manifest.name))
        self.storage.write(path_of(manifest.name), manifest.encoded())

    def change(self, file: File, how: Callable[[Any], Any]) -> None:
        """Make the file's rows others, in place, and let its manifest agree with the new size and number."""
        content = parquet(how(read(self.storage, file.path)))
        self.storage.remove(file.path)
        self.storage.write(file.path, content)
        rows = pq.read_metadata(pa.BufferReader(content)).num_rows
        self.retell(file, File(table=file.table, path=file.path, rows=rows, size=len(content)))

    def kept(self) -> dict[str, tuple[int, bytes]]:
        """Every file of the lake: when it was changed, and its bytes."""
        return {
            entry.path: (entry.modified_ms, self.storage.read(entry.path))
            for entry in self.storage.entries(ROOT, hidden=True)
        }

    def restore(self, kept: dict[str, tuple[int, bytes]]) -> None:
        """Make every file what it was."""
        there = {entry.path: entry.modified_ms for entry in self.storage.entries(ROOT, hidden=True)}
        for path in there.keys() | kept.keys():
            if path in kept and there.get(path) == kept[path][0]:
                continue
            self.storage.remove(path)
            if path in kept:
                self.storage.write(path, kept[path][1])
        for entry in self.storage.entries(ROOT, hidden=True):
            kept[entry.path] = (entry.modified_ms, kept[entry.path][1])

    def retell(self, old: File, new: File | None) -> None:
        """Let the manifest that names ``old`` name ``new`` in its place."""
        import msgspec

        from batch.manifests import load

        for manifest in load(self.storage):
            if old in manifest.files:
                files = tuple(new if one == old else one for one in manifest.files)
                self.tell(msgspec.structs.replace(manifest, files=tuple(one for one in files if one is not None)))


def parquet(table: Any) -> bytes:
    """The table as a Parquet file, as Spark would write it."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return bytes(sink.getvalue())


def read(storage: Storage, path: str) -> Any:
    """A Parquet file's rows."""
    return pq.read_table(pa.BufferReader(storage.read(path)), partitioning=None)


def rows_of_path(storage: Storage, path: str) -> int:
    """How many rows a plain reader of a folder finds. Raises FileNotFoundError when a file went between two looks."""
    import pyarrow.dataset as ds

    return int(ds.dataset(path, format="parquet", filesystem=storage.arrow()).count_rows())


def _spans(topic: Topic[Any], records: list[Sent]) -> tuple[Span, ...]:
    offsets: dict[int, list[int]] = defaultdict(list)
    for record in records:
        offsets[record.partition].append(record.offset)
    return tuple(
        Span(topic=topic.name, partition=partition, first=min(found), until=max(found) + 1, records=len(found))
        for partition, found in sorted(offsets.items())
    )


def _rows(topic: Topic[Any], records: list[Sent]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    made: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for one in records:
        place = {"kafka_partition": one.partition, "kafka_offset": one.offset, "ingest_ms": one.at_ms}
        makes = expected(topic, one.value, one.at_ms)
        raw = {"key": one.key, "value": one.value, "headers": _headers(one), "rows": sum(map(len, makes.rows.values()))}
        folder = f"topic={partition_value(topic.name)}/date={utc_day(one.at_ms)}"
        unreadable = None if makes.sound else makes.why
        made[RECORDS.name, folder].append({**place, **raw, "unreadable": unreadable})
        for table in tables_of(topic):
            names = ("ingest_ms", *GRAINS[table.name].columns)
            for number, row in enumerate(makes.rows.get(table.name, ())):
                folder = f"date={day_of(row[1], row[0])}"
                folder += f"/ward={row[-1]}" if len(row) > len(names) else ""
                named = dict(zip(names, row, strict=False))
                made[table.name, folder].append({**place, "row": number, "schema_version": 1, **named})
    return made


def _headers(one: Sent) -> list[dict[str, Any]]:
    return [{"key": name, "value": content} for name, content in one.headers]


class Failing(Storage):
    """An HDFS at which ``failure`` comes at the n-th step that makes, renames or removes a file."""

    def __init__(self, one: Storage, steps: int, failure: Callable[[], BaseException]) -> None:
        super().__init__(one.url, one.rpc, one.user)
        self._steps, self._failure = steps, failure

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise self._failure()

    def write(self, path: str, content: bytes) -> None:
        """As ever, while it goes."""
        self._step()
        super().write(path, content)

    def rename(self, old: str, new: str) -> None:
        """As ever, while it goes."""
        self._step()
        super().rename(old, new)

    def remove(self, path: str) -> None:
        """As ever, while it goes."""
        self._step()
        super().remove(path)
