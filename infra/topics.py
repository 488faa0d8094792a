"""Makes the topics of contracts/topology.py on a broker: ``python -m infra.topics``; doing it again changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from contracts.topology import TOPICS, Topic

ANSWER_S: Final = 30.0
LEADERS_S: Final = 80.0
"""The first leaders of 150 partitions take a busy machine a minute."""
Offsets = dict[tuple[str, int], int]
"""(topic, partition) -> offset."""


def make(bootstrap: str, topics: Sequence[Topic[Any]] = TOPICS) -> list[str]:
    """Make what is missing and bring settings up to date; the names made.

    Raises Transient when the broker does not answer, Misconfigured when a topic has another number of partitions:
    wards would move between them, so that is never changed under a running log.
    """
    from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, client_id="ward-topics")
    except KafkaError as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}; `./ward up kafka` starts one") from failure
    try:
        there = set(admin.list_topics())
        missing = [topic for topic in topics if topic.name not in there]
        if missing:
            admin.create_topics(
                {
                    topic.name: {
                        "num_partitions": topic.partitions,
                        "replication_factor": 1,
                        "configs": dict(topic.config),
                    }
                    for topic in missing
                }
            )
        kept = [topic for topic in topics if topic.name in there]
        if kept:
            found = {row["name"]: len(row["partitions"]) for row in admin.describe_topics([t.name for t in kept])}
            for topic in kept:
                if found[topic.name] != topic.partitions:
                    raise Misconfigured(
                        f"topic {topic.name} has {found[topic.name]} partitions, the topology says {topic.partitions}: "
                        "replay it into a fresh topic, or start with an empty state folder"
                    )
            admin.alter_configs(
                [
                    ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=dict(topic.config))
                    for topic in kept
                    if topic.config
                ]
            )
    except KafkaError as failure:
        raise Transient(f"the broker at {bootstrap} refuses: {failure}") from failure
    finally:
        admin.close()
    return [topic.name for topic in missing]


def end_offsets(bootstrap: str, topics: Sequence[Topic[Any]], within_s: float = ANSWER_S) -> Offsets:
    """The next offset of every partition; waits for leaders. Raises Transient when the broker does not answer."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    try:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, client_id="ward-topics")
    except KafkaError as failure:
        raise Transient(f"no Kafka broker at {bootstrap}: {failure}") from failure
    try:
        wanted = [TopicPartition(t.name, p) for t in topics for p in range(t.partitions)]
        found = consumer.end_offsets(wanted, timeout_ms=within_s * 1000)
        return {(where.topic, where.partition): int(end) for where, end in found.items()}
    except KafkaError as failure:
        raise Transient(f"the broker at {bootstrap} does not tell its offsets: {failure}") from failure
    finally:
        consumer.close()


def main() -> None:
    """Make the topics on the broker of the environment."""
    bootstrap = Settings.from_env(os.environ).kafka
    made = make(bootstrap)
    end_offsets(bootstrap, TOPICS, LEADERS_S)
    print(f"made {', '.join(made) if made else 'nothing: every topic is there'}", file=sys.stderr)


if __name__ == "__main__":
    main()
