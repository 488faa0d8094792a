"""Versions of models in folders: written whole, named by their content, read only when every byte is as it was made.

    <root>/<name>/aliases.json                   who is champion and who candidate here, and every change of it
    <root>/<name>/<version>/manifest.json        what it is; version = first 12 hex digits of this file's sha256
    <root>/<name>/<version>/<file>               as the manifest lists them, each with its sha256
    <root>/<name>/<version>/card.md, evaluation-<split>.json    written later about the version, no part of it

The versions shipped inside the package lie below; a folder of one's own lies over them, and only that is written to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from contracts.errors import Misconfigured, Poison, Transient
from contracts.settings import Settings
from models.bundle import DIGITS, Bundle, Dataset, Interval, Manifest, decoded, manifest_bytes, sha256_of, stamp

__all__ = ["Bundle", "Dataset", "Interval", "Manifest", "NotThere", "Registry", "own_folder"]

SHIPPED: Final = Path(__file__).resolve().parent / "weights"
MANIFEST: Final = "manifest.json"
ALIASES: Final = "aliases.json"
CARD: Final = "card.md"
Alias = Literal["champion", "candidate"]
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_VERSION: Final = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
_EVALUATION: Final = re.compile(r"evaluation-[a-z0-9_-]+\.json")


class NotThere(Misconfigured):
    """No such model or version."""


class Change(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An alias moved from one version to another; ``undo`` marks a roll-back."""

    at: str
    by: str
    reason: str
    alias: Alias
    from_: str | None
    to: str | None
    undo: bool = False


class Aliases(msgspec.Struct, frozen=True, kw_only=True):
    """Which version is which. None: not decided in this folder."""

    champion: str | None = None
    candidate: str | None = None
    changes: tuple[Change, ...] = ()


def own_folder(settings: Settings) -> Path:
    """Where a ward keeps the models that it trained or promoted itself: WARD_MODELS_DIR, else beside its state."""
    if settings.models_dir:
        return Path(settings.models_dir).expanduser()
    state = settings.state_dir
    return (Path(state).expanduser() if state else Path(__file__).resolve().parent.parent / ".ward") / "models"


