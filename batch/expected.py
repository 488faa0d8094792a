"""Which rows a record must become, decoded by contracts.codec alone: the yardstick for what Spark wrote."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from contracts import codec
from contracts import records as r
from contracts.errors import Poison
from contracts.lake import (
    ACCESS,
    ACTIONS,
    ALERTS_TABLE,
    BY_WARD,
    DEAD,
    FEEDBACK,
    FORECASTS_TABLE,
    FROM_TOPICS,
    IMAGE_FINDINGS_TABLE,
    IMAGES,
    JOBS,
    OUTLOOKS,
    PREDICTIONS,
    REFUSALS,
    SCORES_TABLE,
    STUDIES,
    VITALS_TABLE,
    Table,
    partition_value,
)
from contracts.topology import VITALS, Topic

Row = tuple[Any, ...]
"""ingest_ms, event_ms, the values of the other compared columns, then the ward as it stands in the path."""
NO_WARD: Final = "~unnamed"
OLDEST_MS: Final = 3 * 366 * 86_400_000
AHEAD_MS: Final = 86_400_000
_FOLDER: Final = re.compile(r"[A-Za-z0-9._~ -]{1,128}")
_PRINTABLE: Final = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Grain:
    """How a table's rows come out of a record, and which of their columns are compared with what is stored."""

    columns: tuple[str, ...]
    rows: Callable[[Any], Iterator[Row]]


def _readings(frame: r.VitalsFrame) -> Iterator[Row]:
    for bed in frame.beds:
        for reading in bed.readings:
            value = reading.value
            letter = value if isinstance(value, str) else None
            at_ms = frame.at_ms if reading.at_ms is None else reading.at_ms
            yield at_ms, bed.bed, bed.patient, reading.vital.value, None if letter else value, letter


def _scores(frame: r.ScoreFrame) -> Iterator[Row]:
    for bed in frame.beds:
        yield frame.at_ms, bed.bed, bed.patient, bed.heard_ms


def _outlooks(frame: r.ScoreFrame) -> Iterator[Row]:
    for outlook in frame.outlooks:
        yield outlook.at_ms, outlook.bed, outlook.patient


def _forecasts(frame: r.VitalsForecast) -> Iterator[Row]:
    for bed in frame.beds:
        for vital in bed.vitals:
            for horizon_s in vital.horizons_s:
                yield bed.at_ms, bed.bed, bed.patient, vital.vital.value, horizon_s


def _one(*names: str) -> Grain:
    """One row a record: these fields, under their own names in the table."""
    return Grain(("event_ms", *names), lambda record: iter([(record.at_ms, *(getattr(record, n) for n in names))]))


GRAINS: Final[Mapping[str, Grain]] = MappingProxyType(
    {
        VITALS_TABLE.name: Grain(("event_ms", "bed", "patient", "vital", "value", "letter"), _readings),
        SCORES_TABLE.name: Grain(("event_ms", "bed", "patient", "heard_ms"), _scores),
        OUTLOOKS.name: Grain(("event_ms", "bed", "patient"), _outlooks),
        FORECASTS_TABLE.name: Grain(("event_ms", "bed", "patient", "vital", "horizon_s"), _forecasts),
        ALERTS_TABLE.name: _one("alert_id", "seq", "bed", "patient", "condition", "onset_ms"),
        ACTIONS.name: _one("action_id", "bed", "kind", "actor"),
        IMAGES.name: _one("patient", "instance", "uri", "sha256", "revision"),
        JOBS.name: _one("job_id", "instance", "model", "attempt"),
        PREDICTIONS.name: _one("job_id", "instance", "model", "label", "probability", "refusal"),
        REFUSALS.name: _one("refusal_id", "sha256", "reason", "size"),
        STUDIES.name: _one("study", "patient", "revision", "first_ms", "last_ms"),
        IMAGE_FINDINGS_TABLE.name: _one("finding_id", "seq", "instance", "model", "label", "state"),
        FEEDBACK.name: _one("feedback_id", "instance", "model", "verdict", "label", "value"),
        DEAD.name: _one("reason", "field", "detail", "partial"),
        ACCESS.name: _one("access_id", "actor", "action", "target"),
    }
)


@dataclass(frozen=True)
class Expected:
    """What one record must become: the rows of each of its tables, in order.

    ``sound``: codec took all of it, and these are the rows exactly. Otherwise they are the least that must be there,
    and ``why`` says what codec refused: what is refused lands too, as raw bytes and as far as it fits.
    """

    rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    sound: bool = True
    why: str | None = None


def tables_of(topic: Topic[Any]) -> tuple[Table, ...]:
    """The tables, besides ``records``, that a topic's records become."""
    return tuple(table for table in FROM_TOPICS if table.topic is topic)


def expected(topic: Topic[Any], value: bytes | None, ingest_ms: int) -> Expected:
    """The rows of a record of that topic that the broker took at ``ingest_ms``."""
    why = None
    try:
        if topic is VITALS:
            decoded = codec.decode_frame(value)
            record: Any = decoded.frame
            if decoded.faults:
                why = f"{decoded.faults[0].reason} at {decoded.faults[0].field}"
        else:
            record = codec.decode(value, topic.record)
    except Poison as wrong:
        return Expected({}, False, f"{wrong.reason} at {wrong.field}")
    made = {}
    for table in tables_of(topic):
        place = (ward_folder(record.ward),) if BY_WARD in table.partitions else ()
        made[table.name] = tuple((ingest_ms, *row, *place) for row in GRAINS[table.name].rows(record))
    return Expected(made, why is None, why)


def day_of(event_ms: int, ingest_ms: int) -> str:
    """The date of a row: of its event, or of the broker's moment when a device's clock says what cannot be."""
    if believed(event_ms) and (not believed(ingest_ms) or -OLDEST_MS <= event_ms - ingest_ms <= AHEAD_MS):
        return utc_day(event_ms)
    return utc_day(ingest_ms) if believed(ingest_ms) else "1970-01-01"


def believed(at_ms: int) -> bool:
    """Whether a clock that says so was ever set."""
    return codec.EARLIEST_MS <= at_ms <= codec.LATEST_MS


def utc_day(at_ms: int) -> str:
    """The UTC date of a moment, as it stands in a path."""
    return _utc_day(at_ms // 86_400_000)


@functools.cache
def _utc_day(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()


def ward_folder(ward: str | None) -> str:
    """The ward as it stands in a path; names that no folder can have are together in one."""
    if ward is None:
        return partition_value("")
    fits = _FOLDER.fullmatch(ward) or (len(ward.encode()) <= 80 and _PRINTABLE.fullmatch(ward))
    return partition_value(ward) if fits else NO_WARD
