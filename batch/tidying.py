"""Compaction beside the stream, in a thread of its own: a little at a time, and never while a batch is being landed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from batch.compact import MIN_FILES, compact_some
from batch.storage import Storage
from contracts.errors import WardError

EVERY_S: Final = 60.0
MOST: Final = 8
"""Groups at one look."""

log = structlog.get_logger(__name__)


class Tidying(threading.Thread):
    """Looks every ``every_s`` seconds whether small files can be joined, until ``stop``.

    ``storage`` is this thread's own. ``idle`` is asked before each group: whether the stream has nothing to do now.
    What fails is logged and comes again.
    """

    def __init__(
        self,
        storage: Storage,
        stop: threading.Event,
        idle: Callable[[], bool] = lambda: True,
        every_s: float = EVERY_S,
        min_files: int = MIN_FILES,
    ) -> None:
        super().__init__(name="tidying", daemon=True)
        self.storage, self.stop, self.idle = storage, stop, idle
        self.every_s, self.min_files = every_s, min_files

    def run(self) -> None:
        """Until told to stop."""
        while not self.stop.wait(self.every_s):
            try:
                done = compact_some(self.storage, most=MOST, min_files=self.min_files, may_go_on=self._may)
            except (WardError, OSError) as failed:
                log.warning("small files were not joined; the next look tries again", why=str(failed))
                continue
            if done.groups or done.cleaned:
                log.info("small files were joined", files=done.files, into=done.groups, cleaned=done.cleaned)
            for why in done.damaged:
                log.warning("a partition is left as it is", why=why)

    def _may(self) -> bool:
        return not self.stop.is_set() and self.idle()
