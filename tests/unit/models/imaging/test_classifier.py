"""What a model's answer becomes: probabilities, a told label, heat, or a reason for none of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from contracts.errors import Poison
from models.champions import Missing
from models.imaging.classifier import ImageModel, softmax
from models.imaging.gate import Gates
from models.imaging.pixels import Grey
from models.imaging.settings import MODEL_FILE, SETTINGS_FILE, ImageSettings
from models.registry import Registry
from tests.unit.models.imaging.small_models import AGE, GAIN, SIZE, TUMOUR, graph, kept, kept_scope


def model(tmp_path: Path, settings: ImageSettings = TUMOUR, name: str = "brain_tumour") -> ImageModel:
    registry = Registry(tmp_path / "models", shipped=tmp_path / "none")
    kept(registry, name, settings)
    return ImageModel(registry.load(name))


def spot(rows: int = SIZE, cols: int = SIZE, grey: float = 0.5) -> Grey:
    """Even grey with a bright corner above on the left."""
    made = np.full((rows, cols), grey, np.float32)
    made[: rows // 4, : cols // 4] = 1.0
    return made


def test_a_bright_image_is_a_finding_with_calibrated_probabilities(tmp_path: Path) -> None:
    reading = model(tmp_path).read(spot())
    logit = GAIN * (spot().mean() - 0.5)
    expected = softmax(np.asarray([logit, -logit], np.float64))
    assert (reading.label, reading.positive, reading.threshold, reading.refusal) == ("glioma", True, 0.5, None)
    assert reading.probabilities == pytest.approx({"glioma": expected[0], "notumor": expected[1]}, abs=1e-5)
    assert reading.probability == (reading.probabilities or {})["glioma"]


def test_the_temperature_softens_and_changes_no_order(tmp_path: Path) -> None:
    sharp = model(tmp_path / "a").read(spot())
    soft = model(tmp_path / "b", msgspec.structs.replace(TUMOUR, temperature=4.0)).read(spot())
    assert sharp.label == soft.label
    assert 0.5 < (soft.probability or 0) < (sharp.probability or 0)


def test_heat_lies_where_the_label_comes_from_and_has_the_image_s_shape(tmp_path: Path) -> None:
    wide = spot(100, 200)
    heat = model(tmp_path, msgspec.structs.replace(TUMOUR, threshold=0.0)).read(wide).heat
    assert heat is not None
    assert heat.shape == (100, 200)
    assert heat.dtype == np.float32
    assert heat.min() == 0.0
    assert 0.9 < heat.max() <= 1.0
    assert heat[10:15, :40].min() > 0.8
    assert heat[60:, 120:].max() < 0.1


def test_an_unsure_model_tells_no_label_and_no_heat(tmp_path: Path) -> None:
    reading = model(tmp_path, msgspec.structs.replace(TUMOUR, unsure_below=0.99)).read(spot())
    assert (reading.refusal, reading.label, reading.probabilities, reading.heat) == ("unsure", None, None, None)
    assert "0.99" in (reading.detail or "")


def test_a_model_that_abstains_says_why(tmp_path: Path) -> None:
    why = "It was not better than the majority."
    reading = model(tmp_path, msgspec.structs.replace(TUMOUR, abstains=why)).read(spot())
    assert (reading.refusal, reading.detail, reading.label) == ("abstains", why, None)


def test_the_told_label_is_on_the_side_that_the_threshold_decides(tmp_path: Path) -> None:
    low = msgspec.structs.replace(TUMOUR, threshold=0.001)
    dark = np.full((SIZE, SIZE), 0.45, np.float32)
    reading = model(tmp_path, low).read(dark)
    assert (reading.label, reading.positive) == ("glioma", True)
    assert (reading.probability or 1) < 0.5


def test_a_measure_has_a_band_and_may_want_the_sex(tmp_path: Path) -> None:
    age = model(tmp_path, AGE, "bone_age")
    dark = np.full((SIZE, SIZE), 0.3, np.float32)
    values = {sex: age.read(dark, sex).value for sex in ("F", "M", "male", None, "O")}
    assert values == pytest.approx({"F": 30.0, "M": 40.0, "male": 40.0, None: 35.0, "O": 35.0}, abs=0.01)
    reading = age.read(dark, "F")
    assert (reading.low, reading.high) == pytest.approx((18.0, 42.0))
    assert reading.unit == "months"
    assert (reading.label, reading.positive) == (None, None)


def test_the_same_pixels_give_the_same_reading_to_the_last_bit(tmp_path: Path) -> None:
    one = model(tmp_path)
    first, second = one.read(spot()), one.read(spot())
    assert first.probabilities == second.probabilities
    assert np.array_equal(np.asarray(first.heat), np.asarray(second.heat))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"size": 4}, "size"),
        ({"labels": ("one",), "positive": ()}, "labels"),
        ({"positive": ("cyst",)}, "positive"),
        ({"temperature": 0.0}, "temperature"),
        ({"threshold": 1.5}, "threshold"),
        ({"kind": "measure"}, "unit"),
        ({"kind": "measure", "unit": "months"}, "half_width"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, change: dict[str, object], field: str) -> None:
    registry = Registry(tmp_path / "models", shipped=tmp_path / "none")
    wrong = msgspec.structs.replace(TUMOUR, **change)
    files = {MODEL_FILE: graph(TUMOUR), SETTINGS_FILE: msgspec.json.encode(wrong)}
    version = registry.add("brain_tumour", files, code="tests", seed=1, data=())
    with pytest.raises(Poison) as refused:
        ImageModel(registry.load("brain_tumour", version))
    assert refused.value.reason == "bad_model"
    assert refused.value.field.endswith(f"settings.json:{field}")


def test_settings_that_do_not_fit_the_graph_are_named(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models", shipped=tmp_path / "none")
    for settings, says in (
        (msgspec.structs.replace(TUMOUR, wants_sex=True), "inputs"),
        (msgspec.structs.replace(TUMOUR, labels=("a", "b", "c"), positive=()), "2 logits for 3 labels"),
        (AGE, "inputs"),
        (msgspec.structs.replace(AGE, wants_sex=False), "no output value"),
    ):
        files = {MODEL_FILE: graph(TUMOUR), SETTINGS_FILE: msgspec.json.encode(settings)}
        version = registry.add("brain_tumour", files, code="tests", seed=1, data=())
        with pytest.raises(Poison, match=says):
            ImageModel(registry.load("brain_tumour", version))


def test_an_unknown_field_of_the_settings_is_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models", shipped=tmp_path / "none")
    files = {MODEL_FILE: graph(TUMOUR), SETTINGS_FILE: b'{"kind":"classes","size":64,"body_part":"brain","x":1}'}
    version = registry.add("brain_tumour", files, code="tests", seed=1, data=())
    with pytest.raises(Poison, match="unknown field `x`"):
        ImageModel(registry.load("brain_tumour", version))


def test_the_tests_own_gate_lets_in_what_the_tests_show(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")
    kept_scope(registry)
    found = Gates(registry).asked()
    assert not isinstance(found, Missing), found.why
    assert found.judged(spot(100, 120), "brain").refusal is None
    assert found.judged(spot(100, 120), "hand").refusal == "wrong_body_part"
