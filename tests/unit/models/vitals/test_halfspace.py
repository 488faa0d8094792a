"""Half-space trees for a ward at once: river's, number for number."""

from __future__ import annotations

import numpy as np
import pytest
from river.anomaly import HalfSpaceTrees

from models.vitals.halfspace import HalfSpace

WINDOW = 40


def river_and_ours() -> tuple[HalfSpaceTrees, HalfSpace]:
    model = HalfSpaceTrees(n_trees=7, height=5, window_size=WINDOW, seed=3)
    for row in np.random.default_rng(0).random((WINDOW, 3)).tolist():
        model.learn_one(dict(enumerate(row)))
    return model, HalfSpace.from_river(model)


def test_scores_and_masses_are_rivers_over_several_windows() -> None:
    model, trees = river_and_ours()
    mass = trees.mass(b"")
    for batch in np.random.default_rng(1).beta(2, 5, (9, 17, 3)):
        paths = trees.paths(batch)
        scores = trees.score(paths, mass)
        expected = [model.score_one(dict(enumerate(row))) for row in batch.tolist()]
        assert scores.tolist() == pytest.approx(expected, abs=1e-12)
        mass = trees.learned(paths, mass)
        for row in batch.tolist():
            model.learn_one(dict(enumerate(row)))
    assert mass.seen == model.counter
    again = HalfSpace.from_river(model)
    assert (again.start == mass.last).all()


def test_masses_come_back_from_bytes_as_they_were() -> None:
    _, trees = river_and_ours()
    rows = np.random.default_rng(2).random((55, 3))
    mass = trees.learned(trees.paths(rows), trees.mass(b""))
    back = trees.mass(mass.packed())
    assert back.seen == mass.seen == 55 - WINDOW
    assert back.packed() == mass.packed()
    assert (trees.score(trees.paths(rows), back) == trees.score(trees.paths(rows), mass)).all()


def test_a_file_of_trees_is_the_same_trees() -> None:
    _, trees = river_and_ours()
    read = HalfSpace.read(trees.written())
    rows = np.random.default_rng(4).random((20, 3))
    assert (read.paths(rows) == trees.paths(rows)).all()
    assert read.written() == trees.written()


def test_bytes_of_another_form_start_the_ward_anew() -> None:
    _, trees = river_and_ours()
    assert (trees.mass(b"something else").last == trees.start).all()
