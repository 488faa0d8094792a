"""Moments, shifts and days as people type them, in the time of the ward; and how they are shown on a page."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final

from contracts.errors import Misconfigured, Poison

UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
SHIFT: Final = "12h"
MOST_DAYS: Final = 7
"""A page of more is not readable."""
_LENGTH: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_FIX: Final = "write it like 2026-11-21T07:00+01:00, or -2h for two hours ago"


def bad(detail: str, option: str) -> Poison:
    """A time that cannot be (exit 5)."""
    return Poison("bad_time", detail, option)


def zone_named(name: str) -> tzinfo:
    """The zone of that IANA name. Raises Misconfigured with the nearest name.

    >>> str(zone_named("Europe/Berlin"))
    'Europe/Berlin'
    """
    import difflib
    from zoneinfo import ZoneInfo, available_timezones

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as wrong:
        near = difflib.get_close_matches(name, sorted(available_timezones()), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "take a name like Europe/Berlin"
        raise Misconfigured(f"--zone: no zone {name!r}; {hint}") from wrong


def zone_for(name: str | None, *typed: str | None) -> tzinfo:
    """The zone asked for; else the offset that a typed time carries; else UTC."""
    if name is not None:
        return zone_named(name)
    for text in typed:
        try:
            offset = datetime.fromisoformat(text).utcoffset() if text else None
        except ValueError:
            continue
        if offset:
            return timezone(offset)
    return UTC


def length_ms(text: str, option: str) -> int:
    """Milliseconds of ``90s``, ``15m``, ``12h`` or ``1d``; above 0. Raises Poison naming ``option``.

    >>> length_ms("1.5h", "--for")
    5400000
    """
    found = _LENGTH.fullmatch(text)
    ms = round(float(found[1]) * UNITS_S[found[2]] * 1000) if found else 0
    if ms <= 0:
        raise bad(f"{text!r} is no length of time: write 90s, 15m, 12h or 1d", option)
    return ms


def moment_ms(text: str, zone: tzinfo, now_ms: int, option: str) -> int:
    """Epoch ms of ``now``, of ``-2h``, of an RFC 3339 time, or of a local time of ``zone`` without an offset.

    Raises Poison for no moment, and for a local time that a change of the clocks left out or made twice.
    """
    if text == "now":
        return now_ms
    if text.startswith("-"):
        return now_ms - length_ms(text[1:], option)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise bad(f"{text!r} is no moment ({wrong}): {_FIX}", option) from wrong
    return _ms(at if at.tzinfo is not None else _local(at, zone, option))


def _local(at: datetime, zone: tzinfo, option: str) -> datetime:
    first, second = (at.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != at:
        raise bad(f"the clocks of {zone} passed over {at.isoformat()}: give its offset", option)
    raise bad(f"{at.isoformat()} came twice in {zone}: give its offset, {first:%z} or {second:%z}", option)


def shift_span(text: str, length: str, zone: tzinfo, now_ms: int) -> tuple[int, int]:
    """A shift from that moment on, so long by the clock on the wall: a night in which it is put back is longer."""
    from_ms = moment_ms(text, zone, now_ms, "--shift")
    wall = datetime.fromtimestamp(from_ms / 1000, zone).replace(tzinfo=None)
    end = wall + timedelta(milliseconds=length_ms(length, "--for"))
    return from_ms, _ms(end.replace(tzinfo=zone))


def span(
    start: str | None, end: str | None, length: str | None, shift: str | None, zone: tzinfo, now_ms: int
) -> tuple[int, int]:
    """What ``--from``, ``--until``, ``--for`` and ``--shift`` mean. Raises Misconfigured, or Poison for a bad time."""
    if (start is None) == (shift is None):
        raise Misconfigured("say when: --shift 2026-11-21T07:00+01:00, or --from TIME with --until or --for")
    if shift is not None:
        if end is not None:
            raise Misconfigured("--shift says where the span ends: leave --until out, or use --from")
        from_ms, to_ms = shift_span(shift, length or SHIFT, zone, now_ms)
    else:
        if (end is None) == (length is None):
            raise Misconfigured("--from needs one of --until and --for")
        from_ms = moment_ms(str(start), zone, now_ms, "--from")
        to_ms = from_ms + length_ms(length, "--for") if length else moment_ms(str(end), zone, now_ms, "--until")
    return checked(from_ms, to_ms, zone)


def checked(from_ms: int, to_ms: int, zone: tzinfo) -> tuple[int, int]:
    """The span, where it is one. Raises Poison for a span backwards, longer than a page holds, or before 1970."""
    if from_ms < 0:
        raise bad("a span before 1970, when no log was kept", "--from")
    if to_ms <= from_ms:
        raise bad(f"the span ends at {shown(to_ms, zone)}, not after its start {shown(from_ms, zone)}", "--until")
    if to_ms - from_ms > MOST_DAYS * DAY_MS:
        raise bad(f"a page holds {MOST_DAYS} days at the most, not {(to_ms - from_ms) / DAY_MS:.1f}", "--until")
    return from_ms, to_ms


def day_span(text: str, zone: tzinfo, now_ms: int) -> tuple[date, int, int]:
    """A local day: its date and [from, to) in epoch ms; 23 or 25 hours long when the clocks change.

    ``text`` is a date, today or yesterday. Raises Poison for none, and for one that is yet to come.
    """
    today = datetime.fromtimestamp(now_ms / 1000, zone).date()
    words = {"today": today, "yesterday": today - timedelta(days=1)}
    try:
        asked = words.get(text) or date.fromisoformat(text)
    except ValueError as wrong:
        raise bad(f"{text!r} is no day ({wrong}): write it like 2026-11-21, today or yesterday", "DATE") from wrong
    if asked > today:
        raise bad(f"{asked} is yet to come; today is {today} ({zone})", "DATE")
    ends = [_ms(datetime(d.year, d.month, d.day, tzinfo=zone)) for d in (asked, asked + timedelta(days=1))]
    return asked, ends[0], ends[1]


def utc_dates(from_ms: int, to_ms: int) -> list[str]:
    """The UTC dates that [from, to) touches: the partitions to read.

    >>> utc_dates(0, 86_400_000)
    ['1970-01-01']
    """
    return [
        datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
        for day in range(from_ms // DAY_MS, (to_ms - 1) // DAY_MS + 1)
    ]


def shown(at_ms: int, zone: tzinfo, form: str = "%Y-%m-%d %H:%M") -> str:
    """The moment on the ward's clock."""
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime(form)


