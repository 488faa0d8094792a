"""A version of a model: its manifest, its files, its name made of both."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from contracts.errors import Misconfigured, Poison

DIGITS: Final = 12


class Interval(msgspec.Struct, frozen=True):
    """A figure with the bounds of its 95 % interval, taken over ``n`` cases. Finite: what is undefined is left out."""

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        """ValueError for what is not a number."""
        if not all(map(math.isfinite, (self.value, self.low, self.high))):
            raise ValueError(f"{self.value} [{self.low}, {self.high}] is no finite figure; leave it out and say so")


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Data that a version was made from. ``sha256`` is of the file as read, ``rows`` what was used of it."""

    name: str
    licence: str
    sha256: str
    rows: int
    synthetic: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version is. ``made`` is the day (UTC), ``code`` the release and module that made it.

    ``metrics`` are by split, then by name. ``purpose`` and ``limits`` are sentences for the card.
    """

    name: str
    made: str
    code: str
    seed: int
    data: tuple[Dataset, ...]
    files: dict[str, str]
    parameters: dict[str, Any] = {}
    metrics: dict[str, dict[str, Interval]] = {}
    purpose: str = ""
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """One version with its files, every byte of which has been held against the manifest."""

    name: str
    sha256: str
    manifest: Manifest
    _contents: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def of(cls, name: str, files: Mapping[str, bytes], **fields: Any) -> Bundle:
        """A version not kept anywhere yet: to judge it before it is added. ``fields`` are those of ``Manifest``.

        ``made`` is today where it is not given; numpy values become plain. Raises Misconfigured naming a bad field.
        """
        manifest = manifest_bytes(name, files, fields)
        return cls(name, sha256_of(manifest), decoded(manifest, f"the new {name}"), dict(files))

    @property
    def version(self) -> str:
        """The first 12 hex digits of the manifest's sha256."""
        return self.sha256[:DIGITS]

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the model needs besides its files: scalers, calibration, thresholds."""
        return self.manifest.parameters

    def read(self, file: str) -> bytes:
        """A file of this version. Raises Poison when the manifest does not list it: then the model cannot be built."""
        if file not in self._contents:
            raise Poison(
                "incomplete_model",
                f"no such file; it has {sorted(self._contents)}",
                f"{self.name}/{self.version}/{file}",
            )
        return self._contents[file]


def manifest_bytes(name: str, files: Mapping[str, bytes], fields: Mapping[str, Any]) -> bytes:
    """The manifest of these files and fields, as it is hashed and kept. Raises Misconfigured naming the bad field."""
    given = {
        "made": stamp(datetime.now(UTC))[:10],
        **fields,
        "name": name,
        "files": {file: sha256_of(files[file]) for file in sorted(files)},
    }
    try:
        plain = msgspec.to_builtins(given, enc_hook=_plain_number)
        manifest = msgspec.convert(plain, Manifest)
        return json.dumps(msgspec.to_builtins(manifest), allow_nan=False, ensure_ascii=False, indent=1).encode() + b"\n"
    except (TypeError, ValueError, msgspec.MsgspecError) as wrong:
        raise Misconfigured(f"bad manifest of {name}: {wrong}") from wrong


def _plain_number(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in a manifest: {value!r:.60}")


def decoded(raw: bytes, where: str) -> Manifest:
    """The manifest in these bytes. Raises Poison (``bad_manifest``)."""
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as wrong:
        raise Poison("bad_manifest", f"{wrong}; it was made by another release, train it again", where) from wrong


def sha256_of(content: bytes) -> str:
    """In hex."""
    return hashlib.sha256(content).hexdigest()


def stamp(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
