"""The sink on a real broker and a real InfluxDB: every point is there once, whoever dies; bad ones stop nobody."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from contracts import records as r
from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from contracts.topology import ALERTS, FORECASTS, IMAGE_RESULTS, SCORES
from infra.launch import influx as launched
from infra.site import free_ports
from infra.stack import wait_until
from streams.sink.gauges import SinkMetrics
from streams.sink.writer import Writer
from tests.integration.streams import series

pytestmark = [pytest.mark.kafka, pytest.mark.influx]

START = int(time.time()) // 60 * 60_000 - 600_000
SOURCE = r.SourceOffset(topic="t", partition=0, offset=1)
HOSTILE = [
    "7,8",
    "a b",
    "x=y",
    "back\\",
    'quo"te',
    "new\nline",
    "ünï-病",
    "'; DROP MEASUREMENT beds",
    "a\\,b",
    "#c",
    "  ",
]
names = itertools.count(1)


@pytest.fixture
def ward() -> str:
    """A ward that no other test writes to."""
    return f"T{os.getpid()}-{next(names)}"


def scores(ward: str, second: int, beds: list[str], value: float = 80.0) -> r.ScoreFrame:
    at = START + second * 1000
    made = tuple(
        r.BedScore(
            bed=bed,
            patient=f"p{bed}",
            heard_ms=at,
            values=(r.ScoredVital(vital=r.Vital.HEART_RATE, value=value, at_ms=at),),
            news2=r.News2(minimum=1, maximum=2, scale=1),
        )
        for bed in beds
    )
    return r.ScoreFrame(version=1, ward=ward, at_ms=at, now_ms=at + 40, source=SOURCE, policy="p", beds=made)


def transition(ward: str, seq: int, at_ms: int = START) -> r.AlertTransition:
    return r.AlertTransition(
        version=1, alert_id=f"{ward}-alert", seq=seq, ward=ward, bed="1", patient="p", condition="spo2_low",
        category=r.Category.PHYSIOLOGICAL, priority=r.Priority.HIGH, event=r.AlarmEvent.NOTE,
        state=r.AlarmState.ACTIVE, at_ms=at_ms, onset_ms=at_ms, message="SpO2 84<90", source=SOURCE, policy="p",
    )  # fmt: skip


def forecast(ward: str, second: int) -> r.VitalsForecast:
    at = START + second * 1000
    vital = r.VitalForecast(
        vital=r.Vital.SPO2, engine=r.Engine.LSTM, horizons_s=(300, 360), quantiles=((90.0, 94.0, 97.0),) * 2
    )
    bed = r.BedForecast(bed="1", patient="p1", at_ms=at, vitals=(vital,))
    return r.VitalsForecast(
        version=1, ward=ward, at_ms=at, now_ms=at, source=SOURCE, levels=(0.05, 0.5, 0.95), beds=(bed,)
    )


def bands(ward: str, second: int, middles: Mapping[str, float]) -> r.VitalsForecast:
    """Heart rates five minutes ahead: from 4 below to 3 above a bed's middle."""
    at, whole = START + second * 1000, forecast(ward, second)
    beds = tuple(
        r.BedForecast(
            bed=bed,
            patient=f"p{bed}",
            at_ms=at,
            vitals=(
                r.VitalForecast(
                    vital=r.Vital.HEART_RATE,
                    engine=r.Engine.LSTM,
                    horizons_s=(300,),
                    quantiles=((middle - 4, middle, middle + 3),),
                ),
            ),
        )
        for bed, middle in middles.items()
    )
    return msgspec.structs.replace(whole, beds=beds)


def image(ward: str, n: int) -> r.ImageResult:
    return r.ImageResult(
        version=1, job_id=f"{ward}-{n}", study="s", instance="i", model=ward, model_sha256="0", at_ms=START, label="a"
    )


def settle(influx: Mapping[str, str], measurement: str, field: str, where: str, expected: int) -> None:
    wait_until(lambda: series.number(influx, measurement, field, where) >= expected, 60)
    assert series.number(influx, measurement, field, where) == expected


