"""Log lines of the lake: JSON for machines, columns for people, always on stderr, never with values of vitals."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from contracts.errors import Misconfigured


def set_up(level: str, shape: str) -> None:
    """Write structlog's lines to stderr; ``shape`` is json, text or auto (text on a terminal).

    Raises Misconfigured for another level or shape.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise Misconfigured(f"WARD_LOG_LEVEL={level}: one of DEBUG, INFO, WARNING, ERROR")
    if shape not in ("json", "text", "auto"):
        raise Misconfigured(f"WARD_LOG_FORMAT={shape}: one of json, text, auto")
    as_text = shape == "text" or (shape == "auto" and sys.stderr.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer() if as_text else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")
