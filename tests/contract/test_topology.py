"""The system on one page hangs together: topics, steps, keys."""

from __future__ import annotations

import random
import re
import string
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from contracts import records as r
from contracts.topology import (
    CLOCK_KEY,
    PARTITIONS,
    STEPS,
    TOPICS,
    VITALS,
    Step,
    Topic,
    as_mermaid,
    partition_for,
    topic_named,
)

every_topic = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


@every_topic
def test_every_topic_has_a_writer_and_a_reader(topic: Topic[Any]) -> None:
    assert any(topic in step.writes for step in STEPS), "nobody writes it"
    assert any(topic in step.reads for step in STEPS), "nobody reads it"


def test_every_step_is_a_module_that_imports() -> None:
    program = "import importlib\n" + "".join(f"importlib.import_module({step.name!r})\n" for step in STEPS)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_says_what_it_does_and_knows_only_our_topics(step: Step) -> None:
    assert step.does
    assert all(topic in TOPICS for topic in (*step.reads, *step.writes))


@every_topic
def test_topic_names_are_snake_case_without_dots_or_dashes(topic: Topic[Any]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", topic.name)
    assert len(topic.name) < 249
    assert topic_named(topic.name) is topic


def test_names_and_steps_are_unique() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert len({step.name for step in STEPS}) == len(STEPS)
    with pytest.raises(KeyError):
        topic_named("patient.vitals")


@every_topic
def test_a_topic_carries_one_versioned_record_and_says_its_key(topic: Topic[Any]) -> None:
    assert issubclass(topic.record, r.Record)
    assert "version" in topic.record.__struct_fields__
    assert topic.key
    assert topic.purpose
    assert topic.partitions in (1, PARTITIONS)


@every_topic
def test_nothing_is_kept_for_ever_or_dropped_at_once(topic: Topic[Any]) -> None:
    if topic.config.get("cleanup.policy") == "compact":
        assert topic.internal
    else:
        days = int(topic.config["retention.ms"]) / 86_400_000
        assert days in (7, 90)


def test_the_vitals_log_keeps_the_brokers_time() -> None:
    assert VITALS.config["message.timestamp.type"] == "LogAppendTime"


def test_the_clock_is_no_ward() -> None:
    assert CLOCK_KEY == "~clock"
    assert not re.fullmatch(r"\w.*", CLOCK_KEY)


@given(st.text(min_size=1, max_size=80), st.integers(1, 64))
def test_a_key_goes_to_the_partition_where_every_kafka_client_puts_it(key: str, partitions: int) -> None:
    raw = key.encode("utf-8", "surrogatepass")
    if raw != key.encode("utf-8", "replace"):
        return
    assert partition_for(key, partitions) == (murmur2(raw) & 0x7FFFFFFF) % partitions


def test_known_keys_keep_their_partitions() -> None:
    """From Kafka's own UtilsTest: murmur2 of these strings."""
    for key, expected in {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}.items():
        assert partition_for(key, 2**31) == expected & 0x7FFFFFFF
    rng = random.Random(1)
    wards = ["".join(rng.choices(string.ascii_uppercase, k=4)) for _ in range(600)]
    counts = [sum(1 for ward in wards if partition_for(ward, PARTITIONS) == p) for p in range(PARTITIONS)]
    assert min(counts) > 20, "wards gather in few partitions"


def test_the_picture_shows_every_topic_and_step_once() -> None:
    picture = as_mermaid()
    for topic in TOPICS:
        assert picture.count(f"[({topic.name})]") == 1
    for step in STEPS:
        assert picture.count(f'["{step.name}<br/>') == 1
    arrows = sum(len(step.reads) + len(step.writes) for step in STEPS)
    assert picture.count(" --> ") == arrows
