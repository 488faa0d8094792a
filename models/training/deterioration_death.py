"""Death in hospital from the first two days, laboratory and all: columns of the model that is not served at the bed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.records import Vital
from models.ports import Floats
from models.training.stays import Stay
from models.vitals.history import CHANNELS
from models.vitals.instability import last_known

HOURS: Final = 48
GRAPH: Final = "death_48h.onnx"
OTHERS: Final[Mapping[str, str]] = {  # the Challenge's name, and that of the hourly sources
    "nidiasabp": "",
    "diasabp": "dbp",
    "fio2": "fio2",
    "gcs": "",
    "urine": "urine",
    "mechvent": "",
    "lactate": "lact",
    "wbc": "wbc",
    "creatinine": "crea",
    "ph": "ph",
    "pao2": "po2",
    "paco2": "pco2",
    "k": "k",
    "na": "na",
    "glucose": "glu",
    "hct": "hgb",
    "platelets": "plt",
    "bun": "bun",
}
_HCT_PER_HGB: Final = 3.0
_UNITS: Final = ("cardiac surgery recovery", "coronary care", "medical", "surgical")
_STATISTICS: Final = (
    "first",
    "last",
    "low",
    "high",
    "mean",
    "sd",
    "slope",
    "count",
    "mean_0_12",
    "mean_0_24",
    "mean_24_48",
    "mean_36_48",
    "change",
    "last_age",
)
_DERIVED: Final = ("pf_ratio", "shock_index", "bun_creatinine", "pulse_pressure")
_SERIES: Final = (*(vital.value for vital in CHANNELS), *OTHERS, *_DERIVED)
_URINE: Final = ((0, 24), (24, 48), (36, 48))
_BEYOND: Final = (  # hours with the last known value below or above
    ("map", 60.0, True),
    ("map", 65.0, True),
    ("sbp", 90.0, True),
    ("hr", 110.0, False),
    ("gcs", 9.0, True),
    ("gcs", 13.0, True),
    ("temp", 36.0, True),
    ("temp", 38.5, False),
)
_SHORT: Final = {
    "map": Vital.MEAN_PRESSURE.value,
    "sbp": Vital.SYSTOLIC.value,
    "hr": Vital.HEART_RATE.value,
    "temp": Vital.TEMPERATURE.value,
}
NAMES: Final = (
    *(f"{series}_{statistic}" for series in _SERIES for statistic in _STATISTICS),
    *(f"urine_{start}_{stop}" for start, stop in _URINE),
    *(f"{name}_{'below' if below else 'above'}_{at:g}" for name, at, below in _BEYOND),
    "age",
    "female",
    "height",
    "weight",
    "body_mass",
    *(f"unit_{unit.replace(' ', '_')}" for unit in _UNITS),
)
"""The columns of ``features``. Neither SAPS-I nor SOFA is among them, nor anything known only afterwards."""


def features(stays: Sequence[Stay]) -> Floats:
    """(stays, ``NAMES``) of the first 48 hours of stays that were loaded with their labs; NaN is unknown."""
    series = _series(stays)
    carried = {name: _carried(values) for name, values in series.items()}
    series |= _derived(carried)
    columns = [column for name in _SERIES for column in _statistics(series[name])]
    urine = np.nan_to_num(series["urine"])
    columns += [urine[:, start:stop].sum(axis=1) for start, stop in _URINE]
    with np.errstate(invalid="ignore"):
        for name, at, below in _BEYOND:
            values = carried[_SHORT.get(name, name)]
            columns.append(((values < at) if below else (values > at)).sum(axis=1))
    height, weight = _fact(stays, "height"), _fact(stays, "weight")
    columns += [np.array([s.age_years for s in stays]), np.array([s.female for s in stays]), height, weight]
    columns.append(weight / np.square(np.where(height > 0, height, np.nan) / 100))
    unit = np.array([str(s.facts.get("icu_type", "")) for s in stays])
    known = np.isin(unit, _UNITS)
    columns += [np.where(known, unit == name, np.nan) for name in _UNITS]
    return np.stack(columns, axis=1).astype(np.float32)


def died(stays: Sequence[Stay]) -> NDArray[np.float64]:
    """1 died in hospital, 0 left alive, NaN not told."""
    return np.array([_died(stay.facts) for stay in stays], np.float64)


def _died(facts: Mapping[str, Any]) -> float:
    if "in_hospital_death" in facts:
        return float(facts["in_hospital_death"])
    return {"Expired": 1.0, "Alive": 0.0}.get(str(facts.get("hospital_discharge")), float("nan"))


def _series(stays: Sequence[Stay]) -> dict[str, Floats]:
    series = {
        vital.value: np.stack([_first(stay.vitals[:, channel]) for stay in stays])
        for channel, vital in enumerate(CHANNELS)
    }
    for name, elsewhere in OTHERS.items():
        series[name] = np.stack([_first(_other(stay, name, elsewhere)) for stay in stays])
    return series


def _other(stay: Stay, name: str, elsewhere: str) -> Floats:
    if stay.source == "challenge2012":
        return stay.others[name]
    if elsewhere not in stay.others:
        return np.full(len(stay.vitals), np.nan, np.float32)
    values = stay.others[elsewhere]
    if name == "hct":
        return values * np.float32(_HCT_PER_HGB)
    if name == "fio2":  # a share or per cent
        return np.where(values > 1.5, values / 100, values).astype(np.float32)
    return values


def _first(values: Floats) -> Floats:
    full = np.full(HOURS, np.nan, np.float32)
    full[: len(values)] = values[:HOURS]
    return full


def _derived(carried: Mapping[str, Floats]) -> dict[str, Floats]:
    def over(above: str, below: str) -> Floats:
        whole = carried[below]
        return (carried[above] / np.where(whole > 0, whole, np.nan)).astype(np.float32)

    return {
        "pf_ratio": over("pao2", "fio2"),
        "shock_index": over(Vital.HEART_RATE.value, Vital.SYSTOLIC.value),
        "bun_creatinine": over("bun", "creatinine"),
        "pulse_pressure": carried[Vital.SYSTOLIC.value] - carried[Vital.MEAN_PRESSURE.value],
    }


def _carried(values: Floats) -> Floats:
    return last_known(values[..., None])[..., 0]


def _statistics(values: Floats) -> list[NDArray[Any]]:
    """In the order of ``_STATISTICS``."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    some = count > 0
    rows = np.arange(len(values))
    filled = np.where(known, values, 0.0)
    since = known[:, ::-1].argmax(axis=1)
    middle = _mean(filled, known)
    off = np.where(known, filled - middle[:, None], 0.0)
    hours = np.arange(HOURS)
    clock = np.where(known, hours - _mean(np.where(known, hours, 0.0), known)[:, None], 0.0)
    parts = [_mean(filled[:, a:b], known[:, a:b]) for a, b in ((0, 12), (0, 24), (24, 48), (36, 48))]
    with np.errstate(invalid="ignore", divide="ignore"):
        return [
            values[rows, known.argmax(axis=1)],
            np.where(some, values[rows, HOURS - 1 - since], np.nan),
            np.where(some, np.where(known, values, np.inf).min(axis=1), np.nan),
            np.where(some, np.where(known, values, -np.inf).max(axis=1), np.nan),
            middle,
            np.where(count > 1, np.sqrt((off**2).sum(axis=1) / np.maximum(count, 1)), np.nan),
            np.where(count > 1, (off * clock).sum(axis=1) / (clock**2).sum(axis=1), np.nan),
            count,
            *parts,
            parts[2] - parts[1],
            np.where(some, since, HOURS),
        ]


def _mean(filled: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    count = known.sum(axis=1)
    return np.where(count > 0, filled.sum(axis=1) / np.maximum(count, 1), np.nan)


def _fact(stays: Sequence[Stay], name: str) -> NDArray[np.float64]:
    return np.array([float(stay.facts.get(name, np.nan)) for stay in stays])
