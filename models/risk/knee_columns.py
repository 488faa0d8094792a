"""The answers about a knee patient as numbers that a logistic regression can weigh."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from models.risk.knee_fields import NONE, Value

USUAL_MENOPAUSE: Final = 47.0
"""Median of the women in the data, in years."""
UNKNOWN: Final = math.nan
_NOTHING: Final = re.compile(r"(no|none|nil|normal|nothing|never|-)( (fractures?|history|known|other)\b.*)?")
_MANUAL: Final = re.compile(
    r"farm|labou?r|worker|manual|carpent|plumb|barber|chopan|shepherd|nurse|mechanic|technician|parlou?r"
)
_RETIRED: Final = re.compile(r"^(r\.|retired|pension)")


def columns(values: Mapping[str, Value]) -> dict[str, float]:
    """A number a column, in the order of ``FIELD_OF``; not a number where the answer is missing.

    ``values`` are as ``knee_fields.checked`` gives them: ``sex`` and ``age`` are there.
    """
    male = values["sex"] == "male"
    age = _number(values, "age")
    since = _since_menopause(values, male, age)
    job = str(values["occupation"]) if "occupation" in values else None
    return {
        "male": float(male),
        "age_decades": age / 10,
        "age_from_50_squared": ((age - 50) / 10) ** 2,
        "age_of_man_decades": (age - 50) / 10 if male else 0.0,
        "height_m": _number(values, "height_m"),
        "weight_kg": _number(values, "weight_kg"),
        "manual_work": UNKNOWN if job is None else float(bool(_MANUAL.search(job))),
        "retired": UNKNOWN if job is None else float(bool(_RETIRED.search(job))),
        "after_menopause": float(since > 0),
        "decades_since_menopause": since / 10,
        "pregnancies": 0.0 if male else _number(values, "pregnancies"),
        "estrogen_use": 0.0 if male else _yes(values, "estrogen_use"),
        "smoker": _yes(values, "smoker"),
        "walk_log_km": math.log1p(_number(values, "max_walk_km")),
        "diet_restricted": _any(values, "eating_habits"),
        "diabetic": _yes(values, "diabetic"),
        "hypothyroidism": _yes(values, "hypothyroidism"),
        "seizure_disorder": _yes(values, "seizure_disorder"),
        "family_history": _yes(values, "family_history"),
        "fracture": _any(values, "fracture_history"),
        "other_history": _any(values, "medical_history"),
    }


FIELD_OF: Final[Mapping[str, str]] = {
    "male": "sex",
    "age_decades": "age",
    "age_from_50_squared": "age",
    "age_of_man_decades": "age",
    "height_m": "height_m",
    "weight_kg": "weight_kg",
    "manual_work": "occupation",
    "retired": "occupation",
    "after_menopause": "menopause_age",
    "decades_since_menopause": "menopause_age",
    "pregnancies": "pregnancies",
    "estrogen_use": "estrogen_use",
    "smoker": "smoker",
    "walk_log_km": "max_walk_km",
    "diet_restricted": "eating_habits",
    "diabetic": "diabetic",
    "hypothyroidism": "hypothyroidism",
    "seizure_disorder": "seizure_disorder",
    "family_history": "family_history",
    "fracture": "fracture_history",
    "other_history": "medical_history",
}
"""Which answer each column is made of."""


def _since_menopause(values: Mapping[str, Value], male: bool, age: float) -> float:
    """Years; 0 in a man and before it. Where it is not told, it is taken to come at the usual age."""
    told = values.get("menopause_age", USUAL_MENOPAUSE)
    if male or told == NONE:
        return 0.0
    return max(0.0, age - float(told))


def _number(values: Mapping[str, Value], name: str) -> float:
    return float(values.get(name, UNKNOWN))


def _yes(values: Mapping[str, Value], name: str) -> float:
    return UNKNOWN if name not in values else float(values[name] == "yes")


def _any(values: Mapping[str, Value], name: str) -> float:
    """1 where a text says anything but that there is nothing."""
    return UNKNOWN if name not in values else float(not _NOTHING.fullmatch(str(values[name])))
