"""How one record becomes rows, table by table: SQL over the parsed record ``r`` and what Kafka says of it.

Fields at their default do not travel, so they are put back here. What does not fit its type is null; what was sent
stands in ``records``. The same rules in plain Python are the test's oracle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from contracts import lake
from contracts import records as r
from contracts.codec import EARLIEST_MS, LATEST_MS
from contracts.lake import Table

DAY_MS: Final = 24 * 3600 * 1000
OLDEST_MS: Final = 3 * 366 * DAY_MS
"""A date further back than this from the day that the broker took the record is a clock that was never set."""
AHEAD_MS: Final = DAY_MS
NO_WARD: Final = "~unnamed"
"""Where rows stand whose ward's name could be no folder: empty, unprintable, longer than HDFS allows."""

_BELIEVED: Final = f"between {EARLIEST_MS} and {LATEST_MS}"
_PLAIN: Final = r"^[A-Za-z0-9._~ -]{1,128}$"
_PRINTABLE: Final = r"^[^\\x00-\\x1f\\x7f]+$"
_NUMBER: Final = r"^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$"


@dataclass(frozen=True)
class Level:
    """A list inside a record, of which every element is, or holds, rows: ``array`` in terms of what is around it.

    An element is called ``name`` and its place ``<name>_at``. ``sizes`` is an array of how many rows each element
    holds; None where an element is a row.
    """

    name: str
    array: str
    sizes: str | None = None

    def before(self, sizes: str | None) -> str:
        """How many rows of this list stand before an element; ``sizes`` as they are at hand there."""
        at = f"{self.name}_at"
        return at if sizes is None else f"aggregate(slice({sizes}, 1, {at}), 0, (sum, n) -> sum + n)"


@dataclass(frozen=True)
class Rows:
    """The rows of one table: ``levels`` lead from the record to a row, from outside in; none: the record is the row.

    A column is looked up in ``columns``, else by its name in the first of ``sources`` (what it is called in the SQL,
    its record) that has it. Fields of elements are taken outside of lambdas only: there Spark compiles them.
    """

    table: Table
    levels: tuple[Level, ...]
    sources: tuple[tuple[str, type[r.Record]], ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    event: str = "r.at_ms"
    ward: str | None = "r.ward"

    @property
    def sizes(self) -> str:
        """An array of how many rows each element of the outermost list holds; null where each is one."""
        return (self.levels[0].sizes if self.levels else None) or "null"

    def count(self, sizes: str) -> str:
        """How many rows a record becomes, given its ``sizes``."""
        if not self.levels:
            return "1"
        outer = self.levels[0]
        many = f"size({outer.array})" if outer.sizes is None else f"aggregate({sizes}, 0, (sum, n) -> sum + n)"
        return f"coalesce({many}, 0)"

    def select(self) -> list[str]:
        """Every column of the table and of its partitions, in order, out of one row; its number is ``before``."""
        found = {
            **{name: name for name in ("kafka_partition", "kafka_offset", "ingest_ms")},
            "row": "before",
            "event_ms": self.event,
            "schema_version": "r.version",
            "date": date_of(self.event),
            "ward": ward_of(self.ward or "null"),
        }
        return [
            f"{found[column.name] if column in lake.FROM or column in self.table.partitions else self._own(column)}"
            f" as `{column.name}`"
            for column in (*self.table.columns, *self.table.partitions)
        ]

    def _own(self, column: lake.Column) -> str:
        if column.name in self.columns:
            return self.columns[column.name]
        for at, record in self.sources:
            if column.name in record.__struct_fields__:
                found = told(record, column.name, at)
                return f"try_cast({found} as int)" if column.type == "int" else found
        raise KeyError(f"{self.table.name}.{column.name}")


def told(record: type[r.Record], name: str, at: str) -> str:
    """A field of the record that stands at ``at``: its default where it did not travel."""
    found = next(one for one in msgspec.structs.fields(record) if one.name == name)
    if found.default is None or found.default is msgspec.NODEFAULT:
        return f"{at}.`{name}`"
    return f"coalesce({at}.`{name}`, {_literal(found.default)})"


def _literal(value: Any) -> str:
    if value == ():
        return "array()"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value!s}'"
    return f"{value}D" if isinstance(value, float) else str(value)


def date_of(event: str) -> str:
    """The date of a row: of ``event`` where that can be believed, else of the broker's moment.

    One device with a lost clock must not make a partition for every day since 1970.
    """
    believed = (
        f"{event} {_BELIEVED} and (not ingest_ms {_BELIEVED}"
        f" or {event} between ingest_ms - {OLDEST_MS} and ingest_ms + {AHEAD_MS})"
    )
    return f"case when {believed} then {_day(event)} else {ingest_date()} end"


def ingest_date() -> str:
    """The date of the broker's moment; the first of all days when that cannot be believed either."""
    return f"case when ingest_ms {_BELIEVED} then {_day('ingest_ms')} else date'1970-01-01' end"


def _day(ms: str) -> str:
    return f"date_from_unix_date(cast({ms} div {DAY_MS} as int))"


def ward_of(ward: str) -> str:
    """The ward as its partition; a name that no folder can have is put together with all others of its kind."""
    fits = f"{ward} rlike '{_PLAIN}' or (octet_length({ward}) <= 80 and {ward} rlike '{_PRINTABLE}')"
    return f"case when {ward} is null then null when {fits} then {ward} else '{NO_WARD}' end"


def _number(value: str) -> str:
    return f"case when {value} rlike '{_NUMBER}' then try_cast({value} as double) end"


def _letter(value: str) -> str:
    return f"case when not {value} rlike '{_NUMBER}' then {value} end"


