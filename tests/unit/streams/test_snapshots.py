"""Cuts: complete or not there, whatever dies, is damaged, or writes too late."""

from __future__ import annotations

import msgspec
import pytest

from contracts import codec
from contracts.errors import Poison, Transient
from contracts.records import SCHEMA_VERSION, WardSnapshot
from contracts.topology import SNAPSHOTS
from streams.snapshots import CUT_KEY, unpacked
from tests.unit.streams.memory import (
    START_MS,
    MemoryBroker,
    Worker,
    frame,
    snapshots,
    stormy_log,
    two_wards_of_one_partition,
)

pytestmark = pytest.mark.asyncio


async def cut_log(broker: MemoryBroker, *lengths: int) -> tuple[Worker, int]:
    """A worker that took the storm and cut after so many records each."""
    partition = stormy_log(broker, 60)
    worker, log, at = Worker(broker).start(partition), broker.log(partition), 0
    for length in lengths:
        await worker.run(log[at:length])
        await worker.shell.cut(partition)
        at = length
    return worker, partition


async def test_a_cut_brings_back_equal_states_at_its_offset() -> None:
    broker = MemoryBroker()
    worker, partition = await cut_log(broker, 120)
    restored = await Worker(broker).snapshots.load(partition, 0)
    assert restored.start == 120
    assert restored.wards == worker.shell.logs[partition].wards


async def test_without_a_cut_the_log_is_read_from_its_start() -> None:
    restored = await Worker(MemoryBroker()).snapshots.load(3, 17)
    assert (restored.start, restored.wards) == (17, {})


async def test_a_death_inside_a_cut_leaves_the_last_one_valid() -> None:
    broker = MemoryBroker()
    worker, partition = await cut_log(broker, 120)
    await worker.run(broker.log(partition)[120:130])
    broker.dies_after = 1  # one ward of two, and no marker
    assert await worker.shell.cut(partition) is None
    restored = await Worker(broker).snapshots.load(partition, 0)
    assert restored.start == 120
    assert sorted(restored.own.values()) == [120, 130]


async def test_a_cut_waits_for_the_outputs_below_it() -> None:
    broker = MemoryBroker()
    worker, partition = await cut_log(broker, 50)
    before = len(snapshots(broker, partition))
    worker.outbox.failure = ConnectionError("a score was given up")
    with pytest.raises(Transient):
        await worker.snapshots.write(worker.shell.logs[partition])
    assert len(snapshots(broker, partition)) == before


async def test_a_ward_that_appeared_after_the_cut_is_not_lost() -> None:
    broker = MemoryBroker()
    first, second, partition = two_wards_of_one_partition()
    worker = Worker(broker).start(partition)
    broker.frame(frame(first, 0))
    await worker.run(broker.log(partition))
    await worker.shell.cut(partition)
    broker.frame(frame(second, 1))
    broker.tick(partition)
    await worker.run(broker.log(partition)[1:])
    again = Worker(broker).start(partition)
    await again.run([broker.tick(partition)])
    assert again.shell.logs[partition].wards.keys() == {first, second}


async def test_a_late_writer_that_overwrites_a_newer_snapshot_costs_reading_not_state() -> None:
    broker = MemoryBroker()
    worker, partition = await cut_log(broker, 60, 120)
    records = snapshots(broker, partition)
    old = next(r for r in records if r.key != CUT_KEY.encode())
    broker.append(SNAPSHOTS.name, partition, old.key, old.value)  # a worker that lost the partition comes in late
    restored = await Worker(broker).snapshots.load(partition, 0)
    assert restored.start == 60
    log = broker.log(partition)
    again = Worker(broker).start(partition)
    await again.run(log[119:120])
    assert again.shell.logs[partition].wards == worker.shell.logs[partition].wards


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b'{"version":1}',
        codec.encode(WardSnapshot(version=1, ward="W1", partition=0, next_offset=9, at_ms=1, state=b"?")),
    ],
)
async def test_a_damaged_snapshot_is_refused_and_its_ward_rebuilt_from_the_log(damage: bytes) -> None:
    broker = MemoryBroker()
    worker, partition = await cut_log(broker, 120)
    ward = sorted(worker.shell.logs[partition].wards)[0]
    broker.append(SNAPSHOTS.name, partition, ward.encode(), damage)
    restored = await Worker(broker).snapshots.load(partition, 0)
    assert restored.start == 0
    assert ward not in restored.wards
    again = Worker(broker).start(partition)
    await again.run(broker.log(partition)[119:120])
    assert again.shell.logs[partition].wards == worker.shell.logs[partition].wards


async def test_a_snapshot_of_another_state_version_is_refused() -> None:
    broker = MemoryBroker()
    worker, partition = await cut_log(broker, 30)
    ward, state = next(iter(worker.shell.logs[partition].wards.items()))
    core = worker.shell._core
    newer = core.dump(state)
    with pytest.raises(Poison):
        core.load(b"\x92\x63" + newer[2:])  # version 99 in front of the same state
    record = WardSnapshot(
        version=SCHEMA_VERSION,
        ward=ward,
        partition=partition,
        next_offset=30,
        at_ms=START_MS,
        state=b"\x92\x63" + newer[2:],
    )
    broker.append(SNAPSHOTS.name, partition, ward.encode(), codec.encode(record))
    assert (await Worker(broker).snapshots.load(partition, 0)).start == 0


async def test_a_damaged_marker_means_reading_all() -> None:
    broker = MemoryBroker()
    _, partition = await cut_log(broker, 120)
    broker.append(SNAPSHOTS.name, partition, CUT_KEY.encode(), b"?")
    restored = await Worker(broker).snapshots.load(partition, 0)
    assert (restored.start, restored.wards) == (0, {})


async def test_what_retention_took_is_passed_over_loudly() -> None:
    broker = MemoryBroker()
    _, partition = await cut_log(broker, 30)
    restored = await Worker(broker).snapshots.load(partition, 70)
    assert restored.start == 70


async def test_a_long_tail_of_cuts_is_not_read_whole() -> None:
    broker = MemoryBroker()
    worker, partition = await cut_log(broker, 120)
    for _ in range(400):
        worker.snapshots.forget(partition)
        await worker.shell.cut(partition)
    assert len(snapshots(broker, partition)) == 401 * 3
    again = Worker(broker)
    spans: list[int] = []
    inner = again.reader.span

    def counted(topic: str, partition: int, start: int, stop: int):  # type: ignore[no-untyped-def]  # passes through
        spans.append(stop - start)
        return inner(topic, partition, start, stop)

    again.reader.span = counted  # type: ignore[method-assign]  # a counter in front of the real one
    assert (await again.snapshots.load(partition, 0)).start == 120
    assert spans == [256]


async def test_a_state_that_was_not_packed_can_still_be_read() -> None:
    broker = MemoryBroker()
    worker, partition = await cut_log(broker, 120)
    for record in tuple(snapshots(broker, partition)):
        if record.key != CUT_KEY.encode():
            packed = codec.decode(record.value, WardSnapshot)
            plain = msgspec.structs.replace(packed, state=unpacked(packed.state))
            assert plain.state != packed.state
            broker.append(SNAPSHOTS.name, partition, record.key, codec.encode(plain))
    restored = await Worker(broker).snapshots.load(partition, 0)
    assert restored.wards == worker.shell.logs[partition].wards


async def test_a_packed_state_that_is_damaged_is_refused() -> None:
    with pytest.raises(Poison, match="unpack"):
        unpacked(b"\x28\xb5\x2f\xfd and nothing that follows")
