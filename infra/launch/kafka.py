"""Apache Kafka in KRaft mode: one process, broker and controller, on loopback."""

from __future__ import annotations

import subprocess
from typing import Final

from contracts.errors import Transient
from infra.launch.probes import kafka_answers
from infra.site import Site, write_atomically

HEAP_MB: Final = 256
CLUSTER_ID: Final = "d2FyZHN0cmVhbS1sb2NhbA"
"""Any 16 bytes in URL-safe base64: the data folder of a topology belongs to it alone."""

LEAN_JVM: Final = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.awt.headless=true",
)
LOGGING: Final = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


def properties(site: Site) -> dict[str, str]:
    """The broker's settings."""
    broker, controller = site.address("kafka"), site.address("kafka_controller")
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(site.data("kafka")),
        "auto.create.topics.enable": "false",
        "num.partitions": "4",
        # one broker: a factor above one could never be met
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # a killed broker registers again at once, a new consumer group does not wait for more members
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "1000",
        "group.initial.rebalance.delay.ms": "0",
        # small: threads, dedupe buffer, segments
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "log.cleaner.threads": "1",
        "log.cleaner.dedupe.buffer.size": "16777216",
        "log.segment.bytes": "67108864",
        "log.index.size.max.bytes": "1048576",
        "log.retention.hours": "168",
        "log.retention.check.interval.ms": "60000",
    }


def prepare(site: Site) -> None:
    """Write the settings; format the data folder the first time."""
    settings = site.config("kafka") / "server.properties"
    write_atomically(settings, "".join(f"{name}={value}\n" for name, value in properties(site).items()))
    if (site.data("kafka") / "meta.properties").exists():
        return
    site.data("kafka").mkdir(parents=True, exist_ok=True)
    tool = [*_java(site, 128), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(settings)]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    if done.returncode != 0:
        raise Transient(f"cannot format Kafka's data folder: {(done.stderr or done.stdout).strip()[-600:]}")


def command(site: Site) -> list[str]:
    """The broker's command line."""
    return [*_java(site, HEAP_MB), "kafka.Kafka", str(site.config("kafka") / "server.properties")]


def console_consumer(site: Site, *arguments: str) -> list[str]:
    """The command line of Kafka's own console consumer, for whoever doubts ours."""
    main = "org.apache.kafka.tools.consumer.ConsoleConsumer"
    return [*_java(site, 128), main, "--bootstrap-server", site.address("kafka"), *arguments]


def health(site: Site) -> str | None:
    """None when the broker answers."""
    return kafka_answers(site.ports["kafka"])


def _java(site: Site, heap_mb: int) -> list[str]:
    return [str(site.java), f"-Xmx{heap_mb}m", *LEAN_JVM, *LOGGING, "-cp", site.jars("kafka")]
