"""Records as lines of InfluxDB's protocol. A point's tags and time come from the record, so a second reading of it
writes the very same point again: nothing is ever doubled.

Lines are plain text with nanoseconds: building them costs a sixth of what the client's Point objects cost.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Final

from contracts.records import (
    AlarmEvent,
    AlarmState,
    AlertTransition,
    BedForecast,
    BedOutlook,
    BedScore,
    Category,
    Engine,
    ImageFinding,
    ImageRefusal,
    ImageResult,
    OpenAlarm,
    Priority,
    ScoreFrame,
    Tag,
    VitalForecast,
    VitalsForecast,
)

NS: Final = "000000"
SECOND_MS: Final = 1000
MINUTE_MS: Final = 60_000
NONE: Final = "-"
BELIEVED: Final = frozenset((Tag.OK, Tag.CLOCK_SUSPECT))
RANK: Final = {Priority.LOW: 2, Priority.MEDIUM: 3, Priority.HIGH: 4}
LONGEST_TAG: Final = 256
ACTS: Final = frozenset({AlarmEvent.ACKNOWLEDGED, AlarmEvent.ESCALATED, AlarmEvent.NOTE})
STANDING: Final = 50_000
"""Of so many standing alarms it is remembered whether somebody acted."""

_PICTURES: Final = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_TAG: Final = str.maketrans(_PICTURES | {ord("\\"): "⧵", ord(","): r"\,", ord("="): r"\=", ord(" "): r"\ "})
_TEXT: Final = str.maketrans(_PICTURES | {ord("\\"): r"\\", ord('"'): r"\""})


@lru_cache(maxsize=65_536)
def tag(value: str) -> str:
    """A tag's value as the protocol wants it. Control characters and the backslash, which InfluxDB reads differently
    from place to place, become the signs that picture them; an empty value is a dash, an endless one is cut.

    >>> tag("Ward 3, east")
    'Ward\\\\ 3\\\\,\\\\ east'
    """
    return value[:LONGEST_TAG].translate(_TAG) or NONE


def text(value: str) -> str:
    """A text field with its quotes."""
    return f'"{value.translate(_TEXT)}"'


def of_scores(frame: ScoreFrame) -> list[str]:
    """The points of a frame's beds, a second of log time apart at least, and of what the models said."""
    ward, second = tag(frame.ward), f"{frame.now_ms // SECOND_MS * SECOND_MS}{NS}"
    lines = [f"beds,bed={tag(bed.bed)},ward={ward} {_bed_fields(bed, frame.now_ms)} {second}" for bed in frame.beds]
    for outlook in frame.outlooks:
        lines += _of_outlook(outlook, ward, frame.now_ms)
    lines += [
        f"models,model={tag(model.name)},ward={ward} version={text(model.version)} {frame.now_ms}{NS}"
        for model in frame.models
    ]
    return lines


def _bed_fields(bed: BedScore, now_ms: int) -> str:
    parts: list[str] = []
    unbelieved = 0
    for scored in bed.values:
        value = scored.value
        if value is None:
            continue
        if scored.tag not in BELIEVED:
            unbelieved += 1
        elif type(value) is str:
            parts.append(f"{scored.vital._value_}={text(value)}")
        else:
            parts.append(f"{scored.vital._value_}={value!r}")
    news2 = bed.news2
    if news2 is not None:
        parts.append(f"news2_min={news2.minimum}i,news2_max={news2.maximum}i,news2_red={int(news2.single_red)}i")
    parts.append(_alarm_fields(bed.alarms) if bed.alarms else CALM)
    parts.append(f"unbelieved={unbelieved}i,silent_s={max(0, now_ms - bed.heard_ms) / 1000!r}")
    return ",".join(parts)


def _alarm_fields(alarms: tuple[OpenAlarm, ...]) -> str:
    counts = {Priority.HIGH: 0, Priority.MEDIUM: 0, Priority.LOW: 0}
    technical = advisory = state = 0
    for alarm in alarms:
        if alarm.category is Category.TECHNICAL:
            technical += 1
            state = max(state, 1)
        elif alarm.category is Category.ADVISORY:
            advisory += 1
        else:
            counts[alarm.priority] += 1
            state = max(state, RANK[alarm.priority])
    return (
        f"alarms_high={counts[Priority.HIGH]}i,alarms_medium={counts[Priority.MEDIUM]}i,"
        f"alarms_low={counts[Priority.LOW]}i,alarms_technical={technical}i,alarms_advisory={advisory}i,state={state}i"
    )


