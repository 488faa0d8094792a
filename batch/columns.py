"""What each column of a cohort may tell outside: which are re-keyed, left out, told as offsets, or guarded.

By name for the columns of contracts/lake.py, by type and content for what a query made up: what is not known to be
harmless is guarded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

EARLIEST_MS: Final = 631_152_000_000
LATEST_MS: Final = 4_102_444_800_000
"""1990 to 2100, as contracts.codec takes them: an integer between them is taken for a moment."""
_DATE_LIKE: Final = re.compile(r"(?<!\d)(?:19|20)\d{2}[-/.]?(?:0[1-9]|1[0-2])[-/.]?(?:0[1-9]|[12]\d|3[01])")


class Kind(StrEnum):
    """What becomes of a column."""

    REKEYED = "rekeyed"
    LEFT_OUT = "left out"
    MOMENT_MS = "moment in ms"
    MOMENT_S = "moment in s"
    MOMENT = "moment"
    DAY = "day"
    QUASI = "quasi-identifier"
    WORDS = "words"
    NUMBER = "number"


QUASI: Final = frozenset(
    (
        *("ward", "sex", "gender", "age", "age_years", "age_band", "modality", "body_part", "laterality"),
        *("manufacturer", "dataset", "ethnicity", "race", "religion", "language", "marital_status", "occupation"),
        *("insurance", "postcode", "zip", "region", "hospital", "unit_type", "admit_source", "admit_dx"),
        *("height", "height_m", "weight", "weight_kg", "bmi", "pregnancies", "menopause_age"),
    )
)
"""Columns by which a person could be recognised, whatever their type; ``--quasi`` names more. Text that no table has
(made up by the query) is one too."""
REKEYED: Final = frozenset(
    (
        *("patient", "study", "series", "instance", "image_id", "cohort"),
        *("alert_id", "job_id", "action_id", "access_id", "finding_id", "feedback_id", "refusal_id"),
    )
)
"""Identifiers: what belongs together still does, and leads nowhere."""
_WORDS: Final = frozenset(
    (
        *("vital", "letter", "unit", "source", "quality", "condition", "category", "priority", "event", "state"),
        *("name", "text", "label", "refusal", "model", "engine", "kind", "format", "photometric", "split", "message"),
        *("view", "transfer_syntax", "sop_class", "policy", "code", "verdict", "rule", "why"),
    )
)
"""Text of the tables that says what was seen rather than who: a value that fewer than k patients have is left out."""
_LINKS: Final = "leads back to the row or file in the lake"
_PLACE: Final = "names a bed or a device"
LEFT_OUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("kafka_partition", "kafka_offset", "row", "frame_partition", "frame_offset", "seq"), _LINKS),
        **dict.fromkeys(("uri", "heatmap_uri", "preview_uri", "sha256", "input_sha256"), _LINKS),
        **dict.fromkeys(("pixels_sha256", "ingest_ms"), _LINKS),
        **dict.fromkeys(("model_sha256", "schema_version", "revision", "attempt"), _LINKS),
        **dict.fromkeys(("bed", "gateway"), _PLACE),
        **dict.fromkeys(("year", "month"), "a calendar date"),
        **dict.fromkeys(("actor", "note", "query", "made_by"), "free text or a name of staff"),
    }
)
"""Columns of the tables that never leave, and why."""


def kind_of(name: str, values: Any, more_quasi: Iterable[str] = ()) -> tuple[Kind, str]:
    """What becomes of a column (an Arrow array with its name), and in words why where it is left out."""
    import pyarrow as pa

    plain, kind = name.lower(), values.type
    if plain in LEFT_OUT:
        return Kind.LEFT_OUT, LEFT_OUT[plain]
    if plain in REKEYED:
        return Kind.REKEYED, ""
    if plain in {one.lower() for one in more_quasi} | QUASI and not pa.types.is_nested(kind):
        return Kind.QUASI, ""
    if pa.types.is_date(kind):
        return Kind.DAY, ""
    if pa.types.is_timestamp(kind):
        return Kind.MOMENT, ""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text(plain, values)
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return Kind.NUMBER, ""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _number(plain, values), ""
    if pa.types.is_list(kind) and (pa.types.is_floating(kind.value_type)):
        return Kind.NUMBER, ""
    return Kind.LEFT_OUT, f"a {kind} cannot be guarded: select what you need of it as columns"


def _text(name: str, values: Any) -> tuple[Kind, str]:
    if any(_DATE_LIKE.search(value) for value in values.unique().to_pylist() if value):
        return Kind.LEFT_OUT, "text that holds calendar dates: select a column of type date or *_ms"
    return (Kind.WORDS if name in _WORDS else Kind.QUASI), ""


def _number(name: str, values: Any) -> Kind:
    """A number, or a moment where one of its values can hardly be anything else."""
    import pyarrow.compute as pc

    if values.null_count == len(values):
        return Kind.MOMENT_MS if name.endswith("_ms") else Kind.NUMBER
    lowest, highest = float(pc.min(values).as_py()), float(pc.max(values).as_py())
    if EARLIEST_MS <= highest <= LATEST_MS or (name.endswith("_ms") and highest >= EARLIEST_MS):
        return Kind.MOMENT_MS
    if lowest >= EARLIEST_MS / 1000 and highest <= LATEST_MS / 1000:
        return Kind.MOMENT_S
    return Kind.NUMBER
