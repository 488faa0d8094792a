"""Alarm burden: how much the ward is asked for, by what, and whether anyone answers."""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from typing import Final

from infra.dashboards.spec import WARD, WARDS, Ask, Board, Column, Quotient, Steps, Tile

RAISED: Final = f'FROM "live"."alarms" WHERE $timeFilter AND {WARD} AND "event" = \'raised\''
LOUD: Final = "\"category\" != 'advisory'"
"""Advisories of models make no sound and ask for no answer."""
ALARMS: Final = f'FROM "live"."alarms" WHERE $timeFilter AND {WARD} AND {LOUD}'
ANSWERED: Final = f"{ALARMS} AND \"event\" = 'acknowledged'"
CALM: Final = "nothing has alarmed"
FLOOD: Final = 10
FLOOD_MIN: Final = 10
SOON_MIN: Final = 10
TRUTH: Final = (
    "Not a positive predictive value: on a ward nobody says which alarms were right. Where the truth is known, in the "
    "simulated hospital, `ward simulate --truth` and `ward replay compare --truth` tell it."
)


def _share(title: str, told: str, name: str, which: str, nothing: str) -> Tile:
    """How many of the alarms raised are ``which``."""
    return Tile(
        "number",
        title,
        told,
        (
            Ask(f'SELECT count(distinct("alert_id")) AS "{name}" {ALARMS} AND {which}', empty=nothing, hide=True),
            Ask(f'SELECT count(distinct("alert_id")) AS "raised" {RAISED} AND {LOUD}', empty=CALM, hide=True),
        ),
        quotient=Quotient(),
        unit="percentunit",
        decimals=0,
        steps=Steps("text"),
        nothing=nothing,
        width=4,
        height=5,
    )


TILES: Final = (
    Tile(
        "number",
        "Alarms per bed-day",
        "Alarms raised, over the days that beds were watched (their kept minutes over 1440; a minute is kept a few "
        "minutes after it ended). Advisories of models are left out: they make no sound.",
        (
            Ask(f'SELECT count("seq") AS "raised" {RAISED} AND "category" != \'advisory\'', empty=CALM, hide=True),
            Ask(
                f'SELECT count("state") / 1440.0 AS "days" FROM "trend"."beds" WHERE $timeFilter AND {WARD}',
                hide=True,
            ),
        ),
        quotient=Quotient(),
        decimals=1,
        steps=Steps("text"),
        nothing="not a kept minute yet",
        width=4,
        height=5,
    ),
    _share(
        "Acted upon",
        f"Share of alarms that a person acknowledged, escalated or wrote a note to within {SOON_MIN} minutes of their "
        f"onset. {TRUTH}",
        "acted",
        f'"acted" = 1 AND "since_onset_s" <= {SOON_MIN * 60}',
        "nobody has acted",
    ),
    _share(
        "Over, untouched",
        "Share of alarms that were over by themselves before anybody acknowledged, escalated or wrote a note: likely "
        "nuisances. What is in neither share was acted upon later, still stands, or began before the sink did.",
        "untouched",
        '"untouched" = 1',
        "none was over untouched",
    ),
    Tile(
        "number",
        "Time to answer",
        "From the onset of an alarm to its acknowledgement: half of them and 19 of 20 were answered within. One that "
        "sounded again and was answered again counts each time.",
        tuple(
            Ask(
                f'SELECT percentile("since_onset_s", {q}) AS "p{q}" {ANSWERED}',
                alias=f"p{q}",
                empty="nobody has answered",
            )
            for q in (50, 95)
        ),
        unit="s",
        decimals=0,
        steps=Steps("text"),
        nothing="nobody has answered",
        width=4,
        height=5,
    ),
    Tile(
        "number",
        "Flood minutes",
        f"Minutes at whose end {FLOOD} or more alarms had been raised within {FLOOD_MIN} minutes in the ward: more "
        "than one person can take in.",
        (
            Ask(
                f'SELECT count("rate") AS "minutes" FROM (SELECT moving_average(count("seq"), {FLOOD_MIN}) AS "rate" '
                f'{RAISED} AND {LOUD} GROUP BY time(1m), "ward" fill(0)) WHERE "rate" >= {FLOOD / FLOOD_MIN:g} '
                'GROUP BY "ward"',  # over all wards at once 1.8 loses some
                alias="$tag_ward",
                tags=("ward",),
                empty="no flood",
            ),
        ),
        unit="m",
        decimals=0,
        steps=Steps("text", ((1, "medium"), (60, "high"))),
        nothing="no flood",
        width=4,
        height=5,
    ),
    Tile(
        "number",
        "By category",
        "Alarms raised: of patients, of equipment, advisories of models.",
        (
            Ask(
                f'SELECT count("seq") AS "raised" {RAISED} GROUP BY "category"',
                alias="$tag_category",
                tags=("category",),
                empty=CALM,
            ),
        ),
        decimals=0,
        steps=Steps("text"),
        nothing=CALM,
        width=4,
        height=5,
    ),
    Tile(
        "curve",
        "Raised, by priority",
        "New alarms in ten minutes.",
        (
            Ask(
                f'SELECT count("seq") AS "raised" {RAISED} GROUP BY time(10m), "priority" fill(none)',
                alias="$tag_priority",
                tags=("priority",),
                empty=CALM,
            ),
        ),
        columns=tuple(Column(priority, colour=priority) for priority in ("high", "medium", "low")),
        stack=True,
        decimals=0,
        nothing=CALM,
        width=12,
        height=9,
    ),
    Tile(
        "bars",
        "What alarms",
        "Alarms raised, by condition: the few that make most of the noise are where a policy is worth a look.",
        (
            Ask(
                f'SELECT count("seq") AS "raised" {RAISED} GROUP BY "condition"',
                alias="$tag_condition",
                tags=("condition",),
                empty=CALM,
            ),
        ),
        decimals=0,
        steps=Steps("link"),
        nothing=CALM,
        width=12,
        height=9,
    ),
    Tile(
        "rows",
        "Where it alarms",
        "Beds by the alarms they raised; often a tenth of the beds makes half of the alarms.",
        (
            Ask(
                f'SELECT count("seq") AS "raised" {RAISED} GROUP BY "ward", "bed"',
                tags=("ward", "bed"),
                form="table",
                empty=CALM,
            ),
        ),
        columns=(Column("Time", hidden=True), Column("bed", link=True)),
        sort=("raised",),
        nothing=CALM,
        width=12,
        height=10,
    ),
    Tile(
        "curve",
        "Escalated and sounded again",
        "Alarms that nobody answered in time: they escalate, and sound again.",
        (
            Ask(
                f'SELECT count("seq") AS "steps" FROM "live"."alarms" WHERE $timeFilter AND {WARD} AND '
                '("event" = \'escalated\' OR "event" = \'realarmed\') GROUP BY time(10m), "event" fill(none)',
                alias="$tag_event",
                tags=("event",),
                empty="every alarm was answered in time",
            ),
        ),
        stack=True,
        decimals=0,
        nothing="every alarm was answered in time",
        width=12,
        height=10,
    ),
)

BOARD: Final = Board(
    "ward-burden",
    "Alarm burden",
    "How much the ward is asked for, by what, and whether anyone answers. Research software, not a medical device.",
    TILES,
    (WARDS,),
    since="now-24h",
    refresh="1m",
)
