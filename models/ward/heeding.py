"""What the core makes of the models' answers: what they remember is kept, what they say is written down and heeded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from models.ward.advice import Word, advise
from models.ward.alarmbook import AlarmBook
from models.ward.rulebook import Rulebook
from models.ward.state import BedState, WardState


class Heeded(NamedTuple):
    """What the answers led to. ``scores`` holds outlooks and no beds, ``forecast`` the beds that have one.

    None when no model spoke.
    """

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
    memories = {name: memory for name, memory in answers.memories.items() if name in serving}
    book = AlarmBook(rulebook, state.ward, now_ms, state.clock_ms, source)
    beds = dict(state.beds)
    spoken: list[tuple[BedState, Word, float]] = []
    known = _known(ask)
    for i, patient in enumerate(ask.patients):
        bed = beds.get(patient)
        if bed is not None:
            word = _word(ask, answers, serving, i)
            beds[patient] = bed = advise(book, _remembering(bed, memories, i), serving, word)
            spoken.append((bed, word, known[i]))
    after = msgspec.structs.replace(
        state,
        beds=beds,
        memories=_joined(state.memories, {name: memory.ward for name, memory in memories.items()}),
        asked_ms=now_ms,
        risks_ms=now_ms if ask.risks else state.risks_ms,
    )
    scores = _scores(book, serving, spoken, bool(ask.risks))
    forecast = _forecast(book, serving, spoken, answers.levels)
    return after, Heeded(scores, forecast, tuple(book.told))


def _word(ask: Ask, answers: Answers, serving: Mapping[str, ModelInForce], i: int) -> Word:
    return Word(
        int(ask.windows.at_ms[i]),
        answers.anomalies[i] if answers.anomalies is not None and ANOMALY in serving else None,
        answers.forecasts[i] if answers.forecasts is not None and FORECAST in serving else (),
        answers.risks[i] if answers.risks is not None and DETERIORATION in serving else (),
    )


def _scores(
    book: AlarmBook, serving: Mapping[str, ModelInForce], spoken: Sequence[tuple[BedState, Word, float]], risks: bool
) -> ScoreFrame | None:
    outlooks = tuple(
        BedOutlook(bed=bed.bed, patient=bed.patient, at_ms=word.at_ms, anomaly=word.anomaly, risks=word.risks)
        for bed, word, _ in spoken
        if word.anomaly is not None or word.risks
    )
    if not outlooks:
        return None
    return ScoreFrame(
        version=SCHEMA_VERSION,
        ward=book.ward,
        at_ms=book.now_ms,
        now_ms=book.now_ms,
        source=book.source,
        policy=book.rulebook.policy_hash,
        outlooks=outlooks,
        models=_said_by(serving, (ANOMALY, DETERIORATION) if risks else (ANOMALY,)),
    )


def _forecast(
    book: AlarmBook,
    serving: Mapping[str, ModelInForce],
    spoken: Sequence[tuple[BedState, Word, float]],
    levels: tuple[float, ...],
) -> VitalsForecast | None:
    beds = tuple(
        BedForecast(bed=bed.bed, patient=bed.patient, at_ms=word.at_ms, known=known, vitals=word.forecasts)
        for bed, word, known in spoken
        if word.forecasts
    )
    if not beds:
        return None
    return VitalsForecast(
        version=SCHEMA_VERSION,
        ward=book.ward,
        at_ms=book.now_ms,
        now_ms=book.now_ms,
        source=book.source,
        levels=levels,
        models=_said_by(serving, (FORECAST,)),
        beds=beds,
    )


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


def _known(ask: Ask) -> list[float]:
    """Of each bed the share of the day's hours of its vitals that is known."""
    shares: list[float] = np.isfinite(ask.windows.hours).mean((1, 2)).round(2).tolist()
    return shares
