"""The exported graph says what the trained network says, whatever is missing from the window."""

from __future__ import annotations

import numpy as np
import pytest

from models.training.forecast_export import exported
from models.training.forecast_grid import AHEAD_H, last_known
from models.training.forecast_net import Settle, Shape, features, network, quantiles, weights

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("keras")
LIMIT = 1e-5


def shape_of(steps: int) -> Shape:
    """As if trained."""
    mean = np.array([84, 19, 97, 121, 80, 36.9], np.float32)
    deviation = np.array([17, 5, 2.5, 22, 15, 0.6], np.float32)
    return Shape(steps, AHEAD_H, mean, deviation, np.full((6, 4), 0.4, np.float32), (3, 12, steps))


def asked(shape: Shape, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows with every kind of gap, ages and stays, some of them not told."""
    chance = np.random.default_rng(3)
    windows = shape.mean + shape.deviation * chance.normal(size=(n, shape.steps, 6)) * 2
    windows[chance.random(windows.shape) < chance.random((n, 1, 6))] = np.nan
    windows[: n // 20, :, 2] = np.nan
    windows[0] = np.nan
    windows[1, :, 0] = 300.0
    age = np.where(chance.random(n) < 0.2, np.nan, chance.uniform(18, 95, n))
    stay = np.where(chance.random(n) < 0.2, np.nan, chance.uniform(0, 170, n))
    return windows.astype(np.float32), age.astype(np.float32), stay.astype(np.float32)


@pytest.mark.parametrize(
    ("steps", "nets", "n"), [(24, 2, 1000), (60, 1, 1000), pytest.param(24, 2, 10_000, marks=pytest.mark.bench)]
)
def test_onnx_runtime_says_what_keras_says(steps: int, nets: int, n: int) -> None:
    shape = shape_of(steps)
    models = [network(shape, 24, 32, 0.2, seed) for seed in range(nets)]
    chance = np.random.default_rng(4)
    for model in models:
        model.set_weights([w + 0.1 * chance.normal(size=w.shape) for w in model.get_weights()])
    windows, age, stay = asked(shape, n)
    with np.errstate(invalid="ignore"):
        sequence, facts = features(shape, windows, age, stay)
    moves = np.mean([np.asarray(model([sequence, facts], training=False)) for model in models], axis=0)
    settle = Settle(np.full((6, 4), 0.05, np.float32), np.full((6, 4), 0.001, np.float32))
    session = onnxruntime.InferenceSession(exported(shape, [weights(model) for model in models], settle))
    inputs = {"windows": windows, "age_years": age, "stay_h": stay}
    said, told, last, ago = session.run(["moves", "quantiles", "last", "ago"], inputs)
    assert np.abs(said - moves).max() <= LIMIT
    expected, steps_ago = last_known(windows)
    assert np.array_equal(last, expected, equal_nan=True)
    assert np.array_equal(ago, steps_ago)
    # the medians are whole thousandths: a last bit may tip one over
    assert np.nanmax(np.abs(told - quantiles(shape, windows, moves, settle))) <= 0.0011


def test_before_training_the_median_is_the_last_known_value() -> None:
    shape = shape_of(24)
    settle = Settle(np.zeros((6, 4), np.float32), np.full((6, 4), 0.001, np.float32))
    session = onnxruntime.InferenceSession(exported(shape, [weights(network(shape, 8, 8, 0.0, 1))], settle))
    windows, age, stay = asked(shape, 50)
    (told,) = session.run(["quantiles"], {"windows": windows, "age_years": age, "stay_h": stay})
    last, _ = last_known(windows)
    assert np.array_equal(told[..., 2], np.repeat(last[:, :, None], 4, axis=2), equal_nan=True)


def test_features_ignore_what_is_not_known() -> None:
    shape = shape_of(24)
    windows, age, stay = asked(shape, 50)
    sequence, facts = features(shape, windows, age, stay)
    assert np.isfinite(sequence).all()
    assert np.isfinite(facts).all()
    assert facts.shape[1] == shape.facts
