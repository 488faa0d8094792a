"""A worker process of a test's own, and what flows past it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from confluent_kafka import Consumer

from contracts.topology import SCORES, VITALS
from infra.stack import wait_until
from models.registry import Registry
from models.vitals.engine import VitalsModels
from producers.publish import Publisher
from producers.scenario import Script, parse_script
from producers.ward import Hospital
from streams import ledger

STORM = b"""
name = "storm"
about = "much happens at once"
[[event]]
kind = "desaturation"
share = 0.05
at_s = 3
for_s = 240
[[event]]
kind = "arrhythmia"
share = 0.05
at_s = 8
for_s = 15
[[event]]
kind = "silent_bed"
share = 0.02
at_s = 5
for_s = 20
"""


def models_in(folder: Path | None = None) -> VitalsModels:
    """The models that a worker has whose own ones lie in that folder; without one, those that are shipped."""
    models = VitalsModels(Registry(folder))
    models.refresh()
    return models


def storm() -> Script:
    """A script under which a share of the beds alarms within seconds."""
    return parse_script(STORM, "storm")


class WorkerProcess:
    """``python -m streams.worker``, or another of our processes, on a broker, its log in a file."""

    module = "streams.worker"

    def __init__(self, bootstrap: str, folder: Path, name: str = "worker", **settings: str) -> None:
        self.log = folder / f"{name}.log"
        environ = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")}
        environ |= {
            "WARD_KAFKA": bootstrap,
            "WARD_LOG_FORMAT": "json",
            "WARD_MODELS_DIR": str(folder / "models"),
            **settings,
        }
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([sys.executable, "-m", self.module], env=environ, stderr=out)

    def said(self, words: str) -> bool:
        return words in self.log.read_text()

    def wait_for(self, words: str, within_s: float = 60.0) -> None:
        wait_until(lambda: self.said(words) or self.process.poll() is not None, within_s)
        assert self.said(words), f"the worker never said {words!r}:\n{self.log.read_text()[-3000:]}"

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within_s)


@contextmanager
def worker(bootstrap: str, folder: Path, name: str = "worker", **settings: str) -> Iterator[WorkerProcess]:
    """A worker that is gone at the end, whatever happens."""
    one = WorkerProcess(bootstrap, folder, name, **settings)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(10)


class Feeder(threading.Thread):
    """Plays a simulated hospital into patient_vitals, a tick a second, through outages of the broker."""

    def __init__(
        self, bootstrap: str, beds: int, ticks: int, script: Script | None = None, seed: int = 7, past: bool = False
    ) -> None:
        super().__init__(name="feeder", daemon=True)
        self.start_ms = int(time.time() * 1000) // 1000 * 1000
        self.hospital = Hospital(
            beds,
            seed=seed,
            script=script or storm(),
            start_ms=self.start_ms,
            beds_per_ward=50,
            frame_beds=50,
            past=past,
        )
        self.ticks = ticks
        self.frames = 0
        self._publisher = Publisher(bootstrap)
        self.second = 0

    def run(self) -> None:
        turn = threading.Event()
        while self.second < self.ticks:
            due_s = self.start_ms / 1000 + self.second - time.time()
            if due_s > 0:
                turn.wait(due_s)
            for frame in self.hospital.tick():
                self._publisher.publish(frame)
                self.frames += 1
            self._publisher.poll()
            self.second += 1
        self._publisher.flush(60)

    def at(self, second: int, within_s: float = 120.0) -> None:
        """Wait until that second of the run."""
        assert wait_until(lambda: self.second >= second, within_s)


class Arrivals(threading.Thread):
    """When scores of each ward were seen by a reader that is always there."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(name="arrivals", daemon=True)
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"arrivals-{time.time_ns()}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._consumer.subscribe([SCORES.name])
        self._ended = threading.Event()
        self.seen: defaultdict[str, list[float]] = defaultdict(list)
        self.sources: set[tuple[int, int]] = set()

    def run(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(200, 0.2):
                if message.error() is None:
                    self.seen[message.key().decode()].append(time.monotonic())
        self._consumer.close()

    def end(self) -> None:
        self._ended.set()
        self.join(20)

    def longest_gap_s(self) -> float:
        return max((b - a for at in self.seen.values() for a, b in pairwise(at)), default=0.0)


def caught_up(bootstrap: str, ends: Callable[[], dict[int, int]] | None = None) -> bool:
    """Whether the newest cuts cover all that was in the log a moment ago."""
    wanted = (ends or (lambda: log_ends(bootstrap)))()
    done = ledger.cuts(bootstrap)
    return all(done.get(p, 0) >= end for p, end in wanted.items())


def log_ends(bootstrap: str, topic: str = VITALS.name) -> dict[int, int]:
    """Next offset of each partition that holds something."""
    from confluent_kafka import TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
    finally:
        consumer.close()
    return {p: end for p, end in ends.items() if end}
