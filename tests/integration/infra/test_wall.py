"""Every question of every board, asked of a real InfluxDB: after a minute of a ward, and after everything happened."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from contracts import metrics as declared
from contracts import records as r
from contracts.settings import Settings
from infra.dashboards import alerting, build
from infra.dashboards.spec import Ask, Board
from infra.launch.influx import minute_means
from infra.processes import BY_NAME
from infra.stack import Stack, wait_until
from models.vitals.hindsight import Outcome, Worth
from streams.sink import hindsight, lines
from streams.sink.gauges import SinkMetrics
from streams.sink.writer import Writer
from tests.integration.streams import series

ASKS = [(board, ask) for board in build.BOARDS for tile in board.tiles for ask in tile.asks]
SOURCE = r.SourceOffset(topic="t", partition=0, offset=1)
UNITS = {"s": "s", "m": "m", "h": "h", "d": "d"}


def moment(text: str) -> str:
    """Grafana's ``now-1h`` as InfluxQL's."""
    found = re.fullmatch(r"now(?:([+-])(\d+)([smhd]))?", text)
    assert found, text
    return f"now() {found[1]} {found[2]}{UNITS[found[3]]}" if found[1] else "now()"


def one_of(values: list[str]) -> str:
    """What ``:regex`` makes of chosen values: each escaped, several in brackets."""
    escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", lambda m: "\\" + m[0], value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def filled_in(board: Board, influxql: str, chosen: Mapping[str, list[str]]) -> str:
    """A question as Grafana sends it."""
    span = f"time >= {moment(board.since)} AND time <= {moment(board.until)}"
    influxql = influxql.replace("$timeFilter", span).replace("$__interval", "10s")
    for name, values in chosen.items():
        influxql = influxql.replace(f"${{{name}:regex}}", one_of(values))
    assert "$" not in influxql.replace("$/", ""), f"nobody fills in {influxql}"
    return influxql


def choices(board: Board, influx: Mapping[str, str]) -> dict[str, list[str]]:
    """All values of a board's variables; of a variable with a single choice the first, as Grafana begins."""
    chosen: dict[str, list[str]] = {}
    for variable in board.variables:
        found = series.ask(influx, filled_in(board, variable.influxql, chosen))
        values = sorted({row[1] for one in found for row in one["values"]})
        assert values, f"nothing to choose for {variable.name}"
        chosen[variable.name] = values if variable.many else values[:1]
    return chosen


def answers(board: Board, ask: Ask, influx: Mapping[str, str], chosen: Mapping[str, list[str]]) -> bool:
    """Whether the question has an answer of the expected shape; an empty answer is no answer."""
    found = series.ask(influx, filled_in(board, ask.influxql, chosen))
    for one in found:
        assert tuple(one.get("tags", {}).keys()) == tuple(sorted(ask.tags)) or set(one.get("tags", {})) == set(ask.tags)
        assert any(value is not None for row in one["values"] for value in row[1:])
    return bool(found)


@pytest.mark.stack
@pytest.mark.kafka
@pytest.mark.influx
@pytest.mark.timeout(400)
def test_after_a_minute_of_a_ward_every_panel_shows_what_it_should(stack: Callable[..., Stack]) -> None:
    one = stack("sink", "simulator", WARD_FEED_DEMO="1")
    influx = {k: v for k, v in one.environment().items() if k.startswith("WARD_INFLUX_")}
    began = time.time()
    where = f"WHERE time > {int(began * 1e9)}"
    assert wait_until(lambda: series.number(influx, "ward_log_delay_seconds", "p99", where) >= 3, 120)
    assert wait_until(lambda: series.number(influx, "alarms", "seq", where) >= 1, 120), "nothing alarmed"
    assert BY_NAME["sink"].health(one.site()) is None
    series.ask(influx, f"{minute_means()} WHERE time > now() - 10m GROUP BY time(1m), *")
    silent: list[str] = []
    undeclared: list[str] = []
    for board in build.BOARDS:
        chosen = choices(board, influx)
        for tile in board.tiles:
            for ask in tile.asks:
                if not answers(board, ask, influx, chosen):
                    (silent if ask.empty else undeclared).append(f"{board.uid}: {tile.title}: {ask.influxql}")
    assert not undeclared, "\n".join(undeclared)
    print(f"{len(ASKS) - len(silent)} of {len(ASKS)} questions answered; the rest may be empty:", *silent, sep="\n")
    assert len(silent) < len(ASKS) / 2


