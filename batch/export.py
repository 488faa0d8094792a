"""A cohort as it may leave: re-keyed, dates as offsets, small groups guarded, with a page that says all of it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from batch.cohorts import Cohort
from batch.columns import QUASI as QUASI_NAMES
from batch.columns import Kind, kind_of
from batch.guard import Guarded, guarded
from batch.selection import PATIENT
from batch.storage import Storage
from contracts.errors import Misconfigured, Poison
from contracts.lake import IDENTIFIED_ROOT
from contracts.pseudonyms import KEY_BYTES, Pseudonyms

Format = Literal["parquet", "csv"]
K: Final = 10
"""Fewest patients of a group that is told, unless asked otherwise; owners of data ask for 5 to 20."""
DAY_MS: Final = 24 * 3600 * 1000
SHORT: Final = 6
"""A pseudonym of fewer letters is looked for as a whole value only: inside other text it would be everywhere."""
_OWN_ORIGIN: Final = frozenset(("study_date",))
"""Dates that were shifted before they came to the lake: they have a first day of their own."""
_UIDS: Final = frozenset(("study", "series", "instance"))
DATA: Final = "data"


@dataclass
class Exported:
    """What is to be written: an Arrow table, and what became of each column."""

    rows: Any
    columns: list[dict[str, str]] = field(default_factory=list)
    told: tuple[dict[str, str], ...] = ()
    quasi: list[str] = field(default_factory=list)
    patients: int = 0
    masks: tuple[str, ...] = ()
    """Pseudonyms of the lake: none of them may stand in anything that is written."""


def key_for(storage: Storage, cohort: Cohort, keep: bool) -> tuple[bytes, bool]:
    """The key under which a cohort is re-keyed, and whether it stands in the identified zone.

    One that stands there is used again. Otherwise a fresh one: kept there when ``keep``, else nowhere, and then nobody
    can ever tell who is who. Only the user ``identity`` of HDFS reads or writes there; see contracts.lake.MEMBERS.
    """
    fresh = secrets.token_bytes(KEY_BYTES)
    if not keep:
        return fresh, False
    zone = Storage(storage.url, storage.rpc, user="identity")
    path = f"{IDENTIFIED_ROOT}/cohorts/{cohort.cohort}.key"
    try:
        zone.write(path, fresh)
    except FileExistsError:
        return zone.read(path), True
    return fresh, True


def prepared(rows: Any, key: bytes, k: int, more_quasi: Iterable[str] = ()) -> Exported:
    """The rows as they may leave. Raises Poison (``small_cohort``) when fewer than ``k`` patients are, or are left."""
    _enough(len(rows[PATIENT].unique()), k)
    unknown = sorted({one.lower() for one in more_quasi} - {name.lower() for name in rows.column_names})
    if unknown:
        raise Misconfigured(f"--quasi {unknown[0]}: the cohort has the columns {', '.join(rows.column_names)}")
    masks = tuple(rows[PATIENT].unique().to_pylist())
    rows, facts = _without_characteristics(rows)
    kinds = {name: kind_of(name, rows[name].combine_chunks(), more_quasi) for name in rows.column_names}
    kept = _guarded(rows, kinds, k)
    _enough(kept.patients, k)
    whose = [rows[PATIENT][row].as_py() for row in kept.rows]
    made = Exported(None, told=(*facts, *kept.told), quasi=list(kept.quasi), patients=kept.patients, masks=masks)
    columns = _columns(rows.take(list(kept.rows)), kinds, kept, whose, Pseudonyms(key), made)
    made.rows = _ordered(_scrubbed(columns, set(whose)))
    return made


def _enough(patients: int, k: int) -> None:
    if patients < k:
        raise Poison("small_cohort", f"it has fewer than {k} patients, so it is not handed out", "--k")


def _without_characteristics(rows: Any) -> tuple[Any, tuple[dict[str, str], ...]]:
    """Rows without the facts that say who somebody is, where facts come as rows: as rows they cannot be guarded."""
    import pyarrow as pa

    names = set(rows.column_names)
    if "name" not in names or not names & {"value", "text"}:
        return rows, ()
    facts = rows["name"].to_pylist()
    gone = sorted({fact for fact in facts if str(fact).lower() in QUASI_NAMES})
    if not gone:
        return rows, ()
    said = {
        "column": "name",
        "what": f"rows of {', '.join(gone)} left out: select such facts as columns, so that they can be guarded",
        "patients": "all",
    }
    return rows.filter(pa.array([fact not in gone for fact in facts])), (said,)


def _guarded(rows: Any, kinds: Mapping[str, tuple[Kind, str]], k: int) -> Guarded:
    quasi = {name: rows[name].to_pylist() for name, (kind, _) in kinds.items() if kind is Kind.QUASI}
    words: dict[str, Sequence[object]] = {
        name: rows[name].to_pylist() for name, (kind, _) in kinds.items() if kind is Kind.WORDS
    }
    if "name" in words and "text" in words:  # `yes` is common, `dialysis: yes` need not be
        pairs = zip(words["name"], words["text"], strict=True)
        words["text"] = [None if text is None else (name, text) for name, text in pairs]
    return guarded(rows[PATIENT].to_pylist(), quasi, words, k)


def _columns(
    rows: Any,
    kinds: Mapping[str, tuple[Kind, str]],
    kept: Guarded,
    whose: list[str],
    pseudonyms: Pseudonyms,
    made: Exported,
) -> dict[str, Any]:
    """The columns as they leave, by their new names; what became of each goes to ``made``."""
    import pyarrow as pa

    origins = _origins(rows, kinds, whose)
    columns: dict[str, Any] = {}
    for name, (kind, why) in kinds.items():
        told = name
        if kind is Kind.REKEYED:
            columns[name] = pa.array(_rekeyed(name, rows[name].to_pylist(), pseudonyms), pa.string())
        elif kind in (Kind.QUASI, Kind.WORDS):
            values: Sequence[Hashable] = kept.quasi[name] if kind is Kind.QUASI else kept.words[name]
            columns[name] = pa.array([_said(value) for value in values], pa.string())
        elif kind is Kind.NUMBER:
            columns[name] = rows[name].combine_chunks()
        elif kind is not Kind.LEFT_OUT:
            told, unit = _offset_name(name, kind)
            at = [_moment_ms(value, kind) for value in rows[name].to_pylist()]
            own = origins[name if name in _OWN_ORIGIN else ""]
            offsets = [_offset(a, own[patient], unit) for a, patient in zip(at, whose, strict=True)]
            columns[told] = pa.array(offsets, pa.float64() if kind is Kind.MOMENT_S else pa.int64(), safe=False)
        made.columns.append({"column": name, "as": told if kind is not Kind.LEFT_OUT else "", "is": kind, "why": why})
    return columns


def _rekeyed(name: str, values: list[str | None], pseudonyms: Pseudonyms) -> list[str | None]:
    def one(value: str) -> str:
        if name == PATIENT:
            return pseudonyms.patient(value)
        return pseudonyms.uid(value) if name in _UIDS else pseudonyms.token(name, value)

    new = {value: one(str(value)) for value in set(values) if value is not None and str(value).strip()}
    return [None if value is None else new.get(value) for value in values]


def _said(value: Hashable) -> str | None:
    if isinstance(value, tuple):
        value = value[1]
    return None if value is None else str(value)


def _offset_name(name: str, kind: Kind) -> tuple[str, int]:
    """The new name of a column of moments, and how many ms its unit has."""
    if kind is Kind.DAY:
        return f"{name}_offset_days", DAY_MS
    if kind is Kind.MOMENT_S:
        return f"{name.removesuffix('_s')}_offset_s", 1000
    return f"{name.removesuffix('_ms')}_offset_ms", 1


def _moment_ms(value: Any, kind: Kind) -> float | None:
    if value is None:
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000
    if isinstance(value, date):
        return float((value - date(1970, 1, 1)).days * DAY_MS)
    return float(value) * (1000 if kind is Kind.MOMENT_S else 1)


def _offset(at_ms: float | None, origin_ms: float | None, unit_ms: int) -> float | None:
    if at_ms is None or origin_ms is None:
        return None
    if unit_ms == DAY_MS:
        return at_ms // DAY_MS - origin_ms // DAY_MS
    return (at_ms - origin_ms) / unit_ms if unit_ms > 1 else round(at_ms - origin_ms)


def _origins(rows: Any, kinds: Mapping[str, tuple[Kind, str]], whose: list[str]) -> dict[str, dict[str, float | None]]:
    """When each patient's first event was, over all columns of moments; those shifted before have their own."""
    timed = {Kind.MOMENT_MS, Kind.MOMENT_S, Kind.MOMENT, Kind.DAY}
    moments = {name: kind for name, (kind, _) in kinds.items() if kind in timed}
    # a day begins at midnight, before the day's first event: it counts only where nothing finer is told
    finer = [name for name, kind in moments.items() if kind is not Kind.DAY]
    found: dict[str, dict[str, float | None]] = {"": dict.fromkeys(whose)}
    for name, kind in moments.items():
        own = found.setdefault(name, dict.fromkeys(whose)) if name in _OWN_ORIGIN else found[""]
        if kind is Kind.DAY and finer and name not in _OWN_ORIGIN:
            continue
        for patient, value in zip(whose, rows[name].to_pylist(), strict=True):
            at, before = _moment_ms(value, kind), own[patient]
            if at is not None and (before is None or at < before):
                own[patient] = at
    return found


