"""The 21 clinical fields that a knee patient is asked for: names, units, ranges, words; what is wrong with an answer.

They are the columns of the Knee X-ray Osteoporosis Database (Wani and Arora 2021) but for four: T- and Z-score, of
which the diagnosis is a function, and BMI and its class, which follow from height and weight.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from contracts.errors import Poison

Value = float | str
Kind = Literal["number", "whole", "choice", "text"]
YES_NO: Final = ("no", "yes")
NONE: Final = "none"
MAX_TEXT: Final = 200
MAX_NAME, MAX_STRANGE = 40, 10
"""Of a field's name and of how many fields that do not exist a message tells."""
MOST: Final = 1e12
"""No number is larger; neither is one that is none, or infinite, smaller."""
BMI_RANGE: Final = (10.0, 80.0)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One question. ``words`` are the answers allowed of a choice, those that stand for a number beside the numbers,
    and mere suggestions of a text (at most 200 characters). ``idle`` says why the answer does not count."""

    name: str
    label: str
    group: Literal["Person", "Women", "Habits", "Illness and history"]
    kind: Kind
    unit: str | None = None
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()
    required: bool = False
    women_only: bool = False
    hint: str = ""
    idle: str | None = None

    def spans(self, number: float) -> bool:
        """Whether it lies in the range; without bounds all do."""
        return (self.low is None or self.low <= number) and (self.high is None or number <= self.high)


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with one field, and what to give instead."""

    field: str
    message: str


def _ask(name: str, label: str, idle: str | None = None, hint: str = "") -> Field:
    return Field(name=name, label=label, group="Illness and history", kind="choice", words=YES_NO, idle=idle, hint=hint)


FIELDS: Final = (
    Field(name="sex", label="Sex", group="Person", kind="choice", words=("female", "male"), required=True),
    Field(name="age", label="Age", group="Person", kind="number", unit="years", low=16, high=110, required=True),
    Field(name="height_m", label="Height", group="Person", kind="number", unit="m", low=1.2, high=2.2),
    Field(name="weight_kg", label="Weight", group="Person", kind="number", unit="kg", low=25, high=250),
    Field(
        name="occupation",
        label="Occupation",
        group="Person",
        kind="text",
        words=("housewife", "office", "teacher", "business", "manual work", "student", "retired"),
    ),
    Field(
        name="menopause_age",
        label="Age at menopause",
        group="Women",
        kind="number",
        unit="years",
        low=20,
        high=65,
        words=(NONE,),
        women_only=True,
        hint="`none` before menopause",
    ),
    Field(name="pregnancies", label="Pregnancies", group="Women", kind="whole", low=0, high=20, women_only=True),
    Field(name="estrogen_use", label="Takes oestrogen", group="Women", kind="choice", words=YES_NO, women_only=True),
    Field(name="smoker", label="Smokes", group="Habits", kind="choice", words=YES_NO),
    Field(
        name="alcoholic",
        label="Drinks alcohol",
        group="Habits",
        kind="choice",
        words=YES_NO,
        idle="nobody in the data drinks",
    ),
    Field(
        name="max_walk_km",
        label="Farthest walk",
        group="Habits",
        kind="number",
        unit="km",
        low=0,
        high=50,
        hint="without resting",
    ),
    Field(
        name="eating_habits",
        label="Diet",
        group="Habits",
        kind="text",
        words=("normal", "low protein", "low fat", "vegetarian"),
        hint="normal, or what is left out",
    ),
    _ask("joint_pain", "Joint pain", idle="202 of 204 patients in the data have it"),
    _ask("diabetic", "Diabetes"),
    _ask("hypothyroidism", "Hypothyroidism"),
    _ask("seizure_disorder", "Seizure disorder"),
    _ask("dialysis", "On dialysis", idle="one patient in the data is"),
    _ask("family_history", "Osteoporosis in the family"),
    Field(
        name="fracture_history",
        label="Fractures so far",
        group="Illness and history",
        kind="text",
        words=("no", "vertebral fracture", "hip fracture", "wrist fracture"),
        hint="no, or which bone",
    ),
    Field(
        name="medical_history",
        label="Other history",
        group="Illness and history",
        kind="text",
        words=("no", "hypertension", "disc", "uterus removed", "gall bladder removed"),
        hint="no, or what",
    ),
    Field(
        name="site",
        label="Site of the image",
        group="Illness and history",
        kind="choice",
        words=("knee",),
        idle="it is the knee in all data",
    ),
)
"""In the order of the form."""
BY_NAME: Final[Mapping[str, Field]] = {field.name: field for field in FIELDS}

MEASURED: Final = (
    Field(name="t_score", label="T-score", group="Illness and history", kind="number", unit="SD", low=-8, high=8),
    Field(name="z_score", label="Z-score", group="Illness and history", kind="number", unit="SD", low=-8, high=8),
)
"""Read and checked where given, but no input: the diagnosis is the T-score in three parts."""
DERIVED: Final = ("bmi", "obesity")
"""Known words that are left aside: they follow from height and weight."""
_KNOWN: Final[Mapping[str, Field]] = {**BY_NAME, **{field.name: field for field in MEASURED}}


