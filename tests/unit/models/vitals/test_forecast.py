"""The forecaster as it is shipped: pure, the same in any company, silent where it must be, honest about who speaks."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.errors import Poison
from contracts.records import Engine, Vital, VitalForecast
from models.ports import Memory, Windows
from models.registry import Registry
from models.vitals.forecast import LEVELS, VitalsForecaster, load
from models.vitals.forecast_memory import BED, read_ward, write_ward
from models.vitals.history import CHANNEL, CHANNELS, HOURS, MINUTES

BEDS = 12
USUAL = np.array([84.0, 18.0, 97.0, 121.0, 80.0, 36.9], np.float32)
SPREAD = np.array([6.0, 3.0, 1.5, 9.0, 6.0, 0.3], np.float32)
LIMITS = np.array([[50, 120], [8, 30], [90, np.nan], [90, 180], [60, 110], [35, 39]], np.float32)
START_MIN = 28_000_000 // 60 * 60
HOUR_S = {3600, 7200, 14_400, 21_600}


@pytest.fixture(scope="module")
def forecaster() -> VitalsForecaster:
    """The champion."""
    return load(Registry().load("vitals_forecast"))


def seen(seed: int, minute: int = START_MIN, beds: int = BEDS) -> Windows:
    """A ward of people with usual vitals, some of them not measured."""
    chance = np.random.default_rng(seed)
    own = USUAL + SPREAD * chance.normal(size=(beds, 1, len(CHANNELS)))
    hours = own + SPREAD * 0.5 * chance.normal(size=(beds, HOURS, len(CHANNELS)))
    minutes = own + SPREAD * 0.3 * chance.normal(size=(beds, MINUTES, len(CHANNELS)))
    hours[chance.random(hours.shape) < 0.1] = np.nan
    minutes[chance.random(minutes.shape) < 0.1] = np.nan
    return Windows(
        minutes=np.round(minutes, 1).astype(np.float32),
        hours=np.round(hours, 1).astype(np.float32),
        at_ms=np.full(beds, minute * 60_000, np.int64),
        age_years=chance.integers(20, 90, beds).astype(np.float32),
        female=chance.integers(0, 2, beds).astype(np.float32),
        stay_h=chance.integers(1, 200, beds).astype(np.float32),
        limits=np.broadcast_to(LIMITS, (beds, *LIMITS.shape)),
        alarming=np.zeros(beds, np.bool_),
    )


def of(windows: Windows, rows: list[int]) -> Windows:
    """Only these beds."""
    return Windows._make(each[rows] for each in windows)


def nothing(beds: int = BEDS) -> Memory:
    """Of so many beds."""
    return Memory((b"",) * beds)


def grown(forecaster: VitalsForecaster, ticks: int = 45) -> Memory:
    """What is remembered after so many ten minutes."""
    memory = nothing()
    for tick in range(ticks):
        _, memory = forecaster.forecast(seen(tick, START_MIN - (ticks - tick) * 10), memory)
    return memory


def heads(row: tuple[VitalForecast, ...]) -> tuple[list[VitalForecast], list[VitalForecast]]:
    """(minutes ahead, hours ahead)."""
    return [f for f in row if f.horizons_s[-1] <= 1800], [f for f in row if set(f.horizons_s) <= HOUR_S]


def test_the_same_input_and_memory_give_the_same_words_and_memory(forecaster: VitalsForecaster) -> None:
    memory, windows = grown(forecaster), seen(99)
    kept = [each.tobytes() for each in windows]
    first = forecaster.forecast(windows, memory)
    forecaster.forecast(seen(5), nothing())
    assert forecaster.forecast(windows, memory) == first
    assert [each.tobytes() for each in windows] == kept


def test_what_is_remembered_is_bytes_that_another_process_can_go_on_from(forecaster: VitalsForecaster) -> None:
    memory = grown(forecaster, 9)
    copy = Memory(tuple(bytes(bytearray(one)) for one in memory.beds), bytes(bytearray(memory.ward)))
    other = load(Registry().load("vitals_forecast"))
    windows = seen(7)
    assert other.forecast(windows, copy) == forecaster.forecast(windows, memory)
    assert all(len(one) <= 1536 for one in memory.beds)
    assert len(memory.ward) <= 24 * 1024


def test_the_order_of_beds_changes_no_word_and_nothing_that_the_ward_remembers(forecaster: VitalsForecaster) -> None:
    memory, windows = grown(forecaster), seen(98)
    rows, after = forecaster.forecast(windows, memory)
    order = np.random.default_rng(1).permutation(BEDS).tolist()
    mixed, after_mixed = forecaster.forecast(
        of(windows, order), Memory(tuple(memory.beds[i] for i in order), memory.ward)
    )
    assert mixed == tuple(rows[i] for i in order)
    assert after_mixed.beds == tuple(after.beds[i] for i in order)
    assert after_mixed.ward == after.ward


def test_a_bed_alone_hears_the_same_between_ticks(forecaster: VitalsForecaster) -> None:
    memory = grown(forecaster)
    windows = seen(97, START_MIN - 5)  # nothing new is learned before the tick
    rows, _ = forecaster.forecast(windows, memory)
    for bed in (0, 5):
        alone, _ = forecaster.forecast(of(windows, [bed]), Memory((memory.beds[bed],), memory.ward))
        assert alone[0] == rows[bed]


def test_between_ticks_nothing_is_remembered_anew(forecaster: VitalsForecaster) -> None:
    memory = grown(forecaster)
    _, after = forecaster.forecast(seen(96, START_MIN - 5), memory)
    assert after is memory


def test_quantiles_ascend_are_rounded_and_possible(forecaster: VitalsForecaster) -> None:
    rows, _ = forecaster.forecast(seen(3), nothing())
    assert forecaster.levels == LEVELS
    for row in rows:
        assert {forecast.vital for forecast in heads(row)[1]} == set(CHANNELS)
        for forecast in row:
            assert len(forecast.quantiles) == len(forecast.horizons_s) == len(forecast.skill)
            for values in forecast.quantiles:
                assert list(values) == sorted(values)
                assert all(value == round(value, 2) for value in values)
            if forecast.vital is Vital.SPO2:
                assert max(values[-1] for values in forecast.quantiles) <= 100
                assert forecast.above is None  # there is no such limit
            for chances in (forecast.below, forecast.above):
                assert chances is None or (list(chances) == sorted(chances) and chances[0] >= 0 and chances[-1] <= 1)


def test_minutes_ahead_are_silent_where_they_did_not_beat_persistence(forecaster: VitalsForecaster) -> None:
    rows, _ = forecaster.forecast(seen(4), nothing())
    allowed = forecaster.near.may_speak
    assert not allowed.all()
    assert allowed.any()
    told = {
        (CHANNEL[forecast.vital], horizon_s // 60)
        for row in rows
        for forecast in heads(row)[0]
        for horizon_s in forecast.horizons_s
    }
    assert told == {(v, m) for v in range(len(CHANNELS)) for h, m in enumerate((5, 10, 15, 30)) if allowed[v, h]}


def test_minutes_ahead_tell_no_chance_of_crossing_a_limit(forecaster: VitalsForecaster) -> None:
    rows, _ = forecaster.forecast(seen(4), nothing())
    near = [forecast for row in rows for forecast in heads(row)[0]]
    assert near
    assert all(forecast.below is None and forecast.above is None for forecast in near)


def test_a_vital_not_known_for_half_a_day_is_not_forecast(forecaster: VitalsForecaster) -> None:
    windows = seen(5)
    windows.hours[0, -12:, CHANNEL[Vital.SPO2]] = np.nan
    windows.hours[1] = np.nan
    windows.minutes[1] = np.nan
    rows, _ = forecaster.forecast(windows, nothing())
    assert Vital.SPO2 not in {forecast.vital for forecast in heads(rows[0])[1]}
    assert Vital.HEART_RATE in {forecast.vital for forecast in heads(rows[0])[1]}
    assert rows[1] == ()


def test_one_hour_of_a_new_patient_is_enough_to_speak_of_hours(forecaster: VitalsForecaster) -> None:
    windows = seen(6)
    windows.hours[:, :-1] = np.nan
    windows.stay_h[:] = np.nan
    windows.age_years[:] = np.nan
    windows.hours[:, -1] = USUAL
    rows, _ = forecaster.forecast(windows, nothing())
    assert all(len(heads(row)[1]) == len(CHANNELS) for row in rows)


def stuck(hour: int) -> Windows:
    """A regime in which the last known value is always right and everything else is wrong: it jumped, and will stay."""
    windows = seen(11, START_MIN + hour * 60)
    windows.hours[:] = USUAL - 4 * SPREAD
    windows.hours[:, -1] = USUAL + 4 * SPREAD
    windows.minutes[:] = USUAL + 4 * SPREAD
    return windows


def test_a_vital_that_has_just_left_its_hour_is_told_by_persistence_from_where_it_is(
    forecaster: VitalsForecaster,
) -> None:
    spo2 = CHANNEL[Vital.SPO2]
    windows = seen(12)
    windows.hours[:, -1, spo2] = 97.0
    windows.minutes[:, :, spo2] = 97.0
    windows.minutes[0, -6:, spo2] = 82.0
    before, _ = forecaster.forecast(windows, nothing())
    told = {forecast.vital: forecast for forecast in heads(before[0])[1]}
    assert told[Vital.SPO2].engine is Engine.PERSISTENCE
    assert [quantiles[2] for quantiles in told[Vital.SPO2].quantiles] == [82.0] * 4
    assert told[Vital.SPO2].below == (1.0,) * 4, "it is below its limit already"
    assert told[Vital.HEART_RATE].engine is Engine.LSTM
    others = [forecast for row in before[1:] for forecast in heads(row)[1]]
    assert {forecast.engine for forecast in others} == {Engine.LSTM}


def test_a_vital_a_little_off_its_hour_is_still_the_networks(forecaster: VitalsForecaster) -> None:
    windows = seen(13)
    windows.hours[:, -1, CHANNEL[Vital.HEART_RATE]] = 80.0
    windows.minutes[:, -6:, CHANNEL[Vital.HEART_RATE]] = 84.0
    rows, _ = forecaster.forecast(windows, nothing())
    assert {f.engine for row in rows for f in heads(row)[1] if f.vital is Vital.HEART_RATE} == {Engine.LSTM}


def test_persistence_speaks_where_it_was_the_better_one_lately_and_the_record_says_so(
    forecaster: VitalsForecaster,
) -> None:
    memory = nothing()
    rows, memory = forecaster.forecast(stuck(0), memory)
    assert {forecast.engine for row in rows for forecast in heads(row)[1]} == {Engine.LSTM}
    for hour in range(1, 30):
        rows, memory = forecaster.forecast(stuck(hour), memory)
    pressures = [f for row in rows for f in heads(row)[1] if f.vital is Vital.SYSTOLIC]
    fallen = [f for f in pressures if f.engine is Engine.PERSISTENCE]
    assert fallen
    for forecast in fallen:
        assert all(skill is not None and skill < 0.01 for skill in forecast.skill)
        assert all(values[2] == pytest.approx(157.0) for values in forecast.quantiles)


def test_minutes_ahead_fall_silent_where_persistence_was_the_better_one(forecaster: VitalsForecaster) -> None:
    memory = grown(forecaster)
    books = read_ward(memory.ward)
    assert books is not None
    hour, near = books
    bad = near._replace(fallen=np.ones_like(near.fallen))
    rows, _ = forecaster.forecast(seen(8, START_MIN - 5), Memory(memory.beds, write_ward(hour, bad)))
    assert all(not heads(row)[0] for row in rows)
    assert all(heads(row)[1] for row in rows)


def test_live_skill_is_told_once_enough_has_come_true(forecaster: VitalsForecaster) -> None:
    rows, _ = forecaster.forecast(seen(1), nothing())
    assert all(skill is None for row in rows for forecast in row for skill in forecast.skill)
    memory = grown(forecaster, 90)
    rows, _ = forecaster.forecast(seen(2, START_MIN - 5), memory)
    near, hours = heads(rows[0])
    assert all(skill is not None for forecast in near for skill in forecast.skill)
    assert hours[0].skill[0] is not None


@pytest.mark.parametrize("raw", [b"\x01", b"\x02" + bytes(BED.itemsize - 1)])
def test_memory_of_another_kind_is_refused(forecaster: VitalsForecaster, raw: bytes) -> None:
    with pytest.raises(Poison, match=r"memory\.beds"):
        forecaster.forecast(seen(1), Memory((raw, *(b"",) * (BEDS - 1))))
    with pytest.raises(Poison, match=r"memory\.ward"):
        forecaster.forecast(seen(1), Memory((b"",) * BEDS, raw))


def test_a_ward_without_beds_is_told_nothing(forecaster: VitalsForecaster) -> None:
    assert forecaster.forecast(of(seen(1), []), Memory(())) == ((), Memory(()))
