"""The shipped anomaly detector at a bedside of simulated minutes."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.records import Anomaly, Vital
from models.bundle import Bundle
from models.ports import Floats, Memory, Windows
from models.registry import Registry
from models.training import anomaly_bedside
from models.training.anomaly_play import Past, limits_of, play
from models.vitals import anomaly
from models.vitals.anomaly import Detector
from models.vitals.anomaly_memory import unpacked
from models.vitals.history import CHANNEL, CHANNELS
from models.ward.policy import load_policy

BEDS = 8
USUAL = (82.0, 16.0, 97.0, 124.0, 86.0, 36.9)
SPREAD = (3.0, 1.2, 0.6, 4.0, 3.0, 0.08)
HEART, OXYGEN = CHANNEL[Vital.HEART_RATE], CHANNEL[Vital.SPO2]


@functools.cache
def detector() -> Detector:
    return anomaly.load(Registry().load("vitals_anomaly"))


def quiet(minutes: int, seed: int = 1, beds: int = BEDS) -> Floats:
    """Patients about whom nothing changes."""
    noise = np.random.default_rng(seed).normal(size=(beds, minutes, len(CHANNELS)))
    return np.asarray(np.round(np.array(USUAL) + noise * np.array(SPREAD), 1), np.float32)


def picked(windows: Windows, beds: NDArray[np.intp]) -> Windows:
    """The windows of these beds, in this order."""
    return Windows._make(part[beds] for part in windows)


class Ward:
    """Plays minutes to the detector and keeps its memory."""

    def __init__(self, minutes: Floats) -> None:
        self.past = Past(minutes, limits_of(load_policy()))
        self.beds, self.length, _ = minutes.shape
        self.memory = Memory((b"",) * self.beds)
        self.at = 0

    def windows(self, minute: int, alarming: bool = False) -> Windows:
        return self.past.at(minute, np.full(self.beds, alarming))

    def upto(self, minute: int, alarming: bool = False) -> list[tuple[Anomaly | None, ...]]:
        """Through the minutes before ``minute``; what was said at each."""
        said = []
        for at in range(self.at, minute):
            anomalies, self.memory = detector().judge(self.windows(at, alarming), self.memory)
            said.append(anomalies)
        self.at = minute
        return said

    def usual(self, channel: int) -> np.ndarray:
        known = unpacked(self.memory.beds).baseline
        return known.usual(detector().minutes.population)[0][:, channel]


def score(anomaly: Anomaly | None) -> float:
    assert anomaly is not None
    return anomaly.score


def scores(said: list[tuple[Anomaly | None, ...]]) -> np.ndarray:
    return np.array([[score(each) for each in minute] for minute in said])


def test_the_same_minute_asked_twice_is_answered_alike_and_learned_once() -> None:
    ward = Ward(quiet(100))
    ward.upto(90)
    windows = ward.windows(90)
    first, after = detector().judge(windows, ward.memory)
    again, same = detector().judge(windows, ward.memory)
    assert (first, after) == (again, same)
    _, settled = detector().judge(windows, after)
    assert settled == after


def test_what_a_bed_is_told_does_not_depend_on_who_lies_beside() -> None:
    ward = Ward(quiet(100))
    ward.upto(90)
    windows = ward.windows(90)
    order = np.random.default_rng(0).permutation(BEDS)
    mixed = picked(windows, order)
    plain, plain_memory = detector().judge(windows, ward.memory)
    shuffled, memory = detector().judge(mixed, Memory(tuple(ward.memory.beds[i] for i in order), ward.memory.ward))
    assert shuffled == tuple(plain[i] for i in order)
    assert memory.beds == tuple(plain_memory.beds[i] for i in order)
    alone = picked(windows, np.array([3]))
    assert detector().judge(alone, Memory(ward.memory.beds[3:4], ward.memory.ward))[0] == plain[3:4]


def test_another_detector_goes_on_from_the_bytes_as_the_first_would() -> None:
    minutes = quiet(160)
    minutes[2, 120:, HEART] += 30
    ward, moved = Ward(minutes), Ward(minutes)
    ward.upto(100)
    moved.memory, moved.at = Memory(tuple(bytes(bytearray(b)) for b in ward.memory.beds), ward.memory.ward), 100
    other = anomaly.load(Registry().load("vitals_anomaly"))
    for at in range(100, 160):
        expected, ward.memory = detector().judge(ward.windows(at), ward.memory)
        found, moved.memory = other.judge(moved.windows(at), moved.memory)
        assert found == expected
        assert moved.memory == ward.memory


def test_a_ward_without_beds_is_told_nothing() -> None:
    nobody = picked(Ward(quiet(2)).windows(1), np.empty(0, np.intp))
    assert detector().judge(nobody, Memory((), b"kept")) == ((), Memory((), b"kept"))


def test_memory_is_small() -> None:
    ward = Ward(quiet(70))
    ward.upto(70)
    assert max(map(len, ward.memory.beds)) <= 1536
    assert len(ward.memory.ward) <= 24 * 1024


def test_nothing_is_learned_while_alarming() -> None:
    minutes = quiet(140)
    minutes[:, 100:, HEART] += 15
    ward = Ward(minutes)
    ward.upto(100)
    before = unpacked(ward.memory.beds)
    said = ward.upto(140, alarming=True)
    after = unpacked(ward.memory.beds)
    assert all((one == other).all() for one, other in zip(before.baseline, after.baseline, strict=True))
    assert (before.trace.filled == after.trace.filled).all()
    assert not any(each is not None and each.learning for each in said[-1])
    ward.upto(140)
    _, memory = detector().judge(ward.windows(139), ward.memory)
    assert (unpacked(memory.beds).baseline.steps == before.baseline.steps).all(), "minutes of an alarm are passed over"


def test_missing_values_and_values_beyond_a_limit_are_not_learned() -> None:
    minutes = quiet(140)
    ward = Ward(minutes)
    ward.upto(100)
    same = unpacked(ward.memory.beds).baseline
    minutes[0, 99:, HEART] = np.nan
    minutes[1, 99:, HEART] = 150
    other = Ward(minutes)
    other.memory, other.at = ward.memory, 100
    other.upto(140)
    after = unpacked(other.memory.beds).baseline
    assert (after.steps[:2, HEART] == same.steps[:2, HEART]).all()
    assert (after.mean[:2, HEART] == same.mean[:2, HEART]).all()
    assert (after.steps[2:, HEART] > same.steps[2:, HEART]).all()


def test_a_flat_line_is_not_learned_from() -> None:
    minutes = quiet(160)
    minutes[0, 80:, HEART] = 71.0
    ward = Ward(minutes)
    ward.upto(100)
    before = unpacked(ward.memory.beds).baseline
    said = ward.upto(160)
    after = unpacked(ward.memory.beds).baseline
    assert after.steps[0, HEART] == before.steps[0, HEART]
    assert after.steps[1, HEART] == before.steps[1, HEART] + 60
    assert np.isfinite(scores(said)).all()


def test_a_bed_of_which_hardly_anything_is_known_gets_no_score() -> None:
    minutes = quiet(70)
    minutes[0, :, 1:] = np.nan
    minutes[1] = np.nan
    said = Ward(minutes).upto(70)
    assert said[-1][0] is None
    assert said[-1][1] is None
    assert said[-1][2] is not None


def test_a_new_patient_says_how_much_of_them_is_known() -> None:
    ward = Ward(quiet(130))
    first, _ = detector().judge(ward.windows(0), ward.memory)
    assert all(each is not None and each.baseline_s == 0 for each in first)
    hour, _ = detector().judge(ward.windows(60), ward.memory)
    assert all(each is not None and each.baseline_s == 59 * 60 for each in hour), "the hour before admission is used"
    said = ward.upto(120)
    assert all(each is not None and each.baseline_s >= 115 * 60 for each in said[-1])


MOVED = (
    (Vital.HEART_RATE, 33.0, "heart rate 1"),
    (Vital.RESPIRATION, 11.0, "respiration 2"),
    (Vital.SPO2, -6.0, "SpO2 9"),
    (Vital.SYSTOLIC, -33.0, "systolic pressure "),
    (Vital.TEMPERATURE, 1.6, "temperature 38"),
)


@functools.cache
def after_each_was_moved() -> tuple[Anomaly | None, ...]:
    """What is said of beds with one vital of ``MOVED`` each moved ten minutes ago, and of three others."""
    minutes = quiet(150)
    for bed, (vital, shift, _) in enumerate(MOVED):
        minutes[bed, 140:, CHANNEL[vital]] += shift
    return Ward(minutes).upto(150)[-1]


@pytest.mark.parametrize("bed", range(len(MOVED)), ids=[vital.value for vital, _, _ in MOVED])
def test_the_vital_that_was_moved_is_named_first(bed: int) -> None:
    vital, _, words = MOVED[bed]
    found = after_each_was_moved()[bed]
    assert found is not None
    assert found.score >= 0.95
    assert found.drivers[0].vital is vital
    assert found.drivers[0].what.startswith(words)
    assert "usually" in found.drivers[0].what
    assert sum(driver.share for driver in found.drivers) <= 1.0


def test_beds_where_nothing_moved_stay_low() -> None:
    assert max(score(each) for each in after_each_was_moved()[len(MOVED) :]) < 0.98


def test_a_drift_is_told_on_the_tick_it_was_found() -> None:
    minutes = quiet(300)
    minutes[0, 150:, HEART] += 22
    said = Ward(minutes).upto(300)
    told = [(at, bed, each.drift) for at, row in enumerate(said) for bed, each in enumerate(row) if each and each.drift]
    assert [(bed, drift) for _, bed, drift in told] == [(0, (Vital.HEART_RATE,))]
    assert 150 < told[0][0] < 230


def test_a_patient_who_gets_worse_is_not_learned_away_within_an_hour() -> None:
    minutes = quiet(360)
    slide = np.minimum(np.arange(120) / 20, 1.0)[None, :]
    minutes[:4, 240:, HEART] += 28 * slide
    minutes[:4, 240:, CHANNEL[Vital.RESPIRATION]] += 9 * slide
    minutes[:4, 240:, OXYGEN] -= 3 * slide
    ward = Ward(minutes)
    ward.upto(240)
    before = ward.usual(HEART)
    said = scores(ward.upto(325))
    assert (said[30:, :4] >= 0.99).mean() > 0.95
    assert (ward.usual(HEART)[:4] - before[:4] < 4).all()


def test_a_level_that_lasts_is_slowly_learned() -> None:
    minutes = quiet(180 + 10 * 60, beds=3)
    minutes[0, 180:, HEART] += 16
    ward = Ward(minutes)
    ward.upto(180)
    before = ward.usual(HEART)[0]
    early = scores(ward.upto(220))[-20:, 0]
    late = scores(ward.upto(minutes.shape[1]))[-60:, 0]
    assert ward.usual(HEART)[0] - before > 10
    assert np.median(late) < 0.9 <= np.median(early)


def test_on_normal_minutes_one_in_a_hundred_is_beyond_99() -> None:
    played = play(detector(), anomaly_bedside.normals(40, 420, 990))
    known = played.scores[:, 120:][np.isfinite(played.scores[:, 120:])]
    assert 0.003 <= (known >= 0.99).mean() <= 0.017
    assert 0.04 <= (known >= 0.9).mean() <= 0.14


def test_hours_of_slow_decline_raise_the_score_when_the_minutes_are_usual() -> None:
    minutes = quiet(60)
    windows = Ward(minutes).windows(59)
    hours = np.repeat(np.array(USUAL, np.float32)[None, None], BEDS, axis=0).repeat(24, axis=1)
    calm, _ = detector().judge(windows._replace(hours=hours), Memory((b"",) * BEDS))
    worse = hours.copy()
    worse[0, -5:] = [128, 31, 86, 84, 55, 38.9]
    odd, _ = detector().judge(windows._replace(hours=worse), Memory((b"",) * BEDS))
    assert score(odd[0]) > 0.95
    assert odd[0] is not None
    assert odd[0].drivers
    assert odd[1:] == calm[1:]


def test_a_bundle_that_lacks_a_part_is_refused_by_name() -> None:
    whole = Registry().load("vitals_anomaly")
    names = list(whole.manifest.files)
    parameters = {k: v for k, v in whole.parameters.items() if k != "habits"}
    fields = {"code": "test", "seed": 0, "data": ()}
    with pytest.raises(Poison, match="habits"):
        anomaly.load(Bundle.of("vitals_anomaly", {n: whole.read(n) for n in names}, parameters=parameters, **fields))
    without = {n: whole.read(n) for n in names if n != anomaly.HALF_SPACE}
    with pytest.raises(Poison, match="half_space"):
        anomaly.load(Bundle.of("vitals_anomaly", without, parameters=whole.parameters, **fields))