def _all(array: str) -> str:
    return f"coalesce({array}, array())"


def _each(array: str, change: str) -> str:
    """Every element ``e`` of an array, changed."""
    return f"transform({array}, e -> {change})"


def _put_back(record: type[r.Record], name: str, array: str) -> str:
    """A field of every element of an array, its default where it did not travel."""
    found = next(one for one in msgspec.structs.fields(record) if one.name == name)
    return _each(f"{array}.`{name}`", f"coalesce(e, {_literal(found.default)})")


def _zipped(table: Table, column: str, array: str, fields: Iterable[str]) -> str:
    """An array of the column's structs, from an array for each of their fields; empty where ``array`` is null."""
    kind = next(one.type for one in table.columns if one.name == column)
    return f"case when {array} is null then array() else cast(arrays_zip({', '.join(fields)}) as {kind}) end"


def _if_anomaly(sql: str) -> str:
    return f"case when b.anomaly is not null then {sql} end"


_SIZE: Final = "coalesce(size(e), 0)"
_FRAME: Final = {"frame_partition": "r.source.`partition`", "frame_offset": "r.source.`offset`"}
_VALUES: Final = _zipped(
    lake.SCORES_TABLE,
    "values",
    "b.`values`",
    (
        "b.`values`.`vital`",
        _each("b.`values`.`value`", _number("e")),
        _each("b.`values`.`value`", _letter("e")),
        "b.`values`.at_ms",
        *(_put_back(r.ScoredVital, name, "b.`values`") for name in ("tag", "quality", "source")),
    ),
)
_RISKS: Final = _zipped(
    lake.OUTLOOKS,
    "risks",
    "b.risks",
    (
        *(f"b.risks.`{name}`" for name in ("name", "probability", "horizon_s")),
        *(_put_back(r.Risk, name, "b.risks") for name in ("known", "drivers")),
    ),
)

FROM_TOPICS: Final = (
    Rows(
        lake.VITALS_TABLE,
        (Level("b", "r.beds", _each("r.beds.readings", _SIZE)), Level("x", "b.readings")),
        (("x", r.Reading), ("b", r.BedReadings), ("r", r.VitalsFrame)),
        {"value": _number("x.`value`"), "letter": _letter("x.`value`"), "frame_ms": "r.at_ms"},
        event="coalesce(x.at_ms, r.at_ms)",
    ),
    Rows(
        lake.SCORES_TABLE,
        (Level("b", "r.beds"),),
        (("b", r.BedScore), ("r", r.ScoreFrame)),
        {
            "news2_min": "b.news2.minimum",
            "news2_max": "b.news2.maximum",
            "news2_scale": "b.news2.scale",
            "single_red": f"case when b.news2 is not null then {told(r.News2, 'single_red', 'b.news2')} end",
            "components": f"case when b.news2 is not null then {_all('b.news2.components')} end",
            "values": _VALUES,
            **_FRAME,
        },
    ),
    Rows(
        lake.OUTLOOKS,
        (Level("b", "r.outlooks"),),
        (("b", r.BedOutlook), ("r", r.ScoreFrame)),
        {
            "anomaly": "b.anomaly.score",
            "learning": "b.anomaly.learning",
            "baseline_s": _if_anomaly(f"try_cast({told(r.Anomaly, 'baseline_s', 'b.anomaly')} as int)"),
            "drivers": _if_anomaly(_all("b.anomaly.drivers")),
            "drift": _if_anomaly(_all("b.anomaly.drift")),
            "risks": _RISKS,
            **_FRAME,
        },
        event="b.at_ms",
    ),
    Rows(
        lake.FORECASTS_TABLE,
        (
            Level("b", "r.beds", _each("r.beds", "coalesce(size(flatten(array_compact(e.`vitals`.horizons_s))), 0)")),
            Level("v", "b.`vitals`", _each("b.`vitals`.horizons_s", _SIZE)),
            Level("h", "v.horizons_s"),
        ),
        (("v", r.VitalForecast), ("b", r.BedForecast), ("r", r.VitalsForecast)),
        {
            "horizon_s": "try_cast(h as int)",
            **{name: f"get(v.`{name}`, h_at)" for name in ("quantiles", "below", "above", "skill")},
            **_FRAME,
        },
        event="b.at_ms",
    ),
    Rows(
        lake.ALERTS_TABLE,
        (),
        (("r", r.AlertTransition),),
        {"value": _number("r.`value`"), **_FRAME},
    ),
    Rows(lake.ACTIONS, (), (("r", r.AlertAction),)),
    Rows(lake.IMAGES, (), (("r", r.ImageArrival),)),
    Rows(lake.JOBS, (), (("r", r.ImageJob),), ward=None),
    Rows(lake.PREDICTIONS, (), (("r", r.ImageResult),), ward=None),
    Rows(lake.REFUSALS, (), (("r", r.ImageRefusal),), ward=None),
    Rows(lake.STUDIES, (), (("r", r.StudyRevision),), ward=None),
    Rows(lake.IMAGE_FINDINGS_TABLE, (), (("r", r.ImageFinding),), ward=None),
    Rows(lake.FEEDBACK, (), (("r", r.ImageFeedback),), ward=None),
    Rows(
        lake.DEAD,
        (),
        (("r", r.DeadLetter),),
        {f"source_{name}": f"r.source.`{name}`" for name in ("topic", "partition", "offset")},
        ward=None,
    ),
    Rows(lake.ACCESS, (), (("r", r.Access),), ward=None),
)
"""Every table that the stream writes besides ``records``, in the order of contracts.lake.FROM_TOPICS."""
