"""Cohorts: rows selected by SQL, frozen with what they were selected from, and selected again to the same rows.

    /lake/cohorts/<id>/members-<sha256>.parquet    the rows as selected
    /lake/cohorts/<id>/manifest.json               query, counts, by whom, what the tables held

The manifest comes last: without it there is no cohort. Its id follows from its query, what the tables held, the code.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import math
import posixpath
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from batch.columns import Kind, kind_of
from batch.guard import cells, counted
from batch.publish import publish
from batch.selection import PATIENT, Query, digest, pseudonyms_among
from batch.snapshot import Lost, Snapshot, taken
from batch.storage import Storage
from batch.typed import schema
from batch.version import code_version
from contracts.errors import Poison
from contracts.lake import COHORTS, COHORTS_ROOT

VERSION: Final = 1
DIGITS: Final = 16
MANIFEST: Final = "manifest.json"
MOST_CELLS: Final = 20
NEAR: Final = 1e-9
"""Sums over the same rows in another order differ in their last bits, and by no more than this."""

Select = Callable[[Storage, Query, Snapshot], Any]


class NotThere(LookupError):
    """No such cohort. ``near`` are ids and names that are."""

    def __init__(self, ident: str, near: Iterable[str]) -> None:
        self.near = tuple(near)
        hint = f"; there are {', '.join(self.near)}" if self.near else "; `ward cohort list` lists them"
        super().__init__(f"no cohort {ident}{hint}")


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen cohort. ``cohort`` is its id, ``normal`` the query as it counts for the id.

    ``digest`` is over the rows in sorted order, ``members_sha256`` over the file's bytes. ``named`` are pseudonyms that
    the query's text names: an export masks them.
    """

    version: int
    cohort: str
    name: str
    query: str
    normal: str
    engine: str
    made_ms: int
    made_by: str
    role: str
    purpose: str | None
    code: str
    snapshot: Snapshot
    snapshot_sha256: str
    rows: int
    patients: int
    columns: dict[str, str]
    digest: str
    members_sha256: str
    named: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Its folder on HDFS."""
        return f"{COHORTS_ROOT}/{self.cohort}"

    @property
    def members(self) -> str:
        """The file of its rows."""
        return f"{self.path}/members-{self.members_sha256[:12]}.parquet"


def cohort_id(query: Query, engine: str, snapshot: Snapshot, code: str) -> str:
    """The id of what this query gives of this snapshot by this code: 16 hex digits."""
    parts = (query.normal, engine, snapshot.sha256(), code)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:DIGITS]


def freeze(
    storage: Storage,
    name: str,
    query: Query,
    *,
    by: str,
    role: str,
    purpose: str | None = None,
    engine: str,
    by_sql: Select,
) -> tuple[Cohort, bool]:
    """Select the rows and keep them; the cohort, and whether it is new.

    The same query over the same data by the same code is the same cohort, whatever it is called now. Raises Poison for
    bad SQL or no patient, Transient when HDFS does not answer; then nothing is kept.
    """
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise Poison("bad_name", "a cohort is called by 1 to 100 printable characters", "NAME")
    snapshot = taken(storage, query.tables)
    code = code_version()
    ident = cohort_id(query, engine, snapshot, code)
    standing = _read(storage, ident)
    if standing is not None:
        _publish(storage, standing)
        return standing, False
    rows = by_sql(storage, query, snapshot)
    raw = _parquet(rows)
    made = Cohort(
        version=VERSION,
        cohort=ident,
        name=name.strip(),
        query=query.text,
        normal=query.normal,
        engine=engine,
        made_ms=time.time_ns() // 1_000_000,
        made_by=by,
        role=role,
        purpose=purpose,
        code=code,
        snapshot=snapshot,
        snapshot_sha256=snapshot.sha256(),
        rows=rows.num_rows,
        patients=len(rows[PATIENT].unique()),
        columns={field.name: str(field.type) for field in rows.schema},
        digest=digest(rows),
        members_sha256=hashlib.sha256(raw).hexdigest(),
        named=pseudonyms_among(storage, query, snapshot),
    )
    kept = _keep(storage, made, raw)
    _publish(storage, kept)
    return kept, kept == made


def _parquet(rows: Any) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue()


def _keep(storage: Storage, made: Cohort, raw: bytes) -> Cohort:
    """The manifest comes last, and its name is taken once: of two who freeze the same at once, one is told."""
    with contextlib.suppress(FileExistsError):  # of one that was killed before its manifest: the same bytes
        storage.write(made.members, raw)
    try:
        storage.write(f"{made.path}/{MANIFEST}", msgspec.json.format(msgspec.json.encode(made), indent=1))
    except FileExistsError:
        return _read(storage, made.cohort) or made
    return made


def _publish(storage: Storage, made: Cohort) -> None:
    """Give the cohort its row in the table of cohorts, once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {
        "cohort": made.cohort,
        "name": made.name,
        "made_ms": made.made_ms,
        "made_by": made.made_by,
        "query": made.query,
        "rows": made.rows,
        "patients": made.patients,
        "snapshot": made.snapshot_sha256,
        "code": made.code,
    }

    def fill(folder: str) -> tuple[()]:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([row], schema=schema(COHORTS)), sink)
        storage.write(f"{folder}/{COHORTS.name}/{made.cohort}.parquet", sink.getvalue())
        return ()

    publish(storage, f"cohort-{made.cohort}", fill)


def every(storage: Storage) -> list[Cohort]:
    """Every cohort, oldest first."""
    found = (entry for entry in storage.entries(COHORTS_ROOT) if posixpath.basename(entry.path) == MANIFEST)
    return sorted((_decoded(storage.read(e.path), e.path) for e in found), key=lambda one: (one.made_ms, one.cohort))


