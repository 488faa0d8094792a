"""A watched folder: what is put there is taken in, and moved to ``taken/`` or ``refused/`` beside it.

Nothing is followed that leads out of the folder, and names are never told: people name files after people.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.errors import Misconfigured, Transient
from producers.intake import LARGEST, Intake

log = logging.getLogger(__name__)

TAKEN, REFUSED = "taken", "refused"
UNFINISHED: Final = (".part", ".tmp", ".crdownload", ".filepart")
STEADY_S: Final = 1.0
"""A file that was not written for so long is whole; one that was renamed into place has its old time."""
LOOK_S: Final = 1.0
"""A look is taken this often even when nothing was heard: some file systems tell nobody."""
AWAY_S: Final = 5.0
DEEPEST: Final = 8


@dataclass(frozen=True)
class _Found:
    folder: str
    name: str
    size: int
    changed_ns: int
    regular: bool


class Watch:
    """Takes in what appears below ``root``, by one thread, until ``stop`` is set."""

    def __init__(self, root: str, intake: Intake, stop: threading.Event) -> None:
        """Makes the folders. Raises Misconfigured when it cannot."""
        self._root, self._intake, self._stop = Path(root).resolve(), intake, stop
        try:
            for folder in (self._root, self._root / TAKEN, self._root / REFUSED):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as failure:
            raise Misconfigured(f"WARD_INTAKE_FOLDER cannot be made or used: {failure.strerror}") from failure

    def run(self) -> None:
        """Look at what is there, then whenever something changes."""
        from watchfiles import watch

        self._look()
        for _changes in watch(
            self._root, stop_event=self._stop, rust_timeout=round(LOOK_S * 1000), yield_on_timeout=True, debounce=200
        ):
            self._look()

    def _look(self) -> None:
        """Take what is steady; come back for what is not, and for all while HDFS or Kafka is away."""
        while not self._stop.is_set():
            waiting = False
            for one in list(self._found()):
                if self._stop.is_set():
                    return
                if one.regular and time.time_ns() - one.changed_ns < STEADY_S * 1e9:
                    waiting = True
                    continue
                try:
                    self._take(one)
                except Transient:
                    self._stop.wait(AWAY_S)
                    waiting = True
                    break
            if not waiting:
                return
            self._stop.wait(STEADY_S / 4)

    def _found(self) -> Iterator[_Found]:
        for folder, folders, names, handle in os.fwalk(self._root, follow_symlinks=False):
            below = os.path.relpath(folder, self._root)
            depth = 0 if below == "." else below.count(os.sep) + 1
            links = [name for name in folders if _is_link(name, handle)]
            folders[:] = (
                []
                if depth >= DEEPEST
                else [
                    name
                    for name in sorted(folders)
                    if name not in links and not name.startswith(".") and not (depth == 0 and name in (TAKEN, REFUSED))
                ]
            )
            for name in (*links, *sorted(names)):
                if name.startswith(".") or name.lower().endswith(UNFINISHED):
                    continue
                try:
                    told = os.stat(name, dir_fd=handle, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield _Found(folder, name, told.st_size, told.st_mtime_ns, stat.S_ISREG(told.st_mode))

    def _take(self, one: _Found) -> None:
        content = self._content(one) if one.regular and one.size <= LARGEST else None
        if content is None:
            log.warning("something in the watched folder is no file, or too large, and was set aside")
            self._intake.gauges.took("folder", "refused", 0.0)
            self._move(one, REFUSED)
            return
        if len(content) != one.size:
            return  # it grows again
        receipt = self._intake.take(content, "folder")
        self._move(one, REFUSED if receipt.outcome == "refused" else TAKEN)

    def _content(self, one: _Found) -> bytes | None:
        """Its bytes, one more than may be at most; None for what is no file of this folder."""
        try:
            folder = os.open(one.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            handle = os.open(one.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError:
            return None
        finally:
            os.close(folder)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            return file.read(LARGEST + 1)

    def _move(self, one: _Found, to: str) -> None:
        """Aside, under a name that is free; a link goes as a link."""
        target, number = self._root / to / one.name, 0
        while os.path.lexists(target):
            number += 1
            target = self._root / to / f"{number}-{one.name}"
        try:
            os.rename(os.path.join(one.folder, one.name), target)
        except FileNotFoundError:
            log.warning("a file was taken away from the watched folder while it was taken in")


def _is_link(name: str, handle: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return True
