"""What can be wrong with the lake: its zones, its checkpoint against its tables, its metastore."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from contracts.errors import Misconfigured, Poison, Transient
from contracts.lake import CHECKPOINT, MANIFESTS, ROOT
from contracts.settings import Settings
from infra.finding import Finding
from infra.launch import zones as places
from infra.launch.hdfs import superuser
from infra.stack import Stack

if TYPE_CHECKING:
    from batch.storage import Storage


def zones(stack: Stack) -> Iterator[Finding]:
    """Folders of HDFS that others may read, or that are not there."""
    if stack.pid("datanode") is None or not (stack.state / "done" / "zones").exists():
        return
    try:
        for wrong in places.wrong(stack.environment()["WARD_HDFS_URL"], superuser()):
            yield Finding("zones", str(wrong), "ward up zones mends it; see who could read it meanwhile")
    except (Misconfigured, Transient) as refused:
        yield Finding("zones", str(refused), "ward logs namenode")


def checkpoint(stack: Stack) -> Iterator[Finding]:
    """A checkpoint that has passed batches which no manifest tells of."""
    from batch import manifests
    from batch.storage import Storage

    if stack.pid("datanode") is None:
        return
    storage = Storage.of(Settings.from_env(stack.environment()))
    try:
        passed = max(_passed(storage), default=-1)
        told = max((one.batch for one in manifests.load(storage) if one.batch is not None), default=-1)
    except (Poison, Transient) as refused:
        yield Finding("checkpoint", str(refused), "ward lake verify names what is damaged; ward logs namenode")
        return
    if passed > told:
        yield Finding(
            "checkpoint",
            f"{CHECKPOINT} says that batch {passed} was landed; manifests tell of batches up to {told} only",
            f"restore {MANIFESTS} and the tables; or, while Kafka still has everything: ward down lake, remove {ROOT} "
            "from HDFS, ward up lake",
        )


def _passed(storage: Storage) -> Iterator[int]:
    """Batches that Spark holds to be done: in each checkpoint they count from the one that it is named after."""
    for first in storage.names(CHECKPOINT):
        for batch in storage.names(f"{CHECKPOINT}/{first}/commits"):
            if first.isdigit() and batch.isdigit():
                yield int(first) + int(batch)


def metastore(stack: Stack) -> Iterator[Finding]:
    """A second program in Hive's metastore, which takes one at a time."""
    lock = stack.state / "data" / "hive" / "metastore" / "dbex.lck"
    if not lock.exists() or not is_held(lock):
        return
    pid = stack.pid("hive")
    ours = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))} if pid else set()
    for holder in sorted(holders(lock.parent) - ours):
        yield Finding(
            "metastore",
            f"process {holder} has Hive's metastore open, which takes one process",
            f"end it (kill {holder}), then ward up hive; to ask the tables, be a client of the server: ward lake sql",
        )


def is_held(lock: Path) -> bool:
    """Whether another process holds a lock on this file; one that a dead process left behind is held by nobody."""
    with lock.open("rb") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


def holders(folder: Path) -> set[int]:
    """The processes that have a file of this folder open."""
    found = set()
    for process in psutil.process_iter():
        try:
            if any(Path(file.path).is_relative_to(folder) for file in process.open_files()):
                found.add(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
