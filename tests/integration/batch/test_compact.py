"""Compaction on a real HDFS: no reader notices, no row moves, and a kill at any step is finished by the next run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from batch import compact as compaction
from batch.compact import candidates, compact, compact_some
from batch.storage import Storage
from batch.tidying import Tidying
from batch.turns import LOCK, Busy, held
from batch.verify import Wish, verify
from batch.view import OPEN, View, view
from contracts.errors import Misconfigured, Poison
from contracts.lake import VITALS_TABLE
from infra.stack import wait_until
from tests.integration.batch.conftest import empty_roots
from tests.integration.batch.handmade import Lake, frame, read, sent

pytestmark = [pytest.mark.hdfs]

FOLDER = f"{VITALS_TABLE.path}/date=2026-01-02/ward=W1"


WENT = ("not found", "no such", "filenotfound", "does not exist", "no files", "all datanodes failed")
"""How engines say that a file went away after their look at the folder: at its name, or, without any grace, at its
blocks."""


class Killed(BaseException):
    """The process ends here."""


class Dying(Storage):
    """An HDFS whose user is killed before, or right after, the n-th step that changes something."""

    def __init__(self, one: Storage, lives: int, after: bool) -> None:
        super().__init__(one.url, one.rpc, one.user)
        self.lives, self.after = lives, after

    def _step(self, do: Callable[[], None]) -> None:
        if self.lives == 0 and not self.after:
            raise Killed
        do()
        self.lives -= 1
        if self.lives < 0:
            raise Killed

    def write(self, path: str, content: bytes) -> None:
        if path == LOCK:
            super().write(path, content)
        else:
            self._step(lambda: Storage.write(self, path, content))

    def replace(self, old: str, new: str) -> None:
        self._step(lambda: Storage.replace(self, old, new))

    def concat(self, target: str, sources: Any) -> None:
        self._step(lambda: Storage.concat(self, target, sources))


@pytest.fixture(scope="module")
def many(storage: Storage, superuser: Storage) -> tuple[Lake, dict[str, tuple[int, bytes]]]:
    """Six batches of one ward."""
    empty_roots(superuser)
    one = Lake(storage)
    for batch in range(6):
        one.land(sent([frame("W1", 2 * batch + n) for n in range(2)], "W1", 2 * batch))
    return one, one.kept()


@pytest.fixture
def small(many: tuple[Lake, dict[str, tuple[int, bytes]]]) -> Iterator[Storage]:
    """That lake; it is as it was afterwards."""
    one, kept = many
    yield one.storage
    one.restore(kept)


def rows(storage: Storage) -> list[dict[str, Any]]:
    found = ds.dataset(VITALS_TABLE.path, format="parquet", filesystem=storage.arrow()).to_table()
    return sorted(found.to_pylist(), key=lambda row: (row["kafka_offset"], row["row"]))


def is_clean(storage: Storage) -> bool:
    report = verify(storage, Wish(None))
    assert report.findings == []
    return report.reconciled


def files(storage: Storage) -> list[str]:
    return [entry.path for entry in storage.entries(VITALS_TABLE.path)]


def test_small_files_become_one_with_the_same_rows_in_order_of_time(small: Storage) -> None:
    before = rows(small)
    assert len(files(small)) == 6
    done = compact(small, grace_s=0)
    assert (done.groups, done.cleaned, done.files) == (2, 2, 12)
    assert done.bytes_after < done.bytes_before
    assert files(small) == [f"{FOLDER}/b000000000000-0.parquet"]
    assert rows(small) == before
    times = read(small, files(small)[0]).column("event_ms").to_pylist()
    assert times == sorted(times)
    assert is_clean(small)
    assert list(small.entries(OPEN, hidden=True)) == []
    assert compact(small, grace_s=0).groups == 0, "there is nothing left to do"


def test_a_joined_file_keeps_its_parts_until_no_reader_can_have_them_open(small: Storage) -> None:
    before = rows(small)
    assert (compact(small).groups, compact(small).cleaned) == (2, 0)
    joined = {file.path: file.size for file in view(small).of("vitals")}
    assert rows(small) == before
    assert is_clean(small)
    assert compact(small, grace_s=0).cleaned == 2
    assert {file.path: file.size for file in view(small).of("vitals")} != joined
    assert rows(small) == before
    assert is_clean(small)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(7), ids=["intent", "clean", "tail", "join", "tell", "swap", "tell-swap"])
def test_a_kill_at_any_step_leaves_a_whole_lake_and_is_finished(small: Storage, step: int, after: bool) -> None:
    before = rows(small)
    with pytest.raises(Killed), held_by_nobody(small):
        compact(Dying(small, step, after), tables=("vitals",), grace_s=0)
    assert rows(small) == before
    assert is_clean(small)
    compact(small, tables=("vitals",), grace_s=0)
    assert rows(small) == before
    assert len(files(small)) == 1
    assert is_clean(small)
    assert [entry.path for entry in small.entries(FOLDER, hidden=True)] == files(small)


class held_by_nobody:  # reads as a part of the sentence
    """What was killed did not give its turn back: its lock is still there, as of a process that is dead."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, *_why: object) -> None:
        import socket

        dead = {"host": socket.gethostname(), "pid": 2**22 + 1, "at_ms": int(time.time() * 1000), "token": "x"}
        self.storage.remove(LOCK)
        self.storage.write(LOCK, msgspec.json.encode(dead))


def by_path(storage: Storage) -> int:
    return int(ds.dataset(VITALS_TABLE.path, format="parquet", filesystem=storage.arrow()).count_rows())


