"""Makes the sample recordings from the full sets: ``WARD_DATA_DIR=... python -m producers.samples.pick FOLDER``.

The rule, in words in README.md: for each thing that a sample should show, the first stay in order of id that shows it,
has nearly all vitals in its window, and is not taken yet. Only rows of the ``test`` split where there is one, so that
no model shown on them has learned from them.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from contracts.clinical.plausibility import PLAUSIBLE
from contracts.errors import Misconfigured
from contracts.settings import Settings
from producers.archive import COLUMNS, Origin, load_abouts, load_rows

Hours = Sequence[Mapping[str, float]]
Rows = list[tuple[int, Mapping[str, float]]]
Pick = tuple[str, str, int, Rows]
"""What it shows, the source's id, the minute of the stay at which play begins, rows by minute of the stay."""
Shows = Callable[[Hours, int], bool]

WINDOW_H: Final = 24
LEAD_H: Final = 1
PAST_H: Final = 24
"""So much of what was before the played part comes along, for models that look back."""
LEAST_PAST_H: Final = 12
DENSE_PAST_H: Final = 6
COVERAGE: Final = 0.9
_NEEDED: Final = ("hr", "resp", "o2sat", "sbp", "map")
_CALM: Final = {"hr": (50, 120), "resp": (8, 30), "o2sat": (91, 100), "sbp": (91, 179), "map": (61, 109)}


def _sinks(column: str, below: float, from_at_least: float) -> Shows:
    def shows(hours: Hours, hour: int) -> bool:
        before, now, later = (hours[n].get(column) for n in (hour - 1, hour, hour + 1))
        if before is None or now is None or later is None:
            return False
        low, _ = PLAUSIBLE[COLUMNS[Origin.EICU][column][0]]
        return before >= from_at_least and low <= now < below and low <= later < below

    return shows


def _climbs(column: str, above: float, from_at_most: float) -> Shows:
    def shows(hours: Hours, hour: int) -> bool:
        before, now, later = (hours[n].get(column) for n in (hour - 1, hour, hour + 1))
        if before is None or now is None or later is None:
            return False
        return before <= from_at_most and now > above and later > above

    return shows


def _pressure_fails(hours: Hours, hour: int) -> bool:
    mean, systolic = _sinks("map", 60, 65), _sinks("sbp", 90, 95)
    return mean(hours, hour) and systolic(hours, hour)


def _artefact(hours: Hours, hour: int) -> bool:
    for column, value in hours[hour].items():
        if column in _NEEDED:
            low, high = PLAUSIBLE[COLUMNS[Origin.EICU][column][0]]
            if not low <= value <= high:
                return True
    return False


def _turns_septic(hours: Hours, hour: int) -> bool:
    return hours[hour].get("sepsis") == 1.0 and hours[hour - 1].get("sepsis") == 0.0


def _stays_calm(hours: Hours, hour: int) -> bool:
    window = hours[hour - LEAD_H : hour - LEAD_H + WINDOW_H]
    return all(low <= hours_[c] <= high for hours_ in window for c, (low, high) in _CALM.items() if c in hours_)


EICU_SHOWS: Final[tuple[tuple[str, Shows], ...]] = (
    ("hypotension", _pressure_fails),
    ("desaturation", _sinks("o2sat", 88, 92)),
    ("tachycardia", _climbs("hr", 130, 115)),
    ("tachypnoea", _climbs("resp", 32, 28)),
    ("sepsis", _turns_septic),
    ("artefact", _artefact),
    ("hypotension again", _pressure_fails),
    ("stable", _stays_calm),
)


def pick_eicu(data: Path) -> list[Pick]:
    """A stay for each thing to be shown."""
    stays: dict[str, dict[int, Mapping[str, float]]] = {}
    for stay, hour, values in load_rows(data, Origin.EICU, split="test", also=("sepsis",)):
        stays.setdefault(stay, {})[int(hour)] = values
    taken: set[str] = set()
    picked = []
    for what, shows in EICU_SHOWS:
        for stay, by_hour in sorted(stays.items(), key=lambda item: int(item[0])):
            hours = [by_hour.get(n, {}) for n in range(max(by_hour) + 1)]
            start = None if stay in taken else _window(hours, shows, 0.6 if what == "artefact" else COVERAGE)
            if start is not None:
                taken.add(stay)
                shown = range(max(0, start - PAST_H), start + WINDOW_H)
                rows: Rows = [(n * 60, _without(hours[n], "sepsis")) for n in shown]
                picked.append((what, stay, start * 60, rows))
                break
        else:
            raise Misconfigured(f"no stay shows {what}")
    return picked


def _window(hours: Hours, shows: Shows, coverage: float) -> int | None:
    """First hour of a well covered window with a past in which it shows after ``LEAD_H`` hours."""
    for hour in range(LEAST_PAST_H + LEAD_H, len(hours) - WINDOW_H + LEAD_H):
        if shows(hours, hour):
            window = hours[hour - LEAD_H : hour - LEAD_H + WINDOW_H]
            covered = sum(column in one for one in window for column in _NEEDED) / (len(_NEEDED) * WINDOW_H)
            if covered >= coverage:
                return hour - LEAD_H
    return None


