"""NEWS2 against the chart of the Royal College of Physicians (2017), written out here once more, point by point."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from itertools import product
from random import Random
from typing import Any, Final

import pytest
import vitalscore
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from contracts.clinical.news2 import COMPONENTS, MAXIMUM
from contracts.records import Vital
from models.ward import news2
from models.ward.core import WardCore
from models.ward.policy import load_policy
from tests.unit.models.bedside import Bedside

# One digit a step: the points of each integer (of each 0.1 degree) from the first value on.
RESPIRATION: Final = (0, "3333333331110000000002222" + "3" * 46)  # 0-8, 9-11, 12-20, 21-24, 25-70
SPO2_1: Final = (50, "3" * 42 + "221100000")  # 50-91, 92-93, 94-95, 96-100
SPO2_2_AIR: Final = (50, "3" * 34 + "22110000000000000")  # 50-83, 84-85, 86-87, 88-100
SPO2_2_OXYGEN: Final = (50, "3" * 34 + "22110000011223333")  # ..., 88-92, 93-94, 95-96, 97-100
SYSTOLIC: Final = (20, "3" * 71 + "22222222221111111111" + "0" * 109 + "3" * 81)  # 20-90, -100, -110, -219, -300
PULSE: Final = (10, "3" * 31 + "1111111111" + "0" * 40 + "1" * 20 + "2" * 20 + "3" * 120)  # 10-40, -50, -90, -110, -130
TEMPERATURE: Final = (250, "3" * 101 + "1111111111" + "0" * 20 + "1111111111" + "2" * 60)  # 25.0-35.0, -36.0, -38.0
ACVPU: Final = {"A": 0, "C": 3, "V": 3, "P": 3, "U": 3}

Table = tuple[int, str]
Values = Mapping[Vital, float | str]


def points_of(table: Table, step: int) -> int:
    first, points = table
    return int(points[step - first])


def spo2_table(scale: int, oxygen: bool) -> Table:
    return SPO2_1 if scale == 1 else SPO2_2_OXYGEN if oxygen else SPO2_2_AIR


def by_chart(values: Values, scale: int) -> list[int]:
    """The points of a complete set of recorded values, in the chart's order."""
    oxygen = float(values[Vital.SUPPLEMENTAL_OXYGEN]) > 0
    return [
        points_of(RESPIRATION, int(values[Vital.RESPIRATION])),
        points_of(spo2_table(scale, oxygen), int(values[Vital.SPO2])),
        2 if oxygen else 0,
        points_of(SYSTOLIC, int(values[Vital.SYSTOLIC])),
        points_of(PULSE, int(values[Vital.HEART_RATE])),
        ACVPU[str(values[Vital.CONSCIOUSNESS])],
        points_of(TEMPERATURE, round(float(values[Vital.TEMPERATURE]) * 10)),
    ]


def test_the_tables_of_this_test_are_as_long_as_their_ranges() -> None:
    lengths = [len(points) for _, points in (RESPIRATION, SPO2_1, SPO2_2_AIR, SPO2_2_OXYGEN)]
    assert lengths == [71, 51, 51, 51]
    assert [len(points) for _, points in (SYSTOLIC, PULSE, TEMPERATURE)] == [281, 241, 201]


@pytest.mark.parametrize("rate", range(71))
def test_every_respiratory_rate_scores_as_printed(rate: int) -> None:
    assert news2.respiration_points(float(rate)) == points_of(RESPIRATION, rate)


@pytest.mark.parametrize("oxygen", [False, True], ids=["air", "oxygen"])
@pytest.mark.parametrize("scale", [1, 2])
def test_every_saturation_scores_as_printed(scale: int, oxygen: bool) -> None:
    table = spo2_table(scale, oxygen)
    for percent in range(50, 101):
        assert news2.spo2_points(float(percent), scale, oxygen) == points_of(table, percent), percent


def test_every_systolic_pressure_scores_as_printed() -> None:
    for mmhg in range(20, 301):
        assert news2.systolic_points(float(mmhg)) == points_of(SYSTOLIC, mmhg), mmhg


def test_every_pulse_scores_as_printed() -> None:
    for rate in range(10, 251):
        assert news2.pulse_points(float(rate)) == points_of(PULSE, rate), rate


def test_every_tenth_of_a_degree_scores_as_printed() -> None:
    for tenth in range(250, 451):
        assert news2.temperature_points(tenth / 10) == points_of(TEMPERATURE, tenth), tenth / 10


def test_every_level_of_consciousness_scores_as_printed() -> None:
    assert {letter: news2.consciousness_points(letter) for letter in "ACVPU"} == ACVPU


