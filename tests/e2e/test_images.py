"""A scanner's images on real servers: each is read or refused with a reason, whoever is killed meanwhile.

The short form sends fourteen images and kills gateway, DataNode and worker once each; WARDSTREAM_TEST_FULL=1 sends 120
and kills ten times.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import pytest

from contracts import codec
from contracts.records import ImageArrival, ImageRefusal, ImageResult, Record
from contracts.settings import Settings
from contracts.topology import IMAGE_ARRIVALS, IMAGE_REFUSALS, IMAGE_RESULTS, Topic
from infra.bench.broker import Broker
from infra.stack import Stack, wait_until
from producers import image_store

FULL: Final = os.environ.get("WARDSTREAM_TEST_FULL", "") == "1"
IMAGES: Final = 120 if FULL else 14
KILLS: Final = 10 if FULL else 3
VICTIMS: Final = ("gateway", "datanode", "image-worker")
BACK_S: Final = 90.0

pytestmark = [
    pytest.mark.stack,
    pytest.mark.kafka,
    pytest.mark.hdfs,
    pytest.mark.timeout(1200 if FULL else 400),
]

R = TypeVar("R", bound=Record)


class Told:
    """What the topics say of images."""

    def __init__(self, topology: Stack) -> None:
        self._broker = Broker(topology.environment()["WARD_KAFKA"])

    def arrivals(self) -> list[ImageArrival]:
        return self._all(IMAGE_ARRIVALS, ImageArrival)

    def results(self) -> list[ImageResult]:
        return self._all(IMAGE_RESULTS, ImageResult)

    def refusals(self) -> list[ImageRefusal]:
        return self._all(IMAGE_REFUSALS, ImageRefusal)

    def unread(self) -> set[tuple[str, int]]:
        """Arrivals without a result."""
        read = {(one.instance, one.revision) for one in self.results()}
        return {(one.instance, one.revision) for one in self.arrivals()} - read

    def answered(self) -> int:
        """How many images the gateway has answered for."""
        return len(self.arrivals()) + len(self.refusals())

    def _all(self, topic: Topic[Any], kind: type[R]) -> list[R]:
        return [codec.decode(value, kind) for value in self._broker.read(topic.name, range(topic.partitions))]


@contextmanager
def scanner(topology: Stack, count: int) -> Iterator[subprocess.Popen[str]]:
    """A modality that sends so many images, two a second, each until it is answered for; gone at the end."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    command = [sys.executable, "-m", "producers.scanner", "--rate", "2", "--count", str(count), "--patience", "120s"]
    with subprocess.Popen(command, env=ours | topology.environment(), stdout=subprocess.PIPE, text=True) as one:
        try:
            yield one
        finally:
            one.kill()


def test_no_image_is_lost_when_gateway_datanode_and_worker_are_killed(stack: Callable[..., Stack]) -> None:
    topology = stack("gateway", "imaging", "image-worker")
    told = Told(topology)
    back: list[tuple[str, float]] = []
    with scanner(topology, IMAGES) as modality:
        for number in range(KILLS):
            due = 2 + number * (IMAGES - 4) // KILLS
            assert wait_until(lambda due=due: told.answered() >= due, BACK_S), topology.tail("gateway")  # type: ignore[misc]  # early binding
            victim = VICTIMS[number % len(VICTIMS)]
            back.append((victim, round(topology.await_return(victim, topology.kill(victim), BACK_S), 1)))
        said, _ = modality.communicate(timeout=240)
    sent = json.loads(said.splitlines()[-1])
    assert sent["failed"] == 0, "the scanner keeps what is not answered for"
    assert sent["stored"] + sent["refused"] == IMAGES
    assert wait_until(lambda: not told.unread(), BACK_S), (told.unread(), topology.tail("image-worker"))

    arrivals, results, refusals = told.arrivals(), told.results(), told.refusals()
    print(
        f"\n{IMAGES} images, {len(back)} kills, back after {back} s; the scanner: {sent};"
        f" results: {Counter(one.refusal or one.model for one in results)};"
        f" refusals: {Counter(one.reason for one in refusals)}"
    )
    assert len({(one.instance, one.revision) for one in arrivals}) == sent["stored"], "one event an image, at least"
    assert len({one.refusal_id for one in refusals}) == sent["refused"], "what is refused is told of"
    assert {one.revision for one in arrivals} == {0}, "sent again is the same image, not another one"
    assert all(one.label is not None or one.value is not None or one.refusal for one in results)
    zone = image_store.images(Settings.from_env(topology.environment()))
    for one in arrivals:
        assert hashlib.sha256(zone.read(urlsplit(one.uri).path)).hexdigest() == one.sha256
    for result in results:
        for uri in filter(None, (result.preview_uri, result.heatmap_uri)):
            picture = zone.read(urlsplit(uri).path)
            assert picture.startswith(b"\x89PNG"), "a result is told of after its pictures are there"
    assert [result for result in results if result.refusal is None], "the models that are shipped have read some"
    assert not {"bad_uri", "gone"} & {result.refusal for result in results}, "what is stored can be fetched"
