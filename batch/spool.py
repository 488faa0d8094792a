"""The raw records of the lake, in the order of a replay: ``python -m batch.spool``, asked and answering by
``contracts.spool``. Whoever wants to play old times again needs no broker that still has them.

Exit codes: 2 for a wrong setting or a role that may not, 4 when Kafka or HDFS is away, 5 for an order that cannot be
read.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from batch import access
from batch.storage import Storage
from contracts.errors import Misconfigured, Poison, Transient, WardError
from contracts.lake import RECORDS
from contracts.settings import Settings
from contracts.spool import Ask, Held, HeldLog, Row, Tally, put
from contracts.topology import CLOCK_KEY, topic_named

TRIES: Final = 5
"""Times that files may be merged while they are copied, before it is given up."""
SPARE: Final = 2 * 1024**3
"""Bytes that are left free on the disk of the copies."""
GROUPS: Final = 64
"""Decoded row groups that are kept: logs of one time stand in few of them."""
CODES: Final = ((Misconfigured, 2), (Transient, 4), (Poison, 5))
EDGE_MS: Final = 3_600_000
"""So far may the clocks of those who write be off: records of a span may lie in the day beside it."""
Ints = NDArray[np.int64]
Days = tuple[str | None, str | None]


@dataclass(frozen=True)
class Index:
    """Where each record of one log stands, in order of offset: its time, its file's row group, its row in it."""

    offset: Ints
    at_ms: Ints
    group: Ints
    row: Ints
    key: NDArray[np.object_]

    @property
    def due_ms(self) -> Ints:
        """The latest time up to each record: times that jump back do not change a log's order."""
        return np.maximum.accumulate(self.at_ms) if len(self.at_ms) else self.at_ms