def by_path_every_value(storage: Storage) -> int:
    return int(ds.dataset(VITALS_TABLE.path, format="parquet", filesystem=storage.arrow()).to_table().num_rows)


def by_manifests(storage: Storage) -> int:
    paths = [file.path for file in view(storage).of("vitals")]
    return int(ds.dataset(paths, format="parquet", filesystem=storage.arrow()).count_rows())


def by_duckdb(storage: Storage) -> int:
    import duckdb
    from hdfs_native.fsspec import HdfsFileSystem

    host, _, port = storage.rpc.removeprefix("hdfs://").partition(":")
    with duckdb.connect() as asked:
        asked.register_filesystem(HdfsFileSystem(host=host, port=int(port), skip_instance_cache=True))
        return int(asked.read_parquet(f"hdfs://{VITALS_TABLE.path}/*/*/*.parquet").count("*").fetchall()[0][0])


@pytest.mark.parametrize("reader", [by_path, by_path_every_value, by_manifests, by_duckdb])
def test_readers_see_the_same_rows_all_the_time(small: Storage, reader: Callable[[Storage], int]) -> None:
    right = reader(small)
    counts: list[int] = []
    again: list[str] = []
    over = threading.Event()

    def hammer() -> None:
        own = Storage(small.url, small.rpc, small.user)
        while not over.is_set():
            try:
                counts.append(reader(own))
            except Exception as gone:  # each engine has its own for a file that went away
                again.append(f"{type(gone).__name__}: {gone}")

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    compact(small)
    compact(small, grace_s=0)
    until = len(counts) + 3
    assert wait_until(lambda: len(counts) >= until, 30)
    over.set()
    for thread in threads:
        thread.join()
    assert set(counts) == {right}
    assert all(any(word in why.lower() for word in WENT) for why in again), again


def test_work_beside_the_stream_is_bounded_and_leaves_large_files_alone(small: Storage) -> None:
    assert compact_some(small, min_files=7) == compaction.NOTHING
    assert compact_some(small, min_files=6, most=1).groups == 1
    assert compact_some(small, min_files=6, may_go_on=lambda: False).groups == 0
    assert compact_some(small, min_files=6).groups == 1
    assert is_clean(small)
    with held(small):
        assert compact_some(small, min_files=2, grace_s=0).cleaned == 0, "somebody else's turn"
    assert compact_some(small, min_files=2, grace_s=0).cleaned == 2
    now = view(small)
    largest = max(now.of("vitals"), key=lambda file: file.size)
    tiny = [msgspec.structs.replace(largest, path=f"{FOLDER}/x{n}", size=10) for n in range(4)]
    grown = View(now.manifests, {file.path: file for file in (largest, *tiny)})
    [group] = candidates(grown, 16 * compaction.MB, 2, ("vitals",), tiered=True)
    assert largest not in group.files


def test_only_one_joins_or_removes_at_a_time(small: Storage) -> None:
    with held(small), pytest.raises(Busy, match=f"process {os.getpid()}"):
        compact(small)
    assert compact(small, grace_s=0).groups == 2


def test_a_damaged_file_is_named_and_nothing_is_changed(small: Storage) -> None:
    path = f"{FOLDER}/b000000000002-0.parquet"
    content = bytearray(small.read(path))
    content[10:40] = bytes(30)
    small.remove(path)
    small.write(path, bytes(content))
    before = {entry.path: entry.size for entry in small.entries(VITALS_TABLE.path)}
    [why] = compact(small, tables=("vitals",)).damaged
    assert "unreadable_file" in why
    assert FOLDER in why
    assert {entry.path: entry.size for entry in small.entries(VITALS_TABLE.path)} == before
    with pytest.raises(Misconfigured, match="compacted are records, vitals"):
        compact(small, tables=("features",))


def test_what_is_read_back_must_be_what_was_read() -> None:
    rows = pa.table({"event_ms": pa.array(range(1000), pa.int64())})
    other = pa.table({"event_ms": pa.array(range(1, 1001), pa.int64())})
    compaction.prove(rows, compaction.parquet(rows), compaction.parquet(rows, 5000), 5000)
    with pytest.raises(Poison, match="nothing was changed"):
        compaction.prove(rows, compaction.parquet(rows), compaction.parquet(other, 5000), 5000)


def test_rows_of_before_a_column_was_added_have_a_null_there(small: Storage, superuser: Storage) -> None:
    empty_roots(superuser)
    storage, one = small, Lake(small)
    for batch in range(3):
        one.land(sent([frame("W1", batch)], "W1", batch))
    first = next(file for file in one.files if file.table == "vitals")
    one.change(first, lambda table: table.drop_columns(["seq", "gateway"]))
    compact(storage, grace_s=0)
    table = read(storage, first.path)
    assert table.num_rows == 27
    assert table.column_names == [column.name for column in VITALS_TABLE.columns]
    assert is_clean(storage)


def test_the_streams_own_thread_joins_in_its_pauses_and_survives_an_hdfs_that_is_away(small: Storage) -> None:
    stop, idle = threading.Event(), threading.Event()
    away = Tidying(Storage("http://127.0.0.1:9", "hdfs://127.0.0.1:9"), stop, every_s=0.2, min_files=2)
    tidying = Tidying(Storage(small.url, small.rpc, small.user), stop, idle.is_set, every_s=0.02, min_files=2)
    for thread in (away, tidying):
        thread.start()
    try:
        assert not wait_until(lambda: len(files(small)) < 6, 1.0), "the stream is busy"
        idle.set()
        assert wait_until(lambda: len(files(small)) == 1, 30)
        assert away.is_alive()
    finally:
        stop.set()
        for thread in (away, tidying):
            thread.join(30)
    assert is_clean(small)
