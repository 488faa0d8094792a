"""The terminal's feed: one line a record, marks beside colour, filters."""

from __future__ import annotations

import pytest

from contracts.errors import Misconfigured
from contracts.records import (
    AlarmEvent,
    AlarmState,
    AlertTransition,
    Anomaly,
    BedForecast,
    BedOutlook,
    Category,
    Driver,
    Engine,
    ModelRef,
    PatientFacts,
    Priority,
    Risk,
    ScoreFrame,
    SourceOffset,
    Vital,
    VitalForecast,
    VitalsForecast,
    VitalsFrame,
)
from streams.tail import alarm_line, lines, matcher, topic_of
from tests.unit.streams.memory import START_MS, frame


def alarm(priority: Priority = Priority.HIGH, category: Category = Category.PHYSIOLOGICAL) -> AlertTransition:
    return AlertTransition(
        version=1,
        alert_id="feed",
        seq=0,
        ward="W1",
        bed="W1-01",
        patient="p",
        condition="spo2_low",
        category=category,
        priority=priority,
        event=AlarmEvent.RAISED,
        state=AlarmState.ACTIVE,
        at_ms=START_MS,
        onset_ms=START_MS,
        message="SpO2 84<90",
        source=SourceOffset(topic="patient_vitals", partition=0, offset=0),
        policy="p",
    )


@pytest.mark.parametrize(
    ("priority", "category", "mark"),
    [
        (Priority.HIGH, Category.PHYSIOLOGICAL, " *** "),
        (Priority.MEDIUM, Category.PHYSIOLOGICAL, " **  "),
        (Priority.LOW, Category.PHYSIOLOGICAL, " *   "),
        (Priority.MEDIUM, Category.TECHNICAL, " !   "),
        (Priority.LOW, Category.ADVISORY, " ~   "),
    ],
)
def test_every_priority_has_a_mark_and_not_only_a_colour(priority: Priority, category: Category, mark: str) -> None:
    line, _ = alarm_line(alarm(priority, category))
    assert mark in line
    assert "SpO2 84<90" in line


def test_filters_take_ward_patient_and_this_priority_and_above() -> None:
    assert matcher("W1", "p", Priority.MEDIUM)(alarm())
    assert not matcher("W2", None, None)(alarm())
    assert not matcher(None, "q", None)(alarm())
    assert not matcher(None, None, Priority.HIGH)(alarm(Priority.MEDIUM))
    assert matcher(None, "W1-p1", None)(frame("W1", 0))


def forecast() -> VitalsForecast:
    return VitalsForecast(
        version=1,
        ward="W1",
        at_ms=START_MS,
        now_ms=START_MS,
        source=SourceOffset(topic="t", partition=0, offset=0),
        levels=(0.05, 0.5, 0.95),
        beds=tuple(
            BedForecast(
                bed=f"W1-0{n}",
                patient=f"p{n}",
                at_ms=START_MS,
                vitals=(
                    VitalForecast(
                        vital=Vital.HEART_RATE,
                        engine=Engine.LSTM,
                        horizons_s=(600, 3600),
                        quantiles=((80.2, 88.0, 95.6), (78.0, 90.0, 101.0)),
                        below=(0.01, 0.02),
                        above=(0.25, 0.64),
                    ),
                ),
            )
            for n in (1, 2)
        ),
    )


def test_a_forecast_is_a_line_a_vital_with_its_band_its_engine_and_the_limit_it_may_cross() -> None:
    first, second = (line for line, _ in lines(forecast()))
    assert "W1-01      heart_rate     +10min 88 [80 96]  +1h 90 [78 101]  above its limit 64%  lstm" in first
    assert "W1-02" in second
    assert "below" not in first


def test_outlooks_are_a_line_a_bed_with_what_drove_them() -> None:
    outlook = BedOutlook(
        bed="W1-01",
        patient="p1",
        at_ms=START_MS,
        anomaly=Anomaly(
            score=0.971,
            learning=True,
            drivers=tuple(Driver(what=what, share=0.3) for what in ("level 134, usually 82", "slope +3", "third")),
            drift=(Vital.SPO2,),
        ),
        risks=(
            Risk(name="hypotension", probability=0.34, horizon_s=14_400),
            Risk(name="death", probability=0.1, horizon_s=0),
        ),
    )
    scores = ScoreFrame(
        version=1,
        ward="W1",
        at_ms=START_MS,
        now_ms=START_MS,
        source=SourceOffset(topic="t", partition=0, offset=0),
        policy="p",
        outlooks=(outlook,),
    )
    ((line, _),) = lines(scores)
    assert "W1-01      anomaly 0.97 (level 134, usually 82, slope +3)  drift of spo2" in line
    assert line.endswith("hypotension +4h 34%  death in hospital 10%")
    assert matcher(None, "p1", None)(scores)


def test_one_patient_is_shown_alone_of_a_whole_ward() -> None:
    assert matcher(None, "p2", None)(forecast())
    ((line, _),) = lines(forecast(), "p2")
    assert "W1-02" in line


def test_a_tick_shows_the_models_that_it_names_and_a_frame_whose_past_it_tells() -> None:
    tick = VitalsFrame(
        version=1,
        ward="~clock",
        gateway="~clock",
        seq=1,
        at_ms=START_MS,
        models=(ModelRef(name="deterioration", version="0123456789ab"),),
        facts=(PatientFacts(patient="p1", age_years=70),),
    )
    ((line, _),) = lines(tick)
    assert line.endswith("past of 1, deterioration@0123456789ab")


def test_an_unknown_topic_is_named_with_those_that_exist() -> None:
    with pytest.raises(Misconfigured, match="alerts"):
        topic_of("alert")
