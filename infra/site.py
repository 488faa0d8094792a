"""Where one running topology lives: its cache, its state folder, its loopback ports and its secrets."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import secrets
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from contracts.errors import Misconfigured, Transient
from infra.fetch import java

CHECKOUT: Final = Path(__file__).resolve().parent.parent
LOOPBACK: Final = "127.0.0.1"
LEFT_OUT: Final = "left-out.json"
"""In the state folder: the processes that ``ward up --without`` left out."""
SCRAPED: Final = {
    "vitals": "vitals_metrics",
    "feed": "feed",
    "gateway": "intake",
    "imaging": "imaging_metrics",
    "image-worker": "image_worker_metrics",
    "image-return": "return_metrics",
    "lake": "lake_metrics",
}
"""Whose metrics the sink reads, and on which port; the sink tells its own."""
PORTS_FROM: Final = range(20_000, 32_000)
"""Below the range that outgoing connections take, so that a remembered port is seldom lost to a passer-by."""


def cache_dir(environ: Mapping[str, str]) -> Path:
    """The folder of everything fetched or built: WARD_CACHE_DIR, else the user's cache folder."""
    if chosen := environ.get("WARD_CACHE_DIR"):
        return Path(chosen).expanduser().resolve()
    base = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().resolve() / "wardstream"


def state_dir(environ: Mapping[str, str]) -> Path:
    """The folder of one running topology: WARD_STATE_DIR, else .ward in the checkout."""
    if chosen := environ.get("WARD_STATE_DIR"):
        return Path(chosen).expanduser().resolve()
    return CHECKOUT / ".ward"


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Replace ``path`` with ``text`` so that a reader sees the old or the new content, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    draft.replace(path)


@contextlib.contextmanager
def only_one(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; a second process waits, and says for what."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another ward is {doing}; waiting for it", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_ports(
    names: Iterable[str], avoid: Iterable[int] = (), prefer: Mapping[str, int] | None = None
) -> dict[str, int]:
    """A different free loopback port for each name, its preferred one where that is free."""
    taken, chosen = set(avoid), dict[str, int]()
    dice = random.SystemRandom()
    for name in names:
        wish = (prefer or {}).get(name)
        candidates = ([wish] if wish else []) + dice.sample(PORTS_FROM, 200)
        port = next((p for p in candidates if p not in taken and is_free(p)), None)
        if port is None:
            raise Transient(
                f"no free loopback port for {name} in {PORTS_FROM.start}-{PORTS_FROM.stop}; stop some servers"
            )
        taken.add(port)
        chosen[name] = port
    return chosen


@dataclass(frozen=True)
class Site:
    """The places and addresses of one topology; the same values on every start of it."""

    cache: Path
    state: Path
    ports: Mapping[str, int]
    java: Path | None
    influx_password: str
    extra: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    def data(self, name: str) -> Path:
        """The data folder of one process."""
        return self.state / "data" / name

    def config(self, name: str) -> Path:
        """The folder of one process's generated configuration."""
        return self.state / "config" / name

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.state / "logs" / f"{name}.log"

    def jars(self, jar_set: str) -> str:
        """The class path of one fetched set of jars."""
        return f"{self.cache / 'jars' / jar_set}/*"

    def address(self, port: str) -> str:
        """``host:port`` of a named port."""
        return f"{LOOPBACK}:{self.ports[port]}"

    def url(self, port: str) -> str:
        """``http://host:port`` of a named port."""
        return f"http://{self.address(port)}"

    def with_java(self) -> Site:
        """The same site, with the Java to run its tools with."""
        return replace(self, java=java.find())

    def settings(self) -> dict[str, str]:
        """The WARD_* variables that let any client or child reach this topology."""
        return {
            "WARD_KAFKA": self.address("kafka"),
            "WARD_INFLUX_URL": self.url("influx"),
            "WARD_INFLUX_ORG": "-",
            "WARD_INFLUX_BUCKET": "ward/live",
            "WARD_INFLUX_TOKEN": f"ward:{self.influx_password}",
            "WARD_HDFS_URL": self.url("namenode_http"),
            "WARD_HDFS_RPC": f"hdfs://{self.address('namenode')}",
            "WARD_FEED_PORT": str(self.ports["feed"]),
            "WARD_WORKER_METRICS_PORT": str(self.ports["vitals_metrics"]),
            # a topology of an older release has none of these ports
            "WARD_SINK_METRICS_PORT": str(self.ports.get("sink_metrics", 0)),
            "WARD_LAKE_METRICS_PORT": str(self.ports.get("lake_metrics", 0)),
            "WARD_DICOM_PORT": str(self.ports.get("dicom", 0)),
            "WARD_INTAKE_PORT": str(self.ports.get("intake", 0)),
            "WARD_IMAGING_METRICS_PORT": str(self.ports.get("imaging_metrics", 0)),
            "WARD_IMAGE_WORKER_METRICS_PORT": str(self.ports.get("image_worker_metrics", 0)),
            "WARD_RETURN_METRICS_PORT": str(self.ports.get("return_metrics", 0)),
            **({"WARD_INTAKE": self.url("intake")} if "intake" in self.ports else {}),
            **({"WARD_HIVE": self.address("hive")} if "hive" in self.ports else {}),
            "WARD_SCRAPE": ",".join(
                f"{name}={self.url(port)}/metrics"
                for name, port in SCRAPED.items()
                if port in self.ports and name not in self.left_out
            ),
            **self._java_for_spark(),
            "WARD_CACHE_DIR": str(self.cache),
            "WARD_STATE_DIR": str(self.state),
            "WARD_WEB_DIR": str(self.cache / "web"),
            "WARD_AUDIT_LOG": str(self.state / "audit.log"),
            "WARD_FEED_USERS": str(self.state / "users.json"),
            **self.extra,
        }

    def _java_for_spark(self) -> dict[str, str]:
        from infra.launch.spark import java_home

        try:
            return {"WARD_JAVA_HOME": str(java_home(self.cache))}
        except Misconfigured:
            return {}  # whatever needs it says so itself, with the fix; the rest goes on


def left_out(state: Path) -> frozenset[str]:
    """The processes that were left out of this topology and not started since."""
    path = state / LEFT_OUT
    return frozenset(json.loads(path.read_text())) if path.exists() else frozenset()


def made_by_demo(state: Path) -> Path:
    """The mark of a topology whose log a demo began and the next one may discard; ``ward up`` takes it away."""
    return state / "data" / "made-by-demo"


def remembered(state: Path) -> dict[str, int]:
    """The ports this topology used before; empty for a new one. Raises Misconfigured for a broken file."""
    path = state / "endpoints.json"
    if not path.exists():
        return {}
    try:
        ports = json.loads(path.read_text())["ports"]
        return {str(name): int(port) for name, port in ports.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise Misconfigured(
            f"{path} is damaged ({wrong}): stop the topology with `ward down`, delete the file"
        ) from wrong


def password(state: Path) -> str:
    """The topology's own InfluxDB password, drawn once, readable by its owner only."""
    path = state / "secrets.json"
    if not path.exists():
        write_atomically(path, json.dumps({"influx": secrets.token_urlsafe(24)}), mode=0o600)
    return str(json.loads(path.read_text())["influx"])
