"""The same span gives the same hash, however it comes; what was planted is found, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from contracts.records import SCHEMA_VERSION, BedReadings, Reading, Vital, VitalsFrame
from contracts.topology import CLOCK_KEY, VITALS, partition_for
from models.ports import ANOMALY
from models.vitals.asked import NONE
from models.vitals.engine import VitalsModels
from models.ward.core import WardCore
from streams.compare.matching import match
from streams.compare.report import Comparison, document, lines
from streams.compare.sides import Decider, Side, decided
from streams.compare.span import Cut, Part, Span
from streams.wardlog import LogRecord
from tests.unit.models.vitals.simple_models import add, load, registry_of
from tests.unit.streams.compare.logs import POLICY, T0, Log, decide, hospital, log_of, span_of, tick

SECONDS = 150
PARTITION = partition_for("W1", VITALS.partitions)


@pytest.fixture(scope="module")
def records() -> list[LogRecord]:
    return log_of(hospital(), SECONDS)


@pytest.fixture(scope="module")
def usual(records: list[LogRecord]) -> str:
    (found,) = decide(records)
    assert len({a.episode.condition for a in found.book.alerts.values()}) >= 4
    assert found.book.transitions >= 8
    return found.book.hash()


def test_ten_times_the_same_span_give_the_same_hash(records: list[LogRecord], usual: str) -> None:
    sides = [Side(f"{n}", POLICY) for n in range(5)]
    assert {found.book.hash() for _ in range(2) for found in decide(records, *sides)} == {usual}


def test_records_told_twice_change_nothing(records: list[LogRecord], usual: str) -> None:
    log = Log()
    for n, record in enumerate(records):
        for _ in range(1 + n % 3):
            log.put(record)
    assert len(log.records) > 1.9 * len(records)
    (found,) = decide(log.records)
    assert found.book.hash() == usual
    assert found.duplicates > 0


def test_partitions_interleaved_otherwise_change_nothing(records: list[LogRecord], usual: str) -> None:
    apart = sorted(records, key=lambda record: record.partition)
    assert len({record.partition for record in records}) > 1
    assert apart != records
    (found,) = decide(apart)
    assert found.book.hash() == usual


def test_wards_of_one_partition_interleaved_otherwise_change_nothing() -> None:
    beds = hospital(48, beds_per_ward=3)
    together: dict[int, list[LogRecord]] = {}
    for record in log_of(beds, 60):
        together.setdefault(record.partition, []).append(record)
    shared = together[PARTITION]
    assert len({record.key for record in shared}) >= 3
    log, waiting = Log(), list[LogRecord]()
    for record in shared:  # the frames between two ticks, last ward first
        if record.key == CLOCK_KEY.encode():
            for one in [*reversed(waiting), record]:
                log.put(one)
            waiting = []
        else:
            waiting.append(record)
    assert [r.key for r in log.records] != [r.key for r in shared]
    (there,), (here,) = decide(shared), decide(log.records)
    assert there.book.transitions > 0
    assert here.book.hash() == there.book.hash()


@pytest.mark.parametrize("second", [35, 63, 90])
def test_a_kill_and_a_restart_from_a_snapshot_change_nothing(records: list[LogRecord], second: int) -> None:
    whole = decided_from(records, T0 + second * 1000, None)
    assert decided_from(records, T0 + second * 1000, states_at(records, T0 + second * 1000)) == whole


def decided_from(records: list[LogRecord], start_ms: int, cuts: dict[int, Cut] | None) -> str:
    """The hash of what comes from ``start_ms`` on, with the state from all before it or from cuts."""
    span = span_of(records, start_ms)
    if cuts is not None:
        parts = {p: Part(cuts[p].offset, part.start, part.stop, cuts[p]) for p, part in span.parts.items()}
        span = Span(span.topic, span.partitions, None, None, parts, "the newest snapshot before the span")
        records = [record for record in records if record.offset >= parts[record.partition].begin]
    (found,) = decided(records, span, [Side("champion", POLICY)], None)
    assert found.book.transitions > 0
    return found.book.hash()


def states_at(records: list[LogRecord], start_ms: int) -> dict[int, Cut]:
    """What a worker's snapshots would hold of the moment."""
    span = span_of(records, start_ms)
    decider = Decider(Side("champion", POLICY), span, None)

    async def run() -> None:
        for record in records:
            if record.offset < span.parts[record.partition].start:
                await decider.take(record)

    asyncio.run(run())
    core = WardCore(POLICY)
    return {
        p: Cut(
            span.parts[p].start,
            {ward: core.dump(state) for ward, state in log.wards.items()},
            dict.fromkeys(log.wards, span.parts[p].start),
        )
        for p, log in decider.logs.items()
    }


