"""What a question in SQL came to, and how it is shown: the same for both engines."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

WIDEST: Final = 60
"""Characters of a value in a table for the eye; --json and --csv give all of it."""


@dataclass(frozen=True)
class Answer:
    """Rows in the order of ``columns``. ``cut``: there were more than were asked for."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    seconds: float
    cut: bool = False


def plain(value: Any) -> Any:
    """A value as JSON has it, whichever engine gave it: dates in ISO form, bytes in hex, decimals as numbers."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def show_csv(answer: Answer) -> None:
    """Rows as CSV on stdout, nested values as JSON in a field."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(answer.columns)
    for row in answer.rows:
        out.writerow("" if value is None else _nested(value) for value in row)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows under their columns on stdout, numbers to the right, long values shortened."""
    shown = [[_short("" if value is None else str(_nested(value))) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[at]) for row in shown), 0) for at, name in enumerate(columns)]
    right = [any(isinstance(row[at], int | float) for row in rows) for at in range(len(columns))]
    print("  ".join(name.rjust(w) if r else name.ljust(w) for name, w, r in zip(columns, widths, right, strict=True)))
    for row in shown:
        line = (text.rjust(w) if r else text.ljust(w) for text, w, r in zip(row, widths, right, strict=True))
        print("  ".join(line).rstrip())


def _nested(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _short(text: str) -> str:
    flat = " ".join(text.splitlines())
    return flat if len(flat) <= WIDEST else f"{flat[: WIDEST - 1]}…"
