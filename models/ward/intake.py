"""Takes in what a bed's device says: whose clock to believe, what is new, late or told twice, what can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from contracts.clinical.plausibility import FUTURE_TOLERANCE_MS, PLAUSIBLE
from contracts.records import BedReadings, Category, News2, Quality, Reading, Source, Tag, Vital
from models.vitals.history import CHANNEL, MINUTE_MS, History
from models.ward.alarmbook import AlarmBook
from models.ward.alarms import Alarm
from models.ward.conditions import SILENCE
from models.ward.judgement import judge_absence, judge_news2, judge_skew, judge_vitals
from models.ward.rulebook import PatientRules, Rulebook
from models.ward.state import INDEX, VITALS, BedState, VitalState
from models.ward.tagging import USABLE, pressures_disagree, tag_of
from models.ward.values import number

LAG_JITTER_MS: Final = 2_000
CUFF_MAX_MS: Final = 60_000
CUFF_REST_MS: Final = 120_000
CUFF_RECOVERY_MS: Final = 10_000
FROZEN_STEP_MS: Final = 10_000
"""Equal values further apart than this are two measurements that agree (a cuff), not a frozen device."""

_TAKEN: Final = frozenset({Quality.MEASURED, Quality.NO_SIGNAL})
# the members that the hot path names, without the way through their class
_OK: Final = Tag.OK
_CLOCK_SUSPECT: Final = Tag.CLOCK_SUSPECT
_ADVISORY: Final = Category.ADVISORY
_MEASURING: Final = Quality.MEASURING
_NO_VALUE: Final = Quality.NO_SIGNAL
_CUFF: Final = Source.CUFF
_SYSTOLIC: Final = INDEX[Vital.SYSTOLIC]
_DIASTOLIC: Final = INDEX[Vital.DIASTOLIC]
_MEAN: Final = INDEX[Vital.MEAN_PRESSURE]
_SPO2: Final = INDEX[Vital.SPO2]
_PRESSURES: Final = frozenset({_SYSTOLIC, _DIASTOLIC, _MEAN})
_PLAUSIBLE: Final = tuple(PLAUSIBLE.get(vital) for vital in VITALS)
_CHANNEL: Final = tuple(CHANNEL.get(vital, -1) for vital in VITALS)
"""The place in the history of each vital, -1 for one that models do not see."""
_WIDTH: Final = len(CHANNEL)


def absorb(book: AlarmBook, bed: BedState, incoming: BedReadings, frame_ms: int) -> tuple[BedState, News2]:
    """The bed after its readings, and its NEWS2 with them."""
    now_ms, rulebook = book.now_ms, book.rulebook
    rules = rulebook.of(book.ward, bed.patient)
    lag_ms, lag_from_ms, lag_since_ms, behind_since_ms, skewed = _judge_clock(rulebook, bed, incoming, frame_ms, now_ms)
    intake = _Intake(
        book,
        rules,
        bed,
        bed.vitals,
        [*bed.vitals],
        bed.alarms.copy(),
        bed.ended.copy(),
        bed.late,
        bed.duplicates,
        bed.cuff_from_ms,
        bed.cuff_until_ms,
        calm=_is_calm(bed.alarms),
        history=bed.history,
    )
    newest_ms = intake.take(incoming.readings, frame_ms, skewed)
    found = intake.found
    history = _remembered(intake.history, intake.vitals, found)
    fresh = bool(found)  # a gateway that only repeats itself is not heard
    after = BedState(
        bed.bed,
        bed.patient,
        now_ms if fresh else bed.heard_ms,
        book.clock_ms if fresh else bed.heard_clock_ms,
        newest_ms,
        tuple(intake.vitals),
        intake.alarms,
        lag_ms,
        lag_since_ms,
        skewed,
        intake.cuff_from_ms,
        intake.cuff_until_ms,
        bed.quiet_until_ms,
        bed.quiet_rank,
        intake.late,
        intake.duplicates,
        behind_since_ms,
        lag_from_ms,
        intake.ended,
        history,
        bed.memories,
        bed.facts,
    )
    if not intake.calm:
        if fresh:
            book.calm(after, SILENCE, newest_ms)
        judge_vitals(book, after, rules, after.vitals, found)
    judge_absence(book, after)
    if skewed or behind_since_ms or after.alarms or lag_ms < -FUTURE_TOLERANCE_MS:
        judge_skew(book, after)
    return after, judge_news2(book, after, rules)


def _is_calm(alarms: dict[str, Alarm]) -> bool:
    """Whether no reading can end or worsen any of them."""
    return not alarms or all(alarm.category is _ADVISORY for alarm in alarms.values())


def _judge_clock(
    rulebook: Rulebook, bed: BedState, incoming: BedReadings, frame_ms: int, now_ms: int
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
    behind = lag_ms > rulebook.relevant_ms
    behind_since_ms = (bed.behind_since_ms or now_ms) if behind else 0
    if bed.skewed:
        return lag_ms, from_ms, since_ms, behind_since_ms, lag_ms > FUTURE_TOLERANCE_MS
    return lag_ms, from_ms, since_ms, behind_since_ms, behind and now_ms - since_ms >= rulebook.clock_after_ms


class _Intake(msgspec.Struct, gc=False):
    """One bed while its readings are taken in.

    ``known`` are the vitals that were judged before, ``found`` the places of those to be judged, ``calm`` whether
    there is nothing to judge: no alarm but advisories, and every value inside its limits.
    """

    book: AlarmBook
    rules: PatientRules
    bed: BedState
    known: tuple[VitalState | None, ...]
    vitals: list[VitalState | None]
    alarms: dict[str, Alarm]
    ended: dict[str, int]
    late: int
    duplicates: int
    cuff_from_ms: int
    cuff_until_ms: int
    calm: bool
    history: History
    found: list[int] = []

    def take(self, readings: Sequence[Reading], frame_ms: int, skewed: bool) -> int:
        """Tags and keeps each reading that is new; the newest time of any.

        Here the worker spends its time, so it is one loop: nearly all readings are new, usable and inside their limits,
        and come through it without a call.
        """
        now_ms = self.book.now_ms
        future_ms = now_ms + FUTURE_TOLERANCE_MS
        bounds, frozen_ms = self.rules.bounds, self.book.rulebook.frozen_ms
        vitals, known, found, newest_ms = self.vitals, self.known, self.found, self.bed.newest_ms
        pressures_new = False

        for reading in readings:
            i = INDEX[reading.vital]
            value, quality, source = reading.value, reading.quality, reading.source
            at_ms = reading.at_ms
            if at_ms is None:
                at_ms = frame_ms
            suspect = skewed or at_ms > future_ms
            if suspect:
                at_ms = now_ms
            if quality is _MEASURING:
                self._inflate(source, at_ms)
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
            if at_ms < self.cuff_until_ms and self.cuff_from_ms <= at_ms and (i == _SPO2 or source is _CUFF):
                tag = self._under_cuff(i, reading, tag, at_ms, suspect)
            if suspect and tag is _OK:
                tag = _CLOCK_SUSPECT

            previous, kept = vitals[i], known[i]
            same_since_ms, good_ms = at_ms, 0
            if previous is not None:
                if at_ms <= previous.at_ms:
                    self._is_old(i, reading, tag, at_ms, previous)
                    continue
                if previous is not kept:  # a second sample of this vital: what came before it is judged first
                    self._judge_so_far(pressures_new)
                    known, found, pressures_new = self.known, self.found, False
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
                    tag, self.calm = Tag.FROZEN, False
                else:
                    good_ms = at_ms
                    limits = bounds[i]
                    if limits is not None:
                        low, high = limits
                        if low is not None:
                            if value < low:  # type: ignore[operator]  # as above
                                self.calm = False
                            else:
                                calm_low_ms = at_ms
                        if high is not None:
                            if value > high:  # type: ignore[operator]  # as above
                                self.calm = False
                            else:
                                calm_high_ms = at_ms
            else:
                self.calm = False
            vitals[i] = VitalState(
                value, at_ms, tag, quality, source, good_ms, same_since_ms, calm_low_ms, calm_high_ms
            )
            if at_ms > newest_ms:
                newest_ms = at_ms
            if i in _PRESSURES:
                pressures_new = True
            found.append(i)

        if pressures_new:
            self._disown_pressures()
        return newest_ms

    def _inflate(self, source: Source, at_ms: int) -> None:
        """A cuff begins to measure: for a while it may stop the flow to a finger."""
        if source is _CUFF and at_ms - self.cuff_until_ms >= CUFF_REST_MS:
            self.cuff_from_ms, self.cuff_until_ms = at_ms, at_ms + CUFF_MAX_MS

    def _under_cuff(self, i: int, reading: Reading, tag: Tag, at_ms: int, suspect: bool) -> Tag:
        """The tag of a reading taken while a cuff is inflated, which a low saturation is put down to."""
        if i == _SPO2 and (tag is Tag.NO_SIGNAL or (tag is _OK and not suspect and self._is_low(i, reading, at_ms))):
            tag = Tag.CUFF_INTERFERENCE
        if reading.source is _CUFF:
            self.cuff_until_ms = min(self.cuff_until_ms, at_ms + CUFF_RECOVERY_MS)
        return tag

    def _is_low(self, i: int, reading: Reading, at_ms: int) -> bool:
        limits = self.rules.limits[i]
        return limits is not None and self.book.is_low(self.bed, limits, number(reading.value), at_ms)

    def _is_old(self, i: int, reading: Reading, tag: Tag, at_ms: int, previous: VitalState) -> None:
        """A reading no newer than what is known was told twice or comes late."""
        if at_ms == previous.at_ms and reading.value == previous.value:
            self.duplicates += 1
            return
        self.late += 1
        if tag in USABLE:
            if _CHANNEL[i] >= 0:
                self.history = self.history.with_late(at_ms, _CHANNEL[i], number(reading.value))
            limits = self.rules.limits[i]
            if limits is not None and self.alarms:
                so_far = msgspec.structs.replace(self.bed, alarms=self.alarms, ended=self.ended)
                self.book.recall(so_far, i, number(reading.value), limits, self.known[i], at_ms)

    def _judge_so_far(self, pressures_new: bool) -> None:
        """Judges what was found and begins anew."""
        if pressures_new:
            self._disown_pressures()
        self.history = _remembered(self.history, self.vitals, self.found)
        if not self.calm:
            so_far = msgspec.structs.replace(self.bed, alarms=self.alarms, ended=self.ended)
            judge_vitals(self.book, so_far, self.rules, self.vitals, self.found)
        self.known, self.found = tuple(self.vitals), []
        self.calm = _is_calm(self.alarms)

    def _disown_pressures(self) -> None:
        """When the pressures of one time cannot belong together, none of them is believed, nor its calm."""
        vitals = self.vitals
        systolic, diastolic, mean = vitals[_SYSTOLIC], vitals[_DIASTOLIC], vitals[_MEAN]
        if systolic is None or diastolic is None or systolic.at_ms != diastolic.at_ms:
            return
        if systolic.tag not in USABLE or diastolic.tag not in USABLE:
            return
        same_time = mean is not None and mean.at_ms == systolic.at_ms and mean.tag in USABLE
        mean_value = number(mean.value) if mean is not None and same_time else None
        if not pressures_disagree(number(systolic.value), number(diastolic.value), mean_value):
            return
        self.calm = False
        for i in (_SYSTOLIC, _DIASTOLIC, _MEAN) if same_time else (_SYSTOLIC, _DIASTOLIC):
            current, kept = vitals[i], self.known[i]
            if current is not None and i not in self.found:
                vitals[i] = msgspec.structs.replace(current, tag=Tag.IMPLAUSIBLE)
            elif current is not None:
                low_ms, high_ms = (0, 0) if kept is None else (kept.calm_low_ms, kept.calm_high_ms)
                vitals[i] = msgspec.structs.replace(
                    current, tag=Tag.IMPLAUSIBLE, calm_low_ms=low_ms, calm_high_ms=high_ms
                )


def _remembered(history: History, vitals: Sequence[VitalState | None], found: list[int]) -> History:
    """The history with the values that are new, those at the places ``found``, where they are usable.

    Nearly all belong to the running minute, and are added to it without a call.
    """
    running: list[float] | None = None
    start_ms = history.minute * MINUTE_MS
    elsewhere: list[tuple[int, int, float]] = []
    for i in found:
        channel, current = _CHANNEL[i], vitals[i]
        if channel < 0 or current is None:
            continue
        tag = current.tag
        if tag is _OK or tag is _CLOCK_SUSPECT:
            at_ms = current.at_ms
            if 0 <= at_ms - start_ms < MINUTE_MS:
                if running is None:
                    running = [*history.running]
                running[channel] += current.value  # type: ignore[operator]  # only consciousness is text
                running[channel + _WIDTH] += 1.0
            else:
                elsewhere.append((at_ms, channel, number(current.value)))
    if running is not None:
        history = History(history.minute, tuple(running), history.minutes, history.tens)
    for at_ms, channel, value in sorted(elsewhere):
        history = history.with_reading(at_ms, channel, value)
    return history
