"""What the lake says of one patient's span: readings, scores, outlooks, forecasts, alarms, as plain arrays and rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from batch import trends
from batch.burden import Alarm, alarms
from batch.report_lake import Reader, between, chosen
from batch.report_time import DAY_MS, HOUR_MS, utc_dates
from contracts.lake import ALERTS_TABLE, FORECASTS_TABLE, OUTLOOKS, SCORES_TABLE, VITALS_TABLE
from contracts.records import Vital
from models.burden import SLOT_MS

LOOK_BACK_MS: Final = DAY_MS
"""Alarms that stood at the start of a span were raised within so long before it."""
HOLD_MS: Final = 4 * HOUR_MS
"""No vital holds longer without being measured anew."""
ALARM_COLUMNS: Final = (
    "event_ms",
    "alert_id",
    "seq",
    "bed",
    "patient",
    "condition",
    "category",
    "priority",
    "event",
    "state",
    "onset_ms",
    "message",
    "vital",
    "escalation",
    "model",
    "probability",
    "lead_s",
)
SHOWN: Final = tuple(str(vital) for vital in trends.SHOWN)


@dataclass
class Readings:
    """Believable readings of one vital, and how many others there were."""

    times: trends.Times = field(default_factory=lambda: np.empty(0, np.int64))
    values: trends.Values = field(default_factory=lambda: np.empty(0, np.float64))
    refused: int = 0


@dataclass
class Scored:
    """One patient's scores in order of time. ``policies`` is hash -> when it was first and last seen."""

    at_ms: trends.Times
    least: trends.Values
    most: trends.Values
    heard_s: float
    policies: dict[str, tuple[int, int]]
    beds: list[str]


@dataclass
class Outlooks:
    """Anomaly scores in order of time, and the models that were named."""

    at_ms: trends.Times
    anomaly: trends.Values
    models: list[str]


@dataclass
class Made:
    """One forecast of one vital: (seconds ahead, quantiles) by horizon."""

    vital: Vital
    at_ms: int
    engine: str
    levels: tuple[float, ...]
    ahead: list[tuple[int, tuple[float, ...]]]
    models: list[str]


def who_is_there(reader: Reader, dates: Sequence[str]) -> dict[str, set[tuple[str, str]]]:
    """Every patient of these dates with the (ward, bed) that they were scored in."""

    import pyarrow as pa

    def use(batches: Iterator[Any]) -> dict[str, set[tuple[str, str]]]:
        found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        for batch in batches:
            places = pa.Table.from_batches([batch]).group_by(["patient", "bed", "ward"]).aggregate([])
            for row in places.to_pylist():
                found[row["patient"]].add((row["ward"], row["bed"]))
        return dict(found)

    return reader.fold(SCORES_TABLE, dates, reader.wards(SCORES_TABLE, dates), ("patient", "bed"), use)


