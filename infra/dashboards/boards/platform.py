"""Platform: whether the machinery itself is well. One tile a declared metric; lag, latency, loss, restarts first."""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from typing import Final

from contracts import metrics as m
from contracts.metrics import Metric
from infra.dashboards.spec import Ask, Board, Column, Steps, Tile

QUIET: Final = "nothing came lately"
NO_LAKE: Final = "there is no lake here, or nothing came lately"
EVERY: Final = "GROUP BY time($__interval)"


def quoted(tags: tuple[str, ...]) -> str:
    """Names as InfluxQL wants them."""
    return ", ".join(f'"{name}"' for name in tags)


def rate(metric: Metric, by: tuple[str, ...] = (), empty: str | None = None) -> Ask:
    """A counter a second."""
    tags = (*by, "process") if "process" not in by else by
    return Ask(
        f'SELECT non_negative_derivative(last("value"), 1s) AS "rate" FROM "live"."{metric.name}" WHERE $timeFilter '
        f"{EVERY}, {quoted(tags)} fill(none)",
        alias=" ".join(f"$tag_{tag}" for tag in (by or ("process",))),
        tags=tags,
        empty=empty,
    )


def level(metric: Metric, by: tuple[str, ...], empty: str | None = None) -> Ask:
    """A gauge, or a counter as it stands."""
    return Ask(
        f'SELECT last("value") AS "value" FROM "live"."{metric.name}" WHERE $timeFilter {EVERY}, '
        f"{quoted(by)} fill(none)",
        alias=" ".join(f"$tag_{tag}" for tag in by),
        tags=by,
        empty=empty,
    )


def spread(metric: Metric, empty: str | None = None) -> tuple[Ask, ...]:
    """Median and 99th percentile of a histogram, as estimated from what came between two looks."""
    return tuple(
        Ask(
            f'SELECT max("{q}") AS "{q}" FROM "live"."{metric.name}" WHERE $timeFilter {EVERY} fill(none)',
            alias=q,
            empty=empty,
        )
        for q in ("p50", "p99")
    )


