"""A card says what manifest and evaluations say, and the gate lets nothing worse through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import Misconfigured, Poison
from models.registry import Bundle, Dataset, Interval, NotThere, Registry
from models.training import cards, evaluation, gate, recipes, shelf, terminal
from models.training.evaluation import Evaluation, Table, defined, direction

FIELDS: dict[str, Any] = {
    "made": "2026-11-21",
    "code": "wardstream 0.1.0",
    "seed": 7,
    "data": [
        Dataset(name="eicu_hourly.parquet", licence="ODbL 1.0", sha256="ab" * 32, rows=87463),
        Dataset(name="simulated hospital", licence="Apache-2.0", sha256="cd" * 32, rows=500, synthetic=True),
    ],
    "purpose": "Says how odd a bed's last hour is.",
    "limits": ["Not for neonates."],
}
METRICS = {
    "auroc_hypotension": Interval(0.81, 0.79, 0.83, 5000),
    "auroc_hypotension_news2": Interval(0.64, 0.62, 0.66, 5000),
    "mae_heart_rate_4h": Interval(7.123, 7.0, 7.25, 900),
    "coverage_heart_rate_4h": Interval(0.9, 0.88, 0.92, 900),
    "alarms_per_day": Interval(1.2, 1.1, 1.3, 40),
    "prevalence": Interval(0.05, 0.04, 0.06, 5000),
}


def bundle(**fields: Any) -> Bundle:
    return Bundle.of("vitals_anomaly", {"forest.onnx": b"weights"}, **(FIELDS | fields))


def judged(version: Bundle, split: str = "test", **metrics: Interval) -> Evaluation:
    return Evaluation(
        model=version.name,
        version=version.version,
        sha256=version.sha256,
        split=split,
        n=5000,
        metrics={**METRICS, **metrics},
        tables=(Table(title="By ward", columns=("ward", "alarms"), rows=(("W1", 3), ("W2", None))),),
        notes=("Two stays were left out.",),
    )


def test_a_card_tells_purpose_data_figures_limits_and_how_to_make_it_again() -> None:
    version = bundle()
    text = cards.card(version.manifest, version.sha256, {"test": judged(version)}, limits=("Adults only.",))
    for said in (
        cards.WARNING,
        "Says how odd a bed's last hour is.",
        "| eicu_hourly.parquet | ODbL 1.0 | 87,463 | real |",
        "**Synthetic: simulated hospital.**",
        "What it is worth on `test`",
        "| AUROC hypotension | 0.810 | 0.790 to 0.830 | 0.640 | 5,000 |",
        "| W2 | – |",
        "- Two stays were left out.",
        "- Not for neonates.",
        "- Adults only.",
        version.sha256,
        "`ward model train vitals_anomaly --data DIR --seed 7`",
        "seed 7",
    ):
        assert said in text


def test_a_card_without_figures_says_so() -> None:
    version = bundle(data=FIELDS["data"][:1], purpose="")
    text = cards.card(version.manifest, version.sha256, {}, does="how odd a bed is")
    assert "Not judged yet" in text
    assert "Nothing in it is synthetic." in text
    assert "How odd a bed is." in text


def test_figures_on_validation_are_said_to_flatter_and_come_last() -> None:
    version = bundle()
    known = {split: judged(version, split) for split in ("validation", "test")}
    text = cards.card(version.manifest, version.sha256, known)
    assert text.index("`test`") < text.index("`validation`") < text.index("these figures flatter")


def test_a_baseline_stands_beside_what_it_is_a_baseline_of() -> None:
    tables = {table.title: table for table in cards.figures(METRICS)}
    finds = tables["What it finds"]
    assert finds.columns == ("figure", "value", "95 % interval", "NEWS2", "cases")
    assert finds.rows == (("AUROC hypotension", "0.810", "0.790 to 0.830", "0.640", 5000),)
    assert {"Alarms", "Calibration", cards.OTHER} <= set(tables)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12345, "0.123"),
        (12.345, "12.3"),
        (2.0, "2"),
        (0.5, "0.5"),
        (12345.6, "12346"),
        (7, "7"),
        (5000, "5,000"),
        (None, "–"),
        ("x", "x"),
    ],
)
def test_a_number_is_shown_with_the_digits_it_is_worth(value: Any, shown: str) -> None:
    assert cards.number(value) == shown


def test_a_terminal_shows_the_same_figures_in_columns() -> None:
    lines = terminal.lines(judged(bundle()))
    assert any(line.split()[:3] == ["AUROC", "hypotension", "0.810"] for line in lines)
    assert lines[-1] == cards.WARNING


def test_an_evaluation_is_read_back_as_it_was_written() -> None:
    version = bundle()
    found = judged(version)
    document = found.document()
    assert document.keys() >= {"model", "sha256", "n", "split", "metrics"}
    assert document["metrics"]["auroc_hypotension"] == {"value": 0.81, "low": 0.79, "high": 0.83, "n": 5000}
    assert "plots" not in document
    assert evaluation.read(json.dumps(document), "here") == found


def test_an_evaluation_that_is_not_readable_is_named() -> None:
    with pytest.raises(Poison, match=r"bad_evaluation at m/v/evaluation-test\.json"):
        evaluation.read("{}", "m/v/evaluation-test.json")


def test_what_is_not_defined_is_left_out() -> None:
    assert defined({"auroc": None, "mae": METRICS["mae_heart_rate_4h"]}).keys() == {"mae"}


@pytest.mark.parametrize(
    ("metric", "expected"), [("auroc_x", 1), ("skill_spo2_1h", 1), ("mae_map", -1), ("ece", -1), ("coverage_map", 0)]
)
def test_it_is_known_which_way_a_figure_is_better(metric: str, expected: int) -> None:
    assert direction(metric) == expected


def test_a_version_inside_the_champions_interval_passes_and_one_beyond_does_not() -> None:
    champion, other = bundle(), bundle(seed=8)
    theirs = {"test": judged(champion)}
    within = gate.compare({"test": judged(other, auroc_hypotension=Interval(0.80, 0.78, 0.82, 5000))}, theirs)
    assert within.passed
    assert within.compared == 2, "coverage, alarms and prevalence have no better side; NEWS2 is not the candidate's"
    beyond = gate.compare({"test": judged(other, auroc_hypotension=Interval(0.78, 0.76, 0.80, 5000))}, theirs)
    assert [each.metric for each in beyond.worse] == ["auroc_hypotension"]
    assert not beyond.passed
    larger = gate.compare({"test": judged(other, mae_heart_rate_4h=Interval(7.3, 7.1, 7.5, 900))}, theirs)
    assert str(larger.worse[0]) == "mae_heart_rate_4h: 7.3, the champion has 7.123 [7, 7.25]"


def test_what_was_not_judged_on_the_same_split_does_not_pass() -> None:
    champion, other = bundle(), bundle(seed=8)
    verdict = gate.compare({"validation": judged(other, "validation")}, {"test": judged(champion)})
    assert verdict.split is None
    assert not verdict.passed


def test_figures_of_the_manifest_count_until_an_evaluation_is_kept(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "own", tmp_path / "none")
    metrics = {"validation": {"auroc": Interval(0.7, 0.6, 0.8, 50)}}
    version = registry.add("vitals_anomaly", {"forest.onnx": b"weights"}, **FIELDS, metrics=metrics)
    loaded = registry.load("vitals_anomaly", version)
    assert gate.evaluations(registry, loaded)["validation"].metrics == metrics["validation"]
    shelf.keep(registry, loaded, judged(loaded, "validation"))
    assert gate.evaluations(registry, loaded)["validation"].metrics == METRICS


def test_an_evaluation_of_another_version_is_left_out(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "own", tmp_path / "none")
    version = registry.load("vitals_anomaly", registry.add("vitals_anomaly", {"forest.onnx": b"weights"}, **FIELDS))
    shelf.keep(registry, version, judged(bundle(seed=9)))
    assert gate.evaluations(registry, version) == {}
    assert "Not judged yet" in shelf.card_of(registry, version)


def test_a_split_that_names_nobody_is_refused_with_those_there_are() -> None:
    with pytest.raises(Misconfigured, match="no stay of split test in the data; there are none"):
        recipes.chosen([], "test")


def test_a_model_without_a_recipe_is_not_found() -> None:
    with pytest.raises(NotThere, match="vitals_forecast"):
        recipes.recipe("crystal_ball")


def test_a_missing_training_library_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes.need_training()
    monkeypatch.setattr(recipes, "EXTRA", ("sklearn", "a_library_that_is_not_there"))
    with pytest.raises(Misconfigured, match=r"a_library_that_is_not_there .* pip install 'wardstream\[training\]'"):
        recipes.need_training()
