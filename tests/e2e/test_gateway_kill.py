"""kill -9 of the gateway and of HDFS while a modality sends and tries again: no image is lost, none is doubled."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from contracts.pseudonyms import Pseudonyms
from contracts.settings import Settings
from infra.stack import Stack, wait_until
from models.imaging import keyfile
from producers import image_store
from tests.integration.producers.gateway import Gateway, Told, gateway
from tests.unit.models.imaging import made

FULL: Final = os.environ.get("WARDSTREAM_TEST_FULL", "") == "1"
IMAGES: Final = 120 if FULL else 24
KILLS: Final = (
    ("gateway", "datanode", "gateway", "namenode", "gateway", "datanode")
    if FULL
    else (
        "gateway",
        "datanode",
        "namenode",
    )
)
HOUSE: Final = "1.2.826.0.1.77"

pytestmark = [pytest.mark.stack, pytest.mark.kafka, pytest.mark.hdfs, pytest.mark.timeout(420)]


class Modality(threading.Thread):
    """Sends each file until it was answered with success, as a scanner's queue does; counts its tries."""

    def __init__(self, door: Gateway, paths: list[Path]) -> None:
        super().__init__(name="modality", daemon=True)
        self._door, self._paths = door, paths
        self.sent: list[Path] = []
        self.tries: Counter[str] = Counter()

    def run(self) -> None:
        pause = threading.Event()
        for path in self._paths:
            while True:
                said = self._door.store(path)
                self.tries[path.name] += 1
                if "Received Store Response (Success)" in said:
                    self.sent.append(path)
                    break
                pause.wait(0.3)


def scans(folder: Path) -> list[Path]:
    """Images of some patients and studies, each its own."""
    rng, found = random.Random(7), []
    for number in range(IMAGES):
        study = number // 6
        path = folder / f"{number:03d}.dcm"
        array = made.gradient(200, 200, top=1000 + rng.randrange(3000))
        uids = {
            "SOPInstanceUID": f"{HOUSE}.3.{number}",
            "SeriesInstanceUID": f"{HOUSE}.2.{study}",
            "StudyInstanceUID": f"{HOUSE}.1.{study}",
        }
        path.write_bytes(made.dicom(array, None, PatientID=f"KILL-{study}", **uids))
        found.append(path)
    return found


def test_kill_9_of_gateway_and_hdfs_loses_no_image_and_doubles_none(
    stack: Callable[..., Stack], tmp_path: Path
) -> None:
    topology = stack("zones", "topics")
    environ = {name: topology.environment()[name] for name in ("WARD_KAFKA", "WARD_HDFS_URL")}
    told = Told(environ["WARD_KAFKA"])
    with gateway(environ, tmp_path) as door, contextlib.closing(told):
        modality = Modality(door, scans(tmp_path))
        modality.start()
        for number, victim in enumerate(KILLS, 1):
            due = number * IMAGES // (len(KILLS) + 1)
            assert wait_until(lambda due=due: len(modality.sent) >= due, 120)  # type: ignore[misc]  # early binding
            if victim == "gateway":
                door.process.kill()
                door.again()
                door.ready()
            else:
                topology.await_return(victim, topology.kill(victim))
        modality.join(240)
        assert not modality.is_alive(), (len(modality.sent), door.log.read_text()[-2000:])
        names = Pseudonyms(keyfile.key(tmp_path / keyfile.NAME))
        wanted = {names.uid(f"{HOUSE}.3.{number}") for number in range(IMAGES)}
        arrivals = told.arrivals()
        zone = image_store.images(Settings.from_env(environ))
        lying = {one.instance: hashlib.sha256(zone.read(one.uri)).hexdigest() for one in arrivals}
        files = sum(len(zone.sizes(folder)) for folder in {one.uri.rpartition("/")[0] for one in arrivals})
        again = len(arrivals) - len({(one.instance, one.sha256) for one in arrivals})
        print(
            f"\n{IMAGES} images, {len(KILLS)} kills, {sum(modality.tries.values())} tries, at most "
            f"{max(modality.tries.values())} for one; {len(arrivals)} arrivals told, {again} of them again"
        )
        assert {one.instance for one in arrivals} == wanted, "nothing is lost"
        assert {one.revision for one in arrivals} == {0}
        assert files == IMAGES, "nothing is doubled"
        assert all(lying[one.instance] == one.sha256 for one in arrivals), "told is what lies there"
        assert again <= len(KILLS), "an event is only told again where nobody could know that it was"
