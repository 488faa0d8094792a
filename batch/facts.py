"""Clinical facts in a file, long or wide, as rows of the table ``clinical``; what is wrong is told by line."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from contracts.clinical.codes import VITALS
from contracts.errors import Misconfigured, Poison

PATIENTS: Final = ("patient", "patient_id", "subject", "subject_id", "stay_id", "record_id", "person_key")
TIMES: Final = ("at_ms", "at", "time", "charttime")
UNITS: Final[Mapping[str, str]] = {
    **{"_m": "m", "_cm": "cm", "_mm": "mm", "_kg": "kg", "_g": "g", "_km": "km", "_s": "s", "_bpm": "/min"},
    **{"_minutes": "min", "_hours": "h", "_days": "d", "_months": "mo", "_years": "a", "_percent": "%"},
    **{"_mmhg": "mm[Hg]", "_mmol_l": "mmol/L", "_mg_dl": "mg/dL", "_ng_ml": "ng/mL"},
}
"""UCUM units that the end of a column's name tells."""
MISSING: Final = frozenset(("", "na", "n/a", "nan", "null", "none", "-", "?", "unknown"))
MOSTLY: Final = 0.9
"""A name whose values are numbers to this share is a number: a word among them is a slip, not a finding."""
EARLIEST_MS: Final = 631_152_000_000
LATEST_MS: Final = 4_102_444_800_000
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NO_CODE: Final = r"(?!0\d)"
"""``002-1039`` is no range but somebody's number."""
_RANGE: Final = re.compile(rf"\s*{_NO_CODE}({_NUMBER})\s*(?:-|–|to|\.\.)\s*{_NO_CODE}({_NUMBER})\s*")
_BOUND: Final = re.compile(rf"\s*(<=?|>=?|≤|≥)\s*({_NUMBER})\s*|\s*({_NUMBER})\s*\+\s*")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,128}")


@dataclass(frozen=True)
class Bad:
    """A row that cannot be used. ``line`` is that of the file, from 1 with its header; of Parquet the row's number."""

    line: int
    why: str


@dataclass(frozen=True)
class Reading:
    """How a file is to be read. None: found by the usual names. ``units`` are of names that tell none themselves."""

    patient: str | None = None
    at: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    pseudonym: Callable[[str], str] | None = None


@dataclass
class _Fact:
    line: int
    patient: str
    at_ms: int | None
    name: str
    raw: str
    unit: str | None
    usual: tuple[str, str] = ("", "")


def facts(content: bytes, parquet: bool, reading: Reading) -> tuple[list[dict[str, Any]], list[Bad]]:
    """The rows for the table ``clinical`` (without ``dataset``) and the rows that cannot be used.

    A file with columns ``name`` and ``value`` is long, any other is wide: each column but the patient's and the time's
    is a fact. Raises Poison when it has no rows or no patient column, Misconfigured when a column named is not there.
    """
    bad: list[Bad] = []
    rows = list(_parquet(content) if parquet else _csv(content, bad))
    if not rows:
        raise Poison("no_rows", "the file has no rows below its header")
    columns = list(rows[0][1])
    who = _column(columns, reading.patient, PATIENTS, "--patient")
    when = _column(columns, reading.at, TIMES, "--at")
    if who is None:
        raise Poison(
            "no_patient", f"no column says whose a row is: name it with --patient; it has {', '.join(columns)}"
        )
    for name in reading.skip:
        _column(columns, name, (), "--skip")
    told = _told(rows, who, when, reading, bad)
    found = _settled(told, bad)
    return found, sorted(bad, key=lambda one: one.line)


def _column(columns: Sequence[str], named: str | None, usual: Sequence[str], option: str) -> str | None:
    if named is not None:
        if named not in columns:
            raise Misconfigured(f"{option} {named}: the file has {', '.join(columns)}")
        return named
    return next((name for name in usual if name in columns), None)