def readings(reader: Reader, wards: Sequence[str], patient: str, from_ms: int, to_ms: int) -> dict[Vital, Readings]:
    """The readings of each vital that pages show, with those of some hours before that may still hold."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def use(batches: Iterator[Any]) -> dict[Vital, Readings]:
        parts: defaultdict[Vital, list[tuple[trends.Times, trends.Values]]] = defaultdict(list)
        others: defaultdict[Vital, int] = defaultdict(int)
        for batch in batches:
            mine = between(chosen(batch, patient=patient), from_ms - HOLD_MS, to_ms)
            mine = mine.filter(pc.is_in(mine["vital"], pa.array(SHOWN)))
            for name in pc.unique(mine["vital"]).to_pylist():
                vital, of = Vital(name), chosen(mine, vital=name)
                values = np.asarray(pc.fill_null(of["value"], float("nan")), np.float64)
                fine, measured = fine_of(of, vital, values)
                others[vital] += trends.refused(fine, values, measured)
                parts[vital].append((np.asarray(of["event_ms"], np.int64)[fine], values[fine]))
        return {
            vital: Readings(np.concatenate([t for t, _ in of]), np.concatenate([v for _, v in of]), others[vital])
            for vital, of in parts.items()
        }

    columns = ("event_ms", "patient", "vital", "value", "unit", "quality")
    return reader.fold(VITALS_TABLE, utc_dates(from_ms - HOLD_MS, to_ms), wards, columns, use)


def fine_of(batch: Any, vital: Vital, values: trends.Values) -> tuple[trends.Flags, trends.Flags]:
    """Of rows of one vital: which can be believed, and which the device says that it measured."""
    measured = flags(batch["quality"], trends.is_measured)
    return trends.believable(vital, values, measured, flags(batch["unit"], partial(trends.is_in, vital))), measured


def flags(column: Any, good: Callable[[str | None], bool]) -> trends.Flags:
    """Of which rows the word in that column is good; it is asked once a word."""
    words, codes = coded(column)
    return np.array([good(word) for word in words], bool)[codes]


def coded(column: Any) -> tuple[list[str | None], NDArray[np.int64]]:
    """The words of a column, None at the end, and for each row the number of its word."""
    encoded = column.dictionary_encode()
    words: list[str | None] = [*encoded.dictionary.to_pylist(), None]
    return words, np.asarray(encoded.indices.cast("int64").fill_null(len(words) - 1), np.int64)


def scores(reader: Reader, wards: Sequence[str], patient: str, from_ms: int, to_ms: int) -> Scored:
    """NEWS2 intervals, the policies in force, and for how long the patient was heard."""

    def use(batches: Iterator[Any]) -> Scored:
        parts, slots = [np.empty((3, 0))], set[int]()
        policies: dict[str, tuple[int, int]] = {}
        beds: dict[str, None] = {}
        for batch in batches:
            mine = between(chosen(batch, patient=patient), from_ms, to_ms)
            if not mine.num_rows:
                continue
            times = np.asarray(mine["event_ms"], np.int64)
            names = ("event_ms", "news2_min", "news2_max")
            parts.append(np.stack([np.asarray(mine[name].cast("double").fill_null(np.nan)) for name in names]))
            heard = np.asarray(mine["heard_ms"].fill_null(0), np.int64)
            slots.update((heard[(heard >= from_ms) & (heard < to_ms)] // SLOT_MS).tolist())
            hashes = np.asarray(mine["policy"].to_pylist(), dtype=object)
            for name in {each for each in hashes if each is not None}:
                seen = times[hashes == name]
                known = policies.get(name, (int(seen.min()), int(seen.max())))
                policies[name] = min(known[0], int(seen.min())), max(known[1], int(seen.max()))
            beds |= dict.fromkeys(f"{ward}/{bed}" for ward, bed in _pairs(mine))
        whole = np.concatenate(parts, axis=1)
        whole = whole[:, np.argsort(whole[0], kind="stable")]
        return Scored(
            whole[0].astype(np.int64), whole[1], whole[2], len(slots) * SLOT_MS / 1000, policies, sorted(beds)
        )

    columns = ("event_ms", "patient", "bed", "heard_ms", "news2_min", "news2_max", "policy")
    return reader.fold(SCORES_TABLE, utc_dates(from_ms, to_ms), wards, columns, use)


def _pairs(batch: Any) -> set[tuple[str, str]]:
    return set(zip(batch["ward"].to_pylist(), batch["bed"].to_pylist(), strict=True))


def outlooks(reader: Reader, wards: Sequence[str], patient: str, from_ms: int, to_ms: int) -> Outlooks:
    """How odd the patient was, and which models said so."""

    def use(batches: Iterator[Any]) -> Outlooks:
        times, values, models = [np.empty(0, np.int64)], [np.empty(0)], dict[str, None]()
        for batch in batches:
            mine = between(chosen(batch, patient=patient), from_ms, to_ms)
            for told in mine["models"].to_pylist() if mine.num_rows else ():
                models |= dict.fromkeys(named(told))
            score = np.asarray(mine["anomaly"].cast("double").fill_null(np.nan), np.float64)
            said = np.isfinite(score)
            times.append(np.asarray(mine["event_ms"], np.int64)[said])
            values.append(score[said])
        at, score = np.concatenate(times), np.concatenate(values)
        order = np.argsort(at, kind="stable")
        return Outlooks(at[order], score[order], sorted(models))

    columns = ("event_ms", "patient", "anomaly", "models")
    return reader.fold(OUTLOOKS, utc_dates(from_ms, to_ms), wards, columns, use)


def named(models: Sequence[dict[str, str]] | None) -> list[str]:
    """``name@version`` of each of the models in force."""
    return [f"{model['name']}@{model['version']}" for model in models or ()]


def forecasts(
    reader: Reader, wards: Sequence[str], patient: str, marks: Sequence[int], from_ms: int
) -> dict[tuple[int, Vital], Made]:
    """The last forecast of each vital made at or before each of ``marks``, and after the mark before it."""

    def use(batches: Iterator[Any]) -> dict[tuple[int, Vital], Made]:
        best: dict[tuple[int, str], tuple[int, list[dict[str, Any]]]] = {}
        for batch in batches:
            mine = between(chosen(batch, patient=patient), from_ms, marks[-1] + 1)
            mine = mine.filter(_newest(mine, marks))
            for row in mine.to_pylist():
                key = int(np.searchsorted(marks, row["event_ms"])), row["vital"]
                known = best.get(key)
                if known is None or row["event_ms"] > known[0]:
                    best[key] = (row["event_ms"], [row])
                elif row["event_ms"] == known[0]:
                    known[1].append(row)
        return {(marks[n], Vital(vital)): _made(rows) for (n, vital), (_, rows) in best.items()}

    columns = ("event_ms", "patient", "vital", "horizon_s", "levels", "quantiles", "engine", "models")
    return reader.fold(FORECASTS_TABLE, utc_dates(from_ms, marks[-1] + 1), wards, columns, use)


def _newest(batch: Any, marks: Sequence[int]) -> Any:
    """Of a batch, the rows of the last forecast of each vital before each mark."""
    import pyarrow as pa

    times = np.asarray(batch["event_ms"], np.int64)
    names, vitals = np.unique(np.asarray(batch["vital"].to_pylist(), dtype=str), return_inverse=True)
    groups = np.searchsorted(marks, times) * max(len(names), 1) + vitals
    newest = np.full(int(groups.max()) + 1 if len(groups) else 0, -1, np.int64)
    np.maximum.at(newest, groups, times)
    return pa.array(newest[groups] == times if len(groups) else np.empty(0, bool))


def _made(rows: Sequence[dict[str, Any]]) -> Made:
    ahead = {row["horizon_s"]: tuple(row["quantiles"]) for row in rows if row["quantiles"]}
    first = rows[0]
    engines = sorted({row["engine"] for row in rows if row["engine"]})
    return Made(
        vital=Vital(first["vital"]),
        at_ms=first["event_ms"],
        engine="+".join(engines),
        levels=tuple(first["levels"] or ()),
        ahead=sorted(ahead.items()),
        models=sorted({name for row in rows for name in named(row["models"])}),
    )


def alarms_of(
    reader: Reader, wards: Sequence[str], from_ms: int, to_ms: int, patient: str | None = None
) -> list[Alarm]:
    """The alarms of a ward or of one patient that were told of up to ``to_ms``, from a day before the span on."""

    def use(batches: Iterator[Any]) -> list[dict[str, Any]]:
        found = []
        for batch in batches:
            mine = between(batch, from_ms - LOOK_BACK_MS, to_ms)
            found += (mine if patient is None else chosen(mine, patient=patient)).to_pylist()
        return found

    return alarms(reader.fold(ALERTS_TABLE, utc_dates(from_ms - LOOK_BACK_MS, to_ms), wards, ALARM_COLUMNS, use))