@pytest.mark.parametrize(
    ("celsius", "points"),
    [(35.04, 3), (35.05, 1), (36.04, 1), (36.05, 0), (38.04, 0), (38.05, 1), (39.04, 1), (39.05, 2), (38.0499, 0)],
)
def test_a_temperature_is_rounded_half_up_to_a_tenth_first(celsius: float, points: int) -> None:
    assert news2.temperature_points(celsius) == points


def test_no_value_falls_between_two_bands() -> None:
    assert (news2.systolic_points(90.49), news2.systolic_points(90.5)) == (3, 2)
    assert (news2.systolic_points(219.4), news2.systolic_points(219.5)) == (0, 3)
    assert (news2.respiration_points(8.4), news2.respiration_points(8.5)) == (3, 1)
    assert (news2.pulse_points(90.4), news2.pulse_points(90.5)) == (0, 1)
    assert (news2.spo2_points(91.4, 1, False), news2.spo2_points(91.5, 1, False)) == (3, 2)


@given(st.decimals(min_value=0, max_value=70, places=3))
def test_any_respiratory_rate_scores_as_its_rounded_one(rate: Decimal) -> None:
    assert news2.respiration_points(float(rate)) == points_of(
        RESPIRATION, int(rate.quantize(Decimal(1), ROUND_HALF_UP))
    )


@given(st.decimals(min_value=25, max_value=45, places=3))
def test_any_temperature_scores_as_its_rounded_one(celsius: Decimal) -> None:
    tenths = int((celsius * 10).quantize(Decimal(1), ROUND_HALF_UP))
    assert news2.temperature_points(float(celsius)) == points_of(TEMPERATURE, tenths)


# One value of every band of the chart, its lower and upper edge where it has them.
BANDS: Final[Mapping[Vital, tuple[float | str, ...]]] = {
    Vital.RESPIRATION: (8.0, 9.0, 20.0, 21.0, 25.0),
    Vital.SPO2: (83.0, 84.0, 87.0, 88.0, 91.0, 92.0, 93.0, 95.0, 96.0, 97.0),
    Vital.SUPPLEMENTAL_OXYGEN: (0.0, 2.0),
    Vital.SYSTOLIC: (90.0, 91.0, 110.0, 219.0, 220.0),
    Vital.HEART_RATE: (40.0, 41.0, 90.0, 91.0, 130.0, 131.0),
    Vital.CONSCIOUSNESS: ("A", "C"),
    Vital.TEMPERATURE: (35.0, 35.1, 38.0, 38.1, 39.1),
}


@pytest.mark.parametrize("scale", [1, 2])
def test_every_combination_of_bands_adds_up_as_the_chart_does(scale: int) -> None:
    for combination in product(*BANDS.values()):
        values = dict(zip(BANDS, combination, strict=True))
        points = by_chart(values, scale)
        low, high, red, each = news2.interval(values, scale)
        assert (low, high, red, each) == (sum(points), sum(points), 3 in points, tuple(points)), values
        assert news2.total(combination, scale) == (low, high, red, each)


def test_an_independent_calculator_agrees_on_the_whole_grid() -> None:
    """``vitalscore``: other code, same chart. Its quirks: it takes no missing value and calls a single red medium."""

    def theirs(**changed: float | str | bool) -> vitalscore.NEWS2Result:
        values: dict[str, Any] = {
            "respiratory_rate": 16,
            "spo2": 97,
            "on_oxygen": False,
            "systolic_bp": 120,
            "heart_rate": 70,
            "consciousness": "A",
            "temperature": 37.0,
        } | changed
        return vitalscore.score_news2(**values)

    for rate in range(1, 71):
        assert theirs(respiratory_rate=rate).rr_score == news2.respiration_points(rate)
    for percent, scale, oxygen in product(range(50, 101), (1, 2), (False, True)):
        result = theirs(spo2=percent, on_oxygen=oxygen, use_spo2_scale2=scale == 2)
        assert result.spo2_score == news2.spo2_points(percent, scale, oxygen), (percent, scale, oxygen)
        assert result.o2_score == (2 if oxygen else 0)
    for mmhg in range(20, 300):
        assert theirs(systolic_bp=mmhg).sbp_score == news2.systolic_points(mmhg)
    for rate in range(10, 251):
        assert theirs(heart_rate=rate).hr_score == news2.pulse_points(rate)
    for tenth in range(250, 451):
        assert theirs(temperature=tenth / 10).temp_score == news2.temperature_points(tenth / 10)
    rng = Random(3)
    for _ in range(2000):
        values = {vital: rng.choice(choices) for vital, choices in BANDS.items()}
        scale = rng.choice((1, 2))
        result = theirs(
            respiratory_rate=values[Vital.RESPIRATION],
            spo2=values[Vital.SPO2],
            on_oxygen=values[Vital.SUPPLEMENTAL_OXYGEN] != 0.0,
            systolic_bp=values[Vital.SYSTOLIC],
            heart_rate=values[Vital.HEART_RATE],
            consciousness=values[Vital.CONSCIOUSNESS],
            temperature=values[Vital.TEMPERATURE],
            use_spo2_scale2=scale == 2,
        )
        assert news2.interval(values, scale)[:2] == (result.total, result.total)


