"""The publisher against a real broker that goes away and comes back."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from contracts import records as r
from contracts.codec import decode_frame
from contracts.errors import Misconfigured, Poison, Transient
from contracts.topology import VITALS, Topic, partition_for
from producers.publish import Publisher

pytestmark = pytest.mark.kafka

BEDS = tuple(
    r.BedReadings(
        bed=f"B{n:02d}",
        patient=f"p{n:02d}",
        readings=tuple(r.Reading(vital=vital, value=float(70 + n)) for vital in list(r.Vital)[:6]),
    )
    for n in range(50)
)
WARDS = [f"W{n}" for n in range(1, 21)]


class Broker(Protocol):
    """What these tests need of a topology of their own."""

    def environment(self) -> dict[str, str]:
        """Its addresses."""

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal."""

    def await_return(self, name: str, killed: int, within_s: float = 60.0) -> float:
        """Wait for the supervisor."""

    def up(self, names: list[str]) -> object:
        """Start."""

    def down(self, names: list[str]) -> object:
        """Stop."""


def frame(ward: str, seq: int) -> r.VitalsFrame:
    return r.VitalsFrame(
        version=r.SCHEMA_VERSION, ward=ward, gateway="g", seq=seq, at_ms=1_767_340_800_000 + seq * 1000, beds=BEDS
    )


def read_all(bootstrap: str, topic: str, expected: int) -> Iterator[tuple[int, r.VitalsFrame]]:
    """(partition, frame) of everything in the topic, up to its end offsets."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "check", "enable.partition.eof": False})
    try:
        count = len(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
        ends = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=20)[1] for n in range(count)}
        assert sum(ends.values()) >= expected
        consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(count)])
        left = sum(ends.values())
        while left:
            message = consumer.poll(20)
            assert message is not None, "the broker stopped answering"
            assert message.error() is None
            yield message.partition(), decode_frame(message.value()).frame
            left -= 1
    finally:
        consumer.close()


def topic_on(bootstrap: str, name: str, partitions: int = VITALS.partitions) -> Topic[r.VitalsFrame]:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        made.result(30)
    return dataclasses.replace(VITALS, name=name)


def assert_all_there_once_and_in_order(bootstrap: str, topic: str, seconds: int) -> None:
    seen: dict[str, list[int]] = {}
    for partition, got in read_all(bootstrap, topic, seconds * len(WARDS)):
        assert partition == partition_for(got.ward, VITALS.partitions)
        assert got.beds == BEDS
        seen.setdefault(got.ward, []).append(got.seq)
    assert seen == {ward: list(range(seconds)) for ward in WARDS}


def test_a_minute_without_broker_at_1000_beds_loses_doubles_and_reorders_nothing(stack: Callable[..., Broker]) -> None:
    broker = stack("kafka")
    bootstrap = broker.environment()["WARD_KAFKA"]
    publisher = Publisher(bootstrap, topic_on(bootstrap, "outage"))
    publisher.connect()
    for seq in range(10):
        for ward in WARDS:
            publisher.publish(frame(ward, seq))
    assert publisher.flush(30) == 0
    broker.down(["kafka"])
    for seq in range(10, 70):  # what 20 gateways say in a minute
        for ward in WARDS:
            publisher.publish(frame(ward, seq))
    assert publisher.flush(0.5) == 60 * len(WARDS)
    broker.up(["kafka"])
    assert publisher.flush(60) == 0
    assert (publisher.delivered, publisher.failed) == (70 * len(WARDS), 0)
    assert_all_there_once_and_in_order(bootstrap, "outage", 70)


def test_a_broker_killed_in_mid_stream_costs_nothing(stack: Callable[..., Broker]) -> None:
    broker = stack("kafka")
    bootstrap = broker.environment()["WARD_KAFKA"]
    publisher = Publisher(bootstrap, topic_on(bootstrap, "killed"))
    publisher.connect()
    killed = 0
    for seq in range(120):
        for ward in WARDS:
            publisher.publish(frame(ward, seq))
        if seq == 40:
            killed = broker.kill("kafka")
    broker.await_return("kafka", killed)
    assert publisher.flush(60) == 0
    assert publisher.failed == 0
    assert_all_there_once_and_in_order(bootstrap, "killed", 120)


def test_a_topic_that_is_missing_or_has_other_partitions_is_named(kafka: str) -> None:
    with pytest.raises(Misconfigured, match="never_made"):
        Publisher(kafka, dataclasses.replace(VITALS, name="never_made")).connect()
    narrow = topic_on(kafka, "narrow", partitions=3)
    with pytest.raises(Misconfigured, match="has 3 partitions, the topology says 12"):
        Publisher(kafka, narrow).connect()


def test_a_value_that_no_broker_takes_is_poison(kafka: str) -> None:
    publisher = Publisher(kafka, topic_on(kafka, "huge"))
    with pytest.raises(Poison) as caught:
        publisher.send("W1", b" " * 9_000_000)
    assert caught.value.reason == "too_large"


def test_no_broker_is_transient_and_says_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        bootstrap = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Transient, match="ward up kafka"):
            Publisher(bootstrap).connect(0.3)


def test_a_full_spool_makes_the_source_wait_and_a_stop_ends_the_wait() -> None:
    import threading

    stop = threading.Event()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        publisher = Publisher(f"127.0.0.1:{unused.getsockname()[1]}", spool_mb=1, stop=stop)
        timer = threading.Timer(0.5, stop.set)
        timer.start()

        def publish_more_than_fits() -> None:
            for seq in range(10_000):
                publisher.publish(frame("W1", seq))

        with pytest.raises(Transient, match="full spool"):
            publish_more_than_fits()
        assert len(publisher) > 10
        timer.join()


def test_a_simulator_told_to_end_delivers_what_it_sent(kafka_with_topics: str) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "producers.ward"],
        env=os.environ | {"WARD_KAFKA": kafka_with_topics, "WARD_BEDS": "8", "WARD_SEED": "3"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stderr is not None
    for line in started.stderr:
        if "second 3" in line or "running" in line:
            break
    started.send_signal(signal.SIGTERM)
    _, chatter = started.communicate(timeout=30)
    assert started.returncode == 0, chatter
    assert "0 undelivered" in chatter