def _scrubbed(columns: dict[str, Any], patients: set[str]) -> dict[str, Any]:
    """Text without any pseudonym of the cohort, wherever a query may have put one."""
    import pyarrow as pa

    for name in columns:
        if masked(name, patients) != name:
            raise Poison("named_patient", "a column is called after a patient: rename it with AS", "query")
    for name, values in columns.items():
        if pa.types.is_string(values.type) and name not in (PATIENT,):
            bad = {v for v in values.unique().to_pylist() if v is not None and masked(v, patients) != v}
            if bad:
                columns[name] = pa.array([None if v in bad else v for v in values.to_pylist()], pa.string())
    return columns


def masked(text: str, patients: Iterable[str]) -> str:
    """A text in which no pseudonym of these patients is left."""
    for patient in patients:
        if patient == text:
            return "***"
        if len(patient) >= SHORT and patient in text:
            text = text.replace(patient, "***")
    return text


def _ordered(columns: dict[str, Any]) -> Any:
    """The rows by patient and moment: not in the order of the lake, which could tell who is who."""
    import pyarrow as pa

    table = pa.table(columns)
    moments = [name for name in columns if "_offset_" in name]
    return table.sort_by([(name, "ascending") for name in (PATIENT, *moments)])


def write(to: Path, cohort: Cohort, made: Exported, form: Format, k: int, key_kept: bool) -> dict[str, Any]:
    """Make the folder ``to``, whole or not at all: data, README.txt, cohort.json. Returns what cohort.json says.

    Raises Misconfigured when it is there already or cannot be written.
    """
    if to.exists():
        raise Misconfigured(f"{to} is there already: name a new folder")
    told = described(cohort, made, form, k, key_kept)
    draft = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True)
        _write_data(draft / f"{DATA}.{form}", made.rows, form)
        (draft / "cohort.json").write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n")
        (draft / "README.txt").write_text(readme(told), encoding="utf-8")
        draft.rename(to)
    except OSError as failed:
        raise Misconfigured(f"{to} cannot be written: {failed.strerror or failed}") from failed
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return told


