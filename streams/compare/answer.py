"""The answer to why and why not: one document for machines, lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from contracts.records import AlertTransition, BedOutlook, VitalForecast
from models.ward.rulebook import Rulebook
from models.ward.scoring import bed_score
from streams.compare.inquiry import Watched, frame_of, verdicts
from streams.compare.reasons import Moment, Reason, reasons
from streams.compare.report import iso
from streams.compare.sides import Side
from streams.compare.span import Span


def answered(seen: Watched, side: Side, span: Span) -> dict[str, Any]:
    """Everything that is known of the patient at the moment, as plain values."""
    bed, state = seen.bed, seen.state
    if bed is None or state is None:
        raise ValueError("an answer about nobody")
    rulebook = Rulebook(side.policy)
    at = Moment(rulebook, seen.ward, bed, max(seen.now_ms, state.log_ms))
    score = bed_score(rulebook, seen.ward, bed, at.now_ms, None)
    forecasts: Sequence[VitalForecast] = seen.forecast.vitals if seen.forecast else ()
    outlook = seen.outlook
    if outlook is not None and seen.risks is not None and not outlook.risks:
        outlook = msgspec.structs.replace(outlook, risks=seen.risks.risks)
    found = reasons(at, outlook, forecasts)
    return {
        "ward": seen.ward,
        "bed": bed.bed,
        "patient": bed.patient,
        "at": iso(seen.now_ms),
        "start_state": span.since,
        "policy": {"name": side.policy.name, "hash": side.policy.hash},
        "models": [msgspec.to_builtins(model) for model in state.models.values()],
        "frame": _frame(seen),
        "readings": verdicts(seen),
        "heard": iso(bed.heard_ms),
        "silent_s": round(at.silent_ms / 1000, 1),
        "late_so_far": bed.late,
        "duplicates_so_far": bed.duplicates,
        "clock_off_s": round(-bed.lag_ms / 1000, 1),
        "sound_paused_until": iso(bed.quiet_until_ms) if bed.quiet_until_ms > at.now_ms else None,
        "values": [
            {"age_s": round((at.as_of_ms - value.at_ms) / 1000, 1), **msgspec.to_builtins(value)}
            for value in score.values
        ],
        "news2": msgspec.to_builtins(score.news2),
        **_said(seen, outlook),
        "alarms": [msgspec.structs.asdict(alarm) for alarm in bed.alarms.values()],
        "reasons": [_plain(reason) for reason in found],
        "transitions": [msgspec.to_builtins(transition) for transition in seen.transitions],
    }


def _plain(reason: Reason) -> dict[str, Any]:
    """What the reason says, without what it does not."""
    said = {key: value for key, value in reason._asdict().items() if value is not None}
    return said | ({} if reason.since_ms is None else {"since": iso(reason.since_ms)})


def _said(seen: Watched, outlook: BedOutlook | None) -> dict[str, Any]:
    """What the models said last, and at which record."""
    return {
        "outlook": None if outlook is None else msgspec.to_builtins(outlook),
        "outlook_from": msgspec.to_builtins(seen.outlook_from),
        "forecast": None if seen.forecast is None else msgspec.to_builtins(seen.forecast),
        "forecast_from": msgspec.to_builtins(seen.forecast_from),
    }


def _frame(seen: Watched) -> dict[str, Any] | None:
    frame = frame_of(seen)
    if frame is None or seen.frame is None:
        return None
    return {
        "source": msgspec.to_builtins(seen.frame.source),
        "gateway": frame.gateway,
        "seq": frame.seq,
        "event": iso(frame.at_ms),
        "logged": iso(seen.frame.at_ms),
    }


def lines(told: dict[str, Any], seen: Watched) -> Iterator[str]:
    """The answer for people: what stands, why nothing else does, and what it rests on."""
    yield f"{told['patient']} in {told['bed']} of {told['ward']} at {told['at']}"
    models = ", ".join(f"{one['name']}@{one['version']}" for one in told["models"]) or "none"
    yield f"policy {told['policy']['name']} {told['policy']['hash']}; models {models}"
    yield f"state before it: {told['start_state']}"
    yield from _heard(told)
    yield from _scored(told)
    yield ""
    standing = [one for one in told["reasons"] if one["code"] in ("raised", "paused", "hysteresis")]
    yield "what stands:" if standing else "no alarm stands"
    yield from map(_reason, standing)
    yield "why nothing else does:"
    yield from (_reason(one) for one in told["reasons"] if one not in standing and one["code"] != "no_limit")
    if told["sound_paused_until"]:
        yield f"the bed's sound is paused until {told['sound_paused_until']}"
    yield ""
    yield "transitions around it:" if seen.transitions else "no transition in the ten minutes before, nor after"
    yield from (_transition(one, seen.now_ms) for one in seen.transitions)


def _heard(told: dict[str, Any]) -> Iterator[str]:
    frame = told["frame"]
    if frame is None:
        yield f"last heard {told['heard']}, before what was read here"
    else:
        source = frame["source"]
        place = f"{source['topic']}/{source['partition']}/{source['offset']}"
        yield f"last frame {place}, number {frame['seq']} of {frame['gateway']}"
        yield f"event time {frame['event']}, logged {frame['logged']}"
    extra = f"{told['late_so_far']} late and {told['duplicates_so_far']} duplicate readings so far"
    yield f"heard {told['silent_s']:g} s ago; {extra}; its clock is {told['clock_off_s']:+g} s off the log's"
    for one in told["readings"]:
        yield f"  {one['vital']:20} {one['value']!s:>8}  {one['verdict']} ({one['source']}, {one['quality']})"


def _scored(told: dict[str, Any]) -> Iterator[str]:
    score = told["news2"]
    if score is not None:
        total = (
            f"{score['minimum']}" if score["minimum"] == score["maximum"] else f"{score['minimum']}-{score['maximum']}"
        )
        parts = ", ".join(map(_component, score.get("components", ())))
        yield f"NEWS2 {total} (scale {score['scale']}): {parts}"
    outlook = told["outlook"]
    if outlook is not None:
        if (anomaly := outlook.get("anomaly")) is not None:
            yield f"anomaly {anomaly['score']:g}{_drivers(anomaly)}"
        for risk in outlook.get("risks", ()):
            yield f"risk {risk['name']} {risk['probability']:g}{_drivers(risk)}"


def _component(one: dict[str, Any]) -> str:
    if one.get("points") is None:
        return f"{one['vital']} missing"
    age_s = (one.get("age_ms") or 0) / 1000
    return f"{one['vital']} {one['points']}" + (f" ({age_s:g} s old)" if age_s else "")


def _drivers(said: dict[str, Any]) -> str:
    named = [driver["what"] for driver in said.get("drivers", ())][:2]
    return f" ({'; '.join(named)})" if named else ""


def _reason(one: dict[str, Any]) -> str:
    since = f" since {one['since']}" if "since" in one else ""
    ident = f" [{one['alert_id']}]" if "alert_id" in one else ""
    return f"  {one['condition']:28} {one['code']:16} {one['words']}{since}{ident}"


def _transition(one: AlertTransition, now_ms: int) -> str:
    away = (one.at_ms - now_ms) / 1000
    return (
        f"  {away:+8.1f} s  {one.condition:24} {one.event.value:16} {one.state.value:12} {one.message} ({one.priority})"
    )
