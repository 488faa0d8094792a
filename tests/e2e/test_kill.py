"""kill -9 of worker, broker and feed under load: nothing lost, nothing doubled, never a long silence.

The short form runs 1,000 beds for about a minute and a half and kills each once; WARDSTREAM_TEST_FULL=1 kills twenty
times over ten minutes.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from typing import Final

import pytest

from contracts import codec
from contracts.records import SCHEMA_VERSION, AlertTransition, Category, SourceOffset, VitalsFrame
from contracts.topology import CLOCK_KEY, FORECASTS, VITALS
from infra.stack import Stack, wait_until
from models.ward.core import WardCore
from models.ward.policy import load_policy
from producers.ward import Hospital
from streams import ledger
from tests.integration.streams.live import Arrivals, Feeder, caught_up, log_ends, models_in, storm

FULL: Final = os.environ.get("WARDSTREAM_TEST_FULL", "") == "1"
BEDS: Final = 1000
TICKS: Final = 600 if FULL else 63
KILLS: Final = 20 if FULL else 3
GAP_S: Final = 15.0
VICTIMS: Final = ("vitals", "kafka", "feed")

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.timeout(1500 if FULL else 420)]


def schedule() -> list[tuple[int, str]]:
    """At which second of the run who is killed: each in turn, evenly, not on the beat."""
    rng = random.Random(20260102)
    every = (TICKS - 12) / KILLS
    return [(int(8 + n * every + rng.uniform(0, 2)), VICTIMS[n % len(VICTIMS)]) for n in range(KILLS)]


def test_kill_9_of_worker_broker_and_feed_loses_nothing_and_doubles_nothing(stack: Callable[..., Stack]) -> None:
    topology = stack("vitals", "feed", WARD_SNAPSHOT_EVERY_S="2")
    bootstrap = topology.environment()["WARD_KAFKA"]
    feeder, arrivals = Feeder(bootstrap, BEDS, TICKS, past=True), Arrivals(bootstrap)
    arrivals.start()
    feeder.start()
    back: list[tuple[str, float]] = []
    for second, victim in schedule():
        feeder.at(second, TICKS + 60)
        killed = topology.kill(victim)
        back.append((victim, round(topology.await_return(victim, killed), 1)))
    feeder.join(TICKS + 120)
    assert not feeder.is_alive()
    ends = log_ends(bootstrap)
    assert wait_until(lambda: caught_up(bootstrap, lambda: ends), 60), (ends, ledger.cuts(bootstrap))
    arrivals.end()

    ours, theirs, difference = ledger.audit(bootstrap, WardCore(load_policy(None)), models_in())
    forecasts = sum(1 for _ in ledger.read(bootstrap, FORECASTS.name))
    gap_s = arrivals.longest_gap_s()
    print(
        f"\n{len(back)} kills, back after {back} s; {len(ours.transitions)} transitions of "
        f"{len({i for i, _ in ours.transitions})} alarms, {theirs.repeats} written again with the same bytes; "
        f"longest silence of a ward's scores {gap_s:.1f} s; {forecasts} forecasts of wards"
    )
    assert len(ours.transitions) > 100, "there must be something to lose"
    assert difference.none, difference
    assert forecasts > BEDS // 50 * 3, "the models must speak, else it is not shown that they remember"
    assert gap_s <= GAP_S
    told, expected = raised(theirs), undisturbed(feeder.start_ms).keys()
    assert not expected - told.keys(), "alarms of a run in which nothing was killed"
    more = [told[alert_id] for alert_id in told.keys() - expected]
    assert all(by_the_clock(transition) for transition in more), more


def raised(book: ledger.Ledger) -> dict[str, AlertTransition]:
    """Physiological alarms of a ledger as they were raised; an id holds patient, condition and onset in event time,
    nothing of the log."""
    transitions = (codec.decode(raw, AlertTransition) for raw in book.transitions.values())
    return {t.alert_id: t for t in transitions if t.category is Category.PHYSIOLOGICAL and t.seq == 0}


def by_the_clock(transition: AlertTransition) -> bool:
    """Whether a value stood so long because nothing newer came: with the broker away, what would have taken it back
    came late, and a value in force until then is no fault."""
    return transition.reading_ms is not None and transition.at_ms > transition.reading_ms


def undisturbed(start_ms: int) -> dict[str, AlertTransition]:
    """The same hospital with nothing killed: every frame in the log 50 ms after its tick, a clock tick every second."""
    hospital = Hospital(BEDS, seed=7, script=storm(), start_ms=start_ms, beds_per_ward=50, frame_beds=50)
    core, book = WardCore(load_policy(None)), ledger.Ledger()
    states = {ward: core.fresh(ward) for ward in hospital.roster.wards}
    offset = 0
    for second in range(TICKS):
        now_ms = start_ms + second * 1000 + 50
        clock = VitalsFrame(version=SCHEMA_VERSION, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=second, at_ms=now_ms)
        steps = [(frame.ward, frame) for frame in hospital.tick()] + [(ward, clock) for ward in states]
        for ward, frame in steps:
            source = SourceOffset(topic=VITALS.name, partition=0, offset=offset)
            states[ward], out = core.step(states[ward], frame, now_ms, source)
            for transition in out.transitions:
                book.add(transition)
            offset += 1
    return raised(book)


def test_the_yardstick_itself_notices_a_lost_and_a_changed_transition() -> None:
    """Without this the test above could pass by comparing nothing."""
    book = ledger.Ledger()

    async def fill() -> None:
        hospital = Hospital(100, seed=7, script=storm(), start_ms=1_767_340_800_000, beds_per_ward=50, frame_beds=50)
        core = WardCore(load_policy(None))
        states = {ward: core.fresh(ward) for ward in hospital.roster.wards}
        for second in range(60):
            for frame in hospital.tick():
                source = SourceOffset(topic=VITALS.name, partition=0, offset=second)
                states[frame.ward], out = core.step(states[frame.ward], frame, frame.at_ms + 50, source)
                for transition in out.transitions:
                    book.add(transition)

    asyncio.run(fill())
    lost, changed = ledger.Ledger(), ledger.Ledger()
    identity = next(iter(book.transitions))
    lost.transitions = {key: raw for key, raw in book.transitions.items() if key != identity}
    changed.transitions = {**book.transitions, identity: b"{}"}
    assert ledger.compare(book, lost).missing == [identity]
    assert ledger.compare(lost, book).unexplained == [identity]
    assert ledger.compare(book, changed).changed == [identity]
    assert ledger.compare(book, lost, {0: 0}).none
