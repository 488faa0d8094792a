"""One function reads a day of vitals, for training and for the ward; it changes nothing and invents nothing."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.records import PastSeries, PastVitals
from models.ports import Floats
from models.vitals.deterioration_features import LAST, NAMES, SLOPE, features
from models.vitals.history import CHANNEL, CHANNELS, HOURS, History, rings
from models.vitals.instability import CONDITIONS, last_known, met, observed

NAN = float("nan")
NORMAL = (80.0, 16.0, 97.0, 120.0, 85.0, 37.0)


def day(beds: int = 1) -> Floats:
    return np.tile(np.array(NORMAL, np.float32), (beds, HOURS, 1))


def read(hours: Floats, age: float = 60.0, stay: float = 30.0) -> dict[str, float]:
    one = np.ones(len(hours), np.float32)
    row = features(hours, one * np.float32(age), one, one * np.float32(stay))[0]
    return dict(zip(NAMES, row.tolist(), strict=True))


def strewn(beds: int, seed: int = 1) -> Floats:
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (beds, HOURS, len(CHANNELS))) * (8.0, 2.0, 0.5, 8.0, 6.0, 0.3)
    hours = (day(beds) + noise).astype(np.float32)
    hours[rng.random(hours.shape) < 0.4] = np.nan
    return hours


def test_every_column_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES) == features(day(2), *np.ones((3, 2), np.float32)).shape[1]


def test_a_steady_patient_reads_steady() -> None:
    seen = read(day())
    assert seen["mean_pressure_last"] == seen["mean_pressure_low24"] == 85.0
    assert seen["mean_pressure_recent"] == pytest.approx(85.0)
    assert seen["heart_rate_change6"] == seen["heart_rate_slope"] == seen["heart_rate_sd12"] == 0.0
    assert seen["spo2_known"] == 12.0
    assert seen["shock_index"] == pytest.approx(80 / 120)
    assert seen["hypotension_since"] == HOURS
    assert (seen["age_years"], seen["female"], seen["stay_h"]) == (60.0, 1.0, 30.0)


def test_a_fall_reads_as_a_fall() -> None:
    hours = day()
    hours[0, -6:, CHANNEL[CHANNELS[4]]] = [84, 80, 76, 72, 68, 64]
    seen = read(hours)
    assert seen["mean_pressure_slope"] == pytest.approx(-4.0)
    assert seen["mean_pressure_change1"] == -4.0
    assert seen["mean_pressure_change3"] == -12.0
    assert seen["mean_pressure_low6"] == 64.0


def test_an_old_value_is_carried_and_its_age_told() -> None:
    hours = day()
    hours[0, -5:, 2] = np.nan
    seen = read(hours)
    assert seen["spo2_last"] == 97.0
    assert seen["spo2_age"] == 5.0
    assert seen["spo2_known"] == 7.0


def test_nothing_known_reads_as_unknown_not_as_normal() -> None:
    seen = read(np.full((1, HOURS, len(CHANNELS)), np.nan, np.float32), age=NAN)
    assert all(np.isnan(seen[f"{vital.value}_last"]) for vital in CHANNELS)
    assert np.isnan(seen["age_years"])
    assert seen["heart_rate_age"] == HOURS
    assert seen["heart_rate_known"] == 0.0


def test_an_episode_earlier_in_the_day_is_remembered() -> None:
    hours = day()
    hours[0, -4, 4] = 55.0
    seen = read(hours)
    assert seen["hypotension_since"] == 3.0
    assert seen["hypotension_hours"] == 1.0


def test_nothing_handed_in_is_changed_and_twice_is_the_same() -> None:
    hours = strewn(5)
    before = hours.copy()
    one = np.ones(5, np.float32)
    first, second = features(hours, one, one, one), features(hours, one, one, one)
    assert np.array_equal(hours, before, equal_nan=True)
    assert first.tobytes() == second.tobytes()


def test_a_bed_reads_the_same_alone_and_among_others() -> None:
    hours = strewn(40)
    facts = np.random.default_rng(2).uniform(20, 90, (3, 40)).astype(np.float32)
    together = features(hours, *facts)
    for bed in range(40):
        alone = features(hours[bed : bed + 1], *facts[:, bed : bed + 1])
        assert alone.tobytes() == together[bed : bed + 1].tobytes()


def test_what_the_ward_remembers_reads_as_what_was_trained_on() -> None:
    hours = np.round(strewn(1, seed=4), 1)
    now = 40_000_000
    series = tuple(
        PastSeries(
            vital=vital,
            values=tuple(None if np.isnan(v) else float(v) for v in np.repeat(hours[0, :, channel], 12)),
        )
        for channel, vital in enumerate(CHANNELS)
    )
    past = PastVitals(
        bed="b", patient="p", start_ms=(now - 24 * 60) * 60_000, step_s=300, origin="recording", series=series
    )
    remembered = History(now).with_past(past, now * 60_000)
    _, seen = rings([remembered], [now])
    one = np.ones(1, np.float32)
    assert features(seen, one, one, one) == pytest.approx(features(hours, one, one, one), abs=2e-3, nan_ok=True)


def test_the_bounds_of_the_conditions_are_as_defined() -> None:
    values = np.tile(np.array(NORMAL, np.float32), (8, 1))
    for row, (channel, value) in enumerate([(4, 59.9), (3, 89.9), (2, 87.9), (0, 130.1), (1, 30.0), (4, 60), (3, 90)]):
        values[row, channel] = value
    names = [[name for name, hit in zip(CONDITIONS, row, strict=True) if hit] for row in met(values).tolist()]
    assert names == [["hypotension"], ["hypotension"], ["desaturation"], ["tachycardia"], ["tachypnoea"], [], [], []]


def test_what_was_not_measured_is_neither_met_nor_observed() -> None:
    values = np.full((1, len(CHANNELS)), np.nan, np.float32)
    assert not met(values).any()
    assert not observed(values).any()
    assert np.isnan(last_known(values[None])).all()


def test_levels_and_slopes_are_where_the_words_look_for_them() -> None:
    assert NAMES[LAST] == tuple(f"{vital.value}_last" for vital in CHANNELS)
    assert NAMES[SLOPE] == tuple(f"{vital.value}_slope" for vital in CHANNELS)
