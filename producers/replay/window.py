"""Moments as people type them, and the span between two of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from contracts.errors import Misconfigured

_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNIT_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_LOCAL: Final = re.compile(r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?) ?\[?([A-Za-z][\w+/-]*)\]?")
_FIX: Final = "write it as 2026-01-02T07:00+01:00, as 2026-01-02T07:00 Europe/Paris, or back from now as -2h"
EARLIEST_MS: Final = 0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The log times [start_ms, end_ms); None is the beginning of the log, or its end as it stands now."""

    start_ms: int | None = None
    end_ms: int | None = None

    def __str__(self) -> str:
        start = "the beginning" if self.start_ms is None else rfc3339(self.start_ms)
        return f"{start} to {'the end' if self.end_ms is None else rfc3339(self.end_ms)}"


def rfc3339(at_ms: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, with milliseconds where there are any.

    >>> rfc3339(1_767_333_600_000)
    '2026-01-02T06:00:00Z'
    """
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds").replace("+00:00", "Z")


def length_ms(text: str, option: str) -> int:
    """``90s``, ``2h``, ``1h30m`` in milliseconds, above 0. Raises Misconfigured, which names ``option``.

    >>> length_ms("1h30m", "--for")
    5400000
    """
    parts = _LENGTH.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Misconfigured(f"{option} {text!r} is no length of time: write 90s, 15m, 2h, 1h30m or 1d")
    whole = round(sum(float(number) * _UNIT_MS[unit] for number, unit in parts))
    if whole <= 0:
        raise Misconfigured(f"{option} {text!r} is no time at all: write 90s, 15m, 2h, 1h30m or 1d")
    return whole


def moment_ms(text: str, now_ms: int, option: str) -> int:
    """RFC 3339 with a zone, a local time with a named zone, ``-2h`` or ``now``, in epoch milliseconds.

    Raises Misconfigured, which names ``option`` and the fix: no zone, an unknown zone, a local time that a change of
    the clocks left out or made twice, no moment at all.
    """
    if text == "now":
        return now_ms
    if text.startswith("-"):
        return _since_epoch(now_ms - length_ms(text[1:], option), text, option)
    if found := _LOCAL.fullmatch(text):
        if found[2].upper() != "Z":
            return _since_epoch(_in_zone(found[1], found[2], option), text, option)
        text = f"{found[1]}Z"
    try:
        at = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise Misconfigured(f"{option} {text!r} is no moment ({wrong}): {_FIX}") from wrong
    if at.tzinfo is None:
        raise Misconfigured(f"{option} {text!r} does not say its zone: {_FIX}")
    return _since_epoch(_ms(at), text, option)


def window(start: str | None, length: str | None, end: str | None, now_ms: int) -> Window:
    """The span that ``--from``, ``--for`` and ``--to-time`` mean. Raises Misconfigured for one that cannot be."""
    if length is not None and end is not None:
        raise Misconfigured("--for and --to-time both say where the span ends: leave one out")
    start_ms = None if start is None else moment_ms(start, now_ms, "--from")
    end_ms = None if end is None else moment_ms(end, now_ms, "--to-time")
    if length is not None:
        if start_ms is None:
            raise Misconfigured("--for needs --from: from when on?")
        end_ms = start_ms + length_ms(length, "--for")
    if start_ms is not None and end_ms is not None and end_ms <= start_ms:
        raise Misconfigured(f"--to-time {rfc3339(end_ms)} is not after --from {rfc3339(start_ms)}: swap them")
    return Window(start_ms=start_ms, end_ms=end_ms)


def _ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _since_epoch(at_ms: int, text: str, option: str) -> int:
    if at_ms < EARLIEST_MS:
        raise Misconfigured(f"{option} {text!r} is before 1970, when no log was kept: {_FIX}")
    return at_ms


def _in_zone(local: str, name: str, option: str) -> int:
    import difflib
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as wrong:
        near = difflib.get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "take a name of the IANA time zone database"
        raise Misconfigured(f"{option}: no zone {name!r}; {hint}") from wrong
    try:
        naive = datetime.fromisoformat(local)
    except ValueError as wrong:
        raise Misconfigured(f"{option} {local!r} is no moment ({wrong}): {_FIX}") from wrong
    first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return _ms(first)
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
        raise Misconfigured(f"{option}: the clocks of {name} passed over {local}: give its offset, as in {local}+01:00")
    both = " or ".join(rfc3339(_ms(at)) for at in (first, second))
    raise Misconfigured(f"{option}: {local} came twice in {name}: give its offset; it is {both}")
