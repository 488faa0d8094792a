"""The key of all pseudonyms in a file that only its owner may read; made when there is none."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from contracts.errors import Misconfigured, Transient
from contracts.pseudonyms import KEY_BYTES, SHORTEST_KEY, Pseudonyms
from contracts.settings import Settings

NAME: Final = "pseudonyms.key"
OTHERS: Final = 0o077


def pseudonyms(settings: Settings) -> Pseudonyms:
    """Pseudonyms under the key of this ward: WARD_PSEUDONYM_KEY_FILE, else ``pseudonyms.key`` beside its state.

    Raises as ``key``, and Misconfigured where neither a file nor a state folder is named.
    """
    return Pseudonyms(key(place(settings)))


def place(settings: Settings) -> Path:
    """Where the key of this ward lies or will lie. Raises Misconfigured where neither file nor folder is named."""
    if settings.pseudonym_key_file:
        return Path(settings.pseudonym_key_file).expanduser()
    if settings.state_dir:
        return Path(settings.state_dir).expanduser() / NAME
    raise Misconfigured("no key for pseudonyms: set WARD_PSEUDONYM_KEY_FILE, or WARD_STATE_DIR to keep one there")


def key(path: Path) -> bytes:
    """The key in this file, hex digits; made at random with mode 0600 when there is none.

    Who loses it cannot link new images to old ones; who has it can try out identifiers. Raises Misconfigured for a file
    that others may read or that holds no key, Transient when it cannot be read or made.
    """
    try:
        if not path.exists():
            _make(path)
        if path.stat().st_mode & OTHERS:
            raise Misconfigured(f"others may read the pseudonym key {path}: `chmod 600` it, or make another one")
        found = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        raise Misconfigured(f"{path} holds no pseudonym key: it should be {2 * KEY_BYTES} hex digits") from None
    except OSError as failed:
        raise Transient(f"the pseudonym key {path} cannot be read or made: {failed.strerror}") from failed
    if len(found) < SHORTEST_KEY:
        raise Misconfigured(f"{path} holds {len(found)} bytes; a pseudonym key has {SHORTEST_KEY} or more")
    return found


def _make(path: Path) -> None:
    """Whole or not at all, and the first of two makers wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
