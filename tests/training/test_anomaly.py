"""The anomaly detector's training: the forest's export, the scripted events, NAB's score, the real data's path."""

from __future__ import annotations

import numpy as np
import pytest

from models.registry import Registry
from models.training import anomaly_bedside, anomaly_events, anomaly_forest, nab
from models.training.anomaly import windows_of
from models.training.anomaly_events import HELD_MIN, SILENCE_MIN
from models.training.nab import PROFILES, Series
from models.vitals import anomaly, oddness
from models.vitals.history import CHANNELS
from models.vitals.portrait import names
from tests.conftest import SHARED_DATA

needs_data = pytest.mark.skipif(not (SHARED_DATA / "vitals").is_dir(), reason="the shared vitals are not beside us")


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    chance = np.random.default_rng(11)
    return (chance.normal(size=(4000, 9)) * chance.lognormal(size=(4000, 1))).astype(np.float32)


def test_the_exported_forest_scores_as_scikit_learn_does(rows: np.ndarray) -> None:
    forest = anomaly_forest.fitted(rows, 60, 256, 5)
    (score,) = oddness.session(anomaly_forest.exported(forest)).run(None, {"features": rows})
    assert np.abs(score + forest.score_samples(rows)).max() < 1e-6


def test_the_exported_forest_scores_as_skl2onnx_has_it(rows: np.ndarray) -> None:
    from skl2onnx import to_onnx

    forest = anomaly_forest.fitted(rows, 20, 128, 5)
    plain = to_onnx(forest, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString()
    decision = oddness.session(plain).run(["scores"], {"X": rows})[0].ravel()
    (score,) = oddness.session(anomaly_forest.exported(forest)).run(None, {"features": rows})
    assert np.abs(score + forest.offset_ + decision).max() < 1e-6


def test_a_forest_of_one_row_or_none_is_scored_too(rows: np.ndarray) -> None:
    session = oddness.session(anomaly_forest.exported(anomaly_forest.fitted(rows, 5, 64, 5)))
    whole = session.run(None, {"features": rows[:3]})[0]
    assert session.run(None, {"features": rows[2:3]})[0] == pytest.approx(whole[2:3], abs=1e-6)
    assert session.run(None, {"features": rows[:0]})[0].shape == (0,)


def test_knots_say_which_share_of_normal_steps_is_as_odd() -> None:
    normal = np.random.default_rng(1).normal(size=50_000)
    knots = oddness.Knots.of(normal)
    for share in (0.5, 0.1, 0.01, 0.001):
        assert 10 ** -float(knots.at(np.array([np.quantile(normal, 1 - share)]))[0]) == pytest.approx(share, rel=0.05)
    beyond = knots.at(np.array([4.0, 5.0, 50.0]))
    assert beyond[0] < beyond[1] <= beyond[2] <= oddness.MOST


def test_simulated_patients_are_the_same_for_the_same_seed_and_have_gaps() -> None:
    one, other = anomaly_bedside.normals(6, 200, 3), anomaly_bedside.normals(6, 200, 3)
    assert np.array_equal(one, other, equal_nan=True)
    assert not np.array_equal(one, anomaly_bedside.normals(6, 200, 4), equal_nan=True)
    assert 0.05 < np.isnan(one).mean() < 0.6


def test_each_scripted_patient_has_one_event_that_moves_its_vitals() -> None:
    minutes, events = anomaly_bedside.scripted(10, 1440, 8)
    assert sorted(event.patient for event in events) == list(range(10))
    assert {event.kind for event in events} == set(anomaly_bedside.SCRIPTS)
    for event in (event for event in events if event.kind == "desaturation"):
        oxygen = minutes[event.patient, :, 2]
        late = slice((event.start + event.end) // 2, event.end)
        assert np.nanmean(oxygen[late]) < np.nanmean(oxygen[: event.start]) - 3


def test_an_alarm_takes_three_minutes_and_then_is_silent() -> None:
    scores = np.zeros((1, 200))
    scores[0, 10:12] = scores[0, 50:90] = 1.0
    begun = np.flatnonzero(anomaly_events.alarms(scores, 0.5)[0]).tolist()
    assert begun == [50 + HELD_MIN - 1, 50 + HELD_MIN - 1 + SILENCE_MIN]


def test_the_threshold_keeps_the_budget_on_calm_days() -> None:
    calm = np.random.default_rng(2).normal(size=(30, 1440))
    level = anomaly_events.threshold(calm, 0.5)
    assert anomaly_events.alarms(calm, level).sum() / 30 <= 0.5


def series(windows: tuple[tuple[int, int], ...]) -> Series:
    return Series("made", np.zeros(1000), windows, 150)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_nab_gives_0_to_silence_and_100_to_perfection(profile: nab.Profile) -> None:
    one = series(((300, 399), (700, 749)))
    perfect = np.zeros(1000)
    perfect[[300, 700]] = 1.0
    assert nab.judged([one], [perfect], profile).value == pytest.approx(100.0)
    assert nab.judged([one], [np.zeros(1000)], profile).value == 0.0


def test_nab_wants_detections_early_and_not_outside() -> None:
    one = series(((300, 399),))
    early, late, noisy = np.zeros(1000), np.zeros(1000), np.zeros(1000)
    early[310], late[395] = 1.0, 1.0
    noisy[[310, 200, 500, 600, 900]] = 1.0
    standard = PROFILES["standard"]
    found = [nab.judged([one], [scores], standard).value for scores in (early, late, noisy)]
    assert found[0] > found[1] > 0
    assert found[0] > found[2]


def test_hours_are_seen_in_training_as_they_are_live() -> None:
    stay = np.random.default_rng(3).normal(100, 10, (30, len(CHANNELS))).astype(np.float32)
    windows = windows_of(stay)
    assert windows.shape == (30, 24, len(CHANNELS))
    assert np.array_equal(windows[29], stay[6:30])
    assert np.isnan(windows[0, :-1]).all()
    assert np.array_equal(windows[0, -1], stay[0])


def test_the_shipped_forests_read_the_features_they_were_fitted_on() -> None:
    bundle = Registry().load("vitals_anomaly")
    known = names([vital.value for vital in CHANNELS])
    for head, file in (("minutes", anomaly.MINUTES_FOREST), ("hours", anomaly.HOURS_FOREST)):
        features = bundle.parameters[head]["forest"]["features"]
        assert set(features) <= set(known)
        assert oddness.session(bundle.read(file)).get_inputs()[0].shape[1] == len(features)
    assert sum(map(len, (bundle.read(file) for file in bundle.manifest.files))) < 1_500_000


@needs_data
def test_the_benchmark_is_read_with_its_windows() -> None:
    found = nab.read(SHARED_DATA / "vitals" / "nab")
    assert len(found) == 7
    assert all(0 <= first < last < len(one.values) for one in found for first, last in one.windows)


@needs_data
def test_the_detectors_own_path_beats_river_alone_on_one_benchmark_series() -> None:
    found = [one for one in nab.read(SHARED_DATA / "vitals" / "nab") if one.name.startswith("rogue_agent_key_hold")]
    standard = PROFILES["standard"]
    ours = nab.judged(found, [nab.ours(one, 0) for one in found], standard).value
    river = nab.judged(found, [nab.river_alone(one, 0) for one in found], standard).value
    assert ours >= river
