"""The twin against the core it stands for: the same alarms at the same moments, whatever the log and the policies."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.records import ActionKind, AlertAction, BedReadings, Priority, Quality, Reading, Source, Vital
from contracts.records import VitalsFrame as Frame
from contracts.topology import CLOCK_KEY
from models.ward.policy import Limits, LimitsOverride, Override, Policy, load_policy
from tests.unit.models.policy.agreement import Log, agree

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


@settings(max_examples=2000 if DEEP else 60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(20, 200), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
def test_the_twin_tells_what_the_core_tells_under_every_policy(seed: int, seconds: int, quirky: float) -> None:
    random = Random(seed)
    agree([BASE, *(a_policy(random) for _ in range(4))], a_log(random, seconds, quirky))
