"""Log lines of the lake: JSON for machines, columns for people, always on stderr, never with values of vitals."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from contracts.logs import understood


def set_up(level: str, shape: str) -> None:
    """Write structlog's lines to stderr; ``shape`` is json, text or auto (text on a terminal).

    Raises Misconfigured for another level or shape.
    """
    number, as_text = understood(level, shape)
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