def checked(fields: Mapping[str, Any]) -> dict[str, Value]:
    """The answers given, as numbers and lower-case words; what was left blank or None is left out.

    Text is taken for numbers and true for yes, as forms and CSV files give them. Raises Poison (``bad_fields``) that
    names every wrong field and its fix at once; ``problems`` gives the same one by one.
    """
    values, wrong = _read(fields)
    if wrong:
        detail = "; ".join(f"{each.field}: {each.message}" for each in wrong)
        raise Poison("bad_fields", detail, ", ".join(dict.fromkeys(each.field for each in wrong)))
    return values


def problems(fields: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Everything that is wrong with these answers, in the order of the form; empty when nothing is."""
    return _read(fields)[1]


def _read(fields: Mapping[str, Any]) -> tuple[dict[str, Value], tuple[Problem, ...]]:
    values: dict[str, Value] = {}
    strange = [str(name)[:MAX_NAME] for name in fields if name not in _KNOWN and name not in DERIVED]
    wrong = [Problem(name, _unknown(name)) for name in strange[:MAX_STRANGE]]
    for name, field in _KNOWN.items():
        given = fields.get(name)
        if given is None or (isinstance(given, str) and not given.strip()):
            if field.required:
                wrong.append(Problem(name, f"missing; give {expected(field)}"))
            continue
        found = _value(field, given)
        if isinstance(found, Problem):
            wrong.append(found)
        else:
            values[name] = found
    wrong += _together(values)
    return values, tuple(wrong)


def expected(field: Field) -> str:
    """What may be given, in words: `a number of 16 to 110 years`, `no or yes`."""
    words = " or ".join(f"`{word}`" for word in field.words)
    if field.kind in ("number", "whole"):
        number = "a whole number" if field.kind == "whole" else "a number"
        unit = f" {field.unit}" if field.unit else ""
        return f"{number} of {field.low:g} to {field.high:g}{unit}" + (f", or {words}" if words else "")
    if field.kind == "choice":
        return words
    return f"at most {MAX_TEXT} characters of text, such as {words}"


def _value(field: Field, given: Any) -> Value | Problem:
    if field.kind in ("choice", "text"):
        return _word(field, given)
    if isinstance(given, str):
        text = given.strip().lower()
        if text in field.words:
            return text
        try:
            given = float(text)
        except ValueError:
            return Problem(field.name, f"{_shown(text)} is no number; give {expected(field)}")
    if isinstance(given, bool) or not isinstance(given, int | float) or not abs(given) < MOST:
        return Problem(field.name, f"{_shown(given)} is no number; give {expected(field)}")
    return _within(field, float(given))


def _within(field: Field, number: float) -> Value | Problem:
    if field.kind == "whole" and number != round(number):
        return Problem(field.name, f"{number:g} is not whole; give {expected(field)}")
    if field.spans(number):
        return number
    hint = ""
    if field.name == "height_m" and field.spans(number / 100):
        hint = f"; in centimetres? then {number / 100:g}"
    return Problem(field.name, f"{number:g} is out of range; give {expected(field)}{hint}")


def _word(field: Field, given: Any) -> Value | Problem:
    if isinstance(given, bool) and "no" in field.words:
        return YES_NO[given]
    if not isinstance(given, str):
        return Problem(field.name, f"{_shown(given)} is no text; give {expected(field)}")
    text = " ".join(given.lower().split())
    if field.kind == "choice" and text not in field.words:
        return Problem(field.name, f"{_shown(text)} is not known; give {expected(field)}")
    if len(text) > MAX_TEXT:
        return Problem(field.name, f"{len(text)} characters; give {expected(field)}")
    return text


def _together(values: Mapping[str, Value]) -> list[Problem]:
    """What is wrong with answers beside each other."""
    wrong = []
    if values.get("sex") == "male":
        for field in FIELDS:
            if field.women_only and values.get(field.name) not in (None, NONE, "no", 0.0):
                wrong.append(Problem(field.name, "given for a man; leave it out, or correct `sex`"))
    age, menopause = values.get("age"), values.get("menopause_age")
    if isinstance(age, float) and isinstance(menopause, float) and menopause > age:
        wrong.append(Problem("menopause_age", f"{menopause:g} is later than the age of {age:g}; correct one of them"))
    height, weight = values.get("height_m"), values.get("weight_kg")
    if isinstance(height, float) and isinstance(weight, float):
        bmi = weight / height**2
        if not BMI_RANGE[0] <= bmi <= BMI_RANGE[1]:
            least, most = BMI_RANGE
            message = (
                f"a BMI of {bmi:.1f} with height_m {height:g}; {least:g} to {most:g} are taken: correct one of them"
            )
            wrong.append(Problem("weight_kg", message))
    return wrong


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), _KNOWN, n=1)
    return f"no such field; did you mean `{near[0]}`?" if near else f"no such field; there are {', '.join(BY_NAME)}"


def _shown(given: Any) -> str:
    """A wrong answer as it may stand in a message: cut short, for text may be anything."""
    text = repr(given)
    return text if len(text) <= 24 else f"{text[:20]}…"
