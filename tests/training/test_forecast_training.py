"""From a small folder of made-up stays to a forecaster that speaks, and what it is judged by on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import Poison
from models.bundle import Bundle
from models.ports import Memory
from models.training import forecast, forecast_baselines, forecast_calibration, forecast_evaluation, forecast_minutes
from models.training.forecast_grid import AHEAD_H, AHEAD_MINUTES, Examples, examples, last_known
from models.training.forecast_live import _windows
from models.training.forecast_net import Settle, settled
from models.training.forecast_speaks import halves, may_speak
from models.training.stays import Stay
from models.vitals.conformal import HORIZONS, WIDTH
from models.vitals.forecast import load
from models.vitals.history import CHANNELS, HOURS, MINUTES

pa = pytest.importorskip("pyarrow")
USUAL = np.array([84.0, 18.0, 97.0, 121.0, 80.0, 36.9])


def stay_of(name: str, vitals: np.ndarray, split: str = "train") -> Stay:
    """One stay."""
    return Stay("eicu", name, name, split, 60.0, 1.0, vitals.astype(np.float32), {}, {"split": split})


def test_a_window_ends_where_the_truth_begins() -> None:
    hours = np.arange(30.0)[:, None] + np.zeros(len(CHANNELS))
    found = examples([stay_of("a", hours), stay_of("b", hours + 100)])
    windows, truth = found.windows(), found.truth()
    assert (windows[:, -1, 0] + 1 == truth[:, 0, 0])[np.isfinite(truth[:, 0, 0])].all()
    assert np.nanmax(windows[:29]) < 100 <= np.nanmin(windows[29:])  # no stay looks into another
    assert (found.stay_h == np.tile(np.arange(1, 30), 2)).all()
    assert np.isfinite(windows[0]).sum() == len(CHANNELS)
    assert windows.shape[1] == HOURS


def test_moments_after_which_nothing_is_known_teach_nothing() -> None:
    hours = np.full((20, len(CHANNELS)), np.nan)
    hours[:5] = 80.0
    assert len(examples([stay_of("a", hours)])) == 4


def test_drift_goes_on_and_persistence_stays() -> None:
    windows = np.full((1, HOURS, len(CHANNELS)), np.nan, np.float32)
    windows[0, -12:, 0] = np.arange(12)
    windows[0, -3, 1] = 20.0
    assert forecast_baselines.drift(windows)[0, 0].tolist() == [12, 13, 15, 17]
    assert forecast_baselines.drift(windows)[0, 1].tolist() == [20] * 4
    assert forecast_baselines.persistence(windows)[0, 0].tolist() == [11] * 4
    assert forecast_baselines.mean(windows)[0, 0].tolist() == [5.5] * 4


def test_a_small_move_is_told_as_none_and_a_large_one_in_whole_grains() -> None:
    moves = np.array([[[[-2.0, -0.4, 0.1, 0.5, 2.0]], [[0.2, 0.8, 1.4, 2.0, 3.0]]]], np.float32)
    told = settled(moves, Settle(np.full((2, 1), 0.2, np.float32), np.ones((2, 1), np.float32)))
    assert told[0, 0, 0].tolist() == pytest.approx([-2.0, -0.4, 0.0, 0.5, 2.0])
    assert told[0, 1, 0].tolist() == pytest.approx([0.2, 0.8, 1.0, 2.0, 3.0])


def test_intervals_start_as_wide_as_validation_asks() -> None:
    chance = np.random.default_rng(1)
    n = 4000
    windows = np.full((n, HOURS, WIDTH), 80.0, np.float32)
    truth = (80 + 10 * chance.normal(size=(n, WIDTH, HORIZONS))).astype(np.float32)
    said = np.broadcast_to(80 + np.array([-8.0, -3, 0, 3, 8]), (n, WIDTH, HORIZONS, 5)).astype(np.float32)
    begin = forecast_calibration.start(said, windows, truth, np.full((WIDTH, HORIZONS), 8.0))
    assert begin.stretch == pytest.approx(np.full_like(begin.stretch, 16.45 / 8), rel=0.08)
    assert begin.offsets[0] == pytest.approx(np.full((WIDTH, HORIZONS), -16.45), rel=0.08)
    assert begin.skill == pytest.approx(np.zeros((WIDTH, HORIZONS)))


def test_simulated_minutes_can_be_made_again_and_can_be_shown_by_a_monitor() -> None:
    one, same, other = (forecast_minutes.simulated(200, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.windows, same.windows, equal_nan=True)
    assert not np.array_equal(one.windows, other.windows, equal_nan=True)
    assert one.windows.shape == (200, MINUTES, len(CHANNELS))
    assert np.isfinite(one.truth).all()
    assert np.nanmax(one.windows[..., 2]) <= 100
    assert np.array_equal(one.truth[:, :, 0], one.following[:, AHEAD_MINUTES[0] - 1])


def _stays(chance: np.random.Generator, stays: int, hours: int) -> np.ndarray:
    level = USUAL + np.array([12, 3, 1.5, 15, 10, 0.4]) * chance.normal(size=(stays, 1, 6))
    noise = np.array([5, 2, 1, 9, 6, 0.2]) * chance.normal(size=(stays, hours, 6))
    noise[:, 1:] += 0.6 * noise[:, :-1]
    return level + noise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Laid out like the project's vitals data; every vital swings around its patient's level."""
    import pyarrow.csv
    import pyarrow.parquet

    def keep(name: str, columns: Mapping[str, Any]) -> None:
        table = pa.table({k: pa.array(v, from_pandas=True) for k, v in columns.items()})
        if name.endswith("csv"):
            pyarrow.csv.write_csv(table, root / name)
        else:
            pyarrow.parquet.write_table(table, root / name)

    root = tmp_path_factory.mktemp("vitals")
    chance = np.random.default_rng(5)
    n, hours = 60, 40
    vitals = np.clip(_stays(chance, n, hours), 5, [200, 60, 100, 220, 150, 41])
    split = np.where(np.arange(n) % 5 == 0, "test", "train")
    at, stay = np.tile(np.arange(hours), n), np.repeat(np.arange(n), hours)
    names = ("hr", "resp", "o2sat", "sbp", "map", "temp")
    measured = {name: vitals[..., i].ravel() for i, name in enumerate(names)}
    no = np.zeros(n * hours)
    keep(
        "eicu_hourly.parquet",
        {"stay_id": stay, "hour": at, "split": split[stay], **measured, "sepsis": no, "aki": no},
    )
    people = {"stay_id": np.arange(n), "age": np.full(n, 60.0), "sex": ["Female"] * n, "patient_id": np.arange(n)}
    keep("eicu_stays.csv", people)
    columns = ("hr", "resprate", "sao2", "sysabp", "nisysabp", "map", "nimap", "temp")
    order = (0, 1, 2, 3, 3, 4, 4, 5)
    seen = {name: vitals[..., i].ravel() for name, i in zip(columns, order, strict=True)}
    keep("challenge2012_observations.parquet", {"record_id": stay, "minute": at * 60, **seen})
    records = {"record_id": np.arange(n), "age": np.full(n, 60.0), "gender": ["female"] * n}
    keep("challenge2012_records.csv", {**records, "split": ["train"] * n, "in_hospital_death": np.zeros(n)})
    cuff = {"nibp_sys": vitals[..., 3].ravel(), "nibp_mean": vitals[..., 4].ravel()}
    keep("eicu_nibp_minutes.parquet", {"stay_id": stay, "minute": at * 15, **cuff, "split": split[stay]})
    shown = np.clip(_stays(chance, 1, 600)[0], 5, [200, 60, 100, 220, 150, 41])
    monitor = dict(zip(("hr", "resp", "spo2", "abpsys", "abpmean"), shown.T[:5], strict=True))
    none = {"nbpsys": shown[:, 3], "nbpmean": shown[:, 4]}
    keep("mimic_numerics_1min.csv", {"subject": ["s1"] * 600, "minute": np.arange(600), **monitor, **none})
    return root