class Registry:
    """The models to be had: those of ``own`` over those ``shipped``. Safe to use from several processes at once.

    ``own`` may be absent (read only) or not exist yet. ``now`` dates what is written.
    """

    def __init__(
        self,
        own: Path | None = None,
        shipped: Path = SHIPPED,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.own = own
        self._roots = tuple(dict.fromkeys(([own.resolve()] if own else []) + [shipped.resolve()]))
        self._now = now

    def names(self) -> tuple[str, ...]:
        """Every model that has a version."""
        found = {path.name for root in self._roots if root.is_dir() for path in root.iterdir()}
        return tuple(sorted(name for name in found if _NAME.fullmatch(name) and self.versions(name)))

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model; empty when there is none."""
        found = {path.name for folder in self._folders(name) if folder.is_dir() for path in folder.iterdir()}
        return tuple(sorted(version for version in found if _VERSION.fullmatch(version)))

    def aliases(self, name: str) -> Aliases:
        """Champion, candidate and all changes, oldest first; what ``own`` decides goes before what was shipped."""
        layers = [self._aliases_in(folder) for folder in reversed(self._folders(name))]
        result = layers[0]
        for over in layers[1:]:
            result = Aliases(
                champion=over.champion or result.champion,
                candidate=over.candidate or (None if over.changes else result.candidate),
                changes=result.changes + over.changes,
            )
        return result

    def champions(self) -> dict[str, str]:
        """The champion of every model that has one."""
        found = {name: self.aliases(name).champion for name in self.names()}
        return {name: version for name, version in found.items() if version}

    def resolve(self, name: str, version: str) -> str:
        """The version meant by a version or by ``champion`` or ``candidate``. Raises NotThere."""
        if version not in ("champion", "candidate"):
            self.folder(name, version)
            return version
        meant: str | None = getattr(self.aliases(name), version)
        if meant is None:
            raise NotThere(f"{name} has no {version}; {self._known(name)}")
        return meant

    def folder(self, name: str, version: str) -> Path:
        """Where a version lies. Raises NotThere."""
        for folder in self._folders(name):
            if _VERSION.fullmatch(version) and (folder / version).is_dir():
                return folder / version
        raise NotThere(f"no version {version!r} of {name}; {self._known(name)}")

    def load(self, name: str, version: str = "champion") -> Bundle:
        """A version, whole: every file is read and held against its sha256 before anything is returned.

        Raises NotThere, or Poison (``tampered_model``) naming the file that is missing or not as it was made.
        """
        version = self.resolve(name, version)
        folder = self.folder(name, version)
        raw = _read(folder / MANIFEST)
        digest = sha256_of(raw)
        if digest[:DIGITS] != version:
            raise _tampered(folder / MANIFEST, f"its sha256 begins with {digest[:DIGITS]}")
        manifest = decoded(raw, str(folder / MANIFEST))
        if manifest.name != name:
            raise _tampered(folder / MANIFEST, f"it is the manifest of {manifest.name!r}")
        contents = {}
        for file, expected in manifest.files.items():
            contents[file] = _read(folder / _plain(file))
            if (found := sha256_of(contents[file])) != expected:
                raise _tampered(folder / file, f"its sha256 is {found}, the manifest says {expected}")
        return Bundle(name, digest, manifest, contents)

    def add(self, name: str, files: Mapping[str, bytes], **fields: Any) -> str:
        """Keep a version; returns its name. ``fields`` are those of ``Manifest`` but ``name`` and ``files``.

        It appears whole or not at all, and the same content is the same version. Raises Misconfigured.
        """
        if not _NAME.fullmatch(name):
            raise Misconfigured(f"bad model name {name!r}: lower-case letters, digits and _, such as vitals_forecast")
        for file in files:
            if _plain(file) in (MANIFEST, CARD) or _EVALUATION.fullmatch(file):
                raise Misconfigured(f"{file} is written by the registry; name the model's file otherwise")
        manifest = manifest_bytes(name, files, fields)
        with self._writing() as root:
            return self._put(root, name, {**files, MANIFEST: manifest})

    def nominate(self, name: str, version: str, by: str, reason: str) -> None:
        """Make a version the candidate. Raises as ``load``."""
        with self._changing(by, reason) as root:
            self._move(root, name, "candidate", self.load(name, version), by, reason)

    def promote(self, name: str, version: str, by: str, reason: str) -> str:
        """Make a version the champion; returns it. Raises as ``load``: what was tampered with is not promoted."""
        with self._changing(by, reason) as root:
            bundle = self.load(name, version)
            self._move(root, name, "champion", bundle, by, reason)
        return bundle.version

    def rollback(self, name: str, by: str, reason: str) -> str:
        """Make the champion's predecessor champion; returns it. Again: the predecessor's predecessor.

        Raises NotThere when there is none, and as ``load``.
        """
        with self._changing(by, reason) as root:
            if (before := self.predecessor(name)) is None:
                raise NotThere(f"{name} has had no other champion to go back to; {self._known(name)}")
            self._move(root, name, "champion", self.load(name, before), by, reason, undo=True)
        return before

    def predecessor(self, name: str) -> str | None:
        """The champion that ``rollback`` would go back to."""
        stack: list[str | None] = []
        for change in self.aliases(name).changes:
            if change.alias == "champion" and change.undo:
                del stack[-1:]
            elif change.alias == "champion" and change.from_ != change.to:
                stack.append(change.from_)
        return stack[-1] if stack else None

    def note(self, name: str, version: str, file: str, text: str) -> Path:
        """Write a card or an evaluation beside a version (which ``own`` then holds too); returns its path."""
        if file != CARD and not _EVALUATION.fullmatch(file):
            raise ValueError(f"{file}: a note is {CARD} or evaluation-<split>.json")
        bundle = self.load(name, version)
        with self._writing() as root:
            self._keep(root, bundle)
            path = root / name / bundle.version / file
            _replace(path, text.encode())
        return path

    def export(self, name: str, version: str, to: Path) -> Path:
        """Copy a version with its notes to ``to``/name/version, laid out as a registry; returns that folder."""
        bundle = self.load(name, version)
        other = Registry(to, shipped=to)
        with other._writing() as root:
            self._keep(root, bundle)
        return root / name / bundle.version

    def notes(self, name: str, version: str) -> dict[str, str]:
        """The card and the evaluations beside a version, by file name."""
        folder = self.folder(name, version)
        found = [p for p in sorted(folder.iterdir()) if p.name == CARD or _EVALUATION.fullmatch(p.name)]
        return {path.name: path.read_text(encoding="utf-8") for path in found}

    def _folders(self, name: str) -> list[Path]:
        if not _NAME.fullmatch(name):
            raise NotThere(f"no model {name!r}; models to be had: {', '.join(self.names()) or 'none'}")
        return [root / name for root in self._roots]

    def _known(self, name: str) -> str:
        versions = self.versions(name)
        if not versions:
            return f"models to be had: {', '.join(self.names()) or 'none'}; `ward model train` makes one"
        return f"there are {', '.join(versions)}"

    def _aliases_in(self, folder: Path) -> Aliases:
        path = folder / ALIASES
        try:
            return msgspec.json.decode(path.read_bytes(), type=Aliases)
        except FileNotFoundError:
            return Aliases()
        except msgspec.MsgspecError as wrong:
            raise Misconfigured(f"{path} is not readable ({wrong}); remove it and promote a version again") from wrong

    @contextlib.contextmanager
    def _changing(self, by: str, reason: str) -> Iterator[Path]:
        if not by.strip() or not reason.strip():
            raise Misconfigured("a change needs who made it and a reason (--reason)")
        with self._writing() as root:
            yield root

    def _move(
        self, root: Path, name: str, alias: Alias, bundle: Bundle, by: str, reason: str, undo: bool = False
    ) -> None:
        self._keep(root, bundle)
        before = getattr(self.aliases(name), alias)
        mine = self._aliases_in(root / name)
        if before == bundle.version == getattr(mine, alias):
            return
        change = Change(
            at=stamp(self._now()), by=by, reason=reason, alias=alias, from_=before, to=bundle.version, undo=undo
        )
        places: dict[str, str | None] = {"champion": mine.champion, "candidate": mine.candidate}
        places[alias] = bundle.version
        if alias == "champion" and places["candidate"] == bundle.version:
            places["candidate"] = None
        after = Aliases(champion=places["champion"], candidate=places["candidate"], changes=(*mine.changes, change))
        _replace(root / name / ALIASES, msgspec.json.format(msgspec.json.encode(after), indent=1) + b"\n")

    def _keep(self, root: Path, bundle: Bundle) -> None:
        """Let ``root`` hold what it relies on: a later release may ship another version."""
        source = self.folder(bundle.name, bundle.version)
        if source.parent.parent != root:
            notes = {file: text.encode() for file, text in self.notes(bundle.name, bundle.version).items()}
            files = {file: bundle.read(file) for file in bundle.manifest.files}
            self._put(root, bundle.name, {**notes, **files, MANIFEST: _read(source / MANIFEST)})

    def _put(self, root: Path, name: str, contents: Mapping[str, bytes]) -> str:
        version = sha256_of(contents[MANIFEST])[:DIGITS]
        folder = root / name
        if (folder / version).exists():
            Registry(shipped=root).load(name, version)
            return version
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".adding-*"):  # of somebody who was killed: we hold the lock
            shutil.rmtree(left)
        draft = folder / f".adding-{secrets.token_hex(6)}"
        draft.mkdir()
        try:
            for file, content in contents.items():
                _write(draft / file, content)
            draft.rename(folder / version)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _sync(folder)
        return version

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Path]:
        """The folder to write to, held against other writers."""
        if self.own is None:
            raise Misconfigured("no folder for models of your own: set WARD_MODELS_DIR")
        root = self.own.resolve()
        try:
            root.mkdir(parents=True, exist_ok=True)
            with (root / ".lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield root
        except PermissionError as refused:
            raise Misconfigured(
                f"cannot write to {refused.filename}; set WARD_MODELS_DIR to a folder of yours"
            ) from None
        except OSError as failed:
            raise Transient(f"the models folder {root} cannot be written: {failed}") from failed


def _plain(file: str) -> str:
    if not _FILE.fullmatch(file):
        raise Misconfigured(f"bad file name {file!r} in a model: letters, digits, _ . and -")
    return file


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise _tampered(path, "it is missing") from None
    except OSError as failed:
        raise Transient(f"{path} cannot be read: {failed}") from failed


def _tampered(path: Path, what: str) -> Poison:
    version, name = path.parent.name, path.parent.parent.name
    return Poison(
        "tampered_model",
        f"{what}; it is not used. Put {path.parent} back from a copy, or remove it and `ward model rollback {name}`",
        f"{name}/{version}/{path.name}",
    )


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        _write(draft, content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
