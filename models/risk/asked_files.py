"""Patients' answers out of a file: JSON (one object or a list of them) or CSV (a header, a row a patient)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from contracts.errors import Poison

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_PATIENTS: Final = 10_000
NAMED_BY: Final = ("patient_id", "id")
ASIDE: Final = frozenset(
    {*NAMED_BY, "split", "diagnosis", "image", "image_status", "menopause_age_raw", "fracture_any"}
)
"""Columns of the published table that are no answers; they are left aside, as are those without a name."""


@dataclass(frozen=True)
class Asked:
    """One patient of a file: as it is named there, else ``patient 1``, and what was answered."""

    name: str
    fields: Mapping[str, Any]


def read(content: bytes) -> list[Asked]:
    """The patients, in the file's order. Raises Poison (``too_large``, ``unreadable``, ``empty``)."""
    if len(content) > MAX_BYTES:
        raise Poison("too_large", f"{len(content):,} bytes; {MAX_BYTES:,} are the most")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise Poison("unreadable", f"no UTF-8 text (byte {wrong.start}); save it as UTF-8") from wrong
    found = _json(text) if text.lstrip()[:1] in ("{", "[") else _csv(text)
    if not found:
        raise Poison("empty", 'no patient in it; JSON {"sex": "female", "age": 61} or a CSV with a header will do')
    if len(found) > MAX_PATIENTS:
        raise Poison("too_large", f"{len(found):,} patients; {MAX_PATIENTS:,} are the most")
    return [_asked(at, row) for at, row in enumerate(found, 1)]


def _json(text: str) -> list[dict[str, Any]]:
    try:
        found = msgspec.json.decode(text, type=dict[str, Any] | list[dict[str, Any]])
    except (msgspec.MsgspecError, RecursionError) as wrong:
        raise Poison("unreadable", f"{wrong}; give an object of answers, or a list of such") from wrong
    return found if isinstance(found, list) else [found]


def _csv(text: str) -> list[dict[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as wrong:
        raise Poison("unreadable", f"no CSV: {wrong}") from wrong
    for at, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise Poison("unreadable", "it has another number of cells than the header", f"line {at}")
    return rows


def _asked(at: int, row: Mapping[str, Any]) -> Asked:
    name = next((str(row[key])[:40] for key in NAMED_BY if row.get(key)), f"patient {at}")
    return Asked(name, {key: value for key, value in row.items() if key not in ASIDE and key.strip()})
