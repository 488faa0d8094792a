"""The vitals shell without Kafka: guard, gaps, restarts at any moment, dead letters, the poison limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts import codec
from contracts.records import SourceOffset, VitalsFrame
from contracts.topology import CLOCK_KEY
from models.ward.core import WardCore
from streams import ledger
from streams.ledger import Ledger
from tests.unit.streams.memory import (
    POLICY,
    MemoryBroker,
    Worker,
    frame,
    stormy_log,
    two_wards_of_one_partition,
)

pytestmark = pytest.mark.asyncio


def written(broker: MemoryBroker) -> Ledger:
    book = Ledger()
    for transition in broker.transitions():
        book.add(transition)
    return book


async def agree(broker: MemoryBroker, partition: int) -> Ledger:
    ours = await ledger.decide(list(broker.log(partition)), WardCore(POLICY))
    theirs = written(broker)
    assert ours.transitions, "the log must lead to alarms, else nothing is shown"
    assert ledger.compare(ours, theirs).none
    return theirs


async def test_a_log_delivered_once_is_decided_once() -> None:
    broker = MemoryBroker()
    partition = stormy_log(broker, 60)
    await Worker(broker).start(partition).run(broker.log(partition))
    book = await agree(broker, partition)
    assert book.repeats == 0


async def test_records_that_were_not_delivered_are_read_from_the_log() -> None:
    broker = MemoryBroker()
    partition = stormy_log(broker, 60)
    delivered = [r for r in broker.log(partition) if r.offset % 7 == 3 or r is broker.log(partition)[-1]]
    await Worker(broker).start(partition).run(delivered)
    book = await agree(broker, partition)
    assert book.repeats == 0
    assert broker.reads, "the gaps were read"


async def test_records_that_are_delivered_again_are_skipped() -> None:
    broker = MemoryBroker()
    partition = stormy_log(broker, 40)
    log = broker.log(partition)
    await Worker(broker).start(partition).run([*log[:50], *log[20:60], *log[10:], *log])
    assert (await agree(broker, partition)).repeats == 0


@pytest.mark.parametrize("writes", [0, 1, 2, 5, 17, 40, 63, 64, 65, 66, 67, 68, 90, 111, 112, 113, 114])
async def test_a_worker_that_dies_at_any_write_loses_and_changes_nothing(writes: int) -> None:
    broker = MemoryBroker()
    partition = stormy_log(broker, 60)
    log = broker.log(partition)

    async def live_until_death(worker: Worker) -> None:
        for record in log:
            await worker.shell._handle(record)
            if record.offset % 20 == 19:
                await worker.shell.cut(partition)

    broker.dies_after = writes
    first = Worker(broker).start(partition)
    try:
        await live_until_death(first)
    except Exception as death:  # the shell's guard would stop the worker here
        assert "dead" in str(death)  # noqa: PT017 the kind of failure is what the test is about
    broker.dies_after = None
    second = Worker(broker).start(partition)
    await live_until_death(second)
    await agree(broker, partition)


async def test_a_restart_goes_on_from_the_last_cut_not_from_the_start() -> None:
    broker = MemoryBroker()
    partition = stormy_log(broker, 60)
    log = broker.log(partition)
    first = Worker(broker).start(partition)
    await first.run(log[:100])
    assert await first.shell.cut(partition) == 2
    await first.run(log[100:110])
    await Worker(broker).start(partition).run(log[108:])
    assert broker.reads == [(partition, 100, 108)]
    await agree(broker, partition)


async def test_a_partition_that_comes_straight_back_goes_on_where_it_was() -> None:
    broker = MemoryBroker()
    partition = stormy_log(broker, 60)
    log = broker.log(partition)
    worker = Worker(broker).start(partition)
    await worker.run(log[:90])
    worker.shell.revoked([partition])
    await worker.run(log[90:91])  # still buffered somewhere; it is not ours now
    worker.shell.assigned([partition])
    await worker.run(log[95:])
    assert broker.reads == [(partition, 90, 95)]
    assert (await agree(broker, partition)).repeats == 0


async def test_state_of_a_partition_that_went_elsewhere_is_dropped() -> None:
    broker = MemoryBroker()
    partition = stormy_log(broker, 30)
    worker = Worker(broker).start(partition)
    await worker.run(broker.log(partition))
    worker.shell.revoked([partition])
    worker.shell.assigned([(partition + 1) % 12])
    assert worker.shell.logs == {}
    before = len(broker.transitions())
    await worker.run(broker.log(partition))
    assert len(broker.transitions()) == before


async def test_what_cannot_be_read_is_set_aside_with_its_place_and_the_rest_goes_on() -> None:
    broker = MemoryBroker()
    ward, _, partition = two_wards_of_one_partition()
    broker.frame(frame(ward, 0))
    bad = broker.append("patient_vitals", partition, ward.encode(), b'{"version":')
    tombstone = broker.append("patient_vitals", partition, None, None)
    broker.frame(frame(ward, 1))
    await Worker(broker).start(partition).run(broker.log(partition))
    letters = broker.letters()
    assert [(letter.reason, letter.source.offset) for letter in letters] == [
        ("not_json", bad.offset),
        ("tombstone", tombstone.offset),
    ]
    assert letters[0].raw == b'{"version":'
    assert letters[0].key == ward.encode()
    assert len(broker.scores()) == 2


async def test_one_bad_bed_does_not_blind_its_neighbours() -> None:
    broker = MemoryBroker()
    ward, _, partition = two_wards_of_one_partition()
    raw = codec.encode(frame(ward, 0)).replace(b'"beds":[', b'"beds":[{"bed":7,"patient":"p","readings":[]},')
    broker.append("patient_vitals", partition, ward.encode(), raw)
    await Worker(broker).start(partition).run(broker.log(partition))
    (letter,) = broker.letters()
    assert letter.partial
    assert letter.field.startswith("$.beds[0]")
    assert letter.raw == b'{"bed":7,"patient":"p","readings":[]}'
    assert len(broker.scores()) == 1


async def test_a_frame_in_another_wards_partition_is_set_aside() -> None:
    broker = MemoryBroker()
    ward, _, partition = two_wards_of_one_partition()
    elsewhere = (partition + 1) % 12
    broker.append("patient_vitals", elsewhere, ward.encode(), codec.encode(frame(ward, 0)))
    await Worker(broker).start(elsewhere).run(broker.log(elsewhere))
    assert [letter.reason for letter in broker.letters()] == ["wrong_partition"]
    assert broker.scores() == []


async def test_a_clock_tick_with_beds_is_no_clock_tick() -> None:
    broker = MemoryBroker()
    record = broker.frame(frame(CLOCK_KEY, 0))
    await Worker(broker).start(record.partition).run([record])
    assert [letter.reason for letter in broker.letters()] == ["reserved_ward"]


async def test_too_many_unreadable_records_in_a_row_stop_the_worker_after_they_are_safe() -> None:
    broker = MemoryBroker()
    for _ in range(5):
        broker.append("patient_vitals", 0, b"W", b"?")
    worker = Worker(broker, poison_limit=3).start(0)
    with pytest.raises(TimeoutError):  # a stopped shell takes nothing more, it waits to be ended
        await asyncio.wait_for(worker.run(broker.log(0)), 0.2)
    assert len(broker.letters()) == 3
    assert len(worker.halts) == 1
    assert "3 unreadable records in a row" in worker.halts[0]


async def test_a_good_record_between_bad_ones_resets_the_count_but_a_tick_does_not() -> None:
    broker = MemoryBroker()
    ward, _, partition = two_wards_of_one_partition()
    for n in range(4):
        broker.append("patient_vitals", partition, b"W", b"?")
        broker.append("patient_vitals", partition, b"W", b"?")
        broker.frame(frame(ward, n))
    worker = Worker(broker, poison_limit=3).start(partition)
    await worker.run(broker.log(partition))
    assert worker.halts == []
    for _ in range(2):
        broker.append("patient_vitals", partition, b"W", b"?")
    broker.tick(partition)
    broker.append("patient_vitals", partition, b"W", b"?")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.run(broker.log(partition)), 0.2)
    assert len(worker.halts) == 1


class Brittle(WardCore):
    """A core with a fault of its own for one ward."""

    def step(self, state: Any, frame: VitalsFrame, now_ms: int, source: SourceOffset) -> Any:
        if frame.ward == "W1":
            raise ZeroDivisionError("a fault of the core")
        return super().step(state, frame, now_ms, source)


async def test_a_fault_of_the_core_costs_one_record_and_never_the_stream() -> None:
    broker = MemoryBroker()
    first, second, partition = two_wards_of_one_partition()
    assert first == "W1"
    broker.frame(frame(first, 0))
    broker.frame(frame(second, 0))
    worker = Worker(broker, core=Brittle(POLICY)).start(partition)
    await worker.run(broker.log(partition))
    assert [letter.reason for letter in broker.letters()] == ["core_fault"]
    assert len(broker.scores()) == 1
    assert worker.halts == []


async def test_a_broken_shell_stops_the_worker_instead_of_losing_the_record() -> None:
    broker = MemoryBroker()
    ward, _, partition = two_wards_of_one_partition()
    broker.frame(frame(ward, 0))
    worker = Worker(broker).start(partition)
    broker.dies_after = 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.run(broker.log(partition)), 0.2)
    assert len(worker.halts) == 1
