"""``ward lake``: a table of commands of many owners; one that is not there breaks none of the others."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
import typer

from batch.cli import COMMANDS, Command, loaded
from contracts.errors import Misconfigured

HELP = "import typer; from batch.cli import app; typer.main.get_command(app)(args=['--help'], prog_name='ward lake')"


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    loud = (
        f"import sys\ntry:\n    {HELP}\nexcept SystemExit: pass\n"
        "print('IMPORTED', sorted(n for n in sys.modules if n.startswith(('batch.', 'pyarrow', 'pyspark', 'pandas'))))"
    )
    shown = subprocess.run([sys.executable, "-c", loud], capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert shown.splitlines()[-1] == "IMPORTED ['batch.cli']"


def test_a_command_that_is_not_installed_is_told_in_one_line() -> None:
    with pytest.raises(Misconfigured, match="ward lake nothing: it is not part of this installation"):
        loaded("nothing", Command("batch.no_such_module:nothing", "nothing"))


def test_a_command_is_a_function_or_one_of_an_app(monkeypatch: pytest.MonkeyPatch) -> None:
    home = types.ModuleType("batch.made_up")
    app = typer.Typer()

    @app.command("first")
    def first() -> None:
        """One of two."""

    @app.command("second")
    def second() -> None:
        """The other one."""

    home.app = app  # type: ignore[attr-defined]  # a module made here
    home.alone = second  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "batch.made_up", home)
    assert loaded("second", Command("batch.made_up:app", "")).name == "second"
    assert loaded("first", Command("batch.made_up:first", "")).name == "first", "an app stands in for the function"
    assert loaded("alone", Command("batch.made_up:alone", "")).name == "alone"
