"""Real recordings on disk: the small sample that ships, and the full sets under ``WARD_DATA_DIR``, as tracks of values.

Values are as recorded, in canonical units, with their artefacts. Left out because a vital would have to be made up from
them: FiO2 (a fraction, not a flow), the Glasgow coma scale (not ACVPU), pulse rate (a second opinion on heart rate).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from contracts.errors import Misconfigured, WardError
from contracts.records import Source, Vital


class Origin(StrEnum):
    """Where a recording comes from."""

    EICU = "eicu"
    MIMIC = "mimic"
    CHALLENGE2012 = "challenge2012"


class NotFound(WardError):
    """No recording of that name."""


@dataclass(frozen=True)
class Track:
    """One vital of one recording: values at seconds from its begin, in order. ``aperiodic``: never held in between."""

    vital: Vital
    source: Source
    at_s: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def aperiodic(self) -> bool:
        """A cuff speaks when it has measured, and only then."""
        return self.source is Source.CUFF


@dataclass(frozen=True)
class About:
    """What a source tells of its patient. ``stay_s``: seconds from admission to the recording's second 0."""

    age_years: float | None = None
    sex: str | None = None
    stay_s: float | None = None


@dataclass(frozen=True)
class Recording:
    """One stay. ``id`` is a pseudonym; ``length_s`` reaches from second 0, its first value to be played, to its last.

    ``past`` is what was recorded before second 0 and is not to be played.
    """

    id: str
    origin: Origin
    length_s: float
    tracks: tuple[Track, ...]
    past: tuple[Track, ...] = ()
    about: About | None = None

    @property
    def vitals(self) -> list[str]:
        """The vitals it has, by name."""
        return sorted({track.vital.value for track in self.tracks})

    def begun_at(self, second: float) -> Recording:
        """The same stay played from that second on; what was recorded before it is its past."""
        if second <= 0:
            return self
        whole = [_after(track, -second) for track in self.tracks]
        about = self.about
        if about is not None and about.stay_s is not None:
            about = replace(about, stay_s=about.stay_s + second)
        return replace(
            self,
            length_s=self.length_s - second,
            tracks=tuple(late for track in whole if (late := _part(track, begun=True)).at_s),
            past=tuple(early for track in whole if (early := _part(track, begun=False)).at_s),
            about=about,
        )


def _after(track: Track, by_s: float) -> Track:
    return replace(track, at_s=tuple(at + by_s for at in track.at_s))


def _part(track: Track, begun: bool) -> Track:
    kept = [(at, value) for at, value in zip(track.at_s, track.values, strict=True) if (at >= 0) == begun]
    return replace(track, at_s=tuple(at for at, _ in kept), values=tuple(value for _, value in kept))


SAMPLES: Final = "samples"
SOURCES: Final = (SAMPLES, *Origin)

