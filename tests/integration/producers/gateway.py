"""A gateway process of a test's own, what it wrote, and a modality that sends (dcmtk's storescu)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, TopicPartition

from contracts.codec import decode
from contracts.records import ImageArrival, ImageRefusal
from contracts.topology import IMAGE_ARRIVALS, IMAGE_REFUSALS, Topic
from infra.site import free_ports
from infra.stack import wait_until

ALLOWED = "WARDTEST"


class Gateway:
    """``python -m producers.dicom_gateway`` with a key, and so with pseudonyms, of its own; its log in a file."""

    def __init__(self, settings: Mapping[str, str], folder: Path) -> None:
        ports = free_ports(["dicom", "intake"])
        self.folder, self.log = folder, folder / "gateway.log"
        self.dicom_port, self.url = ports["dicom"], f"http://127.0.0.1:{ports['intake']}"
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")} | {
            "WARD_DICOM_PORT": str(ports["dicom"]),
            "WARD_INTAKE_PORT": str(ports["intake"]),
            "WARD_DICOM_ALLOW": f"{ALLOWED},OTHER*",
            "WARD_STATE_DIR": str(folder),
            "WARD_LOG_FORMAT": "json",
            **settings,
        }
        self.process = self._started()

    def ready(self, within_s: float = 120.0) -> None:
        """All doors are open."""

        def open_now() -> bool:
            try:
                return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(lambda: open_now() or self.process.poll() is not None, within_s)
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        assert open_now()

    def again(self) -> None:
        """After it was killed: as the supervisor would."""
        self.process.wait(10)
        self.process = self._started()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)

    def send(self, content: bytes, **query: str) -> httpx.Response:
        return httpx.post(f"{self.url}/images", params=query, content=content, timeout=60)

    def store(self, *paths: Path, options: Sequence[str] = (), title: str = ALLOWED) -> str:
        """By C-STORE; what storescu says."""
        return store(self.dicom_port, *paths, options=options, title=title)

    def _started(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as out:
            return subprocess.Popen([sys.executable, "-m", "producers.dicom_gateway"], env=self._environ, stderr=out)


def store(port: int, *paths: Path, options: Sequence[str] = (), title: str = ALLOWED) -> str:
    """Send files by C-STORE; what storescu says."""
    command = ["storescu", "-v", *options, "-aet", title, "127.0.0.1", str(port), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@contextmanager
def gateway(settings: Mapping[str, str], folder: Path) -> Iterator[Gateway]:
    """A gateway that is gone at the end, whatever happens."""
    one = Gateway(settings, folder)
    try:
        one.ready()
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(10)


class Told:
    """What is in the topics of arrivals and refusals from the moment on at which this was made."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "told", "enable.auto.commit": False, "log_level": 0}
        )
        parts = [
            TopicPartition(topic.name, number)
            for topic in (IMAGE_ARRIVALS, IMAGE_REFUSALS)
            for number in range(topic.partitions)
        ]
        self._at = {
            (one.topic, one.partition): self._consumer.get_watermark_offsets(one, timeout=10)[1] for one in parts
        }
        self._records: list[tuple[str, bytes]] = []

    def all(self) -> list[tuple[str, bytes]]:
        """Topic and bytes, everything up to now."""
        parts = [TopicPartition(topic, number, at) for (topic, number), at in self._at.items()]
        ends = {key: self._consumer.get_watermark_offsets(TopicPartition(*key), timeout=10)[1] for key in self._at}
        self._consumer.assign([part for part in parts if ends[part.topic, part.partition] > part.offset])
        while any(self._at[key] < end for key, end in ends.items()):
            for message in self._consumer.consume(100, 1.0):
                assert message.error() is None
                self._records.append((message.topic(), message.value()))
                self._at[message.topic(), message.partition()] = message.offset() + 1
        return self._records

    def arrivals(self, instances: Sequence[str | None] = ()) -> list[ImageArrival]:
        """Of these instances."""
        found = [decode(raw, ImageArrival) for raw in self._of(IMAGE_ARRIVALS)]
        return [one for one in found if one.instance in instances] if instances else found

    def refusals(self, sha256: str) -> list[ImageRefusal]:
        return [one for one in (decode(raw, ImageRefusal) for raw in self._of(IMAGE_REFUSALS)) if one.sha256 == sha256]

    def close(self) -> None:
        self._consumer.close()

    def _of(self, topic: Topic[Any]) -> list[bytes]:
        return [raw for name, raw in self.all() if name == topic.name]
