"""Boards as Grafana's JSON, by grafana-foundation-sdk; only panel kinds and options that exist since Grafana 9.2."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, statetimeline, table, text, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as dm
from grafana_foundation_sdk.models import text as tm

from infra.dashboards.placing import rotates
from infra.dashboards.spec import UID, Ask, Board, Column, Steps, Tile, Variable
from infra.dashboards.tokens import MARKS, Theme, colours
from streams.sink.measurements import STATES

SCHEMA: Final = 37
"""Grafana 9.2's. Newer ones bring the board up to theirs as they load it; nothing here needs more."""
SOURCE: Final = dm.DataSourceRef(type_val="influxdb", uid=UID)
EXPRESSION: Final = {"type": "__expr__", "uid": "__expr__"}
NO_PAINT: Final = ("ground", "line")


class Target:
    """A question as the JSON of a panel's target."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields

    def to_json(self) -> dict[str, Any]:
        """As it stands in the panel."""
        return dict(self.fields)


class Given:
    """A finished thing where the SDK wants a builder."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def build(self) -> Any:
        """The thing."""
        return self._made


def uid(board: Board, theme: Theme) -> str:
    """The board's address; each theme has its own, since colours are part of a board."""
    return board.uid if theme == "dark" else f"{board.uid}-{theme}"


def board_json(board: Board, theme: Theme, feed: str) -> dict[str, Any]:
    """The dashboard as Grafana reads it. ``feed`` is the address that its links lead to."""
    paint = colours(theme)
    title = board.title if theme == "dark" else f"{board.title}, {theme}"
    tags = [*board.tags, theme] + ([rotates(theme)] if board.rotates else [])
    made = (
        dashboard.Dashboard(title)
        .uid(uid(board, theme))
        .description(board.about)
        .tags(tags)
        .time(board.since, board.until)
        .refresh(board.refresh)
        .timezone("browser")
        .tooltip(dm.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(_link("Live alert feed", "${feed}"))
    )
    if board.page is not None:
        made = made.link(_link(board.page[0], f"${{feed}}{board.page[1]}"))
    made = made.link(
        dashboard.DashboardLink("Ward boards")
        .type(dm.DashboardLinkType.DASHBOARDS)
        .tags(["ward", theme])
        .as_dropdown(True)
        .keep_time(True)
    )
    for variable in board.variables:
        made = made.with_variable(_variable(variable))
    for number, tile in enumerate(board.tiles, start=1):
        made = made.with_panel(_panel(tile, paint, theme, board).id(number))
    document = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    document |= {"schemaVersion": SCHEMA, "id": None, "annotations": {"list": _annotations(board, paint)}}
    document.setdefault("templating", {}).setdefault("list", []).append(_constant("feed", feed))
    document.pop("version", None)
    return dict(document)


def target_json(ask: Ask, ref: str) -> dict[str, Any]:
    """A panel's target."""
    target: dict[str, Any] = {
        "refId": ref,
        "datasource": {"type": "influxdb", "uid": UID},
        "query": ask.influxql,
        "rawQuery": True,
        "resultFormat": ask.form,
    }
    if ask.alias:
        target["alias"] = ask.alias
    if ask.hide:
        target["hide"] = True
    return target


def _quotient(over: tuple[str, str]) -> list[dict[str, Any]]:
    reduced = [
        {
            "refId": f"R{ref}",
            "datasource": EXPRESSION,
            "type": "reduce",
            "expression": ref,
            "reducer": "last",
            "hide": True,
        }
        for ref in over
    ]
    share = {
        "refId": "share",
        "datasource": EXPRESSION,
        "type": "math",
        "expression": f"$R{over[0]} / $R{over[1]}",
    }
    return [*reduced, share]


def _panel(tile: Tile, paint: Mapping[str, str], theme: Theme, board: Board) -> Any:
    makers: dict[str, Callable[[Tile, Mapping[str, str]], Any]] = {
        "number": _number,
        "curve": _curve,
        "states": _states,
        "rows": _rows,
        "bars": _bars,
    }
    if tile.kind == "words":
        panel = text.Panel().mode(tm.TextMode.MARKDOWN).content(tile.words)
        return panel.title(tile.title).description(tile.about).grid_pos(_place(tile))
    panel = makers[tile.kind](tile, paint)
    panel = (
        panel.title(tile.title)
        .description(tile.about)
        .datasource(SOURCE)
        .unit(tile.unit)
        .no_value(tile.nothing)
        .grid_pos(_place(tile))
    )
    for ref, ask in zip("ABCDEFGH", tile.asks, strict=False):
        panel = panel.with_target(Given(Target(target_json(ask, ref))))
    for fields in _quotient(tile.quotient.over) if tile.quotient else ():
        panel = panel.with_target(Given(Target(fields)))
    if tile.decimals is not None:
        panel = panel.decimals(tile.decimals)
    if tile.low is not None:
        panel = panel.min(tile.low)
    if tile.high is not None:
        panel = panel.max(tile.high)
    if tile.steps is not None:
        panel = panel.thresholds(_thresholds(tile.steps, paint, clear=tile.kind == "curve"))
    if tile.states:
        panel = panel.mappings([_state_words(paint)])
    for column in tile.columns:
        panel = panel.override_by_name(column.name, _properties(column, paint, theme, board))
    return panel


def _place(tile: Tile) -> dm.GridPos:
    return dm.GridPos(h=tile.height, w=tile.width)


def _number(tile: Tile, _paint: Mapping[str, str]) -> Any:
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_mode(cm.BigValueColorMode.VALUE)
        .graph_mode(cm.BigValueGraphMode.NONE)
        .text_mode(cm.BigValueTextMode.AUTO)
        .color_scheme(_by_threshold())
    )