Column = tuple[Vital, Source]
_EICU: Final[dict[str, Column]] = {
    "hr": (Vital.HEART_RATE, Source.MONITOR),
    "resp": (Vital.RESPIRATION, Source.MONITOR),
    "o2sat": (Vital.SPO2, Source.PLETH),
    "sbp": (Vital.SYSTOLIC, Source.MONITOR),
    "dbp": (Vital.DIASTOLIC, Source.MONITOR),
    "map": (Vital.MEAN_PRESSURE, Source.MONITOR),
    "temp": (Vital.TEMPERATURE, Source.MONITOR),
}
_MIMIC: Final[dict[str, Column]] = {
    "hr": (Vital.HEART_RATE, Source.ECG),
    "resp": (Vital.RESPIRATION, Source.MONITOR),
    "spo2": (Vital.SPO2, Source.PLETH),
    "abpsys": (Vital.SYSTOLIC, Source.ARTERIAL),
    "abpdias": (Vital.DIASTOLIC, Source.ARTERIAL),
    "abpmean": (Vital.MEAN_PRESSURE, Source.ARTERIAL),
    "nbpsys": (Vital.SYSTOLIC, Source.CUFF),
    "nbpdias": (Vital.DIASTOLIC, Source.CUFF),
    "nbpmean": (Vital.MEAN_PRESSURE, Source.CUFF),
}
_CHALLENGE: Final[dict[str, Column]] = {
    "hr": (Vital.HEART_RATE, Source.MONITOR),
    "resprate": (Vital.RESPIRATION, Source.MONITOR),
    "sao2": (Vital.SPO2, Source.MONITOR),
    "temp": (Vital.TEMPERATURE, Source.MONITOR),
    "sysabp": (Vital.SYSTOLIC, Source.ARTERIAL),
    "diasabp": (Vital.DIASTOLIC, Source.ARTERIAL),
    "map": (Vital.MEAN_PRESSURE, Source.ARTERIAL),
    "nisysabp": (Vital.SYSTOLIC, Source.CUFF),
    "nidiasabp": (Vital.DIASTOLIC, Source.CUFF),
    "nimap": (Vital.MEAN_PRESSURE, Source.CUFF),
}
COLUMNS: Final = {Origin.EICU: _EICU, Origin.MIMIC: _MIMIC, Origin.CHALLENGE2012: _CHALLENGE}
"""The columns of each source that are vitals. Challenge 2012 calls its saturation SaO2; it is sent as SpO2."""
_FILES: Final = {
    # file, id column, time column, seconds in its unit
    Origin.EICU: ("eicu_hourly.parquet", "stay_id", "hour", 3600.0),
    Origin.MIMIC: ("mimic_numerics_1min.csv", "subject", "minute", 60.0),
    Origin.CHALLENGE2012: ("challenge2012_observations.parquet", "record_id", "minute", 60.0),
}

_ABOUT: Final = {
    # file, id column, column of the sex
    Origin.EICU: ("eicu_stays.csv", "stay_id", "sex"),
    Origin.CHALLENGE2012: ("challenge2012_records.csv", "record_id", "gender"),
}
_SEXES: Final = {"female": "female", "male": "male"}

Sample = tuple[float, Mapping[str, float]]


def load(source: str, data_dir: str | None = None, stay: str | None = None) -> list[Recording]:
    """The recordings of a source: ``samples``, or ``eicu``, ``mimic``, ``challenge2012`` under ``data_dir``/vitals.

    ``stay`` picks one. Raises Misconfigured for an unknown source or a missing folder or file, NotFound for a stay.
    """
    if source == SAMPLES:
        found = list(_samples())
    elif source in Origin.__members__.values():
        found = _whole(Origin(source), data_dir, stay)
    else:
        raise Misconfigured(f"no source {source!r}; there are {', '.join(SOURCES)}")
    if stay is not None:
        found = [recording for recording in found if recording.id == stay]
        if not found:
            raise NotFound(f"no stay {stay!r} in {source}; `ward play {source} --list` lists them")
    return found


def _samples() -> Iterator[Recording]:
    folder = resources.files("producers").joinpath("samples")
    order: list[tuple[int, Recording]] = []
    rows_of = {str(row["stay"]): row for row in csv.DictReader(_lines(folder, "stays"))}
    for origin in Origin:
        for name, rows in groupby(csv.DictReader(_lines(folder, origin)), key=lambda row: str(row["stay"])):
            samples = [(float(row["minute"]) * 60.0, _numbers(row)) for row in rows]
            whole = assemble(name, origin, samples, COLUMNS[origin])
            begin_s = -min((second for second, numbers in samples if numbers), default=0.0)
            whole = replace(whole, about=_about(rows_of[name], -begin_s))
            order.append((int(name.rpartition("-")[2]), whole.begun_at(begin_s)))
    yield from (recording for _, recording in sorted(order, key=lambda one: one[0]))


def _lines(folder: Traversable, name: str) -> list[str]:
    return folder.joinpath(f"{name}.csv").read_text(encoding="utf-8").splitlines()


def _about(row: Mapping[str, str], first_s: float) -> About:
    """Of a sample, whose first value stands at ``first_s`` of its own time."""
    stay_minutes = row["stay_minutes"]
    return About(
        float(row["age"]) if row["age"] else None,
        row["sex"] or None,
        float(stay_minutes) * 60 + first_s if stay_minutes else None,
    )


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(text) for name, text in row.items() if text and name not in ("stay", "minute")}


