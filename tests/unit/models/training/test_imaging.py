"""Image models small enough to be made here: Keras against the graph, heat maps against gradients, calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.imaging.settings import ImageSettings
from models.training import imaging_calibration as chosen
from models.training.imaging_asking import Asked
from models.training.imaging_export import exported
from models.training.imaging_maps import faithfulness, heat
from models.training.imaging_robustness import AS_IT_IS, SHOCKS, shocked, suite
from models.training.intervals import mean
from tests.unit.models.training.small import random_weights

SIDE = 64
SEED = 20260102
CLASSES = ImageSettings(kind="classes", size=SIDE, body_part="brain", labels=("a", "b", "c"), positive=("a",))
MEASURE = ImageSettings(kind="measure", size=SIDE, body_part="hand", unit="months", wants_sex=True)


def made(settings: ImageSettings, seed: int = 3) -> Any:
    """A Keras network with a head that says something."""
    from models.training.imaging_network import network

    outputs = len(settings.labels) or 1
    model = network(random_weights(seed), SIDE, outputs, wants_sex=settings.wants_sex)
    rng = np.random.default_rng(seed)
    for variable in model.get_layer("told").weights:
        variable.assign(rng.normal(0, 1, variable.shape))
    return model


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    return np.random.default_rng(5).random((3, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def classes() -> Any:
    return made(CLASSES)


def test_the_graph_says_what_keras_says_of_the_image_and_its_mirror_image(
    classes: Any, images: NDArray[np.float32]
) -> None:
    from models.training.imaging_network import read
    from models.training.imaging_tuning import predicted

    straight, mirror = predicted(classes, images), predicted(classes, images[:, :, ::-1])
    assert np.abs(straight - mirror).max() > 1e-3
    asked = Asked(exported([read(classes)], CLASSES, half=False))
    assert np.allclose(asked.answers(images), (straight + mirror) / 2, atol=1e-4)
    plain = Asked(exported([read(classes)], CLASSES, half=False, mirrored=False))
    assert np.allclose(plain.answers(images), straight, atol=1e-4)
    half = Asked(exported([read(classes)], CLASSES)).answers(images)
    assert np.abs(half - asked.answers(images)).max() < 0.03 * np.abs(half).max()


def test_maps_add_up_to_the_answer_without_its_bias(classes: Any, images: NDArray[np.float32]) -> None:
    from models.training.imaging_network import read

    tensors = read(classes)
    asked = Asked(exported([tensors], CLASSES, half=False))
    maps = asked.maps(images)
    assert maps.shape == (3, 2, 2, 3)
    assert np.allclose(maps.sum(axis=(1, 2)) + tensors["told.bias"], asked.answers(images), atol=1e-4)


def test_two_networks_that_know_the_sex_answer_with_one_voice(images: NDArray[np.float32]) -> None:
    from models.training.imaging_network import read
    from models.training.imaging_tuning import predicted

    networks = [made(MEASURE, seed) for seed in (3, 4)]
    sex = np.asarray([0, 1, 0.5], np.float32)
    each = [predicted(one, side, 2 * sex - 1)[:, 0] for one in networks for side in (images, images[:, :, ::-1])]
    tensors = [read(one) for one in networks]
    asked = Asked(exported(tensors, MEASURE, half=False))
    value = asked.answers(images, sex)
    assert np.allclose(value, np.mean(each, axis=0), atol=1e-4)
    signed = 2 * sex - 1
    bias = np.mean([one["told.bias"] + signed * one["told.bias_by_sex"] for one in tensors], axis=0)
    assert np.allclose(asked.maps(images, sex).sum(axis=(1, 2, 3)) + bias, value, atol=1e-4)
    assert np.allclose(asked.answers(images), asked.answers(images, np.full(3, 0.5, np.float32)))
    alone = [Asked(exported([one], MEASURE, half=False)).answers(images, sex) for one in tensors]
    apart = asked.apart(images, np.asarray([1, 0, 1]), sex)
    assert np.allclose(apart, [alone[1][0], alone[0][1], alone[1][2]], atol=1e-4)


def test_maps_are_grad_cam_of_the_last_convolution_exactly(classes: Any, images: NDArray[np.float32]) -> None:
    import keras
    import tensorflow as tf

    from models.training.imaging_network import read

    to_last = keras.Model(classes.inputs[0], classes.get_layer("last").output)
    rest = keras.Model(to_last.output, classes.output)
    last = to_last(images, training=False)
    maps = Asked(exported([read(classes)], CLASSES, half=False, mirrored=False)).maps(images)
    for label in range(3):
        with tf.GradientTape() as tape:
            tape.watch(last)
            logit = rest(last, training=False)[:, label]
        # Grad-CAM: channels weighed by the mean over places of the gradient, what is below 0 cut off
        weights = np.asarray(tape.gradient(logit, last)).mean(axis=(1, 2), keepdims=True)
        grad_cam = np.maximum((np.asarray(last) * weights).sum(axis=-1), 0)
        assert np.allclose(np.maximum(maps[..., label], 0), grad_cam, atol=1e-4)


def test_maps_of_randomised_weights_are_other_maps(classes: Any, images: NDArray[np.float32]) -> None:
    from models.training.imaging_network import read

    tensors = read(classes)
    learned = Asked(exported([tensors], CLASSES)).maps(images)
    for prefix in ("told.kernel", "_conv_head", "_blocks.15"):
        chance = np.random.default_rng(9)
        other = {
            name: chance.permuted(values.ravel()).reshape(values.shape) if name.startswith(prefix) else values
            for name, values in tensors.items()
        }
        maps = Asked(exported([other], CLASSES)).maps(images)
        assert np.corrcoef(maps.ravel(), learned.ravel())[0, 1] < 0.9, prefix


@pytest.fixture
def eagerly() -> Iterator[None]:
    """Two steps are done sooner than they are compiled."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eagerly")