def _write_data(path: Path, rows: Any, form: Format) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if form == "parquet":
        pyarrow.parquet.write_table(rows, path, compression="zstd")
        return
    for index, one in enumerate(rows.schema):
        if pa.types.is_list(one.type):
            flat = [None if v is None else " ".join(f"{x:.9g}" for x in v) for v in rows[one.name].to_pylist()]
            rows = rows.set_column(index, one.name, pa.array(flat, pa.string()))
    pyarrow.csv.write_csv(rows, path)


def described(cohort: Cohort, made: Exported, form: Format, k: int, key_kept: bool) -> dict[str, Any]:
    """What is told of an export beside its data."""
    made_on = datetime.fromtimestamp(cohort.made_ms / 1000, UTC).date().isoformat()
    masks = {*cohort.named, *made.masks}
    name, query = masked(cohort.name, masks), cohort.query
    for pseudonym in masks:
        query = query.replace(f"'{pseudonym}'", "'***'")
    return {
        "cohort": cohort.cohort,
        "name": name,
        "citation": (
            f"{name} [cohort {cohort.cohort}], {made.patients} patients, frozen on {made_on}; "
            f"Wardstream {cohort.code}; snapshot sha256:{cohort.snapshot_sha256}."
        ),
        "frozen": made_on,
        "purpose": None if cohort.purpose is None else masked(cohort.purpose, masks),
        "query": masked(query, masks),
        "patients": made.patients,
        "rows": made.rows.num_rows,
        "file": f"{DATA}.{form}",
        "k": k,
        "quasi_identifiers": made.quasi,
        "columns": made.columns,
        "suppressed": list(made.told),
        "key": (
            "kept in the identified zone: a steward can lead a pseudonym back"
            if key_kept
            else "not kept: nobody can lead a pseudonym back, and another export has other ones"
        ),
        "snapshot_sha256": cohort.snapshot_sha256,
        "code": cohort.code,
    }


def readme(told: Mapping[str, Any]) -> str:
    """The page beside the data."""
    left = [f"  {one['column']}: {one['why']}" for one in told["columns"] if one["is"] == Kind.LEFT_OUT]
    kept = [f"  {one['as']}: {one['is']}" for one in told["columns"] if one["is"] != Kind.LEFT_OUT]
    cut = [f"  {one['column']}: {one['what']} ({one['patients']} patients)" for one in told["suppressed"]]
    parts = [
        f"{told['name']}: {told['patients']} patients, {told['rows']} rows in {told['file']}",
        "Research data of a research system, not a medical device. Not to be joined with what could identify a person.",
        f"Cite as\n  {told['citation']}",
        f"Query\n  {told['query']}",
        "Times are offsets from each patient's first event here; a study date has a first day of its own.",
        f"Pseudonyms were made for this cohort alone; the key was {told['key']}.",
        f"Quasi-identifiers: {', '.join(told['quasi_identifiers']) or 'none'}.\n"
        f"By all rows of a patient together, every patient is one of at least {told['k']} that look the same;\n"
        "a word that fewer patients have is left out. Numbers are as selected.",
        "Suppressed\n" + ("\n".join(cut) or "  nothing"),
        "Columns\n" + "\n".join(kept),
        "Left out\n" + ("\n".join(left) or "  nothing"),
        f"The same rows again, inside: ward cohort rerun {told['cohort']}",
    ]
    return "\n\n".join(parts) + "\n"