def zone_shown(from_ms: int, to_ms: int, zone: tzinfo) -> str:
    """The zone's name with its offset, both where it changes within the span.

    >>> from zoneinfo import ZoneInfo
    >>> zone_shown(1_792_800_000_000, 1_792_980_000_000, ZoneInfo("Europe/Berlin"))
    'Europe/Berlin, UTC+02:00 then +01:00'
    """
    offsets = []
    for at in (from_ms, to_ms - 1):
        text = datetime.fromtimestamp(at / 1000, zone).strftime("%z")
        offsets.append(f"{text[:3]}:{text[3:]}")
    name = "" if isinstance(zone, timezone) else f"{zone}, "
    return f"{name}UTC" + (offsets[0] if offsets[0] == offsets[1] else f"{offsets[0]} then {offsets[1]}")


def ticks(from_ms: int, to_ms: int, zone: tzinfo, most: int = 13) -> list[tuple[int, str]]:
    """Round moments of the ward's clock in [from, to], with what to write at each."""
    steps_s = (1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400)
    step_s = next((s for s in steps_s if (to_ms - from_ms) / 1000 / s <= most), steps_s[-1])
    base_ms = 1000 * min(step_s, 900)  # offsets of zones are whole quarters of an hour
    found = []
    for at in range(-(-from_ms // base_ms) * base_ms, to_ms + 1, base_ms):
        local = datetime.fromtimestamp(at / 1000, zone)
        if (local.hour * 3600 + local.minute * 60 + local.second) % step_s == 0:
            found.append((at, local.strftime("%d %b" if step_s >= 86_400 else "%H:%M" if step_s >= 60 else "%H:%M:%S")))
    return found


def length_shown(ms: float) -> str:
    """A length of time in two units at the most.

    >>> length_shown(45_000), length_shown(754_000), length_shown(25 * 3_600_000)
    ('45 s', '12 min 34 s', '25 h')
    """
    seconds = round(ms / 1000)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds % 60 else "")
    return f"{seconds // 3600} h" + (f" {seconds % 3600 // 60} min" if seconds % 3600 // 60 else "")


def _ms(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
