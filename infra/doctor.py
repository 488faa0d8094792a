"""Looks for what is wrong with this machine, its cache and its topology; every finding comes with its fix."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from contracts.topology import VITALS
from infra import site as sites
from infra.fetch import influx, jars, java, wheels
from infra.fetch.everything import ITEMS, missing
from infra.fetch.lock import SETS
from infra.finding import Finding
from infra.imaging_doctor import gateway, identities, weights
from infra.lake_doctor import checkpoint, metastore, zones
from infra.launch import spark
from infra.launch.hdfs import in_safe_mode
from infra.processes import PROCESSES
from infra.stack import Stack

LOW_DISK_BYTES: Final = 4 * 2**30
LOW_MEMORY_BYTES: Final = 4 * 2**30
SKEW_MS: Final = 2000
STALE_TICKS_MS: Final = 15_000


@dataclass(frozen=True)
class Check:
    """One question to the machine; ``ask`` yields what it finds wrong."""

    name: str
    ask: Callable[[Stack], Iterator[Finding]]


def examine(stack: Stack) -> dict[str, list[Finding]]:
    """Every check's findings, by check; an empty list is health."""
    return {check.name: list(check.ask(stack)) for check in CHECKS}


def _java(stack: Stack) -> Iterator[Finding]:
    try:
        java.find()
        program = spark.java_home(stack.cache) / "bin" / "java"
    except Misconfigured as wrong:
        yield Finding("java", str(wrong), "install a Java 17 to 25 runtime, or let ./ward make its environment again")
        return
    if trouble := spark.does_not_start(program):
        fix = f"rm -r {stack.cache / 'spark-java'}; the next start makes it again. Or install a Java 17 to 25"
        yield Finding("java", f"Spark's Java, {program}, does not start: {trouble}", fix)


def _disk(stack: Stack) -> Iterator[Finding]:
    for folder in (stack.cache, stack.state, Path(tempfile.gettempdir())):
        there = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(there).free
        if free < LOW_DISK_BYTES:
            yield Finding(
                "disk",
                f"{free / 2**30:.1f} GiB free at {folder}",
                "free some space, or point WARD_CACHE_DIR / WARD_STATE_DIR / TMPDIR elsewhere",
            )


def _memory(_stack: Stack) -> Iterator[Finding]:
    available = psutil.virtual_memory().available
    if available < LOW_MEMORY_BYTES:
        yield Finding(
            "memory",
            f"{available / 2**30:.1f} GiB of memory left",
            "stop other programs; the whole demo takes about 4 GiB, without images,lake,hive about a third of it",
        )


def _cache(stack: Stack) -> Iterator[Finding]:
    absent = missing(stack.cache)
    for name in absent:
        yield Finding("cache", f"{ITEMS[name].what} is not fetched yet", f"ward fetch {name}")
    for jar_set in (s.name for s in SETS if s.name not in absent):
        for path in jars.damaged(stack.cache, jar_set):
            yield Finding(
                "cache", f"{path} is not the file of the lock", f"rm -r {path.parent} && ward fetch {jar_set}"
            )
    if "influxdb" not in absent and influx.damaged(stack.cache):
        binary = influx.binary(stack.cache)
        yield Finding(
            "cache", f"{binary} is not the file that was built", f"rm -r {binary.parent} && ward fetch influxdb"
        )
    if "web" not in absent:
        for path in wheels.damaged_web(stack.cache):
            yield Finding("cache", f"{path} is not the pinned file", "ward fetch web")


def _lock_files(stack: Stack) -> Iterator[Finding]:
    note = stack.state / "supervisor.json"
    if note.exists() and not stack.supervised():
        yield Finding(
            "supervisor",
            "the supervisor is dead; what it ran is looked after by nobody",
            "ward up (it takes over what runs)",
        )
    wanted = stack.wanted()
    if wanted and not note.exists():
        yield Finding("supervisor", f"{len(wanted)} processes are wanted, nobody starts them", "ward up, or ward down")
    for process in stack.strays():
        yield Finding("supervisor", f"process {process.pid} of this topology is in no list", "ward down ends it")


