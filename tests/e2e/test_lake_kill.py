"""kill -9 of the lake's driver and of the DataNode under load: every reading stands in one row, at every moment.

The short form feeds 200 beds, kills the driver five times in the middle of batches and the DataNode once;
WARDSTREAM_TEST_FULL=1 feeds 1,000 beds and kills twenty times.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from batch import manifests, offsets, typed
from batch.manifests import BATCH, Manifest
from batch.storage import Storage
from batch.topics import Topics
from contracts.codec import decode_frame
from contracts.errors import Transient
from contracts.lake import LANDED, RECORDS, STAGING, VITALS_TABLE, Table
from contracts.settings import Settings
from contracts.topology import VITALS
from infra.stack import Stack, wait_until
from tests.integration.streams.live import Feeder

FULL: Final = os.environ.get("WARDSTREAM_TEST_FULL", "") == "1"
BEDS: Final = 1000 if FULL else 200
KILLS: Final = 20 if FULL else 5
QUIET_S: Final = 120 if FULL else 25
"""So long the lake runs undisturbed at the end: from then on it is timed."""
BACK_S: Final = 240.0
IDENTITY: Final = ["kafka_partition", "kafka_offset", "row"]

pytestmark = [
    pytest.mark.stack,
    pytest.mark.kafka,
    pytest.mark.hdfs,
    pytest.mark.spark,
    pytest.mark.timeout(3600 if FULL else 1800),
]

Identity = tuple[int, int, int]


class Reader(threading.Thread):
    """Reads the published folder over and over, as any program would that knows Parquet and nothing of us."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(name="reader", daemon=True)
        self.storage, self.looks, self.away, self.most = storage, 0, 0, 0
        self.doubles: list[Identity] = []
        self.shrunk: list[tuple[int, int]] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.5):
            try:
                found = identities(self.storage, VITALS_TABLE, IDENTITY)
            except (OSError, RuntimeError, Transient):  # the DataNode is away; hdfs-native says so by RuntimeError
                self.away += 1
                continue
            self.looks += 1
            self.doubles += [identity for identity, times in found.items() if times > 1]
            if found.total() < self.most:
                self.shrunk.append((self.most, found.total()))
            self.most = max(self.most, found.total())

    def end(self) -> None:
        self._ended.set()
        self.join(60)


def identities(storage: Storage, table: Table, names: list[str]) -> Counter[Any]:
    """How often each row stands in the files of a table's folder, by a plain pyarrow dataset."""
    import pyarrow.dataset as ds

    if not storage.exists(table.path):
        return Counter()
    found = ds.dataset(
        table.path,
        filesystem=storage.arrow(),
        format="parquet",
        schema=typed.schema(table),
        partitioning=typed.partitioning(table),
    ).to_table(columns=names)
    return Counter(zip(*(found.column(name).to_pylist() for name in names), strict=True))


def frames(bootstrap: str) -> Iterator[tuple[int, int, bytes]]:
    """(partition, offset, value) of every record of patient_vitals."""
    from confluent_kafka import Consumer, TopicPartition

    with Topics(bootstrap) as topics:
        bounds = topics.bounds((VITALS.name,))
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "oracle", "log_level": 0})
    try:
        for (topic, partition), (first, until) in bounds.items():
            consumer.assign([TopicPartition(topic, partition, first)])
            left = until - first
            while left:
                for message in consumer.consume(500, 5.0):
                    assert message.error() is None
                    yield partition, message.offset(), message.value()
                    left -= 1
    finally:
        consumer.close()


def attempts(storage: Storage) -> set[str]:
    """What is being written, or was when a driver was killed: every try at a batch has a folder of its own."""
    try:
        return {f"{name}/{part}" for name in storage.names(STAGING) for part in storage.names(f"{STAGING}/{name}")}
    except Transient:
        return set()


def published(storage: Storage) -> int:
    """How many batches are told in manifests; 0 while HDFS does not answer."""
    try:
        return sum(one.kind == BATCH for one in manifests.load(storage))
    except Transient:
        return 0


