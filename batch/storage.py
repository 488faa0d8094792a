"""HDFS as the lake uses it: whole files that appear at once, listings, and steps that no reader can see half of.

The ``hdfs`` package (WebHDFS) writes, renames and asks; ``hdfs-native`` reads, because Parquet wants many small reads.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings

COPIERS: Final = 4
USER: Final = "ward"
"""The user of the platform on HDFS; see contracts.lake.MEMBERS."""


@dataclass(frozen=True)
class Entry:
    """A file or folder on HDFS. ``modified_ms`` is epoch ms."""

    path: str
    size: int
    modified_ms: int


class Storage:
    """One HDFS, as one user. Every method raises Transient when HDFS does not answer or does not take it now."""

    def __init__(self, url: str, rpc: str, user: str = USER) -> None:
        self.url, self.rpc, self.user = url, rpc, user
        self.web: Any = _client(url, user)

    @classmethod
    def of(cls, settings: Settings, user: str = USER) -> Storage:
        """The HDFS that the settings name. Raises Misconfigured when they name none."""
        if settings.hdfs_url is None or settings.hdfs_rpc is None:
            raise Misconfigured("no HDFS is named: set WARD_HDFS_URL and WARD_HDFS_RPC, or `./ward up datanode` first")
        return cls(settings.hdfs_url, settings.hdfs_rpc, user)

    def uri(self, path: str) -> str:
        """The full address of a path, for Spark and Hive."""
        return f"{self.rpc}{path}"

    def arrow(self) -> Any:
        """The same HDFS as a pyarrow filesystem; paths begin with ``/``."""
        import pyarrow.fs
        from hdfs_native.fsspec import HdfsFileSystem

        os.environ["HADOOP_USER_NAME"] = self.user
        host, _, port = self.rpc.removeprefix("hdfs://").partition(":")
        # fsspec's cache would hand one user's connection to another, and drops it in every forked child, where its
        # threads are missing: the child waits for them for ever, and so does whoever starts Spark after a read
        made = HdfsFileSystem(host=host, port=int(port or 8020), skip_instance_cache=True)
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(made))

    # -- files -------------------------------------------------------------------------------------------------------

    def read(self, path: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError when there is none."""
        with self._answers(path), self.web.read(path) as stream:
            found: bytes = stream.read()
            return found

    def write(self, path: str, content: bytes) -> None:
        """Make the file ``path``, whole or not at all. Raises FileExistsError when there is one already."""
        draft = posixpath.join(posixpath.dirname(path), f"_{posixpath.basename(path)}.{uuid.uuid4().hex[:8]}")
        with self._answers(path):
            self.web.write(draft, data=content, overwrite=True)
        try:
            self.rename(draft, path)
        except (FileExistsError, Transient):
            with contextlib.suppress(Transient):
                self.remove(draft)
            raise

    def copy_down(self, paths: Sequence[str], folder: str) -> None:
        """Bring files below a local folder, under the paths that they have. Raises FileNotFoundError.

        What is then read there can wait for nobody: a reader's own threads and those of a filesystem in Python were
        seen to wait for each other for ever, once in some hundred queries of a busy machine.
        """

        def one(path: str) -> None:
            target = Path(f"{folder}{path}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(path))

        with ThreadPoolExecutor(COPIERS) as pool:
            for _ in pool.map(one, paths):
                pass

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        with self._answers(path):
            return self.web.status(path, strict=False) is not None

    def entries(self, path: str, hidden: bool = False) -> Iterator[Entry]:
        """Every file below a folder, in order of path; none when there is no folder.

        Files and folders whose names begin with ``_`` or ``.`` are left out, as every reader of tables does, unless
        ``hidden``.
        """
        try:
            with self._answers(path):
                found = sorted(self.web.list(path, status=True))
        except FileNotFoundError:
            return
        for name, status in found:
            if name[:1] in "_." and not hidden:
                continue
            below = posixpath.join(path, name)
            if status["type"] == "DIRECTORY":
                yield from self.entries(below, hidden)
            else:
                yield Entry(below, status["length"], status["modificationTime"])

    def folders(self, path: str) -> list[Entry]:
        """The folders directly in a folder, hidden ones apart, in order; none when there is no such folder.

        A folder is modified when something appears in it or goes; its ``size`` is 0.
        """
        try:
            with self._answers(path):
                found = sorted(self.web.list(path, status=True))
        except FileNotFoundError:
            return []
        return [
            Entry(posixpath.join(path, name), 0, status["modificationTime"])
            for name, status in found
            if status["type"] == "DIRECTORY" and name[:1] not in "_."
        ]

    def names(self, path: str) -> list[str]:
        """What stands in a folder, files and folders, hidden ones too; nothing when there is no folder."""
        try:
            with self._answers(path):
                return sorted(self.web.list(path))
        except FileNotFoundError:
            return []

    def makedirs(self, path: str) -> None:
        """Make a folder and those above it."""
        with self._answers(path):
            self.web.makedirs(path)

    def rename(self, old: str, new: str) -> None:
        """Give a file or folder another name, in one step. Raises FileExistsError, FileNotFoundError."""
        with self._answers(old):
            done: bool = self.web.move(old, new)
        if not done:
            if self.exists(new):
                raise FileExistsError(f"{new} is there already")
            if not self.exists(old):
                raise FileNotFoundError(f"{old} is not there")
            raise Transient(f"HDFS did not rename {old} to {new}")

    def replace(self, old: str, new: str) -> None:
        """Put the file ``old`` in the place of the file ``new``, in one step: a reader sees either."""
        with self._answers(old):
            self.web.move(old, new, renameoptions="OVERWRITE")

    def concat(self, target: str, sources: Sequence[str]) -> None:
        """Append files to the file ``target`` and take them away, in one step."""
        with self._answers(target):
            self.web.join(target, sources)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder and what is in it; nothing happens when there is none."""
        with self._answers(path):
            self.web.delete(path, recursive=True)

    @contextlib.contextmanager
    def _answers(self, path: str) -> Iterator[None]:
        import hdfs
        import requests

        try:
            yield
        except hdfs.HdfsError as wrong:
            text = str(wrong)
            if "does not exist" in text or "FileNotFound" in text or "not found" in text:
                raise FileNotFoundError(f"{path} is not on HDFS") from wrong
            if "already exists" in text:
                raise FileExistsError(f"{path} is there already") from wrong
            raise Transient(f"HDFS refused {path} for {self.user}: {text.strip().splitlines()[0]}") from wrong
        except requests.RequestException as away:
            raise Transient(f"HDFS at {self.url} does not answer: {away}; `./ward up datanode` starts it") from away


def _client(url: str, user: str) -> Any:
    import hdfs
    from hdfs.client import _Request

    class WebHdfs(hdfs.InsecureClient):  # type: ignore[misc]  # untyped package
        """The package's client, with what WebHDFS can do besides: replace, and join files."""

        _concat = _Request("POST")

        def move(self, old: str, new: str, **options: str) -> bool:
            """Rename; True also for an answer without a body, which is how a replacement is confirmed."""
            answer = self._rename(old, destination=new, **options)
            return bool(answer.json()["boolean"]) if answer.content else True

        def join(self, target: str, sources: Sequence[str]) -> None:
            """Concatenate."""
            self._concat(target, sources=",".join(sources))

    return WebHdfs(url, user=user, timeout=30)