def test_a_head_that_repeats_the_last_value_may_not_speak(folder: Path) -> None:
    def repeats(real: forecast_minutes.MinuteExamples) -> np.ndarray:
        last, _ = last_known(real.windows)
        return np.repeat(np.repeat(last[:, :, None], 4, axis=2)[..., None], 5, axis=-1)

    speaks, why = may_speak(folder, repeats, 30, 2)
    assert not speaks.any()
    assert all(line.endswith("silent") for line in why)


def test_a_head_that_knows_the_patients_level_may_speak(folder: Path) -> None:
    def knows(real: forecast_minutes.MinuteExamples) -> np.ndarray:
        return np.repeat(forecast_baselines.mean(real.windows)[..., None], 5, axis=-1)

    speaks, _ = may_speak(folder, knows, 30, 2)
    assert speaks[:5].all()
    assert not speaks[5].any()  # nobody has shown temperature by the minute


def test_what_is_decided_and_what_judges_are_different_minutes(folder: Path) -> None:
    first, second = halves(forecast_minutes.monitors(folder))
    assert abs(len(first) - len(second)) <= 1
    assert not np.array_equal(first.windows[-1], second.windows[0], equal_nan=True)


def test_a_monitor_record_without_subjects_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mimic_numerics_1min.csv").write_text(
        "minute,hr,resp,spo2,abpsys,nbpsys,abpmean,nbpmean\n0,1,1,1,1,1,1,1\n"
    )
    with pytest.raises(Poison, match="subject"):
        forecast_minutes.monitors(tmp_path)


