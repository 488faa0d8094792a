"""A broker for the worker's tests alone: they read every topic whole."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from infra.site import cache_dir
from infra.stack import Stack
from tests.conftest import servers


@pytest.fixture(scope="session")
def image_zone(session_stack: Stack) -> str:
    """The WebHDFS address of a real HDFS with its zones."""
    return servers(session_stack, ["zones"]).environment()["WARD_HDFS_URL"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker with every topic, one for all tests of a module: each leaves its log to the next."""
    yield from _broker(tmp_path_factory)


@pytest.fixture
def fresh_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker with every topic that no other test has touched."""
    yield from _broker(tmp_path_factory)


def _broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    stack = Stack(tmp_path_factory.mktemp("broker"), cache_dir(os.environ), say=print)
    try:
        yield servers(stack, ["topics"]).environment()["WARD_KAFKA"]
    finally:
        stack.down()
