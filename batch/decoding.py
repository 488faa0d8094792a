"""What Spark's Python workers do: take image files from HDFS, read each in a guarded child, give rows back."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from batch.originals import IDENTITY
from batch.storage import Storage
from contracts.errors import Poison
from contracts.lake import IDENTIFIED_ROOT, IMAGE_METADATA

if TYPE_CHECKING:
    from models.imaging.guarded import Examined, Guarded

SIZES: Final = (128, 224)
AT_ONCE: Final = 16
"""Images in a batch that goes to the JVM: 16 of both sizes are 4 MB."""
LABELLED: Final = "image_id string, uri string, bytes bigint, label string, split string, known string, fresh boolean"
"""What goes in: ``known`` is the patient's pseudonym where the labels told it, ``deidentified`` for a file of the
gateway; ``fresh`` whether the metadata table does not have it yet."""
_KEPT: Final = {
    "image_id": "string",
    "uri": "string",
    "bytes": "bigint",
    "label": "string",
    "split": "string",
    "fresh": "boolean",
}


def columns() -> tuple[tuple[str, str], ...]:
    """Name and Hive type of each column that comes out: a row a file, with a ``reason`` and little more for one that
    could not be used, else with all of the metadata table's and the pixels of each size."""
    told = [(one.name, one.type) for one in IMAGE_METADATA.columns if one.name not in ("code", *_KEPT)]
    return (
        *_KEPT.items(),
        ("reason", "string"),
        ("detail", "string"),
        ("modality", "string"),
        *((name, "string" if kind == "date" else kind) for name, kind in told),
        *(column for size in SIZES for column in ((f"pixels{size}", "binary"), (f"sha{size}", "string"))),
    )


@dataclass(frozen=True)
class Work:
    """How a worker reaches HDFS and the key. The key itself is in no task: its file is."""

    url: str
    rpc: str
    user: str
    key_file: str | None
    seconds: float

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        """A partition: batches of LABELLED in, batches of ``columns`` out."""
        import pyarrow as pa

        schema = _schema()
        reader = _reader(self.key_file, self.seconds)
        clients = {user: Storage(self.url, self.rpc, user) for user in (self.user, IDENTITY)}
        rows: list[dict[str, Any]] = []
        for batch in batches:
            for row in batch.to_pylist():
                rows.append(_row(row, clients[_user(row["uri"], self.user)], reader))
                if len(rows) == AT_ONCE:
                    yield pa.RecordBatch.from_pylist(rows, schema=schema)
                    rows.clear()
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=schema)


@functools.lru_cache(maxsize=1)
def _reader(key_file: str | None, seconds: float) -> Guarded:
    """The child of this worker: it serves one task after the other, and ends when the worker does."""
    from pathlib import Path

    from models.imaging import keyfile
    from models.imaging.guarded import Guarded

    return Guarded(keyfile.key(Path(key_file)) if key_file else None, SIZES, seconds=seconds)


def _user(path: str, user: str) -> str:
    return IDENTITY if path.startswith(f"{IDENTIFIED_ROOT}/") else user


def _row(row: dict[str, Any], storage: Storage, reader: Guarded) -> dict[str, Any]:
    """One file's row. Raises Transient when HDFS does not give it: then the task is tried again."""
    import hashlib

    kept = {name: row[name] for name in _KEPT}
    content = storage.read(row["uri"])
    if (found := hashlib.sha256(content).hexdigest()) != row["image_id"]:
        return kept | {"reason": "changed", "detail": f"its bytes are not those that were told: sha256 {found[:12]}"}
    try:
        seen = reader.examine(content, deidentified=row["known"] == "deidentified")
    except Poison as poison:
        return kept | {"reason": poison.reason, "detail": poison.detail}
    patient = row["known"] if row["known"] not in (None, "deidentified") else seen.told.patient
    return kept | _columns(seen) | {"patient": patient}


def _columns(seen: Examined) -> dict[str, Any]:
    import hashlib

    import msgspec

    made = msgspec.structs.asdict(seen.told) | msgspec.structs.asdict(seen)
    for size, pixels in seen.shards.items():
        made |= {f"pixels{size}": pixels, f"sha{size}": hashlib.sha256(pixels).hexdigest()}
    return {name: value for name, value in made.items() if name not in ("told", "shards")}


def _schema() -> Any:
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "boolean": pa.bool_(),
        "binary": pa.binary(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "array<double>": pa.list_(pa.float64()),
    }
    return pa.schema([(name, types[kind]) for name, kind in columns()])
