"""Images and identities on HDFS, as the gateway and the return of results use them: whole files that appear at once.

De-identified images are written and read as the platform's user, everything below the identified zone as its owner.
"""

from __future__ import annotations

import contextlib
import posixpath
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, Final

from contracts.errors import Misconfigured, Transient
from contracts.lake import IDENTIFIED_ROOT, IMAGES_ROOT
from contracts.settings import Settings

IDENTITY_USER: Final = "identity"
"""Owns the identified zone; see contracts.lake.MEMBERS."""
DRAFTS: Final = "_drafts"
STALE_S: Final = 3600.0
PATIENCE_S: Final = 20.0
OPEN, SEALED = "600", "400"
"""Modes of a file of the identified zone: what nobody may change any more is what everybody was told of."""


class Zone:
    """A folder of HDFS and what is below it, as one user. Every method raises Transient when HDFS does not answer or
    does not take it now. Paths begin with ``/``; a path outside the folder is a ValueError. For several threads."""

    def __init__(self, url: str, user: str, root: str, mode: str | None = None) -> None:
        self.url, self.user, self.root, self.mode = url, user, root.rstrip("/"), mode
        self._threads = threading.local()

    def read(self, path: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError when there is none."""
        with self._answers(path) as web, web.read(self._below(path)) as stream:
            found: bytes = stream.read()
            return found

    def write(self, path: str, content: bytes) -> None:
        """Make the file ``path``, whole or not at all. Raises FileExistsError when there is one already."""
        draft = f"{self.root}/{DRAFTS}/{uuid.uuid4().hex}"
        with self._answers(path) as web:
            web.write(draft, data=content, permission=self.mode)
            if web.status(draft)["length"] != len(content):
                raise Transient(f"HDFS kept another number of bytes of {path} than it was given")
            web.makedirs(posixpath.dirname(self._below(path)))
            done = web._rename(draft, destination=path).json()["boolean"]  # noqa: SLF001  # the public one hides why
        if not done:
            with contextlib.suppress(Transient), self._answers(draft) as web:
                web.delete(draft)
            if self.status(path) is not None:
                raise FileExistsError(f"{path} is there already")
            raise Transient(f"HDFS did not give {path} its name")

    def status(self, path: str) -> dict[str, Any] | None:
        """What HDFS says of a file or folder (``length``, ``permission``, ...); None when there is none."""
        with self._answers(path) as web:
            found: dict[str, Any] | None = web.status(self._below(path), strict=False)
            return found

    def sizes(self, path: str) -> dict[str, int]:
        """The files directly in a folder, by name, with their bytes; empty when there is no folder."""
        try:
            with self._answers(path) as web:
                return {name: told["length"] for name, told in web.list(self._below(path), status=True)}
        except FileNotFoundError:
            return {}

    def seal(self, path: str) -> None:
        """Let nobody write the file any more. Raises FileNotFoundError."""
        with self._answers(path) as web:
            web.set_permission(self._below(path), SEALED)

    def sweep(self) -> int:
        """Remove drafts that a killed process left behind long ago; how many."""
        drafts = f"{self.root}/{DRAFTS}"
        limit_ms = (time.time() - STALE_S) * 1000
        try:
            with self._answers(drafts) as web:
                old = [name for name, told in web.list(drafts, status=True) if told["modificationTime"] < limit_ms]
                for name in old:
                    web.delete(f"{drafts}/{name}")
        except FileNotFoundError:
            return 0
        return len(old)

    def _below(self, path: str) -> str:
        if posixpath.normpath(path) != path or not path.startswith(f"{self.root}/"):
            raise ValueError(f"a path is one below {self.root}, with nothing to be resolved in it")
        return path

    @contextlib.contextmanager
    def _answers(self, path: str) -> Iterator[Any]:
        import hdfs
        import requests

        client = getattr(self._threads, "client", None)
        if client is None:  # its session is not for several threads at once
            client = self._threads.client = hdfs.InsecureClient(self.url, user=self.user, timeout=PATIENCE_S)
        try:
            yield client
        except hdfs.HdfsError as wrong:
            text = str(wrong)
            if "does not exist" in text or "FileNotFound" in text or "not found" in text:
                raise FileNotFoundError(f"{path} is not on HDFS") from wrong
            raise Transient(f"HDFS refused {path} for {self.user}: {text.strip().splitlines()[0]}") from wrong
        except (requests.RequestException, OSError) as away:
            raise Transient(f"HDFS at {self.url} does not answer: {away}; `./ward up datanode` starts it") from away


def images(settings: Settings) -> Zone:
    """The zone of de-identified images. Raises Misconfigured when no HDFS is named."""
    return Zone(_url(settings), settings.hdfs_user, IMAGES_ROOT)


def identified(settings: Settings) -> Zone:
    """The zone of what leads back to a person. Raises Misconfigured when no HDFS is named."""
    return Zone(_url(settings), IDENTITY_USER, settings.identities or IDENTIFIED_ROOT, OPEN)


def _url(settings: Settings) -> str:
    if settings.hdfs_url is None:
        raise Misconfigured("no HDFS is named: set WARD_HDFS_URL, or `./ward up datanode` first")
    return settings.hdfs_url
