"""``ward risk``: answers from JSON, CSV and standard input; what is wrong by name, with the right exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from contracts.errors import Poison
from models.risk import asked_files
from models.risk.cli import app

WOMAN = '{"patient_id": "p1", "sex": "female", "age": 61, "family_history": true}'


def ward(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=typed)


def test_one_patient_is_told_in_lines(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(WOMAN)
    result = ward("knee", "--input", str(tmp_path / "p.json"))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("p1: ")
    assert "Osteoporosis in the family: yes" in result.stdout


def test_patients_of_a_csv_are_told_row_by_row_and_the_wrong_ones_named(tmp_path: Path) -> None:
    (tmp_path / "ward.csv").write_text(
        "\ufeffpatient_id,sex,age,smoker,diagnosis\na,male,70,no,normal\nb,mail,70,no,\n"
    )
    result = ward("knee", "--input", str(tmp_path / "ward.csv"), "--json")
    assert result.exit_code == 5
    first, second = json.loads(result.stdout)["patients"]
    assert first["patient"] == "a"
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert [problem["field"] for problem in second["problems"]] == ["sex"]


def test_standard_input_is_read_and_a_list_too() -> None:
    result = ward("knee", "--input", "-", "--json", typed=f"[{WOMAN}, {WOMAN}]")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["patients"]) == 2


def test_a_file_or_a_version_that_is_not_there_is_exit_code_3(tmp_path: Path) -> None:
    assert ward("knee", "--input", str(tmp_path / "none.json")).exit_code == 3
    assert ward("knee", "--input", "-", "--model", "0" * 12, typed=WOMAN).exit_code == 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"sex,age\n",
        b"[1]",
        b'{"sex"',
        b"\xff\xfe\x00",
        b"sex,age\nmale\n",
        b"sex,age\nmale,1,2\n",
        b"[" * 99999,
    ],
)
def test_what_holds_no_patients_is_poison(content: bytes) -> None:
    with pytest.raises(Poison):
        asked_files.read(content)


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(Poison, match="too_large"):
        asked_files.read(b" " * (asked_files.MAX_BYTES + 1))


def test_the_fields_are_listed() -> None:
    result = ward("fields", "--json")
    assert len(json.loads(result.stdout)["fields"]) == 21
    assert "counts for nothing: it is the knee in all data" in ward("fields").stdout
