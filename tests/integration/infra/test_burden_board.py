"""The burden board's numbers of a hand-made history, asked of a real InfluxDB, are those of a count by hand."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import pytest

from contracts import records as r
from contracts.settings import Settings
from infra.dashboards.boards import burden, ward
from infra.dashboards.spec import Board
from infra.launch.influx import minute_means
from models.burden import flooded
from streams.sink.gauges import SinkMetrics
from streams.sink.lines import Answers, tag
from streams.sink.writer import Writer
from tests.integration.streams import series

WARDS = ("Hand 1", "Hand 2")
SOURCE = r.SourceOffset(topic="t", partition=0, offset=1)
HOUR_MS = 3_600_000
WATCHED_MIN = 50


class Life:
    """One alarm: raised some time after its onset, perhaps answered, perhaps over, so many seconds after that."""

    def __init__(self, number: int, chance: random.Random, now_ms: int) -> None:
        self.alert_id, self.ward = f"hand-{number}", chance.choice(WARDS)
        self.raised_ms = now_ms - int(chance.choice((0.4, 0.5, 3, 9)) * HOUR_MS) - chance.randrange(600_000)
        self.onset_ms = self.raised_ms - 1000 * chance.choice((5, 15))
        self.category = chance.choice((*[r.Category.PHYSIOLOGICAL] * 3, r.Category.TECHNICAL, r.Category.ADVISORY))
        self.answered_s = chance.choice((None, None, 20, 200, 1500))
        self.over_s = chance.choice((None, 60, 2000))
        self.by = chance.choice((r.AlarmEvent.ACKNOWLEDGED, r.AlarmEvent.ACKNOWLEDGED, r.AlarmEvent.NOTE))
        if self.over_s is not None and self.answered_s is not None and self.answered_s > self.over_s:
            self.answered_s = None

    def steps(self) -> list[r.AlertTransition]:
        told: list[tuple[int, r.AlarmEvent, r.AlarmState, str | None]] = [
            (0, r.AlarmEvent.RAISED, r.AlarmState.ACTIVE, None)
        ]
        if self.answered_s is not None:
            told.append((self.answered_s, self.by, r.AlarmState.ACKNOWLEDGED, "nurse"))
        if self.over_s is not None:
            told.append((self.over_s, r.AlarmEvent.CLEARED, r.AlarmState.INACTIVE, None))
        return [
            r.AlertTransition(
                version=1, alert_id=self.alert_id, seq=seq, ward=self.ward, bed="1", patient="p", condition="c",
                category=self.category, priority=r.Priority.MEDIUM, event=event, state=state, message="m",
                at_ms=self.raised_ms + after_s * 1000, onset_ms=self.onset_ms, source=SOURCE, policy="p", actor=actor,
            )
            for seq, (after_s, event, state, actor) in enumerate(told)
        ]  # fmt: skip

    @property
    def loud(self) -> bool:
        return self.category is not r.Category.ADVISORY

    @property
    def wait_s(self) -> float | None:
        """From the onset to the answer."""
        return None if self.answered_s is None else self.answered_s + (self.raised_ms - self.onset_ms) / 1000


def asked(influx: Mapping[str, str], title: str, board: Board = burden.BOARD) -> list[float]:
    """The newest values of each question of a tile, summed over its series, for the two wards; 0 where none is."""
    tile = next(tile for tile in board.tiles if tile.title == title)
    span, wards = "time >= now() - 24h AND time <= now()", "(Hand 1|Hand 2)"
    found: list[float] = []
    for ask in tile.asks:
        influxql = ask.influxql.replace("$timeFilter", span).replace("${ward:regex}", wards)
        rows: list[dict[str, Any]] = series.ask(influx, influxql)
        found.append(sum(row["values"][-1][1] for row in rows))
    return found


@pytest.mark.influx
def test_the_burden_of_a_hand_made_history_is_what_a_count_by_hand_finds(influx: dict[str, str]) -> None:
    chance, now_ms = random.Random(7), int(time.time() * 1000)
    lives = [Life(number, chance, now_ms) for number in range(240)]
    steps = sorted((step for life in lives for step in life.steps()), key=lambda step: step.at_ms)
    answers, writer = Answers(), Writer(Settings.from_env(influx), SinkMetrics())
    writer.write([line for step in steps if step.at_ms < now_ms for line in answers.of_transition(step)])
    minute = now_ms // 60_000 * 60_000 - 3 * HOUR_MS
    beds = [f"beds,bed={bed},ward=Hand\\ 1 state=0i" for bed in range(3)]
    writer.write([f"{bed} {minute + n * 60_000}000000" for bed in beds for n in range(WATCHED_MIN)])
    writer.close()
    series.ask(influx, f"{minute_means()} WHERE time > now() - 4h AND ward = 'Hand 1' GROUP BY time(1m), *")
    loud = [life for life in lives if life.loud]
    done = [life for life in loud if life.answered_s is not None and life.raised_ms + life.answered_s * 1000 < now_ms]
    waits = sorted(life.wait_s or 0 for life in done if life.by is r.AlarmEvent.ACKNOWLEDGED)
    over = [life for life in loud if life.over_s is not None and life.raised_ms + life.over_s * 1000 < now_ms]
    raised, days = asked(influx, "Alarms per bed-day")
    assert raised == len(loud)
    assert days == pytest.approx(3 * WATCHED_MIN / 1440)
    assert asked(influx, "Acted upon") == [sum((life.wait_s or 0) <= 600 for life in done), len(loud)]
    assert asked(influx, "Over, untouched") == [sum(life.answered_s is None for life in over), len(loud)]
    half, most = asked(influx, "Time to answer")
    assert half in waits
    assert most in waits
    assert sum(wait <= half for wait in waits) >= len(waits) / 2
    assert sum(wait < half for wait in waits) <= len(waits) / 2
    assert sum(wait <= most for wait in waits) >= 0.94 * len(waits)
    assert half <= median(waits) * 1.5
    by_hand = sum(len(flooded(life.raised_ms for life in loud if life.ward == name)) for name in WARDS)
    assert by_hand > 30
    assert asked(influx, "Flood minutes") == [by_hand]
    assert sum(asked(influx, "By category")) == len(lives)


@pytest.mark.influx
def test_the_overview_counts_every_bed_of_every_ward(influx: dict[str, str]) -> None:
    writer, now_ms = Writer(Settings.from_env(influx), SinkMetrics()), int(time.time() * 1000)
    writer.write(
        [
            f"beds,bed={bed},ward={tag(name)} alarms_high={bed}i,state=4i,news2_max={bed}i {now_ms - bed * 900}000000"
            for name in WARDS
            for bed in range(1, 5)
        ]
    )
    writer.close()
    assert asked(influx, "Beds heard", ward.BOARD) == [8]
    assert asked(influx, "Highest NEWS2", ward.BOARD) == [4]
    high = next(tile.title for tile in ward.TILES if "alarms_high" in tile.asks[0].influxql)
    assert asked(influx, high, ward.BOARD) == [20]
