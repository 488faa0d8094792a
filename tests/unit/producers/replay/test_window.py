"""Moments as people type them: zones, lengths, and what cannot be meant."""

from __future__ import annotations

import pytest

from contracts.errors import Misconfigured
from producers.replay.window import Window, length_ms, moment_ms, rfc3339, window

NOW_MS = 1_767_340_800_000  # 2026-01-02T08:00:00Z
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2026-01-02T07:00+01:00", "2026-01-02T06:00:00Z"),
        ("2026-01-02T07:00:00.250Z", "2026-01-02T07:00:00.250Z"),
        ("2026-01-02 07:00Z", "2026-01-02T07:00:00Z"),
        ("2026-01-02T07:00 Europe/Paris", "2026-01-02T06:00:00Z"),
        ("2026-07-02T07:00[Europe/Paris]", "2026-07-02T05:00:00Z"),
        ("2026-01-02T07:00 UTC", "2026-01-02T07:00:00Z"),
        ("-2h", "2026-01-02T06:00:00Z"),
        ("-1h30m", "2026-01-02T06:30:00Z"),
        ("now", "2026-01-02T08:00:00Z"),
    ],
)
def test_a_moment_is_what_its_zone_makes_it(text: str, means: str) -> None:
    assert rfc3339(moment_ms(text, NOW_MS, "--from")) == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-01-02T07:00", "does not say its zone"),
        ("2026-01-02T07:00 Europe/Pari", "did you mean Europe/Paris"),
        ("2026-01-02T07:00 Nowhere/Atall", "no zone 'Nowhere/Atall'"),
        ("2026-13-02T07:00Z", "is no moment"),
        ("2026-13-02T07:00 Europe/Paris", "is no moment"),
        ("2026-03-29T02:30 Europe/Paris", "passed over"),
        ("2026-10-25T02:30 Europe/Paris", "came twice"),
        ("yesterday", "is no moment"),
        ("", "is no moment"),
        ("-2 hours", "no length of time"),
        ("-3000w", "before 1970"),
        ("1066-10-14T09:00Z", "before 1970"),
    ],
)
def test_a_moment_that_cannot_be_meant_names_its_option_and_the_fix(text: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as refused:
        moment_ms(text, NOW_MS, "--from")
    assert "--from" in str(refused.value)


@pytest.mark.parametrize("text", ["", "2", "h", "2x", "-2h", "2h later", "0s", "1e3s"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="--for"):
        length_ms(text, "--for")


def test_a_window_is_from_a_moment_on_for_a_length_or_until_another() -> None:
    assert window("-2h", "30m", None, NOW_MS) == Window(start_ms=NOW_MS - 2 * HOUR_MS, end_ms=NOW_MS - 3 * HOUR_MS // 2)
    assert window("-2h", None, "-1h", NOW_MS) == Window(start_ms=NOW_MS - 2 * HOUR_MS, end_ms=NOW_MS - HOUR_MS)
    assert window(None, None, "-1h", NOW_MS) == Window(end_ms=NOW_MS - HOUR_MS)
    assert window(None, None, None, NOW_MS) == Window()


@pytest.mark.parametrize(
    ("start", "length", "end", "says"),
    [
        ("-1h", "5m", "now", "leave one out"),
        (None, "5m", None, "needs --from"),
        ("-1h", None, "-2h", "is not after"),
        ("-1h", None, "-1h", "is not after"),
    ],
)
def test_a_window_that_cannot_be_is_refused(start: str | None, length: str | None, end: str | None, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        window(start, length, end, NOW_MS)
