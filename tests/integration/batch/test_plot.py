"""``ward plot`` on a real topic: what was sent is what is drawn, now and while it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

from batch.plot_topic import Log, find, follow, read
from contracts import codec
from contracts.records import (
    SCHEMA_VERSION,
    BedForecast,
    BedReadings,
    Engine,
    Quality,
    Reading,
    SourceOffset,
    Vital,
    VitalForecast,
    VitalsForecast,
    VitalsFrame,
)
from contracts.topology import FORECASTS, VITALS
from infra.stack import wait_until
from producers.publish import Publisher
from tests.integration.streams.live import Feeder

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

WARD = "P1"


def environ(bootstrap: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("WARD_")} | {"WARD_KAFKA": bootstrap}


def plot(bootstrap: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.cli", "plot", *arguments],
        env=environ(bootstrap),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def frame(second: int, at_ms: int, value: float) -> VitalsFrame:
    readings = (
        Reading(vital=Vital.HEART_RATE, value=value),
        Reading(vital=Vital.SPO2, value=97.0 if second % 2 else 400.0),  # every other one is none
        Reading(vital=Vital.SYSTOLIC, value=None, quality=Quality.MEASURING),
    )
    beds = (
        BedReadings(bed="P1-01", patient="plot-one", readings=readings),
        BedReadings(bed="P1-02", patient="plot-two"),
    )
    return VitalsFrame(version=SCHEMA_VERSION, ward=WARD, gateway="g", seq=second, at_ms=at_ms, beds=beds)


@pytest.fixture(scope="module")
def sent(kafka_with_topics: str) -> tuple[str, int]:
    """A broker with a minute of one ward, up to now; and the event time of its first second."""
    start_ms = int(time.time() * 1000) // 1000 * 1000 - 60_000
    publisher = Publisher(kafka_with_topics)
    for second in range(60):
        publisher.publish(frame(second, start_ms + second * 1000, 80.0 + second))
    quantiles = ((120.0, 125.0, 140.0), (110.0, 130.0, 150.0))
    ahead = VitalForecast(vital=Vital.HEART_RATE, engine=Engine.LSTM, horizons_s=(300, 3600), quantiles=quantiles)
    made = VitalsForecast(
        version=SCHEMA_VERSION,
        ward=WARD,
        at_ms=start_ms + 55_000,
        now_ms=start_ms + 55_000,
        source=SourceOffset(topic=VITALS.name, partition=0, offset=0),
        levels=(0.05, 0.5, 0.95),
        beds=(BedForecast(bed="P1-01", patient="plot-one", at_ms=start_ms + 55_000, vitals=(ahead,)),),
    )
    with_forecasts = Publisher(kafka_with_topics, FORECASTS)
    with_forecasts.send(WARD, codec.encode(made))
    for one in (publisher, with_forecasts):
        assert one.flush(20) == 0
    return kafka_with_topics, start_ms


def test_the_points_are_the_readings_and_the_band_the_newest_forecast(sent: tuple[str, int]) -> None:
    bootstrap, start_ms = sent
    done = plot(bootstrap, "plot-one", "--last", "30m", "--vitals", "hr,spo2", "--json")
    assert done.returncode == 0, done.stderr
    chart = json.loads(done.stdout)
    assert (chart["patient"], chart["bed"], chart["ward"]) == ("plot-one", "P1-01", WARD)
    assert list(chart["trends"]) == ["heart_rate", "spo2"]
    rate, saturation = chart["trends"].values()
    assert rate["at_ms"] == [start_ms + second * 1000 for second in range(60)]
    assert rate["middle"] == [80.0 + second for second in range(60)]
    assert (saturation["readings"], saturation["refused"]) == (30, 30)
    assert [(out["side"], out["worst"]) for out in rate["beyond"]] == [("high", 139.0)]
    (band,) = chart["bands"]
    assert (band["made_ms"], band["at_ms"][0], band["middle"][0]) == (start_ms + 55_000, start_ms + 55_000, 135.0)
    by_bed = json.loads(plot(bootstrap, "P1-01", "--last", "30m", "--json").stdout)
    assert by_bed["patient"] == "plot-one"


def test_who_is_not_there_is_told_with_who_is(sent: tuple[str, int]) -> None:
    bootstrap, _ = sent
    gone = plot(bootstrap, "plot-ona")
    assert gone.returncode == 3
    assert "plot-one" in gone.stderr
    assert not gone.stdout
    assert plot(bootstrap, "plot-one", "--vitals", "pulse").returncode == 2
    assert plot(bootstrap, "plot-one", "--last", "soon").returncode == 5
    assert plot("127.0.0.1:9", "plot-one").returncode == 4


def test_only_the_ward_s_own_partition_is_followed(sent: tuple[str, int]) -> None:
    bootstrap, start_ms = sent
    now_ms = time.time_ns() // 1_000_000
    with Log(bootstrap) as log:
        place, there = find(log, "plot-one", now_ms, 3_600_000)
        assert place is not None
        assert "plot-one" in there
        watch = read(log, place, now_ms, 3_600_000)
        assert len(watch.times[Vital.HEART_RATE]) == 60
        publisher = Publisher(bootstrap)
        publisher.publish(frame(60, start_ms + 60_000, 70.0))
        assert publisher.flush(20) == 0
        assert any(islice(follow(log, watch), 80))
    assert watch.values[Vital.HEART_RATE][-1] == 70.0
    assert len(watch.times[Vital.HEART_RATE]) == 61, "none twice"


def test_following_draws_anew_until_ctrl_c(kafka_with_topics: str, tmp_path: Path) -> None:
    feeder = Feeder(kafka_with_topics, beds=2, ticks=400)
    patient, file = feeder.hospital.roster.patients[0], tmp_path / "live.png"
    feeder.start()
    feeder.at(3)
    live = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "plot", patient, "--last", "1m", "--follow", "--to", str(file)],
        env=environ(kafka_with_topics),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert wait_until(file.exists, 200)
        first = file.read_bytes()
        assert wait_until(lambda: file.read_bytes() != first, 100), "it is drawn anew"
        assert file.read_bytes().startswith(b"\x89PNG")
    finally:
        live.send_signal(signal.SIGINT)
        told, errors = live.communicate(timeout=60)
        feeder.ticks = 0
    assert live.returncode == 130
    assert "Traceback" not in errors
    assert told.count(str(file)) >= 2
    assert [path.name for path in tmp_path.iterdir()] == ["live.png"], "no draft is left"
    feeder.join(60)


def test_a_terminal_gets_letters(sent: tuple[str, int]) -> None:
    bootstrap, _ = sent
    done = plot(bootstrap, "plot-one", "--last", "30m", "--vitals", "hr")
    assert done.returncode == 0, done.stderr
    assert "HR 139 /min" in done.stdout or "HR 70 /min" in done.stdout
    assert "!" in done.stdout, "beyond its limit"
