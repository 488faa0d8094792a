"""The audit: every kind of leak that is planted is found, and nothing is found where there is none."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from models.imaging.pixels import Grey
from models.registry import Interval
from models.training.leakage import Audit, Leaky, audit, by_chance, neighbour, side_by_side
from models.training.lookalikes import contrasts, pairs

SIDE = 96
NUMBER = 60


def picture(seed: int, rows: int = SIDE, cols: int = SIDE) -> Grey:
    """A made-up film: shapes of several sizes, no two alike."""
    chance = np.random.default_rng(seed)
    made = np.sum([gaussian_filter(chance.normal(size=(rows, cols)), size) * size for size in (1.0, 3.0, 9.0)], axis=0)
    low, high = float(made.min()), float(made.max())
    return np.asarray((made - low) / (high - low), np.float32)


def jpeg(pixels: Grey, quality: int = 40) -> Grey:
    raw = io.BytesIO()
    Image.fromarray((pixels * 255).astype(np.uint8)).save(raw, "JPEG", quality=quality)
    return np.asarray(np.asarray(Image.open(raw), np.float32) / 255, np.float32)


def resized(pixels: Grey) -> Grey:
    return np.asarray(Image.fromarray(pixels).resize((72, 80), Image.Resampling.BILINEAR), np.float32)


COPIES: dict[str, Callable[[Grey], Grey]] = {
    "recompressed": jpeg,
    "resized": resized,
    "brightened": lambda pixels: np.clip(pixels * 1.15 + 0.05, 0, 1).astype(np.float32),
    "of another gamma": lambda pixels: pixels**0.7,
    "noisy": lambda pixels: np.clip(pixels + np.random.default_rng(5).normal(0, 0.02, pixels.shape), 0, 1).astype("f4"),
    "mirrored": lambda pixels: pixels[:, ::-1],
    "upside down": lambda pixels: pixels[::-1, ::-1],
    "turned": lambda pixels: np.rot90(pixels),
    "inverted": lambda pixels: 1 - pixels,
    "all at once": lambda pixels: jpeg(1 - np.rot90(pixels)[:, ::-1], 60),
}


@pytest.fixture(scope="module")
def films() -> list[Grey]:
    return [picture(seed) for seed in range(NUMBER)]


SPLITS = ["test" if at % 4 == 0 else "train" for at in range(NUMBER)]
LABELS = ["ill" if at % 3 == 0 else "well" for at in range(NUMBER)]
PATIENTS = [f"p{at}" for at in range(NUMBER)]


def searched(films: list[Grey], **changed: object) -> Audit:
    given = {"splits": SPLITS, "groups": PATIENTS, "labels": None} | changed
    return audit(iter(films), **given)  # type: ignore[arg-type]


def test_a_clean_set_passes_and_its_figures_go_out_with_the_forest_beside_them(films: list[Grey]) -> None:
    found = searched(films, labels=LABELS)
    assert found.passed
    assert not found.alike
    assert found.shortcut is not None
    assert not found.shortcut.found
    beside = found.beside({"accuracy": Interval(value=0.9, low=0.8, high=1.0, n=15)})
    assert set(beside) == {"accuracy", "accuracy_forest"}
    assert found.remarks(beside) == ()
    assert [row[2] for row in found.tables()[0].rows] == ["none", "none", "none", "told", "none"]
    assert found.document()["passed"] is True


def test_the_same_pixels_in_two_splits_are_a_leak_and_no_figure_goes_out(films: list[Grey]) -> None:
    found = searched([*films[:9], films[4], *films[10:]])
    assert [(leak.kind, leak.one, leak.other) for leak in found.leaks] == [("same_pixels", "image 4", "image 9")]
    with pytest.raises(Leaky, match=r"1 images whose pixels stand in another split.*image 4 \(test\)"):
        found.beside({})


@pytest.mark.parametrize("how", COPIES)
def test_a_picture_is_known_again(films: list[Grey], how: str) -> None:
    copy = np.ascontiguousarray(COPIES[how](films[4]))
    found = searched([*films[:9], copy, *films[10:]])
    assert [(leak.kind, leak.one, leak.other) for leak in found.leaks] == [("same_picture", "image 4", "image 9")]


def test_copies_within_one_split_are_no_leak(films: list[Grey]) -> None:
    assert searched([*films[:6], films[5], *films[7:]]).passed


def test_a_patient_in_two_splits_is_a_leak_whatever_the_images_show(films: list[Grey]) -> None:
    found = searched(films, groups=["p5" if at == 4 else patient for at, patient in enumerate(PATIENTS)])
    assert [(leak.kind, leak.one) for leak in found.leaks] == [("same_group", "p5")]
    with pytest.raises(Leaky, match="patients or clusters"):
        found.demand()


def test_where_no_patient_is_known_that_is_said(films: list[Grey]) -> None:
    found = searched(films, groups=None)
    assert found.passed
    assert "tell no patients" in found.remarks({})[0]
    assert found.grouped == 0


def test_a_label_that_brightness_tells_is_told_beside_every_figure(films: list[Grey]) -> None:
    films = [film * (0.5 if label == "ill" else 1.0) for film, label in zip(films, LABELS, strict=True)]
    found = searched(films, labels=LABELS)
    assert found.passed, "a shortcut is no leak: figures go out, but never alone"
    assert found.shortcut is not None
    assert found.shortcut.found
    weak = {"accuracy": Interval(value=0.8, low=0.7, high=0.85, n=15)}
    assert found.beside(weak)["accuracy_forest"].value > 0.9
    assert "no better than that" in " ".join(found.remarks(weak))
    assert found.tables()[0].rows[-1][2] == "shortcut: told beside every figure"


def test_a_measure_and_folds_are_audited_too(films: list[Grey]) -> None:
    ages = [float(at) for at in range(NUMBER)]
    aged = [film * (0.4 + at / 100) for at, film in enumerate(films)]
    found = audit(iter(aged), [f"fold {at % 3}" for at in range(NUMBER)], PATIENTS, ages, judged=None)
    assert found.shortcut is not None
    assert found.shortcut.main == "mae"
    assert found.shortcut.found
    assert found.shortcut.figures["mae"].n == NUMBER


def test_lists_of_different_lengths_are_refused(films: list[Grey]) -> None:
    with pytest.raises(ValueError, match="60 images, 59 splits"):
        audit(iter(films), SPLITS[:-1], None, None)


def test_hashes_let_no_pair_through_that_correlation_would_not(films: list[Grey]) -> None:
    seen = contrasts(films)
    found = pairs(seen, seen, least=0.5)
    assert {(pair.one, pair.other) for pair in found} == {(at, at) for at in range(NUMBER)}
    assert all(pair.alike == pytest.approx(1.0, abs=1e-4) for pair in found)


def test_memory_flatters_where_images_were_divided_by_chance(films: list[Grey]) -> None:
    twice: NDArray[np.float32] = np.repeat(contrasts(films).reshape(NUMBER, -1), 2, axis=0)
    labels = list(np.repeat(np.random.default_rng(3).choice(["a", "b"], NUMBER), 2))
    honest = list(np.repeat(SPLITS, 2))
    leaky = by_chance(honest)
    assert (leaky == "test").sum() == honest.count("test")
    assert neighbour(twice, labels, list(leaky)).mean() > neighbour(twice, labels, honest).mean() + 0.2
    one = {"accuracy": Interval(value=0.95, low=0.9, high=1.0, n=30)}
    other = {"accuracy": Interval(value=0.55, low=0.4, high=0.7, n=30)}
    assert side_by_side(one, other, "by chance").rows == (("accuracy", "0.950", "0.550", "+0.400"),)
