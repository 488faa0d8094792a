"""Fits one head's network: batches by epoch, a falling learning rate, the best epoch on validation kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.forecast_grid import last_known
from models.training.forecast_net import Shape, features, network, pinball

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Table:
    """What a network is fed: ``sequence`` and ``facts`` as ``forecast_net.features``, ``moves`` its target."""

    sequence: Floats
    facts: Floats
    moves: Floats

    def __len__(self) -> int:
        return len(self.moves)

    def of(self, rows: NDArray[np.intp]) -> Table:
        """Only these rows."""
        return Table(self.sequence[rows], self.facts[rows], self.moves[rows])

    def with_rows(self, other: Table) -> Table:
        """Both, one under the other."""
        pairs = ((self.sequence, other.sequence), (self.facts, other.facts), (self.moves, other.moves))
        return Table(*(np.concatenate(pair) for pair in pairs))


def table(shape: Shape, windows: Floats, age_years: Floats, stay_h: Floats, truth: Floats) -> Table:
    """``truth`` (n, 6, horizons) in the vitals' units, NaN unknown."""
    last, _ = last_known(windows)
    moves = (truth - last[:, :, None]) / (shape.deviation[:, None] * shape.reach)
    return Table(*features(shape, windows, age_years, stay_h), moves.astype(np.float32))


@dataclass(frozen=True)
class Recipe:
    """How a network is made and trained. ``patience``: epochs without a better one after which it ends."""

    units: int
    wide: int
    dropout: float
    epochs: int
    rate: float
    batch: int = 512
    patience: int = 4


def fitted(
    shape: Shape,
    recipe: Recipe,
    epoch_rows: Callable[[int, np.random.Generator], Table],
    validation: Table,
    seed: int,
    progress: Callable[[int, int, float, float], None],
) -> Any:
    """The trained Keras model. ``epoch_rows(epoch, chance)`` gives each epoch's rows; ``progress(epoch, epochs, loss,
    validation loss)`` is told of each. Same rows and seed: the same weights on the same machine."""
    import keras

    model = network(shape, recipe.units, recipe.wide, recipe.dropout, seed)
    optimizer = keras.optimizers.AdamW(recipe.rate, weight_decay=1e-4, clipnorm=1.0)
    model.compile(optimizer=optimizer, loss=pinball)
    chance = np.random.default_rng([seed, 7])
    best, kept, waited = float("inf"), model.get_weights(), 0
    for epoch in range(recipe.epochs):
        optimizer.learning_rate.assign(recipe.rate * 0.5 * (1 + np.cos(np.pi * epoch / recipe.epochs)) + 1e-5)
        rows = epoch_rows(epoch, chance)
        done = model.fit([rows.sequence, rows.facts], rows.moves, batch_size=recipe.batch, shuffle=False, verbose=0)
        loss = judged(model, validation)
        progress(epoch + 1, recipe.epochs, float(done.history["loss"][0]), loss)
        waited += 1
        if loss < best:
            best, kept, waited = loss, model.get_weights(), 0
        if waited >= recipe.patience:
            break
    model.set_weights(kept)
    return model


def moves(model: Any, rows: Table) -> Floats:
    """What the model says of these rows."""
    said: Floats = np.asarray(model.predict([rows.sequence, rows.facts], batch_size=4096, verbose=0), np.float32)
    return said


def judged(model: Any, rows: Table) -> float:
    """Mean pinball loss over what is known."""
    return float(pinball(rows.moves, moves(model, rows)))


def shuffled(rows: Table, chance: np.random.Generator) -> Table:
    """In another order."""
    return rows.of(chance.permutation(len(rows)))
