"""Why an advisory is there: what the model said, on what grounds, and how often such a warning came true."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from contracts import codec
from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import AlertTransition, Vital, VitalsForecast
from contracts.topology import Topic, partition_for
from models.bundle import Bundle, Interval
from models.registry import Registry
from streams.feed.outlooks import Forecast, Outlooks, drivers_shown, forecast_shown, forecasts_in
from streams.feed.taps import consumer, from_time, partitions_of, read_span

log = structlog.get_logger(__name__)

DISCLAIMER: Final = "Research software, not a medical device. A prediction, not a measurement."
JUDGED_ON: Final = "test"
BUDGET: Final = 0.5
"""Warnings a patient-day at which a model as a whole is spoken of."""

LOOK_BEFORE_MS: Final = 45_000
LOOK_AFTER_MS: Final = 15_000
LOOK_S: Final = 4.0


class Kind(NamedTuple):
    """What an advisory speaks of: ``kind`` is anomaly, forecast or risk; the rest is what its condition names."""

    kind: str
    vital: Vital | None = None
    side: str = ""
    risk: str = ""


def kind_of(condition: str) -> Kind:
    """Read from the condition.

    >>> kind_of("forecast_spo2_low")
    Kind(kind='forecast', vital=<Vital.SPO2: 'spo2'>, side='low', risk='')
    >>> kind_of("risk_hypotension").risk
    'hypotension'
    """
    first, _, rest = condition.partition("_")
    if first == "risk":
        return Kind("risk", risk=rest)
    vital, _, side = rest.rpartition("_")
    if first == "forecast" and vital in set(Vital) and side in ("low", "high"):
        return Kind("forecast", Vital(vital), side)
    return Kind("anomaly")


def model_of(alarm: AlertTransition) -> tuple[str, str] | None:
    """Name and version of the model behind it."""
    name, at, version = (alarm.model or "").partition("@")
    return (name, version) if at else None


def evidence(registry: Registry, alarm: AlertTransition) -> dict[str, Any]:
    """What the registry knows of the model behind an advisory, and in words how far such warnings are to be believed.

    Reads and checks files: not for the event loop. What cannot be told is said in ``missing``.
    """
    named = model_of(alarm)
    told: dict[str, Any] = {"name": None, "version": None, "made": None, "sha256": None, "data": [], "figures": {}}
    told |= {"calibration": None, "missing": None}
    if named is None:
        return told | {"missing": "the advisory names no model"}
    told |= {"name": named[0], "version": named[1]}
    try:
        bundle = registry.load(*named)
        judged, patients = _judged(registry, bundle)
    except (Misconfigured, Poison, Transient, OSError) as gone:
        return told | {"missing": f"this version cannot be read here: {gone}"}
    figures = figures_of(judged, kind_of(alarm.condition), alarm.lead_s)
    told |= {"made": bundle.manifest.made, "sha256": bundle.sha256, "data": [one.name for one in bundle.manifest.data]}
    told["figures"] = {name: msgspec.to_builtins(one) for name, one in figures.items()}
    words = calibration_words(figures, patients)
    return told | {"calibration": words, "missing": None if words else "it was not judged on such warnings"}


class _Judgement(msgspec.Struct, frozen=True):
    """An evaluation beside a version, as far as it matters here; ``sha256`` is of the manifest that was judged."""

    sha256: str
    metrics: dict[str, Interval]


def _judged(registry: Registry, bundle: Bundle) -> tuple[Mapping[str, Interval], str]:
    """The figures on test patients, else on those of validation, and whose they are."""
    note = registry.notes(bundle.name, bundle.version).get(f"evaluation-{JUDGED_ON}.json")
    if note is not None:
        try:
            found = msgspec.json.decode(note, type=_Judgement)
        except msgspec.MsgspecError as wrong:
            log.warning("an evaluation could not be read", model=bundle.name, version=bundle.version, why=str(wrong))
        else:
            if found.sha256 == bundle.sha256:
                return found.metrics, "test patients"
    metrics = bundle.manifest.metrics
    if JUDGED_ON in metrics:
        return metrics[JUDGED_ON], "test patients"
    return metrics.get("validation", {}), "validation patients"


def figures_of(metrics: Mapping[str, Interval], kind: Kind, lead_s: int | None = None) -> dict[str, Interval]:
    """The figures that speak of such warnings: ``ppv``, ``ppv_at`` a budget, ``ece``, ``auroc``, ``coverage``.

    A figure of this very warning and lead goes before one of the vital or risk, and that before the whole model's.
    """
    lead_s = lead_s or 14_400
    ahead = f"{lead_s // 3600}h" if lead_s >= 3600 else f"{lead_s // 60}min"
    below = "below" if kind.side == "low" else "above"
    subjects = {
        "risk": (f"risk_{kind.risk}", kind.risk),
        "forecast": tuple(
            f"{kind.vital}{side}{lead}" for side in (f"_{below}", f"_{kind.side}", "") for lead in (f"_{ahead}", "")
        ),
        "anomaly": ("anomaly",),
    }[kind.kind]
    found: dict[str, Interval] = {}
    for word in ("ppv", "ece", "auroc", "coverage"):
        names = [f"{word}_{subject}" for subject in subjects] + [word]
        if (name := next((name for name in names if name in metrics), None)) is not None:
            found[word] = metrics[name]
    if kind.kind != "forecast" and f"ppv_at_{BUDGET:g}" in metrics:
        found["ppv_at"] = metrics[f"ppv_at_{BUDGET:g}"]
    return found


def calibration_words(figures: Mapping[str, Interval], patients: str = "test patients") -> str | None:
    """How far such a warning is to be believed, as sentences; None without a figure that says so."""
    told = []
    if ppv := figures.get("ppv"):
        told.append(f"Of such warnings, {_hundred(ppv.value)} in 100 came true on {patients} ({_interval(ppv)}).")
    elif ppv := figures.get("ppv_at"):
        told.append(
            f"Set to warn {BUDGET:g} times a patient-day, {_hundred(ppv.value)} in 100 of this model's warnings were "
            f"followed by instability within 1 to 4 hours on {patients} ({_interval(ppv)})."
        )
    if ece := figures.get("ece"):
        told.append(f"Its probabilities of this were off by {100 * ece.value:.1f} in 100 on average on {patients}.")
    if cover := figures.get("coverage"):
        told.append(f"{_hundred(cover.value)} in 100 of what came on {patients} lay within its outer band.")
    return " ".join(told) or None


def prediction(alarm: AlertTransition, forecast: Forecast | None, missing: str | None) -> dict[str, Any]:
    """What the model said when the advisory was raised. ``forecast`` is the band of the vital it speaks of."""
    kind = kind_of(alarm.condition)
    band = None
    if forecast is not None and kind.kind == "forecast":
        try:
            band = forecast_shown(forecast)
        except Poison as bad:
            missing = f"the forecast in the log cannot be read: {bad.reason}"
        else:
            band["vitals"] = [one for one in band["vitals"] if one["vital"] == kind.vital]
    return {
        "kind": kind.kind,
        "vital": kind.vital,
        "side": kind.side or None,
        "risk": kind.risk or None,
        "probability": alarm.probability,
        "lead_s": alarm.lead_s,
        "limit": alarm.limit,
        "drivers": drivers_shown(alarm.drivers),
        "forecast": band,
        "missing": missing if kind.kind == "forecast" and band is None else None,
        "disclaimer": DISCLAIMER,
    }


def model_in_force(told: dict[str, Any], outlooks: Outlooks, ward: str, forecast: Forecast | None) -> dict[str, Any]:
    """``told`` with the record of the log at which that version took over in the ward, and whether it still serves."""
    now = {model.name: model for model in outlooks.models(ward)}.get(told["name"])
    since = outlooks.since(ward, told["name"], told["version"])
    if since is None and forecast is not None:
        named = {(model.name, model.version): model.since for model in forecast.models}
        since = named.get((told["name"], told["version"]))
    return told | {"since": since, "in_force": now is not None and now.version == told["version"]}


async def at_onset(
    bootstrap: str, forecasts: Topic[VitalsForecast], raised: AlertTransition
) -> tuple[Forecast | None, str | None]:
    """The forecast that the ward's log held for the bed when the advisory was raised, or why there is none."""
    if kind_of(raised.condition).kind != "forecast":
        return None, None
    try:
        async with asyncio.timeout(LOOK_S):
            found = await _from_log(bootstrap, forecasts, raised)
    except (Transient, TimeoutError, OSError) as away:
        log.warning("a forecast could not be looked up", alert=raised.alert_id, why=repr(away))
        return None, "the log could not be searched in time; try again"
    return found, None if found is not None else "the forecast of that moment is not in the log any more"


