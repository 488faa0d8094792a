"""The terminal's feed: one line a record, marks beside colour, filters."""

from __future__ import annotations

import pytest

from contracts.errors import Misconfigured
from contracts.records import (
    AlarmEvent,
    AlarmState,
    AlertTransition,
    Category,
    Priority,
    SourceOffset,
)
from streams.tail import alarm_line, matcher, topic_of
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


def test_an_unknown_topic_is_named_with_those_that_exist() -> None:
    with pytest.raises(Misconfigured, match="alerts"):
        topic_of("alert")
