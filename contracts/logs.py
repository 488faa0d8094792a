"""How log lines are asked for by settings: from which level on, and for whom. Each program writes its own."""

from __future__ import annotations

import logging
import sys

from contracts.errors import Misconfigured


def understood(level: str, shape: str) -> tuple[int, bool]:
    """The number of a level, and whether lines are for people; ``shape`` is json, text or auto (text on a terminal).

    Raises Misconfigured for another level or shape.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise Misconfigured(f"WARD_LOG_LEVEL={level}: one of DEBUG, INFO, WARNING, ERROR")
    if shape not in ("json", "text", "auto"):
        raise Misconfigured(f"WARD_LOG_FORMAT={shape}: one of json, text, auto")
    return number, shape == "text" or (shape == "auto" and sys.stderr.isatty())
