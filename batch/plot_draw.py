"""One patient's vitals as they stand: a model of the chart, then drawn by matplotlib or in a terminal's letters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

import msgspec

from batch import trends
from batch.plot_topic import Watch
from batch.report_shift import Band, band_of
from batch.report_time import HOUR_MS, length_shown, shown, ticks, zone_shown
from batch.trends import Trend
from contracts.clinical.codes import VITALS
from contracts.look import OF_VITAL
from contracts.records import Vital
from models.ward.policy import Policy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

AHEAD: Final = 5
"""The newest forecast is drawn for a fifth of the time shown, an hour at the most."""
FRESH_MS: Final = 120_000
"""An older forecast is not in force any more."""
FRESH_READING_MS: Final = 10_000
BLOCKS: Final = "▁▂▃▄▅▆▇█"
NAMES: Final = {
    **{str(vital): (vital,) for vital in trends.SHOWN},
    **{VITALS[vital].short.lower(): (vital,) for vital in trends.SHOWN},
    "bp": (Vital.SYSTOLIC, Vital.MEAN_PRESSURE, Vital.DIASTOLIC),
}
"""What a vital can be called."""


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is drawn. Epoch ms; ``to_ms`` is the newest reading, ``ends_ms`` the right end of the axis."""

    patient: str
    bed: str
    ward: str
    from_ms: int
    to_ms: int
    ends_ms: int
    zone: str
    policy: str
    trends: dict[Vital, Trend]
    bands: tuple[Band, ...]


