"""Models: who speaks, how well lately, what they warn of, whether the ward has drifted from what they learned."""

# ruff: noqa: S608 - every word of these questions is ours; what people choose goes through Grafana's :regex

from __future__ import annotations

from typing import Final

from contracts import metrics as m
from infra.dashboards.spec import WARD, WARDS, Ask, Board, Column, Quotient, Steps, Tile

SILENT: Final = "no model has spoken yet"
SKILL: Final = "no forecast has come true yet"
WAITS: Final = "no forecast has come true yet: the first five minutes after it is told"
RISKS_WAIT: Final = "no risk's four hours are over yet"

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
        width=8,
    ),
    Tile(
        "curve",
        "Coverage of the 90 % band",
        "Share of the values that came true inside the outer band that was told for them, by vital, in half an hour, "
        "beside what is promised. Values of patients who left or were not measured then are in neither. A vital at its "
        "ceiling (SpO2 of 100) lies inside more often than promised.",
        (
            Ask(
                f'SELECT sum("inside") / sum("n") AS "inside" FROM "live"."coverage" WHERE $timeFilter AND {WARD} '
                'AND "band" = \'90\' GROUP BY time(30m), "vital" fill(none)',
                alias="$tag_vital",
                tags=("vital",),
                empty=WAITS,
            ),
            Ask(
                f'SELECT sum("nominal") / sum("n") AS "promised" FROM "live"."coverage" WHERE $timeFilter AND {WARD} '
                "AND \"band\" = '90' GROUP BY time(30m) fill(none)",
                alias="promised",
                empty=WAITS,
            ),
        ),
        unit="percentunit",
        low=0,
        high=1,
        steps=Steps("medium", ((0.8, "ground"),)),
        columns=(Column("promised", colour="link"),),
        nothing=WAITS,
        width=12,
    ),
    Tile(
        "rows",
        "Bands by vital and horizon",
        "Of the forecasts told whose moment lies in the span shown: share inside each band, promised share, mean width "
        "in the vital's unit. Bands are conformal: their width follows what comes true in each ward.",
        (
            Ask(
                'SELECT sum("inside") / sum("n") AS "inside", sum("nominal") / sum("n") AS "promised", '
                'sum("width") / sum("n") AS "width", sum("n") AS "forecasts" FROM "live"."coverage" '
                f'WHERE $timeFilter AND {WARD} GROUP BY "vital", "horizon", "band"',
                tags=("vital", "horizon", "band"),
                form="table",
                empty=WAITS,
            ),
        ),
        columns=(
            Column("Time", hidden=True),
            Column("horizon", title="seconds ahead"),
            Column("band", title="band, %"),
            Column("inside", unit="percentunit"),
            Column("promised", unit="percentunit"),
        ),
        nothing=WAITS,
        width=12,
    ),
    Tile(
        "bars",
        "Calibration of quantiles",
        "Share of the values that lay below each quantile told for them (one that lay on it counts half): the bar of "
        "25 % should be 25 % long. Longer everywhere: forecasts too high; shorter everywhere: too low.",
        (
            Ask(
                f'SELECT sum("under") / sum("n") AS "under" FROM "live"."calibration" WHERE $timeFilter AND {WARD} '
                'GROUP BY "level"',
                alias="below the $tag_level % quantile",
                tags=("level",),
                empty=WAITS,
            ),
        ),
        unit="percentunit",
        decimals=0,
        high=1,
        steps=Steps("link"),
        nothing=WAITS,
        width=6,
    ),
    Tile(
        "rows",
        "Errors beside persistence",
        "What was told, whoever spoke: mean absolute error of the median, of the value last seen (persistence), skill "
        "(1 - error / persistence; below zero persistence would have been better), mean pinball loss over the levels, "
        "in the vital's unit. Counted by the sink from the topics, not by the models themselves.",
        (
            Ask(
                'SELECT 1 - sum("error") / sum("naive") AS "skill", sum("error") / sum("n") AS "error", '
                'sum("naive") / sum("n") AS "persistence", sum("pinball") / sum("n") AS "pinball", '
                'sum("n") AS "forecasts" FROM "live"."hindsight" '
                f'WHERE $timeFilter AND {WARD} GROUP BY "vital", "horizon", "engine"',
                tags=("vital", "horizon", "engine"),
                form="table",
                empty=WAITS,
            ),
        ),
        columns=(Column("Time", hidden=True), Column("horizon", title="seconds ahead")),
        nothing=WAITS,
        width=10,
    ),
    Tile(
        "rows",
        "Reliability of risks",
        "Risks whose four hours are over, by the probability that was told: the mean of it, and the share in which an "
        "hour came that met the condition. Where patients are treated because of a risk, it comes true less often.",
        (
            Ask(
                'SELECT sum("told") / sum("n") AS "told", sum("came") / sum("n") AS "came", '
                'sum("brier") / sum("n") AS "Brier", sum("n") AS "risks" FROM "live"."reliability" '
                f'WHERE $timeFilter AND {WARD} GROUP BY "risk", "chance"',
                tags=("risk", "chance"),
                form="table",
                empty=RISKS_WAIT,
            ),
        ),
        columns=(
            Column("Time", hidden=True),
            Column("chance", title="told, class"),
            Column("told", unit="percentunit"),
            Column("came", unit="percentunit"),
        ),
        nothing=RISKS_WAIT,
        width=8,
    ),
    Tile(
        "words",
        "Not told here",
        "What cannot be seen on the ward.",
        words=(
            "Death in hospital, the chance of crossing an alarm limit (limits stand in the policy, not in the topics) "
            "and whether an anomaly was one have no outcome in the topics: the **model cards** tell of them on "
            "labelled stays, with intervals (`ward model card NAME`). A killed sink may leave out some, and "
            "counts none twice."
        ),
        width=24,
        height=3,
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
