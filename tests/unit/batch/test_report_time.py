"""Shifts and days by the clock on the wall: 23 and 25 hours, times that came twice or never, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from batch.report_day import Hours
from batch.report_time import day_span, moment_ms, span, ticks, utc_dates, zone_for, zone_named, zone_shown
from contracts.errors import Misconfigured, Poison

BERLIN = zone_named("Europe/Berlin")
NOW = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1000)
HOUR = 3_600_000
Asked = tuple[str | None, str | None, str | None, str | None]


@pytest.mark.parametrize(
    ("day", "hours", "labels"),
    [
        ("2026-03-29", 23, {"01", "03"}),
        ("2026-10-25", 25, {"02A", "02B"}),
        ("2026-11-20", 24, {"02"}),
    ],
)
def test_a_day_has_as_many_hours_as_the_clocks_make_it(day: str, hours: int, labels: set[str]) -> None:
    _, start, end = day_span(day, BERLIN, NOW)
    found = Hours(start, end, BERLIN)
    assert (end - start, len(found)) == (hours * HOUR, hours)
    assert labels <= set(found.names)
    assert len(set(found.names)) == hours, "no two hours are called the same"
    assert found.of(end - 1) == hours - 1
    assert ("02" in found.names) == (hours == 24)


def test_a_night_shift_ends_by_the_clock_on_the_wall() -> None:
    start, end = span(None, None, None, "2026-10-24T19:00", BERLIN, NOW)
    assert end - start == 13 * HOUR
    assert zone_shown(start, end, BERLIN) == "Europe/Berlin, UTC+02:00 then +01:00"
    start, end = span(None, None, "8h", "2026-11-20T22:00+01:00", BERLIN, NOW)
    assert end - start == 8 * HOUR


def test_ticks_stand_at_round_local_times_also_across_a_change() -> None:
    start, end = span(None, None, None, "2026-10-24T19:00", BERLIN, NOW)
    told = [text for _, text in ticks(start, end, BERLIN)]
    assert told == [f"{h:02}:00" for h in (*range(19, 24), 0, 1, 2, 2, *range(3, 8))] or told[0] == "20:00"
    assert all(text.endswith(":00") for text in told)


def test_a_local_time_that_came_twice_or_never_must_say_its_offset() -> None:
    with pytest.raises(Poison, match="came twice"):
        moment_ms("2026-10-25T02:30", BERLIN, NOW, "--from")
    with pytest.raises(Poison, match="passed over"):
        moment_ms("2026-03-29T02:30", BERLIN, NOW, "--from")
    both = [moment_ms(f"2026-10-25T02:30+0{n}:00", BERLIN, NOW, "--from") for n in (2, 1)]
    assert both[1] - both[0] == HOUR


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("soon", "now", None, None), "no moment"),
        (("-2h", None, "0h", None), "no length"),
        (("now", "-2h", None, None), "not after its start"),
        (("-30d", "now", None, None), "7 days at the most"),
        ((None, None, None, "21.11.2026"), "no moment"),
        ((None, None, "12 hours", "2026-11-20T07:00Z"), "no length"),
    ],
)
def test_a_bad_time_is_bad_input(arguments: Asked, words: str) -> None:
    with pytest.raises(Poison, match=words):
        span(*arguments, UTC, NOW)


@pytest.mark.parametrize(
    "arguments",
    [(None, None, None, None), ("-2h", None, None, None), ("-2h", None, None, "-3h"), ("-2h", "now", "1h", None)],
)
def test_options_that_contradict_one_another_are_misconfigured(arguments: Asked) -> None:
    with pytest.raises(Misconfigured):
        span(*arguments, UTC, NOW)


def test_days_that_cannot_be() -> None:
    with pytest.raises(Poison, match="no day"):
        day_span("2026-02-30", BERLIN, NOW)
    with pytest.raises(Poison, match="yet to come"):
        day_span("2026-11-22", BERLIN, NOW)
    assert day_span("today", BERLIN, NOW)[0] == day_span("2026-11-21", BERLIN, NOW)[0]


def test_the_zone_is_the_one_asked_for_else_that_of_the_time_typed_else_utc() -> None:
    assert str(zone_for("Europe/Berlin", "2026-11-21T07:00+05:00")) == "Europe/Berlin"
    assert zone_for(None, None, "2026-11-21T07:00+01:00") == timezone(timedelta(hours=1))
    assert zone_for(None, "-2h") is UTC
    with pytest.raises(Misconfigured, match="Europe/Berlin"):
        zone_named("Europe/Berln")


def test_only_the_dates_that_a_span_touches_are_read() -> None:
    start, end = span(None, None, None, "2026-11-20T19:00", BERLIN, NOW)
    assert utc_dates(start, end) == ["2026-11-20", "2026-11-21"]
    assert utc_dates(NOW, NOW + 1) == ["2026-11-21"]
