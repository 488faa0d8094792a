"""The estimate from a knee patient's answers: served as it was trained, with its reasons, beside an image's logits."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Misconfigured, Poison
from models.bundle import Bundle
from models.registry import Registry
from models.risk.knee import (
    FUSED,
    FUSION_FILE,
    LABELS,
    TABLE_FILE,
    TABULAR,
    Fusion,
    KneeRisk,
    assess,
    by_t_score,
    fused,
    softmax,
)
from models.risk.knee_columns import FIELD_OF, columns
from models.risk.knee_fields import BY_NAME, FIELDS, checked

WOMAN: dict[str, Any] = {"sex": "female", "age": 66, "menopause_age": 45, "family_history": "yes"}
YOUNG: dict[str, Any] = {"sex": "male", "age": 25}
FUSION = Fusion(table_weight=1.0, image_weight=0.5, intercepts=(0.0, 0.0, 0.0), image_adds=True, why="")


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Registry().load(TABULAR)


def both(shipped: Bundle, fusion: Fusion) -> Bundle:
    files = {TABLE_FILE: shipped.read(TABLE_FILE), FUSION_FILE: msgspec.json.encode(fusion)}
    return Bundle.of(FUSED, files, code="test", seed=0, data=())


def test_every_column_is_made_of_a_field_that_counts() -> None:
    found = columns(checked(WOMAN))
    assert list(found) == list(FIELD_OF)
    counting = {field.name for field in FIELDS if field.idle is None}
    assert set(FIELD_OF.values()) == counting


def test_an_old_woman_with_an_early_menopause_is_more_at_risk_than_a_young_man(shipped: Bundle) -> None:
    old, young = assess(shipped, WOMAN), assess(shipped, YOUNG)
    assert old.probabilities["osteoporosis"] > 2 * young.probabilities["osteoporosis"]
    assert old.raised
    assert not young.raised
    assert old.source == "table"


def test_probabilities_sum_to_one_and_the_label_is_the_likeliest(shipped: Bundle) -> None:
    found = assess(shipped, WOMAN)
    assert math.isclose(sum(found.probabilities.values()), 1.0)
    assert found.label == max(found.probabilities, key=lambda label: found.probabilities[label])
    assert tuple(found.probabilities) == tuple(found.usual) == LABELS


def test_what_the_answers_add_is_all_that_moves_the_logits(shipped: Bundle) -> None:
    risk = KneeRisk(shipped)
    found = risk.assess(WOMAN)
    added = np.asarray([sum(driver.adds[label] for driver in found.drivers) for label in LABELS])
    logits = risk.logits(checked(WOMAN)) - np.asarray(risk.table.intercepts)
    assert np.allclose(added, logits - logits.mean())
    sizes = [abs(driver.adds["osteoporosis"]) for driver in found.drivers]
    assert sizes == sorted(sizes, reverse=True)


def test_what_is_not_told_is_taken_from_the_data_and_said(shipped: Bundle) -> None:
    found = assess(shipped, YOUNG)
    asked = {field.name for field in FIELDS if field.idle is None and not field.women_only}
    assert set(found.imputed) == asked - set(YOUNG)
    assert "men in the data" in found.imputed["height_m"]
    assert all(driver.given is None for driver in found.drivers if driver.field in found.imputed)


def test_an_answer_that_carries_nothing_changes_nothing(shipped: Bundle) -> None:
    plain = assess(shipped, WOMAN)
    for field in FIELDS:
        if field.idle is not None:
            assert assess(shipped, {**WOMAN, field.name: field.words[-1]}).probabilities == plain.probabilities


def test_a_t_score_is_told_as_the_diagnosis_and_is_no_input(shipped: Bundle) -> None:
    with_it = assess(shipped, {**WOMAN, "t_score": -3.1, "z_score": -2})
    assert with_it.probabilities == assess(shipped, WOMAN).probabilities
    assert "osteoporosis by definition" in with_it.remarks[0]
    assert [by_t_score(score) for score in (-0.9, -1.0, -2.4, -2.5)] == [
        "normal",
        "osteopenia",
        "osteopenia",
        "osteoporosis",
    ]


def test_an_answer_beyond_all_that_was_seen_is_remarked(shipped: Bundle) -> None:
    found = assess(shipped, {**WOMAN, "weight_kg": 160, "height_m": 1.9})
    assert any(remark.startswith(BY_NAME["weight_kg"].label) for remark in found.remarks)


def test_an_image_is_weighed_where_it_adds_and_named_where_it_does_not(shipped: Bundle) -> None:
    table = assess(shipped, WOMAN)
    adding = both(shipped, FUSION)
    told = assess(adding, WOMAN, image_logits=[-2.0, 0.0, 2.0])
    assert told.source == "table and image"
    assert told.probabilities["osteoporosis"] > table.probabilities["osteoporosis"]
    alone = assess(adding, WOMAN)
    assert (alone.source, alone.probabilities) == ("table", table.probabilities)
    silent = both(shipped, msgspec.structs.replace(FUSION, image_adds=False, why="It adds nothing."))
    unmoved = assess(silent, WOMAN, image_logits=[-2.0, 0.0, 2.0])
    assert unmoved.probabilities == table.probabilities
    assert "It adds nothing." in unmoved.remarks


@pytest.mark.parametrize("logits", [[1.0, 2.0], [1.0, 2.0, math.nan], [[1.0, 2.0, 3.0]]])
def test_logits_that_are_none_are_refused(shipped: Bundle, logits: Any) -> None:
    with pytest.raises(Poison, match="bad_logits"):
        assess(both(shipped, FUSION), WOMAN, image_logits=logits)


def test_the_table_alone_takes_no_image(shipped: Bundle) -> None:
    with pytest.raises(Misconfigured, match=FUSED):
        assess(shipped, WOMAN, image_logits=[0.0, 0.0, 0.0])


def test_a_bundle_that_does_not_read_is_refused() -> None:
    broken = Bundle.of(TABULAR, {TABLE_FILE: b"{}"}, code="test", seed=0, data=())
    with pytest.raises(Poison, match="bad_model"):
        KneeRisk(broken)


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3), st.floats(-9, 9))
def test_what_is_added_to_all_logits_of_a_part_changes_no_probability(image: list[float], shift: float) -> None:
    table = np.asarray([0.1, 0.5, -0.3])
    told = softmax(fused(FUSION, table, np.asarray(image)))
    moved = softmax(fused(FUSION, table + shift, np.asarray(image) - shift))
    assert np.allclose(told, moved)
    assert math.isclose(float(told.sum()), 1.0)


@given(st.sampled_from(["female", "male"]), st.floats(16, 110), st.floats(0, 50))
def test_every_patient_who_may_be_asked_gets_probabilities(sex: str, age: float, walk: float) -> None:
    risk = KneeRisk(Registry().load(TABULAR))
    found = risk.assess({"sex": sex, "age": age, "max_walk_km": walk})
    assert all(0 <= probability <= 1 for probability in found.probabilities.values())