def test_tuning_moves_the_later_blocks_towards_the_truth_and_by_the_same_draws_again() -> None:
    import tensorflow as tf

    from models.training.imaging_network import network, read
    from models.training.imaging_tuning import Lesson, Recipe, tuned

    chance = np.random.default_rng(1)
    label = np.arange(16) % 2
    shown = (chance.random((16, SIDE, SIDE)) * 0.4 + 0.5 * label[:, None, None]).astype(np.float32)
    lesson = Lesson(shown, np.eye(2, dtype=np.float32)[label])
    recipe = Recipe(epochs=2, rate=1e-3, batch=16, copies=1, mix=0.5, head_steps=2, average=0.5)
    losses: list[list[float]] = []
    model = network(random_weights(), SIDE, 2, dropout=0.0)
    start, weights = read(model), model.get_weights()

    def loss(true: Any, said: Any) -> Any:
        return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(true, said))

    def after(epoch: int, lost: float) -> None:
        losses[-1].append(lost)

    for _ in range(2):
        losses.append([])
        model.set_weights(weights)
        tuned(model, lesson, recipe, loss, SEED, after)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert losses[0][1] < losses[0][0]
    end = read(model)
    moved = {name for name in start if not np.array_equal(start[name], end[name])}
    assert {"told.kernel", "_conv_head.weight", "_blocks.5._project_conv.weight", "_blocks.15._bn1.bias"} <= moved
    assert not moved & {"_conv_stem.weight", "_blocks.4._project_conv.weight", "_bn1.running_mean"}


def test_augmented_images_are_other_images_of_the_same_kind_and_judged_ones_stay(images: NDArray[np.float32]) -> None:
    from models.training.imaging_augment import Augment, Exposed, Moved

    for layer in (Moved(Augment(), SEED), Exposed(Augment(), SEED)):
        assert np.array_equal(np.asarray(layer(images)), images)
        shown = np.asarray(layer(images, training=True))
        assert shown.shape == images.shape
        assert np.abs(shown - images).mean() > 0.01
        assert shown.min() >= 0
        assert shown.max() <= 1


def test_a_moved_image_without_reach_is_the_image_or_its_mirror_image(images: NDArray[np.float32]) -> None:
    from models.training.imaging_augment import Augment, Moved

    still = Augment(turn=0, shift=0, zoom=0, stretch=0, flips=False)
    assert np.allclose(np.asarray(Moved(still, SEED)(images, training=True)), images, atol=1e-4)
    many = np.repeat(images[:1], 16, axis=0)
    flipped = np.asarray(Moved(Augment(turn=0, shift=0, zoom=0, stretch=0), SEED)(many, training=True))
    as_is = [np.allclose(one, images[0], atol=1e-3) for one in flipped]
    mirrored = [np.allclose(one, images[0, :, ::-1], atol=1e-3) for one in flipped]
    assert all(a != b for a, b in zip(as_is, mirrored, strict=True))
    assert 0 < sum(mirrored) < 16


