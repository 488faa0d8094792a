"""Ward overview: who needs someone, the worst first."""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from typing import Final

from infra.dashboards.spec import NOW, WARD, WARDS, Ask, Board, Column, Steps, Tile

LATEST: Final = f'FROM "live"."beds" WHERE {NOW} AND {WARD} GROUP BY "ward", "bed"'
OUTLOOK: Final = "no model has spoken yet"


def open_alarms(priority: str) -> Tile:
    """How many alarms of a priority are open now."""
    return Tile(
        "number",
        f"Open, {priority}",
        f"Open alarms of {priority} priority over all chosen wards, as of the last minute."
        if priority != "technical"
        else "Open technical alarms: probes, cables, silence. They speak of equipment, not of patients.",
        (Ask(f'SELECT sum("n") AS "open" FROM (SELECT last("alarms_{priority}") AS "n" {LATEST})'),),
        steps=Steps("muted", ((1, priority),)),
        decimals=0,
        width=4,
        height=4,
        nothing="no bed heard",
    )


TILES: Final = (
    Tile(
        "number",
        "Beds heard",
        "Beds of which anything was heard or known in the last minute.",
        (Ask(f'SELECT count("n") AS "beds" FROM (SELECT last("state") AS "n" {LATEST})'),),
        steps=Steps("text"),
        decimals=0,
        width=4,
        height=4,
        nothing="no bed heard",
    ),
    *(open_alarms(priority) for priority in ("high", "medium", "low", "technical")),
    Tile(
        "number",
        "Highest NEWS2",
        "The upper end of the NEWS2 interval of the worst bed: what is missing may be as bad as that.",
        (Ask(f'SELECT max("n") AS "NEWS2" FROM (SELECT last("news2_max") AS "n" {LATEST})'),),
        steps=Steps("text", ((5, "medium"), (7, "high"))),
        decimals=0,
        width=4,
        height=4,
        nothing="no score yet",
    ),
    Tile(
        "rows",
        "Worst first",
        "Every bed by its most urgent open alarm, then by NEWS2. A bed leads to its own board; the feed tells why.",
        (
            Ask(
                'SELECT last("state") AS "alarm", last("news2_max") AS "NEWS2", last("heart_rate") AS "heart rate", '
                'last("spo2") AS "SpO2", last("respiration") AS "respiration", last("systolic") AS "systolic", '
                f'last("temperature") AS "temperature", last("silent_s") AS "heard" {LATEST}',
                tags=("ward", "bed"),
                form="table",
            ),
        ),
        columns=(
            Column("Time", hidden=True),
            Column("bed", link=True),
            Column("alarm", states=True, width=130),
            Column("heart rate", unit="suffix: /min", colour="heart-rate"),
            Column("SpO2", unit="percent", colour="spo2"),
            Column("respiration", unit="suffix: /min", colour="respiration"),
            Column("systolic", unit="pressuremmhg", colour="pressure"),
            Column("temperature", unit="celsius", colour="temperature"),
            Column("heard", unit="s"),
        ),
        sort=("alarm", "NEWS2"),
        nothing="no bed heard",
        width=12,
        height=14,
    ),
    Tile(
        "states",
        "State of every bed",
        "The most urgent open alarm of each bed over time; advisories of models do not count.",
        (
            Ask(
                f'SELECT max("state") AS "state" FROM "live"."beds" WHERE $timeFilter AND {WARD} '
                'GROUP BY time($__interval), "ward", "bed" fill(none)',
                alias="$tag_ward $tag_bed",
                tags=("ward", "bed"),
            ),
        ),
        states=True,
        nothing="no bed heard",
        width=12,
        height=14,
    ),
    Tile(
        "curve",
        "NEWS2 of every bed",
        "The upper end of the interval. From 5 on an urgent, from 7 on an emergency response (RCP 2017).",
        (
            Ask(
                f'SELECT max("news2_max") AS "NEWS2" FROM "live"."beds" WHERE $timeFilter AND {WARD} '
                'GROUP BY time($__interval), "ward", "bed" fill(none)',
                alias="$tag_ward $tag_bed",
                tags=("ward", "bed"),
            ),
        ),
        low=0,
        high=20,
        decimals=0,
        steps=Steps("line", ((5, "medium"), (7, "high"))),
        nothing="no score yet",
        width=8,
    ),
    Tile(
        "curve",
        "Alarms raised a minute",
        "New alarms by priority, all categories.",
        (
            Ask(
                f'SELECT count("seq") AS "raised" FROM "live"."alarms" WHERE "event" = \'raised\' AND {WARD} '
                'AND $timeFilter GROUP BY time(1m), "priority" fill(none)',
                alias="$tag_priority",
                tags=("priority",),
                empty="nothing has alarmed",
            ),
        ),
        columns=tuple(Column(priority, colour=priority) for priority in ("high", "medium", "low")),
        stack=True,
        decimals=0,
        nothing="nothing has alarmed",
        width=8,
    ),
    Tile(
        "curve",
        "How unusual each bed is",
        "Anomaly score of each bed against its own past, in [0, 1]. An advisory of a model, not an alarm.",
        (
            Ask(
                f'SELECT max("anomaly") AS "anomaly" FROM "live"."outlooks" WHERE $timeFilter AND {WARD} '
                'GROUP BY time($__interval), "ward", "bed" fill(none)',
                alias="$tag_ward $tag_bed",
                tags=("ward", "bed"),
                empty=OUTLOOK,
            ),
        ),
        unit="percentunit",
        low=0,
        high=1,
        nothing=OUTLOOK,
        width=8,
    ),
)

BOARD: Final = Board(
    "ward-overview",
    "Ward overview",
    "Who needs someone: every bed of the chosen wards, the worst first. Research software, not a medical device.",
    TILES,
    (WARDS,),
    since="now-30m",
    refresh="5s",
)
