"""``ward lake clinical``: clinical facts of a file become rows of the table ``clinical``, once."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from batch.facts import Reading, facts
from contracts.errors import Misconfigured, Poison
from contracts.lake import CLINICAL, partition_value

if TYPE_CHECKING:
    from batch.storage import Storage

SHOWN: Final = 20
_DATASET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def load(
    storage: Storage, content: bytes, parquet: bool, dataset: str, reading: Reading, skip_bad: bool, add: bool
) -> dict[str, Any]:
    """Put the facts in; what was done, with the bad rows. The same file twice is there once.

    With bad rows nothing is put in, unless ``skip_bad``. Raises Misconfigured when the dataset holds another file
    already, unless ``add``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from batch.publish import publish, published
    from batch.typed import schema

    if not _DATASET.fullmatch(dataset):
        raise Misconfigured(f"--dataset {dataset!r}: 1 to 64 letters, digits, _ . and -")
    rows, bad = facts(content, parquet, reading)
    told: dict[str, Any] = {
        "dataset": dataset,
        "facts": len(rows),
        "patients": len({row["patient"] for row in rows}),
        "names": len({row["name"] for row in rows}),
        "bad": [{"line": one.line, "why": one.why} for one in bad],
        "loaded": False,
        "new": False,
    }
    if (bad and not skip_bad) or not rows:
        return told
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=schema(CLINICAL, partitions=False))
    pq.write_table(table, sink, compression="zstd")
    name = f"clinical-{dataset.replace('_', '.')}-{_digest(rows, dataset)}"
    if published(storage, name) is not None:
        return told | {"loaded": True}
    folder = f"dataset={partition_value(dataset)}"
    if not add and next(storage.entries(f"{CLINICAL.path}/{folder}"), None) is not None:
        raise Misconfigured(f"dataset {dataset} holds another file already: name another dataset, or --add to it")

    def fill(staged: str) -> tuple[()]:
        storage.write(f"{staged}/{CLINICAL.name}/{folder}/facts.parquet", sink.getvalue())
        return ()

    publish(storage, name, fill)
    return told | {"loaded": True, "new": True}


def _digest(rows: list[dict[str, Any]], dataset: str) -> str:
    import msgspec

    return hashlib.sha256(msgspec.json.encode([dataset, rows], order="sorted")).hexdigest()[:16]


def clinical(
    file: Annotated[Path, typer.Argument(help="CSV (UTF-8) or Parquet, long (name, value) or wide.")],
    dataset: Annotated[str, typer.Option(help="What this set of facts is called.")],
    patient: Annotated[str | None, typer.Option(help="The column of the patient.", show_default="patient, ...")] = None,
    at: Annotated[str | None, typer.Option(help="The column of the time.", show_default="at_ms, at, time")] = None,
    unit: Annotated[list[str] | None, typer.Option(help="NAME=UCUM of a column, like lactate=mmol/L.")] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Leave this column out: free text, for one.")] = None,
    hospital_ids: Annotated[
        bool, typer.Option("--hospital-ids", help="The file names patients by their numbers: put pseudonyms instead.")
    ] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Put in the good rows though some are bad.")] = False,
    add: Annotated[bool, typer.Option("--add", help="Add to a dataset that holds other facts.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Examples: ward lake clinical clinical.csv --dataset knee · ward lake clinical labs.csv --dataset labs --at drawn

    Units come from a column `unit`, from --unit or from names like weight_kg; ranges and bounds (3-5, <0.5) are kept.
    With bad rows nothing is put in: they are told by line (exit 5); --skip-bad puts in the rest (exit 6).
    """
    from batch.cli import BAD_INPUT, FINDINGS, document, say, settings
    from batch.storage import Storage

    known = settings()
    pseudonym = None
    if hospital_ids:
        from models.imaging.keyfile import pseudonyms

        pseudonym = pseudonyms(known).patient
    reading = Reading(patient, at, dict(_pair(one) for one in unit or ()), tuple(skip or ()), pseudonym)
    told = load(Storage.of(known), _content(file), file.suffix == ".parquet", dataset, reading, skip_bad, add)
    if as_json:
        document(told)
    else:
        for one in told["bad"][:SHOWN]:
            say(f"{file}:{one['line']}: {one['why']}")
        if len(told["bad"]) > SHOWN:
            say(f"and {len(told['bad']) - SHOWN} more")
        done = ("put in" if told["new"] else "there already") if told["loaded"] else "NOT put in"
        print(f"{dataset}: {told['facts']} facts of {told['patients']} patients {done}, {len(told['bad'])} bad rows")
    raise typer.Exit((FINDINGS if told["loaded"] else BAD_INPUT) if told["bad"] else 0)


def _pair(text: str) -> tuple[str, str]:
    name, equals, unit = text.partition("=")
    if not equals or not name or not unit:
        raise Misconfigured(f"--unit {text}: write NAME=UNIT")
    return name, unit


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as failed:
        raise Poison("no_file", f"it cannot be read: {failed.strerror}", str(file)) from failed
