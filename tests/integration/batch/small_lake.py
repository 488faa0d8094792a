"""A shift of the simulated hospital through the real core, as rows of the lake's tables, written by pyarrow."""

from __future__ import annotations

import asyncio
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batch.typed import schema
from contracts import codec
from contracts.lake import (
    ALERTS_TABLE,
    ALL,
    FORECASTS_TABLE,
    OUTLOOKS,
    SCORES_TABLE,
    VITALS_TABLE,
    Table,
    partition_value,
)
from contracts.records import (
    SCHEMA_VERSION,
    ActionKind,
    AlarmState,
    AlertAction,
    AlertTransition,
    Record,
    ScoreFrame,
    VitalsForecast,
    VitalsFrame,
)
from contracts.topology import CLOCK_KEY, VITALS, partition_for
from models.ward.core import WardCore
from producers.ward import Hospital
from streams.counsel import Inline
from streams.wardlog import LogRecord, WardLog
from tests.integration.streams.live import models_in

Rows = dict[str, list[dict[str, Any]]]
"""Rows by name of the table; each also has the ``ward`` of its partition."""


def played(hospital: Hospital, seconds: int, core: WardCore, answer_after_s: int = 40) -> Rows:
    """So many seconds of the hospital decided by the core with its models; every other alarm is acknowledged.

    Log time is event time.
    """
    return asyncio.run(_played(hospital, seconds, core, answer_after_s))


async def _played(hospital: Hospital, seconds: int, core: WardCore, answer_after_s: int) -> Rows:
    counsel = Inline(models_in())
    champions = counsel._models.champions()
    logs: dict[int, WardLog] = {}
    offsets: defaultdict[int, int] = defaultdict(int)
    rows: Rows = defaultdict(list)
    raised: list[AlertTransition] = []
    for second in range(seconds):
        at_ms = hospital.start_ms + second * 1000
        due = [a for a in raised if a.at_ms + answer_after_s * 1000 == at_ms and int(a.alert_id[-1], 16) % 2]
        frames = [*hospital.tick(), *(_acknowledged(alarm, at_ms) for alarm in due)]
        partitions = {partition_for(frame.ward, VITALS.partitions) for frame in frames} | logs.keys()
        tick = VitalsFrame(
            version=SCHEMA_VERSION, ward=CLOCK_KEY, gateway="c", seq=second, at_ms=at_ms, models=champions
        )
        todo = [(frame, partition_for(frame.ward, VITALS.partitions)) for frame in frames]
        for frame, p in [*todo, *((tick, p) for p in sorted(partitions))]:
            log = logs.setdefault(p, WardLog(p, core, counsel=counsel))
            record = LogRecord(VITALS.name, p, offsets[p], at_ms, frame.ward.encode(), codec.encode(frame))
            offsets[p] += 1
            effects = await log.take(record)
            assert not effects.letters, effects.letters[0]
            for made in (frame, *effects.scores, *effects.forecasts, *effects.transitions):
                for table, row in rows_of(made):
                    rows[table].append(row | {"kafka_partition": p, "kafka_offset": record.offset, "ingest_ms": at_ms})
            raised += [t for t in effects.transitions if t.event == "raised" and t.state is AlarmState.ACTIVE]
    return rows


def _acknowledged(alarm: AlertTransition, at_ms: int) -> VitalsFrame:
    action = AlertAction(
        version=SCHEMA_VERSION,
        action_id=f"ack-{alarm.alert_id}",
        ward=alarm.ward,
        bed=alarm.bed,
        kind=ActionKind.ACKNOWLEDGE,
        actor="nurse.kim",
        role="nurse",
        at_ms=at_ms,
        alert_id=alarm.alert_id,
    )
    return VitalsFrame(
        version=SCHEMA_VERSION, ward=alarm.ward, gateway="feed", seq=at_ms // 1000, at_ms=at_ms, actions=(action,)
    )