class Copies:
    """The files of some topics and days, as they were at one moment, in a folder of this machine."""

    def __init__(
        self, storage: Storage, folder: Path, topics: Sequence[str], days: tuple[str | None, str | None]
    ) -> None:
        self._storage, self._folder = storage, folder
        self.groups: list[tuple[Path, int]] = []
        self.of: dict[str, list[Path]] = {}
        self._decoded: OrderedDict[int, Any] = OrderedDict()
        for topic in topics:
            self.of[topic] = self._copied(topic, *days)

    def _copied(self, topic: str, first: str | None, last: str | None) -> list[Path]:
        """Whole or not at all: a file that was merged into another meanwhile is looked for anew."""
        for _ in range(TRIES):
            found = [
                entry
                for entry in self._storage.entries(f"{RECORDS.path}/topic={topic}")
                if (first is None or _day(entry.path) >= first) and (last is None or _day(entry.path) <= last)
            ]
            needed, free = sum(entry.size for entry in found), shutil.disk_usage(self._folder).free
            if needed + SPARE > free:
                raise Transient(
                    f"{needed >> 20} MB of records are to be copied to {self._folder}, which has {free >> 20} MB free: "
                    "name a shorter span, or another TMPDIR"
                )
            try:
                self._storage.copy_down([entry.path for entry in found], str(self._folder))
            except FileNotFoundError:
                continue
            return [Path(f"{self._folder}{entry.path}") for entry in found]
        raise Transient(f"the files of {topic} change faster than they can be copied: try again in a while")

    def index(self, topic: str) -> dict[int, Index]:
        """Every record of a topic, by partition. Raises Poison when one stands twice."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = []
        for path in self.of[topic]:
            with pq.ParquetFile(path) as file:
                for number in range(file.num_row_groups):
                    read = file.read_row_group(number, columns=["kafka_partition", "kafka_offset", "ingest_ms", "key"])
                    count = read.num_rows
                    group = pa.array(np.full(count, len(self.groups), np.int64))
                    parts.append(read.append_column("group", group).append_column("row", pa.array(np.arange(count))))
                    self.groups.append((path, number))
        if not parts:
            return {}
        rows = pa.concat_tables(parts)
        partition, offset, at_ms = (
            rows.column(name).to_numpy().astype(np.int64) for name in ("kafka_partition", "kafka_offset", "ingest_ms")
        )
        order = np.lexsort((offset, partition))
        if (same := (np.diff(partition[order]) == 0) & (np.diff(offset[order]) == 0)).any():
            at = order[int(np.flatnonzero(same)[0])]
            where = f"{topic}/{partition[at]}/{offset[at]}"
            raise Poison("doubled", f"record {where} stands twice in the lake: `ward lake verify`", "records")
        keys = np.asarray(rows.column("key").to_pylist(), object)
        columns = (offset, at_ms, rows.column("group").to_numpy(), rows.column("row").to_numpy(), keys)
        starts = np.searchsorted(partition[order], np.unique(partition))
        return {
            int(partition[mine[0]]): Index(*(column[mine] for column in columns))
            for mine in np.split(order, starts[1:])
        }

    def record(self, group: int, row: int) -> tuple[bytes | None, list[dict[str, Any]] | None]:
        """The value and headers of a record."""
        import pyarrow.parquet as pq

        if group not in self._decoded:
            path, number = self.groups[group]
            with pq.ParquetFile(path) as file:
                read = file.read_row_group(number, columns=["value", "headers"])
            self._decoded[group] = (read.column("value").combine_chunks(), read.column("headers").combine_chunks())
            while len(self._decoded) > GROUPS:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(group)
        values, headers = self._decoded[group]
        return values[row].as_py(), headers[row].as_py()


def held(ask: Ask, found: dict[str, dict[int, Index]]) -> Held:
    """What of the order the lake has, a log for every partition of its topics."""
    keys = [key.encode() for key in ask.keys]
    logs = []
    for topic in ask.topics:
        for partition in range(topic_named(topic).partitions):
            one = found[topic].get(partition)
            logs.append(_held(topic, partition, one, ask, keys))
    return Held(logs=tuple(logs))


def _held(topic: str, partition: int, one: Index | None, ask: Ask, keys: list[bytes]) -> HeldLog:
    if one is None:
        return HeldLog(topic=topic, partition=partition, start=0, end=0, asked=None, ticks=None, whole=None)
    end = int(one.offset[-1]) + 1

    def first_at(moment_ms: int | None, otherwise: int) -> int:
        later = np.flatnonzero(one.at_ms >= moment_ms) if moment_ms is not None else np.zeros(0, np.int64)
        return int(one.offset[later[0]]) if len(later) else otherwise

    start = int(one.offset[0]) if ask.start_ms is None else first_at(ask.start_ms, end)
    until = max(start, end if ask.end_ms is None else first_at(ask.end_ms, end))
    within = (one.offset >= start) & (one.offset < until)
    mine = np.isin(one.key, np.asarray(keys, object)) if keys else np.ones(len(one.key), bool)
    return HeldLog(
        topic=topic,
        partition=partition,
        start=start,
        end=until,
        asked=_tally(one.at_ms[within & mine]),
        ticks=_tally(one.at_ms[within & (one.key == CLOCK_KEY.encode())]) if keys else None,
        whole=_tally(one.at_ms),
    )


def _tally(at_ms: Ints) -> Tally | None:
    return Tally(records=len(at_ms), first_ms=int(at_ms.min()), last_ms=int(at_ms.max())) if len(at_ms) else None


def rows(ask: Ask, found: dict[str, dict[int, Index]], copies: Copies) -> Iterator[Row]:
    """Every record of the spans: by time, those of one time by the number of the log, each log in its own order."""
    due, number, place = [], [], []
    chosen = []
    for log, (topic, partition, first, end) in enumerate(ask.spans or ()):
        one = found[topic].get(partition)
        chosen.append(one)
        if one is None:
            continue
        within = np.flatnonzero((one.offset >= first) & (one.offset < end))
        # as a replay from the broker sees it: the latest time since the span's own beginning
        due.append(np.maximum.accumulate(one.at_ms[within]) if len(within) else within)
        number.append(np.full(len(within), log))
        place.append(within)
    if not due:
        return
    all_due, all_numbers, all_places = np.concatenate(due), np.concatenate(number), np.concatenate(place)
    for at in np.lexsort((all_places, all_numbers, all_due)):
        log, where = int(all_numbers[at]), int(all_places[at])
        one = chosen[log]
        if one is not None:
            value, headers = copies.record(int(one.group[where]), int(one.row[where]))
            named = tuple((header["key"], header["value"]) for header in headers or ()) or None
            yield Row(log, int(one.offset[where]), int(one.at_ms[where]), one.key[where], value, named)


def answer(ask: Ask, settings: Settings, out: IO[bytes]) -> None:
    """Write what was asked for. Raises Poison for a topic that the lake does not know."""
    for topic in ask.topics:
        try:
            topic_named(topic)
        except KeyError:
            raise Poison(
                "unknown_topic", f"the lake keeps the topics of the topology; {topic} is none", "topics"
            ) from None
    storage = Storage.of(settings)
    days = (_utc_day(ask.start_ms, -EDGE_MS), _utc_day(ask.end_ms, EDGE_MS))
    access.told(settings, "replay", f"records of {', '.join(ask.topics)}", query=repr(ask), zone=RECORDS.zone)
    with tempfile.TemporaryDirectory(prefix="ward-spool-") as folder:
        copies = Copies(storage, Path(folder), ask.topics, days)
        found = {topic: copies.index(topic) for topic in ask.topics}
        put(out, held(ask, found))
        if ask.spans is not None:
            for row in rows(ask, found, copies):
                put(out, row)
        put(out, None)
        out.flush()


def _day(path: str) -> str:
    return next(part.removeprefix("date=") for part in path.split("/") if part.startswith("date="))


def _utc_day(moment_ms: int | None, edge_ms: int) -> str | None:
    if moment_ms is None:
        return None
    return datetime.fromtimestamp(max(moment_ms + edge_ms, 0) / 1000, UTC).date().isoformat()


def main() -> int:
    """One order, one answer."""
    try:
        ask = msgspec.json.decode(sys.stdin.buffer.read(), type=Ask)
        answer(ask, Settings.from_env(os.environ), sys.stdout.buffer)
    except msgspec.DecodeError as wrong:
        print(f"batch.spool: {wrong}", file=sys.stderr)
        return 5
    except BrokenPipeError:
        # whoever asked has enough; nothing more can be written, also not at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except WardError as failure:
        print(failure, file=sys.stderr)
        return next((code for kind, code in CODES if isinstance(failure, kind)), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
