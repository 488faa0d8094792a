"""What producers tell of before: recorded hours without artefacts, a plausible simulated day, who the patient is."""

from __future__ import annotations

import pytest

from contracts.codec import decode_frame, encode
from contracts.records import PastVitals, Source, Vital, VitalsFrame
from producers.archive import SAMPLES, About, Origin, Recording, Track, load
from producers.past import PATIENTS_A_FRAME, PATIENTS_A_TICK, facts_of, of_recording
from producers.recordings import Playback
from producers.scenario import load_script, parse_script
from producers.ward import Hospital

START_MS = 1_767_340_800_000
HOUR_S = 3600.0


def stay(*values: tuple[float, float], about: About | None = None) -> Recording:
    at_s, numbers = zip(*values, strict=True)
    track = Track(Vital.HEART_RATE, Source.MONITOR, at_s, numbers)
    return Recording("rec-1", Origin.EICU, at_s[-1], (track,), about=about)


def cells(past: PastVitals, vital: Vital = Vital.HEART_RATE) -> tuple[float | None, ...]:
    return next(series.values for series in past.series if series.vital is vital)


def hospital(beds: int = 24, seed: int = 7, script: str = "calm", start_ms: int = START_MS) -> Hospital:
    return Hospital(beds, seed=seed, script=load_script(script), start_ms=start_ms, past=True)


def told(one: Hospital, ticks: int = 1) -> list[VitalsFrame]:
    return [frame for _ in range(ticks) for frame in one.tick() if frame.past]


def test_what_was_recorded_before_the_played_part_is_told_hour_by_hour_and_not_played() -> None:
    late = stay((0, 80), (HOUR_S, 90), (1.5 * HOUR_S, 100), (3 * HOUR_S, 70), (4 * HOUR_S, 72)).begun_at(3 * HOUR_S)
    (past,) = of_recording(late, "ICU-01", START_MS)
    assert cells(past) == (80, 95, None)
    assert (past.step_s, past.start_ms, past.origin) == (3600, START_MS - 3 * 3_600_000, "recording")
    assert late.tracks[0].at_s == (0, HOUR_S)
    assert late.length_s == HOUR_S


def test_an_artefact_is_no_past() -> None:
    (past,) = of_recording(stay((0, 80), (HOUR_S, 0), (2 * HOUR_S, 82)).begun_at(2 * HOUR_S), "ICU-01", START_MS)
    assert cells(past) == (80, None)


def test_a_recording_from_its_first_value_has_no_past() -> None:
    assert of_recording(stay((0, 80), (HOUR_S, 82)), "ICU-01", START_MS) == ()


def test_a_minute_by_minute_recording_tells_its_last_hour_by_the_minute() -> None:
    dense = stay(*((60.0 * n, 60.0 + n % 7) for n in range(200))).begun_at(120 * 60)
    hours, minutes = of_recording(dense, "ICU-01", START_MS)
    assert (hours.step_s, minutes.step_s) == (3600, 60)
    assert cells(minutes) == tuple(60.0 + n % 7 for n in range(60, 120))


def test_admission_counts_from_the_beginning_of_the_stay_however_late_play_begins() -> None:
    facts = facts_of(stay((0, 80), (9 * HOUR_S, 82), about=About(71, "female", HOUR_S)).begun_at(8 * HOUR_S), START_MS)
    assert facts is not None
    assert (facts.age_years, facts.sex, facts.admitted_ms) == (71, "female", START_MS - 9 * 3_600_000)


def test_past_and_facts_come_once_with_the_first_frame_of_each_patient() -> None:
    samples = load(SAMPLES)
    ward = Playback(samples, start_ms=START_MS, beds=8, speed=3600.0)
    first: dict[str, int] = {}
    for second in range(60):
        for frame in ward.tick() or []:
            for past in frame.past:
                assert past.patient not in first or first[past.patient] == second
                first[past.patient] = second
                assert {(bed.bed, bed.patient) for bed in frame.beds} >= {(past.bed, past.patient)}
            assert decode_frame(encode(frame)).frame == frame
    assert first.keys() == {one.id for one in samples}


def test_every_sample_brings_a_past_to_forecast_from() -> None:
    for one in load(SAMPLES):
        known = {s.vital: sum(v is not None for v in s.values) for s in of_recording(one, "b", START_MS)[0].series}
        assert known[Vital.HEART_RATE] >= (1 if one.id == "mimic-11" else 6), one.id


def test_a_simulated_past_is_the_same_again_and_another_with_another_seed() -> None:
    assert told(hospital()) == told(hospital())
    assert told(hospital()) != told(hospital(seed=8))


def test_a_simulated_past_goes_over_into_what_is_read_live() -> None:
    one = hospital()
    frames = one.tick()
    live = {b.patient: {r.vital: r.value for r in b.readings} for f in frames for b in f.beds}
    for past in (p for f in frames for p in f.past if p.step_s == 60):
        for vital, most in ((Vital.HEART_RATE, 15), (Vital.RESPIRATION, 5), (Vital.SPO2, 3)):
            now, last = live[past.patient][vital], cells(past, vital)[-1]
            assert isinstance(now, float)
            assert last is not None
            assert abs(now - last) <= most
    day = {p.patient: p for f in frames for p in f.past if p.step_s == 3600}
    assert len(day) == 24
    assert all(len(cells(p)) == 24 and len(set(cells(p))) > 12 for p in day.values()), "a day, and not a flat one"


def test_who_is_ill_at_the_start_has_been_falling_ill() -> None:
    ill = parse_script(b'name="ill"\n[[event]]\nkind="recovery"\nbed=1\nat_s=0\nfor_s=600\n')
    calm, sick = (
        told(Hospital(2, seed=7, script=script, start_ms=START_MS, past=True))[0].past[0]
        for script in (load_script("calm"), ill)
    )
    above = [s - c for s, c in zip(cells(sick), cells(calm), strict=True) if s is not None and c is not None]
    assert above[0] == pytest.approx(0, abs=0.2)
    assert above[-1] > 30


def test_a_large_hospital_tells_its_past_over_several_seconds_and_every_patient_once() -> None:
    one = hospital(beds=2 * PATIENTS_A_TICK, script="hospital")
    frames = told(one, 4)
    assert len(frames) == 2 * PATIENTS_A_TICK / PATIENTS_A_FRAME
    patients = [facts.patient for frame in frames for facts in frame.facts]
    assert sorted(patients) == sorted(one.roster.patients)
    assert max(len(encode(frame)) for frame in frames) < 512 * 1024


def test_facts_are_those_of_grown_ups_admitted_before() -> None:
    for facts in (f for frame in told(hospital(500)) for f in frame.facts):
        assert facts.age_years is not None
        assert 18 <= facts.age_years <= 95
        assert facts.sex in ("female", "male")
        assert facts.admitted_ms is not None
        assert facts.admitted_ms <= START_MS - 86_400_000