def _curve(tile: Tile, _paint: Mapping[str, str]) -> Any:
    panel = (
        timeseries.Panel()
        .line_width(2)
        .fill_opacity(40 if tile.stack else 0)
        .draw_style(cm.GraphDrawStyle.BARS if tile.stack else cm.GraphDrawStyle.LINE)
        .show_points(cm.VisibilityMode.AUTO)
        .span_nulls(120_000.0)
        .legend(
            common.VizLegendOptions()
            .display_mode(cm.LegendDisplayMode.LIST)
            .placement(cm.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
        .color_scheme(dashboard.FieldColor().mode(dm.FieldColorModeId.PALETTE_CLASSIC))
    )
    if tile.stack:
        panel = panel.stacking(common.StackingConfig().mode(cm.StackingMode.NORMAL).group("A"))
    if tile.steps is not None:
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(cm.GraphThresholdsStyleMode.AREA))
    return panel


def _states(tile: Tile, _paint: Mapping[str, str]) -> Any:
    return (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(cm.VisibilityMode.AUTO)
        .row_height(0.85)
        .fill_opacity(80)
        .line_width(0)
        .legend(common.VizLegendOptions().show_legend(False))
        .color_scheme(_by_threshold())
    )


def _rows(tile: Tile, _paint: Mapping[str, str]) -> Any:
    panel = table.Panel().show_header(True).color_scheme(_by_threshold())
    if tile.sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(name).desc(True) for name in tile.sort])
    return panel


def _bars(tile: Tile, _paint: Mapping[str, str]) -> Any:
    return (
        bargauge.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .orientation(cm.VizOrientation.HORIZONTAL)
        .display_mode(cm.BarGaugeDisplayMode.BASIC)
        .show_unfilled(False)
        .min(0)
        .color_scheme(_by_threshold())
    )


def _by_threshold() -> Any:
    return dashboard.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS)


def _thresholds(steps: Steps, paint: Mapping[str, str], clear: bool) -> Any:
    rows: list[tuple[float | None, str]] = [(None, steps.first), *steps.rest]
    made = [
        dm.Threshold(value=bound, color="transparent" if clear and name in NO_PAINT else paint[name])
        for bound, name in rows
    ]
    return dashboard.ThresholdsConfig().mode(dm.ThresholdsMode.ABSOLUTE).steps(made)


def _state_words(paint: Mapping[str, str]) -> Any:
    return dm.ValueMap(
        options={
            str(number): dm.ValueMappingResult(
                text=f"{MARKS[word]} {word}" if word in MARKS else word,
                color=paint[word] if word in MARKS else paint["raised"],
                index=number,
            )
            for number, word in STATES.items()
        }
    )


def _properties(column: Column, paint: Mapping[str, str], theme: Theme, board: Board) -> list[Any]:
    found: dict[str, Any] = {}
    if column.unit:
        found["unit"] = column.unit
    if column.colour:
        found["color"] = {"mode": "fixed", "fixedColor": paint[column.colour]}
    if column.states:
        found["mappings"] = [_state_words(paint)]
        found["custom.displayMode"] = "color-background"  # loaded by 9.2; newer ones translate it
    if column.width:
        found["custom.width"] = column.width
    if column.title:
        found["displayName"] = column.title
    if column.below:
        found |= {"custom.fillBelowTo": column.below, "custom.fillOpacity": 15}
    if column.hidden:
        found["custom.hidden"] = True
    if column.link:
        suffix = "" if theme == "dark" else f"-{theme}"
        place = "var-ward=${__data.fields.ward:percentencode}&var-bed=${__data.fields.bed:percentencode}"
        found["links"] = [
            {"title": "This bed", "url": f"/d/ward-bed{suffix}?{place}"},
            {"title": "Live alert feed", "url": "${feed}", "targetBlank": True},
        ]
    return [dm.DynamicConfigValue(id_val=name, value=value) for name, value in found.items()]


def _variable(variable: Variable) -> Any:
    made = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(SOURCE)
        .query(variable.influxql)
        .refresh(dm.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dm.VariableSort.NUMERICAL_ASC)
        .multi(variable.many)
        .include_all(variable.many)
    )
    if variable.many:
        made = made.current(dm.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return made


def _constant(name: str, value: str) -> dict[str, Any]:
    option = {"text": value, "value": value, "selected": True}
    return {
        "name": name,
        "type": "constant",
        "query": value,
        "hide": 2,
        "skipUrlSync": True,
        "current": option,
        "options": [option],
    }


def _link(title: str, url: str) -> Any:
    return dashboard.DashboardLink(title).type(dm.DashboardLinkType.LINK).url(url).target_blank(True)


def _annotations(board: Board, paint: Mapping[str, str]) -> list[dict[str, Any]]:
    """What is drawn over curves: Grafana's own annotations, and the alarms of the board's question."""
    grafana = {"type": "grafana", "uid": "-- Grafana --"}
    found: list[dict[str, Any]] = [
        {
            "name": "Annotations & Alerts",
            "builtIn": 1,
            "datasource": grafana,
            "enable": True,
            "hide": True,
            "iconColor": paint["link"],
            "type": "dashboard",
        }
    ]
    if board.alarms:
        asked = {"query": board.alarms, "textColumn": "message", "tagsColumn": "priority,condition", "rawQuery": True}
        found.append(
            {
                "name": "Alarms",
                "datasource": {"type": "influxdb", "uid": UID},
                "enable": True,
                "iconColor": paint["high"],
                **asked,  # where 9.2 looks for it; newer ones look into the target
                "target": {"refId": "Anno", **asked},
            }
        )
    return found
