"""Every measurement that the sink writes, declared once: tags, fields, meaning. Dashboards may ask for nothing else.

A bed is a place and a tag; a person is neither: no pseudonym, no name of staff, no free text ever goes to InfluxDB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from contracts.metrics import METRICS, Metric
from contracts.records import Vital


class Measurement(NamedTuple):
    """One measurement. ``every`` says when a point of it is written."""

    name: str
    tags: tuple[str, ...]
    fields: tuple[str, ...]
    meaning: str
    every: str


BEDS: Final = Measurement(
    "beds",
    ("bed", "ward"),
    (
        *(vital.value for vital in Vital),
        "news2_min",
        "news2_max",
        "news2_red",
        "alarms_high",
        "alarms_medium",
        "alarms_low",
        "alarms_technical",
        "alarms_advisory",
        "state",
        "unbelieved",
        "silent_s",
    ),
    "believed values of one bed, its NEWS2 interval, its open alarms; state: see STATES",
    "at most once a second and bed, in log time",
)
OUTLOOKS: Final = Measurement(
    "outlooks",
    ("bed", "ward"),
    ("anomaly", "learning", "baseline_s", "drift"),
    "anomaly score in [0, 1]; learning 0 or 1; drift: how many vitals changed their level",
    "each time that the models spoke",
)
RISKS: Final = Measurement(
    "risks",
    ("bed", "risk", "ward"),
    ("probability", "horizon_s", "known"),
    "calibrated probability that something happens within the horizon",
    "each time that the models spoke",
)
FORECASTS: Final = Measurement(
    "forecasts",
    ("bed", "vital", "ward"),
    ("low", "middle", "high", "horizon_s", "engine", "below", "above"),
    "the newest forecast of the minute at which the point stands: outer quantiles and median, who spoke",
    "once a minute and ward, for each minute ahead",
)
SKILLS: Final = Measurement(
    "skills",
    ("horizon", "vital", "ward"),
    ("skill", "beds", "lstm"),
    "skill of the forecasts against persistence lately; beds with a forecast, and those whose forecast the LSTM made",
    "once a minute and ward",
)
HINDSIGHT: Final = Measurement(
    "hindsight",
    ("engine", "horizon", "vital", "ward"),
    ("n", "error", "naive", "pinball"),
    "forecasts told whose moment has come: sums of their absolute errors, of persistence's, of pinball losses",
    "of a ward's forecasts of one minute in ten (hours ahead: in sixty), at the moment they spoke of",
)
COVERAGE: Final = Measurement(
    "coverage",
    ("band", "engine", "horizon", "vital", "ward"),
    ("n", "inside", "width", "nominal"),
    "of the same, by band (percent): how many values lay inside, how many should, sum of the widths",
    "as hindsight",
)
CALIBRATION: Final = Measurement(
    "calibration",
    ("engine", "horizon", "level", "vital", "ward"),
    ("n", "under"),
    "of the same, by level (percent): how many values lay below that quantile; one that lay on it counts half",
    "as hindsight",
)
RELIABILITY: Final = Measurement(
    "reliability",
    ("chance", "risk", "ward"),
    ("n", "told", "came", "brier"),
    "risks whose hours are over, by told probability: sum of probabilities, how many came, sum of squared errors",
    "of a ward's risks of one minute an hour, when their hours are over",
)
MODELS: Final = Measurement(
    "models", ("model", "ward"), ("version",), "which version speaks in a ward", "each time that the models spoke"
)
ALARMS: Final = Measurement(
    "alarms",
    ("bed", "category", "condition", "event", "priority", "ward"),
    (
        "alert_id",
        "seq",
        "state",
        "message",
        "value",
        "limit",
        "since_onset_s",
        "escalation",
        "acted",
        "untouched",
        "probability",
        "lead_s",
    ),
    "one transition of one alarm, at the moment of it; acted: a person acknowledged, escalated or noted; untouched: it "
    "is over and nobody did any of that, where the sink has seen it whole",
    "every transition",
)
IMAGES: Final = Measurement(
    "images",
    ("label", "model", "refusal"),
    ("probability", "refused", "positive", "latency_s", "took_s"),
    "one finding, or refusal, of an image; a label or refusal that is none is a dash; arrival at the gateway to result",
    "every result",
)
IMAGE_REFUSALS: Final = Measurement(
    "refusals",
    ("reason", "source"),
    ("size",),
    "one image that was not let in: why, how it came, its bytes",
    "every refusal of the gateway",
)
IMAGE_FINDINGS: Final = Measurement(
    "findings",
    ("label", "model", "priority", "state"),
    ("seq", "probability"),
    "one change of one finding on the radiologist's list, at the moment of it",
    "every change",
)

MEASUREMENTS: Final = (
    BEDS,
    OUTLOOKS,
    RISKS,
    FORECASTS,
    SKILLS,
    HINDSIGHT,
    COVERAGE,
    CALIBRATION,
    RELIABILITY,
    MODELS,
    ALARMS,
    IMAGES,
    IMAGE_REFUSALS,
    IMAGE_FINDINGS,
)

STATES: Final = {0: "calm", 1: "technical", 2: "low", 3: "medium", 4: "high"}
"""What the field ``state`` of a bed says: its most urgent open alarm; a technical one only where no other is."""


def of_metric(metric: Metric) -> Measurement:
    """How a declared metric stands in InfluxDB: counters and gauges as ``value``, histograms as what came since."""
    fields = ("count", "sum", "p50", "p99") if metric.kind == "histogram" else ("value",)
    tags = tuple(sorted({*metric.labels, "process"}))
    return Measurement(metric.name, tags, fields, metric.meaning, "every five seconds")


BY_NAME: Final[Mapping[str, Measurement]] = {
    m.name: m for m in (*MEASUREMENTS, *(of_metric(metric) for metric in METRICS))
}
