"""What tests of the lake share: one HDFS, one Spark, and an empty lake whenever a test asks for one."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from typing import Any

import pytest

from batch.spark import session
from batch.storage import Storage
from contracts.lake import IDENTIFIED_ROOT, IMAGES_ROOT, ROOT, ZONES
from contracts.settings import Settings
from infra.fetch.everything import fetch
from infra.stack import Stack
from tests.conftest import servers


@pytest.fixture(scope="session")
def settings(session_stack: Stack, kafka_with_topics: str, hdfs: str) -> Settings:
    """Settings of the session's own servers: Kafka with every topic, and HDFS."""
    assert kafka_with_topics
    assert hdfs
    fetch(session_stack.cache, ["spark"])
    return Settings.from_env(session_stack.environment())


@pytest.fixture(scope="session")
def superuser(settings: Settings) -> Storage:
    """The session's HDFS, as the user who may do everything there: for what only a test wants."""
    return Storage.of(settings, user=getpass.getuser())


@pytest.fixture(scope="session")
def storage(settings: Settings, superuser: Storage) -> Storage:
    """The session's HDFS, as the platform's own user, who owns the lake's roots."""
    empty_roots(superuser)
    return Storage.of(settings)


@pytest.fixture(scope="session")
def spark(settings: Settings) -> Iterator[Any]:
    """One Spark session for all tests of the lake."""
    made = session("tests", settings)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def thrift(session_stack: Stack, storage: Storage) -> Settings:
    """The Thrift server of the process table over the session's HDFS; settings that name it."""
    assert storage
    servers(session_stack, ["hive"])
    return Settings.from_env(session_stack.environment())


@pytest.fixture
def lake(storage: Storage, superuser: Storage) -> Storage:
    """The platform's HDFS with nothing in the lake: no table, no manifest, no checkpoint, no image."""
    empty_roots(superuser)
    return storage


def empty_roots(superuser: Storage) -> None:
    """Make the zones anew, empty, each of its owner and mode."""
    for root in (ROOT, IMAGES_ROOT, IDENTIFIED_ROOT):
        superuser.remove(root)
    for path, owner in ZONES.items():
        superuser.makedirs(path)
        superuser.web.set_owner(path, owner.user, owner.group)
        superuser.web.set_permission(path, owner.mode)