CALM: Final = _alarm_fields(())


def _of_outlook(outlook: BedOutlook, ward: str, now_ms: int) -> list[str]:
    bed, lines = tag(outlook.bed), []
    if (anomaly := outlook.anomaly) is not None:
        lines.append(
            f"outlooks,bed={bed},ward={ward} anomaly={anomaly.score!r},learning={int(anomaly.learning)}i,"
            f"baseline_s={anomaly.baseline_s}i,drift={len(anomaly.drift)}i {now_ms}{NS}"
        )
    lines += [
        f"risks,bed={bed},risk={tag(risk.name)},ward={ward} probability={risk.probability!r},"
        f"horizon_s={risk.horizon_s}i,known={risk.known!r} {now_ms}{NS}"
        for risk in outlook.risks
    ]
    return lines


def of_forecast(frame: VitalsForecast) -> list[str]:
    """The points of a ward's forecasts, each at the minute that it speaks of, and the skill of the forecasters.

    A later forecast of the same minute replaces the earlier one, so that the band ahead is always the newest word and
    the band behind is what was said last before it came true.
    """
    ward, minute = tag(frame.ward), frame.now_ms // MINUTE_MS * MINUTE_MS
    middle = len(frame.levels) // 2
    lines = [line for bed in frame.beds for line in _of_bed_forecast(bed, ward, minute, middle)]
    return lines + _skills(frame, ward, minute)


def _of_bed_forecast(bed: BedForecast, ward: str, minute: int, middle: int) -> list[str]:
    lines, name = [], tag(bed.bed)
    for vital in bed.vitals:
        head = f"forecasts,bed={name},vital={vital.vital.value},ward={ward}"
        for i, (horizon_s, row) in enumerate(zip(vital.horizons_s, vital.quantiles, strict=False)):
            if not row:
                continue
            fields = f"low={row[0]!r},middle={row[min(middle, len(row) - 1)]!r},high={row[-1]!r}"
            fields += f',horizon_s={horizon_s}i,engine="{vital.engine.value}"'
            fields += _beyond("below", vital.below, i) + _beyond("above", vital.above, i)
            at_ms = (minute + horizon_s * 1000) // MINUTE_MS * MINUTE_MS
            lines.append(f"{head} {fields} {at_ms}{NS}")
    return lines


def _beyond(field: str, probabilities: tuple[float, ...] | None, i: int) -> str:
    return f",{field}={probabilities[i]!r}" if probabilities and i < len(probabilities) else ""


def _skills(frame: VitalsForecast, ward: str, minute: int) -> list[str]:
    found: dict[tuple[str, int], list[VitalForecast]] = {}
    for bed in frame.beds:
        for vital in bed.vitals:
            for horizon_s in vital.horizons_s:
                found.setdefault((vital.vital.value, horizon_s), []).append(vital)
    lines = []
    for (vital_name, horizon_s), said in found.items():
        skills = [
            skill
            for one in said
            for horizon, skill in zip(one.horizons_s, one.skill, strict=False)
            if horizon == horizon_s and skill is not None
        ]
        skill = f"skill={sum(skills) / len(skills)!r}," if skills else ""
        lstm = sum(one.engine is Engine.LSTM for one in said)
        lines.append(
            f"skills,horizon={horizon_s},vital={vital_name},ward={ward} {skill}beds={len(said)}i,lstm={lstm}i "
            f"{minute}{NS}"
        )
    return lines


