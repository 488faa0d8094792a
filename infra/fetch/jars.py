"""Jars by exact coordinate and sha256, as the lock file names them; jgo is the Maven client."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.errors import Misconfigured, Transient

LOCK: Final = Path(__file__).parent.parent / "jars.lock.toml"
AT_ONCE: Final = 8
ATTEMPTS: Final = 3

Tick = Callable[[str], None]
"""Called with the name of each file that arrives."""


@dataclass(frozen=True)
class Jar:
    """One locked file: ``group:artifact:version`` with an optional ``:classifier``, and its sha256."""

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name it has in a Maven repository."""
        _group, *rest = self.coordinate.split(":")
        return "-".join(rest) + ".jar"


def locked(jar_set: str, lock: Path = LOCK) -> tuple[Jar, ...]:
    """The jars of one set. Raises Misconfigured when the lock has no such set."""
    sets = tomllib.loads(lock.read_text())["sets"]
    if jar_set not in sets:
        raise Misconfigured(f"{lock.name} has no set {jar_set!r}; it has {', '.join(sorted(sets))}")
    return tuple(Jar(coordinate, digest) for coordinate, digest in sets[jar_set].items())


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_complete(cache: Path, jar_set: str) -> bool:
    """Whether every jar of the set was fetched and checked; reads no jar."""
    mark = cache / "jars" / jar_set / ".checked"
    return mark.exists() and mark.read_text() == _fingerprint(locked(jar_set))


def damaged(cache: Path, jar_set: str) -> Iterator[Path]:
    """The files of a set that are missing or do not have their locked sha256; reads every byte."""
    folder = cache / "jars" / jar_set
    for jar in locked(jar_set):
        path = folder / jar.file_name
        if not path.exists() or sha256_of(path) != jar.sha256:
            yield path


def fetch(cache: Path, jar_set: str, tick: Tick) -> None:
    """Bring the folder of a set to exactly what the lock says; what is there and right is kept.

    Raises Transient when the registry does not answer, Misconfigured when a file is not the locked one.
    """
    jars, folder = locked(jar_set), cache / "jars" / jar_set
    folder.mkdir(parents=True, exist_ok=True)
    for stray in set(folder.glob("*.jar")) - {folder / jar.file_name for jar in jars}:
        stray.unlink()
    incoming = cache / "jars" / f".incoming-{jar_set}-{os.getpid()}"
    try:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix=jar_set) as pool:
            for _ in pool.map(lambda jar: _fetch_one(jar, folder, incoming, tick), jars):
                pass
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    (folder / ".checked").write_text(_fingerprint(jars))


def download(coordinate: str, repository: Path) -> Path:
    """Fetch one coordinate into a Maven repository folder. Raises Transient after three attempts."""
    import requests
    from jgo.maven import MavenContext

    group, artifact, version, *classifier = coordinate.split(":")
    context = MavenContext(repo_cache=repository, local_repos=[], timeout=60)
    wanted = context.project(group, artifact).at_version(version).artifact(classifier[0] if classifier else "", "jar")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Path(wanted.resolve())
        except (requests.RequestException, RuntimeError, OSError) as failure:
            Path(wanted.cached_path).unlink(missing_ok=True)
            if attempt == ATTEMPTS:
                raise Transient(
                    f"cannot fetch {coordinate}: {failure}. Check the network (proxies and certificates come from "
                    "the usual environment variables) and run `./ward fetch` again; what has arrived is kept"
                ) from failure
    raise AssertionError("unreachable")


def trust_the_machine() -> None:
    """Let downloads trust the machine's certificates, unless the environment already names a bundle."""
    bundle = ssl.get_default_verify_paths().cafile
    if bundle and Path(bundle).exists():
        os.environ.setdefault("REQUESTS_CA_BUNDLE", bundle)


def _fetch_one(jar: Jar, folder: Path, incoming: Path, tick: Tick) -> None:
    goal = folder / jar.file_name
    if not (goal.exists() and sha256_of(goal) == jar.sha256):
        arrived = download(jar.coordinate, incoming)
        found = sha256_of(arrived)
        if found != jar.sha256:
            raise Misconfigured(
                f"{jar.coordinate} arrived with sha256 {found}, the lock says {jar.sha256}: "
                "a mirror serves another file; nothing of it was kept"
            )
        os.replace(arrived, goal)
    tick(jar.file_name)


def _fingerprint(jars: Sequence[Jar]) -> str:
    return hashlib.sha256("\n".join(f"{jar.coordinate} {jar.sha256}" for jar in jars).encode()).hexdigest()
