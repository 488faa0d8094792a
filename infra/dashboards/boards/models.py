"""Models: who speaks, how well lately, what they warn of, whether the ward has drifted from what they learned."""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from typing import Final

from contracts import metrics as m
from infra.dashboards.spec import WARD, WARDS, Ask, Board, Column, Quotient, Steps, Tile

SILENT: Final = "no model has spoken yet"
SKILL: Final = "no forecast has come true yet"

TILES: Final = (
    Tile(
        "rows",
        "Who speaks",
        "The version in force of each model, by ward; a version is the beginning of its manifest's sha256.",
        (
            Ask(
                f'SELECT last("version") AS "version" FROM "live"."models" WHERE $timeFilter AND {WARD} '
                'GROUP BY "model", "ward"',
                tags=("model", "ward"),
                form="table",
                empty=SILENT,
            ),
        ),
        columns=(Column("Time", title="since", unit="dateTimeAsIso"),),
        nothing=SILENT,
        width=8,
    ),
    Tile(
        "number",
        "Forecasts by the LSTM",
        "Share of forecasts that the trained network makes; the rest fell back to persistence, better lately.",
        (
            Ask(
                f'SELECT sum("lstm") AS "lstm" FROM "live"."skills" WHERE $timeFilter AND {WARD}',
                empty=SILENT,
                hide=True,
            ),
            Ask(
                f'SELECT sum("beds") AS "beds" FROM "live"."skills" WHERE $timeFilter AND {WARD}',
                empty=SILENT,
                hide=True,
            ),
        ),
        quotient=Quotient(),
        unit="percentunit",
        decimals=0,
        steps=Steps("text"),
        nothing=SILENT,
        width=4,
    ),
    Tile(
        "curve",
        "Skill against persistence",
        "1 - MAE / MAE of persistence, of forecasts that came true lately, by vital and horizon in seconds. Below zero "
        "the forecaster falls back to persistence.",
        (
            Ask(
                f'SELECT mean("skill") AS "skill" FROM "live"."skills" WHERE $timeFilter AND {WARD} '
                'GROUP BY time($__interval), "vital", "horizon" fill(none)',
                alias="$tag_vital, $tag_horizon s",
                tags=("vital", "horizon"),
                empty=SKILL,
            ),
        ),
        high=1,
        steps=Steps("medium", ((0, "ground"),)),
        nothing=SKILL,
        width=12,
    ),
    Tile(
        "curve",
        "Anomaly scores",
        "Median and 95th percentile over beds. They should lie still; a rise of the median is drift, not illness.",
        tuple(
            Ask(
                f'SELECT percentile("anomaly", {q}) AS "p{q}" FROM "live"."outlooks" WHERE $timeFilter AND {WARD} '
                "GROUP BY time($__interval) fill(none)",
                alias=f"p{q}",
                empty=SILENT,
            )
            for q in (50, 95)
        ),
        unit="percentunit",
        low=0,
        high=1,
        nothing=SILENT,
        width=8,
    ),
    Tile(
        "curve",
        "Learning and drift",
        "Share of beds whose baseline is learning now, and vitals found to have changed their level.",
        (
            Ask(
                f'SELECT mean("learning") AS "learning" FROM "live"."outlooks" WHERE $timeFilter AND {WARD} '
                "GROUP BY time($__interval) fill(none)",
                alias="learning, share",
                empty=SILENT,
            ),
            Ask(
                f'SELECT sum("drift") AS "drift" FROM "live"."outlooks" WHERE $timeFilter AND {WARD} '
                "GROUP BY time($__interval) fill(none)",
                alias="changes of level",
                empty=SILENT,
            ),
        ),
        nothing=SILENT,
        width=8,
    ),
    Tile(
        "curve",
        "Risks",
        "95th percentile over beds of each calibrated probability.",
        (
            Ask(
                f'SELECT percentile("probability", 95) AS "p95" FROM "live"."risks" WHERE $timeFilter AND {WARD} '
                'GROUP BY time($__interval), "risk" fill(none)',
                alias="$tag_risk",
                tags=("risk",),
                empty=SILENT,
            ),
        ),
        unit="percentunit",
        low=0,
        high=1,
        nothing=SILENT,
        width=8,
    ),
    Tile(
        "curve",
        "Advisories",
        "Advisories raised in ten minutes, by condition.",
        (
            Ask(
                f'SELECT count("seq") AS "raised" FROM "live"."alarms" WHERE $timeFilter AND {WARD} '
                'AND "category" = \'advisory\' AND "event" = \'raised\' GROUP BY time(10m), "condition" fill(none)',
                alias="$tag_condition",
                tags=("condition",),
                empty="no model has warned",
            ),
        ),
        stack=True,
        decimals=0,
        nothing="no model has warned",
        width=8,
    ),
    Tile(
        "curve",
        "Time of an ask",
        "Asking, answering and heeding for one ward, and how long a tick's records were held up by it.",
        (
            Ask(
                f'SELECT max("p99") AS "p99" FROM "live"."{m.MODEL_SECONDS.name}" WHERE $timeFilter '
                "GROUP BY time($__interval) fill(none)",
                alias="one ward, p99",
                empty=SILENT,
            ),
            Ask(
                f'SELECT max("p99") AS "p99" FROM "live"."{m.MODEL_WAIT_SECONDS.name}" WHERE $timeFilter '
                "GROUP BY time($__interval) fill(none)",
                alias="held up, p99",
                empty=SILENT,
            ),
        ),
        unit="s",
        low=0,
        nothing=SILENT,
        width=8,
    ),
    Tile(
        "number",
        "Models that failed",
        "Versions refused or not to be had, and asks without an answer, since the worker runs.",
        (
            Ask(
                f'SELECT last("value") AS "refused" FROM "live"."{m.MODEL_REFUSALS.name}" WHERE $timeFilter '
                'GROUP BY "model"',
                alias="$tag_model, refused",
                tags=("model",),
                empty="none",
            ),
            Ask(
                f'SELECT last("value") AS "faults" FROM "live"."{m.MODEL_FAULTS.name}" WHERE $timeFilter '
                'GROUP BY "model"',
                alias="$tag_model, without an answer",
                tags=("model",),
                empty="none",
            ),
        ),
        decimals=0,
        steps=Steps("text", ((1, "medium"),)),
        nothing="none",
        width=4,
    ),
    Tile(
        "words",
        "Coverage and calibration",
        "Where they are told.",
        words=(
            "How often values fall inside their bands, and how well probabilities are calibrated, needs labels and "
            "long stays: the **model cards** tell both, each with its interval (`ward model card NAME`). Live, the "
            "width of the bands is adapted by conformal prediction; the skill above is measured on what has come true."
        ),
        width=4,
    ),
)

BOARD: Final = Board(
    "ward-models",
    "Models",
    "Who speaks, how well lately, what is warned of. Research software, not a medical device.",
    TILES,
    (WARDS,),
    since="now-6h",
    refresh="30s",
)
