"""What a knee patient may answer: every field's range and words, all wrong ones told at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Poison
from models.risk.knee_fields import (
    BMI_RANGE,
    BY_NAME,
    FIELDS,
    MAX_TEXT,
    MEASURED,
    Field,
    checked,
    expected,
    problems,
)

WOMAN: dict[str, Any] = {"sex": "female", "age": 61}
MAN: dict[str, Any] = {"sex": "male", "age": 61}
NUMBERS = [field for field in (*FIELDS, *MEASURED) if field.kind in ("number", "whole")]
CHOICES = [field for field in FIELDS if field.kind == "choice"]
TEXTS = [field for field in FIELDS if field.kind == "text"]


def named(field: Field) -> str:
    return field.name


def wrong(answers: dict[str, Any]) -> set[str]:
    return {problem.field for problem in problems(answers)}


def alone(field: Field, value: Any) -> dict[str, Any]:
    """A woman old enough for any age at menopause, with this answer."""
    return {"sex": "female", "age": 100, field.name: value}


def test_there_are_21_fields_each_with_a_name_of_its_own_and_a_label() -> None:
    assert len(FIELDS) == len(BY_NAME) == 21
    assert all(field.label for field in FIELDS)
    assert [field.name for field in FIELDS if field.required] == ["sex", "age"]


@pytest.mark.parametrize("field", NUMBERS, ids=named)
def test_a_number_is_taken_at_its_bounds_and_refused_beyond_them(field: Field) -> None:
    assert field.low is not None
    assert field.high is not None
    for edge in (field.low, field.high):
        if field.name != "age":
            assert checked(alone(field, edge))[field.name] == edge
            assert checked(alone(field, f" {edge:g} "))[field.name] == edge
    for beyond in (field.low - 1, field.high + 1, "1e400", "nan", "-inf", 10**400, "1,5", "ten", True, [1], {"a": 1}):
        assert wrong(alone(field, beyond)) == {field.name}, beyond


@pytest.mark.parametrize("field", CHOICES, ids=named)
def test_a_choice_takes_its_words_in_any_case_and_no_others(field: Field) -> None:
    for word in field.words:
        assert checked(alone(field, f" {word.upper()} "))[field.name] == word
    assert wrong(alone(field, "perhaps")) == {field.name}
    assert wrong(alone(field, 1)) == {field.name}


@pytest.mark.parametrize("field", [field for field in CHOICES if "no" in field.words], ids=named)
def test_true_is_yes_and_false_is_no(field: Field) -> None:
    assert checked(alone(field, True))[field.name] == "yes"
    assert checked(alone(field, False))[field.name] == "no"


@pytest.mark.parametrize("field", TEXTS, ids=named)
def test_a_text_is_taken_up_to_its_length(field: Field) -> None:
    assert checked(alone(field, "a" * MAX_TEXT))[field.name] == "a" * MAX_TEXT
    assert wrong(alone(field, "a" * (MAX_TEXT + 1))) == {field.name}
    assert wrong(alone(field, 7)) == {field.name}


@pytest.mark.parametrize("field", FIELDS, ids=named)
def test_a_blank_answer_is_none_and_only_sex_and_age_must_be_there(field: Field) -> None:
    for blank in (None, "", "   "):
        answers = {**WOMAN, field.name: blank}
        assert wrong(answers) == ({field.name} if field.required else set())
        if not field.required:
            assert field.name not in checked(answers)


def test_every_wrong_field_is_told_at_once_with_its_fix() -> None:
    answers = {"age": "old", "height_m": 165, "weight_kg": -3, "smoker": "often", "ages": 7}
    with pytest.raises(Poison) as refused:
        checked(answers)
    assert refused.value.reason == "bad_fields"
    assert set(refused.value.field.split(", ")) == {"ages", "sex", "age", "height_m", "weight_kg", "smoker"}
    told = refused.value.detail
    for fix in ("did you mean `age`", "`female` or `male`", "16 to 110 years", "then 1.65", "25 to 250 kg"):
        assert fix in told


@pytest.mark.parametrize("field", [field for field in FIELDS if field.women_only], ids=named)
def test_what_only_women_are_asked_is_refused_of_a_man_unless_it_says_nothing(field: Field) -> None:
    told = "yes" if field.kind == "choice" else 40 if field.name == "menopause_age" else 2
    assert wrong({**MAN, field.name: told}) == {field.name}
    nothing = {"menopause_age": "none", "pregnancies": 0, "estrogen_use": "no"}[field.name]
    assert not problems({**MAN, field.name: nothing})


def test_a_menopause_later_than_the_age_is_refused() -> None:
    assert wrong({"sex": "female", "age": 45, "menopause_age": 47}) == {"menopause_age"}
    assert not problems({"sex": "female", "age": 47, "menopause_age": 47})


def test_height_and_weight_must_go_together() -> None:
    assert wrong({**WOMAN, "height_m": 2.1, "weight_kg": 30}) == {"weight_kg"}
    assert not problems({**WOMAN, "height_m": 2.0, "weight_kg": BMI_RANGE[0] * 4})


def test_what_follows_from_height_and_weight_may_stand_there_and_is_left_aside() -> None:
    assert checked({**WOMAN, "bmi": "anything", "obesity": 3}) == {"sex": "female", "age": 61.0}


def test_a_message_does_not_repeat_a_long_answer() -> None:
    secret = "Jane Roe of Elm Street " * 20
    (problem,) = problems({**WOMAN, "smoker": secret})
    assert secret[:30] not in problem.message
    (problem,) = problems({**WOMAN, "x" * 5000: 1})
    assert len(problem.message) < 500
    assert len(problem.field) <= 40


def test_the_fields_have_a_json_form_for_a_form_in_the_browser() -> None:
    plain = msgspec.json.decode(msgspec.json.encode(FIELDS))
    assert [each["name"] for each in plain] == list(BY_NAME)
    assert all(expected(field) for field in FIELDS)


anything: st.SearchStrategy[Any] = (
    st.sampled_from([None, True, "", "no", "YES", "female", "male", "none", "nan", "1e999", [], {}, [1], 10**400])
    | st.floats()
    | st.integers(-5, 200)
    | st.text(max_size=8)
)


@given(st.dictionaries(st.sampled_from([*BY_NAME, "t_score", "bmi", "stray"]), anything, max_size=8))
def test_whatever_is_answered_is_taken_or_named_and_nothing_else_happens(answers: dict[str, Any]) -> None:
    found = problems(answers)
    if found:
        with pytest.raises(Poison):
            checked(answers)
        return
    values = checked(answers)
    assert not problems(dict(values))
    assert checked(dict(values)) == values
