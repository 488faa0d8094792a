"""Names say what things are: metrics, modules, tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts import metrics
from contracts.clinical.codes import UNIT_ALIASES, VITALS
from contracts.clinical.plausibility import PLAUSIBLE
from contracts.metrics import METRICS, Metric
from contracts.records import Vital

CHECKOUT = Path(__file__).resolve().parents[2]
ROOTS = ("contracts", "models", "streams", "producers", "batch", "infra")
IDENTITIES = {"patient", "bed", "actor", "alert_id", "ward", "study", "action_id"}


def test_metric_names_are_unique_and_all_are_listed() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    declared = {value for value in vars(metrics).values() if isinstance(value, Metric)}
    assert declared == set(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_ours_has_its_unit_and_names_nobody(metric: Metric) -> None:
    assert re.fullmatch(r"ward_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.meaning
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    # a moment is a gauge in seconds since 1970, called as everybody calls it; every other time is a distribution
    moment = metric.name.endswith("_timestamp_seconds")
    assert (metric.kind == "histogram") == (metric.name.endswith("_seconds") and not moment)
    assert metric.kind == "gauge" or not moment
    assert not IDENTITIES & set(metric.labels)


@pytest.mark.parametrize("path", sorted(p for root in ROOTS for p in (CHECKOUT / root).rglob("*.py")), ids=str)
def test_no_module_is_called_after_nothing(path: Path) -> None:
    assert not re.search(r"util|helper|manager|common|misc|stuff", path.stem)


def test_every_vital_has_its_codes_units_and_range() -> None:
    assert set(VITALS) == set(Vital)
    assert set(PLAUSIBLE) == set(Vital) - {Vital.CONSCIOUSNESS}
    for code in VITALS.values():
        assert UNIT_ALIASES.get(code.ucum) == code.ucum
        assert re.fullmatch(r"\d{4,5}-\d", code.loinc)
        assert _luhn(code.loinc), f"{code.loinc} has a wrong check digit"


def test_no_code_stands_for_two_vitals() -> None:
    assert len({code.loinc for code in VITALS.values()}) == len(VITALS)
    mdc = [number for code in VITALS.values() for number in code.mdc]
    assert len(set(mdc)) == len(mdc)


def test_a_unit_alias_means_a_unit_that_some_vital_has() -> None:
    assert set(UNIT_ALIASES.values()) == {code.ucum for code in VITALS.values()}


def test_tests_are_sentences() -> None:
    for path in (CHECKOUT / "tests").rglob("test_*.py"):
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert name.count("_") >= 3, f"{path.name}: {name} is no sentence"


def _luhn(loinc: str) -> bool:
    """LOINC's mod 10 check digit."""
    number, check = loinc.split("-")
    digits = [int(d) for d in number[::-1]]
    total = sum(sum(divmod(2 * d, 10)) if n % 2 == 0 else d for n, d in enumerate(digits))
    return (10 - total % 10) % 10 == int(check)
