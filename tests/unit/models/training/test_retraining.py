"""A set with what readers said added to it: nothing twice, nothing that it is judged on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from contracts.errors import Misconfigured
from models.training.retraining import merge

COLUMNS = ("image", "label", "split", "patient_id", "source")


def made(home: Path, films: dict[str, tuple[int, str]], columns: tuple[str, ...] = COLUMNS) -> Path:
    """A set of these images: a seed and a split each."""
    (home / "images").mkdir(parents=True)
    with (home / "labels.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, columns, extrasaction="ignore")
        out.writeheader()
        for name, (seed, split) in films.items():
            shapes = gaussian_filter(np.random.default_rng(seed).normal(size=(80, 90)), 2)
            even = (shapes - shapes.min()) / np.ptp(shapes)
            Image.fromarray((even * 255).astype(np.uint8)).save(home / "images" / name)
            row = {"image": f"images/{name}", "label": "a", "split": split, "patient_id": f"p{seed}", "source": "x"}
            out.writerow(row)
    return home


def test_new_images_are_added_with_the_columns_of_the_set_and_files_are_links(tmp_path: Path) -> None:
    base = made(tmp_path / "data" / "knees", {"1.png": (1, "train"), "2.png": (2, "test")}, COLUMNS[:4])
    (base / "clinical.csv").write_text("patient_id\n")
    made(tmp_path / "data" / "others", {"9.png": (9, "train")})
    more = made(tmp_path / "more", {"fb-3.png": (3, "train")})
    told = merge(base, more, tmp_path / "merged" / "knees")
    assert (told.base, told.added, told.left_out) == (2, 1, {})
    with (tmp_path / "merged" / "knees" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["split"]) for row in rows] == [
        ("images/1.png", "train"),
        ("images/2.png", "test"),
        ("images/fb-3.png", "train"),
    ]
    assert set(rows[2]) == set(COLUMNS[:4])
    assert all((tmp_path / "merged" / "knees" / row["image"]).read_bytes() for row in rows)
    assert (tmp_path / "merged" / "knees" / "clinical.csv").is_symlink()
    assert (tmp_path / "merged" / "others" / "labels.csv").is_file(), "a recipe may learn from a set beside its own"


def test_an_image_that_is_judged_on_or_known_is_left_out_whatever_it_is_called(tmp_path: Path) -> None:
    base = made(tmp_path / "knees", {"1.png": (1, "train"), "2.png": (2, "test"), "3.png": (3, "validation")})
    more = made(tmp_path / "more", {"fb-1.png": (1, "train"), "fb-2.png": (2, "train"), "fb-3.png": (3, "train")})
    told = merge(base, more, tmp_path / "merged" / "knees")
    assert (told.added, told.left_out) == (0, {"known": 1, "judged": 2})


def test_a_folder_that_is_no_set_is_named(tmp_path: Path) -> None:
    more = made(tmp_path / "more", {})
    with pytest.raises(Misconfigured, match=r"holds no labels\.csv"):
        merge(tmp_path, more, tmp_path / "merged")
