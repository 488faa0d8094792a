"""The twin against the core it stands for: the same alarms at the same moments, whatever the log and the policies."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import Misconfigured, Poison
from contracts.records import ActionKind, AlertAction, BedReadings, Priority, Quality, Reading, Source, Vital
from contracts.records import VitalsFrame as Frame
from contracts.topology import CLOCK_KEY
from models.policy.decided import decided
from models.policy.family import Family
from models.policy.witness import WitnessCore
from models.ward.core import WardCore
from models.ward.policy import Limits, LimitsOverride, Override, Policy, load_policy
from producers.archive import load
from producers.recordings import Playback
from tests.unit.models.policy.agreement import Log, agree, played

DEEP = os.environ.get("WARDSTREAM_TEST_DEPTH", "") == "deep"
T0 = 1_767_340_800_000
BASE = load_policy()
QUIRKS = ["late", "twice", "ahead", "behind", "implausible", "no_signal", "measuring", "two"]
VALUES: dict[Vital, list[float]] = {
    Vital.HEART_RATE: [30.0, 39.9, 40.0, 45.0, 49.9, 50.0, 51.5, 52.0, 80.0, 118.0, 119.0, 120.0, 121.0, 140.0, 150.0],
    Vital.SPO2: [70.0, 84.9, 85.0, 88.0, 89.9, 90.0, 90.5, 91.0, 97.0, 98.0, 99.0, 100.0],
    Vital.SYSTOLIC: [60.0, 75.0, 89.0, 91.0, 95.0, 130.0, 179.0, 185.0, 205.0],
}


def a_policy(random: Random) -> Policy:
    """A policy with other limits, delays, hysteresis and latches than the one that is shipped, at their edges too."""
    delays = [0.0, 0.0, 1.0, 2.0, 5.0, 8.0, 15.0, 40.0, 0.001]
    low, high = random.choice([None, 50.0, 52.0, 60.0]), random.choice([None, 110.0, 120.0, 121.0])
    rate = Limits(
        extreme_low=random.choice([None, 40.0, 49.9]) if low else None,
        low=low,
        high=high,
        extreme_high=random.choice([None, 140.0, 122.0]) if high else None,
        hysteresis=random.choice([0.0, 0.5, 2.0, 20.0]),
        delay_s=random.choice(delays),
        extreme_delay_s=random.choice(delays),
    )
    saturation = Limits(
        extreme_low=random.choice([None, 85.0, 88.0]),
        low=random.choice([90.0, 92.0, 89.0]),
        high=random.choice([None, None, 98.0]),
        hysteresis=random.choice([0.0, 1.0, 3.0]),
        delay_s=random.choice(delays),
        extreme_delay_s=random.choice(delays),
    )
    limits = {Vital.HEART_RATE: rate, Vital.SPO2: saturation}
    if random.random() < 0.7:
        limits[Vital.SYSTOLIC] = msgspec.structs.replace(BASE.limits[Vital.SYSTOLIC], delay_s=random.choice(delays))
    latch = random.choice([(), (Priority.HIGH,), (Priority.MEDIUM,), (Priority.HIGH, Priority.MEDIUM)])
    patients = {}
    if random.random() < 0.3:
        own = LimitsOverride(low=random.choice([45.0, 70.0]), delay_s=random.choice(delays))
        patients["p-1"] = Override(limits={Vital.HEART_RATE: own})
    return msgspec.structs.replace(
        BASE,
        name=f"policy {random.randrange(10**9)}",
        limits=limits,
        patients=patients,
        alarm=msgspec.structs.replace(BASE.alarm, latch=latch),
    )


def a_log(random: Random, seconds: int, quirky: float) -> Log:
    """A ward's log: gaps, late values, implausible ones, standby, clocks that step, beds that change."""
    log: list[tuple[Frame, int]] = []
    at_ms, set_back_ms = T0, 0
    spells = {(p, v): random.choice(VALUES[v]) for p in (1, 2) for v in VALUES}
    for second in range(seconds):
        at_ms += random.choice([1000] * 20 + [500, 2000, 3000, 12_000, 65_000, 130_000]) if quirky else 1000
        if random.random() < 0.02 * quirky:
            set_back_ms += random.choice([6_000, 20_000, 90_000])  # the broker's clock
        now_ms = at_ms + 200 - set_back_ms
        what = random.choice(["beds"] * 12 + ["tick"] * 3 + ["nothing", "standby", "pause"]) if quirky else "beds"
        frame = Frame(version=1, ward="W1", gateway="g1", seq=second, at_ms=at_ms)
        if what == "beds":
            there = random.choice([(1, 2), (1,), (2,), (1, 2)]) if quirky else (1, 2)
            beds = [a_bed(random, patient, at_ms, spells, quirky) for patient in there]
            spoken = {bed.bed: bed for bed in beds if bed.readings}  # a frame speaks of a bed once
            frame = msgspec.structs.replace(frame, beds=tuple(spoken.values()))
        elif what in ("standby", "pause"):
            frame = msgspec.structs.replace(frame, actions=(an_action(what, second, at_ms),))
        if frame.beds or frame.actions:
            log.append((frame, now_ms))
        if what == "tick" or random.random() < 0.75:
            log.append((Frame(version=1, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=0, at_ms=at_ms), now_ms + 300))
    return log


