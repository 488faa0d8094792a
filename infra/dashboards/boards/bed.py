"""Bed detail: one bed's vitals between their limits, what is forecast, what alarmed."""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from typing import Final

from contracts.look import OF_VITAL
from contracts.records import Vital
from infra.dashboards.spec import BED, WARD, Ask, Board, Column, Steps, Tile, Variable
from models.ward.policy import load_policy

OUTLOOK: Final = "no model has spoken of this bed yet"
LIMITS: Final = load_policy(None).limits
HERE: Final = f"{WARD} AND {BED}"
UNITS: Final = {
    Vital.HEART_RATE: ("Heart rate", "suffix: /min"),
    Vital.SPO2: ("SpO2", "percent"),
    Vital.RESPIRATION: ("Respiration", "suffix: /min"),
    Vital.SYSTOLIC: ("Systolic pressure", "pressuremmhg"),
    Vital.MEAN_PRESSURE: ("Mean pressure", "pressuremmhg"),
    Vital.TEMPERATURE: ("Temperature", "celsius"),
}


def limits(vital: Vital) -> Steps:
    """The areas beyond the alarm limits of the shipped policy, extreme ones in the colour of high alarms."""
    known = LIMITS[vital]
    below = [(known.extreme_low, "high"), (known.low, "medium")]
    above = [(known.high, "medium"), (known.extreme_high, "high")]
    bounds: list[tuple[float, str]] = []
    first = "ground"
    for i, (bound, colour) in enumerate(below):
        if bound is None:
            continue
        first = colour if first == "ground" else first
        inner = next((c for b, c in below[i + 1 :] if b is not None), "ground")
        bounds.append((bound, inner))
    bounds += [(bound, colour) for bound, colour in above if bound is not None]
    return Steps(first, tuple(bounds))


def vital_tile(vital: Vital) -> Tile:
    """Measured and forecast values of one vital."""
    title, unit = UNITS[vital]
    asks = [
        Ask(
            f'SELECT mean("{vital.value}") AS "measured" FROM "live"."beds" WHERE $timeFilter AND {HERE} '
            "GROUP BY time($__interval) fill(none)",
            alias="measured",
        )
    ]
    asks += [
        Ask(
            f'SELECT last("{part}") AS "{part}" FROM "live"."forecasts" WHERE $timeFilter AND {HERE} '
            f"AND \"vital\" = '{vital.value}' GROUP BY time(1m) fill(none)",
            alias=name,
            empty="nothing is forecast yet",
        )
        for part, name in (("low", "forecast, low"), ("middle", "forecast"), ("high", "forecast, high"))
    ]
    return Tile(
        "curve",
        title,
        f"{title} as believed by the core; beyond the limits of the shipped policy the ground is coloured. The band is "
        "the newest forecast of each minute: what was said last before it came true, or will be.",
        tuple(asks),
        unit=unit,
        steps=limits(vital),
        columns=(
            Column("measured", colour=OF_VITAL[vital]),
            Column("forecast", colour="link"),
            Column("forecast, low", colour="muted"),
            Column("forecast, high", colour="muted", below="forecast, low"),
        ),
        nothing="nothing believed in this time",
        width=8,
    )


TILES: Final = (
    *(vital_tile(vital) for vital in UNITS),
    Tile(
        "curve",
        "NEWS2",
        "The interval that the score lies in: wide where components are missing or stale.",
        tuple(
            Ask(
                f'SELECT last("{field}") AS "{name}" FROM "live"."beds" WHERE $timeFilter AND {HERE} '
                "GROUP BY time($__interval) fill(none)",
                alias=name,
            )
            for field, name in (("news2_min", "at least"), ("news2_max", "at most"))
        ),
        low=0,
        high=20,
        decimals=0,
        steps=Steps("ground", ((5, "medium"), (7, "high"))),
        columns=(Column("at least", colour="muted"), Column("at most", colour="text", below="at least")),
        nothing="no score yet",
        width=8,
    ),
    Tile(
        "curve",
        "Anomaly and risks",
        "How unlike its own past the bed is, and calibrated probabilities of what may come. Advisories of models.",
        (
            Ask(
                f'SELECT max("anomaly") AS "anomaly" FROM "live"."outlooks" WHERE $timeFilter AND {HERE} '
                "GROUP BY time($__interval) fill(none)",
                alias="anomaly",
                empty=OUTLOOK,
            ),
            Ask(
                f'SELECT max("probability") AS "probability" FROM "live"."risks" WHERE $timeFilter AND {HERE} '
                'GROUP BY time($__interval), "risk" fill(none)',
                alias="$tag_risk",
                tags=("risk",),
                empty=OUTLOOK,
            ),
        ),
        unit="percentunit",
        low=0,
        high=1,
        nothing=OUTLOOK,
        width=8,
    ),
    Tile(
        "states",
        "State",
        "The most urgent open alarm of the bed.",
        (
            Ask(
                f'SELECT max("state") AS "state" FROM "live"."beds" WHERE $timeFilter AND {HERE} '
                "GROUP BY time($__interval) fill(none)",
                alias="state",
            ),
        ),
        states=True,
        nothing="no bed heard",
        width=8,
    ),
    Tile(
        "rows",
        "Steps of its alarms",
        "Every transition in this time, the newest first. Who acknowledged is in the feed's audit, never here.",
        (
            Ask(
                'SELECT "message", "condition", "priority", "event", "state", "since_onset_s" AS "since onset" '
                f'FROM "live"."alarms" WHERE $timeFilter AND {HERE} ORDER BY time DESC LIMIT 200',
                form="table",
                empty="no alarm in this time",
            ),
        ),
        columns=(Column("since onset", unit="s"), Column("message", width=240)),
        nothing="no alarm in this time",
        width=24,
    ),
)

BOARD: Final = Board(
    "ward-bed",
    "Bed",
    "One bed: vitals between their limits, forecast bands, anomaly, alarms; its images stand in the feed, since no "
    "point here knows a patient. Research software, not a medical device.",
    TILES,
    (
        Variable("ward", 'SHOW TAG VALUES FROM "live"."beds" WITH KEY = "ward"', "Ward"),
        Variable("bed", f'SHOW TAG VALUES FROM "live"."beds" WITH KEY = "bed" WHERE {WARD}', "Bed"),
    ),
    since="now-2h",
    until="now+1h",
    rotates=False,
    page=("This bed's images, in the feed", "/#bed=${ward:percentencode}%2F${bed:percentencode}"),
    alarms=(
        'SELECT "message", "priority", "condition" FROM "live"."alarms" '
        f"WHERE $timeFilter AND {HERE} AND \"event\" = 'raised'"
    ),
)
