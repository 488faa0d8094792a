"""Which code made something: the version of the package, and a hash of the sources that decided it."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "wardstream"


@functools.cache
def code_of(*roots: str) -> str:
    """Like ``0.1.0+3f9c2b71d04e``: the same for the same sources, in a checkout and from a wheel.

    The hash is over name and content of every module below these folders of the project.
    """
    top = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(source for root in roots for source in (top / root).rglob("*.py")):
        digest.update(f"{path.relative_to(top).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{_release(top)}+{digest.hexdigest()[:12]}"


def _release(top: Path) -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:  # a checkout that nobody installed: `./ward` runs it in place
        return str(tomllib.loads((top / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
