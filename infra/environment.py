"""Makes the locked environment: called by ./ward with a bare Python, so it uses the standard library only.

``python infra/environment.py ROOT CACHE VENV [GROUP...]``; a group is one of pyproject's dependency groups or extras.
Two at once wait for each other; one killed half-way is repaired by the next. Exit codes as everywhere: 2 when this
Python cannot do it, 4 when the index does not answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

EXTRAS = frozenset({"images", "lake", "plots", "training"})
"""Groups that pyproject offers as extras, so that a wheel's user can have them too."""
UNREACHABLE = 4
MISCONFIGURED = 2


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock file; a second process waits and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ward is making the environment; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(line: str) -> None:
    """Chatter goes to stderr."""
    print(f"ward: {line}", file=sys.stderr, flush=True)


def install_uv(pins: Path, cache: Path) -> Path:
    """The pinned uv, installed by pip with its hashes into a small environment of its own."""
    folder = cache / f"uv-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    program = folder / "bin" / "uv"
    if program.exists() and (folder / ".ready").exists():
        return program
    say("fetching uv, the installer")
    shutil.rmtree(folder, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)  # noqa: S603
    if made.returncode != 0:
        say(f"this Python cannot make an environment: {(made.stderr or made.stdout).strip()}")
        say("install its venv module, for example: apt-get install python3-venv")
        raise SystemExit(MISCONFIGURED)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    got = subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(pins)])  # noqa: S603
    if got.returncode != 0:
        say("cannot fetch uv from the package index; check the network (pip's settings are honoured), try again")
        raise SystemExit(UNREACHABLE)
    (folder / ".ready").touch()
    return program


def sync(root: Path, cache: Path, venv: Path, groups: list[str]) -> None:
    """Bring the environment to the lock, with the named dependency groups; marks what is complete."""
    uv = install_uv(root / "infra" / "fetch" / "pins" / "uv.txt", cache)
    say(f"making the environment{f' for {chr(32).join(groups)}' if groups else ''} in {venv}")
    environ = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT")}
    environ |= {"UV_PROJECT_ENVIRONMENT": str(venv), "UV_SYSTEM_CERTS": "1"}
    command = [
        str(uv),
        "sync",
        "--project",
        str(root),
        "--frozen",
        "--no-install-project",
        "--inexact",
        "--extra",
        "data",
    ]
    command += ["--python", sys.executable]
    command += [word for group in groups for word in ("--extra" if group in EXTRAS else "--group", group)]
    if subprocess.run(command, env=environ, cwd=root).returncode != 0:  # noqa: S603
        say("cannot fetch the locked packages; check the network, then run the same command again")
        raise SystemExit(UNREACHABLE)
    if (venv / "uv").resolve() != uv.resolve():
        (venv / "uv").unlink(missing_ok=True)
        (venv / "uv").symlink_to(uv)
    for group in ("core", *groups):
        (venv / f".ready-{group}").touch()


def main() -> None:
    """Make what is missing."""
    root, cache, venv, *groups = sys.argv[1:]
    with only_one(Path(cache) / ".environment.lock"):
        if not all((Path(venv) / f".ready-{group}").exists() for group in ("core", *groups)):
            sync(Path(root), Path(cache), Path(venv), groups)


if __name__ == "__main__":
    main()
