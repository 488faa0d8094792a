"""Moments and spans of time as people type them."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Final

from contracts.errors import Misconfigured

UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def length_s(text: str, option: str) -> float:
    """Seconds of ``90s``, ``15m``, ``2h`` or ``1d``; above 0. Raises Misconfigured naming ``option``.

    >>> length_s("1.5h", "--for")
    5400.0
    """
    found = _LENGTH.fullmatch(text)
    seconds = float(found[1]) * UNITS_S[found[2]] if found else 0.0
    if seconds <= 0:
        raise Misconfigured(f"{option} {text!r}: a length of time above 0, like 90s, 15m, 2h or 1d")
    return seconds


def moment_ms(text: str, now_ms: int, option: str) -> int:
    """Epoch ms of ``now``, of ``-2h`` (so long before now), or of an RFC 3339 time, whose zone must be there.

    >>> moment_ms("1970-01-01T01:00:00+01:00", 0, "--from"), moment_ms("-2m", 200_000, "--from")
    (0, 80000)
    """
    if text == "now":
        return now_ms
    if text.startswith("-"):
        return now_ms - int(length_s(text[1:], option) * 1000)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise Misconfigured(
            f"{option} {text!r}: a time like 2026-01-02T07:00+01:00, or -2h for two hours ago ({wrong})"
        ) from wrong
    if at.tzinfo is None:
        raise Misconfigured(f"{option} {text!r} has no zone: say {text}Z or {text}+01:00")
    return int(at.timestamp() * 1000)


def window_ms(start: str | None, length: str | None) -> tuple[int | None, int | None]:
    """``--from`` and ``--for`` as two moments; None: the log's start, its end. Raises Misconfigured."""
    if start is None:
        if length is not None:
            raise Misconfigured("--for needs --from: a length from where?")
        return None, None
    from_ms = moment_ms(start, int(time.time() * 1000), "--from")
    return from_ms, None if length is None else from_ms + int(length_s(length, "--for") * 1000)


def between_ms(start: str | None, length: str | None, end: str | None) -> tuple[int | None, int | None]:
    """``--from`` and ``--for`` or ``--to`` as two moments, as ``window_ms`` does. Raises Misconfigured."""
    if length is not None and end is not None:
        raise Misconfigured("--for and --to say the same: leave one out")
    from_ms, to_ms = window_ms(start, length)
    if end is not None:
        to_ms = moment_ms(end, int(time.time() * 1000), "--to")
        if from_ms is not None and to_ms <= from_ms:
            raise Misconfigured(f"--to {end!r} is not after --from {start!r}")
    return from_ms, to_ms
