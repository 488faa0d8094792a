"""What the devices at each bed say each second: monitors, cuffs, probes, the nurse's round; and their faults.

Heart rate, respiration and SpO2 are said every second at every bed; pressures every second where there is an arterial
line (every fourth bed), elsewhere by a cuff that inflates for half a minute, says so, and gives its values a time of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.records import Quality, Reading, Source, Vital
from producers.physiology import Floats, Noise, Row, gaussian, uniform
from producers.scenario import SENSOR, Body, Happening, Kind

Readings: TypeAlias = tuple[Reading, ...]
_Ints: TypeAlias = NDArray[np.int64]

ARTERIAL_EVERY: Final = 4
CUFF_EVERY_S: Final = 300
CUFF_WATCHED_EVERY_S: Final = 180
CUFF_TAKES_S: Final = 30
TEMPERATURE_EVERY_S: Final = 30
ROUND_EVERY_S: Final = 1800
"""The nurse notes oxygen and consciousness this often, and when they change."""

_LARGEST: Final = 400
_PHASES: Final = 200
_OWN_TIME: Final = 204
_MOTION: Final = 26
_LOWEST: Final = np.array([20.0, 3.0, 55.0, 40.0, 22.0, 32.0])[:, None]
_ON_OXYGEN: Final = 0.12


def _each_value(vital: Vital, source: Source) -> list[Reading]:
    return [Reading(vital=vital, value=float(value), source=source) for value in range(_LARGEST)]


class Devices:
    """The devices of all beds. Call ``read`` once a second, in order: cuffs and frozen sensors remember."""

    def __init__(self, noise: Noise, beds: int) -> None:
        self._noise = noise
        self.arterial = np.arange(beds) % ARTERIAL_EVERY == 0
        self.oxygen: Floats = np.where(uniform(noise.words(_PHASES, 0)) < _ON_OXYGEN, 2.0, 0.0)
        self._cuff_phase_s = self._phase(1, CUFF_TAKES_S)
        self._temperature_phase_s = self._phase(2, TEMPERATURE_EVERY_S)
        self._round_phase_s = 4 + self._phase(3, CUFF_TAKES_S)
        self._inflating_since: _Ints = np.full(beds, -1)
        self._noted_oxygen = self.oxygen.copy()
        self._noted_confused = np.zeros(beds, dtype=bool)
        self._stuck: dict[tuple[int, int, int], Reading] = {}
        self._heart_rates = _each_value(Vital.HEART_RATE, Source.ECG)
        self._respirations = _each_value(Vital.RESPIRATION, Source.MONITOR)
        self._saturations = _each_value(Vital.SPO2, Source.PLETH)
        self._systolic = _each_value(Vital.SYSTOLIC, Source.ARTERIAL)
        self._diastolic = _each_value(Vital.DIASTOLIC, Source.ARTERIAL)
        self._mean = _each_value(Vital.MEAN_PRESSURE, Source.ARTERIAL)

    def read(self, second: int, at_ms: int, body: Body, going: Sequence[Happening]) -> list[Readings]:
        """One tuple of readings a bed. A reading without a time of its own is of ``at_ms``."""
        table = _credible(body.table)
        whole = np.minimum(np.rint(table).astype(np.int64), _LARGEST - 1)
        mean = np.rint(table[Row.DIASTOLIC] + (table[Row.SYSTOLIC] - table[Row.DIASTOLIC]) / 3).astype(np.int64)
        rates, breaths, saturations = self._heart_rates, self._respirations, self._saturations
        said: list[Readings] = [
            (rates[rate], breaths[breath], saturations[saturation])
            for rate, breath, saturation in zip(*whole[: Row.SYSTOLIC].tolist(), strict=True)
        ]
        for i in np.flatnonzero(self.arterial).tolist():
            said[i] += (
                self._systolic[whole[Row.SYSTOLIC, i]],
                self._diastolic[whole[Row.DIASTOLIC, i]],
                self._mean[mean[i]],
            )
        self._cuffs(second, at_ms, body, whole, mean, said)
        self._probes(second, table, said)
        self._round(second, body, said)
        self._faults(second, going, said)
        return said

    def _phase(self, channel: int, length_s: int) -> _Ints:
        return (self._noise.words(_PHASES + channel, 0) % np.uint64(length_s)).astype(np.int64)

    def _cuffs(self, second: int, at_ms: int, body: Body, whole: _Ints, mean: _Ints, said: list[Readings]) -> None:
        every_s = np.where(body.watched, CUFF_WATCHED_EVERY_S, CUFF_EVERY_S)
        since_s = second - self._cuff_phase_s
        idle = self._inflating_since < 0
        for i in np.flatnonzero(~self.arterial & idle & (since_s >= 0) & (since_s % every_s == 0)).tolist():
            self._inflating_since[i] = second
            said[i] += (_INFLATING,)
        done = np.flatnonzero(~idle & (second - self._inflating_since == CUFF_TAKES_S))
        before_ms = 100 + self._noise.words(_OWN_TIME, second, done) % np.uint64(800)
        for i, own_ms in zip(done.tolist(), before_ms.tolist(), strict=True):
            pairs = (
                (Vital.SYSTOLIC, whole[Row.SYSTOLIC, i]),
                (Vital.DIASTOLIC, whole[Row.DIASTOLIC, i]),
                (Vital.MEAN_PRESSURE, mean[i]),
            )
            said[i] += tuple(
                Reading(vital=vital, value=float(value), at_ms=at_ms - own_ms, source=Source.CUFF)
                for vital, value in pairs
            )
        # a cuff stays marked for the seconds in which the limb's blood returns
        self._inflating_since[second - self._inflating_since > CUFF_TAKES_S + _REFILL_S] = -1

    def _probes(self, second: int, table: Floats, said: list[Readings]) -> None:
        for i in np.flatnonzero((second - self._temperature_phase_s) % TEMPERATURE_EVERY_S == 0).tolist():
            value = round(float(table[Row.TEMPERATURE, i]), 1)
            said[i] += (Reading(vital=Vital.TEMPERATURE, value=value, source=Source.PROBE),)

    def _round(self, second: int, body: Body, said: list[Readings]) -> None:
        since_s = second - self._round_phase_s
        due = since_s % ROUND_EVERY_S == 0
        changed = (body.oxygen != self._noted_oxygen) | (body.confused != self._noted_confused)
        for i in np.flatnonzero((since_s >= 0) & (due | changed)).tolist():
            self._noted_oxygen[i], self._noted_confused[i] = body.oxygen[i], body.confused[i]
            said[i] += (
                Reading(vital=Vital.SUPPLEMENTAL_OXYGEN, value=float(body.oxygen[i]), source=Source.NURSE),
                Reading(vital=Vital.CONSCIOUSNESS, value="C" if body.confused[i] else "A", source=Source.NURSE),
            )

    # -- faults ------------------------------------------------------------------------------------------------------

    def _faults(self, second: int, going: Sequence[Happening], said: list[Readings]) -> None:
        for happening in going:
            if happening.event.kind in SENSOR:
                for i in happening.beds.tolist():
                    said[i] = self._faulty(second, happening, i, said[i])

    def _faulty(self, second: int, happening: Happening, i: int, said: Readings) -> Readings:
        kind, event = happening.event.kind, happening.event
        if kind is Kind.LEAD_OFF:
            return _changed(said, (Vital.HEART_RATE, Vital.RESPIRATION), _lost)
        if kind is Kind.NO_SIGNAL:
            return _changed(said, (event.vital or Vital.SPO2,), _minus_hundred)
        if kind is Kind.FAHRENHEIT:
            return _changed(said, (Vital.TEMPERATURE,), _in_fahrenheit)
        if kind is Kind.FROZEN:
            key = (happening.number, happening.begin_s, i)
            return _changed(said, (event.vital or Vital.HEART_RATE,), lambda r: self._stuck.setdefault(key, r))
        if kind is Kind.MOTION:
            drop = max(0.0, 14.0 + 10.0 * float(gaussian(self._noise.words(_MOTION, second, np.array([i])))[0]))
            return _changed(said, (Vital.SPO2,), lambda r: _lowered(r, drop))
        into_s = second - int(self._inflating_since[i])
        if self._inflating_since[i] < 0 or into_s < _SQUEEZED_S:
            return said
        if _PULSELESS_S[0] <= into_s < _PULSELESS_S[1]:
            return _changed(said, (Vital.SPO2,), _lost)
        depth = 24.0 if into_s < _PULSELESS_S[0] else 24.0 * (1 - (into_s - _PULSELESS_S[1]) / (_REFILL_S + 4))
        return _changed(said, (Vital.SPO2,), lambda r: _lowered(r, depth))


_SQUEEZED_S: Final = 4
_PULSELESS_S: Final = (10, 26)
_REFILL_S: Final = 6
_INFLATING: Final = Reading(vital=Vital.SYSTOLIC, value=None, source=Source.CUFF, quality=Quality.MEASURING)


def _credible(table: Floats) -> Floats:
    """What a body can still have: no saturation above 100 %, a pulse pressure that a living artery has."""
    table = np.maximum(table, _LOWEST)
    np.minimum(table[Row.SPO2], 100.0, out=table[Row.SPO2])
    systolic = table[Row.SYSTOLIC]
    apart = np.select([systolic > 198, systolic > 148, systolic > 98], [54.0, 34.0, 19.0], default=14.0)
    np.minimum(table[Row.DIASTOLIC], systolic - apart, out=table[Row.DIASTOLIC])
    return table


def _changed(said: Readings, vitals: tuple[Vital, ...], change: Callable[[Reading], Reading]) -> Readings:
    return tuple(change(r) if r.vital in vitals and r.quality is Quality.MEASURED else r for r in said)


def _lost(reading: Reading) -> Reading:
    return msgspec.structs.replace(reading, value=None, quality=Quality.NO_SIGNAL)


def _minus_hundred(reading: Reading) -> Reading:
    return msgspec.structs.replace(reading, value=-100.0)


def _in_fahrenheit(reading: Reading) -> Reading:
    assert isinstance(reading.value, float)  # noqa: S101 temperatures are numbers
    return msgspec.structs.replace(reading, value=round(reading.value * 9 / 5 + 32, 1))


def _lowered(reading: Reading, by: float) -> Reading:
    assert isinstance(reading.value, float)  # noqa: S101 saturations are numbers
    return msgspec.structs.replace(reading, value=float(max(50, round(reading.value - by))))
