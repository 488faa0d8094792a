"""A patient at a moment of the log, decided anew up to there and watched from outside the core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from contracts import codec
from contracts.clinical.plausibility import FUTURE_TOLERANCE_MS
from contracts.errors import Poison
from contracts.records import (
    AlertTransition,
    BedForecast,
    BedOutlook,
    Quality,
    Reading,
    SourceOffset,
    VitalsFrame,
)
from models.vitals.engine import VitalsModels
from models.ward.state import INDEX, BedState, WardState
from streams.compare.sides import Decider, Side
from streams.compare.span import Span, spoken_of
from streams.wardlog import LogRecord

BEFORE_MS: Final = 600_000


@dataclass
class Watched:
    """What was seen of one patient. ``before`` and ``bed`` are the states around ``frame``, ``now_ms`` the moment."""

    now_ms: int
    ward: str = ""
    state: WardState | None = None
    bed: BedState | None = None
    frame: LogRecord | None = None
    before: BedState | None = None
    after: BedState | None = None
    outlook: BedOutlook | None = None
    outlook_from: SourceOffset | None = None
    risks: BedOutlook | None = None
    forecast: BedForecast | None = None
    forecast_from: SourceOffset | None = None
    transitions: list[AlertTransition] = field(default_factory=list)


async def watch(
    records: Iterable[LogRecord], span: Span, side: Side, models: VitalsModels | None, who: str, at_ms: int
) -> Watched | None:
    """What is known of ``who`` (a patient, or a bed) at ``at_ms`` of the log; None when there is nobody of that name.

    ``records`` begin with the span's state and may go on after the moment: what comes of it then is told too.
    """
    decider = Decider(side, span, models)
    seen = Watched(at_ms)
    told: list[AlertTransition] = []
    past = False
    for record in records:
        if record.at_ms > at_ms and not past:
            past = True
            _settle(seen, decider, who)
        bed = None if past or not spoken_of(record, who) else _bed(decider, record.partition, who)
        effects = await decider.watch(record)
        told += [t for t in effects.transitions if who in (t.patient, t.bed)]
        if past:
            continue
        if spoken_of(record, who) and (now := _bed(decider, record.partition, who)) is not None:
            seen.frame, seen.before, seen.after = record, bed, now
        for scores in effects.scores:
            for outlook in scores.outlooks:
                if who in (outlook.patient, outlook.bed):
                    seen.outlook, seen.outlook_from = outlook, scores.source
                    seen.risks = outlook if outlook.risks else seen.risks
        for forecast in effects.forecasts:
            for each in forecast.beds:
                if who in (each.patient, each.bed):
                    seen.forecast, seen.forecast_from = each, forecast.source
    if not past:
        _settle(seen, decider, who)
    if seen.bed is None:
        return None
    seen.transitions = [t for t in told if t.patient == seen.bed.patient and t.at_ms >= at_ms - BEFORE_MS]
    return seen


def _settle(seen: Watched, decider: Decider, who: str) -> None:
    """Holds on to how everything stands at the moment."""
    for log in decider.logs.values():
        for state in log.wards.values():
            for bed in state.beds.values():
                if who in (bed.patient, bed.bed):
                    seen.ward, seen.state, seen.bed = state.ward, state, bed


def _bed(decider: Decider, partition: int, who: str) -> BedState | None:
    for state in decider.logs[partition].wards.values():
        for bed in state.beds.values():
            if who in (bed.patient, bed.bed):
                found: BedState = bed
                return found
    return None


def verdicts(seen: Watched) -> list[dict[str, Any]]:
    """Each reading of the patient's last frame, and what the core made of it."""
    frame = frame_of(seen)
    if frame is None or seen.frame is None or seen.after is None:
        return []
    said = next((bed for bed in frame.beds if bed.patient == seen.after.patient), None)
    if said is None:
        return []
    return [_verdict(reading, frame.at_ms, seen.frame.at_ms, seen.before, seen.after) for reading in said.readings]


def frame_of(seen: Watched) -> VitalsFrame | None:
    """The patient's last frame."""
    if seen.frame is None:
        return None
    try:
        return codec.decode_frame(seen.frame.value).frame
    except Poison:
        return None


def _verdict(reading: Reading, frame_ms: int, now_ms: int, before: BedState | None, after: BedState) -> dict[str, Any]:
    i = INDEX[reading.vital]
    at_ms = frame_ms if reading.at_ms is None else reading.at_ms
    known = None if before is None else before.vitals[i]
    current = after.vitals[i]
    if after.skewed or at_ms > now_ms + FUTURE_TOLERANCE_MS:
        at_ms = now_ms  # as the core does: a clock that is not believed
    if reading.quality is Quality.MEASURING:
        made = "measuring: no value yet"
    elif known is not None and at_ms <= known.at_ms:
        twice = at_ms == known.at_ms and reading.value == known.value
        made = (
            "duplicate: told before" if twice else f"late: {(known.at_ms - at_ms) / 1000:g} s older than what is known"
        )
    elif current is not None and current.at_ms == at_ms:
        made = current.tag.value
    else:
        made = "overtaken by a newer one of the same frame"
    return {
        "vital": reading.vital.value,
        "value": reading.value,
        "unit": reading.unit,
        "quality": reading.quality.value,
        "source": reading.source.value,
        "at_ms": at_ms,
        "verdict": made,
    }
