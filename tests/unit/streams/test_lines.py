"""Records become lines that say what they said, name nobody, and come out the same however often they are read."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import records as r
from contracts.topology import ALERTS, FORECASTS
from models.vitals.hindsight import Outcome, Worth
from streams.sink import hindsight, lines, measurements
from streams.sink.hindsight import Keeper
from streams.sink.shipping import makers

NOW = 1_767_340_800_250
SOURCE = r.SourceOffset(topic="t", partition=0, offset=1)
LINE = re.compile(
    r"(?P<name>\w+)(?P<tags>(?:,(?:\\.|[^ ,\\])+)*) (?P<fields>(?:\"(?:\\.|[^\"\\])*\"|[^ \"])+) (?P<at>\d+)"
)
PATIENT, ACTOR, NOTE = "pseudonym-7", "nurse-anna", "call her daughter"


def parsed(line: str) -> tuple[str, dict[str, str], dict[str, str], int]:
    found = LINE.fullmatch(line)
    assert found, line
    tags = dict(part.split("=", 1) for part in re.split(r"(?<!\\),", found["tags"]) if part)
    fields = dict(part.split("=", 1) for part in re.findall(r"\w+=(?:\"(?:\\.|[^\"\\])*\"|[^,]*)", found["fields"]))
    return found["name"], tags, fields, int(found["at"])


def bed(name: str = "3", alarms: tuple[r.OpenAlarm, ...] = ()) -> r.BedScore:
    return r.BedScore(
        bed=name,
        patient=PATIENT,
        heard_ms=NOW - 1500,
        values=(
            r.ScoredVital(vital=r.Vital.HEART_RATE, value=81.0, at_ms=NOW),
            r.ScoredVital(vital=r.Vital.SPO2, value=12.0, at_ms=NOW, tag=r.Tag.IMPLAUSIBLE),
            r.ScoredVital(vital=r.Vital.RESPIRATION, value=None, at_ms=NOW, tag=r.Tag.NO_SIGNAL),
            r.ScoredVital(vital=r.Vital.CONSCIOUSNESS, value="A", at_ms=NOW),
        ),
        news2=r.News2(minimum=1, maximum=4, scale=1, single_red=True),
        alarms=alarms,
    )


def scores(**changed: Any) -> r.ScoreFrame:
    given_: dict[str, Any] = {
        "version": 1,
        "ward": "W1",
        "at_ms": NOW - 40,
        "now_ms": NOW,
        "source": SOURCE,
        "policy": "p",
    }
    return r.ScoreFrame(**(given_ | {"beds": (bed(),)} | changed))


def alarm(priority: r.Priority, category: r.Category = r.Category.PHYSIOLOGICAL) -> r.OpenAlarm:
    return r.OpenAlarm(condition="c", state=r.AlarmState.ACTIVE, priority=priority, category=category, onset_ms=NOW)


def transition(**changed: Any) -> r.AlertTransition:
    fields: dict[str, Any] = {
        "version": 1, "alert_id": "a1", "seq": 2, "ward": "W1", "bed": "3", "patient": PATIENT, "condition": "spo2_low",
        "category": r.Category.PHYSIOLOGICAL, "priority": r.Priority.HIGH, "event": r.AlarmEvent.RAISED,
        "state": r.AlarmState.ACTIVE, "at_ms": NOW, "onset_ms": NOW - 12_000, "message": 'SpO2 84<90 "now"',
        "source": SOURCE, "policy": "p", "value": 84.0, "limit": 90.0, "actor": ACTOR, "note": NOTE,
    }  # fmt: skip
    return r.AlertTransition(**(fields | changed))


def forecast(now_ms: int = NOW, skill: tuple[float | None, ...] = (0.2, None)) -> r.VitalsForecast:
    vital = r.VitalForecast(
        vital=r.Vital.HEART_RATE,
        engine=r.Engine.LSTM,
        horizons_s=(300, 3600),
        quantiles=((70.0, 80.0, 90.0), (60.0, 80.0, 100.0)),
        above=(0.01, 0.2),
        skill=skill,
    )
    return r.VitalsForecast(
        version=1, ward="W1", at_ms=now_ms, now_ms=now_ms, source=SOURCE, levels=(0.05, 0.5, 0.95),
        beds=(r.BedForecast(bed="3", patient=PATIENT, at_ms=now_ms, vitals=(vital,)),),
    )  # fmt: skip


IMAGE = r.ImageResult(
    version=1, job_id="j1", study=PATIENT, instance="i", model="knee", model_sha256="0", at_ms=NOW, refusal="blank",
    detail=NOTE, patient=PATIENT, arrived_ms=NOW - 1500, took_ms=250,
)  # fmt: skip
READ = msgspec.structs.replace(IMAGE, refusal=None, label="x", probability=0.5, positive=True)
REFUSED = r.ImageRefusal(
    version=1, refusal_id="f1", sha256="0", reason="burned_in", detail=NOTE, source="c_store", at_ms=NOW, size=512
)
FINDING = r.ImageFinding(
    version=1, finding_id="f1", seq=1, study=PATIENT, instance="i", patient=PATIENT, model="knee", label="x", why=NOTE,
    priority=r.Priority.HIGH, state=r.FindingState.ACCEPTED, at_ms=NOW, job_id="j1", policy="p", probability=0.5,
    actor=ACTOR,
)  # fmt: skip
OUTLOOK = r.BedOutlook(
    bed="3",
    patient=PATIENT,
    at_ms=NOW,
    anomaly=r.Anomaly(score=0.25, learning=True, baseline_s=600, drift=(r.Vital.SPO2,)),
    risks=(r.Risk(name="hypotension", probability=0.125, horizon_s=14_400, known=0.75),),
)
MODEL = r.ModelInForce(name="vitals_anomaly", version="0123456789ab")
WORTH = Worth(
    "W1", "spo2", 300, "lstm", NOW, 4, (0.05, 0.25, 0.5, 0.75, 0.95), (0.0, 1.0, 1.5, 3.0, 4.0), (4, 2), (16.0, 4.0),
    2.5, 3.0, 0.75,
)  # fmt: skip
OUTCOME = Outcome("W1", "hypotension", "02-05 %", NOW, 3, 0.1, 1, 0.9)


def everything() -> list[str]:
    return [
        *lines.of_scores(scores(outlooks=(OUTLOOK,), models=(MODEL,))),
        *lines.of_forecast(forecast()),
        *lines.of_transition(transition(probability=0.5, lead_s=600)),
        *lines.of_image(IMAGE),
        *lines.of_image(READ),
        *lines.of_image_refusal(REFUSED),
        *lines.of_finding(FINDING),
        *lines.of_transition(transition(), untouched=False),
        *hindsight.of_worth(WORTH),
        *hindsight.of_outcome(OUTCOME),
    ]


def test_a_bed_is_one_point_of_believed_values_at_the_second_of_the_log() -> None:
    name, tags, fields, at = parsed(lines.of_scores(scores())[0])
    assert (name, tags) == ("beds", {"bed": "3", "ward": "W1"})
    assert at == 1_767_340_800_000 * 1_000_000
    assert fields["heart_rate"] == "81.0"
    assert fields["consciousness"] == '"A"'
    assert not {"spo2", "respiration"} & fields.keys(), "what is not believed is not drawn"
    assert (fields["unbelieved"], fields["silent_s"]) == ("1i", "1.5")
    assert (fields["news2_min"], fields["news2_max"], fields["news2_red"]) == ("1i", "4i", "1i")


@pytest.mark.parametrize(
    ("alarms", "state"),
    [
        ((), 0),
        ((alarm(r.Priority.HIGH, r.Category.TECHNICAL),), 1),
        ((alarm(r.Priority.LOW, r.Category.ADVISORY),), 0),
        ((alarm(r.Priority.LOW), alarm(r.Priority.HIGH, r.Category.TECHNICAL)), 2),
        ((alarm(r.Priority.MEDIUM), alarm(r.Priority.LOW)), 3),
        ((alarm(r.Priority.LOW), alarm(r.Priority.HIGH), alarm(r.Priority.HIGH)), 4),
    ],
)
def test_the_state_of_a_bed_is_its_most_urgent_alarm(alarms: tuple[r.OpenAlarm, ...], state: int) -> None:
    _, _, fields, _ = parsed(lines.of_scores(scores(beds=(bed(alarms=alarms),)))[0])
    assert fields["state"] == f"{state}i"
    counted = sum(int(fields[f"alarms_{kind}"][:-1]) for kind in ("high", "medium", "low", "technical", "advisory"))
    assert counted == len(alarms)


def test_everything_that_is_written_is_declared_and_every_declared_field_can_be_written() -> None:
    seen: dict[str, set[str]] = {}
    rest = lines.of_scores(scores(beds=(full_bed(),)))
    for line in (*everything(), *rest, *lines.of_forecast(below())):
        name, tags, fields, _ = parsed(line)
        declared = measurements.BY_NAME[name]
        assert tuple(tags) == declared.tags, "tags stand in order: InfluxDB need not sort them"
        assert fields.keys() <= set(declared.fields)
        seen.setdefault(name, set()).update(fields)
    assert seen == {m.name: set(m.fields) for m in measurements.MEASUREMENTS}


def full_bed() -> r.BedScore:
    numbers = tuple(
        r.ScoredVital(vital=v, value="A" if v is r.Vital.CONSCIOUSNESS else 1.0, at_ms=NOW) for v in r.Vital
    )
    return msgspec.structs.replace(bed(), values=numbers)


def below() -> r.VitalsForecast:
    frame = forecast()
    vital = msgspec.structs.replace(frame.beds[0].vitals[0], below=(0.0, 0.1))
    return msgspec.structs.replace(frame, beds=(msgspec.structs.replace(frame.beds[0], vitals=(vital,)),))


def test_no_line_names_a_person() -> None:
    text = "\n".join(everything())
    for secret in (PATIENT, ACTOR, NOTE):
        assert secret not in text


def test_a_forecast_stands_at_the_minute_it_speaks_of_and_skill_at_the_minute_it_was_said() -> None:
    minute = NOW // 60_000 * 60_000
    first, second, skill, unknown = (parsed(line) for line in lines.of_forecast(forecast()))
    assert first[3] == (minute + 300_000) * 1_000_000
    assert second[3] == (minute + 3_600_000) * 1_000_000
    assert (first[2]["low"], first[2]["middle"], first[2]["high"]) == ("70.0", "80.0", "90.0")
    assert skill[1] == {"horizon": "300", "vital": "heart_rate", "ward": "W1"}
    assert (skill[2]["skill"], skill[2]["lstm"], skill[3]) == ("0.2", "1i", minute * 1_000_000)
    assert "skill" not in unknown[2]


def test_of_the_forecasts_of_a_minute_one_is_written() -> None:
    make = makers(Keeper(None))[FORECASTS.name][1]
    minute = NOW // 60_000 * 60_000
    assert [bool(make(forecast(minute + s * 1000))) for s in (0, 10, 50, 60, 70)] == [True, False, False, True, False]


def test_two_steps_of_alarms_in_one_millisecond_are_two_points() -> None:
    one, again, other = (lines.of_transition(t)[0] for t in (transition(), transition(), transition(seq=3)))
    assert one == again
    assert parsed(one)[3] != parsed(other)[3]
    assert parsed(one)[3] // 1_000_000 == parsed(other)[3] // 1_000_000 == NOW


STEPS = (
    (r.AlarmEvent.RAISED, r.AlarmState.ACTIVE, None),
    (r.AlarmEvent.AUDIO_PAUSED, r.AlarmState.ACTIVE, ACTOR),
    (r.AlarmEvent.ESCALATED, r.AlarmState.ACTIVE, None),
)
"""What is no answer: to be silenced for a while, and to be escalated by time alone."""
ANSWERS = {
    r.AlarmEvent.ACKNOWLEDGED: r.AlarmState.ACKNOWLEDGED,
    r.AlarmEvent.ESCALATED: r.AlarmState.ACTIVE,
    r.AlarmEvent.NOTE: r.AlarmState.ACTIVE,
}


def lived(*steps: tuple[r.AlarmEvent, r.AlarmState, str | None]) -> list[dict[str, str]]:
    """The fields of one alarm's steps, as the sink makes them."""
    make = makers(Keeper(None))[ALERTS.name][1]
    return [
        parsed(make(transition(seq=seq, event=event, state=state, actor=actor))[0])[2]
        for seq, (event, state, actor) in enumerate(steps)
    ]


