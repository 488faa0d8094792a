"""Why and why not, from the log alone: for each way in which nothing fires, a log in which it is so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from contracts.records import (
    SCHEMA_VERSION,
    ActionKind,
    AlertAction,
    BedReadings,
    Quality,
    Reading,
    Vital,
    VitalsFrame,
)
from contracts.topology import VITALS, partition_for
from streams.compare.answer import answered, lines
from streams.compare.inquiry import watch
from streams.compare.sides import Side
from tests.unit.streams.compare.logs import POLICY, T0, Log, span_of, tick

PARTITION = partition_for("W1", VITALS.partitions)
Says = Callable[[int], tuple[Reading, ...]]


def spo2(value: float | None, **how: Any) -> Reading:
    """One saturation."""
    return Reading(vital=Vital.SPO2, value=value, **how)


def told(says: Says, seconds: int, at_s: float, actions: dict[int, AlertAction] | None = None) -> dict[str, Any]:
    """The answer about the one bed of a ward whose device ``says`` something each second, beside a lively pulse."""
    log = Log()
    for second in range(seconds):
        at_ms = T0 + second * 1000
        readings = (Reading(vital=Vital.HEART_RATE, value=70.0 + second % 3), *says(second))
        frame = VitalsFrame(
            version=SCHEMA_VERSION,
            ward="W1",
            gateway="gw",
            seq=second,
            at_ms=at_ms,
            beds=(BedReadings(bed="W1-01", patient="p1", readings=readings),),
            actions=(actions[second],) if actions and second in actions else (),
        )
        log.append(PARTITION, at_ms, frame)
        log.append(PARTITION, at_ms + 500, tick(at_ms))
    side, span = Side("side", POLICY), span_of(log.records)
    seen = asyncio.run(watch(log.records, span, side, None, "p1", T0 + int(at_s * 1000)))
    assert seen is not None
    answer = answered(seen, side, span)
    assert list(lines(answer, seen))
    return answer


def reason(answer: dict[str, Any], condition: str = "spo2_low") -> dict[str, Any]:
    """The one reason of a condition."""
    (found,) = [one for one in answer["reasons"] if one["condition"] == condition]
    return dict(found)


def test_inside_its_limit_it_says_by_how_much() -> None:
    found = reason(told(lambda _: (spo2(96.0),), 20, 15))
    assert (found["code"], found["margin"]) == ("inside", 96.0 - 90.0)


def test_beyond_it_but_not_for_long_enough_it_says_what_is_left_of_the_delay() -> None:
    answer = told(lambda n: (spo2(88.0 if n >= 10 else 96.0),), 20, 15.2)
    found = reason(answer)
    assert (found["code"], found["left_s"]) == ("pending", 10.0)
    assert answer["transitions"] == []


def test_what_comes_after_the_moment_is_told_too_and_decides_nothing_of_it() -> None:
    answer = told(lambda n: (spo2(88.0 if n >= 10 else 96.0),), 40, 15.2)
    assert reason(answer)["code"] == "pending"
    assert [one["event"] for one in answer["transitions"]] == ["raised"]
    assert answer["frame"]["seq"] == 15


def test_an_alarm_that_stands_names_itself_and_why_it_is_not_over() -> None:
    raised = told(lambda n: (spo2(88.0),), 40, 30)
    assert reason(raised)["code"] == "raised"
    assert reason(raised)["alert_id"] == raised["transitions"][0]["alert_id"]
    lull = reason(told(lambda n: (spo2(88.0 if n < 25 else 90.5),), 40, 30))
    assert (lull["code"], lull["margin"]) == ("hysteresis", 0.5)


def test_readings_that_came_too_late_raise_nothing_and_say_so() -> None:
    def late(second: int) -> tuple[Reading, ...]:
        return (spo2(88.0, at_ms=T0 + (second - 90) * 1000),) if second >= 5 else ()

    found = reason(told(lambda n: late(n), 60, 50))
    assert found["code"] == "late", found


def test_a_late_reading_of_the_last_frame_is_named_late_and_a_repeated_one_a_duplicate() -> None:
    def shuffled(second: int) -> tuple[Reading, ...]:
        if second < 15:
            return (spo2(96.0),)
        return (spo2(80.0, at_ms=T0 + 9_500), spo2(96.0, at_ms=T0 + 14_000))

    verdicts = [one["verdict"] for one in told(shuffled, 16, 15.2)["readings"]]
    assert verdicts == ["ok", "late: 4.5 s older than what is known", "duplicate: told before"]


@pytest.mark.parametrize(
    ("reading", "code"),
    [
        (spo2(20.0), "implausible"),
        (spo2(0.4, unit="1"), "implausible"),
        (spo2(None, quality=Quality.NO_SIGNAL), "no_signal"),
    ],
    ids=["implausible", "unit", "no signal"],
)
def test_a_value_that_is_not_believed_says_so(reading: Reading, code: str) -> None:
    assert reason(told(lambda n: (reading if n > 10 else spo2(96.0),), 16, 15))["code"] == code


def test_a_vital_that_stopped_is_stale_and_one_never_heard_has_no_data() -> None:
    answer = told(lambda n: (spo2(96.0),) if n < 5 else (), 90, 85)
    assert reason(answer)["code"] == "stale"
    assert reason(answer, "spo2_no_signal")["code"] == "raised"
    assert reason(answer, "systolic_low")["code"] == "no_data"
    assert reason(answer, "spo2_high")["code"] == "no_limit"


def test_a_pause_of_the_sound_is_told_with_the_alarm() -> None:
    pause = AlertAction(
        version=SCHEMA_VERSION,
        action_id="a1",
        ward="W1",
        bed="W1-01",
        kind=ActionKind.PAUSE_AUDIO,
        actor="nurse.kim",
        role="nurse",
        at_ms=T0 + 20_000,
        pause_s=60,
    )
    answer = told(lambda n: (spo2(88.0),), 40, 30, {20: pause})
    assert reason(answer)["code"] == "paused"
    assert answer["sound_paused_until"] is not None


def test_nobody_of_that_name_is_no_answer() -> None:
    log = Log()
    log.append(PARTITION, T0, tick(T0))
    assert asyncio.run(watch(log.records, span_of(log.records), Side("s", POLICY), None, "p1", T0)) is None