def chart(watch: Watch, vitals: Sequence[Vital], last_ms: int, policy: Policy, now_ms: int, zone: tzinfo) -> Chart:
    """The chart of the last while up to the newest reading, or to now where nothing came at all."""
    place = watch.place
    to_ms = (now_ms if watch.latest_ms is None else watch.latest_ms) + 1
    from_ms = to_ms - last_ms
    limits = policy.limits_for(place.ward, place.patient)
    drawn = {
        vital: trends.trend(
            vital, *watch.arrays(vital), from_ms, to_ms, policy, limits.get(vital), watch.refused.get(vital, 0)
        )
        for vital in vitals
    }
    fresh = [one for vital, one in watch.forecasts.items() if vital in drawn and to_ms - one.at_ms < FRESH_MS]
    ends_ms = to_ms + (min(last_ms // AHEAD, HOUR_MS) if fresh else 0)
    bands = [band for one in fresh if one.ahead for band in [band_of(one, drawn[one.vital], ends_ms)] if band]
    return Chart(
        patient=place.patient,
        bed=place.bed,
        ward=place.ward,
        from_ms=from_ms,
        to_ms=to_ms,
        ends_ms=ends_ms,
        zone=zone_shown(from_ms, to_ms, zone),
        policy=policy.hash,
        trends=drawn,
        bands=tuple(bands),
    )


def panels(vitals: Sequence[Vital]) -> list[list[Vital]]:
    """Pressures share a panel."""
    found: list[list[Vital]] = []
    for vital in vitals:
        if NAMES["bp"].count(vital) and found and found[-1][0] in NAMES["bp"]:
            found[-1].append(vital)
        else:
            found.append([vital])
    return found


def drawn(one: Chart, zone: tzinfo, figure: Figure | None = None) -> Figure:
    """The chart on a page of its own size, or onto a figure that is there. Call it within ``report_look.pages``."""
    from batch import report_axes, report_look

    rows = panels(list(one.trends))
    if figure is None:
        from matplotlib.figure import Figure as Page

        figure = Page(figsize=(9.0, 1.1 + 1.25 * len(rows)), dpi=120)
    figure.clear()
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.105, right=0.92, top=1 - 0.55 / figure.get_figheight(), hspace=0.12,
                           bottom=0.5 / figure.get_figheight())  # fmt: skip
    tokens = report_look.colours()
    for place, vitals in zip(axes, rows, strict=True):
        shown_of = [one.trends[vital] for vital in vitals]
        for trend in shown_of:
            report_axes.draw_bands(place, one.bands, trend.vital, one.from_ms)
            report_axes.draw_trend(place, trend, one.from_ms, tokens[OF_VITAL[trend.vital]])
            report_axes.draw_limits(place, trend)
        report_axes.draw_gaps(place, report_axes.in_all(shown_of), one.from_ms)
        report_axes.scale(place, shown_of)
        place.set_ylabel("\n".join([*(line_of(trend) for trend in shown_of), VITALS[vitals[0]].shown_unit]), fontsize=7,
                         rotation=0, ha="left", va="center")  # fmt: skip
        place.yaxis.set_label_coords(-0.115, 0.5)
        place.spines[["top", "right"]].set_visible(False)
        place.grid(axis="x")
        place.axvline((one.to_ms - one.from_ms) / 1000, color=tokens["edge"], linewidth=0.6)
    marks = ticks(one.from_ms, one.ends_ms, zone)
    axes[-1].set_xlim(0, (one.ends_ms - one.from_ms) / 1000)
    axes[-1].set_xticks([(at - one.from_ms) / 1000 for at, _ in marks], [text for _, text in marks])
    high = figure.get_figheight()
    name = f"{report_look.plain(one.patient, 40)}, {report_look.plain(one.bed, 20)}"
    figure.text(0.02, 1 - 0.24 / high, name, fontsize=11, weight="bold")
    ends = f"{shown(one.to_ms, zone, '%Y-%m-%d %H:%M:%S')}, {one.zone}"
    figure.text(0.98, 1 - 0.24 / high, ends, fontsize=7, ha="right", color=tokens["muted"])
    foot = f"{report_look.FOOT} Limits of policy {one.policy}. Hatched: nothing is known. Grey: forecast."
    figure.text(0.02, 0.1 / high, foot, fontsize=6.5, color=tokens["muted"])
    return figure


def line_of(trend: Trend) -> str:
    """The vital and its last value."""
    code = VITALS[trend.vital]
    return f"{code.short} –" if trend.last is None else f"{code.short} {trend.last:.{code.decimals}f}"


def letters(one: Chart, zone: tzinfo, width: int) -> RenderableType:
    """The chart for a terminal: a row a vital; a gap is blank, what is beyond a limit is told by ! under it."""
    from rich.table import Table
    from rich.text import Text

    title = f"{one.patient}  {one.bed}  {shown(one.from_ms, zone, '%H:%M:%S')} to {shown(one.to_ms, zone, '%H:%M:%S')}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), show_header=False)
    cells = max(width - 42, 12)
    for vital, trend in one.trends.items():
        code = VITALS[vital]
        spark, beyond = sparkline(trend, one.from_ms, one.to_ms, cells)
        told = Text(f"{line_of(trend)} {code.shown_unit}", style="bold")
        since = Text(_since(trend, one.to_ms), style="dim")
        table.add_row(told, since, Text(spark))
        if "!" in beyond:
            table.add_row(Text(f"beyond {length_shown(trend.beyond_ms)}", style="red"), "", Text(beyond, style="red"))
    return table


def _since(trend: Trend, to_ms: int) -> str:
    if trend.last_ms is None:
        return "no reading"
    ago = to_ms - trend.last_ms
    low, high = trend.limits["low"], trend.limits["high"]
    limits = f"{'' if low is None else f'{low:g}'}–{'' if high is None else f'{high:g}'}"
    return f"{length_shown(ago)} ago" if ago > FRESH_READING_MS else limits if low or high else ""


def sparkline(trend: Trend, from_ms: int, to_ms: int, cells: int) -> tuple[str, str]:
    """The vital in so many letters, and under it ! where it was beyond a limit. A gap is blank in both."""
    if trend.least is None or trend.greatest is None:
        return " " * cells, " " * cells
    rows: list[list[Any]] = [[] for _ in range(cells)]
    for at, value in zip(trend.at_ms, trend.middle, strict=True):
        rows[min((at - from_ms) * cells // (to_ms - from_ms), cells - 1)].append(value)
    span = max(trend.greatest - trend.least, 1e-9)
    line, last = [], None
    for n, values in enumerate(rows):
        at = from_ms + (2 * n + 1) * (to_ms - from_ms) // (2 * cells)
        unknown = not values and any(start <= at < end for start, end in trend.gaps)
        last = None if unknown else sum(values) / len(values) if values else last
        line.append(" " if last is None else BLOCKS[min(int((last - trend.least) / span * len(BLOCKS)), 7)])
    out = [
        any(one.from_ms < from_ms + (n + 1) * (to_ms - from_ms) // cells
            and one.to_ms > from_ms + n * (to_ms - from_ms) // cells for one in trend.beyond)
        for n in range(cells)
    ]  # fmt: skip
    return "".join(line), "".join("!" if flag else " " for flag in out)
