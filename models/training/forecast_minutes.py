"""Minutes for the near-term head: simulated ones to learn from, real monitor and cuff records to be judged by.

Real series of a value a minute are two patients and many cuffs: too few to learn from. So the head learns from a
simulation, every patient of which is drawn with tempo, noise, events and gaps of its own, wider than real ones
differ: what is left to learn is how far a minute's value is to be believed, which the head must then show on real
records it has never seen. The simulated hospital (``producers``) has the same ingredients (baseline, common tone,
slow waves, jitter); models do not import producers, and one fixed set of its parameters would teach that set.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.records import Vital
from models.training.forecast_grid import AHEAD_MINUTES
from models.training.stays import _read, part, plausible
from models.vitals.history import CHANNELS, MINUTES

Floats = NDArray[np.float32]
Wide = NDArray[np.float64]

_SPAN: Final = MINUTES + AHEAD_MINUTES[-1]
_WARM: Final = 90
# heart rate, respiration, SpO2, systolic, mean pressure, temperature
_LEVEL: Final = np.array([84.0, 19.0, 96.8, 122.0, 82.0, 36.9])
_BETWEEN: Final = np.array([17.0, 5.0, 2.2, 22.0, 15.0, 0.7])
_WAVE: Final = np.array([4.0, 2.2, 0.9, 8.0, 5.5, 0.12])
_NOISE: Final = np.array([1.2, 1.8, 0.4, 4.0, 3.0, 0.04])
_TONE: Final = np.array([1.0, 0.5, -0.2, 1.0, 1.0, 0.1])
_FLOOR: Final = np.array([25.0, 3.0, 55.0, 45.0, 28.0, 33.0])
_CEILING: Final = np.array([210.0, 60.0, 100.0, 240.0, 180.0, 41.5])


@dataclass(frozen=True)
class MinuteExamples:
    """``windows`` (n, 60, 6) to the minute, NaN unknown; ``truth`` (n, 6, 4) at each of ``AHEAD_MINUTES``.

    ``following`` (n, 30, 6): every minute up to the longest horizon. ``patient`` numbers patients (or hours of one
    patient, where there is only one) for bootstraps; ``record`` names where each example comes from.
    """

    windows: Floats
    truth: Floats
    following: Floats
    patient: NDArray[np.intp]
    record: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.windows)

    def of(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> MinuteExamples:
        """Only these rows."""
        return MinuteExamples(
            self.windows[rows], self.truth[rows], self.following[rows], self.patient[rows], self.record[rows]
        )


def simulated(patients: int, seed: int) -> MinuteExamples:
    """One window of each of so many simulated patients. What follows is what a monitor would have shown then."""
    chance = np.random.default_rng([seed, 60])
    body = _bodies(chance, patients)
    shown = _measured(chance, body)
    windows = np.where(_seen(chance, patients), shown[:, :MINUTES], np.nan).astype(np.float32)
    after = shown[:, MINUTES:].astype(np.float32)
    places = np.array(AHEAD_MINUTES) - 1
    return MinuteExamples(
        windows, np.swapaxes(after[:, places], 1, 2), after, np.arange(patients), np.full(patients, "simulated")
    )


def _bodies(chance: np.random.Generator, n: int) -> Wide:
    """What the body does, (n, 90 minutes, 6): three waves of random length a vital, a common tone, events."""
    width = len(CHANNELS)
    lengths = np.exp(chance.uniform(np.log(2), np.log([8, 60, 600])[None, None, :], (n, width + 1, 3)))
    lengths[..., 1:] = np.maximum(lengths[..., 1:], [6, 40])
    size = np.exp(chance.normal(0, 0.6, (n, width + 1, 3))) * [0.45, 0.6, 0.8]
    keep = np.exp(-1 / lengths)
    state = chance.normal(size=keep.shape)
    waves = np.empty((n, _WARM + _SPAN, width + 1))
    for minute in range(_WARM + _SPAN):
        state = keep * state + np.sqrt(1 - keep**2) * chance.normal(size=keep.shape)
        waves[:, minute] = (state * size).sum(-1)
    waves = waves[:, _WARM:]
    tone = waves[:, :, width:] * chance.uniform(0, 1, (n, 1, 1)) * _TONE
    level = _LEVEL + _BETWEEN * chance.normal(size=(n, 1, width))
    body: Wide = level + _WAVE * (waves[:, :, :width] + tone + _events(chance, n))
    return body


def _events(chance: np.random.Generator, n: int) -> Wide:
    """Sudden shifts that stay or pass, and slow slides, in units of the waves; most patients have none."""
    width = len(CHANNELS)
    minute = np.arange(_SPAN)[None, :, None]
    total = np.zeros((n, _SPAN, width))
    for often, longest in ((0.12, 1.0), (0.10, 90.0)):
        struck = chance.random((n, 1, width)) < often
        start = chance.uniform(-30, _SPAN, (n, 1, width))
        lasts = chance.uniform(1, max(longest, 1.001), (n, 1, width))
        size = chance.standard_t(4, (n, 1, width)) * 2.0
        passes = np.where(chance.random((n, 1, width)) < 0.5, chance.uniform(5, 60, (n, 1, width)), 1e9)
        rise = np.clip((minute - start) / lasts, 0, 1)
        total += struck * size * rise * np.where(minute - start - lasts > passes, 0.0, 1.0)
    return total


def _measured(chance: np.random.Generator, body: Wide) -> Wide:
    """What a monitor shows of it: noise of its own kind, outliers, whole numbers, nothing beyond what can be shown."""
    n, _, width = body.shape
    noise = _NOISE * np.exp(chance.normal(0, 0.7, (n, 1, width)))
    shown = body + noise * chance.normal(size=body.shape)
    odd = np.nonzero(chance.random(body.shape) < 0.02 * (chance.random((n, 1, width)) < 0.4))
    shown[odd] += _NOISE[odd[2]] * 6 * chance.standard_t(3, len(odd[0]))
    whole = np.where(chance.random((n, 1, width)) < 0.5, 1.0, 0.1)
    whole[..., 5] = 0.1
    told: Wide = np.clip(np.rint(shown / whole) * whole, _FLOOR, _CEILING)
    return told


def _seen(chance: np.random.Generator, n: int) -> NDArray[np.bool_]:
    """Which minutes of the window are known: vitals not measured at all, cuffs now and then, gaps, a short stay."""
    width = len(CHANNELS)
    minute = np.arange(MINUTES)[None, :, None]
    seen = chance.random((n, MINUTES, width)) > chance.choice([0.0, 0.02, 0.2], (n, 1, width))
    cuff = np.zeros((n, 1, width), np.bool_)
    cuff[..., 3:5] = chance.random((n, 1, 1)) < 0.6
    every = chance.choice([3, 5, 10, 15, 15, 30], (n, 1, 1))
    phase = chance.integers(0, 30, (n, 1, 1))
    seen &= ~cuff | ((minute + phase) % every == 0)
    gap = chance.integers(0, MINUTES, (n, 1, width))
    lasts = np.where(chance.random((n, 1, width)) < 0.15, chance.integers(1, 30, (n, 1, width)), 0)
    seen &= (minute < gap) | (minute >= gap + lasts)
    seen &= chance.random((n, 1, width)) > np.array([0.03, 0.05, 0.05, 0.15, 0.15, 0.6])
    begins = np.where(chance.random((n, 1, 1)) < 0.15, chance.integers(0, MINUTES, (n, 1, 1)), 0)
    return seen & (minute >= begins)


_MONITOR: Final = {
    Vital.HEART_RATE: ("hr",),
    Vital.RESPIRATION: ("resp",),
    Vital.SPO2: ("spo2",),
    Vital.SYSTOLIC: ("abpsys", "nbpsys"),
    Vital.MEAN_PRESSURE: ("abpmean", "nbpmean"),
}
BLOCK_MINUTES: Final = 120
"""One record is one patient; its intervals are bootstrapped over blocks of this length."""


def monitors(folder: Path) -> MinuteExamples:
    """Every minute of the real bedside numerics (``mimic_numerics_1min.csv``), as blocks of two hours."""
    named = [name for names in _MONITOR.values() for name in names]
    table = _read(folder / "mimic_numerics_1min.csv", ["minute", *named])
    if "subject" not in table:
        raise Poison("bad_data", "mimic_numerics_1min.csv has no column 'subject'", "subject")
    found = []
    for subject in sorted(set(table["subject"])):
        rows = np.flatnonzero(table["subject"] == subject)
        minute = table["minute"][rows].astype(int)
        values = np.full((int(minute.max()) + 1, len(CHANNELS)), np.nan, np.float32)
        for channel, vital in enumerate(CHANNELS):
            for name in reversed(_MONITOR.get(vital, ())):
                read = plausible(vital, table[name][rows].astype(np.float32))
                known = np.isfinite(read)
                values[minute[known], channel] = read[known]
        found.append(_every_minute(values, f"monitor {subject}"))
    return _joined(found)


def cuffs(folder: Path, split: str, most: int = 40_000, seed: int = 0) -> MinuteExamples:
    """Real cuff pressures (``eicu_nibp_minutes.parquet``) of a split: one example a cuff and horizon before it."""
    table = _read(folder / "eicu_nibp_minutes.parquet", ["stay_id", "minute", "nibp_sys", "nibp_mean", "split"])
    stays = _read(folder / "eicu_stays.csv", ["stay_id"])
    people = stays.get("patient_id", stays["stay_id"])
    owner = {int(stay): f"eicu-{patient}" for stay, patient in zip(stays["stay_id"], people, strict=True)}
    order = np.lexsort((table["minute"], table["stay_id"]))
    edges = np.flatnonzero(np.r_[True, np.diff(table["stay_id"][order]) != 0, True])
    found = []
    for start, stop in itertools.pairwise(edges):
        rows = order[start:stop]
        stay = int(table["stay_id"][rows[0]])
        patient = owner.get(stay, f"eicu-stay-{stay}")
        if part(str(table["split"][rows[0]]), patient) == split:
            found.append(_before_cuffs(table["minute"][rows].astype(int), table, rows, patient))
    every = _joined([each for each in found if len(each)])
    if len(every) <= most:
        return every
    return every.of(np.sort(np.random.default_rng(seed).choice(len(every), most, replace=False)))


def _before_cuffs(
    minute: NDArray[np.intp], table: dict[str, NDArray[np.float32]], rows: NDArray[np.intp], patient: str
) -> MinuteExamples:
    base = int(minute.min())
    values = np.full((int(minute.max()) - base + 1, len(CHANNELS)), np.nan, np.float32)
    for vital, name in ((Vital.SYSTOLIC, "nibp_sys"), (Vital.MEAN_PRESSURE, "nibp_mean")):
        channel = CHANNELS.index(vital)
        values[minute - base, channel] = plausible(vital, table[name][rows].astype(np.float32))
    moments = np.unique((minute - base)[:, None] - np.array(AHEAD_MINUTES))
    return _at(values, moments[moments >= 0], patient, 10**9)


def _every_minute(values: Floats, name: str) -> MinuteExamples:
    return _at(values, np.arange(len(values) - 1), name, BLOCK_MINUTES)


def _at(values: Floats, moments: NDArray[np.intp], name: str, block: int) -> MinuteExamples:
    longest = AHEAD_MINUTES[-1]
    before = np.full((MINUTES - 1, values.shape[1]), np.nan, np.float32)
    padded = np.concatenate([before, values, np.full((longest, values.shape[1]), np.nan, np.float32)])
    windows = padded[moments[:, None] + np.arange(MINUTES)]
    following = padded[moments[:, None] + MINUTES + np.arange(longest)]
    truth = np.swapaxes(following[:, np.array(AHEAD_MINUTES) - 1], 1, 2)
    useful = np.isfinite(windows).any((1, 2)) & np.isfinite(truth).any((1, 2))
    return MinuteExamples(windows, truth, following, moments // block, np.full(len(moments), name)).of(useful)


def _joined(parts: list[MinuteExamples]) -> MinuteExamples:
    def numbered() -> Iterator[NDArray[np.intp]]:
        first = 0
        for each in parts:
            yield each.patient + first
            first += int(each.patient.max(initial=0)) + 1

    return MinuteExamples(
        np.concatenate([p.windows for p in parts]),
        np.concatenate([p.truth for p in parts]),
        np.concatenate([p.following for p in parts]),
        np.concatenate(list(numbered())),
        np.concatenate([p.record for p in parts]),
    )
