"""The simulated hospital: the same bytes for the same seed, honest rates, and every scripted event in the numbers."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from statistics import mean, pstdev
from types import FrameType

import pytest

from contracts.codec import decode_frame, encode
from contracts.errors import Misconfigured
from contracts.records import Quality, Reading, Source, Vital, VitalsFrame
from models.ward.policy import load_policy
from producers.scenario import EFFECTS, Event, Kind, Script, load_script
from producers.ward import Hospital

START_MS = 1_767_340_800_000
CALM = Script(name="calm")
Seen = list[tuple[int, VitalsFrame, Reading]]


def hospital(*events: Event, beds: int = 4, seed: int = 3, frame_beds: int = 50, beds_per_ward: int = 50) -> Hospital:
    script = Script(name="test", event=events)
    return Hospital(
        beds, seed=seed, script=script, start_ms=START_MS, frame_beds=frame_beds, beds_per_ward=beds_per_ward
    )


def heard(ward: Hospital, seconds: int, bed: str = "W1-01") -> Seen:
    """(tick, frame, reading) of one bed."""
    return [
        (tick, frame, reading)
        for tick in range(seconds)
        for frame in ward.tick()
        for one in frame.beds
        if one.bed == bed
        for reading in one.readings
    ]


def numbers(seen: Seen, vital: Vital, first: int = 0, end: int = 10**9) -> list[float]:
    return [
        float(r.value)
        for tick, _, r in seen
        if r.vital is vital and first <= tick < end and r.value is not None and r.quality is Quality.MEASURED
    ]


def all_bytes(ward: Hospital, seconds: int) -> list[bytes]:
    return [encode(frame) for _ in range(seconds) for frame in ward.tick()]


def test_same_seed_script_and_anchor_give_the_same_bytes() -> None:
    made = [
        all_bytes(Hospital(60, seed=8, script=load_script("faults"), start_ms=START_MS, beds_per_ward=20), 200)
        for _ in range(2)
    ]
    assert made[0] == made[1]


def test_another_seed_gives_other_bytes() -> None:
    assert all_bytes(hospital(seed=1), 3) != all_bytes(hospital(seed=2), 3)


def test_a_bed_says_the_same_in_a_hospital_of_any_size() -> None:
    def values(beds: int) -> list[tuple[Vital, object]]:
        return [(r.vital, r.value) for _, _, r in heard(hospital(beds=beds), 60)]

    assert values(1) == values(500)


def test_how_frames_are_cut_does_not_change_what_is_said() -> None:
    def said(frame_beds: int) -> list[object]:
        ward = hospital(beds=10, frame_beds=frame_beds)
        return [bed for _ in range(40) for frame in ward.tick() for bed in frame.beds]

    assert said(50) == said(1) == said(3)


def test_frames_of_one_have_one_bed_and_a_gateway_each() -> None:
    frames = hospital(beds=10, frame_beds=1).tick()
    assert [len(frame.beds) for frame in frames] == [1] * 10
    assert len({frame.gateway for frame in frames}) == 10


def test_wards_have_at_most_as_many_beds_as_asked_and_names_are_unique() -> None:
    ward = hospital(beds=10_000)
    assert len(ward.roster.wards) == 200
    assert max(Counter(ward.roster.ward_of).values()) == 50
    assert len(set(ward.roster.beds)) == len(set(ward.roster.patients)) == 10_000
    frames = ward.tick()
    assert sum(len(frame.beds) for frame in frames) == 10_000


def test_every_frame_is_one_that_the_codec_takes_whole() -> None:
    ward = Hospital(60, seed=8, script=load_script("faults"), start_ms=START_MS, beds_per_ward=20)
    for raw in all_bytes(ward, 120):
        decoded = decode_frame(raw)
        assert not decoded.faults
        assert decoded.frame.beds


def test_event_time_is_anchor_plus_whole_seconds_and_sequence_goes_up_across_restarts() -> None:
    ward = hospital()
    frames = [ward.tick()[0] for _ in range(5)]
    assert [frame.at_ms for frame in frames] == [START_MS + n * 1000 for n in range(5)]
    later = Hospital(4, seed=3, script=CALM, start_ms=START_MS + 5000).tick()[0]
    assert [frame.seq for frame in (*frames, later)] == sorted({frame.seq for frame in (*frames, later)})


def test_continuous_vitals_come_every_second_and_arterial_pressure_where_there_is_a_line() -> None:
    ward = hospital()
    seen = heard(ward, 120)
    for vital in (Vital.HEART_RATE, Vital.RESPIRATION, Vital.SPO2, Vital.SYSTOLIC, Vital.MEAN_PRESSURE):
        assert len(numbers(seen, vital)) == 120
    assert {r.source for _, _, r in seen if r.vital is Vital.SYSTOLIC} == {Source.ARTERIAL}


def test_a_cuff_says_that_it_inflates_and_then_three_values_with_a_time_of_their_own() -> None:
    seen = heard(hospital(), 660, bed="W1-02")
    inflating = [tick for tick, _, r in seen if r.quality is Quality.MEASURING]
    results = [(tick, frame, r) for tick, frame, r in seen if r.source is Source.CUFF and r.value is not None]
    assert {later - sooner for sooner, later in pairwise(inflating)} == {300}
    assert sorted({tick for tick, _, _ in results}) == [tick + 30 for tick in inflating]
    assert {r.vital for _, _, r in results} == {Vital.SYSTOLIC, Vital.DIASTOLIC, Vital.MEAN_PRESSURE}
    assert all(r.at_ms is not None and 0 < frame.at_ms - r.at_ms < 1000 for _, frame, r in results)
    assert {r.source for _, _, r in seen if r.vital is Vital.SYSTOLIC} == {Source.CUFF}


def test_within_a_minute_every_bed_has_said_all_that_news2_needs() -> None:
    ward = hospital(beds=300)
    said: dict[str, set[Vital]] = defaultdict(set)
    for _ in range(61):
        for frame in ward.tick():
            for bed in frame.beds:
                said[bed.bed] |= {r.vital for r in bed.readings if r.value is not None}
    assert all(vitals == set(Vital) for vitals in said.values())


def test_calm_beds_stay_inside_the_limits_of_the_built_in_policy() -> None:
    limits = load_policy().limits
    ward = hospital(beds=200)
    outside, total = 0, 0
    for _ in range(300):
        for frame in ward.tick():
            for bed in frame.beds:
                for r in bed.readings:
                    if r.vital in limits and isinstance(r.value, float):
                        limit = limits[r.vital]
                        total += 1
                        outside += (limit.low is not None and r.value < limit.low) or (
                            limit.high is not None and r.value > limit.high
                        )
    assert outside / total < 1e-4


def test_a_pulse_is_never_the_same_for_two_minutes() -> None:
    ward = hospital(beds=100)
    last: dict[str, tuple[object, int]] = {}
    longest = 0
    for tick in range(900):
        for bed in ward.tick()[0].beds:
            value = next(r.value for r in bed.readings if r.vital is Vital.HEART_RATE)
            if last.get(bed.bed, (None, 0))[0] != value:
                last[bed.bed] = (value, tick)
            longest = max(longest, tick - last[bed.bed][1])
    assert longest < 60


SHOWN_IN = {
    Kind.DESATURATION: (Vital.SPO2, -10),
    Kind.SEPSIS: (Vital.TEMPERATURE, 1.5),
    Kind.BLEED: (Vital.SYSTOLIC, -35),
    Kind.ARRHYTHMIA: (Vital.HEART_RATE, 45),
    Kind.BRADYCARDIA: (Vital.HEART_RATE, -30),
    Kind.HYPERTENSIVE_CRISIS: (Vital.SYSTOLIC, 60),
}


def test_every_episode_is_listed_here() -> None:
    assert SHOWN_IN.keys() | {Kind.RECOVERY} == EFFECTS.keys()


@pytest.mark.parametrize(("kind", "vital", "by"), [(kind, *shown) for kind, shown in SHOWN_IN.items()])
def test_an_episode_shows_in_the_numbers_while_it_lasts_and_fades_after(kind: Kind, vital: Vital, by: float) -> None:
    ward = hospital(Event(kind=kind, bed=1, at_s=60, for_s=200, ramp_s=20))
    (truth,) = ward.truth(100)
    faded = (truth.faded_ms - START_MS) // 1000
    seen = heard(ward, 260)
    before = mean(numbers(seen, vital, 0, 60))
    during = mean(numbers(seen, vital, 100, 260))
    ward.second = faded
    after = mean(numbers(heard(ward, 120), vital))
    assert (during - before) / by > 0.9
    assert abs(after - before) < abs(by) * 0.25


def test_half_the_strength_is_about_half_the_effect() -> None:
    def depth(strength: float) -> float:
        seen = heard(hospital(Event(kind=Kind.BLEED, bed=1, at_s=60, for_s=120, ramp_s=1, strength=strength)), 180)
        return mean(numbers(seen, Vital.SYSTOLIC, 0, 60)) - mean(numbers(seen, Vital.SYSTOLIC, 80, 180))

    assert 0.35 < depth(0.5) / depth(1.0) < 0.65


def test_recovery_begins_ill_and_ends_well() -> None:
    seen = heard(hospital(Event(kind=Kind.RECOVERY, bed=1, at_s=0, for_s=600)), 700)
    assert mean(numbers(seen, Vital.HEART_RATE, 0, 20)) > mean(numbers(seen, Vital.HEART_RATE, 600, 700)) + 25
    assert mean(numbers(seen, Vital.SPO2, 0, 20)) < mean(numbers(seen, Vital.SPO2, 600, 700)) - 3


def test_an_arrhythmia_is_irregular() -> None:
    seen = heard(hospital(Event(kind=Kind.ARRHYTHMIA, bed=1, at_s=60, for_s=120)), 180)
    steps = [later - sooner for sooner, later in pairwise(numbers(seen, Vital.HEART_RATE, 70, 180))]
    calm = [later - sooner for sooner, later in pairwise(numbers(seen, Vital.HEART_RATE, 0, 60))]
    assert pstdev(steps) > 4 * pstdev(calm)


def test_somebody_gives_oxygen_to_a_patient_who_desaturates() -> None:
    seen = heard(hospital(Event(kind=Kind.DESATURATION, bed=1, at_s=60, for_s=200)), 300)
    given = [(tick, r.value) for tick, _, r in seen if r.vital is Vital.SUPPLEMENTAL_OXYGEN]
    assert (150, 6.0) in given


def test_a_septic_patient_becomes_confused() -> None:
    seen = heard(hospital(Event(kind=Kind.SEPSIS, bed=1, at_s=60, for_s=200, ramp_s=50)), 200)
    assert [r.value for _, _, r in seen if r.vital is Vital.CONSCIOUSNESS] == ["A", "C"]


# -- sensors and the way to the broker -------------------------------------------------------------------------------


def while_on(seen: Seen, vital: Vital) -> list[Reading]:
    return [r for tick, _, r in seen if r.vital is vital and 60 <= tick < 120]


def fault(kind: Kind, seconds: int | None = None, bed: int = 1, vital: Vital | None = None) -> Hospital:
    return hospital(Event(kind=kind, bed=bed, at_s=60, for_s=60, seconds=seconds, vital=vital))


def test_a_lead_that_is_off_says_no_signal_for_pulse_and_breathing() -> None:
    seen = heard(fault(Kind.LEAD_OFF), 180)
    for vital in (Vital.HEART_RATE, Vital.RESPIRATION):
        assert {(r.value, r.quality) for r in while_on(seen, vital)} == {(None, Quality.NO_SIGNAL)}
    assert None not in {r.value for r in while_on(seen, Vital.SPO2)}
    assert len(numbers(seen, Vital.HEART_RATE)) == 120


def test_no_signal_is_minus_a_hundred_as_monitors_send_it() -> None:
    seen = heard(fault(Kind.NO_SIGNAL, vital=Vital.RESPIRATION), 180)
    assert {r.value for r in while_on(seen, Vital.RESPIRATION)} == {-100.0}


def test_a_frozen_sensor_repeats_its_last_value() -> None:
    seen = heard(fault(Kind.FROZEN), 180)
    assert len({r.value for r in while_on(seen, Vital.HEART_RATE)}) == 1
    assert len(set(numbers(seen, Vital.HEART_RATE, 120))) > 1


def test_fahrenheit_comes_as_if_it_were_celsius() -> None:
    seen = heard(fault(Kind.FAHRENHEIT), 180)
    wrong = while_on(seen, Vital.TEMPERATURE)
    assert wrong
    assert all(isinstance(r.value, float) and 96 < r.value < 100 and r.unit is None for r in wrong)


def test_motion_drops_saturation_for_moments_only() -> None:
    values = numbers(heard(fault(Kind.MOTION), 180), Vital.SPO2, 60, 120)
    assert min(values) < 85
    assert max(values) > 94


def test_a_cuff_on_the_limb_of_the_probe_takes_the_pulse_from_it_while_it_inflates() -> None:
    ward = hospital(Event(kind=Kind.CUFF_ON_SPO2_LIMB, bed=2, at_s=0, for_s=900))
    seen = heard(ward, 700, bed="W1-02")
    starts = [tick for tick, _, r in seen if r.quality is Quality.MEASURING]
    low = [tick for tick, _, r in seen if r.vital is Vital.SPO2 and (r.value is None or float(r.value) < 90)]
    assert len(starts) >= 2
    assert low
    assert all(any(start < tick <= start + 40 for start in starts) for tick in low)


def test_a_skewed_clock_moves_every_time_of_the_bed_and_nothing_else() -> None:
    seen = heard(fault(Kind.CLOCK_SKEW, seconds=-90), 180)
    offsets = {
        (r.at_ms or frame.at_ms) - frame.at_ms
        for tick, frame, r in seen
        if 60 <= tick < 120 and r.source is not Source.CUFF
    }
    assert offsets == {-90_000}
    assert {r.at_ms for tick, _, r in seen if tick >= 120} == {None}


def times(seen: Seen) -> list[tuple[int, Vital]]:
    return [(r.at_ms or frame.at_ms, r.vital) for _, frame, r in seen]


def calm_times(seconds: int) -> list[tuple[int, Vital]]:
    return times(heard(hospital(), seconds))


def test_late_readings_are_late_and_all_arrive() -> None:
    seen = heard(fault(Kind.LATE, seconds=20), 200)
    delays = {(frame.at_ms - r.at_ms) // 1000 for tick, frame, r in seen if 90 <= tick < 120 and r.at_ms is not None}
    assert delays == {20}
    assert sorted(times(seen)) == sorted(calm_times(200))


def test_shuffled_readings_are_out_of_order_and_all_arrive() -> None:
    seen = heard(fault(Kind.SHUFFLED), 200)
    assert times(seen) != sorted(times(seen), key=lambda one: one[0])
    assert sorted(times(seen)) == sorted(calm_times(200))


def test_duplicates_come_again_in_the_next_frame() -> None:
    counts = Counter(times(heard(fault(Kind.DUPLICATE), 200)))
    assert set(counts.values()) == {1, 2}
    assert set(counts) == set(calm_times(200))
    assert sum(count == 2 for count in counts.values()) > 59 * 3


def test_a_silent_bed_is_not_in_the_frames_and_its_neighbours_are() -> None:
    seen, neighbour = (heard(fault(Kind.SILENT_BED), 180, bed) for bed in ("W1-01", "W1-02"))
    assert {tick for tick, _, _ in seen} == set(range(60)) | set(range(120, 180))
    assert {tick for tick, _, _ in neighbour} == set(range(180))


def test_a_silent_gateway_sends_no_frame_and_the_other_ward_does() -> None:
    ward = hospital(Event(kind=Kind.SILENT_GATEWAY, ward="W2", at_s=5, for_s=5), beds=8, beds_per_ward=4)
    wards = [[frame.ward for frame in ward.tick()] for _ in range(12)]
    assert wards == [["W1"] if 5 <= second < 10 else ["W1", "W2"] for second in range(12)]


def test_repeated_frames_come_twice_byte_for_byte() -> None:
    ward = hospital(Event(kind=Kind.REPEATED_FRAMES, ward="W1", at_s=1, for_s=1))
    first, twice, last = ([encode(frame) for frame in ward.tick()] for _ in range(3))
    assert (len(first), len(twice), len(last)) == (1, 2, 1)
    assert twice[0] == twice[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: hospital(beds=0),
        lambda: hospital(beds=10_001),
        lambda: hospital(frame_beds=0),
        lambda: hospital(beds_per_ward=0),
    ],
)
def test_impossible_sizes_are_refused(make: Callable[[], Hospital]) -> None:
    with pytest.raises(Misconfigured):
        make()


def test_the_work_for_a_bed_does_not_grow_with_their_number() -> None:
    def calls_per_bed(beds: int) -> float:
        """Function calls of five ticks, Python's and C's: a count, the same on a busy machine."""
        ward = Hospital(beds, seed=1, script=load_script("hospital"), start_ms=START_MS)
        ward.tick()
        calls = 0

        def count(_frame: FrameType, event: str, _arg: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            for _ in range(5):
                ward.tick()
        finally:
            sys.setprofile(None)
        return calls / beds

    assert calls_per_bed(10_000) <= 1.2 * calls_per_bed(500)