def test_every_record_becomes_its_points_once_however_often_it_is_read(
    kafka_with_topics: str, influx: dict[str, str], ward: str, tmp_path: Path
) -> None:
    beds = [f"{n}" for n in range(10)]
    where, of_model = f"WHERE ward = '{ward}'", f"WHERE model = '{ward}'"
    written: list[tuple[Any, str, r.Record | bytes]] = []
    for second in range(120):
        written.append((SCORES, ward, scores(ward, second, beds)))
        if second % 10 == 0:
            written.append((FORECASTS, ward, forecast(ward, second)))
    written += [(ALERTS, f"{ward}-alert", transition(ward, seq)) for seq in range(40)]
    written += [(IMAGE_RESULTS, "s", image(ward, n)) for n in range(30)]
    written += [(SCORES, ward, b"{not json"), (SCORES, ward, scores(ward, 5, beds))]
    series.produce(kafka_with_topics, written)
    found: list[list[list[list[Any]]]] = []
    for group in (f"{ward}-a", f"{ward}-b"):
        with series.sink(kafka_with_topics, influx, tmp_path, group) as one:
            settle(influx, "beds", "state", where, 1200)
            settle(influx, "alarms", "seq", where, 40)
            settle(influx, "images", "refused", of_model, 30)
            settle(influx, "forecasts", "middle", where, 3)  # minutes 5, 6 from the first, 6, 7 from the second
            assert wait_until(lambda group=group: series.caught_up(kafka_with_topics, group), 60)  # type: ignore[misc]  # early binding
            assert one.end() == 0
        found.append([series.whole(influx, m, where) for m in ("beds", "alarms", "forecasts", "skills")])
    assert found[0] == found[1]


def test_what_forecasts_were_worth_is_told_once_across_a_restart_and_a_second_reading(
    kafka_with_topics: str, influx: dict[str, str], ward: str, tmp_path: Path
) -> None:
    beds, where = [f"{n}" for n in range(10)], f"WHERE ward = '{ward}'"
    told = bands(ward, 65, {bed: 90.0 + n for n, bed in enumerate(beds)})
    log: list[tuple[Any, str, r.Record]] = [(SCORES, ward, scores(ward, s, beds, 93.0)) for s in range(0, 480, 5)]
    measured = ("hindsight", "coverage", "calibration")
    found: list[list[list[list[Any]]]] = []
    for group in (f"{ward}-a", f"{ward}-b"):
        state = {"WARD_STATE_DIR": str(tmp_path / group)}
        if not found:
            series.produce(kafka_with_topics, [*log[:40], (FORECASTS, ward, told)])
        with series.sink(kafka_with_topics, influx, tmp_path, group, **state) as one:
            assert wait_until(lambda group=group: series.caught_up(kafka_with_topics, group), 60)  # type: ignore[misc]  # early binding
            assert one.end() == 0
        if not found:
            assert [series.number(influx, name, "n", where) for name in measured] == [0, 0, 0], "not yet"
            series.produce(kafka_with_topics, log[40:])
            with series.sink(kafka_with_topics, influx, tmp_path, group, **state):
                settle(influx, "calibration", "n", where, 3)
        found.append([series.whole(influx, name, where) for name in measured])
    assert found[0] == found[1]
    summed = series.ask(influx, f'SELECT sum(n), sum(error), sum(naive), count(n) FROM "live"."hindsight" {where}')  # noqa: S608 - our own words
    assert summed[0]["values"][0][1:] == [10, 27.0, 0.0, 1]
    inside = series.ask(influx, f'SELECT sum(inside) FROM "live"."coverage" {where} AND band = \'90\'')  # noqa: S608 - our own words
    assert inside[0]["values"][0][1] == 8, "93 lies in the bands around 90 to 97"


def test_what_was_committed_is_not_read_again_and_what_was_not_is(
    kafka_with_topics: str, influx: dict[str, str], ward: str, tmp_path: Path
) -> None:
    where = f"WHERE ward = '{ward}'"
    series.produce(kafka_with_topics, [(SCORES, ward, scores(ward, s, ["1"])) for s in range(50)])
    with series.sink(kafka_with_topics, influx, tmp_path, ward) as one:
        settle(influx, "beds", "state", where, 50)
        one.end(signal.SIGKILL)
    series.ask(influx, f"DELETE FROM beds {where}")  # noqa: S608 - our own words
    series.produce(kafka_with_topics, [(SCORES, ward, scores(ward, s, ["1"])) for s in range(50, 80)])
    with series.sink(kafka_with_topics, influx, tmp_path, ward):
        wait_until(lambda: series.number(influx, "beds", "state", where) >= 30, 60)
        # the kill may have come between the write and its commit: then the last batch is there again, never twice
        assert 30 <= series.number(influx, "beds", "state", where) <= 80


def test_hostile_names_stay_inside_their_tags(
    kafka_with_topics: str, influx: dict[str, str], ward: str, tmp_path: Path
) -> None:
    hostile_ward = f"{ward}, bed=9 x"
    series.produce(kafka_with_topics, [(SCORES, ward, scores(hostile_ward, 1, HOSTILE))])
    where = f"WHERE ward = '{hostile_ward}'"
    with series.sink(kafka_with_topics, influx, tmp_path, ward):
        settle(influx, "beds", "state", where, len(HOSTILE))
    shown = {
        row[1] for row in series.ask(influx, f'SHOW TAG VALUES FROM "live"."beds" WITH KEY = bed {where}')[0]["values"]
    }
    assert shown == {name.replace("\\", "⧵").replace("\n", "␊") for name in HOSTILE}