@pytest.fixture(scope="module")
def eventful(influx: dict[str, str]) -> dict[str, str]:
    """An InfluxDB that holds a point of everything that can happen, made by the sink's own words."""
    metrics = SinkMetrics()
    writer = Writer(Settings.from_env(influx), metrics)
    now = int(time.time() * 1000)
    writer.write([line for second in range(-120, 1) for line in lines.of_scores(scores(now + second * 1000))])
    writer.write([line for n in range(12) for line in lines.of_transition(transition(now - n * 100, n))])
    for event in (r.AlarmEvent.ACKNOWLEDGED, r.AlarmEvent.ESCALATED):
        writer.write(lines.of_transition(msgspec.structs.replace(transition(now, 20), event=event, actor="a")))
    over = msgspec.structs.replace(transition(now, 21), event=r.AlarmEvent.CLEARED, state=r.AlarmState.INACTIVE)
    writer.write(lines.of_transition(over, untouched=True))
    advisory = msgspec.structs.replace(transition(now, 30), category=r.Category.ADVISORY)
    writer.write(lines.of_transition(advisory))
    writer.write(lines.of_forecast(forecast(now - 60_000)))
    writer.write(hindsight.of_worth(worth(now - 60_000)) + hindsight.of_outcome(outcome(now - 60_000)))
    for label, refusal in (("normal", None), (None, "blank")):
        writer.write(lines.of_image(image(now, label, refusal)))
    writer.write(lines.of_image_refusal(refused(now)))
    writer.write(lines.of_finding(finding(now)))
    writer.write([line for step in (2, 1) for metric in declared.METRICS for line in of_metric(metric, now, step)])
    writer.close()
    series.ask(influx, f"{minute_means()} WHERE time > now() - 10m GROUP BY time(1m), *")
    return influx


def scores(now_ms: int) -> r.ScoreFrame:
    numbers = tuple(
        r.ScoredVital(vital=v, value="A" if v is r.Vital.CONSCIOUSNESS else 80.0, at_ms=now_ms) for v in r.Vital
    )
    bed = r.BedScore(
        bed="E, 1", patient="p", heard_ms=now_ms, values=numbers, news2=r.News2(minimum=0, maximum=3, scale=1)
    )
    outlook = r.BedOutlook(
        bed="E, 1",
        patient="p",
        at_ms=now_ms,
        anomaly=r.Anomaly(score=0.5, learning=True),
        risks=(r.Risk(name="hypotension", probability=0.1, horizon_s=3600),),
    )
    return r.ScoreFrame(
        version=1, ward="E/1", at_ms=now_ms, now_ms=now_ms, source=SOURCE, policy="p", beds=(bed,), outlooks=(outlook,),
        models=(r.ModelInForce(name="vitals_anomaly", version="0"),),
    )  # fmt: skip


def transition(at_ms: int, number: int) -> r.AlertTransition:
    return r.AlertTransition(
        version=1, alert_id=f"e{number}", seq=1, ward="E/1", bed="E, 1", patient="p", condition="spo2_low",
        category=r.Category.PHYSIOLOGICAL, priority=r.Priority.HIGH, event=r.AlarmEvent.RAISED,
        state=r.AlarmState.ACTIVE, at_ms=at_ms, onset_ms=at_ms - 5000, message="SpO2 84<90", source=SOURCE, policy="p",
    )  # fmt: skip


def forecast(now_ms: int) -> r.VitalsForecast:
    vitals = tuple(
        r.VitalForecast(
            vital=vital, engine=r.Engine.LSTM, horizons_s=(300,), quantiles=((1.0, 2.0, 3.0),), skill=(0.1,)
        )
        for vital in r.Vital
    )
    bed = r.BedForecast(bed="E, 1", patient="p", at_ms=now_ms, vitals=vitals)
    return r.VitalsForecast(
        version=1, ward="E/1", at_ms=now_ms, now_ms=now_ms, source=SOURCE, levels=(0.1, 0.5, 0.9), beds=(bed,)
    )