def log_ends(bootstrap: str) -> dict[tuple[str, int], int]:
    """Where every topic that is landed ends now."""
    with Topics(bootstrap) as topics:
        return {where: end for where, (_, end) in topics.bounds(topic.name for topic in LANDED).items()}


def landed(storage: Storage, ends: dict[tuple[str, int], int]) -> bool:
    """Whether every offset up to there is published."""
    try:
        reached = offsets.reached(manifests.load(storage))
    except Transient:
        return False
    return all(reached.get(where, 0) >= end for where, end in ends.items())


def delays_s(storage: Storage, told: tuple[Manifest, ...], since_ms: int) -> list[float]:
    """Broker append to told in a manifest, of every record that came since then and wherever it stands by now."""
    made = {
        (span.topic, span.partition, offset): one.made_ms
        for one in told
        if one.kind == BATCH
        for span in one.spans
        for offset in range(span.first, span.until)
    }
    rows = identities(storage, RECORDS, ["topic", "kafka_partition", "kafka_offset", "ingest_ms"])
    return sorted((made[tuple(place)] - at_ms) / 1000 for *place, at_ms in rows if at_ms >= since_ms)


def test_kill_9_of_driver_and_datanode_loses_no_reading_and_doubles_none(stack: Callable[..., Stack]) -> None:
    topology = stack("lake")
    settings = Settings.from_env(topology.environment())
    storage, dice, turn = Storage.of(settings), random.Random(20260102), threading.Event()
    feeder, reader = Feeder(settings.kafka, BEDS, 100_000), Reader(storage)
    feeder.start()
    reader.start()
    before: Final[set[str]] = set()
    for number in range(KILLS):
        if number % 2:  # let one batch through, so that not all are killed in the same one
            done = published(storage)
            assert wait_until(lambda done=done: published(storage) > done, BACK_S), topology.tail("lake")  # type: ignore[misc]  # early binding
            before.update(attempts(storage))
        assert wait_until(lambda: not attempts(storage) <= before, BACK_S), topology.tail("lake")
        before.update(attempts(storage))
        turn.wait(dice.uniform(0, 2))  # anywhere in the batch
        killed = topology.kill("lake")
        assert wait_until(lambda killed=killed: topology.pid("lake") not in (None, killed), BACK_S)  # type: ignore[misc]  # early binding
        if number == KILLS // 2:
            topology.await_return("datanode", topology.kill("datanode"), BACK_S)
    topology.await_return("lake", 0, BACK_S)
    ends = log_ends(settings.kafka)
    assert wait_until(lambda: landed(storage, ends), BACK_S)
    calm_ms = time.time_ns() // 1_000_000
    turn.wait(QUIET_S)
    feeder.ticks = feeder.second
    feeder.join(60)
    last = log_ends(settings.kafka)
    assert wait_until(lambda: landed(storage, last), BACK_S)
    assert reader.is_alive()
    reader.end()

    wanted = {
        (partition, offset, row)
        for partition, offset, value in frames(settings.kafka)
        for row in range(sum(len(bed.readings) for bed in decode_frame(value).frame.beds))
    }
    found = identities(storage, VITALS_TABLE, IDENTITY)
    records = identities(storage, RECORDS, ["topic", "kafka_partition", "kafka_offset"])
    told = manifests.load(storage)
    delays = delays_s(storage, told, calm_ms)
    print(
        f"\n{KILLS} kills of the driver, 1 of the DataNode; {len(told)} manifests, {len(records)} records,"
        f" {len(wanted)} readings; a reader looked {reader.looks} times, {reader.away} times in vain;"
        f" append to readable of {len(delays)}: p50 {delays[len(delays) // 2]:.1f} s,"
        f" p95 {delays[int(len(delays) * 0.95)]:.1f} s"
    )
    assert found.keys() == wanted, (len(found), len(wanted))
    assert found.total() == len(wanted)
    assert set(records.values()) == {1}
    assert sum(span.records for one in told for span in one.spans) == len(records)
    assert (reader.doubles, reader.shrunk) == ([], [])
    assert reader.looks > KILLS
