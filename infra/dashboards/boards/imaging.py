"""Imaging: what arrived, what was found, what was refused and why."""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from typing import Final

from contracts.metrics import TOPIC_RECORDS
from contracts.topology import IMAGE_ARRIVALS, IMAGE_JOBS, IMAGE_RESULTS
from infra.dashboards.spec import Ask, Board, Quotient, Steps, Tile

NONE: Final = "no image was read"
WITH_IMAGES: Final = "empty until images are classified"

TILES: Final = (
    *(
        Tile(
            "number",
            title,
            about,
            (
                Ask(
                    f'SELECT last("value") AS "records" FROM "live"."{TOPIC_RECORDS.name}" '
                    f"WHERE $timeFilter AND \"topic\" = '{topic.name}'"
                ),
            ),
            decimals=0,
            steps=Steps("text"),
            nothing="nothing counted yet",
            width=4,
            height=5,
        )
        for topic, title, about in (
            (IMAGE_ARRIVALS, "Arrived", "Images stored, since the log began."),
            (
                IMAGE_JOBS,
                "Asked for",
                "Readings asked of models, since the log began. What is asked and not read waits.",
            ),
            (IMAGE_RESULTS, "Read", "Findings and refusals, since the log began."),
        )
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
        height=5,
    ),
    Tile(
        "rows",
        "Findings",
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
        width=12,
        height=10,
    ),
    Tile(
        "bars",
        "Why images were refused",
        "Refusals by reason: a rise of one reason tells of a device or a route gone wrong.",
        (
            Ask(
                'SELECT count("refused") AS "refused" FROM "live"."images" WHERE $timeFilter AND "refusal" != \'-\' '
                'GROUP BY "refusal"',
                alias="$tag_refusal",
                tags=("refusal",),
                empty=WITH_IMAGES,
            ),
        ),
        decimals=0,
        steps=Steps("link"),
        nothing="nothing was refused",
        width=12,
        height=10,
    ),
)

BOARD: Final = Board(
    "ward-imaging",
    "Imaging",
    "Images from arrival to finding or refusal. Research software, not a medical device.",
    TILES,
    since="now-24h",
    refresh="30s",
)
