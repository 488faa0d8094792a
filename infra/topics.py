"""Makes the topics of contracts/topology.py on a broker: ``python -m infra.topics``; doing it again changes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from contracts.topology import TOPICS, Topic


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


def main() -> None:
    """Make the topics on the broker of the environment."""
    made = make(Settings.from_env(os.environ).kafka)
    print(f"made {', '.join(made) if made else 'nothing: every topic is there'}", file=sys.stderr)


if __name__ == "__main__":
    main()
