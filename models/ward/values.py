"""A value of a vital as a number and as words."""

from __future__ import annotations

from contracts.clinical.codes import VITALS as CODES
from contracts.records import Vital


def number(value: float | str | None) -> float:
    """The value as a number; raises TypeError when it is none."""
    if isinstance(value, (int, float)):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


def shown(vital: Vital, value: float | str | None, more: int = 0) -> str:
    """The value at the precision it is recorded in, or with ``more`` decimals.

    >>> shown(Vital.SPO2, 89.6), shown(Vital.SPO2, 89.6, more=1), shown(Vital.SPO2, None)
    ('90', '89.6', '--')
    """
    if isinstance(value, (int, float)):
        decimals = CODES[vital].decimals + more
        if abs(value) >= 1e6:
            return f"{value:.3g}"
        return f"{value:.{decimals}f}" if decimals else f"{round(value)}"
    return "--" if value is None else value
