"""What ``ward image route`` says of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.errors import Poison
from streams.image_cli import app
from tests.unit.models.imaging import made


def routed(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["route", *arguments], catch_exceptions=True)
    if isinstance(found.exception, Poison):
        raise found.exception
    return found.exit_code, found.stdout


def test_a_file_is_routed_by_its_header_and_nothing_of_the_patient_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(made.dicom())
    code, said = routed(str(path), "--json")
    told = json.loads(said)
    assert code == 0
    assert (told["rule"], told["models"], told["refusal"]) == ("knee by X-ray", ["knee_osteoporosis"], None)
    assert told["passed"][0] == {"rule": "brain by MR", "misfit": "modality is DX, not MR"}
    assert not [value for value in made.IDENTITY.values() if "lanted" in value and value in said]
    code, said = routed(str(path))
    assert "knee_osteoporosis" in said
    assert "knee from the side: view is AP" in said


def test_options_stand_in_for_the_header_and_another_file_for_the_rules(tmp_path: Path) -> None:
    path, rules = tmp_path / "x.dcm", tmp_path / "rules.toml"
    path.write_bytes(made.dicom())
    assert "not_read" in routed(str(path), "--age", "9")[1]
    rules.write_text('version = 1\nname = "mine"\n[[rule]]\nname = "all"\nmodels = ["bone_age"]\n')
    assert json.loads(routed(str(path), "--rules", str(rules), "--json")[1])["models"] == ["bone_age"]


def test_what_is_not_there_is_3_and_what_is_no_image_is_bad_input(tmp_path: Path) -> None:
    assert routed(str(tmp_path / "none.dcm"))[0] == 3
    (tmp_path / "text").write_text("no image")
    with pytest.raises(Poison, match="not_an_image"):
        routed(str(tmp_path / "text"))
