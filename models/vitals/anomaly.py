"""The anomaly detector of a ward: how unlike the patient's own past, and any patient's, the last minutes and hours are.

A score of s says: among normal steps (as the card defines them) a share of 1 - s is at least as odd. Two heads see the
same patient, one by minutes and one by hours, each an isolation forest beside plain distances, the minutes with river's
half-space trees too. What is usual for a patient is learned minute by minute, never while alarming, beyond a limit in
force, from a flat line or from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.records import Anomaly, Driver, Vital
from models.bundle import Bundle
from models.ports import Flags, Floats, Memory, Windows
from models.vitals import oddness, portrait
from models.vitals.anomaly_memory import Remembered, packed, unpacked
from models.vitals.anomaly_words import drivers
from models.vitals.baseline import Doubles, folded
from models.vitals.drift import Drift
from models.vitals.halfspace import HalfSpace
from models.vitals.history import CHANNELS, MINUTE_MS, MINUTES
from models.vitals.oddness import Head
from models.vitals.portrait import Portrait

MINUTES_FOREST: Final = "forest_minutes.onnx"
HOURS_FOREST: Final = "forest_hours.onnx"
HALF_SPACE: Final = "half_space.npz"
TRUST: Final = 0.8
"""The share of false alerts that the minutes may use; the rest is the hours' (a weighted Bonferroni bound)."""
_RECENTLY: Final = 5
_HOURS_KNOWN: Final = 6
_FLAT: Final = 10
_NEVER_FLAT: Final = np.isin(CHANNELS, (Vital.HEART_RATE, Vital.SYSTOLIC, Vital.MEAN_PRESSURE))
_SCORE_DIGITS: Final = 4


class Habits(NamedTuple):
    """How it learns: wholly up to the score ``calm``, from ``odd`` on by a ``share`` only, in between in between.

    After a drift with ``quick`` fading for ``quick_min`` minutes. Drivers are told from ``told_from`` on.
    """

    calm: float
    odd: float
    share: float
    quick: float
    quick_min: int
    told_from: float


def load(bundle: Bundle) -> Detector:
    """The detector in a bundle of ``vitals_anomaly``. Raises Poison naming what is missing or wrong."""
    parameters = bundle.parameters
    channels = portrait.names([vital.value for vital in CHANNELS])
    where = f"{bundle.name}/{bundle.version}"
    try:
        drift, habits = parameters["drift"], Habits(**parameters["habits"])
        parts = parameters["minutes"], parameters["hours"]
        columns = [channels.index(name) for name in parameters["half_space"]["features"]]
    except (KeyError, TypeError, ValueError) as wrong:
        raise Poison("bad_model", f"{where}: {wrong}", where) from wrong
    minutes = oddness.read(parts[0], channels, bundle.read(MINUTES_FOREST), f"{where} minutes")
    hours = oddness.read(parts[1], channels, bundle.read(HOURS_FOREST), f"{where} hours")
    trees = HalfSpace.read(bundle.read(HALF_SPACE))
    return Detector(minutes, hours, trees, np.array(columns), habits, drift_of(minutes, drift))


def drift_of(head: Head, raw: Mapping[str, Any]) -> Drift:
    """The drift detector of a head, from its part of the manifest."""
    return Drift(head.population.floor / 4, head.population.within, float(raw["delta"]), int(raw["least"]))


def squashed(features: Floats) -> Doubles:
    """Deviations in (0, 1), 0 at 0.5: what half-space trees want."""
    z = features.astype(np.float64)
    squashed: Doubles = 0.5 + 0.5 * z / (2.0 + np.abs(z))
    return squashed