def rows_of(record: Record) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows that one record becomes, as contracts/lake.py tells."""
    if isinstance(record, VitalsFrame):
        for bed in record.beds:
            for n, reading in enumerate(bed.readings):
                letter = isinstance(reading.value, str)
                yield (
                    VITALS_TABLE.name,
                    {
                        **msgspec.to_builtins(reading),
                        "event_ms": record.at_ms if reading.at_ms is None else reading.at_ms,
                        "frame_ms": record.at_ms,
                        "ward": record.ward,
                        "bed": bed.bed,
                        "patient": bed.patient,
                        "source": str(reading.source),
                        "quality": str(reading.quality),
                        "value": None if letter else reading.value,
                        "letter": reading.value if letter else None,
                        "row": n,
                    },
                )
    elif isinstance(record, ScoreFrame):
        yield from _scored(record)
    elif isinstance(record, VitalsForecast):
        yield from _forecast(record)
    elif isinstance(record, AlertTransition):
        yield (
            ALERTS_TABLE.name,
            {f: getattr(record, f) for f in record.__struct_fields__}
            | {
                "event_ms": record.at_ms,
                "value": None if isinstance(record.value, str) else record.value,
                "drivers": msgspec.to_builtins(record.drivers),
            },
        )


def _scored(frame: ScoreFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    common = {"event_ms": frame.at_ms, "ward": frame.ward, "policy": frame.policy, "now_ms": frame.now_ms}
    for bed in frame.beds:
        news2 = bed.news2
        yield (
            SCORES_TABLE.name,
            common
            | {
                "bed": bed.bed,
                "patient": bed.patient,
                "heard_ms": bed.heard_ms,
                "news2_min": None if news2 is None else news2.minimum,
                "news2_max": None if news2 is None else news2.maximum,
            },
        )
    for outlook in frame.outlooks:
        yield (
            OUTLOOKS.name,
            common
            | {
                "event_ms": outlook.at_ms,
                "bed": outlook.bed,
                "patient": outlook.patient,
                "anomaly": None if outlook.anomaly is None else outlook.anomaly.score,
                "models": [{"name": model.name, "version": model.version} for model in frame.models],
            },
        )


def _forecast(made: VitalsForecast) -> Iterator[tuple[str, dict[str, Any]]]:
    for bed in made.beds:
        for vital in bed.vitals:
            for n, horizon_s in enumerate(vital.horizons_s):
                yield (
                    FORECASTS_TABLE.name,
                    {
                        "event_ms": bed.at_ms,
                        "ward": made.ward,
                        "bed": bed.bed,
                        "patient": bed.patient,
                        "vital": str(vital.vital),
                        "horizon_s": horizon_s,
                        "levels": list(made.levels),
                        "quantiles": list(vital.quantiles[n]),
                        "engine": str(vital.engine),
                        "known": bed.known,
                        "models": [{"name": model.name, "version": model.version} for model in made.models],
                    },
                )


def written(rows: Rows, write: Callable[[str, bytes], None], files: int = 2) -> int:
    """Puts the rows into Parquet files of their partitions, several each; how many files."""
    n = 0
    for name, of in rows.items():
        table = ALL[name]
        parts: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in of:
            date = datetime.fromtimestamp(row["event_ms"] / 1000, UTC).date().isoformat()
            parts[f"{table.path}/date={date}/ward={partition_value(row['ward'])}"].append(row)
        for folder, members in parts.items():
            for number, some in enumerate(_chunks(members, -(-len(members) // files))):
                write(f"{folder}/b{number:012}-0.parquet", parquet(table, some))
                n += 1
    return n


def parquet(table: Table, rows: Sequence[dict[str, Any]]) -> bytes:
    """These rows as one file of the table; a column that a row does not have is null."""
    form = schema(table, partitions=False)
    columns = {name: [row.get(name) for row in rows] for name in form.names}
    out = io.BytesIO()
    pq.write_table(pa.table(columns, schema=form), out, compression="zstd")
    return out.getvalue()


def _chunks(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some
