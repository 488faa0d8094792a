"""Simulated bedside minutes for the anomaly detector: ordinary variation, its artefacts, and scripted events.

Synthetic, and marked so wherever a figure comes from it: no public minute-by-minute recording with labelled events was
reachable. Spreads are near those of the one long real record (32 h, ``mimic_numerics_1min.csv``) and of hourly stays.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ports import Floats

Doubles = NDArray[np.float64]
_TAUS_MIN: Final = (2.0, 12.0, 70.0)
_WAVES: Final = np.array(
    [  # standard deviation of the waves of each tau, then white noise; HR, RR, SpO2, SBP, MAP, temperature
        [1.6, 2.0, 2.2, 0.6],
        [0.9, 0.8, 0.7, 0.4],
        [0.4, 0.45, 0.4, 0.2],
        [2.5, 3.0, 3.5, 1.2],
        [2.0, 2.3, 2.6, 0.9],
        [0.0, 0.02, 0.08, 0.02],
    ]
)
_TONE: Final = np.array([2.0, 0.6, -0.1, 2.6, 1.9, 0.0])
_DAY: Final = np.array([3.0, 0.6, -0.2, 4.0, 2.8, 0.25])
_MOVED: Final = np.array([16.0, 4.0, -0.8, 12.0, 8.0, 0.0])


class Script(NamedTuple):
    """What an event adds at full strength to the channels, and how long it builds up and lasts."""

    adds: tuple[float, ...]
    ramp_min: float
    lasts_min: float


SCRIPTS: Final = {
    "tachycardia drift": Script((45, 3, 0, -6, -4, 0.2), 45, 120),
    "desaturation": Script((12, 6, -11, 4, 2, 0), 12, 40),
    "bleed": Script((42, 8, -1.5, -45, -30, -0.2), 40, 60),
    "sepsis-like drift": Script((36, 11, -4, -30, -20, 1.9), 180, 180),
    "apnoea": Script((-4, -11, -9, 4, 3, 0), 2, 8),
}


class Event(NamedTuple):
    """An event of a patient (row), in minutes of the day."""

    patient: int
    kind: str
    start: int
    end: int


def normals(patients: int, minutes: int, seed: int) -> Floats:
    """(patients, minutes, 6): patients of a monitored ward to whom nothing happens, with gaps and artefacts.

    Two in five have an arterial line, the others a cuff every 15 to 60 minutes; half have a temperature probe.
    """
    rng = np.random.default_rng(seed)
    body = _bodies(patients, minutes, rng)
    body += _moves(patients, minutes, rng)
    return _measured(body, rng)


def scripted(patients: int, minutes: int, seed: int) -> tuple[Floats, list[Event]]:
    """The same with one event each, a kind after the other, from the sixth hour on."""
    rng = np.random.default_rng(seed)
    body = _bodies(patients, minutes, rng) + _moves(patients, minutes, rng)
    events = []
    kinds = list(SCRIPTS)
    for patient in range(patients):
        kind = kinds[patient % len(kinds)]
        script = SCRIPTS[kind]
        strength = rng.uniform(0.6, 1.2)
        stretch = rng.uniform(0.7, 1.4)
        ramp, lasts = script.ramp_min * stretch, script.lasts_min * stretch
        start = int(rng.integers(360, max(361, minutes - int(ramp + lasts) - 30)))
        end = min(minutes, int(np.ceil(start + ramp + lasts)))
        at = np.arange(minutes) - start
        course = np.clip(at / ramp, 0, 1) * (at >= 0)
        course = np.where(at > ramp + lasts, np.exp(-(at - ramp - lasts) / max(5.0, ramp / 4)), course)
        body[patient] += strength * course[:, None] * np.array(script.adds)
        events.append(Event(patient, kind, start, end))
    return _measured(body, rng), events


def _bodies(patients: int, minutes: int, rng: np.random.Generator) -> Doubles:
    systolic = np.clip(rng.normal(122, 15, patients), 98, 160)
    base = np.stack(
        [
            np.clip(rng.normal(80, 12, patients), 58, 105),
            np.clip(rng.normal(17, 2.6, patients), 12, 24),
            np.clip(rng.normal(96.8, 1.4, patients), 93, 99.5),
            systolic,
            np.clip(0.55 * systolic + 15 + rng.normal(0, 5, patients), 66, 104),
            np.clip(rng.normal(36.9, 0.3, patients), 36.2, 37.9),
        ],
        axis=1,
    )
    gain = rng.lognormal(0, 0.35, (patients, 6))
    body = np.repeat(base[:, None], minutes, axis=1)
    for wave, tau in enumerate(_TAUS_MIN):
        body += _wandering((patients, 6), minutes, tau, rng).transpose(0, 2, 1) * (_WAVES[:, wave] * gain)[:, None]
    tone = _wandering((patients, 1), minutes, 20.0, rng).transpose(0, 2, 1)
    body += tone * (_TONE * gain)[:, None]
    body += rng.normal(size=body.shape) * (_WAVES[:, 3] * gain)[:, None]
    clock = np.arange(minutes)[None, :] + rng.uniform(0, 1440, patients)[:, None]
    body += np.cos(clock / 1440 * 2 * np.pi)[:, :, None] * _DAY * rng.uniform(0.3, 1.3, (patients, 1, 1))
    return body


def _wandering(shape: tuple[int, int], minutes: int, tau: float, rng: np.random.Generator) -> Doubles:
    """(*shape, minutes) of unit-variance noise that forgets in ``tau`` minutes."""
    keep = np.exp(-1.0 / tau)
    fresh = rng.normal(size=(minutes, *shape))
    out = np.empty_like(fresh)
    out[0] = fresh[0]
    for minute in range(1, minutes):
        out[minute] = keep * out[minute - 1] + np.sqrt(1 - keep * keep) * fresh[minute]
    return np.moveaxis(out, 0, -1)


def _moves(patients: int, minutes: int, rng: np.random.Generator) -> Doubles:
    """Patients get up, are washed, cough: ten to twenty-five minutes of a faster pulse, some five times a day."""
    added = np.zeros((patients, minutes, 6))
    for patient in range(patients):
        for start in rng.integers(0, minutes, rng.poisson(5 * minutes / 1440)):
            lasts = int(rng.integers(10, 26))
            at = np.arange(min(lasts, minutes - start))
            course = np.minimum(1, np.minimum(at + 1, lasts - at) / 4)
            added[patient, start : start + lasts] += course[:, None] * _MOVED * rng.uniform(0.3, 1.3)
    return added


def _measured(body: Doubles, rng: np.random.Generator) -> Floats:
    """What the monitor says of it: bounds, gaps, artefacts, cuffs; tenths, as kept in the rings."""
    patients, minutes, _ = body.shape
    body[:, :, 2] = np.minimum(body[:, :, 2], 100.0)
    body[:, :, 1] = np.maximum(body[:, :, 1], 0.0)
    dips = rng.random((patients, minutes)) < 4 / 1440
    body[:, :, 2] -= dips * rng.uniform(3, 10, dips.shape)  # a hand on the probe
    bursts = rng.random((patients, minutes)) < 4 / 1440
    body[:, :, 1] += bursts * rng.uniform(5, 18, bursts.shape)  # speech, movement
    known = rng.random(body.shape) > 0.01
    for patient in range(patients):
        if rng.random() < 0.6:
            every = int(rng.choice((15, 30, 60)))
            cuff = (np.arange(minutes) + int(rng.integers(every))) % every == 0
            known[patient, :, 3:5] &= cuff[:, None]
        if rng.random() < 0.5:
            known[patient, :, 5] &= (np.arange(minutes) + int(rng.integers(180))) % 180 == 0
        for start in rng.integers(0, minutes, rng.poisson(3 * minutes / 1440)):
            which = rng.random(6) < 0.5
            known[patient, start : start + int(rng.integers(2, 25)), which] = False
    body[:, :, 2] = np.maximum(body[:, :, 2], 50.0)
    return np.where(known, np.round(body, 1), np.nan).astype(np.float32)