def find(storage: Storage, ident: str) -> Cohort:
    """The cohort of that id, of an id that begins so, or of that name (the newest). Raises NotThere."""
    if (exact := _read(storage, ident) if _is_id(ident) else None) is not None:
        return exact
    known = every(storage)
    begun = [one for one in known if one.cohort.startswith(ident)] if ident else []
    named = [one for one in known if one.name == ident]
    if len(begun) == 1 or named:
        return begun[0] if len(begun) == 1 else named[-1]
    words = [one.cohort for one in known] + sorted({one.name for one in known})
    raise NotThere(ident, [one.cohort for one in begun] or difflib.get_close_matches(ident, words, n=5, cutoff=0.5))


def _is_id(text: str) -> bool:
    return len(text) == DIGITS and not set(text) - set("0123456789abcdef")


def _read(storage: Storage, ident: str) -> Cohort | None:
    path = f"{COHORTS_ROOT}/{ident}/{MANIFEST}"
    try:
        return _decoded(storage.read(path), path)
    except FileNotFoundError:
        return None


def _decoded(raw: bytes, path: str) -> Cohort:
    try:
        return msgspec.json.decode(raw, type=Cohort)
    except msgspec.DecodeError as wrong:
        raise Poison("bad_cohort", f"{path}: {wrong}") from wrong


def rows_of(storage: Storage, cohort: Cohort) -> Any:
    """The rows as they were selected, an Arrow table. Raises Poison (``tampered_cohort``) when they are others now."""
    import pyarrow.parquet as pq

    path = cohort.members
    try:
        raw = storage.read(path)
    except FileNotFoundError as gone:
        raise Poison("tampered_cohort", "it is not there", path) from gone
    if (found := hashlib.sha256(raw).hexdigest()) != cohort.members_sha256:
        raise Poison("tampered_cohort", f"its sha256 is {found}, the manifest says {cohort.members_sha256}", path)
    return pq.read_table(io.BytesIO(raw))


def rerun(storage: Storage, cohort: Cohort, query: Query, by_sql: Select) -> dict[str, Any]:
    """Select again from what the tables held then: ``same``, and ``exact`` where not even a last bit differs.

    Not the same: ``why`` says whether rows are gone (retention) or the query gives others.
    """
    told: dict[str, Any] = {
        "cohort": cohort.cohort,
        "name": cohort.name,
        "rows": cohort.rows,
        "digest": cohort.digest,
        "code_then": cohort.code,
        "code_now": code_version(),
    }
    try:
        rows = by_sql(storage, query, cohort.snapshot)
    except Lost as lost:
        return told | {"same": False, "exact": False, "rows_now": None, "digest_now": None, "why": str(lost.detail)}
    now = digest(rows)
    exact = now == cohort.digest
    same = exact or _nearly(rows_of(storage, cohort), rows)
    why = (
        None
        if exact
        else "sums differ in their last bits: the rows were read in another order"
        if same
        else _why(storage, cohort, rows.num_rows)
    )
    return told | {"same": same, "exact": exact, "rows_now": rows.num_rows, "digest_now": now, "why": why}


def _why(storage: Storage, cohort: Cohort, rows: int) -> str:
    """What is other than then, as far as the tables tell."""
    held = {one.table: one.rows for one in cohort.snapshot.tables}
    fewer = [one.table for one in taken(storage, held).tables if one.rows < held[one.table]]
    if fewer:
        return f"{', '.join(fewer)} has fewer rows than then: retention took some"
    return f"the query gives {rows} rows of the same data, it gave {cohort.rows}: does it LIMIT without ORDER BY?"


def _nearly(then: Any, now: Any) -> bool:
    """Whether two tables hold the same rows but for the last bits of floats."""
    if then.num_rows != now.num_rows or sorted(then.column_names) != sorted(now.column_names):
        return False
    names = sorted(then.column_names)
    pairs = zip(_ordered(then, names), _ordered(now, names), strict=True)
    return all(_close(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


def _ordered(rows: Any, names: list[str]) -> list[tuple[Any, ...]]:
    plain = list(zip(*(rows[name].to_pylist() for name in names), strict=True))
    return sorted(plain, key=lambda row: repr(_rounded(row)))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.8g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=NEAR, abs_tol=NEAR) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    return bool(one == other)


def previewed(storage: Storage, query: Query, k: int, by_sql: Select) -> dict[str, Any]:
    """Counts of what a freeze would select, none of them of fewer than ``k`` patients; keeps nothing."""
    snapshot = taken(storage, query.tables)
    rows = by_sql(storage, query, snapshot)
    patients = len(rows[PATIENT].unique())
    enough = patients >= k
    return {
        "tables": list(query.tables),
        "columns": rows.column_names,
        "patients": counted(patients, k),
        "rows": rows.num_rows if enough else None,
        "small_cells_below": k,
        "by": dict(_breakdowns(rows, k)) if enough else {},
    }


def _breakdowns(rows: Any, k: int) -> Iterator[tuple[str, dict[str, int | None]]]:
    """Patients by each value of the columns that say who they are."""
    whose = rows[PATIENT].to_pylist()
    for name in rows.column_names:
        if kind_of(name, rows[name].combine_chunks())[0] is not Kind.QUASI:
            continue
        having: defaultdict[str, set[str]] = defaultdict(set)
        for patient, value in zip(whose, rows[name].to_pylist(), strict=True):
            having["unknown" if value is None else str(value)].add(patient)
        if len(having) <= MOST_CELLS:
            yield name, cells({value: len(having[value]) for value in sorted(having)}, k)