class Detector:
    """See ``models.ports.AnomalyDetector``. All that is learned is in the memory; the object never changes."""

    def __init__(
        self, minutes: Head, hours: Head, trees: HalfSpace, columns: NDArray[np.intp], habits: Habits, drift: Drift
    ) -> None:
        self.minutes, self.hours, self.trees, self.columns = minutes, hours, trees, columns
        self.habits, self.drift = habits, drift

    def judge(self, windows: Windows, memory: Memory) -> tuple[tuple[Anomaly | None, ...], Memory]:
        """An anomaly a bed (None: fewer than two vitals known in the last five minutes) and what is remembered."""
        if not memory.beds:
            return (), memory
        now = windows.at_ms // MINUTE_MS
        learnable = self._learnable(windows)
        known, fresh, seen = self._look(windows, memory, learnable)
        mass = self.trees.mass(memory.ward)
        paths = self.trees.paths(squashed(seen.features[:, self.columns]))
        minute_tail = self.minutes.tail(seen, self.trees.score(paths, mass))
        slow_at = known.slow_at
        known = self._slow(known, windows, now)
        score = _together(minute_tail, known.slow)
        spoken = np.isfinite(windows.minutes[:, -_RECENTLY:]).any(axis=1).sum(axis=1) >= 2
        due = now - 1 > known.settled
        settled, drifted = self._settled(known, windows, learnable, score, now)
        teaching = due & ~windows.alarming & spoken & learnable[:, -2].any(axis=1)
        learned = self.trees.learned(paths[:, teaching], mass) if teaching.any() else mass
        changed = fresh | due | windows.alarming & (now > known.settled) | (known.slow_at != slow_at)
        anomalies = self._told(windows, known, seen, (minute_tail, score, spoken), drifted)
        ward = learned.packed() if teaching.any() else memory.ward
        return anomalies, Memory(packed(settled, memory.beds, changed), ward)

    def measured(self, windows: Windows, memory: Memory) -> tuple[Portrait, dict[str, Doubles]]:
        """What ``judge`` bases its minutes' score on: the portraits, and the raw value of each part."""
        _, _, seen = self._look(windows, memory, self._learnable(windows))
        paths = self.trees.paths(squashed(seen.features[:, self.columns]))
        return seen, self.minutes.raw(seen, self.trees.score(paths, self.trees.mass(memory.ward)))

    def _look(self, windows: Windows, memory: Memory, learnable: Flags) -> tuple[Remembered, Flags, Portrait]:
        known = unpacked(memory.beds)
        fresh = known.settled == 0
        if fresh.any():
            known = self._introduced(known, windows, learnable, fresh)
        usual = known.baseline.usual(self.minutes.population)
        return known, fresh, portrait.drawn(windows.minutes, usual, self.minutes.population, self.minutes.shape)

    def _learnable(self, windows: Windows) -> Flags:
        """Cells (beds, minutes, channels) that may be learned, if the bed may: known, within limits, no flat line."""
        cells = windows.minutes
        low, high = windows.limits[:, None, :, 0], windows.limits[:, None, :, 1]
        with np.errstate(invalid="ignore"):
            good: Flags = np.isfinite(cells) & ~(cells < low) & ~(cells > high)
        last = cells[:, -_FLAT - 1 : -1]
        flat = (last == last[:, -1:]).all(axis=1) & _NEVER_FLAT
        believed: Flags = good & ~flat[:, None, :]
        return believed

    def _introduced(self, known: Remembered, windows: Windows, learnable: Flags, fresh: Flags) -> Remembered:
        """A bed not seen before: what its window already tells of its usual, unless it is alarming now."""
        baseline = known.baseline
        told = fresh & ~windows.alarming
        if told.any():
            closed = np.where(learnable[told, :-1], windows.minutes[told, :-1], np.float32(np.nan))
            found = folded(closed, self.minutes.fading, self.minutes.population)
            for kept, new in zip(baseline, found, strict=True):
                kept[told] = new
        settled = np.where(fresh, windows.at_ms // MINUTE_MS - 1, known.settled)
        return known._replace(settled=settled)

    def _slow(self, known: Remembered, windows: Windows, now: NDArray[np.int64]) -> Remembered:
        """With the tail of the hours, once a minute."""
        due = known.slow_at != now
        if not due.any():
            return known
        seen, _ = self._hours(windows.hours[due])
        enough = np.isfinite(windows.hours[due]).any(axis=2).sum(axis=1) >= _HOURS_KNOWN
        slow = known.slow.copy()
        slow[due] = np.where(enough, np.round(self.hours.tail(seen), 3), 0.0).astype(np.float32)
        return known._replace(slow=slow, slow_at=np.where(due, now, known.slow_at))

    def _hours(self, hours: Floats) -> tuple[Portrait, Doubles]:
        return by_hours(self.hours, hours)

    def _settled(
        self, known: Remembered, windows: Windows, learnable: Flags, score: Doubles, now: NDArray[np.int64]
    ) -> tuple[Remembered, Flags]:
        """With every minute closed since learned or passed over; and the vitals found to have drifted."""
        baseline, trace = known.baseline, known.trace
        drifted = np.zeros(learnable[:, 0].shape, np.bool_)
        pending = np.clip(now - 1 - known.settled, 0, MINUTES - 1)
        calm, odd = self.habits.calm, self.habits.odd
        share = 1.0 - (1.0 - self.habits.share) * np.clip((score - calm) / (odd - calm), 0.0, 1.0)[:, None]
        quick = known.quick
        for back in range(int(pending.max(initial=0)), 0, -1):
            may = (pending >= back) & ~windows.alarming
            cell = np.where(learnable[:, -1 - back] & may[:, None], windows.minutes[:, -1 - back], np.nan)
            minute = now - back
            fading = np.where(minute[:, None] < quick, self.habits.quick, self.minutes.fading)
            values = cell.astype(np.float64)
            baseline = baseline.robustly(values, fading, self.minutes.population, share)
            trace = self.drift.noted(trace, values)
            for at in np.unique(minute[may]):
                found, trace = self.drift.found(trace, int(at), may & (minute == at))
                quick = np.where(found, at + self.habits.quick_min, quick)
                drifted |= found
        settled = np.where(windows.alarming, np.maximum(known.settled, now), np.maximum(known.settled, now - 1))
        return known._replace(baseline=baseline, trace=trace, settled=settled, quick=quick), drifted

    def _told(
        self,
        windows: Windows,
        known: Remembered,
        seen: Portrait,
        judged: tuple[Doubles, Doubles, Flags],
        drifted: Flags,
    ) -> tuple[Anomaly | None, ...]:
        minute_tail, score, spoken = judged
        rounded = np.round(score, _SCORE_DIGITS).tolist()
        baseline_s = (known.baseline.steps.max(axis=1) * 60).astype(int).tolist()
        _, deviation = known.baseline.usual(self.minutes.population)
        learning = (~windows.alarming & np.isfinite(windows.minutes[:, -_RECENTLY:]).any(axis=(1, 2))).tolist()
        slow = known.slow + np.log10(1 - TRUST) > minute_tail + np.log10(TRUST)
        found: list[Anomaly | None] = []
        for bed, value in enumerate(rounded):
            if not spoken[bed]:
                found.append(None)
                continue
            why: tuple[Driver, ...] = ()
            if value >= self.habits.told_from:
                if slow[bed]:
                    hours, usual = self._hours(windows.hours[bed : bed + 1])
                    why = drivers(hours, 0, usual[0], self.hours.shape.slope, "h")
                else:
                    why = drivers(seen, bed, deviation[bed], self.minutes.shape.slope, "min")
            drift = tuple(CHANNELS[channel] for channel in np.flatnonzero(drifted[bed])) if drifted[bed].any() else ()
            found.append(
                Anomaly(score=value, learning=learning[bed], baseline_s=baseline_s[bed], drivers=why, drift=drift)
            )
        return tuple(found)


def by_hours(head: Head, hours: Floats) -> tuple[Portrait, Doubles]:
    """The portrait of windows (n, hours, 6) beside what was usual before their newest hour, and the usual deviation."""
    usual = folded(hours[:, :-1], head.fading, head.population).usual(head.population)
    return portrait.drawn(hours, usual, head.population, head.shape), usual[1]


def _together(minutes: Doubles, hours: Doubles) -> Doubles:
    """1 - the smaller of the two shares, each over its trust: normal steps pass .99 one time in a hundred at most."""
    least = np.minimum(10.0**-minutes / TRUST, 10.0**-hours / (1 - TRUST))
    score: Doubles = 1.0 - np.minimum(least, 1.0)
    return score