def test_an_alarm_that_nobody_touched_is_told_from_one_that_somebody_did() -> None:
    over = (r.AlarmEvent.CLEARED, r.AlarmState.INACTIVE, None)
    alone = lived(*STEPS, over)
    assert [fields["acted"] for fields in alone] == ["0i"] * 4
    assert [fields.get("untouched") for fields in alone] == [None, None, None, "1i"]
    for event, state in ANSWERS.items():
        answered = lived(*STEPS, (event, state, ACTOR), over)
        assert [fields["acted"] for fields in answered] == ["0i", "0i", "0i", "1i", "0i"]
        assert answered[-1]["untouched"] == "0i"
    latched = lived(*STEPS, (r.AlarmEvent.LATCHED, r.AlarmState.LATCHED, None))
    assert "untouched" not in latched[-1], "a latched alarm still waits for somebody"
    ended = lived(STEPS[0], (r.AlarmEvent.ACKNOWLEDGED, r.AlarmState.INACTIVE, ACTOR))
    assert (ended[-1]["acted"], ended[-1]["untouched"]) == ("1i", "0i")


def test_of_what_began_before_the_sink_nothing_is_told_and_memory_is_bounded() -> None:
    over = transition(seq=9, event=r.AlarmEvent.CLEARED, state=r.AlarmState.INACTIVE)
    answers = lines.Answers()
    assert "untouched" not in answers.of_transition(over)[0]
    for number in range(lines.STANDING + 1):
        answers.of_transition(transition(alert_id=f"a{number}"))
    first, last = (msgspec.structs.replace(over, alert_id=f"a{number}") for number in (0, lines.STANDING))
    assert "untouched" not in answers.of_transition(first)[0]
    assert "untouched=1i" in answers.of_transition(last)[0]


@given(st.text(max_size=300))
def test_no_name_breaks_out_of_its_tag(name: str) -> None:
    line = f"beds,bed={lines.tag(name)},ward={lines.tag(name[::-1])} state=1i 5"
    assert line.isprintable() or not any(ord(c) < 0x20 or ord(c) == 0x7F for c in line)
    assert len(re.split(r"(?<!\\) ", line)) == 3
    assert len(re.split(r"(?<!\\),", line)) == 3


@given(st.text(max_size=100))
def test_no_message_breaks_out_of_its_quotes(message: str) -> None:
    quoted = lines.text(message)
    assert re.fullmatch(r'"(?:\\.|[^"\\])*"', quoted)
    assert not any(ord(c) < 0x20 for c in quoted)