TILES: Final = (
    Tile(
        "states",
        "Processes",
        "1 while a process tells its metrics.",
        (level(m.PROCESS_UP, ("process",)),),
        decimals=0,
        steps=Steps("high", ((1, "heart-rate"),)),
        nothing="the sink has not looked yet",
        width=8,
        height=6,
    ),
    Tile(
        "number",
        "Restarts",
        "Times that a process was seen to count from zero again, since the sink runs.",
        (
            Ask(
                f'SELECT last("value") AS "restarts" FROM "live"."{m.PROCESS_RESTARTS.name}" WHERE $timeFilter '
                'GROUP BY "process"',
                alias="$tag_process",
                tags=("process",),
                empty="none",
            ),
        ),
        decimals=0,
        steps=Steps("text", ((1, "medium"),)),
        nothing="none",
        width=4,
        height=6,
    ),
    Tile(
        "number",
        "Dead letters",
        "Records or parts of them that could not be read, by reason; `ward dlq list` shows them.",
        (
            Ask(
                f'SELECT last("value") AS "letters" FROM "live"."{m.DEAD_LETTERS.name}" WHERE $timeFilter '
                'GROUP BY "reason"',
                alias="$tag_reason",
                tags=("reason",),
                empty="all could be read",
            ),
        ),
        decimals=0,
        steps=Steps("text", ((1, "medium"), (100, "high"))),
        nothing="all could be read",
        width=6,
        height=6,
    ),
    Tile(
        "number",
        "Refused by InfluxDB",
        "Points that can never be stored, by reason.",
        (
            Ask(
                f'SELECT last("value") AS "points" FROM "live"."{m.SINK_REFUSED.name}" WHERE $timeFilter '
                'GROUP BY "reason"',
                alias="$tag_reason",
                tags=("reason",),
                empty="none",
            ),
        ),
        decimals=0,
        steps=Steps("text", ((1, "medium"),)),
        nothing="none",
        width=6,
        height=6,
    ),
    Tile(
        "curve",
        "Latency, log to outputs",
        "From the broker's append of a frame until scores and alarms of it are acknowledged.",
        spread(m.LOG_DELAY_SECONDS),
        unit="s",
        low=0,
        nothing=QUIET,
        width=8,
    ),
    Tile(
        "curve",
        "Latency, log to screens",
        "From the broker's append of a score or alarm to the feed's fan-out.",
        spread(m.FEED_DELAY_SECONDS, empty="nobody watches the feed"),
        unit="s",
        low=0,
        nothing="nobody watches the feed",
        width=8,
    ),
    Tile(
        "curve",
        "Behind",
        "Records of each topic that its reader has not committed: the worker commits twice a second, the sink once.",
        (level(m.GROUP_BEHIND, ("group", "topic")),),
        low=0,
        decimals=0,
        nothing=QUIET,
        width=8,
    ),
    Tile(
        "curve",
        "Readings a second",
        "Readings that the core has seen, by their quality.",
        (rate(m.READINGS, ("quality",)),),
        unit="cps",
        low=0,
        stack=True,
        nothing=QUIET,
        width=8,
    ),
    Tile(
        "curve",
        "Records a second, by topic",
        "What is written to each topic; patient_vitals is never silent, its clock ticks every second.",
        (
            Ask(
                f'SELECT non_negative_derivative(last("value"), 1s) AS "rate" FROM "live"."{m.TOPIC_RECORDS.name}" '
                f'WHERE $timeFilter {EVERY}, "topic" fill(none)',
                alias="$tag_topic",
                tags=("topic",),
            ),
        ),
        unit="cps",
        low=0,
        nothing=QUIET,
        width=8,
    ),
    Tile(
        "curve",
        "Frames and scores a second",
        "Frames taken from the log by kind, and bed scores written.",
        (rate(m.FRAMES, ("kind",)), rate(m.SCORES)),
        unit="cps",
        low=0,
        nothing=QUIET,
        width=8,
    ),
    Tile(
        "curve",
        "Time in the core",
        "One frame through the pure core.",
        spread(m.STEP_SECONDS),
        unit="s",
        low=0,
        nothing=QUIET,
        width=6,
    ),
    Tile(
        "curve",
        "Time for snapshots",
        "Writing the state of one partition.",
        spread(m.SNAPSHOT_SECONDS, empty="no snapshot in this time"),
        unit="s",
        low=0,
        nothing="no snapshot in this time",
        width=6,
    ),
    Tile(
        "curve",
        "Points a second into InfluxDB",
        "Given by the sink, by measurement.",
        (rate(m.SINK_POINTS, ("measurement",)),),
        unit="cps",
        low=0,
        stack=True,
        nothing=QUIET,
        width=6,
    ),
    Tile(
        "curve",
        "Time for a batch of points",
        "One request to InfluxDB; the second axis of trust in this very wall.",
        (*spread(m.SINK_WRITE_SECONDS), level(m.SINK_FAILING, ("process",))),
        columns=(Column("sink", title="failing tries", colour="high", unit="short"),),
        unit="s",
        low=0,
        nothing=QUIET,
        width=6,
    ),
    Tile(
        "curve",
        "The feed's clients",
        "Connected, and cut because they read too slowly.",
        (level(m.FEED_CLIENTS, ("process",)), rate(m.FEED_EVENTS, ("event",), empty="nobody watches the feed")),
        low=0,
        nothing=QUIET,
        width=12,
    ),
    Tile(
        "curve",
        "Re-read and skipped",
        "Records re-read from the log after a gap or restart, and records delivered again and skipped.",
        (rate(m.GAPS_REREAD), rate(m.DUPLICATES_SKIPPED)),
        unit="cps",
        low=0,
        nothing=QUIET,
        width=12,
    ),
    Tile(
        "curve",
        "Lake delay",
        "From the broker's append until a record can be read in the lake; the promise is 25 s for 95 of 100.",
        spread(m.LAKE_DELAY_SECONDS, empty=NO_LAKE),
        unit="s",
        low=0,
        steps=Steps("ground", ((25, "medium"), (120, "high"))),
        nothing=NO_LAKE,
        width=8,
    ),
    Tile(
        "curve",
        "Rows into the lake a second",
        "Published, by table.",
        (rate(m.LAKE_ROWS, ("table",), empty=NO_LAKE),),
        unit="cps",
        low=0,
        stack=True,
        nothing=NO_LAKE,
        width=8,
    ),
    Tile(
        "curve",
        "Waiting for the lake",
        "Records of the log that the lake has not read; a batch takes up to 12,000.",
        (level(m.LAKE_BEHIND, ("process",), empty=NO_LAKE),),
        low=0,
        decimals=0,
        nothing=NO_LAKE,
        width=8,
    ),
    Tile(
        "curve",
        "Time for a batch of the lake",
        "Writing and publishing one batch.",
        spread(m.LAKE_BATCH_SECONDS, empty=NO_LAKE),
        unit="s",
        low=0,
        nothing=NO_LAKE,
        width=12,
    ),
    Tile(
        "number",
        "The lake's troubles",
        "Tries that failed, records that no schema fits (landed as bytes), offsets that were gone before it read them.",
        tuple(
            Ask(
                f'SELECT last("value") AS "{says}" FROM "live"."{metric.name}" WHERE $timeFilter',
                alias=says,
                empty=NO_LAKE,
            )
            for metric, says in (
                (m.LAKE_FAILURES, "failed tries"),
                (m.LAKE_UNREADABLE, "unreadable"),
                (m.LAKE_LOST, "lost"),
            )
        ),
        decimals=0,
        steps=Steps("text", ((1, "medium"),)),
        nothing=NO_LAKE,
        width=12,
    ),
)

BOARD: Final = Board(
    "ward-platform",
    "Platform",
    "Whether the machinery is well: processes, lag, latency, dead letters, the lake, restarts.",
    TILES,
    since="now-1h",
    refresh="10s",
)
