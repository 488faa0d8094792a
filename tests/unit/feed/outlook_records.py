"""Outlooks, forecasts and advisories as the worker writes them, for the feed's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.records import (
    SCHEMA_VERSION,
    AlertTransition,
    Anomaly,
    BedForecast,
    BedOutlook,
    Category,
    Driver,
    Engine,
    ModelInForce,
    Priority,
    Risk,
    ScoreFrame,
    SourceOffset,
    Vital,
    VitalForecast,
    VitalsForecast,
)
from contracts.topology import PARTITIONS, partition_for
from tests.unit.feed.rig import T0, transition

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
HOURS_S = (3600, 7200, 14_400, 21_600)
MINUTES_S = (300, 900, 1800)
SPREAD = (-1.6, -0.6, 0.0, 0.6, 1.6)
VERSIONS = {"vitals_anomaly": "aaaa00000001", "vitals_forecast": "bbbb00000002", "deterioration": "cccc00000003"}
NORMAL = {
    Vital.HEART_RATE: (76.0, 7.0),
    Vital.RESPIRATION: (16.0, 2.5),
    Vital.SPO2: (96.0, 1.4),
    Vital.SYSTOLIC: (121.0, 9.0),
    Vital.MEAN_PRESSURE: (88.0, 7.0),
    Vital.TEMPERATURE: (36.9, 0.3),
}


def source_of(ward: str, offset: int) -> SourceOffset:
    """A record of the ward's log."""
    return SourceOffset(topic="patient_vitals", partition=partition_for(ward, PARTITIONS), offset=offset)


def models_of(ward: str, since: int = 7) -> tuple[ModelInForce, ...]:
    """All three in force since that record."""
    return tuple(ModelInForce(name=name, version=of, since=source_of(ward, since)) for name, of in VERSIONS.items())


def outlook(
    bed: str, *, at_ms: int = T0, score: float = 0.12, risks: Sequence[Risk] | None = None, **changes: Any
) -> BedOutlook:
    """Of a bed of whom all is known."""
    drivers = (
        Driver(what="heart rate 134, usually 82", share=0.71, vital=Vital.HEART_RATE),
        Driver(what="respiration 22, more variable than usual", share=0.22, vital=Vital.RESPIRATION),
    )
    anomaly = Anomaly(score=score, learning=True, baseline_s=5400, drivers=drivers)
    if risks is None:
        risks = (risk("hypotension", 0.31), risk("desaturation", 0.06), risk("death", 0.04, horizon_s=0))
    made = BedOutlook(bed=bed, patient=f"p-{bed}", at_ms=at_ms, anomaly=anomaly, risks=tuple(risks))
    return msgspec.structs.replace(made, **changes)


def risk(name: str, probability: float, *, horizon_s: int = 14_400, known: float = 0.83) -> Risk:
    """With two drivers."""
    drivers = (
        Driver(what="SBP 92, falling 6/h", share=0.5, vital=Vital.SYSTOLIC),
        Driver(what="age 81", share=0.2),
        Driver(what="MAP 71, falling 4/h", share=-0.1, vital=Vital.MEAN_PRESSURE),
    )
    return Risk(name=name, probability=probability, horizon_s=horizon_s, known=known, drivers=drivers)


def with_outlooks(frame: ScoreFrame, *outlooks: BedOutlook) -> ScoreFrame:
    """The frame of a tick at which the models spoke."""
    return msgspec.structs.replace(frame, outlooks=outlooks, models=models_of(frame.ward))


def ahead(
    vital: Vital,
    horizons_s: Sequence[int] = HOURS_S,
    *,
    engine: Engine = Engine.LSTM,
    drift: float = 0.0,
    below: float | None = None,
    above: float | None = None,
) -> VitalForecast:
    """A band that widens with time; ``drift`` units an hour, the probabilities at the last horizon."""
    start, width = NORMAL[vital]
    rows = tuple(
        tuple(round(start + drift * h / 3600 + step * width * (0.4 + (h / 3600) ** 0.5 / 2), 1) for step in SPREAD)
        for h in horizons_s
    )
    steps = range(1, len(horizons_s) + 1)
    return VitalForecast(
        vital=vital,
        engine=engine,
        horizons_s=tuple(horizons_s),
        quantiles=rows,
        below=None if below is None else tuple(round(below * n / len(rows), 4) for n in steps),
        above=None if above is None else tuple(round(above * n / len(rows), 4) for n in steps),
        skill=tuple(0.02 * n for n in steps),
    )


def forecast(
    ward: str, beds: Sequence[str], *vitals: VitalForecast, at_ms: int = T0, now_ms: int | None = None, offset: int = 9
) -> VitalsForecast:
    """One tick's forecasts, the same for every bed."""
    now_ms = at_ms if now_ms is None else now_ms
    return VitalsForecast(
        version=SCHEMA_VERSION,
        ward=ward,
        at_ms=at_ms,
        now_ms=now_ms,
        source=source_of(ward, offset),
        levels=LEVELS,
        models=models_of(ward)[1:2],
        beds=tuple(
            BedForecast(bed=bed, patient=f"p-{bed}", at_ms=at_ms, known=0.92, vitals=vitals or (ahead(Vital.SPO2),))
            for bed in beds
        ),
    )


def advisory(alert_id: str, seq: int = 0, *, ward: str = "W1", bed: str = "W1-01", **changes: Any) -> AlertTransition:
    """One step of an early warning of low saturation."""
    fields: dict[str, Any] = {
        "condition": "forecast_spo2_low",
        "category": Category.ADVISORY,
        "priority": Priority.LOW,
        "message": "SpO2 <90 likely within 4 h (62 %)",
        "vital": Vital.SPO2,
        "value": 93.0,
        "limit": 90.0,
        "source": source_of(ward, 41),
        "model": f"vitals_forecast@{VERSIONS['vitals_forecast']}",
        "probability": 0.62,
        "lead_s": 14_400,
        "drivers": (
            Driver(what="SpO2 93, falling 1.2/h", share=0.6, vital=Vital.SPO2),
            Driver(what="respiration 26, usually 17", share=0.3, vital=Vital.RESPIRATION),
        ),
    }
    return transition(alert_id, seq, ward=ward, bed=bed, **(fields | changes))
