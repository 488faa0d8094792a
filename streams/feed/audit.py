"""The audit log: who did what, when, where, with what outcome; append-only and chained by hash.

One JSON line a row. ``hash`` is the sha256 over the previous row's hash and the row itself, so a changed, removed,
inserted or moved row is found; a side file with the newest hash also finds rows cut off the end. A row is on the disk
(fsync) before the thing it speaks of is answered. Rows name beds and alarms, never values, names or free text.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from contracts.errors import Misconfigured, Transient

GENESIS: Final = "0" * 64
_MAX_PAGE: Final = 1000


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One audited event. ``detail`` is a short word from our own vocabulary, an id, or empty."""

    n: int
    at_ms: int
    who: str
    role: str
    what: str
    where: str
    outcome: str
    address: str
    detail: str
    prev: str
    hash: str = ""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be audited, before it has its place in the chain."""

    who: str
    role: str
    what: str
    where: str
    outcome: str
    address: str = ""
    detail: str = ""


class Finding(msgspec.Struct, frozen=True):
    """A place where the log is not what was written."""

    line: int
    what: str


class _Head(msgspec.Struct, frozen=True):
    n: int
    hash: str


def row_hash(row: Row) -> str:
    """The hash that binds a row to everything before it."""
    bare = msgspec.json.encode(msgspec.structs.replace(row, hash=""))
    return hashlib.sha256(row.prev.encode() + b"\n" + bare).hexdigest()


class AuditLog:
    """Appends rows; several processes may share one file. Closing waits for what is under way."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._head_path = path.with_name(path.name + ".head")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as wrong:
            raise Misconfigured(f"audit log {path} cannot be opened: {wrong.strerror}; set WARD_AUDIT_LOG") from wrong

    async def write(self, entry: Entry) -> None:
        """Append a row and return once it is on the disk; rows that come meanwhile share one fsync.

        Raises Transient when the disk refuses: then the audited thing must not happen.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_waiting())
        await done

    def append(self, entries: list[Entry]) -> None:
        """Append rows now, blocking until they are on the disk. Raises OSError."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            n, previous = self._tail()
            lines = []
            for entry in entries:
                n += 1
                fields = msgspec.structs.asdict(entry)
                row = Row(n=n, at_ms=time.time_ns() // 1_000_000, prev=previous, **fields)
                row = msgspec.structs.replace(row, hash=row_hash(row))
                previous = row.hash
                lines.append(msgspec.json.encode(row) + b"\n")
            _write_all(self._file, b"".join(lines))
            os.fsync(self._file)
            draft = self._head_path.with_name(f".{self._head_path.name}.{os.getpid()}")
            draft.write_bytes(msgspec.json.encode(_Head(n, previous)))
            draft.replace(self._head_path)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def page(self, limit: int = 100, before: int | None = None) -> list[Row]:
        """The newest rows, newest first; ``before`` goes on from a row number."""
        rows: list[Row] = []
        for line in _lines_backwards(self.path):
            row = _row_in(line)
            if row is not None and (before is None or row.n < before):
                rows.append(row)
            if len(rows) >= min(limit, _MAX_PAGE):
                break
        return rows

    def close(self) -> None:
        """Wait for the writer and close the file."""
        self._writer.shutdown(wait=True)
        os.close(self._file)

    async def _commit_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            failure: Transient | None = None
            try:
                await loop.run_in_executor(self._writer, self.append, [entry for entry, _ in batch])
            except OSError as wrong:
                failure = Transient(f"the audit log cannot be written: {wrong.strerror}")
            for _, done in batch:
                if done.done():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)

    def _tail(self) -> tuple[int, str]:
        """Number and hash of the last whole row; bytes of a row that a crash cut short are taken off.

        After a damaged row the log goes on from the hash of its bytes: ``verify`` will tell, and the ward is not
        left without its wall.
        """
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            keep = _after_last_newline(self._file, size)
            os.ftruncate(self._file, keep)
        for line in _lines_backwards(self.path):
            last = _row_in(line)
            if last is not None:
                return last.n, last.hash
            head = _head_of(self.path)
            return (head.n if head is not None else 0), hashlib.sha256(line).hexdigest()
        return 0, GENESIS


def verify(path: Path) -> tuple[int, list[Finding]]:
    """The number of rows and everything that does not fit the chain. Raises FileNotFoundError."""
    findings: list[Finding] = []
    previous, n = GENESIS, 0
    hashes: dict[int, str] = {}
    head = _head_of(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = msgspec.json.decode(line, type=Row)
            except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
                findings.append(Finding(number, f"is not a row: {wrong}"))
                continue
            if msgspec.json.encode(row) + b"\n" != line:
                findings.append(Finding(number, "is not written as this log writes rows"))
            if row_hash(row) != row.hash:
                findings.append(Finding(number, "was edited: its content does not match its hash"))
            if row.prev != previous:
                findings.append(Finding(number, f"does not follow the row before it (n {n} then {row.n})"))
            previous, n = row.hash, row.n
            if head is not None and row.n == head.n:
                hashes[row.n] = row.hash
    if head is not None and hashes.get(head.n) != head.hash:
        what = (
            f"row {head.n} was written once and is not there any more" if head.n > n else "differs from the side file"
        )
        findings.append(Finding(n + 1, what))
    if head is None and n:
        findings.append(Finding(n + 1, "the side file with the newest hash is missing"))
    return n, findings


def _row_in(line: bytes) -> Row | None:
    try:
        return msgspec.json.decode(line, type=Row)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _head_of(path: Path) -> _Head | None:
    try:
        return msgspec.json.decode(path.with_name(path.name + ".head").read_bytes(), type=_Head)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _after_last_newline(file: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - 65536)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """Whole lines from the last to the first."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            rest = file.read(end - start) + rest
            lines = rest.split(b"\n")
            rest = lines[0]
            yield from (line for line in reversed(lines[1:]) if line)
            end = start
        if rest:
            yield rest