# One value for each number of points that a component can have; SpO2 has them under both scales.
FILLINGS: Final[Mapping[Vital, tuple[float | str, ...]]] = {
    Vital.RESPIRATION: (16.0, 10.0, 22.0, 30.0),
    Vital.SPO2: (80.0, 84.0, 86.0, 90.0, 93.0, 95.0, 98.0),
    Vital.SUPPLEMENTAL_OXYGEN: (0.0, 4.0),
    Vital.SYSTOLIC: (120.0, 105.0, 95.0, 80.0),
    Vital.HEART_RATE: (70.0, 45.0, 120.0, 140.0),
    Vital.CONSCIOUSNESS: ("A", "U"),
    Vital.TEMPERATURE: (37.0, 35.5, 40.0, 34.0),
}
VALUE_SETS: Final[tuple[tuple[float | str, ...], ...]] = (
    (16.0, 97.0, 0.0, 120.0, 70.0, "A", 37.0),
    (26.0, 90.0, 2.0, 88.0, 135.0, "V", 39.4),
    (22.0, 94.0, 0.0, 105.0, 112.0, "A", 38.4),
    (9.0, 83.0, 10.0, 230.0, 38.0, "C", 34.2),
    (18.0, 98.0, 1.0, 100.0, 95.0, "A", 36.0),
)


def brute_force(known: Values, scale: int) -> tuple[int, int, bool]:
    """(least, most, a red in every case) over all fillings of what is missing."""
    missing = [vital for vital in FILLINGS if vital not in known]
    totals, reds = [], []
    for filling in product(*(FILLINGS[vital] for vital in missing)):
        points = by_chart({**known, **dict(zip(missing, filling, strict=True))}, scale)
        totals.append(sum(points))
        reds.append(3 in points)
    return min(totals), max(totals), all(reds)


def subsets(values: tuple[float | str, ...]) -> list[dict[Vital, float | str]]:
    return [
        {vital: value for vital, value, there in zip(COMPONENTS, values, mask, strict=True) if there}
        for mask in product((True, False), repeat=len(COMPONENTS))
    ]


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("values", VALUE_SETS, ids=lambda values: "-".join(map(str, values)))
def test_with_any_components_missing_the_interval_is_that_of_all_fillings(
    values: tuple[float | str, ...], scale: int
) -> None:
    cases = subsets(values)
    assert len(cases) == 128
    for known in cases:
        low, high, red, each = news2.interval(known, scale)
        assert (low, high, red) == brute_force(known, scale), known
        assert 0 <= low <= high <= MAXIMUM
        for vital, points in zip(COMPONENTS, each, strict=True):
            if vital not in known:
                assert points is None, "a missing component scored"


@pytest.mark.parametrize("scale", [1, 2])
def test_the_core_scores_every_subset_of_missing_components_alike(scale: int) -> None:
    adult = load_policy()
    ward = Bedside()
    ward.core = WardCore(structs.replace(adult, news2=structs.replace(adult.news2, spo2_scale=scale)))
    for number, known in enumerate(subsets(VALUE_SETS[2])):
        said = {vital.value: known.get(vital) for vital in COMPONENTS}
        ward.frame(number, {(f"B{number}", f"p-{number}"): said})
        score = ward.score[f"p-{number}"].news2
        assert score is not None
        assert (score.minimum, score.maximum, score.single_red) == brute_force(known, scale), known
        assert score.scale == scale
        assert [c.vital for c in score.components if c.points is None and c.vital not in known] == [
            vital for vital in COMPONENTS if vital not in known
        ]


def test_a_stale_component_is_missing_and_its_age_is_told() -> None:
    ward = Bedside()
    ward.read(0, temperature=39.5, spo2=97.0, heart_rate=70.0, respiration=16.0)
    ward.read(4 * 3600, spo2=97.0, heart_rate=70.0, respiration=16.0)
    at_the_limit = ward.score["p-1"].news2
    ward.read(4 * 3600 + 1, spo2=97.0, heart_rate=71.0, respiration=16.0)
    beyond = ward.score["p-1"].news2
    assert at_the_limit is not None
    assert beyond is not None
    assert at_the_limit.minimum == 2
    assert (beyond.minimum, beyond.maximum - at_the_limit.maximum) == (0, 1)
    (temperature,) = (c for c in beyond.components if c.vital is Vital.TEMPERATURE)
    assert (temperature.points, temperature.age_ms) == (None, (4 * 3600 + 1) * 1000)