def _ports(stack: Stack) -> Iterator[Finding]:
    try:
        ports = stack.endpoints
    except Misconfigured as wrong:
        yield Finding("ports", str(wrong), f"ward down, then delete {stack.state / 'endpoints.json'}")
        return
    for process in PROCESSES:
        if stack.pid(process.name) is None:
            for name in process.ports:
                if name in ports and not sites.is_free(ports[name]):
                    yield Finding(
                        "ports",
                        f"port {ports[name]} of {process.name} ({name}) is taken by another program",
                        "stop that program, or ward up: it chooses a new port and says so",
                    )


def _health(stack: Stack) -> Iterator[Finding]:
    for row in stack.status():
        if row.state in ("unhealthy", "restarting"):
            yield Finding("processes", f"{row.name} is {row.state}: {row.detail}", f"ward logs {row.name}")
        elif row.restarts >= 3:
            yield Finding("processes", f"{row.name} ended {row.restarts} times by itself", f"ward logs {row.name}")


def _safe_mode(stack: Stack) -> Iterator[Finding]:
    if stack.pid("namenode") and in_safe_mode(stack.site()):
        yield Finding(
            "hdfs",
            "HDFS is in safe mode: it takes no writes",
            "ward up datanode; if it stays, the disk is full or blocks are lost",
        )


def _clock(stack: Stack) -> Iterator[Finding]:
    if stack.pid("kafka") is None:
        return
    ahead = newest_append_ahead_ms(stack.environment()["WARD_KAFKA"])
    ticking = stack.pid("vitals") is not None
    if ahead is not None and (ahead > SKEW_MS or (ticking and ahead < -STALE_TICKS_MS)):
        yield Finding(
            "clock",
            f"the newest record of the log is {ahead / 1000:+.1f} s from this machine's clock",
            "set both clocks by NTP; if the machine is the same, ward logs vitals (it writes a tick a second)",
        )


def newest_append_ahead_ms(bootstrap: str) -> float | None:
    """Append time of the newest record of the wards' log, minus this machine's clock; None for an empty log."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ward-doctor", "enable.auto.commit": False})
    try:
        newest: list[float] = []
        for partition in range(VITALS.partitions):
            _low, high = consumer.get_watermark_offsets(TopicPartition(VITALS.name, partition), timeout=5)
            if high > 0:
                consumer.assign([TopicPartition(VITALS.name, partition, high - 1)])
                record = consumer.poll(5)
                if record is not None and not record.error():
                    newest.append(float(record.timestamp()[1]))
        return max(newest) - time.time() * 1000 if newest else None
    except KafkaException as failure:
        if failure.args[0].name() in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC"):
            return None
        raise Transient(f"cannot read the log's clock: {failure}") from failure
    finally:
        consumer.close()


def _settings(stack: Stack) -> Iterator[Finding]:
    try:
        Settings.from_env(os.environ)
    except Misconfigured as wrong:
        yield Finding("settings", str(wrong), "unset it, or spell it as the message says")
    for name in ("secrets.json", "wanted.json", "seen.json"):
        path = stack.state / name
        if path.exists():
            yield from _readable(path)


def _readable(path: Path) -> Iterator[Finding]:
    try:
        json.loads(path.read_text())
    except ValueError as wrong:
        yield Finding("settings", f"{path} is damaged: {wrong}", f"ward down, then delete {path}")
    if path.stat().st_mode & 0o077:
        yield Finding("settings", f"{path} can be read by others and holds a secret", f"chmod 600 {path}")


CHECKS: Final = (
    Check("settings", _settings),
    Check("java", _java),
    Check("disk", _disk),
    Check("memory", _memory),
    Check("cache", _cache),
    Check("supervisor", _lock_files),
    Check("ports", _ports),
    Check("processes", _health),
    Check("hdfs", _safe_mode),
    Check("zones", zones),
    Check("checkpoint", checkpoint),
    Check("metastore", metastore),
    Check("gateway", gateway),
    Check("identities", identities),
    Check("weights", weights),
    Check("clock", _clock),
)
