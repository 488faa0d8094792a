"""ward image submit: what is wrong with the call is told before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.errors import Misconfigured, Transient
from infra.site import free_ports
from producers.image_cli import app


def run(*arguments: str, **environ: str) -> tuple[int, str, BaseException | None]:
    found = CliRunner().invoke(app, ["submit", *arguments], env={"WARD_INTAKE": "http://127.0.0.1:1", **environ})
    return found.exit_code, found.output, found.exception


def test_a_path_that_is_not_there_is_not_found_and_nothing_is_sent(tmp_path: Path) -> None:
    there = tmp_path / "a.dcm"
    there.write_bytes(b"x")
    code, said, _ = run(str(there), str(tmp_path / "b.dcm"))
    assert (code, "b.dcm is not there" in said) == (3, True)


def test_a_folder_without_a_file_is_not_found(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_bytes(b"x")
    assert run(str(tmp_path))[0] == 3


@pytest.mark.parametrize("said", [("--modality", "XX"), ("--body-part", "NOSEBAG"), ("--age", "old")])
def test_a_wrong_word_names_its_option(tmp_path: Path, said: tuple[str, str]) -> None:
    error = run(str(tmp_path), *said)[2]
    assert isinstance(error, Misconfigured)
    assert said[0] in str(error)


def test_a_gateway_that_is_away_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"x")
    port = free_ports(["intake"])["intake"]
    error = run(str(tmp_path), WARD_INTAKE=f"http://127.0.0.1:{port}")[2]
    assert isinstance(error, Transient)
    assert "./ward up gateway" in str(error)
