"""What alarms cost those who hear them, in plain numbers: the arithmetic that comparisons and reports share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Final

DAY_S: Final = 86_400
MINUTE_MS: Final = 60_000
FLOOD: Final = 10
FLOOD_MS: Final = 600_000
"""Ten alarms in ten minutes are a flood: EEMUA 191's rate for one operator, a ward for an operator."""
SLOT_MS: Final = 10_000
"""Beds are counted as heard in slots of so long."""


def flooded(raised_ms: Iterable[int]) -> list[int]:
    """The minutes of one ward, by their ends in epoch ms, at which ten alarms had been raised in ten minutes.

    >>> flooded([0] * 10) == [60_000 * n for n in range(1, 11)]
    True
    """
    times = sorted(raised_ms)
    ends = {(at // MINUTE_MS + k + 1) * MINUTE_MS for at in times for k in range(FLOOD_MS // MINUTE_MS)}
    return sorted(end for end in ends if in_ten_minutes(times, end) >= FLOOD)


def in_ten_minutes(ordered_ms: Sequence[int], end_ms: int) -> int:
    """How many of these moments, in order, lie in the ten minutes before ``end_ms``."""
    return bisect_right(ordered_ms, end_ms - 1) - bisect_right(ordered_ms, end_ms - 1 - FLOOD_MS)


def top_tenth(counts: Iterable[int], beds: int) -> float | None:
    """The share of all alarms that the tenth of the beds with the most of them makes; None without alarms."""
    most = sorted(counts, reverse=True)
    return share(sum(most[: ceil(max(beds, len(most)) / 10)]), sum(most))


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The smallest value that at least a share ``q`` of ``ordered`` does not exceed; None of nothing."""
    return ordered[max(0, ceil(q * len(ordered)) - 1)] if ordered else None


def rate(count: int, bed_days: float) -> float | None:
    """So many a bed-day; None where no bed was heard."""
    return round(count / bed_days, 2) if bed_days else None


def share(part: int, whole: int) -> float | None:
    """The part of the whole in [0, 1]; None of nothing."""
    return round(part / whole, 4) if whole else None
