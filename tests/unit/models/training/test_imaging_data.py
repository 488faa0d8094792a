"""Labelled images from folders and shards: what is on which side, and what is judged of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contracts.errors import Misconfigured, Poison
from models.bundle import Bundle
from models.imaging.pixels import read
from models.imaging.settings import MODEL_FILE, SETTINGS_FILE, ImageSettings
from models.training import (
    imaging_bone,
    imaging_bone_evaluation,
    imaging_brain,
    imaging_brain_evaluation,
    imaging_calibration,
)
from models.training.imaging_asking import Asked, settings_of
from models.training.imaging_data import VALIDATION, Pictures, audited, joined, load, part_of, refolded
from models.training.leakage import Leaky
from tests.unit.models.training.small import random_weights

SIDE = 64


def picture(chance: np.random.Generator, side: int = SIDE) -> bytes:
    """A PNG that looks like no other."""
    coarse = Image.fromarray((chance.random((12, 12)) * 255).astype(np.uint8))
    page = io.BytesIO()
    coarse.resize((side, side), Image.Resampling.BILINEAR).save(page, "PNG")
    return page.getvalue()


def folder(home: Path, rows: list[dict[str, str]], seed: int = 1) -> Path:
    """A folder laid out like those in shared/data."""
    chance = np.random.default_rng(seed)
    (home / "images").mkdir(parents=True)
    with (home / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    for row in rows:
        (home / row["image"]).write_bytes(picture(chance))
    return home


def brains(home: Path, n: int = 40) -> Path:
    labels = imaging_brain.LABELS
    return folder(
        home,
        [
            {
                "image": f"images/b{i:03}.png",
                "label": labels[i % 4],
                "split": "test" if i % 8 < 4 else "train",
                "cluster": f"c{i}",
            }
            for i in range(n)
        ],
    )


def hands(home: Path, n: int = 30) -> Path:
    return folder(
        home,
        [
            {
                "image": f"images/h{i:03}.png",
                "bone_age_months": str(12 + 7 * i),
                "sex": ("female", "male")[i % 2],
                "split": "test" if i % 3 == 0 else "train",
            }
            for i in range(n)
        ],
    )


def weights(outputs: int, by_sex: bool = False, seed: int = 6) -> dict[str, NDArray[np.float32]]:
    chance = np.random.default_rng(seed)
    told = {"kernel": chance.normal(0, 1, (1280, outputs)), "bias": np.full(outputs, 50.0 if by_sex else 0.0)}
    if by_sex:
        told |= {"by_sex": np.zeros((1280, outputs)), "bias_by_sex": np.full(outputs, 3.0)}
    return {**random_weights(), **{f"told.{name}": values.astype(np.float32) for name, values in told.items()}}


def test_a_folder_is_read_in_its_order_and_the_parent_that_holds_it_gives_the_same(tmp_path: Path) -> None:
    home = hands(tmp_path / "bone_age")
    found = load(home, "bone_age", SIDE, "bone_age_months")
    assert len(found) == 30
    assert found.pixels.shape == (30, SIDE, SIDE)
    assert list(found.sex[:2]) == [0, 1]
    assert list(found.groups) == list(found.ids)
    assert found.digest == load(tmp_path, "bone_age", SIDE, "bone_age_months").digest
    some = load(home, "bone_age", SIDE, "bone_age_months", parts=("test",))
    assert set(some.parts) == {"test"}
    assert np.array_equal(some.pixels, found.of("test").pixels)


def test_validation_is_part_of_train_by_the_group_s_name_alone(tmp_path: Path) -> None:
    parts = [part_of("train", f"cluster {i}") for i in range(4000)]
    assert parts.count("validation") == pytest.approx(500, abs=60)
    assert {part_of("test", f"cluster {i}") for i in range(100)} == {"test"}
    found = load(brains(tmp_path / "brain_mri", 80), "brain_mri", SIDE)
    assert set(found.parts) == {"train", "validation", "test"}


def test_each_fold_holds_another_part_of_train_out_and_all_folds_hold_each_image_out_once(tmp_path: Path) -> None:
    every = load(brains(tmp_path / "brain_mri", 80), "brain_mri", SIDE)
    assert np.array_equal(refolded(every, 0).parts, every.parts)
    held = [set(refolded(every, fold).of("validation").ids) for fold in range(VALIDATION)]
    assert set.union(*held) == set(every.of("train", "validation").ids)
    assert sum(map(len, held)) == len(every.of("train", "validation"))
    assert all(np.array_equal(refolded(every, fold).of("test").ids, every.of("test").ids) for fold in range(VALIDATION))


def test_each_network_learns_from_all_but_its_fold_and_all_choices_are_made_on_what_it_did_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brains(tmp_path / "brain_mri", 80)
    small = msgspec.structs.replace(imaging_brain.SETTINGS, size=SIDE)
    for name, value in (("SIZE", SIDE), ("SETTINGS", small), ("NETWORKS", 2)):
        monkeypatch.setattr(imaging_brain, name, value)
    seen: list[tuple[set[str], int]] = []

    def tune(learned: Pictures, seed: int, after: Any) -> dict[str, Any]:
        seen.append((set(learned.ids), seed))
        return weights(4, seed=seed)

    monkeypatch.setattr(imaging_brain, "tune", tune)
    files, fields = imaging_brain.train(tmp_path, 7, lambda line: None, lambda *_: None)
    every = load(tmp_path, "brain_mri", SIDE)
    folds = [refolded(every, fold) for fold in (0, 1)]
    assert seen == [(set(own.of("train").ids), 7 + fold) for fold, own in enumerate(folds)]
    held = [own.of("validation") for own in folds]
    bundle = Bundle.of("brain_tumour", files, code="tests", seed=7, data=(), parameters=fields["parameters"])
    whole, network = joined(held), np.repeat([0, 1], [len(one) for one in held])
    logits = Asked.of(bundle).apart(whole.pixels, network)
    told = settings_of(bundle)
    assert told.temperature == imaging_calibration.temperature(logits, imaging_brain.places(whole.labels))
    found = imaging_brain_evaluation.evaluate(tmp_path, bundle, "validation", lambda line: None, lambda *_: None)
    assert found.n == len(whole)
    right = logits.argmax(axis=1) == imaging_brain.places(whole.labels)
    assert 0 < right.mean() < 1
    said = imaging_brain_evaluation.said(imaging_calibration.softmax(logits, told.temperature), told)
    assert found.metrics["accuracy"].value == pytest.approx((said == imaging_brain.places(whole.labels)).mean())
    assert any("one network of 2 that did not learn from it" in note for note in found.notes)


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    found = load(brains(tmp_path), "brain_mri", SIDE)
    with pytest.raises(Misconfigured, match="no image of split autumn in the data; there are test, train"):
        found.of("autumn")


def test_a_folder_without_labels_or_shards_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="ward lake images"):
        load(tmp_path, "brain_mri", SIDE)


def test_an_image_outside_its_folder_is_not_read(tmp_path: Path) -> None:
    home = brains(tmp_path / "brain_mri")
    table = (home / "labels.csv").read_text()
    (home / "labels.csv").write_text(table.replace("images/b000.png", "../elsewhere.png"))
    with pytest.raises(Poison, match="outside_folder"):
        load(home, "brain_mri", SIDE)


def test_a_validation_image_that_is_a_training_image_is_left_out_and_one_of_test_stops_everything() -> None:
    chance = np.random.default_rng(3)
    pixels = np.stack([read(picture(chance)).pixels for _ in range(12)])
    pixels[1] = pixels[0] * np.float32(0.9)
    ids = np.asarray([f"i{i}" for i in range(12)])
    parts = np.asarray(["train", "validation"] + ["train", "validation", "test"] * 3 + ["test"])
    labels = np.asarray(["glioma", "notumor"] * 6)
    whole = Pictures(ids, pixels, labels, parts, ids, np.full(12, 0.5, np.float32))
    kept, audit = audited(whole, "test", [str(label) for label in labels])
    assert "i1" not in kept.ids
    assert len(kept) == 11
    assert any("1 validation images" in note for note in audit.notes)
    leaky = Pictures(ids, pixels, labels, np.where(ids == "i1", "test", parts), ids, whole.sex)
    with pytest.raises(Leaky, match="i0"):
        audited(leaky, "test", [str(label) for label in labels])


def test_a_brain_tumour_model_is_judged_on_any_folder_of_that_kind(tmp_path: Path) -> None:
    brains(tmp_path / "brain_mri")
    settings = ImageSettings(
        kind="classes", size=SIDE, body_part="brain", labels=imaging_brain.LABELS, positive=("glioma",)
    )
    files = imaging_brain.bundled([weights(4)], settings, {"temperature": 2.0, "threshold": 0.4})
    bundle = Bundle.of("brain_tumour", files, code="tests", seed=0, data=())
    assert settings_of(bundle).temperature == 2.0
    found = imaging_brain_evaluation.evaluate(tmp_path, bundle, None, lambda line: None, lambda *_: None)
    assert (found.split, found.n) == ("test", 20)
    assert {"macro_f1", "accuracy", "precision", "recall", "auroc_tumour", "ece"} <= set(found.metrics)
    assert {"accuracy_forest", "macro_f1_forest"} <= set(found.metrics)
    titles = [table.title for table in found.tables]
    assert any(title.startswith("Beside the reference") for title in titles)
    assert any(title.startswith("Leakage audit") for title in titles)
    assert any(title.startswith("Robustness") for title in titles)
    assert all(png.startswith(b"\x89PNG") for png in found.plots.values())
    assert {"calibration.png", "robustness.png", "maps.png"} <= set(found.plots)
    confusion = next(table for table in found.tables if table.title == "What was said of what")
    assert sum(cell for row in confusion.rows for cell in row[1:] if isinstance(cell, int)) == 20


def test_labels_that_the_model_does_not_know_are_refused(tmp_path: Path) -> None:
    assert list(imaging_brain.places(np.asarray(["notumor", "glioma"]))) == [2, 0]
    with pytest.raises(Misconfigured, match="stroke"):
        imaging_brain.places(np.asarray(["glioma", "stroke"]))


def test_a_tumour_is_told_from_the_threshold_on_whatever_is_most_probable() -> None:
    settings = ImageSettings(kind="classes", size=SIDE, body_part="brain", threshold=0.4)
    told = np.array([[0.2, 0.25, 0.55, 0.0], [0.1, 0.1, 0.7, 0.1], [0.1, 0.0, 0.2, 0.7]])
    assert list(imaging_brain_evaluation.said(told, settings)) == [1, 2, 3]


def test_a_bone_age_model_is_judged_by_sex_and_age(tmp_path: Path) -> None:
    home = hands(tmp_path / "bone_age")
    settings = ImageSettings(kind="measure", size=SIDE, body_part="hand", unit="months", wants_sex=True, half_width=40)
    files = imaging_brain.bundled([weights(1, by_sex=True)], settings, {})
    assert set(files) == {MODEL_FILE, SETTINGS_FILE}
    bundle = Bundle.of("bone_age", files, code="tests", seed=0, data=())
    found = imaging_bone_evaluation.evaluate(home, bundle, "test", lambda line: None, lambda *_: None)
    assert found.n == 10
    assert {"mae_months", "mae_months_female", "mae_months_male", "mae_months_forest", "coverage_90"} <= set(
        found.metrics
    )
    by_group = next(table for table in found.tables if table.title == "By sex and by bone age")
    assert [row[0] for row in by_group.rows] == [
        "all",
        "female",
        "male",
        *(name for *_, name in imaging_bone_evaluation.BANDS),
    ]
    assert {"agreement.png", "told.png", "robustness.png", "maps.png"} <= set(found.plots)


def test_a_network_in_deviations_becomes_one_in_months() -> None:
    scaled = {
        "told.kernel": np.ones((2, 1), np.float32),
        "told.bias": np.ones(1, np.float32),
        "x": np.ones(1, np.float32),
    }
    made = imaging_bone.in_months(scaled, 120.0, 40.0)
    assert (made["told.bias"] == 160).all()
    assert (made["told.kernel"] == 40).all()
    assert (made["x"] == 1).all()
    assert list(imaging_bone.signed(np.asarray([0, 1, 0.5], np.float32))) == [-1, 1, 0]
