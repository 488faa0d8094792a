"""How the commands of a replay speak and end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

FAILURE: Final = 1
MISUSED: Final = 2
NOT_FOUND: Final = 3
INTERRUPTED: Final = 130


def say(line: str) -> None:
    """A line of chatter."""
    print(line, file=sys.stderr, flush=True)


def show(document: Any) -> None:
    """A document as JSON, for machines."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), flush=True)


def ending(work: Callable[[], int]) -> int:
    """Run ``work``; the exit code, also for what was not found."""
    from producers.replay.topics import NotFound

    try:
        return work()
    except NotFound as failure:
        say(f"ward replay: {failure}")
        return NOT_FOUND