def _csv(content: bytes, bad: list[Bad]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content[: wrong.start].count(b"\n") + 1
        raise Poison("not_utf8", f"line {line} is not UTF-8: save the file as CSV UTF-8") from wrong
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        twice = [name for name, times in Counter(header).items() if times > 1]
        if twice:
            raise Poison("bad_header", f"line 1: column {twice[0]!r} stands twice")
        for row in reader:
            if len(row) == len(header):
                yield reader.line_num, dict(zip(header, row, strict=True))
            elif row:
                bad.append(Bad(reader.line_num, f"{len(row)} fields; the header has {len(header)}"))
    except csv.Error as wrong:
        raise Poison("bad_csv", f"line {reader.line_num}: {wrong}") from wrong


def _parquet(content: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as wrong:
        raise Poison("bad_parquet", str(wrong).splitlines()[0]) from wrong
    for number, row in enumerate(table.to_pylist(), 1):
        yield number, {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _told(
    rows: Sequence[tuple[int, Mapping[str, str]]], who: str, when: str | None, reading: Reading, bad: list[Bad]
) -> Iterator[_Fact]:
    """Each fact of each row whose patient and time can be read."""
    for line, row in rows:
        patient = row[who].strip()
        if not _NAME.fullmatch(patient):
            bad.append(Bad(line, f"{who}: no patient" if not patient else f"{who}: {patient[:40]!r} names no patient"))
            continue
        try:
            at_ms = _moment_ms(row[when]) if when else None
        except ValueError as wrong:
            bad.append(Bad(line, f"{when}: {wrong}"))
            continue
        patient = reading.pseudonym(patient) if reading.pseudonym else patient
        if {"name", "value"} <= row.keys():
            yield from _long(line, row, patient, at_ms, reading, bad)
            continue
        for name, raw in row.items():
            if name not in (who, when, *reading.skip) and raw.strip().lower() not in MISSING:
                yield _Fact(line, patient, at_ms, name, raw.strip(), _unit(name, reading.units))


def _long(
    line: int, row: Mapping[str, str], patient: str, at_ms: int | None, reading: Reading, bad: list[Bad]
) -> Iterator[_Fact]:
    name, raw = row["name"].strip(), row["value"].strip() or row.get("text", "").strip()
    if not _NAME.fullmatch(name):
        bad.append(Bad(line, "name: it says not what was found"))
    elif name not in reading.skip and raw.lower() not in MISSING:
        unit = row.get("unit", "").strip() or _unit(name, reading.units)
        yield _Fact(line, patient, at_ms, name, raw, unit, (row.get("low", "").strip(), row.get("high", "").strip()))


def _unit(name: str, units: Mapping[str, str]) -> str | None:
    if name in units:
        return units[name]
    for vital, code in VITALS.items():
        if name == vital.value:
            return code.ucum
    return next((unit for end, unit in UNITS.items() if name.lower().endswith(end)), None)


def _moment_ms(text: str) -> int | None:
    """RFC 3339 or epoch ms; a time without zone is UTC. ValueError says what is wrong."""
    text = text.strip()
    if text.lower() in MISSING:
        return None
    if re.fullmatch(r"-?\d+(\.0+)?", text):
        at_ms = int(float(text))
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is no moment: RFC 3339, or epoch ms") from None
        zoned = moment if moment.tzinfo else datetime.fromisoformat(f"{moment.isoformat()}+00:00")
        at_ms = round(zoned.timestamp() * 1000)
    if not EARLIEST_MS <= at_ms <= LATEST_MS:
        raise ValueError(f"{text[:40]!r} is not between 1990 and 2100")
    return at_ms


def _settled(told: Iterator[_Fact], bad: list[Bad]) -> list[dict[str, Any]]:
    """The rows; what is told twice alike stands once, what is told twice otherwise is bad."""
    by_name: defaultdict[str, list[_Fact]] = defaultdict(list)
    for fact in told:
        by_name[fact.name].append(fact)
    standing: dict[tuple[str, str, int | None], tuple[_Fact, dict[str, Any]]] = {}
    for name, group in by_name.items():
        values = {fact.raw: _value(fact.raw) for fact in group}
        numbers = sum("text" not in values[fact.raw] for fact in group)
        numeric = numbers >= MOSTLY * len(group)
        for fact in group:
            if numeric and "text" in values[fact.raw]:
                bad.append(Bad(fact.line, f"{name}: {fact.raw[:40]!r} is no number"))
                continue
            row = {"patient": fact.patient, "at_ms": fact.at_ms, "name": name, "unit": fact.unit}
            row |= values[fact.raw] | _usual(fact, bad)
            before = standing.setdefault((fact.patient, name, fact.at_ms), (fact, row))
            if before[1] != row:
                bad.append(Bad(fact.line, f"{name}: {fact.raw[:40]!r}, but line {before[0].line} says otherwise"))
    return [row for _, row in sorted(standing.values(), key=lambda pair: (pair[0].line, pair[0].name))]


def _value(raw: str) -> dict[str, Any]:
    """What a text says: a number, a range or bound, else a word."""
    if re.fullmatch(_NUMBER, raw):
        number = float(raw)
        return {"value": number} if math.isfinite(number) else {"text": raw}
    if found := _RANGE.fullmatch(raw):
        low, high = float(found[1]), float(found[2])
        return {"low": low, "high": high} if low <= high else {"text": raw}
    if found := _BOUND.fullmatch(raw):
        if found[3]:
            return {"low": float(found[3])}
        return {"high" if found[1][0] in "<≤" else "low": float(found[2])}
    return {"text": raw}


def _usual(fact: _Fact, bad: list[Bad]) -> dict[str, float]:
    """The reference range that came with a fact."""
    found = {}
    for end, text in zip(("usual_low", "usual_high"), fact.usual, strict=True):
        if text.lower() in MISSING:
            continue
        if re.fullmatch(_NUMBER, text):
            found[end] = float(text)
        else:
            bad.append(Bad(fact.line, f"{end.removeprefix('usual_')}: {text[:40]!r} is no number"))
    return found
