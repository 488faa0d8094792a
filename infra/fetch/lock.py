"""Writes infra/jars.lock.toml: ``python -m infra.fetch.lock`` resolves each set anew and records every sha256."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.fetch.jars import AT_ONCE, LOCK, download, sha256_of, trust_the_machine
from infra.site import write_atomically


@dataclass(frozen=True)
class JarSet:
    """What a set is resolved from. ``alone`` is taken without its dependencies, ``without`` is dropped."""

    name: str
    roots: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


SETS: Final = (
    JarSet(
        "kafka",
        roots=("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36"),
        alone=("org.apache.kafka:kafka-tools:4.3.1",),  # the console tools; the rest of its tree is Kafka Connect
    ),
    JarSet(
        "hadoop",
        roots=(
            "org.apache.hadoop:hadoop-hdfs:3.5.0",
            "org.apache.hadoop:hadoop-hdfs-client:3.5.0",
            "org.apache.hadoop:hadoop-common:3.5.0",
            "org.slf4j:slf4j-simple:1.7.36",
        ),
        without=("org.mockito:", "net.bytebuddy:", "org.objenesis:", ":osx-", ":linux-riscv64"),
    ),
    JarSet(
        "spark",
        alone=(
            "org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0",
            "org.apache.spark:spark-token-provider-kafka-0-10_2.13:4.0.0",  # no 4.2.0 of it was ever published
            "org.apache.kafka:kafka-clients:3.9.2",
            "org.apache.commons:commons-pool2:2.12.1",
            "org.postgresql:postgresql:42.7.7",  # Hive's metastore in the compose deployment
        ),
    ),
)


def resolve(jar_set: JarSet) -> list[str]:
    """The coordinates of a set, sorted, ``group:artifact:version[:classifier]``."""
    import jgo

    found = {
        ":".join(part for part in (a.groupId, a.artifactId, a.version, a.classifier) if part)
        for a in (jgo.resolve("+".join(jar_set.roots)) if jar_set.roots else ())
    }
    found.update(jar_set.alone)
    return sorted(c for c in found if not any(unwanted in c for unwanted in jar_set.without))


def main() -> None:
    """Resolve, download, hash and write the lock."""
    trust_the_machine()
    lines = [
        "# Every jar the servers run on, by exact coordinate and sha256.",
        "# Made by `python -m infra.fetch.lock`.",
    ]
    with tempfile.TemporaryDirectory(prefix="ward-lock-") as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        for jar_set in SETS:
            coordinates = resolve(jar_set)
            digests = pool.map(lambda c: sha256_of(download(c, Path(scratch))), coordinates)
            lines += ["", f"[sets.{jar_set.name}]"]
            lines += [f'"{coordinate}" = "{digest}"' for coordinate, digest in zip(coordinates, digests, strict=True)]
            print(f"{jar_set.name}: {len(coordinates)} jars", file=sys.stderr)
    write_atomically(LOCK, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
