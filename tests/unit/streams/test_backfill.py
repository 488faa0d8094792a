"""Newcomers whose past another ward knows: found, told once, and only when nobody else told of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from contracts import codec
from contracts.records import PastSeries, PastVitals, Vital, VitalsFrame
from contracts.topology import SNAPSHOTS, VITALS, partition_for
from models.ward.core import WardCore
from streams.backfill import GATEWAY, NAMED_AT_MOST
from streams.wardlog import LogRecord, Newcomer
from tests.unit.streams.memory import POLICY, START_MS, MemoryBroker, Worker, frame

pytestmark = pytest.mark.asyncio

OLD, NEW = "W1", "W2"
ALL = tuple(range(VITALS.partitions))


def place(ward: str) -> int:
    return partition_for(ward, VITALS.partitions)


async def ward_of(broker: MemoryBroker, ward: str, seconds: int, patient: str, start: int = 0) -> Worker:
    """A worker that has seen the patient in that ward for a while and cut."""
    worker = Worker(broker).start(*ALL)
    for n in range(start, start + seconds):
        broker.now_ms = START_MS + n * 1000
        sent = frame(ward, n, 70.0 + n % 9)
        moved = msgspec.structs.replace(sent.beds[0], patient=patient)
        await worker.run([broker.frame(msgspec.structs.replace(sent, beds=(moved,)))])
    await worker.shell.cut(place(ward))
    return worker


def told(broker: MemoryBroker, ward: str) -> list[LogRecord]:
    return [r for r in broker.log(place(ward)) if b'"past"' in (r.value or b"")]


async def test_a_patient_who_is_moved_comes_with_what_the_last_ward_knew() -> None:
    broker = MemoryBroker()
    await ward_of(broker, OLD, 300, "p-moved")
    worker = await ward_of(broker, NEW, 3, "p-moved", start=300)
    assert await worker.backfill.fill([Newcomer(NEW, f"{NEW}-01", "p-moved")]) == 1
    (record,) = told(broker, NEW)
    sent = codec.decode_frame(record.value).frame
    assert (sent.ward, sent.gateway) == (NEW, GATEWAY)
    assert {(p.bed, p.patient, p.origin) for p in sent.past} == {(f"{NEW}-01", "p-moved", "topic")}
    await worker.run([record])
    state = worker.shell.logs[place(NEW)].wards[NEW]
    ask = WardCore(POLICY).past_of(state, "p-moved", "x", "topic")[0][0]
    rates = next(s.values for s in ask.series if s.vital is Vital.HEART_RATE)
    assert sum(v is not None for v in rates) >= 4, "the minutes of the last ward"
    assert worker.broker.letters() == []


async def test_only_newcomers_of_whose_past_nothing_is_known_are_searched_for() -> None:
    broker = MemoryBroker()
    worker = await ward_of(broker, OLD, 3, "p1")
    assert worker.backfill._waiting.keys() == {(OLD, "p1")}
    past = PastVitals(
        bed=f"{OLD}-01",
        patient="p1",
        start_ms=START_MS - 3_600_000,
        step_s=3600,
        origin="lake",
        series=(PastSeries(vital=Vital.HEART_RATE, values=(71.0,)),),
    )
    sent = VitalsFrame(version=1, ward=OLD, gateway="gw", seq=1, at_ms=START_MS, past=(past,))
    await worker.run([broker.frame(sent)])
    assert not worker.backfill._waiting


async def test_nothing_is_told_of_who_was_never_seen_and_nobody_is_searched_for_twice() -> None:
    broker = MemoryBroker()
    await ward_of(broker, OLD, 5, "p1")
    worker = await ward_of(broker, NEW, 5, "p-new", start=5)
    newcomer = Newcomer(NEW, f"{NEW}-01", "p-new")
    assert await worker.backfill.fill([newcomer]) == 0
    assert told(broker, NEW) == []
    worker.backfill._waiting.clear()
    worker.backfill.admitted([newcomer])
    assert not worker.backfill._waiting


async def test_what_the_ward_itself_knows_is_not_told_to_it_again() -> None:
    broker = MemoryBroker()
    worker = await ward_of(broker, OLD, 200, "p1")
    assert await worker.backfill.fill([Newcomer(OLD, f"{OLD}-01", "p1")]) == 0


async def test_of_two_wards_that_knew_a_patient_the_later_one_counts() -> None:
    broker = MemoryBroker()
    for ward, start in (("W3", 0), (OLD, 400)):
        await ward_of(broker, ward, 300, "p-moved", start=start)
    worker = await ward_of(broker, NEW, 2, "p-moved", start=701)
    await worker.backfill.fill([Newcomer(NEW, f"{NEW}-01", "p-moved")])
    (record,) = told(broker, NEW)
    ends = {p.start_ms + p.step_s * 1000 * len(p.series[0].values) for p in codec.decode_frame(record.value).frame.past}
    assert max(ends) > START_MS + 600_000


async def test_a_damaged_snapshot_is_passed_over() -> None:
    broker = MemoryBroker()
    await ward_of(broker, OLD, 120, "p-moved")
    broker.append(SNAPSHOTS.name, place("W3"), b"W3", b"{")
    worker = await ward_of(broker, NEW, 2, "p-moved", start=120)
    assert await worker.backfill.fill([Newcomer(NEW, f"{NEW}-01", "p-moved")]) == 1


async def test_a_ward_that_opens_whole_is_searched_for_in_one_go() -> None:
    broker = MemoryBroker()
    await ward_of(broker, OLD, 120, "p-moved")
    worker = Worker(broker).start(*ALL)
    many = [Newcomer(NEW, f"{NEW}-{n:02d}", f"p{n}") for n in range(NAMED_AT_MOST * 2)]
    worker.backfill.admitted([*many, Newcomer(NEW, f"{NEW}-99", "p-moved")])
    filling = asyncio.ensure_future(worker.backfill.keep_filling(gather_s=0.0))
    while not told(broker, NEW):
        await asyncio.sleep(0)
    filling.cancel()
    sample = worker.metrics.registry.get_sample_value
    assert sample("ward_backfills_total", {"outcome": "found"}) == 1
    assert sample("ward_backfills_total", {"outcome": "unknown"}) == len(many)