class Answers:
    """Tells alarms that nobody touched from those that somebody did, for as long as each stands.

    Bounded: of more than ``STANDING`` alarms the oldest are forgotten. Of what was raised before the sink began it is
    not known whether anybody came, so nothing is told of it.
    """

    def __init__(self) -> None:
        self._touched: dict[str, bool] = {}

    def of_transition(self, alert: AlertTransition) -> list[str]:
        """The point of a step, see ``of_transition``."""
        event, known = alert.event, self._touched
        if event is AlarmEvent.RAISED:
            known.pop(alert.alert_id, None)
            known[alert.alert_id] = False
            if len(known) > STANDING:
                del known[next(iter(known))]
        elif acts(alert) and alert.alert_id in known:
            known[alert.alert_id] = True
        if alert.state is not AlarmState.INACTIVE:
            return of_transition(alert)
        touched = known.pop(alert.alert_id, None)
        return of_transition(alert, None if touched is None else not touched)


def acts(alert: AlertTransition) -> bool:
    """Whether a person did something about the alarm; to silence it for a while is nothing yet."""
    return alert.actor is not None and alert.event in ACTS


def of_transition(alert: AlertTransition, untouched: bool | None = None) -> list[str]:
    """The point of one step of an alarm. Below the millisecond its time is drawn from the alarm's identity, so that
    two steps within one millisecond stay two points. ``untouched``: it is over and nobody ever acted; None: not known,
    or not over.
    """
    fields = [
        f"alert_id={text(alert.alert_id)},seq={alert.seq}i,state={text(alert.state.value)}",
        f"message={text(alert.message)},since_onset_s={(alert.at_ms - alert.onset_ms) / 1000!r}",
        f"escalation={alert.escalation}i,acted={int(acts(alert))}i",
    ]
    if untouched is not None:
        fields.append(f"untouched={int(untouched)}i")
    if isinstance(alert.value, float | int):
        fields.append(f"value={float(alert.value)!r}")
    if alert.limit is not None:
        fields.append(f"limit={alert.limit!r}")
    if alert.probability is not None:
        fields.append(f"probability={alert.probability!r}")
    if alert.lead_s is not None:
        fields.append(f"lead_s={alert.lead_s}i")
    return [
        f"alarms,bed={tag(alert.bed)},category={alert.category.value},condition={tag(alert.condition)},"
        f"event={alert.event.value},priority={alert.priority.value},ward={tag(alert.ward)} "
        f"{','.join(fields)} {_moment(alert.at_ms, f'{alert.alert_id}:{alert.seq}')}"
    ]


def of_image(result: ImageResult) -> list[str]:
    """The point of one image's result; neither the study nor the image is named."""
    fields = [f"refused={int(result.refusal is not None)}i"]
    if result.positive is not None:
        fields.append(f"positive={int(result.positive)}i")
    if result.probability is not None:
        fields.append(f"probability={result.probability!r}")
    if result.arrived_ms is not None:
        fields.append(f"latency_s={max(0, result.at_ms - result.arrived_ms) / 1000!r}")
    if result.took_ms is not None:
        fields.append(f"took_s={result.took_ms / 1000!r}")
    return [
        f"images,label={tag(result.label or NONE)},model={tag(result.model)},refusal={tag(result.refusal or NONE)} "
        f"{','.join(fields)} {_moment(result.at_ms, result.job_id)}"
    ]


def of_image_refusal(refusal: ImageRefusal) -> list[str]:
    """The point of one image that was not let in: not its name, not its bytes' sum, not what was found in it."""
    return [
        f"refusals,reason={tag(refusal.reason)},source={tag(refusal.source)} "
        f"size={refusal.size}i {_moment(refusal.at_ms, refusal.refusal_id)}"
    ]


def of_finding(finding: ImageFinding) -> list[str]:
    """The point of one change of a finding; neither the study nor who decided it is named."""
    fields = f"seq={finding.seq}i"
    if finding.probability is not None:
        fields += f",probability={finding.probability!r}"
    return [
        f"findings,label={tag(finding.label)},model={tag(finding.model)},priority={finding.priority.value},"
        f"state={finding.state.value} {fields} {_moment(finding.at_ms, f'{finding.finding_id}:{finding.seq}')}"
    ]


def _moment(at_ms: int, identity: str) -> int:
    return at_ms * 1_000_000 + zlib.crc32(identity.encode("utf-8", "replace")) % 1_000_000
