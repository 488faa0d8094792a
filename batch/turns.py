"""Who joins or removes files of the lake takes turns: one at a time, by a file on HDFS that a dead one cannot keep."""

from __future__ import annotations

import contextlib
import os
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Final

import msgspec

from batch.storage import Storage
from batch.view import OPEN
from contracts.errors import Transient

LOCK: Final = f"{OPEN}/_lock"
LOCK_S: Final = 7200.0
"""After so long a holder on another machine counts as dead. Nothing depends on it but waiting: what two would do at
once to the same files fails for one of them."""


class Busy(Transient):
    """Somebody else compacts or removes files now."""


class _Holder(msgspec.Struct, frozen=True):
    host: str
    pid: int
    at_ms: int
    token: str


@contextlib.contextmanager
def held(storage: Storage) -> Iterator[None]:
    """Be the only one who joins or removes files. Raises Busy while another one is; one that died is no other."""
    mine = _Holder(socket.gethostname(), os.getpid(), time.time_ns() // 1_000_000, uuid.uuid4().hex)
    for _ in range(2):
        try:
            storage.write(LOCK, msgspec.json.encode(mine))
            break
        except FileExistsError:
            _put_aside(storage)
    else:
        raise Busy("another compaction or retention runs; try again when it is over")
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            if msgspec.json.decode(storage.read(LOCK), type=_Holder) == mine:
                storage.remove(LOCK)


def _put_aside(storage: Storage) -> None:
    """Take a dead holder's lock away, by a rename: only one can."""
    try:
        other = msgspec.json.decode(storage.read(LOCK), type=_Holder)
    except (FileNotFoundError, msgspec.DecodeError):
        return
    if _lives(other):
        raise Busy(f"process {other.pid} on {other.host} compacts or removes files now; try again when it is over")
    aside = f"{LOCK}-{uuid.uuid4().hex}"
    with contextlib.suppress(FileNotFoundError):
        storage.rename(LOCK, aside)
        storage.remove(aside)


def _lives(other: _Holder) -> bool:
    if other.host != socket.gethostname():
        return time.time() * 1000 < other.at_ms + LOCK_S * 1000
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