def test_equal_sides_are_equal_and_a_policy_by_another_name_decides_the_same(records: list[LogRecord]) -> None:
    named = msgspec.structs.replace(POLICY, name="the same by another name")
    assert named.hash != POLICY.hash
    both = decide(records, Side("champion", POLICY), Side("candidate", named))
    found = Comparison.of(span_of(records), both, 1.0, False)
    assert found.equal
    report = document(found)
    assert report["differences"] == []
    assert report["fates"]["same"] == report["fates"]["champion"] > 0
    assert any("to the byte" in line for line in lines(report))


def test_a_planted_limit_is_found_exactly() -> None:
    """Three beds: one at 93 for a minute, one that falls to 92 and on to 80, one that is well all the time.

    The low limit 90 becomes 95 and the extreme one 85 becomes 90: the first is a new alarm after the delay of 15 s, the
    second comes 3 s earlier, by its first step; of the third there is nothing to tell.
    """
    log = Log()
    for second in range(110):
        falling = 97.0 if second < 30 else 92.0 if second < 40 else 80.0
        saturations = {"a": 93.0 if 20 <= second < 80 else 97.0, "b": falling, "c": 97.0}
        log.append(PARTITION, T0 + second * 1000, said(second, {p: (70.0, value) for p, value in saturations.items()}))
        log.append(PARTITION, T0 + second * 1000, tick(T0 + second * 1000))
    spo2 = msgspec.structs.replace(POLICY.limits[Vital.SPO2], low=95.0, extreme_low=90.0)
    stricter = msgspec.structs.replace(POLICY, limits={**POLICY.limits, Vital.SPO2: spo2})
    both = decide(log.records, Side("champion", POLICY), Side("candidate", stricter))
    found = Comparison.of(span_of(log.records), both, 1.0, False)
    assert not found.equal
    assert {
        (pair.either.episode.patient, pair.either.episode.condition): (
            pair.fate,
            pair.shift_s,
            pair.candidate and (pair.candidate.raised_ms or 0) - T0,
        )
        for pair in found.pairs
        if pair.either.episode.condition != "news2"
    } == {("a", "spo2_low"): ("new", None, 35_000), ("b", "spo2_low"): ("earlier", -3.0, 45_000)}
    assert all(pair.fate == "same" for pair in found.pairs if pair.either.episode.condition == "news2")


def said(second: int, beds: dict[str, tuple[float, float]]) -> VitalsFrame:
    """A frame of beds with a pulse and a saturation; the pulse moves a little, as pulses do."""
    return VitalsFrame(
        version=SCHEMA_VERSION,
        ward="W1",
        gateway="W1-gw",
        seq=second,
        at_ms=T0 + second * 1000,
        beds=tuple(
            BedReadings(
                bed=f"W1-{patient}",
                patient=patient,
                readings=(
                    Reading(vital=Vital.HEART_RATE, value=pulse + second % 3),
                    Reading(vital=Vital.RESPIRATION, value=14.0 + second % 2),
                    Reading(vital=Vital.SPO2, value=saturation),
                ),
            )
            for patient, (pulse, saturation) in beds.items()
        ),
    )


def test_a_planted_model_is_found_exactly(tmp_path: Path) -> None:
    """The candidate's model calls a pulse of 105 odd, the champion's none at all: one advisory of one bed is new."""
    registry = registry_of(tmp_path, scale=0.1)
    excitable = add(registry, ANOMALY, scale=9.0)
    models = VitalsModels(registry, load=load)
    models.refresh()
    log = Log()
    for second in range(240):
        at_ms = T0 + second * 1000
        log.append(PARTITION, at_ms, said(second, {"a": (105.0, 97.0), "b": (72.0, 97.0), "c": (72.0, 80.0)}))
        log.append(PARTITION, at_ms, tick(at_ms, models.champions()))
    champion, same, candidate, without = decide(
        log.records,
        Side("champion", POLICY),
        Side("candidate", POLICY),
        Side("candidate", POLICY, {ANOMALY: excitable}),
        Side("candidate", POLICY, {ANOMALY: NONE}),
        models=models,
    )
    assert champion.book.hash() == same.book.hash() == without.book.hash()
    assert (ANOMALY, excitable) in candidate.models
    assert ANOMALY not in {name for name, _ in without.models}
    pairs = match(champion.book.alerts.values(), candidate.book.alerts.values())
    different = [(p.fate, p.either.episode.patient, p.either.episode.condition) for p in pairs if p.fate != "same"]
    assert different == [("new", "a", "anomaly")]
    assert len(pairs) > 1
    assert champion.book.hash() != candidate.book.hash()
    assert champion.book.hash_without_advisories() == candidate.book.hash_without_advisories()