def test_from_a_folder_to_a_forecaster_that_is_judged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "HOUR", dataclasses.replace(forecast.HOUR, units=8, wide=8, epochs=6, batch=64))
    monkeypatch.setattr(forecast, "NEAR", dataclasses.replace(forecast.NEAR, units=4, wide=8, epochs=1))
    monkeypatch.setattr(forecast, "SIMULATED", 400)
    monkeypatch.setattr(forecast_baselines, "TREES", 3)
    lines: list[str] = []
    steps: set[str] = set()
    files, fields = forecast.train(folder, 7, lines.append, lambda step, done, total: steps.add(step))
    bundle = Bundle.of("vitals_forecast", files, **fields)
    assert any("synthetic" in line for line in lines)
    assert len(steps) == forecast.NETS + 1
    assert [data.synthetic for data in bundle.manifest.data] == [False, False, True]
    forecaster = load(bundle)
    stays = [stay_of("a", _stays(np.random.default_rng(1), 1, 30)[0])]
    grid = np.concatenate([np.full((1, HOURS, 6), np.nan), stays[0].vitals[None]], axis=1).astype(np.float32)
    rows, _ = forecaster.forecast(_windows(stays, grid, np.array([0]), 25), Memory((b"",)))
    assert rows[0]
    found = forecast_evaluation.evaluate(folder, bundle, "test", lines.append, lambda step, done, total: None)
    assert found.split == "test"
    assert found.metrics["skill_heart_rate_6h"].value > 0.03  # it swings back to its level
    assert 0.8 < found.metrics["coverage_heart_rate_4h_online"].value < 0.97
    assert {"skill_systolic_10min_monitor", "skill_systolic_10min_cuff"} <= set(found.metrics)
    assert all(plot.startswith(b"\x89PNG") for plot in found.plots.values())
    assert any(len(AHEAD_H) * len(CHANNELS) == len(table.rows) for table in found.tables)


def test_examples_can_be_chosen() -> None:
    every = examples([stay_of("a", np.full((10, 6), 80.0))])
    some: Examples = every.of(np.array([1, 3]))
    assert np.array_equal(some.windows(), every.windows(np.array([1, 3])), equal_nan=True)
