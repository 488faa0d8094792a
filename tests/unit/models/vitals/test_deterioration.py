"""The shipped deterioration model at the bed: who is spoken of, what is said, why, and that company changes nothing."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from contracts.errors import Poison
from contracts.records import Risk, Vital
from models.bundle import Bundle
from models.ports import Floats, Windows
from models.registry import Registry
from models.vitals.deterioration import DEATH, GRAPH, RISKS, Calibration, Deterioration, load, speaks
from models.vitals.history import CHANNEL, HOURS
from models.vitals.instability import CONDITIONS

NORMAL = (80.0, 16.0, 97.0, 120.0, 85.0, 37.0)
NAN = float("nan")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Registry().load("deterioration")


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> Deterioration:
    return load(bundle)


def windows(hours: Floats, age: float = 60.0) -> Windows:
    beds = len(hours)
    one = np.ones(beds, np.float32)
    return Windows(
        minutes=np.full((beds, 60, 6), np.nan, np.float32),
        hours=hours,
        at_ms=np.zeros(beds, np.int64),
        age_years=one * np.float32(age),
        female=one,
        stay_h=one * np.float32(30),
        limits=np.full((beds, 6, 2), np.nan, np.float32),
        alarming=np.zeros(beds, np.bool_),
    )


def day(beds: int = 1) -> Floats:
    return np.tile(np.array(NORMAL, np.float32), (beds, HOURS, 1))


def bed(**last_hours: list[float]) -> Floats:
    """A normal day whose last hours were otherwise, by vital."""
    hours = day()
    for vital, values in last_hours.items():
        hours[0, -len(values) :, CHANNEL[Vital(vital)]] = values
    return hours


SINKING = {
    "mean_pressure": [80.0, 76.0, 72.0, 68.0, 65.0, 62.0],
    "systolic": [118.0, 112.0, 106.0, 100.0, 96.0, 92.0],
    "heart_rate": [85.0, 90.0, 96.0, 102.0, 108.0, 112.0],
}


def strewn(beds: int) -> Floats:
    rng = np.random.default_rng(6)
    hours = day(beds) + (rng.normal(0, 1, (beds, HOURS, 6)) * (15, 5, 3, 18, 14, 0.5)).astype(np.float32)
    hours[rng.random(hours.shape) < 0.3] = np.nan
    hours[rng.random(beds) < 0.1] = np.nan
    return hours.astype(np.float32)


def said(model: Deterioration, hours: Floats, age: float = 60.0) -> dict[str, Risk]:
    (risks,) = model.assess(windows(hours, age))
    return {risk.name: risk for risk in risks}


def test_a_steady_patient_is_told_all_risks_and_all_are_small(model: Deterioration) -> None:
    risks = said(model, day())
    assert tuple(risks) == RISKS
    assert all(risks[name].probability < 0.1 for name in CONDITIONS)
    assert all(risk.known == 1.0 and not risk.drivers for risk in risks.values())
    assert {name: risk.horizon_s for name, risk in risks.items()} == {**dict.fromkeys(CONDITIONS, 14_400), DEATH: 0}


def test_a_sinking_pressure_raises_the_risk_of_hypotension_and_is_named(model: Deterioration) -> None:
    calm, sinking = said(model, day())["hypotension"], said(model, bed(**SINKING))["hypotension"]
    assert sinking.probability > 5 * calm.probability
    first = sinking.drivers[0]
    assert first.vital in (Vital.MEAN_PRESSURE, Vital.SYSTOLIC)
    assert first.share > 0.2
    words = {driver.what for driver in sinking.drivers}
    assert words & {"MAP 62, falling 4/h", "SBP 92, falling 5/h"}


@pytest.mark.parametrize(
    ("name", "vital", "values", "text"),
    [
        ("desaturation", "spo2", [95.0, 94.0, 92.0, 91.0, 90.0, 89.0], "SpO2 89, falling 1/h"),
        ("tachycardia", "heart_rate", [100.0, 105.0, 111.0, 117.0, 122.0, 127.0], "HR 127, rising 5/h"),
        ("tachypnoea", "respiration", [20.0, 22.0, 24.0, 25.0, 27.0, 28.0], "RR 28, rising 2/h"),
    ],
)
def test_the_vital_that_goes_wrong_leads_the_drivers(
    model: Deterioration, name: str, vital: str, values: list[float], text: str
) -> None:
    calm, risk = said(model, day())[name], said(model, bed(**{vital: values}))[name]
    assert risk.probability > 5 * calm.probability
    assert (risk.drivers[0].vital, risk.drivers[0].what) == (Vital(vital), text)
    assert risk.drivers[0].share > 0.3


@pytest.mark.parametrize(
    ("vital", "value", "name"),
    [
        ("mean_pressure", 55.0, "hypotension"),
        ("systolic", 85.0, "hypotension"),
        ("spo2", 85.0, "desaturation"),
        ("heart_rate", 140.0, "tachycardia"),
        ("respiration", 32.0, "tachypnoea"),
    ],
)
def test_nothing_is_said_of_what_is_happening_already(
    model: Deterioration, vital: str, value: float, name: str
) -> None:
    assert set(said(model, bed(**{vital: [value]}))) == set(RISKS) - {name}


def test_it_is_happening_until_a_newer_value_says_otherwise(model: Deterioration) -> None:
    assert "desaturation" not in said(model, bed(spo2=[85.0, NAN, NAN]))
    assert "desaturation" in said(model, bed(spo2=[85.0, NAN, 95.0]))


def test_what_began_a_minute_ago_is_happening_although_the_hour_was_fine(model: Deterioration) -> None:
    asked = windows(day())
    asked.minutes[0, -2] = NORMAL
    asked.minutes[0, -2, CHANNEL[Vital.MEAN_PRESSURE]] = 52.0
    ((*now,),) = model.assess(asked)
    assert [risk.name for risk in now] == [name for name in RISKS if name != "hypotension"]
    asked.minutes[0, -1] = NORMAL
    assert [risk.name for risk in model.assess(asked)[0]] == list(RISKS)


def test_of_a_vital_never_read_nothing_is_said(model: Deterioration) -> None:
    hours = day()
    hours[0, :, CHANNEL[Vital.SPO2]] = np.nan
    risks = said(model, hours)
    assert "desaturation" not in risks
    assert risks["hypotension"].known == 0.83


def test_an_unknown_bed_is_told_nothing(model: Deterioration) -> None:
    assert model.assess(windows(np.full((2, HOURS, 6), np.nan, np.float32))) == ((), ())


def test_no_bed_no_risk(model: Deterioration) -> None:
    assert model.assess(windows(day(0))) == ()


def test_facts_that_were_not_told_are_done_without(model: Deterioration) -> None:
    asked = windows(bed(**SINKING))._replace(
        age_years=np.full(1, np.nan, np.float32),
        female=np.full(1, np.nan, np.float32),
        stay_h=np.full(1, np.nan, np.float32),
    )
    ((first, *_),) = model.assess(asked)
    assert first.probability == pytest.approx(said(model, bed(**SINKING))["hypotension"].probability, abs=0.15)


def test_the_old_die_more_often(model: Deterioration) -> None:
    assert said(model, day(), age=88.0)[DEATH].probability > 1.5 * said(model, day(), age=35.0)[DEATH].probability


def test_shares_are_in_order_and_no_more_than_the_whole(model: Deterioration) -> None:
    told = [risk for risks in model.assess(windows(strewn(200))) for risk in risks if risk.drivers]
    assert len(told) > 20
    for risk in told:
        shares = [abs(driver.share) for driver in risk.drivers]
        assert len(shares) <= 3
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1.01
        assert all(-1 <= driver.share <= 1 for driver in risk.drivers)


def test_no_driver_speaks_of_a_value_that_is_not_there(model: Deterioration) -> None:
    whats = [
        driver.what
        for risks in model.assess(windows(strewn(200), age=NAN))
        for risk in risks
        for driver in risk.drivers
    ]
    assert whats
    assert not [what for what in whats if "nan" in what]


def test_probabilities_are_rounded_and_within_their_range(model: Deterioration) -> None:
    for risks in model.assess(windows(strewn(200))):
        for risk in risks:
            assert 0 <= risk.probability <= 1
            assert risk.probability == round(risk.probability, 4)


def test_a_bed_is_judged_the_same_alone_in_company_and_in_any_order(model: Deterioration) -> None:
    hours = strewn(60)
    together = model.assess(windows(hours))
    order = np.random.default_rng(1).permutation(60)
    assert model.assess(windows(hours[order])) == tuple(together[i] for i in order)
    assert [model.assess(windows(hours[i : i + 1]))[0] for i in range(60)] == list(together)


def test_nothing_handed_in_is_changed(model: Deterioration) -> None:
    hours = strewn(20)
    asked = windows(hours.copy())
    model.assess(asked)
    assert np.array_equal(asked.hours, hours, equal_nan=True)


def test_who_is_spoken_of_is_decided_by_the_last_known_values_alone() -> None:
    carried = np.array([NORMAL, (NAN, NAN, NAN, NAN, 70.0, 37.0)], np.float32)
    assert speaks(carried).tolist() == [[True] * 5, [True, False, False, False, False]]


def with_parameters(bundle: Bundle, **changed: Any) -> Bundle:
    manifest = msgspec.structs.replace(bundle.manifest, parameters={**bundle.parameters, **changed})
    return Bundle("deterioration", bundle.sha256, manifest, {GRAPH: bundle.read(GRAPH)})


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"features": ["one"]}, "other inputs"),
        ({"calibration": {}}, "incomplete"),
        ({"calibration": {name: {"slope": -1.0, "intercept": 0.0} for name in RISKS}}, "slope"),
        ({"usual": {}}, "incomplete"),
        ({"usual_age": "old"}, "usual_age"),
    ],
)
def test_a_bundle_of_another_release_is_refused_by_name(bundle: Bundle, changed: dict[str, Any], text: str) -> None:
    with pytest.raises(Poison, match=text):
        load(with_parameters(bundle, **changed))


def test_a_graph_that_is_none_is_refused(bundle: Bundle) -> None:
    with pytest.raises(Poison, match="graph"):
        load(Bundle("deterioration", bundle.sha256, bundle.manifest, {GRAPH: b"no graph"}))


def test_a_calibration_rises() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Calibration(0.0, 1.0)
    assert math.isclose(Calibration(1.1, -0.2).slope, 1.1)
