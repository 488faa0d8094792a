"""Previews and heat maps from HDFS: strictly below /images, of bounded size, some remembered."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from contracts.errors import Misconfigured, Poison, Transient
from contracts.settings import Settings
from streams.hdfs_files import Files, path_of

MOST_BYTES: Final = 8 << 20
MOST_REMEMBERED: Final = 32 << 20
READ_LIMIT_S: Final = 10.0
READERS: Final = 3
PNG: Final = b"\x89PNG\r\n\x1a\n"
_PICTURE: Final = re.compile(r"/images(?:/[A-Za-z0-9_=@+-][A-Za-z0-9._=@+-]*){1,12}\.png")
_LONGEST: Final = 1024


def picture_path(uri: str) -> str:
    """The path on HDFS that an address of a picture names. Raises Poison for any other place than below /images.

    >>> picture_path("hdfs:///images/p-01/2026-01-02/1.2/3.dcm.heat.png")
    '/images/p-01/2026-01-02/1.2/3.dcm.heat.png'
    """
    path = path_of(uri) if len(uri) <= _LONGEST else ""
    if not _PICTURE.fullmatch(path):
        raise Poison("bad_uri", "a picture is a PNG file below /images on HDFS", "uri")
    return path


class Pictures:
    """Reads PNG files that the image worker wrote. They never change: each is made for one job."""

    def __init__(self, settings: Settings) -> None:
        self._url, self._user = settings.hdfs_url, settings.hdfs_user
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="pictures")
        self._remembered: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    async def read(self, uri: str) -> tuple[bytes, bool]:
        """The file's bytes, and whether they were remembered.

        Raises FileNotFoundError; Poison for an address outside /images and for what is no PNG or too large;
        Misconfigured when no HDFS is named; Transient when it does not answer.
        """
        path = picture_path(uri)
        if (kept := self._remembered.get(path)) is not None:
            self._remembered.move_to_end(path)
            return kept, True
        if self._url is None:
            raise Misconfigured("no HDFS is named: set WARD_HDFS_URL, or `./ward up datanode` first")
        reading = asyncio.get_running_loop().run_in_executor(self._readers, _read, self._url, self._user, path)
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                content = await reading
        except TimeoutError as slow:
            raise Transient(f"HDFS did not give the picture within {READ_LIMIT_S:.0f} s") from slow
        self._remember(path, content)
        return content, False

    def close(self) -> None:
        """Let the threads end."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _remember(self, path: str, content: bytes) -> None:
        before = self._remembered.pop(path, None)
        self._bytes += len(content) - (len(before) if before is not None else 0)
        self._remembered[path] = content
        while self._bytes > MOST_REMEMBERED:
            self._bytes -= len(self._remembered.popitem(last=False)[1])


def _read(url: str, user: str, path: str) -> bytes:
    content = Files(url, user).read(path, MOST_BYTES)
    if not content.startswith(PNG):
        raise Poison("not_png", "the file is no PNG", path)
    return content
