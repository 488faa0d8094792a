"""What a board says: questions in InfluxQL, how their answers are shown, and why an answer may be empty.

InfluxQL, because 1.8 and 2.x both answer it and every Grafana since 9.2 asks it. The retention policy is always named.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

UID: Final = "ward-influx"
"""The data source; the same in provisioning, in ``ward grafana push`` and in every panel."""

Kind = Literal["number", "curve", "states", "rows", "bars", "words"]
Form = Literal["time_series", "table"]

WARD: Final = '"ward" =~ /^${ward:regex}$/'
BED: Final = '"bed" =~ /^${bed:regex}$/'
NOW: Final = "time > now() - 1m"
"""The latest state of beds; whatever range the board shows."""


@dataclass(frozen=True)
class Ask:
    """One question. ``empty`` says when there may be no answer, else there always is one after a minute of a ward.

    ``tags`` are those that tell the series apart. A question with ``hide`` only feeds a ``Sum``.
    """

    influxql: str
    alias: str = ""
    tags: tuple[str, ...] = ()
    form: Form = "time_series"
    empty: str | None = None
    hide: bool = False


@dataclass(frozen=True)
class Quotient:
    """The last value of one question over that of another, by Grafana's own expressions (A over B)."""

    over: tuple[str, str] = ("A", "B")


@dataclass(frozen=True)
class Steps:
    """Colours from thresholds: the first colour holds below the first bound."""

    first: str
    rest: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Column:
    """How one column or series differs from the rest of its tile."""

    name: str
    unit: str | None = None
    colour: str | None = None
    states: bool = False
    width: int | None = None
    title: str | None = None
    below: str | None = None
    hidden: bool = False
    link: bool = False


@dataclass(frozen=True)
class Tile:
    """One panel. ``nothing`` is shown where there is no answer; sizes are in Grafana's grid, 24 wide."""

    kind: Kind
    title: str
    about: str
    asks: tuple[Ask, ...] = ()
    quotient: Quotient | None = None
    unit: str = "short"
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    steps: Steps | None = None
    states: bool = False
    columns: tuple[Column, ...] = ()
    sort: tuple[str, ...] = ()
    stack: bool = False
    nothing: str = "no data"
    words: str = ""
    width: int = 12
    height: int = 8


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a board, made from the values of a tag."""

    name: str
    influxql: str
    label: str
    many: bool = False


@dataclass(frozen=True)
class Board:
    """One dashboard. ``rotates``: part of the wall's playlist. ``alarms``: InfluxQL of the alarms drawn over curves.

    ``page``: the feed's own page of what the board tells, by title and path.
    """

    uid: str
    title: str
    about: str
    tiles: tuple[Tile, ...]
    variables: tuple[Variable, ...] = ()
    since: str = "now-1h"
    until: str = "now"
    refresh: str = "10s"
    rotates: bool = True
    alarms: str | None = None
    page: tuple[str, str] | None = None
    tags: tuple[str, ...] = field(default=("ward",))


WARDS: Final = Variable("ward", 'SHOW TAG VALUES FROM "live"."beds" WITH KEY = "ward"', "Ward", many=True)
