"""What a bed is scored: NEWS2 as an interval, and the bed's tile for everyone who watches."""

from __future__ import annotations

from typing import Final

from contracts.clinical.news2 import COMPONENTS, RED
from contracts.records import BedScore, News2, News2Component, OpenAlarm, ScoredVital, Tag, Vital
from models.ward import news2
from models.ward.alarms import Alarm
from models.ward.rulebook import Rulebook
from models.ward.state import INDEX, VITALS, BedState, VitalState
from models.ward.tagging import USABLE
from models.ward.values import number

# the members that the hot path names, without the way through their class
_OK: Final = Tag.OK
_CLOCK_SUSPECT: Final = Tag.CLOCK_SUSPECT
_SPO2: Final = INDEX[Vital.SPO2]
_SPO2_PLACE: Final = COMPONENTS.index(Vital.SPO2)


def bed_score(rulebook: Rulebook, ward: str, bed: BedState, now_ms: int, just_scored: News2 | None) -> BedScore:
    """The bed as of ``now_ms``; ``just_scored`` is its NEWS2 when its readings came with this very record."""
    silent_ms = now_ms - bed.heard_ms
    as_of_ms = bed.newest_ms + silent_ms
    news2_now = None if silent_ms else just_scored
    if news2_now is None:
        news2_now, _, _ = news2_of(rulebook, bed, rulebook.of(ward, bed.patient).spo2_scale, as_of_ms)
    values = [
        ScoredVital(
            vital=vital,
            value=current.value,
            at_ms=current.at_ms,
            tag=Tag.STALE if as_of_ms - current.at_ms > stale_ms and current.tag in USABLE else current.tag,
            quality=current.quality,
            source=current.source,
        )
        for vital, current, stale_ms in zip(VITALS, bed.vitals, rulebook.stale_ms, strict=False)
        if current is not None
    ]
    return BedScore(
        bed=bed.bed,
        patient=bed.patient,
        heard_ms=bed.heard_ms,
        values=tuple(values),
        news2=news2_now,
        alarms=tuple(_open(alarm) for alarm in bed.alarms.values()) if bed.alarms else (),
        late=bed.late,
        duplicates=bed.duplicates,
    )


def news2_of(rulebook: Rulebook, bed: BedState, scale: int, at_ms: int) -> tuple[News2, list[int | None], bool]:
    """NEWS2 as of ``at_ms``, its points in the chart's order, and whether a component turned unusable.

    One pass over the chart, for speed: this runs for every bed of every frame.
    """
    vitals = bed.vitals
    each: list[int | None] = []
    components: list[News2Component] = []
    low = missing = 0
    lost = red = False
    for i, vital, stale_ms, usual, points_of, worst, just_now in rulebook.chart:
        current = vitals[i]
        points = age_ms = None
        if current is not None:
            age_ms = at_ms - current.at_ms
            value, tag = current.value, current.tag
            if not (tag is _OK or tag is _CLOCK_SUSPECT) or value is None:
                lost = True
            elif age_ms <= stale_ms:
                points = usual.get(value)
                if points is None:
                    points = points_of(value)
        if points is None:
            missing += worst
        else:
            low += points
            if points == RED:
                red = True
        each.append(points)
        components.append(
            just_now[points] if age_ms == 0 else News2Component(vital=vital, points=points, age_ms=age_ms)
        )
    high = low + missing
    if scale != 1:
        low, high, red = _rescale(vitals, at_ms, each, components, low, high, scale)
    score = News2(minimum=low, maximum=high, scale=scale, single_red=red, components=tuple(components))
    return score, each, lost


def _rescale(
    vitals: tuple[VitalState | None, ...],
    at_ms: int,
    each: list[int | None],
    components: list[News2Component],
    low: int,
    high: int,
    scale: int,
) -> tuple[int, int, bool]:
    """(minimum, maximum, single red) on scale 2, where oxygen decides the points of SpO2; these are set right here."""
    current = vitals[_SPO2]
    counted = current is not None and each[_SPO2_PLACE] is not None
    low, high = news2.rescale(each, low, high, number(current.value) if counted and current else None, scale)
    components[_SPO2_PLACE] = News2Component(
        vital=Vital.SPO2, points=each[_SPO2_PLACE], age_ms=None if current is None else at_ms - current.at_ms
    )
    return low, high, RED in each


def _open(alarm: Alarm) -> OpenAlarm:
    return OpenAlarm(
        condition=alarm.condition,
        state=alarm.state,
        priority=alarm.priority,
        category=alarm.category,
        alert_id=alarm.alert_id,
        onset_ms=alarm.onset_ms,
        audio_until_ms=alarm.audio_until_ms,
    )
