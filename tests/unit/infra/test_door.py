"""The door: each command gets the packages it needs, before it starts and no others; nothing is made twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.site import CHECKOUT

MAKER = """
import pathlib, sys
root, cache, venv, *groups = sys.argv[1:]
folder = pathlib.Path(venv)
(folder / "bin").mkdir(parents=True, exist_ok=True)
program = folder / "bin" / "python"
program.write_text('#!/bin/sh\\necho "ran: $*"\\n')
program.chmod(0o755)
for group in ("core", *groups):
    (folder / f".ready-{group}").touch()
print("made:", *groups)
"""


@pytest.fixture
def door(tmp_path: Path) -> Path:
    """The door of another checkout, whose maker of environments only says what it was asked for."""
    root = tmp_path / "checkout"
    (root / "infra").mkdir(parents=True)
    shutil.copy(CHECKOUT / "ward", root / "ward")
    (root / "uv.lock").write_text("a lock")
    (root / "infra" / "environment.py").write_text(MAKER)
    return root / "ward"


def knock(door: Path, *words: str) -> list[str]:
    environ = {"PATH": os.environ["PATH"], "WARD_CACHE_DIR": str(door.parent.parent / "cache")}
    done = subprocess.run([str(door), *words], env=environ, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        ("demo", ""),
        ("up", ""),
        ("check", "dev"),
        ("test unit", "dev training lake images"),
        ("bench lake", "dev training lake images bench"),
        ("lake verify", "lake"),
        ("lake", "lake"),
        ("cohort freeze", "lake"),
        ("plot P1", "plots"),
        ("image route", "images"),
        ("image submit", ""),
        ("risk knee", ""),
        ("model train", "training images"),
        ("model retrain", "training images lake"),
        ("model list", ""),
    ],
)
def test_a_command_gets_the_packages_it_needs_and_no_others(door: Path, words: str, groups: str) -> None:
    made, ran = knock(door, *words.split())
    assert made.removeprefix("made:").split() == groups.split()
    assert ran == f"ran: -P -m infra.cli {words}"


def test_what_is_there_is_not_made_again_and_what_is_not_is_added(door: Path) -> None:
    assert len(knock(door, "demo")) == 2
    assert knock(door, "status") == ["ran: -P -m infra.cli status"]
    assert knock(door, "lake", "tables")[0] == "made: lake"
    assert knock(door, "cohort", "list") == ["ran: -P -m infra.cli cohort list"]


def test_a_door_reached_by_a_link_is_the_same_door(door: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere"
    link.symlink_to(door)
    assert knock(door, "demo")[0] == "made:"
    environ = {"PATH": os.environ["PATH"], "WARD_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([str(link), "status"], env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["ran: -P -m infra.cli status"]
