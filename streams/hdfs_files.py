"""Files on HDFS as the image worker uses them: read whole, and written so that no reader can see half of one."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Iterator
from typing import Any, Final

from contracts.errors import Misconfigured, Poison, Transient
from contracts.settings import Settings

TIMEOUT_S: Final = (3.0, 20.0)
"""To connect, and between two pieces of an answer."""
_URI: Final = re.compile(r"(?:hdfs://(?:[A-Za-z0-9.-]+(?::\d{1,5})?)?)?(/[^?#]+)")


def path_of(uri: str) -> str:
    """The path that an ``hdfs:`` address names, or a path itself. Raises Poison for any other, and for a way upwards.

    >>> path_of("hdfs:///images/p-01/2026-01-02/1.2/3.dcm"), path_of("/images/p-01/3.dcm")
    ('/images/p-01/2026-01-02/1.2/3.dcm', '/images/p-01/3.dcm')
    """
    found = _URI.fullmatch(uri)
    if found is None or any(part in ("", ".", "..") for part in found[1][1:].split("/")):
        raise Poison("bad_uri", "the address of an image is a path on HDFS without a way upwards", "$.uri")
    return found[1]


class Files:
    """One HDFS, as one user. Every method raises Transient when HDFS does not answer or does not take it now."""

    def __init__(self, url: str, user: str) -> None:
        self.url = url
        self.user = user
        self._web: Any = None

    @classmethod
    def of(cls, settings: Settings) -> Files:
        """The HDFS that the settings name. Raises Misconfigured when they name none."""
        if settings.hdfs_url is None:
            raise Misconfigured("no HDFS is named: set WARD_HDFS_URL, or `./ward up datanode` first")
        return cls(settings.hdfs_url, settings.hdfs_user)

    def read(self, path: str, most: int) -> bytes:
        """A file's bytes. Raises FileNotFoundError, and Poison (``too_large``) for more than ``most``."""
        with self._answers(path), self._client().read(path, length=most + 1) as stream:
            content: bytes = stream.read()
        if len(content) > most:
            raise Poison("too_large", f"more than {most} bytes", "$.uri")
        return content

    def write(self, path: str, content: bytes) -> None:
        """Have the file ``path`` with this content, in place of what was there: a reader sees either.

        A draft that a killed writer left behind is written over.
        """
        draft = posixpath.join(posixpath.dirname(path), f"_{posixpath.basename(path)}.draft")
        with self._answers(path):
            self._client().write(draft, data=content, overwrite=True)
            self._client().replace(draft, path)

    def _client(self) -> Any:
        if self._web is None:
            self._web = _client(self.url, self.user)
        return self._web

    @contextlib.contextmanager
    def _answers(self, path: str) -> Iterator[None]:
        import hdfs
        import requests
        import urllib3

        try:
            yield
        except hdfs.HdfsError as wrong:
            said = str(wrong).strip().splitlines()[0] if str(wrong).strip() else "no word"
            if "does not exist" in said or "FileNotFound" in said or "not found" in said:
                raise FileNotFoundError(f"{path} is not on HDFS") from wrong
            raise Transient(f"HDFS refused {path} for {self.user}: {said}") from wrong
        except (requests.RequestException, urllib3.exceptions.HTTPError) as away:
            raise Transient(f"HDFS at {self.url} does not answer: {type(away).__name__}") from away


def _client(url: str, user: str) -> Any:
    import hdfs

    class WebHdfs(hdfs.InsecureClient):  # type: ignore[misc]  # untyped package
        """The package's client, with what WebHDFS can do besides: to replace a file in one step."""

        def replace(self, old: str, new: str) -> None:
            """Put ``old`` in the place of ``new``."""
            self._rename(old, destination=new, renameoptions="OVERWRITE")

    return WebHdfs(url, user=user, timeout=TIMEOUT_S)
