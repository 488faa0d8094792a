"""Spark and DICOM for Python, put into the environment that runs: large, so they come behind the wall."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Final

from contracts.errors import Misconfigured, Transient
from infra.fetch.polite import politely

CHECKOUT: Final = Path(__file__).resolve().parents[2]
LAKE: Final = "lake"
IMAGES: Final = "images"
CANNOT: Final = 2
"""What infra/environment.py exits with when trying again is no use."""


def is_here(extra: str) -> bool:
    """Whether this environment has all packages of an extra; in one that ./ward made, whether they came whole."""
    if made_by_the_door():
        return _mark(extra).exists()
    return not absent(extra)


def absent(extra: str) -> list[str]:
    """The packages of an extra that this environment does not have."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = [re.split(r"[\[<>=!~; ]", row, maxsplit=1)[0] for row in project["optional-dependencies"][extra]]
    return [name for name in wanted if not _has(name)]


def made_by_the_door() -> bool:
    """Whether ./ward made this environment, so that we may add to it."""
    return _mark("core").exists()


def install(cache: Path, tick: Callable[[str], None], extra: str) -> None:
    """Add an extra to this environment, as the lock has it; what is there stays as it is, also under running programs.

    Raises Transient when the package index does not answer, Misconfigured where the environment is not ours.
    """
    if not made_by_the_door():
        raise Misconfigured(
            f"this environment lacks {', '.join(absent(extra))}: `uv sync --inexact --extra {extra}`, or start through "
            "./ward, which does it"
        )
    maker = str(CHECKOUT / "infra" / "environment.py")
    command = politely([sys.executable, "-I", maker, str(CHECKOUT), str(cache), sys.prefix, extra])
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        kind = Misconfigured if done.returncode == CANNOT else Transient
        raise kind(f"cannot install the extra {extra!r}: {done.stderr.strip()[-600:]}")
    importlib.invalidate_caches()
    tick(extra)


def _mark(group: str) -> Path:
    return Path(sys.prefix) / f".ready-{group}"


def _has(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
