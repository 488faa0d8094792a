"""The zones of HDFS, each with its owner and mode: ``python -m infra.launch.zones``; doing it again changes nothing.

Only the superuser may give folders away: on HDFS that is whoever runs the NameNode, told by WARD_HDFS_USER.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from contracts.errors import Misconfigured, Transient
from contracts.lake import ZONES, Owner
from contracts.settings import Settings

SCRATCH: Final = "/tmp"  # noqa: S108 - a folder of HDFS
PLACES: Final[Mapping[str, Owner]] = MappingProxyType({SCRATCH: Owner("ward", "ward", "1777"), **ZONES})
"""Every folder that is made: the zones of contracts.lake, and the scratch folder that Hive expects of an HDFS."""


@dataclass(frozen=True)
class Wrong:
    """A folder that is not as it should be; ``found`` is None when it is not there."""

    path: str
    wanted: Owner
    found: Owner | None

    def __str__(self) -> str:
        """In words."""
        if self.found is None:
            return f"{self.path} is not there"
        found, wanted = self.found, self.wanted
        return (
            f"{self.path} belongs to {found.user}:{found.group} with mode {found.mode}, "
            f"not to {wanted.user}:{wanted.group} with {wanted.mode}"
        )


def wrong(url: str, user: str) -> list[Wrong]:
    """The folders that are not as they should be. Raises Transient when HDFS does not answer, Misconfigured if it
    does not let ``user`` look."""
    with _Hdfs(url, user) as client:
        return list(_wrong(client))


def make(url: str, user: str) -> list[Wrong]:
    """Make what is missing and give everything its owner and mode; what was wrong before. Raises as ``wrong`` does."""
    mended = []
    with _Hdfs(url, user) as client:
        for one in _wrong(client):
            if one.found is None:
                client.makedirs(one.path)
            client.set_owner(one.path, owner=one.wanted.user, group=one.wanted.group)
            client.set_permission(one.path, permission=one.wanted.mode)
            mended.append(one)
    return mended


def _wrong(client: Any) -> Iterator[Wrong]:
    """One by one, so that a folder that was just made is seen by those below it."""
    for path, wanted in PLACES.items():
        status = client.status(path, strict=False)
        found = None if status is None else Owner(status["owner"], status["group"], status["permission"])
        if found != wanted:
            yield Wrong(path, wanted, found)


class _Hdfs:
    """A WebHDFS client whose failures are ours."""

    def __init__(self, url: str, user: str) -> None:
        self._url, self._user = url, user

    def __enter__(self) -> Any:
        import hdfs

        return hdfs.InsecureClient(self._url, user=self._user, timeout=30)

    def __exit__(self, _kind: object, failure: BaseException | None, _where: object) -> None:
        import hdfs
        import requests

        if isinstance(failure, hdfs.HdfsError):
            said = str(failure).strip().splitlines()[0]
            if "ermission" in said or "uperuser" in said or failure.exception == "AccessControlException":
                raise Misconfigured(
                    f"HDFS does not obey {self._user} ({said}): set WARD_HDFS_USER to the user that runs the NameNode"
                ) from failure
            raise Transient(f"HDFS refused: {said}") from failure
        if isinstance(failure, requests.RequestException):
            raise Transient(f"HDFS at {self._url} does not answer: {failure}") from failure


def main() -> None:
    """Make the zones on the HDFS of the environment."""
    settings = Settings.from_env(os.environ)
    if settings.hdfs_url is None:
        raise Misconfigured("WARD_HDFS_URL says which HDFS to make the zones on")
    mended = make(settings.hdfs_url, settings.hdfs_user)
    print("\n".join(f"mended: {one}" for one in mended) or "every zone is as it should be", file=sys.stderr)


if __name__ == "__main__":
    main()