def assemble(name: str, origin: Origin, samples: Iterable[Sample], columns: Mapping[str, Column]) -> Recording:
    """A recording from (second, {column: value}) in order of time; its first value is at second 0."""
    at: dict[str, list[float]] = {column: [] for column in columns}
    values: dict[str, list[float]] = {column: [] for column in columns}
    begin_s: float | None = None
    end_s = 0.0
    for second, numbers in samples:
        for column, value in numbers.items():
            if column in columns:
                begin_s = second if begin_s is None else begin_s
                end_s = second
                at[column].append(second - begin_s)
                values[column].append(value)
    tracks = tuple(
        Track(vital, source, tuple(at[column]), tuple(values[column]))
        for column, (vital, source) in columns.items()
        if at[column]
    )
    return Recording(name, origin, end_s - (begin_s or 0.0), tracks)


def _whole(origin: Origin, data_dir: str | None, stay: str | None) -> list[Recording]:
    file, _, _, unit_s = _FILES[origin]
    if data_dir is None:
        raise Misconfigured(f"{origin} needs the recordings: set WARD_DATA_DIR to the folder that holds vitals/{file}")
    wanted = None if stay is None else stay.removeprefix(f"{origin}-")
    abouts = load_abouts(Path(data_dir), origin)
    found = []
    for name, rows in groupby(load_rows(Path(data_dir), origin), key=lambda row: row[0]):
        if wanted is None or name == wanted:
            samples = [(at * unit_s, numbers) for _, at, numbers in rows]
            recording = assemble(f"{origin}-{name}", origin, samples, COLUMNS[origin])
            if recording.tracks:
                about = abouts.get(name)
                if about is not None:
                    first_s = next(at_s for at_s, numbers in samples if numbers.keys() & COLUMNS[origin].keys())
                    about = replace(about, stay_s=first_s)
                found.append(replace(recording, about=about))
    return found


def load_abouts(data: Path, origin: Origin) -> dict[str, About]:
    """Age and sex of the patients of a source, by stay; empty where the source does not tell."""
    if origin not in _ABOUT:
        return {}
    file, key, sex = _ABOUT[origin]
    path = data / "vitals" / file
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        return {row[key]: About(_age(row["age"]), _SEXES.get(row[sex].lower())) for row in csv.DictReader(lines)}


def _age(text: str) -> float | None:
    return float(text) if text and 0 < float(text) <= 120 else None


Row = tuple[str, float, dict[str, float]]


def load_rows(data: Path, origin: Origin, split: str | None = None, also: Sequence[str] = ()) -> Iterator[Row]:
    """(stay, time in the file's unit, {column: value}) in order of stay and time; ``also`` names further columns.

    ``split`` keeps one split of the files that have one. Raises Misconfigured for a missing file or library.
    """
    file, key, clock, _ = _FILES[origin]
    path = data / "vitals" / file
    if not path.is_file():
        raise Misconfigured(f"WARD_DATA_DIR={data}: there is no vitals/{file} in it")
    names = [*COLUMNS[origin], *also]
    return (
        _csv_rows(path, key, clock, names) if path.suffix == ".csv" else _parquet_rows(path, key, clock, names, split)
    )


def _csv_rows(path: Path, key: str, clock: str, names: Sequence[str]) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield row[key], float(row[clock]), {name: float(row[name]) for name in names if row.get(name)}


def _parquet_rows(path: Path, key: str, clock: str, names: Sequence[str], split: str | None) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as missing:
        raise Misconfigured(
            f"reading {path.name} needs pyarrow: install wardstream[data], or play the samples"
        ) from missing
    filters = None if split is None else [("split", "=", split)]
    table = parquet.read_table(path, columns=[key, clock, *names], filters=filters)
    table = table.sort_by([(key, "ascending"), (clock, "ascending")])
    keys, clocks = table.column(key).to_pylist(), table.column(clock).to_pylist()
    series = [table.column(name).to_pylist() for name in names]
    for who, at, *values in zip(keys, clocks, *series, strict=True):
        # the files hold 32-bit floats; 6 digits give back the number that was written down
        yield str(who), float(at), {n: float(f"{v:.6g}") for n, v in zip(names, values, strict=True) if v is not None}
