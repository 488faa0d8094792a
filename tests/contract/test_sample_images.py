"""Images that ship: few, small, of a test split, and each with its licence and whom to thank."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from PIL import Image

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "producers" / "samples" / "images"
SHIPPED = {"brain_mri": ("bm*.jpg", "CC0"), "knee_osteoporosis": ("ko*.jpg", "CC BY 4.0")}
"""What may be passed on. The terms of bone_age let nobody pass it on."""


def rows() -> list[dict[str, str]]:
    return list(csv.DictReader((FOLDER / "images.csv").read_text().splitlines()))


def test_every_image_that_ships_is_listed_and_comes_from_a_set_that_may_be_passed_on() -> None:
    assert {row["file"] for row in rows()} | {"images.csv", "README.md"} == {path.name for path in FOLDER.iterdir()}
    assert {row["set"] for row in rows()} == set(SHIPPED)
    for row in rows():
        assert Path(row["file"]).match(SHIPPED[row["set"]][0])


def test_the_sources_are_credited_with_their_licences() -> None:
    credits, notice = (FOLDER / "README.md").read_text(), (CHECKOUT / "NOTICE").read_text()
    for pattern, licence in SHIPPED.values():
        assert any(f"`{pattern}`" in line and licence in line for line in credits.splitlines())
        assert licence in notice
    for author in ("Wani", "Arora", "Nickparvar", "Cheng"):
        assert author in credits
        assert author in notice
    assert "claim" in credits
    assert "claim" in notice


def test_the_images_are_small_and_tell_nothing_but_pixels() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 250 * 1024
    for row in rows():
        with Image.open(FOLDER / row["file"]) as image:
            assert (image.format, image.mode) == ("JPEG", "L")
            assert not image.getexif()
            assert "comment" not in image.info


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_images_are_those_of_the_test_split(name: str) -> None:
    source = CHECKOUT.parent / "shared" / "data" / name
    if not source.is_dir():
        pytest.skip("the full set is not here")
    split = {Path(row["image"]).name: row for row in csv.DictReader((source / "labels.csv").read_text().splitlines())}
    for row in (one for one in rows() if one["set"] == name):
        assert split[row["file"]]["split"] == "test"
        assert split[row["file"]]["label"] == row["label"]
        same = hashlib.sha256((source / "images" / row["file"]).read_bytes()).digest()
        assert hashlib.sha256((FOLDER / row["file"]).read_bytes()).digest() == same