def test_the_temperature_that_was_there_is_found() -> None:
    chance = np.random.default_rng(2)
    logits = chance.normal(0, 2, (20_000, 4))
    truth = np.array([chance.choice(4, p=p) for p in chosen.softmax(logits, 2.5)])
    assert chosen.temperature(logits, truth) == pytest.approx(2.5, rel=0.05)


def test_the_threshold_is_a_half_unless_a_lower_one_parts_them_better() -> None:
    truth = np.array([False, False, False, True, True, True])
    assert chosen.threshold(truth, np.array([0.01, 0.05, 0.1, 0.7, 0.9, 0.99])) == 0.5
    assert chosen.threshold(truth, np.array([0.01, 0.05, 0.6, 0.7, 0.9, 0.99])) == 0.5
    assert chosen.threshold(truth, np.array([0.01, 0.05, 0.1, 0.2, 0.9, 0.99])) == pytest.approx(0.15)


def test_labels_are_told_from_where_on_they_are_right_but_enough_of_them() -> None:
    confidence = np.linspace(0.5, 1, 101)
    assert chosen.unsure_below(np.ones(101, bool), confidence) == 0
    assert chosen.unsure_below(confidence > 0.52, confidence) == pytest.approx(0.52, abs=0.01)
    assert chosen.unsure_below(np.zeros(101, bool), confidence) == pytest.approx(0.55)


def test_a_conformal_band_holds_nine_in_ten_of_new_cases() -> None:
    chance = np.random.default_rng(4)
    held = [np.mean(np.abs(chance.normal(0, 5, 500)) <= chosen.half_width(chance.normal(0, 5, 99))) for _ in range(100)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)
    assert chosen.half_width(np.array([1.0, -7.0])) == 7


def test_shocks_change_images_and_leave_what_they_are(images: NDArray[np.float32]) -> None:
    for name in SHOCKS:
        changed = shocked(name, images, SEED)
        assert changed.shape == images.shape
        assert changed.dtype == np.float32
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert np.array_equal(changed, images) == (name == AS_IT_IS), name
        assert np.array_equal(changed, shocked(name, images, SEED))


def test_the_suite_tells_what_each_shock_did(images: NDArray[np.float32]) -> None:
    heard: list[tuple[int, int]] = []
    groups = [str(i) for i in range(len(images))]
    table, found = suite(
        images,
        lambda changed: {"brightness": mean(changed.mean(axis=(1, 2)), groups), "nothing": None},
        SEED,
        lambda done, whole: heard.append((done, whole)),
    )
    assert [row[0] for row in table.rows] == list(SHOCKS)
    assert table.columns == ("image", "brightness")
    assert heard[-1] == (len(SHOCKS), len(SHOCKS))
    assert found["brighter by 0.15"]["brightness"].value > found[AS_IT_IS]["brightness"].value


def test_a_map_of_what_an_answer_rests_on_deletes_fast_and_inserts_fast() -> None:
    chance = np.random.default_rng(8)
    shown = (chance.random((6, SIDE, SIDE)) * 0.3).astype(np.float32)
    maps = np.zeros((6, 4, 4), np.float32)
    corners = [(0, 0), (0, 3), (3, 0), (3, 3), (0, 0), (3, 3)]
    for i, (row, column) in enumerate(corners):
        shown[i, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = chance.random((16, 16)) * 0.5 + 0.5
        maps[i, row, column] = 1

    def left(changed: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        now = [changed[k, 16 * r : 16 * r + 16, 16 * c : 16 * c + 16].std() for k, (r, c) in enumerate(corners)]
        return np.asarray(now) / 0.15

    table, found = faithfulness(shown, maps, left, np.array([str(i) for i in range(6)]), SEED)
    by_order = {row[0]: row for row in table.rows}
    for other in ("at random", "from the middle"):
        deletion, insertion = (float(str(cell).split()[0]) for cell in by_order[other][1:])
        assert found["deletion"].value < deletion
        assert found["insertion"].value > insertion
    assert heat(-maps, SIDE).max() == 0
