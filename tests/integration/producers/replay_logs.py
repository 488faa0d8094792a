"""Logs to be replayed, made record by record, and what a topic holds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from contracts import records as r
from contracts.codec import encode
from contracts.topology import CLOCK_KEY, VITALS, partition_for
from producers.scenario import load_script
from producers.ward import Hospital

START_MS = 1_767_340_800_000
START = "2026-01-02T08:00:00Z"
Started = Callable[..., "subprocess.Popen[str]"]
Headers = list[tuple[str, bytes | None]] | None


class Stored(NamedTuple):
    """A record as a topic holds it, without its topic."""

    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def store(bootstrap: str, topic: str, records: Iterable[Stored]) -> None:
    """Write them, each at its own time; offsets are given by the broker."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20})
    for one in records:
        producer.produce(topic, one.value, one.key, one.partition, timestamp=one.at_ms, headers=one.headers)
    assert producer.flush(60) == 0


def stored(bootstrap: str, topic: str) -> list[Stored]:
    """Everything in the topic, by partition and offset."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "check", "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        bounds = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20) for p in partitions}
        consumer.assign([TopicPartition(topic, p, low) for p, (low, _) in bounds.items()])
        found: list[Stored] = []
        until_s = time.monotonic() + 30
        while len(found) < sum(high - low for low, high in bounds.values()):
            assert time.monotonic() < until_s, f"{topic} holds less than it promises"
            for message in consumer.consume(500, timeout=0.1):
                assert message.error() is None
                found.append(
                    Stored(
                        message.partition(),
                        message.offset(),
                        message.timestamp()[1],
                        message.key(),
                        message.value(),
                        message.headers(),
                    )
                )
        return sorted(found, key=lambda one: one[:2])
    finally:
        consumer.close()


def ward_log(beds: int, seconds: int, script: str = "hospital") -> list[Stored]:
    """What a hospital's wards say, with a clock tick a second in each partition and an action of a nurse, in the log's
    own time; in two wards."""
    hospital = Hospital(
        beds, seed=20260102, script=load_script(script), start_ms=START_MS, beds_per_ward=(beds + 1) // 2
    )
    log: list[Stored] = []

    def add(key: str, partition: int, frame: r.VitalsFrame, at_ms: int) -> None:
        log.append(Stored(partition, -1, at_ms, key.encode(), encode(frame), None))

    for second in range(seconds):
        now_ms = START_MS + second * 1000
        for frame in hospital.tick() or ():
            add(frame.ward, partition_for(frame.ward, VITALS.partitions), frame, now_ms + 120)
            if second == 100:
                add(frame.ward, partition_for(frame.ward, VITALS.partitions), _paused(frame), now_ms + 130)
        for partition in range(VITALS.partitions):
            tick = r.VitalsFrame(version=r.SCHEMA_VERSION, ward=CLOCK_KEY, gateway="worker", seq=second, at_ms=now_ms)
            add(CLOCK_KEY, partition, tick, now_ms + 500 + partition)
    return log


def _paused(frame: r.VitalsFrame) -> r.VitalsFrame:
    """A nurse pauses the sound of the frame's first bed."""
    action = r.AlertAction(
        version=r.SCHEMA_VERSION,
        action_id=f"a-{frame.ward}",
        ward=frame.ward,
        bed=frame.beds[0].bed,
        kind=r.ActionKind.PAUSE_AUDIO,
        actor="nurse-1",
        role="nurse",
        at_ms=frame.at_ms,
        pause_s=60,
    )
    return r.VitalsFrame(
        version=r.SCHEMA_VERSION, ward=frame.ward, gateway="worker", seq=0, at_ms=frame.at_ms, actions=(action,)
    )


def ward(arguments: Iterable[str], kafka: str, state: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """``ward ...`` to its end."""
    return subprocess.run(
        command(arguments), env=environment(kafka, state) | extra, capture_output=True, text=True, timeout=120
    )


def ward_started(arguments: Iterable[str], kafka: str, state: Path, **extra: str) -> subprocess.Popen[str]:
    """``ward ...`` begun; stderr can be read."""
    return subprocess.Popen(
        command(arguments),
        env=environment(kafka, state) | extra,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def starting(kafka: str, state: Path) -> Iterator[Started]:
    """Begins ``ward WORD ...`` again and again; what still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        running.append(ward_started(words, kafka, state))
        return running[-1]

    yield start
    for one in running:
        if one.poll() is None:
            one.kill()
            one.communicate()
        for pipe in (one.stdout, one.stderr):
            if pipe is not None:
                pipe.close()


def command(arguments: Iterable[str]) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "infra.cli", *arguments]


def environment(kafka: str, state: Path) -> dict[str, str]:
    """Of a process that knows this broker and this state folder only."""
    ours: Mapping[str, Any] = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")}
    return {**ours, "WARD_KAFKA": kafka, "WARD_STATE_DIR": str(state), "PYTHONUNBUFFERED": "1"}
