"""Who is behind a pseudonym: one small file an image in the identified zone, by its pseudonymous study and instance."""

from __future__ import annotations

import contextlib
import posixpath
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from contracts.errors import Poison
from producers.image_store import SEALED, Zone

MAP: Final = "map"
NAME: Final = re.compile(r"r(\d{1,6})\.json")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """One stored image and where it came from. ``originals`` are DICOM attributes by keyword, as they were.

    ``patient``, ``study``, ``series`` and ``instance`` are the pseudonyms; dates of this patient were moved by
    ``shift_days``. ``sha256`` is that of the stored bytes, ``raw_sha256`` that of those which came.
    """

    version: int
    patient: str
    study: str
    series: str
    instance: str
    uri: str
    sha256: str
    raw_sha256: str
    shift_days: int
    originals: dict[str, str]
    revision: int = 0


class Identities:
    """The map in the identified zone. Every method raises Transient as the zone does."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def remember(self, one: Identity) -> None:
        """Write it down; doing so again changes nothing."""
        with contextlib.suppress(FileExistsError):
            self._zone.write(self._path(one.study, one.instance, one.revision), msgspec.json.encode(one))

    def of(self, study: str, instance: str, revision: int = 0) -> Identity | None:
        """Who it is, by the pseudonymous UIDs that records carry; None when nothing is known.

        Raises Poison for an entry that is none.
        """
        try:
            raw = self._zone.read(self._path(study, instance, revision))
        except FileNotFoundError:
            return None
        try:
            return msgspec.json.decode(raw, type=Identity)
        except msgspec.DecodeError as wrong:
            raise Poison("identity", "an entry of the identified zone cannot be read") from wrong

    def revisions(self, study: str, instance: str) -> Iterator[Identity]:
        """Every revision of an instance, in order. Raises as ``of``."""
        names = self._zone.sizes(posixpath.dirname(self._path(study, instance, 0)))
        for revision in sorted(int(found[1]) for name in names if (found := NAME.fullmatch(name))):
            if one := self.of(study, instance, revision):
                yield one

    def told(self, one: Identity) -> bool:
        """Whether its arrival is known to have reached the log."""
        status = self._zone.status(self._path(one.study, one.instance, one.revision))
        return status is not None and status["permission"] == SEALED

    def seal(self, one: Identity) -> None:
        """From now on it is."""
        self._zone.seal(self._path(one.study, one.instance, one.revision))

    def _path(self, study: str, instance: str, revision: int) -> str:
        return f"{self._zone.root}/{MAP}/{study}/{instance}/r{revision}.json"
