"""Intervals and trust of a ward: they follow what comes true, whatever the ward is like."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import Poison
from models.vitals import conformal
from models.vitals.conformal import HORIZONS, NETWORK, PERSISTENCE, WIDTH, Book, CameTrue, Start

BEDS = 50
UNIT = np.full(WIDTH, 0.1)
SHAPE = (WIDTH, HORIZONS)
START = Start(
    skill=np.full(SHAPE, 0.05),
    stretch=np.ones((2, *SHAPE)),
    floor=np.full(SHAPE, 0.2),
    offsets=np.stack([np.full(SHAPE, each) for each in (-8.0, -3.0, 3.0, 8.0)]),
)


def came_true(chance: np.random.Generator, spread: float, bias: float = 0.0, beds: int = BEDS) -> CameTrue:
    """Forecasts of 80 +- 8 (90 %); the truth spreads by ``spread`` around 80; the network is off by ``bias``."""
    cells = (beds, *SHAPE)
    truth = np.rint(800 + spread * 10 * chance.normal(size=cells)).astype(np.int64)
    middle = np.full(cells, 800 + round(bias * 10), np.int64)
    return CameTrue(np.ones(cells, bool), truth, middle - 80, middle, middle + 80, np.full(cells, 800, np.int64))


def band_of(book: Book, seen: CameTrue) -> NDArray[np.float64]:
    """The network's conformal band for these."""
    low, middle, high = (each * 0.1 for each in (seen.low, seen.middle, seen.high))
    return conformal.network_band(
        book, START, np.stack([low, (low + middle) / 2, middle, (high + middle) / 2, high], axis=-1)
    )


@pytest.mark.parametrize("spread", [1.5, 4.86, 15.0])
def test_coverage_settles_at_nine_in_ten_whatever_the_ward_is_like(spread: float) -> None:
    chance = np.random.default_rng(1)
    book = conformal.opened(START, np.full(SHAPE, 4.0))
    covered = []
    for hour in range(120):
        seen = came_true(chance, spread)
        band = band_of(book, seen)
        if hour >= 48:
            truth = seen.truth * 0.1
            covered.append(((truth >= band[..., 0]) & (truth <= band[..., 4])).mean())
        book = conformal.learned(book, seen, START, UNIT)
    assert 0.88 <= float(np.mean(covered)) <= 0.92


def test_a_shift_is_followed_within_a_shift_of_nurses() -> None:
    chance = np.random.default_rng(2)
    book = conformal.opened(START, np.full(SHAPE, 4.0))
    for _ in range(48):
        book = conformal.learned(book, came_true(chance, 4.86), START, UNIT)
    before: list[float] = []
    after: list[float] = []
    for hour in range(24):
        seen = came_true(chance, 12.0)
        band = band_of(book, seen)
        truth = seen.truth * 0.1
        (before if hour < 1 else after if hour >= 8 else []).append(
            ((truth >= band[..., 0]) & (truth <= band[..., 4])).mean()
        )
        book = conformal.learned(book, seen, START, UNIT)
    assert float(np.mean(before)) < 0.6
    assert 0.88 <= float(np.mean(after)) <= 0.92


def test_persistence_has_intervals_of_its_own() -> None:
    chance = np.random.default_rng(3)
    book = conformal.opened(START, np.full(SHAPE, 4.0))
    for _ in range(96):
        book = conformal.learned(book, came_true(chance, 10.0), START, UNIT)
    band = conformal.persistence_band(book, START, np.full((1, WIDTH), 80.0))
    assert (np.diff(band, axis=-1) > 0).all()
    assert np.abs(band[..., 4] - 80 - 16.4).max() < 5  # the 95th percentile of a spread of 10
    assert (book.stretch[PERSISTENCE] > 1.5).all()


def test_what_is_learned_does_not_depend_on_the_order_of_beds() -> None:
    chance = np.random.default_rng(4)
    seen = came_true(chance, 6.0)
    order = chance.permutation(BEDS)
    mixed = CameTrue._make(each[order] for each in seen)
    book = conformal.opened(START, np.full(SHAPE, 4.0))
    one, other = (conformal.packed(conformal.learned(book, each, START, UNIT)) for each in (seen, mixed))
    assert one == other


