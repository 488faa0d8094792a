"""Real servers for tests: started once a session in a folder of their own, on free loopback ports."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from contracts.errors import WardError
from infra.fetch.everything import fetch
from infra.processes import chosen
from infra.site import CHECKOUT, cache_dir
from infra.stack import Stack

SHARED_DATA = CHECKOUT.parent / "shared" / "data"
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


class MakeTopic(Protocol):
    """Makes a topic that no other test uses; its name."""

    def __call__(self, stem: str = "topic", partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """Make it."""


def pytest_configure(config: pytest.Config) -> None:
    """Let every test find the recordings that lie beside the checkout, unless the environment names others."""
    # kafka-python 3.0 reads its schemas by a call that Python 3.11 deprecates and 3.13 takes back into favour
    for call in (
        "read_text:DeprecationWarning:kafka.protocol.schemas.load_json",
        "open_text:DeprecationWarning:importlib.resources._legacy",
    ):
        config.addinivalue_line("filterwarnings", f"ignore:{call}")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # started in the background of a shell: what we start would inherit deafness to Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if SHARED_DATA.is_dir():
        os.environ.setdefault("WARD_DATA_DIR", str(SHARED_DATA))


def servers(stack: Stack, names: Sequence[str]) -> Stack:
    """Have these servers running. Not to be had: fails in CI, skips elsewhere with the verb that gets them."""
    wanted = sorted({item for process in chosen(names) for item in process.fetches})
    try:
        fetch(stack.cache, wanted)
    except WardError as failure:
        if IN_CI:
            raise
        pytest.skip(f"no {', '.join(names)} here: {failure} (`./ward fetch` gets it)")
    stack.up(names)
    return stack


@pytest.fixture(scope="session")
def session_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The session's own topology; nothing runs in it until another fixture asks. Gone at the end."""
    stack = Stack(tmp_path_factory.mktemp("stack"), cache_dir(os.environ), say=print)
    yield stack
    stack.down()


@pytest.fixture(scope="session")
def kafka(session_stack: Stack) -> str:
    """The bootstrap address of a real broker, without topics."""
    return servers(session_stack, ["kafka"]).environment()["WARD_KAFKA"]


@pytest.fixture(scope="session")
def kafka_with_topics(session_stack: Stack) -> str:
    """The bootstrap address of the same broker, with every topic of the topology."""
    return servers(session_stack, ["topics"]).environment()["WARD_KAFKA"]


@pytest.fixture(scope="session")
def hdfs(session_stack: Stack) -> str:
    """The WebHDFS address of a real HDFS."""
    return servers(session_stack, ["datanode"]).environment()["WARD_HDFS_URL"]


@pytest.fixture(scope="session")
def influx(session_stack: Stack) -> dict[str, str]:
    """The WARD_INFLUX_* settings of a real InfluxDB."""
    environment = servers(session_stack, ["influx-setup"]).environment()
    return {name: value for name, value in environment.items() if name.startswith("WARD_INFLUX_")}


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stack]]:
    """Makes topologies of a test's own: ``stack("feed", WARD_BEDS="1000")``. All are down after the test."""
    made: list[Stack] = []

    def start(*names: str, **extra_env: str) -> Stack:
        one = Stack(tmp_path_factory.mktemp("stack"), cache_dir(os.environ), say=print)
        made.append(one)
        one.up([], extra_env=extra_env)
        return servers(one, list(names))

    yield start
    for one in made:
        one.down()


@pytest.fixture(scope="session")
def make_topic(kafka: str) -> MakeTopic:
    """Makes uniquely named topics on the session's broker."""
    from kafka.admin import KafkaAdminClient

    numbers = itertools.count(1)

    def make(stem: str = "topic", partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        name = f"{stem}_{os.getpid()}_{next(numbers)}"
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        try:
            admin.create_topics(
                {name: {"num_partitions": partitions, "replication_factor": 1, "configs": dict(config or {})}}
            )
        finally:
            admin.close()
        return name

    return make


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top folder of the project."""
    return CHECKOUT
