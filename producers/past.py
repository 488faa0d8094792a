"""What patients were before a producer began to speak of them: earlier hours as ``PastVitals``, and ``PatientFacts``.

A recording's past is what was recorded before the part that is played, artefacts left out because nobody could judge
them later. A simulated patient's past is what the same body would have done, with the illness it begins with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.clinical.codes import VITALS
from contracts.clinical.plausibility import PLAUSIBLE
from contracts.records import SCHEMA_VERSION, PastSeries, PastVitals, PatientFacts, Vital, VitalsFrame
from producers.archive import Recording, Track
from producers.devices import CUFF_EVERY_S
from producers.physiology import Floats, Physiology, Row, uniform
from producers.scenario import EFFECTS, Happening, Kind, Roster

HOUR_S: Final = 3600
MINUTE_S: Final = 60
HOURS: Final = 24
RECORDING: Final = "recording"
SIMULATION: Final = "simulation"
PATIENTS_A_FRAME: Final = 25
PATIENTS_A_TICK: Final = 250
"""So many pasts are told a second, so that those of a large hospital do not stand before its first readings."""
FINE_BEDS: Final = 1000
"""Larger hospitals tell of the hours only, each by one look at it."""

_LOOKS: Final = 6
_MODELLED: Final = (
    Vital.HEART_RATE,
    Vital.RESPIRATION,
    Vital.SPO2,
    Vital.SYSTOLIC,
    Vital.MEAN_PRESSURE,
    Vital.TEMPERATURE,
)
_FACTS: Final = 240
_DAY_S: Final = 86_400
_ILL_FROM: Final = 0.5
"""Who begins ill has been falling ill over the second half of the day before."""


def of_recording(recording: Recording, bed: str, at_ms: int) -> tuple[PastVitals, ...]:
    """The hours before ``at_ms``, when play begins, and of dense recordings the last one by the minute.

    Recorded hours are told as hours, however fast the played part goes by.
    """
    found = [_steps(recording, bed, at_ms, HOUR_S, HOURS)]
    if any(sum(at >= -HOUR_S for at in track.at_s) > HOUR_S // MINUTE_S // 2 for track in recording.past):
        found.append(_steps(recording, bed, at_ms, MINUTE_S, HOUR_S // MINUTE_S))
    return tuple(past for past in found if past.series)


def facts_of(recording: Recording, at_ms: int) -> PatientFacts | None:
    """What the source tells of the patient; None when it tells nothing."""
    about = recording.about
    if about is None:
        return None
    return PatientFacts(
        patient=recording.id,
        age_years=about.age_years,
        sex=about.sex,
        admitted_ms=None if about.stay_s is None else at_ms - round(about.stay_s * 1000),
    )


def _steps(recording: Recording, bed: str, at_ms: int, step_s: int, most: int) -> PastVitals:
    oldest_s = min((track.at_s[0] for track in recording.past), default=0.0)
    steps = min(most, -int(oldest_s // step_s))
    by_vital: dict[Vital, list[float | None]] = {}
    for track in recording.past:
        means = _means(track, step_s, steps)
        known = by_vital.setdefault(track.vital, means)
        by_vital[track.vital] = [b if a is None else a for a, b in zip(known, means, strict=True)]
    return PastVitals(
        bed=bed,
        patient=recording.id,
        start_ms=at_ms - steps * step_s * 1000,
        step_s=step_s,
        origin=RECORDING,
        series=tuple(
            PastSeries(vital=vital, values=tuple(values))
            for vital, values in by_vital.items()
            if any(value is not None for value in values)
        ),
    )


def _means(track: Track, step_s: int, steps: int) -> list[float | None]:
    low, high = PLAUSIBLE[track.vital]
    cells: list[list[float]] = [[] for _ in range(steps)]
    for at_s, value in zip(track.at_s, track.values, strict=True):
        place = int(at_s // step_s) + steps
        if 0 <= place < steps and low <= value <= high:
            cells[place].append(value)
    digits = VITALS[track.vital].decimals + 1
    return [round(sum(cell) / len(cell), digits) if cell else None for cell in cells]


class SimulatedPast:
    """The day before second 0 of a simulated hospital, and who its patients are."""

    def __init__(
        self, body: Physiology, roster: Roster, start_ms: int, going: Sequence[Happening], arterial: NDArray[np.bool_]
    ) -> None:
        self._roster = roster
        self._start_ms = start_ms
        self._arterial = arterial
        fine = len(roster) <= FINE_BEDS
        looks = _LOOKS if fine else 1
        every_s = HOUR_S // looks
        day = np.stack([self._at(body, going, -_DAY_S + every_s // 2 + n * every_s) for n in range(HOURS * looks)])
        self._hours = np.round(day.reshape(HOURS, looks, len(_MODELLED), -1).mean(1), 1)
        minutes = range(-HOUR_S + MINUTE_S // 2, 0, MINUTE_S) if fine else ()
        self._minutes = [np.round(self._at(body, going, second), 1) for second in minutes]
        words = [uniform(body.noise.words(_FACTS + n, 0)) for n in range(3)]
        self._ages = np.round(25 + 65 * np.sqrt(words[0]))
        self._female = words[1] < 0.5
        self._stay_s = np.round(_DAY_S + 3 * _DAY_S * words[2]).astype(np.int64)

    def _at(self, body: Physiology, going: Sequence[Happening], second: int) -> Floats:
        table = body.at(second, (self._start_ms / 1000 + second) % _DAY_S)
        for happening in going:
            if happening.event.kind is Kind.RECOVERY:
                ill = max(0.0, 1 + second / (_DAY_S * (1 - _ILL_FROM)))
                table[:, happening.beds] += EFFECTS[Kind.RECOVERY].column * happening.strength_at(0) * ill
        table[Row.SPO2] = np.minimum(table[Row.SPO2], 100.0)
        mean = table[Row.DIASTOLIC] + (table[Row.SYSTOLIC] - table[Row.DIASTOLIC]) / 3
        return np.stack(
            [
                table[Row.HEART_RATE],
                table[Row.RESPIRATION],
                table[Row.SPO2],
                table[Row.SYSTOLIC],
                mean,
                table[Row.TEMPERATURE],
            ]
        )

    def frames(self, chunks: Sequence[tuple[str, str, int, int]], seq: int) -> Iterator[VitalsFrame]:
        """One frame for at most ``PATIENTS_A_FRAME`` patients of one gateway; ``chunks`` say which beds are whose."""
        for ward, gateway, first, end in chunks:
            for start in range(first, end, PATIENTS_A_FRAME):
                beds = range(start, min(start + PATIENTS_A_FRAME, end))
                yield VitalsFrame(
                    version=SCHEMA_VERSION,
                    ward=ward,
                    gateway=gateway,
                    seq=seq,
                    at_ms=self._start_ms,
                    past=tuple(past for i in beds for past in self._past(i)),
                    facts=tuple(self._facts(i) for i in beds),
                )

    def _past(self, i: int) -> Iterator[PastVitals]:
        yield self._told(i, HOUR_S, self._hours[:, :, i].T.tolist())
        if self._minutes:
            rows: list[list[float | None]] = np.stack([minute[:, i] for minute in self._minutes], 1).tolist()
            if not self._arterial[i]:
                every = CUFF_EVERY_S // MINUTE_S
                for row in (rows[3], rows[4]):
                    row[:] = [value if n % every == i % every else None for n, value in enumerate(row)]
            yield self._told(i, MINUTE_S, rows)

    def _told(self, i: int, step_s: int, rows: Sequence[Sequence[float | None]]) -> PastVitals:
        return PastVitals(
            bed=self._roster.beds[i],
            patient=self._roster.patients[i],
            start_ms=self._start_ms - len(rows[0]) * step_s * 1000,
            step_s=step_s,
            origin=SIMULATION,
            series=tuple(
                PastSeries(vital=vital, values=tuple(values)) for vital, values in zip(_MODELLED, rows, strict=True)
            ),
        )

    def _facts(self, i: int) -> PatientFacts:
        return PatientFacts(
            patient=self._roster.patients[i],
            age_years=float(self._ages[i]),
            sex="female" if self._female[i] else "male",
            admitted_ms=self._start_ms - int(self._stay_s[i]) * 1000,
        )