def _without(values: Mapping[str, float], column: str) -> dict[str, float]:
    return {name: value for name, value in values.items() if name != column}


def pick_mimic(data: Path) -> list[Pick]:
    """Both records: of the longer one 8 hours and ``DENSE_PAST_H`` before, half of the shorter one and the half before.

    The arterial channel of the longer one is left out: it was connected for 7 of 1,936 minutes and says 0 otherwise.
    """
    records: dict[str, Rows] = {}
    for record, minute, values in load_rows(data, Origin.MIMIC):
        records.setdefault(record, []).append((int(minute), values))
    picked = []
    for record, rows in sorted(records.items()):
        begin = rows[len(rows) // 2][0]
        if len(rows) > MIMIC_MINUTES:
            begin = rows[0][0] + DENSE_PAST_H * 60
            rows = [(m, {c: v for c, v in values.items() if not c.startswith("abp")}) for m, values in rows]
        picked.append(("minute numerics", record, begin, [row for row in rows if row[0] < begin + MIMIC_MINUTES]))
    return picked


MIMIC_MINUTES: Final = 480


def pick_challenge(data: Path) -> list[Pick]:
    """Three records of 48 h, played from ``LEAST_PAST_H`` on.

    They show falling pressure, a value that nobody can have, saturation and breathing.
    """
    records: dict[str, Rows] = {}
    for record, minute, values in load_rows(data, Origin.CHALLENGE2012, split="test"):
        vitals = {column: value for column, value in values.items() if column in COLUMNS[Origin.CHALLENGE2012]}
        if vitals:
            records.setdefault(record, []).append((int(minute), vitals))
    shows: tuple[tuple[str, Callable[[Rows], bool]], ...] = (
        ("hypotension", _pressure_falls),
        ("artefact", _has_artefact),
        ("saturation and breathing", _breathes),
    )
    taken: set[str] = set()
    picked = []
    for what, shown in shows:
        for record, rows in sorted(records.items(), key=lambda item: int(item[0])):
            if record not in taken and sum("hr" in values for _, values in rows) >= 40 and shown(rows):
                taken.add(record)
                picked.append((what, record, LEAST_PAST_H * 60, rows))
                break
        else:
            raise Misconfigured(f"no record shows {what}")
    return picked


def _pressure_falls(rows: Rows) -> bool:
    means = [(minute, values["map"]) for minute, values in rows if "map" in values and values["map"] > 20]
    begin = LEAST_PAST_H * 60
    early = [value for minute, value in means if begin - 120 <= minute < begin + 120]
    return bool(early) and min(early) >= 65 and sum(value < 60 for m, value in means if 120 <= m - begin < 480) >= 3


def _has_artefact(rows: Rows) -> bool:
    columns = COLUMNS[Origin.CHALLENGE2012]
    odd = {
        c
        for m, values in rows
        if 0 <= m - LEAST_PAST_H * 60 < 720
        for c, v in values.items()
        if not PLAUSIBLE[columns[c][0]].low <= v <= PLAUSIBLE[columns[c][0]].high
    }
    return len(odd) >= 2


def _breathes(rows: Rows) -> bool:
    return sum("sao2" in v for _, v in rows) >= 10 and sum("resprate" in v for _, v in rows) >= 30


def write(folder: Path, data: Path) -> list[str]:
    """Write one CSV a source and one of the stays; what each shows, by our own ids. Numbers interleave the sources."""
    picks = {
        Origin.EICU: pick_eicu(data),
        Origin.MIMIC: pick_mimic(data),
        Origin.CHALLENGE2012: pick_challenge(data),
    }
    numbers = {
        Origin.EICU: (1, 2, 4, 5, 7, 8, 9, 10),
        Origin.MIMIC: (3, 11),
        Origin.CHALLENGE2012: (6, 12, 13),
    }
    told = []
    stays: list[tuple[str, str, str, int | str]] = []
    for origin, picked in picks.items():
        columns = list(COLUMNS[origin])
        abouts = load_abouts(data, origin)
        with (folder / f"{origin}.csv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(["stay", "minute", *columns])
            for number, (what, source_id, begin, rows) in zip(numbers[origin], picked, strict=True):
                name = f"{origin}-{number:02d}"
                told.append(f"{name}: {what}")
                about = abouts.get(source_id)
                if about is None:
                    stays.append((name, "", "", ""))
                else:
                    age = "" if about.age_years is None else f"{about.age_years:g}"
                    stays.append((name, age, about.sex or "", begin))
                for minute, values in rows:
                    writer.writerow([name, minute - begin, *(f"{values[c]:g}" if c in values else "" for c in columns)])
    with (folder / "stays.csv").open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([("stay", "age", "sex", "stay_minutes"), *stays])
    return sorted(told, key=lambda line: line.split(":")[0][-2:])


def main() -> None:
    """Write the samples into the folder named on the command line."""
    settings = Settings.from_env(os.environ)
    if settings.data_dir is None or len(sys.argv) != 2:
        raise SystemExit("usage: WARD_DATA_DIR=... python -m producers.samples.pick FOLDER")
    print("\n".join(write(Path(sys.argv[1]), Path(settings.data_dir))))


if __name__ == "__main__":
    main()