async def _from_log(bootstrap: str, forecasts: Topic[VitalsForecast], raised: AlertTransition) -> Forecast | None:
    partition = partition_for(raised.ward, forecasts.partitions)
    async with consumer(bootstrap) as reader:
        here = [one for one in await partitions_of(reader, forecasts) if one.partition == partition]
        first = await from_time(lambda: raised.at_ms - LOOK_BEFORE_MS)(reader, here)
        last = await from_time(lambda: raised.at_ms + LOOK_AFTER_MS)(reader, here)
    newest: Forecast | None = None
    async for record in read_span(bootstrap, forecasts, {partition: (first[partition], last[partition])}):
        try:
            told = forecasts_in(record.value)
        except Poison:
            continue
        forecast = told.beds.get(raised.bed) if told.ward == raised.ward else None
        if forecast is None or forecast.patient != raised.patient or forecast.source.offset > raised.source.offset:
            continue
        newest = forecast
    return newest


def first_of(transitions: list[bytes]) -> AlertTransition:
    """The first transition of an alarm."""
    return codec.decode(transitions[0], AlertTransition)


def _hundred(share: float) -> int:
    return round(100 * share)


def _interval(figure: Interval) -> str:
    return f"95 % interval {_hundred(figure.low)} to {_hundred(figure.high)}"
