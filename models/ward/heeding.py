"""What the core makes of the models' answers: what they remember is kept, what they say is written down and heeded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from contracts.records import (
    SCHEMA_VERSION,
    AlertTransition,
    BedForecast,
    BedOutlook,
    ModelInForce,
    ScoreFrame,
    SourceOffset,
    VitalsForecast,
)
from models.ports import ANOMALY, DETERIORATION, FORECAST, Answers, Ask, Memory
from models.ward.rulebook import Rulebook
from models.ward.state import BedState, WardState


class Heeded(NamedTuple):
    """What the answers led to. ``scores`` holds outlooks and no beds, ``forecast`` the beds that have one; None when no
    model spoke."""

    scores: ScoreFrame | None
    forecast: VitalsForecast | None
    transitions: tuple[AlertTransition, ...]


def heed_answers(
    rulebook: Rulebook, state: WardState, ask: Ask, answers: Answers, now_ms: int, source: SourceOffset
) -> tuple[WardState, Heeded]:
    """The ward after the answers to ``ask``.

    Those about a patient who has left since, or of a model that is no longer in force, are dropped.
    """
    now_ms = max(now_ms, state.log_ms)
    serving = {name: model for name, model in state.models.items() if ask.models.get(name) == model.version}
    outlooks: list[BedOutlook] = []
    forecasts: list[BedForecast] = []
    beds = dict(state.beds)
    memories = {name: memory for name, memory in answers.memories.items() if name in serving}
    for i, patient in enumerate(ask.patients):
        bed = beds.get(patient)
        if bed is None:
            continue
        bed = _remembering(bed, memories, i)
        at_ms = int(ask.windows.at_ms[i])
        anomaly = answers.anomalies[i] if answers.anomalies is not None and ANOMALY in serving else None
        risks = answers.risks[i] if answers.risks is not None and DETERIORATION in serving else ()
        ahead = answers.forecasts[i] if answers.forecasts is not None and FORECAST in serving else ()
        if anomaly is not None or risks:
            outlooks.append(BedOutlook(bed=bed.bed, patient=patient, at_ms=at_ms, anomaly=anomaly, risks=risks))
        if ahead:
            known = _known(ask, i)
            forecasts.append(BedForecast(bed=bed.bed, patient=patient, at_ms=at_ms, known=known, vitals=ahead))
        beds[patient] = bed
    scores = forecast = None
    if outlooks:
        scores = ScoreFrame(
            version=SCHEMA_VERSION,
            ward=state.ward,
            at_ms=now_ms,
            now_ms=now_ms,
            source=source,
            policy=rulebook.policy_hash,
            outlooks=tuple(outlooks),
            models=_said_by(serving, (ANOMALY, DETERIORATION)),
        )
    if forecasts:
        forecast = VitalsForecast(
            version=SCHEMA_VERSION,
            ward=state.ward,
            at_ms=now_ms,
            now_ms=now_ms,
            source=source,
            levels=answers.levels,
            models=_said_by(serving, (FORECAST,)),
            beds=tuple(forecasts),
        )
    after = msgspec.structs.replace(
        state,
        beds=beds,
        memories=_joined(state.memories, {name: memory.ward for name, memory in memories.items()}),
        asked_ms=now_ms,
        risks_ms=now_ms if ask.risks else state.risks_ms,
    )
    return after, Heeded(scores, forecast, ())


def _said_by(serving: Mapping[str, ModelInForce], names: Iterable[str]) -> tuple[ModelInForce, ...]:
    return tuple(serving[name] for name in names if name in serving)


def _remembering(bed: BedState, memories: Mapping[str, Memory], i: int) -> BedState:
    after = _joined(bed.memories, {name: memory.beds[i] for name, memory in memories.items()})
    return bed if after is bed.memories else msgspec.structs.replace(bed, memories=after)


def _joined(before: dict[str, bytes], told: Mapping[str, bytes]) -> dict[str, bytes]:
    """In the order of the names, so that equal memories are equal bytes."""
    if all(before.get(name, b"") == memory for name, memory in told.items()):
        return before
    joined = {**before, **told}
    return {name: joined[name] for name in sorted(joined) if joined[name]}


def _known(ask: Ask, i: int) -> float:
    """The share of the day's hours of the vitals that is known."""
    return round(float(np.isfinite(ask.windows.hours[i]).mean()), 2)
