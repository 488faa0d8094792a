"""check and test: what a change must pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final

import typer

from contracts.errors import Misconfigured
from infra.commands.output import AsJson, print_json, say
from infra.fetch.wheels import uv
from infra.site import CHECKOUT

SUITES: Final = ("unit", "contract", "integration", "e2e")
TOOLS: Final[Mapping[str, tuple[str, str]]] = {
    "chromium": ("chromium", "the feed's tests in a real browser"),
    "kcat": ("kcat", "reading the topics with a stranger's client"),
    "storescu": ("dcmtk", "sending images with a stranger's scanner"),
}
"""Program -> Debian's package, what it is for."""
BIN: Final = Path(sys.executable).parent

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def checks() -> dict[str, list[str]]:
    """The checks, by name: the same tools that a commit hook may call."""
    return {
        "lint": [str(BIN / "ruff"), "check", "."],
        "format": [str(BIN / "ruff"), "format", "--check", "."],
        "types": [str(BIN / "mypy"), "--strict"],
        "layers": [str(BIN / "lint-imports"), "--no-logo"],
        "lock": [uv(), "lock", "--check", "--quiet", "--offline", "--system-certs"],
    }


@app.command(epilog="Examples: ward check · ward check lint types")
def check(names: Annotated[list[str] | None, typer.Argument()] = None, as_json: AsJson = False) -> None:
    """Lint, format, types, layers and lock; side by side, in seconds."""
    table = checks()
    if unknown := set(names or ()) - table.keys():
        raise Misconfigured(f"no check {', '.join(sorted(unknown))}; there are {', '.join(table)}")
    chosen = {name: command for name, command in table.items() if not names or name in names}
    with ThreadPoolExecutor(2) as pool:
        results = dict(zip(chosen, pool.map(_run, chosen.values()), strict=True))
    for name, (code, seconds, output) in results.items():
        if not as_json:
            print(f"{'ok  ' if code == 0 else 'FAIL'} {name} ({seconds:.1f} s)")
            if code:
                print(output)
    if as_json:
        print_json(
            {n: {"ok": c == 0, "seconds": round(s, 1), "output": o if c else ""} for n, (c, s, o) in results.items()}
        )
    if any(code for code, _, _ in results.values()):
        raise typer.Exit(1)


def _run(command: Sequence[str]) -> tuple[int, float, str]:
    began = time.monotonic()
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)  # noqa: S603
    if command[1:3] == ["lock", "--check"] and done.returncode and "--offline" in command:
        return _run([word for word in command if word != "--offline"])  # uv's cache is cold here: ask the index
    return done.returncode, time.monotonic() - began, (done.stdout + done.stderr).strip()


@app.command(
    "test",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Examples: ward test · ward test unit contract · ward test unit -k news2 · ward test -x --lf",
)
def run_tests(context: typer.Context, as_json: AsJson = False) -> None:
    """Run the tests: unit, contract, integration, e2e or all (the default). Other words go to pytest."""
    words = list(context.args)
    suites = [word for word in words if word in (*SUITES, "all")]
    rest = [word for word in words if word not in suites]
    wanted = list(SUITES) if not suites or "all" in suites else suites
    paths = [str(CHECKOUT / "tests" / suite) for suite in wanted]
    paths = [path for path in paths if Path(path).is_dir() and any(Path(path).rglob("test_*.py"))]
    if not paths and not rest:
        say(f"there are no tests in {', '.join(wanted)}")
        raise typer.Exit(5)
    _name_missing_tools(wanted)
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", *rest, *paths]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, cwd=CHECKOUT, env=environ, check=False, stdout=sys.stderr if as_json else None)  # noqa: S603
    if as_json:
        print_json({"suites": wanted, "exit_code": done.returncode, "seconds": round(time.monotonic() - began, 1)})
    raise typer.Exit(done.returncode)


def _name_missing_tools(suites: Sequence[str]) -> None:
    if not {"integration", "e2e"} & set(suites):
        return
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    for tool in absent:
        package, purpose = TOOLS[tool]
        say(f"no {tool} on PATH: it is for {purpose} (apt-get install {package})")
    if absent and os.environ.get("CI") == "true":
        raise Misconfigured(f"CI needs {', '.join(absent)}: a skipped test there would look like a passed one")
