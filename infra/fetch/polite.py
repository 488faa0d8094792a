"""Starts what fetches and builds so that a wall that runs meanwhile does not feel it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Final

from infra.supervisor import LEFTOVERS

BEFORE: Final = (("nice", "-n", str(LEFTOVERS)), ("chrt", "--idle", "0"))
"""From its first moment as ``infra.supervisor.give_way`` makes a process: lesser share, on Linux only what is left."""


def politely(command: Iterable[str]) -> list[str]:
    """The command with what gives it way before it, as far as this machine has that."""
    return [*(word for words in BEFORE if shutil.which(words[0]) for word in words), *command]
