"""Imaging: what arrived, what waits, how long it took, what was found, what was refused and why."""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from typing import Any, Final

from contracts import metrics as m
from contracts.topology import IMAGE_ARRIVALS, IMAGE_JOBS, IMAGE_RESULTS, Topic
from infra.dashboards.boards.platform import EVERY, level, rate
from infra.dashboards.spec import Ask, Board, Quotient, Steps, Tile

NONE: Final = "no image was read"
WITH_IMAGES: Final = "empty until images are classified"
WITH_GATEWAY: Final = "there is no gateway here"
WAITS: Final = f'FROM "live"."{m.GROUP_BEHIND.name}" WHERE $timeFilter AND "topic" = \'{IMAGE_JOBS.name}\''


def _count(topic: Topic[Any], title: str, about: str) -> Tile:
    """How many records a topic has ever had."""
    ask = Ask(
        f'SELECT last("value") AS "records" FROM "live"."{m.TOPIC_RECORDS.name}" '
        f"WHERE $timeFilter AND \"topic\" = '{topic.name}'"
    )
    nothing = "nothing counted yet"
    return Tile("number", title, about, (ask,), decimals=0, steps=Steps("text"), nothing=nothing, width=4, height=5)


COUNTS: Final = (
    _count(IMAGE_ARRIVALS, "Arrived", "Images stored, since the log began."),
    _count(IMAGE_RESULTS, "Read", "Findings and refusals, since the log began."),
    Tile(
        "number",
        "Waiting",
        "Readings asked of models and not yet done: the queue of the image worker.",
        (Ask(f'SELECT last("value") AS "jobs" {WAITS}', empty=WITH_IMAGES),),
        decimals=0,
        steps=Steps("text", ((20, "medium"), (200, "high"))),
        nothing="nothing asked yet",
        width=4,
        height=5,
    ),
    Tile(
        "number",
        "Refused share",
        "Images that the quality and scope gates kept from a model, over those read.",
        (
            Ask(
                'SELECT sum("refused") AS "refused" FROM "live"."images" WHERE $timeFilter',
                empty=WITH_IMAGES,
                hide=True,
            ),
            Ask(
                'SELECT count("refused") AS "read" FROM "live"."images" WHERE $timeFilter', empty=WITH_IMAGES, hide=True
            ),
        ),
        quotient=Quotient(),
        unit="percentunit",
        decimals=0,
        steps=Steps("text"),
        nothing=NONE,
        width=4,
        height=5,
    ),
    Tile(
        "number",
        "On the radiologist's list",
        "Findings that nobody has decided: open, and those that were escalated because nobody did in time.",
        (
            Ask(
                'SELECT sum("standing") AS "findings" FROM (SELECT last("value") AS "standing" FROM '
                f'"live"."{m.IMAGE_FINDINGS_STANDING.name}" WHERE $timeFilter GROUP BY "state", "priority") '
                'GROUP BY "state"',
                alias="$tag_state",
                tags=("state",),
                empty="no finding yet",
            ),
        ),
        decimals=0,
        steps=Steps("text"),
        nothing="no finding yet",
        width=8,
        height=5,
    ),
)

