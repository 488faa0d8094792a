"""What one decoded record becomes in the lake, in plain Python: the oracle for Spark's expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from contracts import lake
from contracts import records as r
from contracts.codec import EARLIEST_MS, LATEST_MS

DAY_MS = 86_400_000
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
Row = dict[str, Any]


def rows(record: r.Record, ingest_ms: int) -> Iterator[tuple[str, Row]]:
    """(table, row) of one record, in order; without the columns that Kafka and the order give."""
    made = list(_rows(record))
    for table, event_ms, ward, own in made:
        row = {"event_ms": event_ms, "schema_version": record.version, **own}  # type: ignore[attr-defined]
        row["date"] = day(event_ms, ingest_ms)
        if lake.BY_WARD in table.partitions:
            row["ward"] = folder(ward)
        yield table.name, row


def day(event_ms: int, ingest_ms: int) -> date:
    """Its date; the broker's where the event's cannot be believed."""
    believed = EARLIEST_MS <= event_ms <= LATEST_MS
    near = ingest_ms - 3 * 366 * DAY_MS <= event_ms <= ingest_ms + DAY_MS
    return date(1970, 1, 1) + timedelta(days=(event_ms if believed and near else ingest_ms) // DAY_MS)


def folder(ward: str | None) -> str | None:
    """The ward as its partition."""
    if ward is None or re.fullmatch(r"[A-Za-z0-9._~ -]{1,128}", ward):
        return ward
    fits = 0 < len(ward.encode()) <= 80 and not re.search(r"[\x00-\x1f\x7f]", ward)
    return ward if fits else "~unnamed"


def small(number: int | None) -> int | None:
    """A number in a column of 32 bits; null where it has no room."""
    return number if number is None or -(2**31) <= number < 2**31 else None


def value(found: float | str | None) -> tuple[float | None, str | None]:
    """The columns value and letter."""
    if isinstance(found, str):
        return (float(found), None) if NUMBER.fullmatch(found) else (None, found)
    return found, None


def _rows(record: Any) -> Iterator[tuple[lake.Table, int, str | None, Row]]:
    match record:
        case r.VitalsFrame():
            yield from _vitals(record)
        case r.ScoreFrame():
            yield from _scores(record)
            yield from _outlooks(record)
        case r.VitalsForecast():
            yield from _forecasts(record)
        case r.AlertTransition():
            own = _plain(record, lake.ALERTS_TABLE, ("event_ms", "value", "drivers"))
            own |= {"value": value(record.value)[0], "drivers": _drivers(record.drivers), **_frame(record.source)}
            yield lake.ALERTS_TABLE, record.at_ms, record.ward, own
        case r.DeadLetter():
            own = _plain(record, lake.DEAD, ())
            own |= {
                "source_topic": record.source.topic,
                "source_partition": small(record.source.partition),
                "source_offset": record.source.offset,
            }
            yield lake.DEAD, record.at_ms, None, own
        case _:
            table = {
                "AlertAction": lake.ACTIONS,
                "ImageArrival": lake.IMAGES,
                "ImageJob": lake.JOBS,
                "ImageResult": lake.PREDICTIONS,
                "ImageRefusal": lake.REFUSALS,
                "StudyRevision": lake.STUDIES,
                "ImageFinding": lake.IMAGE_FINDINGS_TABLE,
                "ImageFeedback": lake.FEEDBACK,
                "Access": lake.ACCESS,
            }[type(record).__name__]
            yield table, record.at_ms, getattr(record, "ward", None), _plain(record, table, ())


def _plain(record: Any, table: lake.Table, without: tuple[str, ...]) -> Row:
    """The columns that are fields of the record."""
    found: Row = {}
    for column in table.columns[len(lake.FROM) :]:
        if column.name in record.__struct_fields__ and column.name not in without:
            told: Any = getattr(record, column.name)
            told = list(told) if isinstance(told, tuple) else told
            found[column.name] = small(told) if column.type == "int" else told
    return found


def _frame(source: r.SourceOffset) -> Row:
    return {"frame_partition": small(source.partition), "frame_offset": source.offset}


def _drivers(found: tuple[r.Driver, ...]) -> list[Row]:
    return [{"what": one.what, "share": one.share, "vital": one.vital} for one in found]


def _models(found: tuple[r.ModelInForce, ...]) -> list[Row]:
    return [{"name": one.name, "version": one.version} for one in found]


def _vitals(frame: r.VitalsFrame) -> Iterator[tuple[lake.Table, int, str, Row]]:
    for bed in frame.beds:
        for one in bed.readings:
            number, letter = value(one.value)
            own = {
                **{"bed": bed.bed, "patient": bed.patient, "vital": one.vital, "value": number, "letter": letter},
                **{"unit": one.unit, "source": one.source, "quality": one.quality, "frame_ms": frame.at_ms},
                **{"gateway": frame.gateway, "seq": frame.seq},
            }
            yield lake.VITALS_TABLE, frame.at_ms if one.at_ms is None else one.at_ms, frame.ward, own


def _scores(frame: r.ScoreFrame) -> Iterator[tuple[lake.Table, int, str, Row]]:
    for bed in frame.beds:
        score = bed.news2
        own: Row = {
            **{"bed": bed.bed, "patient": bed.patient, "now_ms": frame.now_ms, "heard_ms": bed.heard_ms},
            "news2_min": small(score.minimum) if score else None,
            "news2_max": small(score.maximum) if score else None,
            "news2_scale": small(score.scale) if score else None,
            "single_red": score.single_red if score else None,
            "components": [
                {"vital": one.vital, "points": small(one.points), "age_ms": one.age_ms} for one in score.components
            ]
            if score
            else None,
            "values": [
                {
                    **{"vital": one.vital, "value": value(one.value)[0], "letter": value(one.value)[1]},
                    **{"at_ms": one.at_ms, "tag": one.tag, "quality": one.quality, "source": one.source},
                }
                for one in bed.values
            ],
            "alarms": [
                {
                    name: getattr(one, name)
                    for name in ("condition", "state", "priority", "category", "alert_id", "onset_ms")
                }
                for one in bed.alarms
            ],
            **{"late": small(bed.late), "duplicates": small(bed.duplicates), "policy": frame.policy},
            **_frame(frame.source),
        }
        yield lake.SCORES_TABLE, frame.at_ms, frame.ward, own


def _outlooks(frame: r.ScoreFrame) -> Iterator[tuple[lake.Table, int, str, Row]]:
    for bed in frame.outlooks:
        odd = bed.anomaly
        own: Row = {
            **{"bed": bed.bed, "patient": bed.patient, "anomaly": odd.score if odd else None},
            "learning": odd.learning if odd else None,
            "baseline_s": small(odd.baseline_s) if odd else None,
            "drivers": _drivers(odd.drivers) if odd else None,
            "drift": list(odd.drift) if odd else None,
            "risks": [
                {
                    **{"name": one.name, "probability": one.probability, "horizon_s": small(one.horizon_s)},
                    **{"known": one.known, "drivers": _drivers(one.drivers)},
                }
                for one in bed.risks
            ],
            "models": _models(frame.models),
            **_frame(frame.source),
        }
        yield lake.OUTLOOKS, bed.at_ms, frame.ward, own


def _forecasts(frame: r.VitalsForecast) -> Iterator[tuple[lake.Table, int, str, Row]]:
    for bed in frame.beds:
        for one in bed.vitals:
            for at, horizon_s in enumerate(one.horizons_s):
                quantiles = _at(one.quantiles, at)
                own: Row = {
                    **{"bed": bed.bed, "patient": bed.patient, "vital": one.vital, "horizon_s": small(horizon_s)},
                    **{"levels": list(frame.levels), "quantiles": quantiles if quantiles is None else list(quantiles)},
                    **{"below": _at(one.below, at), "above": _at(one.above, at), "engine": one.engine},
                    **{"skill": _at(one.skill, at), "known": bed.known, "models": _models(frame.models)},
                    **_frame(frame.source),
                }
                yield lake.FORECASTS_TABLE, bed.at_ms, frame.ward, own


def _at(found: Any, place: int) -> Any:
    return found[place] if found is not None and place < len(found) else None
