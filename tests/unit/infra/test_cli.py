"""The front page and the way errors leave: examples first, quick, with the promised exit codes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.errors import Misconfigured
from infra import cli
from infra.commands.demo import seconds
from infra.site import CHECKOUT


def ward(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "infra.cli", *words],
        env=kept | {"PYTHONPATH": str(CHECKOUT)} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_shows_examples_first_and_imports_nothing_heavy() -> None:
    done = ward("--help")
    assert done.returncode == 0
    assert done.stdout.index("ward demo") < done.stdout.index("Start:")
    code = (
        "import sys; from infra.cli import main; main(['--help']);"
        "print([m for m in ('typer', 'rich', 'kafka', 'faust', 'numpy', 'psutil') if m in sys.modules])"
    )
    listed = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert listed.stdout.splitlines()[-1] == "[]"


def test_a_mistyped_command_is_a_usage_error_with_the_nearest_one() -> None:
    done = ward("dotcor")
    assert done.returncode == 2
    assert "did you mean doctor?" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", [n for n, c in cli.ALL.items() if c.where.startswith("infra.commands")])
def test_every_command_of_infra_has_help_with_json_and_examples(name: str) -> None:
    done = ward(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout
    assert f"Examples: ward {name}" in done.stdout


@pytest.mark.parametrize("words", cli.SAID_ALSO, ids=" ".join)
def test_two_words_that_people_try_first_reach_the_command_they_mean(
    words: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(cli, "run", lambda name, arguments: reached.append((name, list(arguments))))
    cli.main([*words, "--json"])
    ((name, arguments),) = reached
    meant = cli.SAID_ALSO[words]
    assert name == meant[0]
    assert name in cli.ALL
    assert [Path(word).name for word in arguments] == [*(Path(word).name for word in meant[1:]), "--json"]
    assert all(Path(word).exists() for word in arguments if "/" in word)


@pytest.mark.parametrize("command", cli.ALL.values(), ids=list(cli.ALL))
def test_every_command_names_a_module_that_exists(command: cli.Command) -> None:
    assert importlib.util.find_spec(command.where.split(":")[0]) is not None


def test_an_unknown_process_and_a_bad_duration_are_usage_errors(tmp_path: Path) -> None:
    assert ward("up", "nobody", WARD_STATE_DIR=str(tmp_path)).returncode == 2
    assert ward("demo", "--for", "soon", WARD_STATE_DIR=str(tmp_path)).returncode == 2


def test_status_of_what_never_ran_is_stopped_and_makes_nothing(tmp_path: Path) -> None:
    done = ward("status", "--json", WARD_STATE_DIR=str(tmp_path / "state"))
    assert done.returncode == 0
    assert {row["state"] for row in json.loads(done.stdout)["processes"].values()} == {"stopped"}
    assert not (tmp_path / "state").exists()


def test_logs_of_what_never_ran_are_not_found(tmp_path: Path) -> None:
    assert ward("logs", "kafka", WARD_STATE_DIR=str(tmp_path)).returncode == 3


def test_down_of_nothing_is_fine(tmp_path: Path) -> None:
    done = ward("down", "--json", WARD_STATE_DIR=str(tmp_path))
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"stopped": []}


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("2m", 120), ("1h", 3600), ("1.5", 1.5)])
def test_a_duration_is_read_in_seconds_minutes_or_hours(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "0", "-5s", "5 days"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="90s, 2m or 1h"):
        seconds(text)


def test_the_front_page_is_quick() -> None:
    quickest = min(_timed() for _ in range(3))
    assert quickest < 0.4, f"{quickest:.2f} s"


def _timed() -> float:
    began = time.perf_counter()
    ward("--help")
    return time.perf_counter() - began