def worth(at_ms: int) -> Worth:
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    under = (0.0, 1.0, 2.0, 3.0, 4.0)
    return Worth("E/1", "spo2", 300, "lstm", at_ms, 4, levels, under, (3, 2), (16.0, 4.0), 2.5, 3.0, 0.75)


def outcome(at_ms: int) -> Outcome:
    return Outcome("E/1", "hypotension", "02-05 %", at_ms, 3, 0.1, 1, 0.9)


def image(at_ms: int, label: str | None, refusal: str | None) -> r.ImageResult:
    return r.ImageResult(
        version=1, job_id=f"e{label}", study="s", instance="i", model="knee", model_sha256="0", at_ms=at_ms,
        label=label, refusal=refusal, probability=0.9 if label else None, arrived_ms=at_ms - 900, took_ms=200,
    )  # fmt: skip


def refused(at_ms: int) -> r.ImageRefusal:
    return r.ImageRefusal(
        version=1, refusal_id="e", sha256="0", reason="burned_in", detail="d", source="c_store", at_ms=at_ms, size=9
    )


def finding(at_ms: int) -> r.ImageFinding:
    return r.ImageFinding(
        version=1, finding_id="e", seq=0, study="s", instance="i", patient="p", model="knee", label="x", why="w",
        priority=r.Priority.HIGH, state=r.FindingState.OPEN, at_ms=at_ms, job_id="j", policy="p", probability=0.9,
    )  # fmt: skip


def of_metric(metric: declared.Metric, now_ms: int, step: int) -> list[str]:
    """Two points of a metric, half a minute apart, for each topic where it tells of topics."""
    from contracts.topology import TOPICS

    fields = "count=1,sum=1,p50=0.1,p99=0.2" if metric.kind == "histogram" else f"value={10 / step}"
    labels = dict.fromkeys(metric.labels, "e") | {"process": "e"}
    topics = [topic.name for topic in TOPICS] if "topic" in labels else ["e"]
    return [
        f"{metric.name},"
        + ",".join(f"{name}={topic if name == 'topic' else value}" for name, value in sorted(labels.items()))
        + f" {fields} {now_ms - step * 15_000}000000"
        for topic in topics
    ]


@pytest.mark.influx
@pytest.mark.parametrize("board", build.BOARDS, ids=lambda board: board.uid)
def test_after_everything_happened_no_question_is_without_an_answer(board: Board, eventful: dict[str, str]) -> None:
    chosen: dict[str, Any] = {name: ["E/1"] if name == "ward" else ["E, 1"] for name in ("ward", "bed")}
    assert set(choices(board, eventful)) <= set(chosen)
    for tile in board.tiles:
        for ask in tile.asks:
            assert answers(board, ask, eventful, chosen), f"{tile.title}: {ask.influxql}"
    if board.alarms:
        assert series.ask(eventful, filled_in(board, board.alarms, chosen))


@pytest.mark.influx
def test_a_counter_that_begins_anew_has_not_grown_and_one_that_grew_has(eventful: dict[str, str]) -> None:
    rule = next(rule for rule in alerting.RULES if rule.uid == "ward-points-refused")
    writer = Writer(Settings.from_env(eventful), SinkMetrics())
    now = int(time.time())
    for reason, values in (("anew", (9, 9, 0, 0)), ("grew", (0, 0, 4, 4))):
        head = f"{declared.SINK_REFUSED.name},process=sink,reason={reason} value="
        writer.write([f"{head}{value} {(now - 60 + 12 * n) * 10**9}" for n, value in enumerate(values)])
    writer.close()
    found = series.ask(eventful, rule.influxql.replace("$timeFilter", "time >= now() - 300s"))
    told = {one["tags"]["reason"]: one["values"][-1][1] for one in found}
    assert (told["anew"], told["grew"]) == (0, 4)


@pytest.mark.influx
@pytest.mark.parametrize("rule", alerting.RULES, ids=lambda rule: rule.uid)
def test_a_rules_question_has_an_answer_that_can_be_compared(rule: alerting.Rule, eventful: dict[str, str]) -> None:
    span = f"time >= now() - {rule.since_s}s"
    found = series.ask(eventful, rule.influxql.replace("$timeFilter", span))
    assert found
    assert isinstance(found[0]["values"][-1][1], int | float)
