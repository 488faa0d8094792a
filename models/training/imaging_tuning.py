"""Tunes a network on images: its head first on features as they are, then the later blocks on augmented images.

The weights kept are a running average over steps, which is steadier than where the last step happened to end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.training.imaging_augment import Augment, Exposed, Moved

Floats = NDArray[np.float32]
Loss = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Recipe:
    """``copies``: how many augmented copies of each image are made; each epoch sees the next. What the frozen blocks
    make of them is kept (float16), so that most epochs do not pay for those blocks. ``mix``: share of images that are
    blended with another there (both answers count). ``average``: how much of the running average stays at each step.
    ``blind``: share of cases whose sex is not told. The rate rises over ``warm`` of the steps, then falls as a cosine.
    """

    epochs: int
    rate: float
    augment: Augment = field(default_factory=Augment)
    copies: int = 8
    batch: int = 32
    decay: float = 0.05
    mix: float = 0.0
    blind: float = 0.0
    average: float = 0.99
    warm: float = 0.08
    head_steps: int = 400


@dataclass(frozen=True)
class Lesson:
    """Images (n, side, side) in [0, 1], what is to be told (n, outputs), and where the sex is wanted -1 (female), 1
    (male) or 0 (unknown) (n,)."""

    images: Floats
    truth: Floats
    sex: Floats | None = None

    def __len__(self) -> int:
        return len(self.images)


def tuned(
    model: Any, lesson: Lesson, recipe: Recipe, loss: Loss, seed: int, after: Callable[[int, float], None]
) -> None:
    """Tunes ``model`` in place and leaves the averaged weights in it. ``after(epoch, loss)`` is called with the
    averaged weights in place, too. Same lesson and seed: the same draws."""
    keras.utils.set_random_seed(seed)
    _fit_head(model, lesson, recipe, loss, seed)
    steps = len(lesson) // recipe.batch
    tuning = _Tuning(model, recipe, loss, seed, steps * recipe.epochs)
    chance = np.random.default_rng([seed, 11])
    sex = np.zeros(len(lesson), np.float32) if lesson.sex is None else lesson.sex
    kept: list[NDArray[np.float16]] = []
    for epoch in range(recipe.epochs):
        if epoch < recipe.copies:
            kept.append(tuning.seen(lesson.images))
        seen = kept[epoch % recipe.copies]
        shown = np.where(chance.random(len(lesson)) < recipe.blind, np.float32(0), sex)
        order = chance.permutation(len(lesson))[: steps * recipe.batch].reshape(steps, recipe.batch)
        lost = [float(tuning.step(*(tf.constant(of[rows]) for of in (seen, lesson.truth, shown)))) for rows in order]
        now = [np.asarray(v) for v in tuning.variables]
        _assign(tuning.variables, tuning.averages)
        after(epoch + 1, float(np.mean(lost)))
        if epoch + 1 < recipe.epochs:
            _assign(tuning.variables, now)


class _Tuning:
    def __init__(self, model: Any, recipe: Recipe, loss: Loss, seed: int, steps: int) -> None:
        self._recipe, self._loss, self._steps = recipe, loss, steps
        seen, images, sex = model.get_layer("seen").output, model.inputs[0], model.inputs[1:]
        self._trunk, self._rest = keras.Model(images, seen), keras.Model([seen, *sex], model.output)
        self._wants_sex = bool(sex)
        self.variables = model.trainable_variables
        self.averages = [tf.Variable(v.value) for v in self.variables]
        self._moved, self._exposed = Moved(recipe.augment, seed), Exposed(recipe.augment, seed + 1)
        self._optimizer = keras.optimizers.AdamW(self._rate(), weight_decay=recipe.decay, clipnorm=5.0)
        self._optimizer.build(self.variables)
        self._done = tf.Variable(0.0)
        self._chance = tf.random.Generator.from_seed(seed)
        self.step, self._look = tf.function(self._step), tf.function(self._shown)

    def _rate(self) -> Any:
        warm = max(1, int(self._recipe.warm * self._steps))
        rest = self._steps - warm
        rate = self._recipe.rate
        return keras.optimizers.schedules.CosineDecay(rate / 20, rest, 0.01, warmup_target=rate, warmup_steps=warm)

    def seen(self, images: Floats, batch: int = 32) -> NDArray[np.float16]:
        """What the frozen blocks make of one augmented copy of each image."""
        # each batch is as long as the others: the last one goes over its beginning again
        starts = [min(at, max(0, len(images) - batch)) for at in range(0, len(images), batch)]
        made: NDArray[np.float16] = np.empty((len(images), *self._trunk.output.shape[1:]), np.float16)
        for at in starts:
            made[at : at + batch] = self._look(tf.constant(images[at : at + batch]))
        return made

    def _shown(self, images: Any) -> Any:
        shown = self._exposed(self._moved(images, training=True), training=True)
        return tf.cast(self._trunk(shown, training=False), tf.float16)

    def _step(self, seen: Any, truth: Any, sex: Any) -> Any:
        seen = tf.cast(seen, tf.float32)
        if self._recipe.mix:
            seen, truth = self._mixed(seen, truth)
        with tf.GradientTape() as tape:
            lost = self._loss(truth, self._rest([seen, sex] if self._wants_sex else [seen], training=True))
        self._optimizer.apply_gradients(zip(tape.gradient(lost, self.variables), self.variables, strict=True))
        self._done.assign_add(1.0)
        keep = tf.minimum(self._recipe.average, (1 + self._done) / (10 + self._done))
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign(keep * average + (1 - keep) * variable.value)
        return lost

    def _mixed(self, seen: Any, truth: Any) -> tuple[Any, Any]:
        """Each with its neighbour in the batch: how much of it is drawn, for some images nothing."""
        n = tf.shape(seen)[0]
        part = self._chance.uniform((n,), 0.0, 0.5) * tf.cast(self._chance.uniform((n,)) < self._recipe.mix, tf.float32)
        seen = seen + part[:, None, None, None] * (tf.roll(seen, 1, 0) - seen)
        return seen, truth + part[:, None] * (tf.roll(truth, 1, 0) - truth)


def _fit_head(model: Any, lesson: Lesson, recipe: Recipe, loss: Loss, seed: int) -> None:
    """The last layer alone, on the features of the images as they are."""
    pooled = keras.Model(model.inputs[0], model.get_layer("features").output)
    features = predicted(pooled, lesson.images)
    head, optimizer = model.get_layer("told"), keras.optimizers.AdamW(2e-3, weight_decay=1e-2)
    sex = None if lesson.sex is None else tf.constant(lesson.sex)
    whole, truth = tf.constant(features), tf.constant(lesson.truth)

    def step(rows: Any) -> None:
        with tf.GradientTape() as tape:
            x = tf.nn.dropout(tf.gather(whole, rows), 0.3)
            said = head(x if sex is None else [x, tf.gather(sex, rows)])
            lost = loss(tf.gather(truth, rows), said)
        optimizer.apply_gradients(zip(tape.gradient(lost, head.weights), head.weights, strict=True))

    chance = np.random.default_rng([seed, 5])
    fast = tf.function(step)
    for _ in range(recipe.head_steps):
        fast(tf.constant(chance.integers(len(lesson), size=min(128, len(lesson)))))


def predicted(model: Any, images: Floats, sex: Floats | None = None, batch: int = 32) -> Floats:
    """What a model says of images, of any length."""
    ask = tf.function(lambda *given: model(list(given) if len(given) > 1 else given[0], training=False))
    parts = []
    for at in range(0, len(images), batch):
        given = [tf.constant(images[at : at + batch])]
        given += [] if sex is None else [tf.constant(sex[at : at + batch])]
        parts.append(np.asarray(ask(*given), np.float32))
    return np.concatenate(parts)


def _assign(variables: Sequence[Any], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
