"""Why an advisory is there: what the model said, on what grounds, and how often such a warning came true."""

from __future__ import annotations

import asyncio
from typing import Any, Final, NamedTuple

import structlog

from contracts import codec
from contracts.errors import Misconfigured, Poison, Transient
from contracts.records import AlertTransition, Vital
from contracts.topology import FORECASTS, partition_for
from models.bundle import Interval, Manifest
from models.registry import Registry
from streams.feed.outlooks import Forecast, Outlooks, drivers_shown, forecast_shown, forecasts_in
from streams.feed.taps import consumer, from_time, partitions_of, read_span

log = structlog.get_logger(__name__)

DISCLAIMER: Final = "Research software, not a medical device. A prediction, not a measurement."
JUDGED_ON: Final = "test"
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
    """What the registry knows of the model behind an advisory, and in words how often such warnings came true.

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
    except (Misconfigured, Poison) as gone:
        return told | {"missing": f"this version cannot be read here: {gone}"}
    manifest = bundle.manifest
    told |= {"made": manifest.made, "sha256": bundle.sha256, "data": [one.name for one in manifest.data]}
    figures = figures_of(manifest, kind_of(alarm.condition))
    told["figures"] = {
        name: {"value": one.value, "low": one.low, "high": one.high, "n": one.n} for name, one in figures.items()
    }
    words = calibration_words(figures, synthetic=all(one.synthetic for one in manifest.data) and bool(manifest.data))
    return told | {"calibration": words, "missing": None if words else "its manifest has no figure for such warnings"}


def figures_of(manifest: Manifest, kind: Kind) -> dict[str, Interval]:
    """The figures on test patients that speak of such warnings, by their first word: ppv, ece, auroc, skill ..."""
    about = {
        "risk": (kind.risk,),
        "forecast": (f"{kind.vital}_{kind.side}", f"forecast_{kind.vital}_{kind.side}", f"{kind.vital}", "forecast"),
        "anomaly": ("anomaly",),
    }[kind.kind]
    found: dict[str, Interval] = {}
    measured = manifest.metrics.get(JUDGED_ON, {})
    for word in ("ppv", "ece", "auroc", "skill", "coverage", "recall"):
        for subject in (*about, ""):
            name = f"{word}_{subject}" if subject else word
            if name in measured:
                found[word] = measured[name]
                break
    return found


def calibration_words(figures: dict[str, Interval], *, synthetic: bool = False) -> str | None:
    """How far such a warning is to be believed, as a sentence; None without a figure that says so."""
    told = []
    patients = "simulated test patients" if synthetic else "test patients"
    if ppv := figures.get("ppv"):
        low, high = _hundred(ppv.low), _hundred(ppv.high)
        told.append(
            f"Of such warnings, {_hundred(ppv.value)} in 100 came true on {patients} (95 % interval {low} to {high})."
        )
    if ece := figures.get("ece"):
        told.append(f"Its probabilities were off by {100 * ece.value:.1f} in 100 on average there.")
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


async def at_onset(bootstrap: str, raised: AlertTransition) -> tuple[Forecast | None, str | None]:
    """The forecast that the ward's log held for the bed when the advisory was raised, or why there is none."""
    if kind_of(raised.condition).kind != "forecast":
        return None, None
    try:
        async with asyncio.timeout(LOOK_S):
            found = await _from_log(bootstrap, raised)
    except (Transient, TimeoutError, OSError) as away:
        log.warning("a forecast could not be looked up", alert=raised.alert_id, why=repr(away))
        return None, "the log could not be searched in time; try again"
    return found, None if found is not None else "the forecast of that moment is not in the log any more"


async def _from_log(bootstrap: str, raised: AlertTransition) -> Forecast | None:
    partition = partition_for(raised.ward, FORECASTS.partitions)
    async with consumer(bootstrap) as reader:
        here = [one for one in await partitions_of(reader, FORECASTS) if one.partition == partition]
        first = await from_time(lambda: raised.at_ms - LOOK_BEFORE_MS)(reader, here)
        last = await from_time(lambda: raised.at_ms + LOOK_AFTER_MS)(reader, here)
    newest: Forecast | None = None
    async for record in read_span(bootstrap, FORECASTS, {partition: (first[partition], last[partition])}):
        try:
            ward, beds = forecasts_in(record.value)
        except Poison:
            continue
        forecast = beds.get(raised.bed) if ward == raised.ward else None
        if forecast is None or forecast.patient != raised.patient or forecast.source.offset > raised.source.offset:
            continue
        newest = forecast
    return newest


def first_of(transitions: list[bytes]) -> AlertTransition:
    """The first transition of an alarm."""
    return codec.decode(transitions[0], AlertTransition)


def _hundred(share: float) -> int:
    return round(100 * share)
