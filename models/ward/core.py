"""The ward's core: step(state, frame, now) -> (state, outputs). Decides everything, touches nothing.

The same frames in the same order give the same outputs byte for byte; time comes in with each record. Event time
(devices) drives scores and physiological alarms, log time (the record's timestamp) drives silence, re-alarm, escalation
and the end of a pause. See docs/why/one-log-per-ward.md and docs/why/late-readings.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from contracts.clinical.codes import VITALS as CODES
from contracts.clinical.news2 import COMPONENTS, RED
from contracts.clinical.plausibility import FUTURE_TOLERANCE_MS, PLAUSIBLE
from contracts.records import (
    SCHEMA_VERSION,
    ActionKind,
    AlarmEvent,
    AlarmState,
    AlertAction,
    AlertTransition,
    BedReadings,
    BedScore,
    Category,
    News2,
    News2Component,
    OpenAlarm,
    Priority,
    Quality,
    Reading,
    ScoredVital,
    ScoreFrame,
    Source,
    SourceOffset,
    Tag,
    Vital,
    VitalsFrame,
)
from models.ward import alarms as machine
from models.ward import news2
from models.ward.alarms import Alarm, Breach
from models.ward.policy import Limits, Policy
from models.ward.state import (
    ACTIONS_KEPT,
    INDEX,
    LEFT_KEPT,
    VITALS,
    BedState,
    VitalState,
    WardState,
    dump,
    load,
    rebased,
)
from models.ward.tagging import pressures_disagree, tag_of

__all__ = ["BedState", "Outputs", "WardCore", "WardState"]

OUTAGE_MS: Final = 2_500
"""A longer pause between two records of a ward's log is an outage of the log (ticks come every second)."""
SET_BACK_MS: Final = 5_000
SET_BACK_RECORDS: Final = 10
"""So many records in a row, each so much before the log's time: the broker's clock was set back."""
CHECK_EVERY_MS: Final = 1_000
UNHEARD_MS: Final = 2_500
"""A bed not heard for this long is scored by the clock."""
LAG_JITTER_MS: Final = 2_000
CUFF_MAX_MS: Final = 60_000
CUFF_REST_MS: Final = 120_000
CUFF_RECOVERY_MS: Final = 10_000
PENDING_MAX_MS: Final = 60_000
"""A pending alarm whose condition was not seen again for this long (or twice the longest delay) is forgotten."""
FROZEN_STEP_MS: Final = 10_000
"""Equal values further apart than this are two measurements that agree (a cuff), not a frozen device."""

_TAKEN: Final = frozenset({Quality.MEASURED, Quality.NO_SIGNAL})
_USABLE: Final = frozenset({Tag.OK, Tag.CLOCK_SUSPECT})
# the members that the hot path names, without the way through their class
_OK: Final = Tag.OK
_CLOCK_SUSPECT: Final = Tag.CLOCK_SUSPECT
_NO_SIGNAL: Final = Tag.NO_SIGNAL
_MEASURED: Final = Quality.MEASURED
_MEASURING: Final = Quality.MEASURING
_NO_VALUE: Final = Quality.NO_SIGNAL
_CUFF: Final = Source.CUFF
_SYSTOLIC: Final = INDEX[Vital.SYSTOLIC]
_DIASTOLIC: Final = INDEX[Vital.DIASTOLIC]
_MEAN: Final = INDEX[Vital.MEAN_PRESSURE]
_SPO2: Final = INDEX[Vital.SPO2]
_PRESSURES: Final = frozenset({_SYSTOLIC, _DIASTOLIC, _MEAN})
_PLAUSIBLE: Final = tuple(PLAUSIBLE.get(vital) for vital in VITALS)
_NEWS2: Final = tuple((vital, INDEX[vital]) for vital in COMPONENTS)
_JUST_NOW: Final[tuple[dict[int | None, News2Component], ...]] = tuple(
    {points: News2Component(vital=vital, points=points, age_ms=0) for points in (None, 0, 1, 2, 3)}
    for vital in COMPONENTS
)
"""The components that were just measured, as most are, by place in the chart and points: made once and shared."""
_SPO2_PLACE: Final = COMPONENTS.index(Vital.SPO2)


class _Conditions(NamedTuple):
    low: str
    high: str
    implausible: str
    frozen: str
    no_signal: str


_CONDITIONS: Final = tuple(
    _Conditions(*(f"{vital.value}_{word}" for word in ("low", "high", "implausible", "frozen", "no_signal")))
    for vital in VITALS
)
_NEWS2_CONDITION: Final = "news2"
_SILENCE: Final = "silence"
_CLOCK: Final = "clock"


class Outputs(NamedTuple):
    """What one frame led to. ``scores`` is None when the frame touched no bed."""

    scores: ScoreFrame | None
    transitions: tuple[AlertTransition, ...]
    readings: int
    late: int
    duplicates: int


_GRAVE: Final = {
    Vital.HEART_RATE: (Priority.HIGH, "check patient and leads"),
    Vital.SPO2: (Priority.MEDIUM, "check patient and probe"),
}
"""Vitals whose implausibly low value may be the patient's after all: the technical alarm's priority and advice."""


class _Rules(NamedTuple):
    limits: tuple[Limits | None, ...]
    bounds: tuple[tuple[float | None, float | None] | None, ...]
    spo2_scale: int


