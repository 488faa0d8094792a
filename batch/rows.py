"""How one record becomes rows, table by table: SQL over the parsed record ``r`` and what Kafka says of it.

Fields at their default do not travel, so they are put back here. What does not fit its type is null; what was sent
stands in ``records``. The same rules in plain Python are the test's oracle.
"""

from __future__ import annotations

from collections.abc import Mapping
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
class Rows:
    """The rows of one table: ``each`` is the SQL of an array in which ``{row}`` stands for one row's struct.

    A column is looked up in ``columns``, else by its name in the first of ``sources`` (what it is called in the SQL,
    its record) that has it.
    """

    table: Table
    each: str
    sources: tuple[tuple[str, type[r.Record]], ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    event: str = "r.at_ms"
    ward: str | None = "r.ward"

    def sql(self) -> str:
        """The array of this table's rows in one record: structs of its own columns, time, version and partitions."""
        parts = [f"'event_ms', {self.event}, 'schema_version', r.version"]
        parts += [f"'{column.name}', {self._column(column.name)}" for column in self.own]
        parts.append(f"'date', {date_of(self.event)}")
        if self.ward:
            parts.append(f"'ward', {ward_of(self.ward)}")
        return self.each.replace("{row}", f"named_struct({', '.join(parts)})")

    @property
    def own(self) -> tuple[lake.Column, ...]:
        """The columns besides those that every table of a topic begins with."""
        return self.table.columns[len(lake.FROM) :]

    def _column(self, name: str) -> str:
        if name in self.columns:
            return self.columns[name]
        for at, record in self.sources:
            if name in record.__struct_fields__:
                return told(record, name, at)
        raise KeyError(f"{self.table.name}.{name}")


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


def _drivers(array: str) -> str:
    return f"transform({_all(array)}, d -> named_struct('what', d.`what`, 'share', d.`share`, 'vital', d.`vital`))"


_MODELS: Final = f"transform({_all('r.models')}, m -> named_struct('name', m.`name`, 'version', m.`version`))"
_FRAME: Final = {"frame_partition": "r.source.`partition`", "frame_offset": "r.source.`offset`"}
_ONE: Final = "array({row})"

_VALUES: Final = (
    f"transform({_all('b.`values`')}, v -> named_struct('vital', v.`vital`, 'value', {_number('v.`value`')},"
    f" 'letter', {_letter('v.`value`')}, 'at_ms', v.at_ms, 'tag', {told(r.ScoredVital, 'tag', 'v')},"
    f" 'quality', {told(r.ScoredVital, 'quality', 'v')}, 'source', {told(r.ScoredVital, 'source', 'v')}))"
)
_ALARMS: Final = (
    f"transform({_all('b.alarms')}, a -> named_struct('condition', a.`condition`, 'state', a.`state`,"
    " 'priority', a.`priority`, 'category', a.`category`, 'alert_id', a.alert_id, 'onset_ms', a.onset_ms))"
)
_COMPONENTS: Final = (
    f"case when b.news2 is not null then transform({_all('b.news2.components')},"
    " c -> named_struct('vital', c.`vital`, 'points', c.`points`, 'age_ms', c.age_ms)) end"
)
_RISKS: Final = (
    f"transform({_all('b.risks')}, k -> named_struct('name', k.`name`, 'probability', k.`probability`,"
    f" 'horizon_s', k.horizon_s, 'known', {told(r.Risk, 'known', 'k')}, 'drivers', {_drivers('k.drivers')}))"
)


def _if_anomaly(sql: str) -> str:
    return f"case when b.anomaly is not null then {sql} end"


FROM_TOPICS: Final = (
    Rows(
        lake.VITALS_TABLE,
        f"flatten(transform({_all('r.beds')}, b -> transform({_all('b.readings')}, x -> {{row}})))",
        (("x", r.Reading), ("b", r.BedReadings), ("r", r.VitalsFrame)),
        {"value": _number("x.`value`"), "letter": _letter("x.`value`"), "frame_ms": "r.at_ms"},
        event="coalesce(x.at_ms, r.at_ms)",
    ),
    Rows(
        lake.SCORES_TABLE,
        f"transform({_all('r.beds')}, b -> {{row}})",
        (("b", r.BedScore), ("r", r.ScoreFrame)),
        {
            "news2_min": "b.news2.minimum",
            "news2_max": "b.news2.maximum",
            "news2_scale": "b.news2.scale",
            "single_red": f"case when b.news2 is not null then {told(r.News2, 'single_red', 'b.news2')} end",
            "components": _COMPONENTS,
            "values": _VALUES,
            "alarms": _ALARMS,
            **_FRAME,
        },
    ),
    Rows(
        lake.OUTLOOKS,
        f"transform({_all('r.outlooks')}, b -> {{row}})",
        (("b", r.BedOutlook), ("r", r.ScoreFrame)),
        {
            "anomaly": "b.anomaly.score",
            "learning": "b.anomaly.learning",
            "baseline_s": _if_anomaly(told(r.Anomaly, "baseline_s", "b.anomaly")),
            "drivers": _if_anomaly(_drivers("b.anomaly.drivers")),
            "drift": _if_anomaly(_all("b.anomaly.drift")),
            "risks": _RISKS,
            "models": _MODELS,
            **_FRAME,
        },
        event="b.at_ms",
    ),
    Rows(
        lake.FORECASTS_TABLE,
        f"flatten(flatten(transform({_all('r.beds')}, b -> transform({_all('b.vitals')},"
        f" v -> transform({_all('v.horizons_s')}, (h, i) -> {{row}})))))",
        (("v", r.VitalForecast), ("b", r.BedForecast), ("r", r.VitalsForecast)),
        {
            "horizon_s": "h",
            "quantiles": "get(v.quantiles, i)",
            "below": "get(v.below, i)",
            "above": "get(v.above, i)",
            "skill": "get(v.skill, i)",
            "models": _MODELS,
            **_FRAME,
        },
        event="b.at_ms",
    ),
    Rows(
        lake.ALERTS_TABLE,
        _ONE,
        (("r", r.AlertTransition),),
        {
            "seq": "try_cast(r.seq as int)",
            "value": _number("r.`value`"),
            "drivers": _drivers("r.drivers"),
            **_FRAME,
        },
    ),
    Rows(lake.ACTIONS, _ONE, (("r", r.AlertAction),)),
    Rows(lake.IMAGES, _ONE, (("r", r.ImageArrival),)),
    Rows(lake.JOBS, _ONE, (("r", r.ImageJob),), ward=None),
    Rows(lake.PREDICTIONS, _ONE, (("r", r.ImageResult),), ward=None),
    Rows(
        lake.DEAD,
        _ONE,
        (("r", r.DeadLetter),),
        {
            "source_topic": "r.source.`topic`",
            "source_partition": "r.source.`partition`",
            "source_offset": "r.source.`offset`",
        },
        ward=None,
    ),
    Rows(lake.ACCESS, _ONE, (("r", r.Access),), ward=None),
)
"""Every table that the stream writes besides ``records``, in the order of contracts.lake.FROM_TOPICS."""
