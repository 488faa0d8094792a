"""Files that travel inside Python wheels: the uPlot chart library and, where a machine has none, the Go compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from contracts.errors import Misconfigured, Transient
from infra.fetch.jars import Tick, sha256_of

PINS: Final = Path(__file__).parent / "pins"
WEB_FILES: Final = {
    "uPlot.iife.min.js": (
        "youplot/vendor/uplot.iife.min.js",
        "2d27e8ad3d228164525ce213f9dc716f39b4e3aee0cc773fb3491c96cf4921a2",
    ),
    "uPlot.min.css": (
        "youplot/vendor/uplot.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    ),
}
"""Served name -> (path in the wheel, sha256). The digests are those of uPlot 1.6.31 as its authors publish it."""


def uv() -> str:
    """The uv program: the one that made this environment, else the one on PATH. Raises Misconfigured without one."""
    beside = Path(sys.prefix) / "uv"
    for candidate in (os.environ.get("UV"), str(beside), shutil.which("uv")):
        if candidate and Path(candidate).exists():
            return candidate
    raise Misconfigured("uv is not to be found: start through ./ward, or `pip install uv`")


def unpack(pins: str, target: Path) -> None:
    """Install the hash-pinned wheels of ``pins`` into a plain folder. Raises Transient when that fails."""
    flags = ["--quiet", "--system-certs", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    where = ["--python", sys.executable, "--target", str(target), "-r", str(PINS / pins)]
    done = subprocess.run([uv(), "pip", "install", *flags, *where], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise Transient(f"cannot fetch {pins}: {done.stderr.strip()[-600:]}; check the network, then `./ward fetch`")


def damaged_web(cache: Path) -> list[Path]:
    """The page's third-party files that are missing or changed."""
    files = ((cache / "web" / name, digest) for name, (_, digest) in WEB_FILES.items())
    return [path for path, digest in files if not path.exists() or sha256_of(path) != digest]


def fetch_web(cache: Path, tick: Tick) -> None:
    """Put uPlot into ``cache/web``, checked against its pinned sha256."""
    folder = cache / "web"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-web-", dir=cache) as scratch:
        unpack("web.txt", Path(scratch))
        for name, (inside, digest) in WEB_FILES.items():
            arrived = Path(scratch) / inside
            if not arrived.exists() or sha256_of(arrived) != digest:
                raise Misconfigured(f"{inside} is not the pinned file; nothing of it was kept")
            os.replace(arrived, folder / name)
            tick(name)