def settings_for(influx: Mapping[str, str], **changed: Any) -> Settings:
    return Settings.from_env(influx, **changed)


def test_a_bad_point_is_counted_and_stops_no_good_one(influx: dict[str, str]) -> None:
    user, _, password = influx["WARD_INFLUX_TOKEN"].partition(":")
    launched._ask(
        influx["WARD_INFLUX_URL"], "CREATE DATABASE bad WITH DURATION 30d REPLICATION 1 NAME live", (user, password)
    )
    metrics = SinkMetrics()
    writer = Writer(settings_for(influx, influx_bucket="bad/live"), metrics)
    now = int(time.time()) * 10**9
    writer.write([f"beds,bed=0,ward=W state=1i {now}"])
    lines = [f"beds,bed={n},ward=W state={n}i {now}" for n in range(1, 101)]
    lines.insert(20, f'beds,bed=x,ward=W state="calm" {now}')
    lines.insert(50, f"beds,bed=y,ward=W state=1i {now - 90 * 86_400 * 10**9}")
    writer.write(lines)
    writer.write(["beds,bed=z,ward=W state= 5", f"beds,bed=101,ward=W state=1i {now}"])
    writer.close()
    rows = series.ask(influx, 'SELECT count(state) FROM "live"."beds"', "bad")
    assert rows[0]["values"][0][1] == 102
    refused = {
        sample.labels["reason"]: sample.value
        for family in metrics.refused.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert min(refused["type_conflict"] + refused["beyond_retention"], refused["unparsable"]) >= 1
    assert refused["other"] == 0


def test_a_wrong_token_or_bucket_is_one_clear_line(influx: dict[str, str]) -> None:
    for wrong, words in (({"influx_token": "ward:x"}, "TOKEN"), ({"influx_bucket": "no/such"}, "BUCKET")):
        writer = Writer(settings_for(influx, **wrong), SinkMetrics())
        with pytest.raises(Misconfigured, match=words):
            writer.write(["probe value=1"])
        writer.close()
    with pytest.raises(Misconfigured, match="WARD_INFLUX_URL"):
        Writer(Settings(), SinkMetrics())


def test_an_influxdb_that_is_away_is_for_later(influx: dict[str, str]) -> None:
    port = free_ports(["nobody"])["nobody"]
    writer = Writer(settings_for(influx, influx_url=f"http://127.0.0.1:{port}"), SinkMetrics())
    with pytest.raises(Transient, match="does not answer"):
        writer.write(["probe value=1"])
    writer.close()


def test_the_platform_watches_itself_and_lag_is_told(
    kafka_with_topics: str, influx: dict[str, str], ward: str, tmp_path: Path
) -> None:
    port = free_ports(["metrics"])["metrics"]
    page = f"http://127.0.0.1:{port}/metrics"
    settings = {"WARD_SINK_METRICS_PORT": str(port), "WARD_SCRAPE": f"itself={page}"}
    with series.sink(kafka_with_topics, influx, tmp_path, ward, **settings):
        where = "WHERE process = 'itself'"
        assert wait_until(lambda: series.number(influx, "ward_process_up", "value", where) >= 1, 60)
        assert wait_until(lambda: series.number(influx, "ward_topic_records", "value") >= 1, 60)
        assert "ward_sink_failing_tries 0.0" in httpx.get(page, trust_env=False).text


def test_setting_up_twice_changes_nothing_and_minutes_are_kept_longer_than_seconds(influx: dict[str, str]) -> None:
    user, _, password = influx["WARD_INFLUX_TOKEN"].partition(":")
    launched.set_up(influx["WARD_INFLUX_URL"], user, password)
    policies = {row[0]: row for row in series.ask(influx, "SHOW RETENTION POLICIES ON ward")[0]["values"]}
    assert policies["live"][1] == "720h0m0s"
    assert policies["live"][-1] is True
    assert policies["trend"][1] == "8760h0m0s"
    queries = [row for found in series.ask(influx, "SHOW CONTINUOUS QUERIES") for row in found.get("values", ())]
    assert [row[0] for row in queries] == ["trend"]
    assert "FOR 2h" in queries[0][1]


def test_minute_means_are_the_means_of_the_seconds(influx: dict[str, str], ward: str) -> None:
    writer = Writer(settings_for(influx), SinkMetrics())
    lines = [f"beds,bed=1,ward={ward} heart_rate={60 + s}.0,state=0i {(START + s * 1000) * 10**6}" for s in range(120)]
    writer.write(lines)
    writer.close()
    series.ask(influx, f"{launched.minute_means()} WHERE ward = '{ward}' GROUP BY time(1m), *")
    rows = series.ask(influx, f'SELECT heart_rate FROM "trend"."beds" WHERE ward = \'{ward}\'')[0]["values"]  # noqa: S608 - our own words
    assert [row[1] for row in rows] == [89.5, 149.5]