def test_a_network_worse_than_persistence_is_not_heard_and_comes_back_when_it_is_better() -> None:
    chance = np.random.default_rng(5)
    book = conformal.opened(START, np.full(SHAPE, 4.0))
    for _ in range(10):
        book = conformal.learned(book, came_true(chance, 4.0, bias=6.0), START, UNIT)
    assert book.fallen.all()
    assert (conformal.skill_told(book) < 0).all()
    for _ in range(100):
        good = came_true(chance, 4.0)
        good = good._replace(last=good.last + 50)
        book = conformal.learned(book, good, START, UNIT)
    assert not book.fallen.any()


def test_no_skill_is_told_and_nobody_falls_back_before_enough_has_come_true() -> None:
    chance = np.random.default_rng(6)
    book = conformal.opened(START, np.full(SHAPE, 4.0))
    book = conformal.learned(book, came_true(chance, 4.0, bias=50.0, beds=conformal.ENOUGH - 1), START, UNIT)
    assert np.isnan(conformal.skill_told(book)).all()
    assert not book.fallen.any()


def test_what_has_not_come_true_teaches_nothing() -> None:
    seen = came_true(np.random.default_rng(7), 40.0)
    seen = seen._replace(known=np.zeros_like(seen.known))
    book = conformal.opened(START, np.full(SHAPE, 4.0))
    assert conformal.packed(conformal.learned(book, seen, START, UNIT)) == conformal.packed(book)


def test_a_book_survives_as_bytes() -> None:
    book = conformal.opened(START, np.full(SHAPE, 4.0))
    book = conformal.learned(book, came_true(np.random.default_rng(8), 9.0, bias=3.0), START, UNIT)
    raw = conformal.packed(book)
    assert len(raw) == conformal.SIZE
    assert conformal.packed(conformal.unpacked(raw)) == raw
    assert (conformal.unpacked(raw).stretch[NETWORK] == book.stretch[NETWORK]).all()


def bands() -> NDArray[np.float64]:
    """One bed: 80 now, spreading with the horizon."""
    spread = np.array([2.0, 4.0, 6.0, 8.0])[None, None, :, None]
    return np.broadcast_to(80 + spread * np.array([-2.0, -0.8, 0.0, 0.8, 2.0]), (1, WIDTH, HORIZONS, 5))


@pytest.mark.parametrize("apart", [0.0, 0.5, 3.0])
def test_the_chance_of_crossing_never_falls_with_the_horizon_and_rises_towards_the_limit(apart: float) -> None:
    shares = np.full((2, WIDTH), apart)
    far, near = (
        conformal.beyond(bands(), np.broadcast_to([low, high], (1, WIDTH, 2)).astype(float), shares)
        for low, high in ((60.0, 100.0), (75.0, 85.0))
    )
    for chances in (far, near):
        assert ((chances >= 0) & (chances <= 1)).all()
        assert (np.diff(chances, axis=2) >= -1e-12).all()
    assert (near > far).all()
    assert np.allclose(far[..., 0], far[..., 1])  # the bands are as high as they are deep


def test_quantiles_are_met_where_a_limit_lies_on_them() -> None:
    band = bands()[:, :, :1].repeat(HORIZONS, axis=2)
    limits = np.stack([band[:, :, 0, 0], band[:, :, 0, 3]], axis=-1)
    chances = conformal.beyond(band, limits, np.zeros((2, WIDTH)))
    assert np.allclose(chances[..., 0], 0.05)
    assert np.allclose(chances[..., 1], 0.25)


def test_there_is_no_chance_of_crossing_what_is_no_limit() -> None:
    with np.errstate(invalid="ignore"):
        chances = conformal.beyond(bands(), np.full((1, WIDTH, 2), np.nan), np.zeros((2, WIDTH)))
    assert np.isnan(chances).all()


def test_a_start_that_is_no_table_is_refused_by_name() -> None:
    given = {name: getattr(START, name).tolist() for name in Start._fields}
    given["floor"] = [[1.0]]
    with pytest.raises(Poison, match=r"hour\.floor"):
        Start.read(given, "hour")