class _Ward:
    """Scratch space of one step: the beds being rewritten and the transitions told so far."""

    def __init__(self, state: WardState, now_ms: int, source: SourceOffset, policy: str) -> None:
        self.beds = dict(state.beds)
        self.ward = state.ward
        self.clock_ms = state.clock_ms
        self.now_ms = now_ms
        self.source = source
        self.policy = policy
        self.told: list[AlertTransition] = []
        self.left = state.left
        self.unpaused: set[str] = set()
        self.news2: dict[str, News2] = {}


class WardCore:
    """The core under one policy. Holds no state of any ward; rules of a patient are derived once and kept."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.policy_hash = policy.hash
        self._rules: dict[tuple[str, str], _Rules] = {}
        self._stale_ms = tuple(int(policy.stale_after_s[vital] * 1000) for vital in VITALS)
        self._chart = tuple(
            (i, vital, self._stale_ms[i], *row, just_now)
            for (vital, i), row, just_now in zip(_NEWS2, news2.ROWS, _JUST_NOW, strict=True)
        )
        technical = policy.technical
        self._frozen_ms = tuple(int(technical.frozen_after_s.get(vital, 0) * 1000) for vital in VITALS)
        self._continuous = tuple(frozenset(INDEX[vital] for vital in technical.continuous))
        self._absences = tuple((i, _CONDITIONS[i].no_signal) for i in self._continuous)
        self._no_signal_ms = int(technical.no_signal_after_s * 1000)
        self._implausible_ms = int(technical.implausible_after_s * 1000)
        self._clock_after_ms = int(technical.clock_after_s * 1000)
        self._silence_ms = int(technical.silence_after_s * 1000)
        self._relevant_ms = int(policy.alarm.relevant_s * 1000)
        self._news2_delay_ms = int(policy.news2.delay_s * 1000)
        self._pending_max_ms = max(PENDING_MAX_MS, 2 * _longest_delay_ms(policy))

    def fresh(self, ward: str) -> WardState:
        """The state of a ward of which nothing is known yet."""
        return WardState(ward=ward, beds={})

    def dump(self, state: WardState) -> bytes:
        """The state as bytes, for a snapshot."""
        return dump(state)

    def load(self, raw: bytes) -> WardState:
        """The state in those bytes; raises Poison when damaged or of another version."""
        return load(raw)

    def step(
        self, state: WardState, frame: VitalsFrame, now_ms: int, source: SourceOffset
    ) -> tuple[WardState, Outputs]:
        """The ward after one record of its log.

        ``frame`` holds readings, actions, or nothing (a clock tick); ``now_ms`` is the record's log time, which never
        goes back (an earlier one counts as the last), unless record upon record says that the broker's clock had run
        ahead and was set back: else nothing would be timed until it has caught up. ``state`` itself is not changed.
        """
        set_back = state.set_back + 1 if now_ms < state.log_ms - SET_BACK_MS else 0
        if set_back >= SET_BACK_RECORDS:
            state, set_back = rebased(state, now_ms - state.log_ms), 0
        now_ms = max(now_ms, state.log_ms)
        passed = now_ms - state.log_ms if state.log_ms else 0
        clock_ms = state.clock_ms + (passed if passed <= OUTAGE_MS else CHECK_EVERY_MS)  # slow ticks are no standstill
        ward = _Ward(state, now_ms, source, self.policy_hash)
        ward.clock_ms = clock_ms
        actions = state.actions
        readings = late = duplicates = 0
        touched: list[str] = []

        for action in frame.actions:
            if action.action_id not in actions:
                actions = (*actions[1 - ACTIONS_KEPT :], action.action_id)
                self._act(ward, action)
        for incoming in frame.beds:
            before = ward.beds.get(incoming.patient)
            bed = (
                before
                if before is not None and before.bed == incoming.bed
                else self._admit(ward, before, incoming, frame)
            )
            seen_late, seen_twice = bed.late, bed.duplicates
            ward.beds[incoming.patient] = bed = self._absorb(ward, bed, incoming, frame.at_ms)
            readings += len(incoming.readings)
            late += bed.late - seen_late
            duplicates += bed.duplicates - seen_twice
            touched.append(incoming.patient)

        checked_ms = state.checked_ms
        if now_ms - checked_ms >= CHECK_EVERY_MS:
            checked_ms = now_ms
            for patient, bed in tuple(ward.beds.items()):
                if bed.alarms or clock_ms - bed.heard_clock_ms > self._silence_ms:
                    ward.beds[patient] = self._pass_time(ward, bed)
                if now_ms - bed.heard_ms >= UNHEARD_MS and patient not in touched:
                    touched.append(patient)  # a silent bed's tile goes on: its values age, its alarms change
        for patient in ward.unpaused & ward.beds.keys():
            ward.beds[patient] = msgspec.structs.replace(ward.beds[patient], quiet_until_ms=0, quiet_rank=-1)

        scores = None
        if touched:
            scores = ScoreFrame(
                version=SCHEMA_VERSION,
                ward=state.ward,
                at_ms=frame.at_ms,
                now_ms=now_ms,
                source=source,
                policy=self.policy_hash,
                beds=tuple(self._score(ward, ward.beds[patient]) for patient in touched if patient in ward.beds),
            )
        after = WardState(state.ward, ward.beds, now_ms, clock_ms, checked_ms, actions, ward.left, set_back)
        return after, Outputs(scores, tuple(ward.told), readings, late, duplicates)

    # -- admission ---------------------------------------------------------------------------------------------------

    def _admit(self, ward: _Ward, bed: BedState | None, incoming: BedReadings, frame: VitalsFrame) -> BedState:
        """The bed of a patient who is new or was moved; whoever lay there before is released.

        Patients who change places within a frame are not: they keep their alarms.
        """
        moving = {b.patient for b in frame.beds if b.bed != incoming.bed}
        for patient, other in tuple(ward.beds.items()):
            if other.bed == incoming.bed and patient != incoming.patient and patient not in moving:
                self._release(ward, other, "bed given to another patient", None)
        if bed is not None:
            return msgspec.structs.replace(bed, bed=incoming.bed)
        return BedState(
            incoming.bed,
            incoming.patient,
            ward.now_ms,
            ward.clock_ms,
            0,
            (None,) * len(VITALS),
            {},
            ended=ward.left.get(incoming.patient, {}),
        )

    def _release(self, ward: _Ward, bed: BedState, note: str, action: AlertAction | None) -> None:
        bed = msgspec.structs.replace(bed, ended=dict(bed.ended))
        for alarm in bed.alarms.values():
            if alarm.state is not AlarmState.PENDING:
                self._tell(ward, bed, alarm, AlarmState.INACTIVE, AlarmEvent.CLEARED, ward.now_ms, action, note)
        del ward.beds[bed.patient]
        if bed.ended:
            ward.left = {p: ended for p, ended in ward.left.items() if p != bed.patient} | {bed.patient: bed.ended}
            for oldest in tuple(ward.left)[:-LEFT_KEPT]:
                del ward.left[oldest]

    # -- readings ----------------------------------------------------------------------------------------------------

    def _absorb(self, ward: _Ward, bed: BedState, incoming: BedReadings, frame_ms: int) -> BedState:
        """The bed after its readings.

        This is where the worker spends its time, so it is one flat loop: readings inside their limits at a bed without
        alarms, nearly all of them, are tagged and kept here and then need no judgement.
        """
        now_ms = ward.now_ms
        future_ms = now_ms + FUTURE_TOLERANCE_MS
        rules = self._rules_of(ward.ward, bed.patient)
        bounds, frozen_ms = rules.bounds, self._frozen_ms
        known = bed.vitals
        vitals = list(known)
        open_alarms = dict(bed.alarms)
        newest_ms, late, duplicates = bed.newest_ms, bed.late, bed.duplicates
        cuff_from_ms, cuff_until_ms = bed.cuff_from_ms, bed.cuff_until_ms
        ended = dict(bed.ended)
        lag_ms, lag_from_ms, lag_since_ms, behind_since_ms, skewed = self._judge_clock(bed, incoming, frame_ms, now_ms)
        pressures_new = False
        calm = not open_alarms
        found: list[int] = []

        for reading in incoming.readings:
            i = INDEX[reading.vital]
            value, quality, source = reading.value, reading.quality, reading.source
            at_ms = reading.at_ms
            if at_ms is None:
                at_ms = frame_ms
            suspect = skewed or at_ms > future_ms
            if suspect:
                at_ms = now_ms
            if quality is _MEASURING:
                if source is _CUFF and at_ms - cuff_until_ms >= CUFF_REST_MS:
                    cuff_from_ms, cuff_until_ms = at_ms, at_ms + CUFF_MAX_MS
                continue

            plausible = _PLAUSIBLE[i]
            if (
                value is not None
                and plausible is not None
                and reading.unit is None
                and quality is not _NO_VALUE
                and plausible[0] <= value <= plausible[1]  # type: ignore[operator]  # only consciousness is text
            ):
                tag = _OK
            else:
                tag = tag_of(reading)
            if at_ms < cuff_until_ms and cuff_from_ms <= at_ms:
                if i == _SPO2 and (tag is _NO_SIGNAL or (tag is _OK and not suspect and self._is_low(rules, i, value))):
                    tag = Tag.CUFF_INTERFERENCE
                if source is _CUFF:
                    cuff_until_ms = min(cuff_until_ms, at_ms + CUFF_RECOVERY_MS)
            if suspect and tag is _OK:
                tag = _CLOCK_SUSPECT

            previous, kept = vitals[i], known[i]
            same_since_ms, good_ms = at_ms, 0
            if previous is not None:
                if at_ms <= previous.at_ms:
                    if at_ms == previous.at_ms and value == previous.value:
                        duplicates += 1
                    else:
                        late += 1
                        if tag in _USABLE:
                            self._recall(rules, open_alarms, ended, i, kept, reading, at_ms)
                    continue
                if previous is not kept:  # a second sample of this vital: what came before it is judged first
                    if pressures_new and self._disown_pressures(known, vitals, found):
                        calm = False
                    if not calm:
                        so_far = msgspec.structs.replace(bed, alarms=open_alarms, ended=ended)
                        self._judge_vitals(ward, so_far, rules, vitals, found)
                    known, found, pressures_new = tuple(vitals), [], False
                    calm = not open_alarms
                    kept = previous = vitals[i] or previous
                good_ms = previous.good_ms
                if (
                    value == previous.value
                    and quality in _TAKEN
                    and previous.quality in _TAKEN
                    and at_ms - previous.at_ms <= FROZEN_STEP_MS
                ):
                    same_since_ms = previous.same_since_ms
            calm_low_ms = calm_high_ms = 0
            if kept is not None:
                calm_low_ms, calm_high_ms = kept.calm_low_ms, kept.calm_high_ms
            if tag is _OK or tag is _CLOCK_SUSPECT:
                if frozen_ms[i] and at_ms - same_since_ms >= frozen_ms[i]:
                    tag, calm = Tag.FROZEN, False
                else:
                    good_ms = at_ms
                    limits = bounds[i]
                    if limits is not None:
                        low, high = limits
                        if low is not None:
                            if value < low:  # type: ignore[operator]  # as above
                                calm = False
                            else:
                                calm_low_ms = at_ms
                        if high is not None:
                            if value > high:  # type: ignore[operator]  # as above
                                calm = False
                            else:
                                calm_high_ms = at_ms
            else:
                calm = False
            vitals[i] = VitalState(
                value, at_ms, tag, quality, source, good_ms, same_since_ms, calm_low_ms, calm_high_ms
            )
            if at_ms > newest_ms:
                newest_ms = at_ms
            if i in _PRESSURES:
                pressures_new = True
            found.append(i)

        if pressures_new and self._disown_pressures(known, vitals, found):
            calm = False
        fresh = bool(found)  # a gateway that only repeats itself is not heard
        after = BedState(
            bed.bed,
            bed.patient,
            now_ms if fresh else bed.heard_ms,
            ward.clock_ms if fresh else bed.heard_clock_ms,
            newest_ms,
            tuple(vitals),
            open_alarms,
            lag_ms,
            lag_since_ms,
            skewed,
            cuff_from_ms,
            cuff_until_ms,
            bed.quiet_until_ms,
            bed.quiet_rank,
            late,
            duplicates,
            behind_since_ms,
            lag_from_ms,
            ended,
        )
        if not calm:
            if fresh:
                self._calm(ward, after, _SILENCE, newest_ms)
            self._judge_vitals(ward, after, rules, vitals, found)
        self._judge_absence(ward, after)
        if skewed or behind_since_ms or open_alarms or lag_ms < -FUTURE_TOLERANCE_MS:
            self._judge_skew(ward, after)
        ward.news2[bed.patient] = self._judge_news2(ward, after, rules)
        return after

    def _judge_clock(
        self, bed: BedState, incoming: BedReadings, frame_ms: int, now_ms: int
    ) -> tuple[int, int, int, int, bool]:
        """How far the device's clock is from the log's, about how far it has been and since when, since when it is too
        far behind to raise anything (0: it is not), and whether it is believed to be wrong.

        A clock once found wrong stays so until it is back near the log's, however its lag jumps: else its bed would
        be blind at each jump.
        """
        said_ms = 0
        for reading in incoming.readings:
            at_ms = reading.at_ms
            if at_ms is None:
                at_ms = frame_ms
            if at_ms > said_ms:
                said_ms = at_ms
        lag_ms = now_ms - (said_ms if incoming.readings else frame_ms)
        from_ms, since_ms = bed.lag_from_ms, bed.lag_since_ms
        if not since_ms or not -LAG_JITTER_MS <= lag_ms - from_ms <= LAG_JITTER_MS:
            from_ms, since_ms = lag_ms, now_ms
        behind = lag_ms > self._relevant_ms
        behind_since_ms = (bed.behind_since_ms or now_ms) if behind else 0
        if bed.skewed:
            return lag_ms, from_ms, since_ms, behind_since_ms, lag_ms > FUTURE_TOLERANCE_MS
        return lag_ms, from_ms, since_ms, behind_since_ms, behind and now_ms - since_ms >= self._clock_after_ms

    def _disown_pressures(
        self, known: tuple[VitalState | None, ...], vitals: list[VitalState | None], found: list[int]
    ) -> bool:
        """Whether the pressures of one time cannot belong together; then none of them is believed, nor its calm."""
        systolic, diastolic, mean = vitals[_SYSTOLIC], vitals[_DIASTOLIC], vitals[_MEAN]
        if systolic is None or diastolic is None or systolic.at_ms != diastolic.at_ms:
            return False
        if systolic.tag not in _USABLE or diastolic.tag not in _USABLE:
            return False
        same_time = mean is not None and mean.at_ms == systolic.at_ms and mean.tag in _USABLE
        mean_value = _number(mean.value) if mean is not None and same_time else None
        if not pressures_disagree(_number(systolic.value), _number(diastolic.value), mean_value):
            return False
        for i in (_SYSTOLIC, _DIASTOLIC, _MEAN) if same_time else (_SYSTOLIC, _DIASTOLIC):
            current, kept = vitals[i], known[i]
            if current is not None and i not in found:
                vitals[i] = msgspec.structs.replace(current, tag=Tag.IMPLAUSIBLE)
            elif current is not None:
                low_ms, high_ms = (0, 0) if kept is None else (kept.calm_low_ms, kept.calm_high_ms)
                vitals[i] = msgspec.structs.replace(
                    current, tag=Tag.IMPLAUSIBLE, calm_low_ms=low_ms, calm_high_ms=high_ms
                )
        return True

    @staticmethod
    def _is_low(rules: _Rules, i: int, value: float | str | None) -> bool:
        limits = rules.limits[i]
        return limits is not None and limits.low is not None and _number(value) < limits.low

    def _recall(
        self,
        rules: _Rules,
        open_alarms: dict[str, Alarm],
        ended: dict[str, int],
        i: int,
        kept: VitalState | None,
        reading: Reading,
        at_ms: int,
    ) -> None:
        """A late reading never raises; it moves the start of a pending episode back when it belongs to it."""
        limits = rules.limits[i]
        if limits is None or not open_alarms:
            return
        calm_low_ms, calm_high_ms = (0, 0) if kept is None else (kept.calm_low_ms, kept.calm_high_ms)
        value = _number(reading.value)
        for condition, beyond, calm_ms in (
            (_CONDITIONS[i].low, limits.low is not None and value < limits.low, calm_low_ms),
            (_CONDITIONS[i].high, limits.high is not None and value > limits.high, calm_high_ms),
        ):
            alarm = open_alarms.get(condition)
            if not beyond or alarm is None or alarm.state is not AlarmState.PENDING:
                continue
            if max(calm_ms, ended.get(condition, 0)) < at_ms < alarm.onset_ms:
                open_alarms[condition] = msgspec.structs.replace(alarm, onset_ms=at_ms)

    # -- judgements --------------------------------------------------------------------------------------------------

    def _judge_vitals(
        self, ward: _Ward, bed: BedState, rules: _Rules, vitals: list[VitalState | None], found: list[int]
    ) -> None:
        for i in found:
            current = vitals[i]
            if current is not None:
                self._judge_vital(ward, bed, rules, i, current)

    def _judge_vital(self, ward: _Ward, bed: BedState, rules: _Rules, i: int, current: VitalState) -> None:
        """Raises and ends the alarms of one new value."""
        vital, at_ms = VITALS[i], current.at_ms
        names = _CONDITIONS[i]
        if current.tag not in _USABLE:
            self._judge_fault(ward, bed, vital, names, current)
            return
        if bed.alarms:
            self._calm(ward, bed, names.implausible, at_ms)
            self._calm(ward, bed, names.frozen, at_ms)
        limits = rules.limits[i]
        if limits is not None:
            value = _number(current.value)
            self._judge_limit(ward, bed, vital, names.low, value, limits, at_ms)
            self._judge_limit(ward, bed, vital, names.high, value, limits, at_ms)

    def _judge_fault(self, ward: _Ward, bed: BedState, vital: Vital, names: _Conditions, current: VitalState) -> None:
        at_ms, tag = current.at_ms, current.tag
        short = CODES[vital].short
        if tag is Tag.IMPLAUSIBLE or tag is Tag.UNIT_MISMATCH:
            priority, word = Priority.LOW, tag.value.replace("_", " ")
            grave = _GRAVE.get(vital)
            if tag is Tag.IMPLAUSIBLE and grave is not None and 0.0 <= _number(current.value) < PLAUSIBLE[vital].low:
                # below what a sensor can show, and yet what a dying patient would show
                word = "zero" if current.value == 0.0 else word
                priority, word = grave[0], f"{word}: {grave[1]}"
            breach = Breach(at_ms, priority, f"{short} {_show(vital, current.value)} {word}", vital, current.value)
            self._breach(ward, bed, names.implausible, Category.TECHNICAL, breach, self._implausible_ms)
        elif tag is Tag.FROZEN:
            held_s = (at_ms - current.same_since_ms) // 1000
            breach = Breach(at_ms, Priority.LOW, f"{short} frozen {held_s} s", vital, current.value)
            self._breach(ward, bed, names.frozen, Category.TECHNICAL, breach, 0)

    def _judge_limit(
        self,
        ward: _Ward,
        bed: BedState,
        vital: Vital,
        condition: str,
        value: float,
        limits: Limits,
        at_ms: int,
    ) -> None:
        """Judges one side of one vital."""
        low = condition.endswith("_low")
        limit = limits.low if low else limits.high
        if limit is None:
            return
        beyond = value < limit if low else value > limit
        if not beyond:
            if bed.alarms:
                back = value >= limit + limits.hysteresis if low else value <= limit - limits.hysteresis
                alarm = bed.alarms.get(condition)
                if alarm is not None and (back or alarm.state is AlarmState.PENDING):
                    self._calm(ward, bed, condition, at_ms)
                elif alarm is not None:
                    bed.alarms[condition] = machine.on_lull(alarm)
            return
        extreme = limits.extreme_low if low else limits.extreme_high
        severe = extreme is not None and (value < extreme if low else value > extreme)
        crossed = extreme if severe and extreme is not None else limit
        shown, limit_shown = _show(vital, value), _show(vital, crossed)
        if shown == limit_shown:
            shown = _show(vital, value, more=1)  # 89.6 is not "90<90"
        message = f"{CODES[vital].short} {shown}{'<' if low else '>'}{limit_shown}"
        breach = Breach(at_ms, Priority.HIGH if severe else Priority.MEDIUM, message, vital, value, crossed)
        delay_ms, severe_ms = int(limits.delay_s * 1000), int(limits.extreme_delay_s * 1000)
        self._breach(ward, bed, condition, Category.PHYSIOLOGICAL, breach, delay_ms, severe_ms)

    def _judge_absence(self, ward: _Ward, bed: BedState) -> None:
        """A continuous vital that was there and is not, while the bed speaks on."""
        vitals, newest_ms, no_signal_ms = bed.vitals, bed.newest_ms, self._no_signal_ms
        for i, condition in self._absences:
            current = vitals[i]
            if current is None:
                continue
            since_ms = current.good_ms or current.same_since_ms
            if newest_ms - since_ms < no_signal_ms:
                if bed.alarms and current.good_ms:
                    self._calm(ward, bed, condition, newest_ms)
            elif (
                current.tag is Tag.NO_SIGNAL
                or (current.tag in _USABLE and current.at_ms < newest_ms)
                or newest_ms - current.at_ms >= no_signal_ms
            ):
                breach = Breach(since_ms, Priority.LOW, f"{CODES[VITALS[i]].short} no signal", VITALS[i])
                self._breach(ward, bed, condition, Category.TECHNICAL, breach, 0)

    def _judge_skew(self, ward: _Ward, bed: BedState) -> None:
        """A device whose times cannot be believed, or whose readings come too late to raise anything."""
        ahead = bed.lag_ms < -FUTURE_TOLERANCE_MS
        behind_ms = bed.behind_since_ms
        seconds = -round(bed.lag_ms / 1000)
        if bed.skewed or (ahead and ward.now_ms - bed.lag_since_ms >= self._clock_after_ms):
            breach = Breach(bed.lag_since_ms, Priority.LOW, f"Device clock off by {seconds:+d} s")
            self._breach(ward, bed, _CLOCK, Category.TECHNICAL, breach, 0)
        elif behind_ms and ward.now_ms - behind_ms >= self._clock_after_ms:
            breach = Breach(behind_ms, Priority.LOW, f"Data {-seconds} s behind")
            self._breach(ward, bed, _CLOCK, Category.TECHNICAL, breach, 0)
        elif bed.alarms and not behind_ms and bed.lag_ms >= -FUTURE_TOLERANCE_MS // 2:
            self._calm(ward, bed, _CLOCK, bed.newest_ms)

    def _judge_news2(self, ward: _Ward, bed: BedState, rules: _Rules) -> News2:
        """Scores NEWS2 and judges its certain part.

        A total that sinks only because a component went missing is no recovery: for the end of an alarm a stale
        component counts as it was last seen, and one that turned unusable keeps the alarm as it is.
        """
        at_ms = bed.newest_ms
        score, each, lost = self._news2_of(bed, rules.spo2_scale, at_ms)
        low, red = score.minimum, score.single_red
        breach = self._news2_breach(low, each, at_ms) if red or low >= self.policy.news2.medium_from else None
        if breach is not None:
            delay_ms = self._news2_delay_ms
            self._breach(ward, bed, _NEWS2_CONDITION, Category.PHYSIOLOGICAL, breach, delay_ms, delay_ms)
        elif not lost and _NEWS2_CONDITION in bed.alarms:
            last = [None if (current := bed.vitals[i]) is None else current.value for _, i in _NEWS2]
            lowest, _, _, seen = news2.total(last, rules.spo2_scale)
            if self._news2_breach(lowest, seen, at_ms) is None:
                self._calm(ward, bed, _NEWS2_CONDITION, at_ms)
        return score

    def _news2_of(self, bed: BedState, scale: int, at_ms: int) -> tuple[News2, list[int | None], bool]:
        """NEWS2 as of ``at_ms``, its points in the chart's order, and whether a component turned unusable."""
        vitals = bed.vitals
        each: list[int | None] = []
        components: list[News2Component] = []
        low = missing = 0
        lost = red = False
        for i, vital, stale_ms, usual, points_of, worst, just_now in self._chart:
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

    def _news2_breach(self, low: int, each: Sequence[int | None], at_ms: int) -> Breach | None:
        rule = self.policy.news2
        if low >= rule.high_from:
            return Breach(
                at_ms, Priority.HIGH, f"NEWS2 {low}≥{rule.high_from}", None, float(low), float(rule.high_from)
            )
        if low >= rule.medium_from:
            limit = float(rule.medium_from)
            return Breach(at_ms, Priority.MEDIUM, f"NEWS2 {low}≥{rule.medium_from}", None, float(low), limit)
        if RED in each:
            red = ", ".join(CODES[v].short for (v, _), points in zip(_NEWS2, each, strict=True) if points == RED)
            return Breach(at_ms, Priority.LOW, f"NEWS2 red score: {red}", None, float(low))
        return None

    # -- alarms ------------------------------------------------------------------------------------------------------

    def _breach(
        self,
        ward: _Ward,
        bed: BedState,
        condition: str,
        category: Category,
        breach: Breach,
        delay_ms: int,
        severe_delay_ms: int | None = None,
    ) -> None:
        before = bed.alarms.get(condition)
        physiological = category is Category.PHYSIOLOGICAL
        may_raise = not physiological or ward.now_ms - breach.at_ms <= self._relevant_ms
        severe_ms = delay_ms if severe_delay_ms is None else severe_delay_ms
        after, event = machine.on_breach(before, condition, category, breach, delay_ms, severe_ms, may_raise)
        if before is None and (last_ms := bed.ended.get(condition)) is not None and after.onset_ms <= last_ms:
            after = msgspec.structs.replace(after, onset_ms=last_ms + 1)
        bed.alarms[condition] = after
        if event is None:
            return
        if after.alert_id is None:
            ident = machine.alert_id(self.policy_hash, bed.patient, condition, after.onset_ms)
            after = msgspec.structs.replace(after, alert_id=ident)
        if before is not None and before.state is AlarmState.LATCHED:  # nobody has seen it yet: escalation goes on
            after = msgspec.structs.replace(after, audio_until_ms=None)
        else:
            after = msgspec.structs.replace(
                after, signalled_ms=ward.now_ms, acked_ms=0, escalation=0, audio_until_ms=None
            )
        quiet = bed.quiet_until_ms > ward.now_ms and bed.patient not in ward.unpaused
        rank = machine.RANK[after.priority]
        if quiet and rank <= bed.quiet_rank:
            after = msgspec.structs.replace(after, audio_until_ms=bed.quiet_until_ms)
        bed.alarms[condition] = after
        self._tell(ward, bed, after, after.state, event, breach.at_ms)
        if quiet and rank > bed.quiet_rank:
            self._break_pauses(ward, bed, breach.at_ms)

    def _break_pauses(self, ward: _Ward, bed: BedState, at_ms: int) -> None:
        """A higher priority ends a pause: every paused alarm of the bed sounds again, and so does each new one."""
        ward.unpaused.add(bed.patient)
        for alarm in tuple(bed.alarms.values()):
            if alarm.audio_until_ms is not None:
                after = msgspec.structs.replace(alarm, audio_until_ms=None)
                self._tell(ward, bed, after, after.state, AlarmEvent.AUDIO_RESUMED, at_ms)

    def _calm(self, ward: _Ward, bed: BedState, condition: str, at_ms: int) -> None:
        before = bed.alarms.get(condition)
        if before is None:
            return
        after, event = machine.on_calm(before, self.policy.alarm.latch)
        self._settle(ward, bed, before, after, event, at_ms)

    def _pass_time(self, ward: _Ward, bed: BedState) -> BedState:
        """What time alone changes: silence is raised, pauses end, alarms sound again and are escalated."""
        bed = msgspec.structs.replace(bed, alarms=dict(bed.alarms), ended=dict(bed.ended))
        silent_ms = ward.clock_ms - bed.heard_clock_ms
        if silent_ms > self._silence_ms:
            message = f"No data for {silent_ms // 1000} s"
            breach = Breach(bed.newest_ms, Priority.MEDIUM, message)
            self._breach(ward, bed, _SILENCE, Category.TECHNICAL, breach, 0)
        for condition, alarm in tuple(bed.alarms.items()):
            if alarm.state is AlarmState.PENDING:
                self._ripen(ward, bed, alarm, bed.newest_ms + silent_ms)
                continue
            for event in machine.due(alarm, ward.now_ms, self.policy.alarm):
                after = machine.on_time(bed.alarms[condition], event, ward.now_ms)
                self._tell(ward, bed, after, after.state, event, ward.now_ms)
        return bed

    def _ripen(self, ward: _Ward, bed: BedState, alarm: Alarm, event_ms: int) -> None:
        """A pending alarm of which no reading speaks now: it holds on, so that its delay can pass, or is forgotten.

        It holds on while the last value of a vital that is not continuous (a cuff, a thermometer) is in force, and
        while a continuous one is further out than a sensor can show.
        """
        vital = alarm.vital
        if vital is not None:
            i = INDEX[vital]
            current = bed.vitals[i]
            limits = self._rules_of(ward.ward, bed.patient).limits[i]
            if current is not None and self._in_force(i, current, alarm, event_ms):
                priority = alarm.priority if alarm.severe_ms is None else Priority.HIGH
                breach = Breach(
                    event_ms, priority, alarm.message, vital, alarm.value, alarm.limit, reading_ms=alarm.breach_ms
                )
                if alarm.category is Category.TECHNICAL:
                    self._breach(ward, bed, alarm.condition, alarm.category, breach, self._implausible_ms)
                elif limits is not None:
                    delay_ms, severe_ms = int(limits.delay_s * 1000), int(limits.extreme_delay_s * 1000)
                    self._breach(ward, bed, alarm.condition, alarm.category, breach, delay_ms, severe_ms)
                return
        if bed.newest_ms - alarm.breach_ms > self._pending_max_ms:
            del bed.alarms[alarm.condition]

    def _in_force(self, i: int, current: VitalState, alarm: Alarm, event_ms: int) -> bool:
        if i not in self._continuous:
            return current.at_ms == alarm.breach_ms and event_ms - current.at_ms <= self._stale_ms[i]
        if current.tag is not Tag.IMPLAUSIBLE or alarm.limit is None:
            return False
        value = _number(current.value)
        return value < alarm.limit if alarm.condition == _CONDITIONS[i].low else value > alarm.limit

    # -- people ------------------------------------------------------------------------------------------------------

    def _act(self, ward: _Ward, action: AlertAction) -> None:
        bed = self._bed_meant(ward, action)
        if bed is None:
            return
        if action.kind is ActionKind.STANDBY:
            self._release(ward, bed, action.text or "standby", action)
            return
        chosen = [
            alarm
            for alarm in bed.alarms.values()
            if alarm.state is not AlarmState.PENDING and action.alert_id in (None, alarm.alert_id)
        ]
        bed = msgspec.structs.replace(bed, alarms=dict(bed.alarms), ended=dict(bed.ended))
        if action.kind is ActionKind.PAUSE_AUDIO:
            bed = self._pause(ward, bed, chosen, action)
        else:
            for alarm in chosen:
                self._act_on(ward, bed, alarm, action)
            if action.kind is ActionKind.RESUME_AUDIO and action.alert_id is None:
                bed = msgspec.structs.replace(bed, quiet_until_ms=0, quiet_rank=-1)
        ward.beds[bed.patient] = bed

    @staticmethod
    def _bed_meant(ward: _Ward, action: AlertAction) -> BedState | None:
        """The bed that holds the alert, wherever its patient lies now; without an alert, the bed of that name."""
        for bed in ward.beds.values():
            if action.alert_id is None:
                if bed.bed == action.bed:
                    return bed
            elif any(alarm.alert_id == action.alert_id for alarm in bed.alarms.values()):
                return bed
        return None

    def _pause(self, ward: _Ward, bed: BedState, chosen: list[Alarm], action: AlertAction) -> BedState:
        rule = self.policy.alarm
        asked_s = rule.audio_pause_s if action.pause_s is None else action.pause_s
        until_ms = ward.now_ms + int(min(max(asked_s, 1), rule.audio_pause_max_s) * 1000)
        sounding = [alarm for alarm in chosen if alarm.state in (AlarmState.ACTIVE, AlarmState.LATCHED)]
        for alarm in sounding:
            after = msgspec.structs.replace(alarm, audio_until_ms=until_ms)
            self._tell(ward, bed, after, after.state, AlarmEvent.AUDIO_PAUSED, ward.now_ms, action, action.text)
        if not sounding:
            return bed
        rank = max(machine.RANK[alarm.priority] for alarm in sounding)
        return msgspec.structs.replace(bed, quiet_until_ms=until_ms, quiet_rank=rank)

    def _act_on(self, ward: _Ward, bed: BedState, alarm: Alarm, action: AlertAction) -> None:
        after: Alarm | None = alarm
        event: AlarmEvent | None = None
        if action.kind is ActionKind.ACKNOWLEDGE:
            after, event = machine.on_acknowledge(alarm, ward.now_ms)
        elif action.kind is ActionKind.RESUME_AUDIO:
            if alarm.audio_until_ms is not None:
                after, event = msgspec.structs.replace(alarm, audio_until_ms=None), AlarmEvent.AUDIO_RESUMED
        elif action.kind is ActionKind.ESCALATE:
            after, event = msgspec.structs.replace(alarm, escalation=alarm.escalation + 1), AlarmEvent.ESCALATED
        elif action.kind is ActionKind.NOTE:
            event = AlarmEvent.NOTE
        if event is not None:
            self._settle(ward, bed, alarm, after, event, ward.now_ms, action, action.text)

    # -- telling -----------------------------------------------------------------------------------------------------

    def _settle(
        self,
        ward: _Ward,
        bed: BedState,
        before: Alarm,
        after: Alarm | None,
        event: AlarmEvent | None,
        at_ms: int,
        action: AlertAction | None = None,
        note: str | None = None,
    ) -> None:
        """Puts ``after`` in the place of ``before`` and tells of it when there is something to tell."""
        if after is None:
            del bed.alarms[before.condition]
            if event is not None:
                self._tell(ward, bed, before, AlarmState.INACTIVE, event, at_ms, action, note)
        else:
            bed.alarms[before.condition] = after
            if event is not None:
                self._tell(ward, bed, after, after.state, event, at_ms, action, note)

    def _tell(
        self,
        ward: _Ward,
        bed: BedState,
        alarm: Alarm,
        state: AlarmState,
        event: AlarmEvent,
        at_ms: int,
        action: AlertAction | None = None,
        note: str | None = None,
    ) -> None:
        """Writes one numbered transition of ``alarm`` into ``state`` and keeps the alarm unless it ended."""
        if alarm.alert_id is None:
            raise ValueError(f"{alarm.condition} of {bed.patient} is told before it was raised")
        ward.told.append(
            AlertTransition(
                version=SCHEMA_VERSION,
                alert_id=alarm.alert_id,
                seq=alarm.seq,
                ward=ward.ward,
                bed=bed.bed,
                patient=bed.patient,
                condition=alarm.condition,
                category=alarm.category,
                priority=alarm.priority,
                event=event,
                state=state,
                at_ms=at_ms,
                onset_ms=alarm.onset_ms,
                message=alarm.message,
                source=ward.source,
                policy=ward.policy,
                vital=alarm.vital,
                value=alarm.value,
                limit=alarm.limit,
                reading_ms=alarm.breach_ms,
                actor=None if action is None else action.actor,
                action_id=None if action is None else action.action_id,
                audio_until_ms=alarm.audio_until_ms,
                escalation=alarm.escalation,
                note=note,
            )
        )
        if state is AlarmState.INACTIVE:
            bed.ended[alarm.condition] = alarm.onset_ms
        else:
            bed.alarms[alarm.condition] = msgspec.structs.replace(alarm, seq=alarm.seq + 1)

    def _score(self, ward: _Ward, bed: BedState) -> BedScore:
        silent_ms = ward.now_ms - bed.heard_ms
        as_of_ms = bed.newest_ms + silent_ms
        news2_now = None if silent_ms else ward.news2.get(bed.patient)
        if news2_now is None:
            scale = self._rules_of(ward.ward, bed.patient).spo2_scale
            news2_now, _, _ = self._news2_of(bed, scale, as_of_ms)
        values = [
            ScoredVital(
                vital=vital,
                value=current.value,
                at_ms=current.at_ms,
                tag=Tag.STALE if as_of_ms - current.at_ms > stale_ms and current.tag in _USABLE else current.tag,
                quality=current.quality,
                source=current.source,
            )
            for vital, current, stale_ms in zip(VITALS, bed.vitals, self._stale_ms, strict=False)
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

    def _rules_of(self, ward: str, patient: str) -> _Rules:
        rules = self._rules.get((ward, patient))
        if rules is None:
            limits = self.policy.limits_for(ward, patient)
            ordered = tuple(limits.get(v) for v in VITALS)
            bounds = tuple(None if each is None else (each.low, each.high) for each in ordered)
            rules = _Rules(ordered, bounds, self.policy.spo2_scale_for(ward, patient))
            self._rules[(ward, patient)] = rules
        return rules


def _longest_delay_ms(policy: Policy) -> int:
    delays = [max(limits.delay_s, limits.extreme_delay_s) for limits in policy.limits.values()]
    for override in (*policy.wards.values(), *policy.patients.values()):
        for change in override.limits.values():
            delays += [d for d in (change.delay_s, change.extreme_delay_s) if isinstance(d, float)]
    return int(max([policy.news2.delay_s, policy.technical.implausible_after_s, *delays]) * 1000)


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
    low, high = news2.rescale(each, low, high, _number(current.value) if counted and current else None, scale)
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


def _number(value: float | str | None) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise TypeError(f"{value!r} is not a number")


def _show(vital: Vital, value: float | str | None, more: int = 0) -> str:
    """The value at the precision it is recorded in, or with ``more`` decimals."""
    if isinstance(value, (int, float)):
        decimals = CODES[vital].decimals + more
        if abs(value) >= 1e6:
            return f"{value:.3g}"
        return f"{value:.{decimals}f}" if decimals else f"{round(value)}"
    return "--" if value is None else value
