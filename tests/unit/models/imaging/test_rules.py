"""Which models read an image, and that a wrong file of rules is named to the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from models.imaging.rules import Subject, load_rules, parse_rules

RULES = load_rules()
GOOD = b'version = 1\nname = "t"\n\n[[rule]]\nname = "a"\nmodality = ["MR"]\nmodels = ["brain_tumour"]\n'


@pytest.mark.parametrize(
    ("subject", "models", "refusal"),
    [
        (Subject("MR", "BRAIN"), ("brain_tumour",), None),
        (Subject("MR", "HEAD", "axial"), ("brain_tumour",), None),
        (Subject("MR"), ("brain_tumour",), None),
        (Subject("MR", "KNEE"), (), "no_rule"),
        (Subject("DX", "KNEE", "AP", "L", "F", 71.0), ("knee_osteoporosis",), None),
        (Subject("CR", "knee"), ("knee_osteoporosis",), None),
        (Subject("DX", "KNEE", "LAT"), (), "not_read"),
        (Subject("DX", "KNEE", "AP", None, None, 12.0), (), "not_read"),
        (Subject("CR", "HAND", "PA", "L", "M", 9.5), ("bone_age",), None),
        (Subject("CR", "WRIST"), ("bone_age",), None),
        (Subject("CR", "HAND", "PA", None, None, 20.0), (), "not_read"),
        (Subject("CR", "HAND", "PA", None, None, 19.99), ("bone_age",), None),
        (Subject("DX"), ("knee_osteoporosis", "bone_age"), None),
        (Subject("OT"), ("brain_tumour", "knee_osteoporosis", "bone_age"), None),
        (Subject("unknown", "HAND"), ("bone_age",), None),
        (Subject("CT", "BRAIN"), (), "no_rule"),
        (Subject("US"), (), "no_rule"),
    ],
)
def test_the_shipped_rules(subject: Subject, models: tuple[str, ...], refusal: str | None) -> None:
    decision = RULES.decide(subject)
    assert (decision.models, decision.refusal) == (models, refusal)
    assert (decision.detail is not None) == (refusal is not None)
    assert (decision.rule is None) == (refusal == "no_rule")


def test_a_decision_says_what_did_not_fit_before() -> None:
    decision = RULES.decide(Subject("DX", "KNEE", "AP", None, None, 70.0))
    assert decision.rule == "knee by X-ray"
    assert dict(decision.passed)["brain by MR"] == "modality is DX, not MR"
    assert dict(decision.passed)["knee of a child"] == "the age is 70, not below 18"


def test_equal_rules_have_an_equal_hash() -> None:
    assert parse_rules(GOOD).hash == parse_rules(b"# said otherwise\n" + GOOD).hash
    assert parse_rules(GOOD).hash != parse_rules(GOOD.replace(b"MR", b"CT")).hash


@pytest.mark.parametrize(
    ("more", "line", "says"),
    [
        (b'[[rule]]\nname = "b"\n', 9, "either models or none"),
        (b'[[rule]]\nname = "b"\nmodels = ["x"]\nnone = "y"\n', 9, "either models or none"),
        (b'[[rule]]\nname = "a"\nmodels = ["x"]\n', 9, "name: every rule has one of its own"),
        (b'[[rule]]\nname = "b"\nmodels = ["X!"]\n', 9, "names no model"),
        (b'[[rule]]\nname = "b"\nmodels = ["x", "x"]\n', 9, "stands twice"),
        (b'[[rule]]\nname = "b"\nmodels = ["x"]\nview = []\n', 9, "view: an empty list"),
        (
            b'[[rule]]\nname = "b"\nmodels = ["x"]\nage_from = 20.0\nage_below = 10.0\n',
            9,
            "age_from is below age_below",
        ),
        (b'[[rule]]\nname = "b"\nmodels = ["x"]\nage_below = 200.0\n', 9, "age_below: 200.0"),
        (b'[[rule]]\nname = "b"\nmodels = ["x"]\nurgency = 99\n', 9, "urgency: 99"),
        (b'[[rule]]\nname = "b"\nmodels = ["x"]\nmodalty = ["MR"]\n', 9, "modalty"),
        (b'[[rule]]\nname = "b"\nmodels = "x"\n', 9, "Expected `array`"),
    ],
)
def test_a_wrong_rule_is_named_by_line_and_field(tmp_path: Path, more: bytes, line: int, says: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(GOOD + b"\n" + more)
    with pytest.raises(Misconfigured) as wrong:
        load_rules(path)
    assert f"rules.toml, line {line}" in str(wrong.value)
    assert says in str(wrong.value)


def test_a_file_of_rules_that_is_not_there_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="WARD_IMAGE_RULES"):
        load_rules(tmp_path / "none.toml")
    with pytest.raises(Misconfigured, match="rules x"):
        parse_rules(b"[[", "x")
    with pytest.raises(Misconfigured, match="version 2"):
        parse_rules(GOOD.replace(b"1", b"2", 1))