def a_bed(random: Random, patient: int, at_ms: int, spells: dict[Any, float], quirky: float) -> BedReadings:
    said: list[Reading] = []
    for vital in VALUES:
        if random.random() < 0.2:
            spells[patient, vital] = random.choice(VALUES[vital])
        if vital is Vital.SYSTOLIC and random.random() < 0.8:
            continue
        if random.random() < 0.9:
            quirk = random.choice(QUIRKS) if random.random() < quirky else ""
            said += _said(vital, spells[patient, vital], at_ms, quirk)
    moved = random.random() < 0.03 * quirky
    return BedReadings(bed=f"B{patient + moved}", patient=f"p-{patient}", readings=tuple(said))


def _said(vital: Vital, value: float, at_ms: int, quirk: str) -> list[Reading]:
    source = Source.CUFF if vital is Vital.SYSTOLIC else Source.MONITOR
    usual = Reading(vital=vital, value=value, source=source)
    match quirk:
        case "late":
            return [msgspec.structs.replace(usual, at_ms=at_ms - 4_000), usual]
        case "twice":
            return [usual, usual]
        case "ahead":
            return [msgspec.structs.replace(usual, at_ms=at_ms + 30_000)]
        case "behind":
            return [msgspec.structs.replace(usual, at_ms=at_ms - 70_000)]
        case "implausible":
            return [msgspec.structs.replace(usual, value=3.0)]
        case "no_signal":
            return [msgspec.structs.replace(usual, value=None, quality=Quality.NO_SIGNAL)]
        case "measuring":
            return [msgspec.structs.replace(usual, value=None, source=Source.CUFF, quality=Quality.MEASURING), usual]
        case "two":
            earlier = msgspec.structs.replace(usual, value=value - 1.0, at_ms=at_ms - 500)
            return [earlier, usual]
        case _:
            return [usual]


def an_action(what: str, number: int, at_ms: int, **more: Any) -> AlertAction:
    kind = ActionKind.STANDBY if what == "standby" else ActionKind.PAUSE_AUDIO if what == "pause" else ActionKind(what)
    return AlertAction(
        version=1,
        action_id=f"a-{number}",
        ward="W1",
        bed="B1",
        kind=kind,
        actor="nurse.kim",
        role="nurse",
        at_ms=at_ms,
        **more,
    )


@settings(max_examples=2000 if DEEP else 30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(20, 200), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_the_twin_tells_what_the_core_tells_under_every_policy(seed: int, seconds: int, quirky: float) -> None:
    random = Random(seed)
    agree([BASE, *(a_policy(random) for _ in range(4))], a_log(random, seconds, quirky))


def test_the_twin_agrees_over_real_recordings() -> None:
    """Two stays of the samples, forty recorded seconds a second, under 31 policies."""
    random = Random(30)
    stays = [stay for name in ("mimic-03", "eicu-01") for stay in load("samples", stay=name)]
    playback = Playback(stays, start_ms=T0, ward="W1", beds=2, speed=40.0)
    log: list[tuple[Frame, int]] = []
    for second in range(450):
        log += [(frame, frame.at_ms + 200) for frame in playback.tick() or ()]
        at_ms = T0 + second * 1000
        log.append((Frame(version=1, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=0, at_ms=at_ms), at_ms + 500))
    assert agree([BASE, *(a_policy(random) for _ in range(30))], log) > 50


def test_limits_of_a_patient_and_edges_of_delays_agree() -> None:
    """Delays of nothing, of one sample, and to the millisecond."""
    log = a_log(Random(4), 150, 0.0)
    tried = [BASE]
    for delay_s in (0.0, 0.999, 1.0, 1.001, 2.0, 600.0):
        limits = {
            vital: msgspec.structs.replace(one, delay_s=delay_s, extreme_delay_s=delay_s, hysteresis=0.0)
            for vital, one in BASE.limits.items()
        }
        tried.append(msgspec.structs.replace(BASE, name=f"{delay_s}", limits=limits))
    assert agree(tried, log) > 50


def test_an_acknowledgement_is_refused_unless_it_is_left_out() -> None:
    log = a_log(Random(5), 60, 0.0)
    acted = msgspec.structs.replace(log[-1][0], ward="W1", gateway="a", actions=(an_action("acknowledge", 1, T0),))
    core = WitnessCore(Family([BASE]))
    played(core, [*log, (acted, log[-1][1])])
    with pytest.raises(Poison, match=r"acknowledge of an alarm \(1 times\)"):
        list(decided(core.notes))
    left_out = WitnessCore(Family([BASE]), unacknowledged=True)
    played(left_out, [*log, (acted, log[-1][1])])
    assert list(decided(left_out.notes))
    assert left_out.notes.unacknowledged == 1


def test_policies_that_differ_elsewhere_are_no_family() -> None:
    other = msgspec.structs.replace(BASE, news2=msgspec.structs.replace(BASE.news2, delay_s=1.0))
    with pytest.raises(Misconfigured, match="more than limits"):
        Family([BASE, other])
    with pytest.raises(Misconfigured, match="0 policies"):
        Family([])


def test_other_alarms_are_those_that_the_core_raises() -> None:
    """Watching changes nothing for what no limit raises."""
    log = a_log(Random(6), 150, 0.1)
    others = [t for t in played(WitnessCore(Family([BASE])), log) if t.vital is not None or t.condition != "news2"]
    bare = msgspec.structs.replace(BASE, limits={})
    assert [(t.condition, t.event, t.at_ms, t.state) for t in others] == [
        (t.condition, t.event, t.at_ms, t.state)
        for t in played(WardCore(bare), log)
        if t.vital is not None or t.condition != "news2"
    ]