CURVES: Final = (
    Tile(
        "curve",
        "Arrival to result",
        "From the gateway's receipt of an image to the result of its model: half of them, and 19 of 20.",
        tuple(
            Ask(
                f'SELECT percentile("latency_s", {q}) AS "p{q}" FROM "live"."images" WHERE $timeFilter '
                "GROUP BY time(1m) fill(none)",
                alias=f"p{q}",
                empty=WITH_IMAGES,
            )
            for q in (50, 95)
        ),
        unit="s",
        low=0,
        nothing=NONE,
        width=8,
    ),
    Tile(
        "curve",
        "Queue",
        "Readings asked of models and not yet done.",
        (Ask(f'SELECT max("value") AS "jobs" {WAITS} {EVERY} fill(none)', alias="jobs", empty=WITH_IMAGES),),
        low=0,
        decimals=0,
        nothing="nothing asked yet",
        width=8,
    ),
    Tile(
        "curve",
        "Gateway, images a second",
        "What came in, by what became of it: stored, again (the same bytes), refused, failed (HDFS or Kafka away).",
        (rate(m.IMAGES_TAKEN, ("outcome", "source"), empty=WITH_GATEWAY),),
        unit="cps",
        low=0,
        stack=True,
        nothing=WITH_GATEWAY,
        width=8,
    ),
    Tile(
        "curve",
        "Time at the gateway",
        "From an image's last byte to stored, told and answered: de-identification, HDFS, Kafka. 99 of 100.",
        (
            Ask(
                f'SELECT max("p99") AS "p99" FROM "live"."{m.IMAGE_INTAKE_SECONDS.name}" WHERE $timeFilter {EVERY}, '
                '"source" fill(none)',
                alias="$tag_source",
                tags=("source",),
                empty=WITH_GATEWAY,
            ),
        ),
        unit="s",
        low=0,
        nothing=WITH_GATEWAY,
        width=8,
    ),
    Tile(
        "curve",
        "Time to read",
        "Fetching, decoding, gate, model and heat map of one job, by model. 99 of 100.",
        (
            Ask(
                f'SELECT max("p99") AS "p99" FROM "live"."{m.IMAGE_READ_SECONDS.name}" WHERE $timeFilter {EVERY}, '
                '"model" fill(none)',
                alias="$tag_model",
                tags=("model",),
                empty=WITH_IMAGES,
            ),
        ),
        unit="s",
        low=0,
        nothing=NONE,
        width=8,
    ),
    Tile(
        "curve",
        "Read, by model",
        "Findings and refusals in ten minutes.",
        (
            Ask(
                'SELECT count("refused") AS "read" FROM "live"."images" WHERE $timeFilter '
                'GROUP BY time(10m), "model" fill(none)',
                alias="$tag_model",
                tags=("model",),
                empty=WITH_IMAGES,
            ),
        ),
        stack=True,
        decimals=0,
        nothing=NONE,
        width=8,
    ),
)

TABLES: Final = (
    Tile(
        "rows",
        "Results",
        "By model and label, with the mean calibrated probability.",
        (
            Ask(
                'SELECT count("probability") AS "images", mean("probability") AS "mean probability" '
                'FROM "live"."images" WHERE $timeFilter GROUP BY "model", "label"',
                tags=("model", "label"),
                form="table",
                empty=WITH_IMAGES,
            ),
        ),
        sort=("images",),
        nothing=NONE,
        width=8,
        height=9,
    ),
    Tile(
        "bars",
        "Why images were refused",
        "By the gateway, and by the gates before a model: a rise of one reason tells of a device gone wrong.",
        (
            Ask(
                'SELECT count("size") AS "refused" FROM "live"."refusals" WHERE $timeFilter GROUP BY "reason"',
                alias="gateway: $tag_reason",
                tags=("reason",),
                empty=WITH_IMAGES,
            ),
            Ask(
                'SELECT count("refused") AS "refused" FROM "live"."images" WHERE $timeFilter AND "refusal" != \'-\' '
                'GROUP BY "refusal"',
                alias="model: $tag_refusal",
                tags=("refusal",),
                empty=WITH_IMAGES,
            ),
        ),
        decimals=0,
        steps=Steps("link"),
        nothing="nothing was refused",
        width=8,
        height=9,
    ),
    Tile(
        "bars",
        "What became of findings",
        "Changes on the radiologist's list: raised, escalated, accepted, rejected, withdrawn by a later revision.",
        (
            Ask(
                'SELECT count("seq") AS "changes" FROM "live"."findings" WHERE $timeFilter GROUP BY "state"',
                alias="$tag_state",
                tags=("state",),
                empty="no finding yet",
            ),
        ),
        decimals=0,
        steps=Steps("link"),
        nothing="no finding yet",
        width=8,
        height=9,
    ),
    Tile(
        "curve",
        "Tried again",
        "Readings that failed and were asked for again, by reason: HDFS away, a worker that was killed.",
        (rate(m.IMAGE_RETRIES, ("reason",), empty="none"),),
        unit="cps",
        low=0,
        nothing="none",
        width=12,
        height=6,
    ),
    Tile(
        "curve",
        "DICOM results that wait",
        "Structured reports and captures in the spool, until the archive that wants them takes them.",
        (level(m.RETURNS_WAITING, ("process",), empty="nothing is sent back"),),
        decimals=0,
        low=0,
        nothing="nothing is sent back",
        width=12,
        height=6,
    ),
)

BOARD: Final = Board(
    "ward-imaging",
    "Imaging",
    "Images from arrival to finding or refusal. Research software, not a medical device.",
    COUNTS + CURVES + TABLES,
    since="now-24h",
    refresh="30s",
    page=("Radiologist's list", "/images"),
)
