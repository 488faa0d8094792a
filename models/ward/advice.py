"""Advisories: what of the models' answers is worth a line on a tile, and when it is over. They never sound."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from contracts.clinical.codes import VITALS as CODES
from contracts.records import AlarmState, Anomaly, Category, Driver, ModelInForce, Risk, Vital, VitalForecast
from models.ports import ANOMALY as ANOMALY_MODEL
from models.ports import DETERIORATION, FORECAST
from models.ward.alarmbook import HAPPENED, AlarmBook
from models.ward.alarms import Advice, Breach
from models.ward.conditions import ANOMALY, CONDITIONS, risk_of, warning_of
from models.ward.roster import Roster
from models.ward.state import INDEX, BedState
from models.ward.tagging import USABLE
from models.ward.values import number, shown

OUT_OF_FORCE: Final = "its model is no longer in force"
DRIVERS_NAMED: Final = 2


class Word(NamedTuple):
    """What the models said of one bed at ``at_ms`` (event time); None or empty: nothing."""

    at_ms: int
    anomaly: Anomaly | None
    forecasts: tuple[VitalForecast, ...]
    risks: tuple[Risk, ...]


class _Finding(NamedTuple):
    """One condition after one word: ``breach`` when its threshold is reached, ``over`` when it is below the lower one.

    In between it goes on if it is there already. ``note`` says why it is over when that is not the model's doing.
    """

    condition: str
    delay_ms: int
    breach: Breach | None = None
    over: bool = False
    note: str | None = None


def advise(book: AlarmBook, bed: BedState, models: Mapping[str, ModelInForce], word: Word) -> BedState:
    """The bed with its advisories begun, gone on and ended by ``word``; ``models`` are those that said it."""
    findings = [
        finding
        for finding in _findings(book, bed, models, word)
        if finding.breach is not None or finding.condition in bed.alarms
    ]
    if not findings:
        return bed
    bed = msgspec.structs.replace(bed, alarms=dict(bed.alarms), ended=dict(bed.ended))
    for condition, delay_ms, breach, over, note in findings:
        if breach is not None:
            book.breach(bed, condition, Category.ADVISORY, breach, delay_ms)
        elif over:
            book.calm(bed, condition, word.at_ms, note)
        else:
            book.hold(bed, condition)
    return bed


def withdraw(book: AlarmBook, roster: Roster, in_force: Container[str]) -> None:
    """Ends the advisories of models that are no longer in force."""
    for patient, bed in tuple(roster.beds.items()):
        gone = [
            condition
            for condition, alarm in bed.alarms.items()
            if alarm.advice is not None and alarm.advice.model.partition("@")[0] not in in_force
        ]
        if gone:
            bed = msgspec.structs.replace(bed, alarms=dict(bed.alarms), ended=dict(bed.ended))
            for condition in gone:
                book.calm(bed, condition, book.now_ms, OUT_OF_FORCE)
            roster.beds[patient] = bed


def _findings(book: AlarmBook, bed: BedState, models: Mapping[str, ModelInForce], word: Word) -> Iterator[_Finding]:
    if word.anomaly is not None:
        yield _on_anomaly(book, _signed(models[ANOMALY_MODEL]), word.at_ms, word.anomaly)
    if word.forecasts and (bed.alarms or _is_likely(word.forecasts, book.rulebook.models.early_warning_from)):
        yield from _on_forecasts(book, bed, _signed(models[FORECAST]), word)
    for risk in word.risks:
        if risk.name in book.rulebook.models.risk_from:
            yield _on_risk(book, _signed(models[DETERIORATION]), word.at_ms, risk)


def _signed(model: ModelInForce) -> str:
    return f"{model.name}@{model.version}"


def _on_anomaly(book: AlarmBook, model: str, at_ms: int, anomaly: Anomaly) -> _Finding:
    rule, score = book.rulebook.models, anomaly.score
    delay_ms = int(rule.anomaly_sustained_s * 1000)
    if score < rule.anomaly_from:
        return _Finding(ANOMALY, delay_ms, over=score < rule.anomaly_until)
    named = _named(anomaly.drivers)
    message = f"Unusual pattern {score:.2f}{': ' if named else ''}{named}"
    advice = Advice(model, score, anomaly.drivers, None, book.clock_ms)
    return _Finding(ANOMALY, delay_ms, Breach(at_ms, rule.priority, message, value=score, advice=advice))


def _named(drivers: Sequence[Driver]) -> str:
    """The first inputs that raised the score, each once."""
    raising = [CODES[d.vital].display.lower() if d.vital else d.what for d in drivers if d.share > 0]
    return ", ".join(tuple(dict.fromkeys(raising))[:DRIVERS_NAMED])


def _on_risk(book: AlarmBook, model: str, at_ms: int, risk: Risk) -> _Finding:
    rule, chance = book.rulebook.models, risk.probability
    condition, delay_ms = risk_of(risk.name), int(rule.risk_sustained_s * 1000)
    if chance < rule.risk_from[risk.name]:
        return _Finding(condition, delay_ms, over=chance < rule.risk_until[risk.name])
    until = f"within {_span(risk.horizon_s)}" if risk.horizon_s else "before leaving the hospital"
    message = f"{risk.name.replace('_', ' ').capitalize()} risk {_percent(chance)} {until}"
    advice = Advice(model, chance, risk.drivers, risk.horizon_s or None, book.clock_ms)
    return _Finding(condition, delay_ms, Breach(at_ms, rule.priority, message, advice=advice))


def _is_likely(forecasts: Sequence[VitalForecast], from_: float) -> bool:
    """Whether any limit may be crossed; of nearly all beds there is nothing more to find out."""
    for forecast in forecasts:
        below, above = forecast.below, forecast.above
        if (below and max(below) >= from_) or (above and max(above) >= from_):
            return True
    return False


def _on_forecasts(book: AlarmBook, bed: BedState, model: str, word: Word) -> Iterator[_Finding]:
    """One finding for each side of each vital that has a limit there; a vital may be forecast by two heads."""
    limits = book.rulebook.of(book.ward, bed.patient).limits
    for vital in dict.fromkeys(forecast.vital for forecast in word.forecasts):
        limit = limits[INDEX[vital]]
        heads = [forecast for forecast in word.forecasts if forecast.vital is vital]
        for low in (True, False):
            bound = None if limit is None else limit.low if low else limit.high
            chances = [
                (horizon_s, chance)
                for head in heads
                for horizon_s, chance in zip(head.horizons_s, (head.below if low else head.above) or (), strict=False)
                if horizon_s <= book.rulebook.models.early_warning_horizon_s
            ]
            if bound is not None and chances:
                yield _on_crossing(book, bed, model, word.at_ms, vital, low, bound, sorted(chances))


def _on_crossing(
    book: AlarmBook,
    bed: BedState,
    model: str,
    at_ms: int,
    vital: Vital,
    low: bool,
    bound: float,
    chances: list[tuple[int, float]],
) -> _Finding:
    """``chances``: (horizon, probability of being beyond the limit by then), the nearest first."""
    rule, i = book.rulebook.models, INDEX[vital]
    alarmed = CONDITIONS[i].low if low else CONDITIONS[i].high
    condition, delay_ms = warning_of(alarmed), int(rule.early_warning_sustained_s * 1000)
    alarm = bed.alarms.get(alarmed)
    if alarm is not None and alarm.state is not AlarmState.PENDING:
        return _Finding(condition, delay_ms, over=True, note=HAPPENED)
    current = bed.vitals[i]
    value = None if current is None or current.tag not in USABLE else number(current.value)
    if alarm is not None or (value is not None and (value < bound if low else value > bound)):
        return _Finding(condition, delay_ms)  # crossed just now: neither news nor over
    reached = next(((s, p) for s, p in chances if p >= rule.early_warning_from), None)
    if reached is None:
        return _Finding(condition, delay_ms, over=max(p for _, p in chances) < rule.early_warning_until)
    lead_s, chance = reached
    beyond = f"{'<' if low else '>'}{shown(vital, bound)}"
    message = f"{CODES[vital].short} {beyond} likely within {_span(lead_s)} ({_percent(chance)})"
    advice = Advice(model, chance, (), lead_s, book.clock_ms)
    return _Finding(condition, delay_ms, Breach(at_ms, rule.priority, message, vital, value, bound, advice=advice))


def _span(seconds: int) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{round(seconds / 60)} min"


def _percent(chance: float) -> str:
    return f"{chance * 100:.0f} %"
