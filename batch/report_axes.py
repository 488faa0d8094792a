"""One vital on its axes: readings, limits, forecasts, what was beyond and where nothing is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from batch import report_look as look
from batch.report_shift import Band
from batch.trends import Trend
from contracts.records import Vital

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_SPAN: Final = {Vital.HEART_RATE: 40, Vital.RESPIRATION: 15, Vital.SPO2: 12, Vital.TEMPERATURE: 2.5}
"""An axis spans at least so much, or noise would fill it."""


def draw_trend(axes: Axes, trend: Trend, from_ms: int, ink: str) -> None:
    """A line through the middles within a wash from least to greatest; single readings as dots."""
    nan = float("nan")
    x: list[float] = []
    rows: list[tuple[float, float, float]] = []
    for at, begins, *row in zip(trend.at_ms, trend.begins, trend.low, trend.middle, trend.high, strict=True):
        if begins and x:
            x.append(x[-1])
            rows.append((nan, nan, nan))
        x.append((at - from_ms) / 1000)
        rows.append((row[0], row[1], row[2]))
    if not x:
        return
    low, middle, high = zip(*rows, strict=True)
    if low != high:
        axes.fill_between(x, low, high, color=ink, alpha=0.22, linewidth=0, zorder=2)
    width = 1.2 if trend.vital in (Vital.SYSTOLIC, Vital.DIASTOLIC) else 0.9
    axes.plot(x, middle, color=ink, linewidth=width if trend.vital is not Vital.MEAN_PRESSURE else 0.7, zorder=3)
    alone = [n for n in range(len(x)) if middle[n] == middle[n] and _lonely(middle, n)]
    sparse = len(trend.at_ms) <= 60
    dots = [n for n in range(len(x)) if middle[n] == middle[n]] if sparse else alone
    marker = {Vital.SYSTOLIC: "v", Vital.DIASTOLIC: "^"}.get(trend.vital, "o")
    axes.plot([x[n] for n in dots], [middle[n] for n in dots], marker, color=ink, markersize=2.4, zorder=3)
    for one in trend.beyond:
        span = [n for n in range(len(x)) if one.from_ms <= from_ms + x[n] * 1000 <= one.to_ms]
        edge = trend.limits["low" if one.side == "low" else "high"]
        part_x, part = [x[n] for n in span], [(low if one.side == "low" else high)[n] for n in span]
        axes.plot(part_x, part, color=look.colour("high"), linewidth=1.8, zorder=4, solid_capstyle="butt")
        if edge is not None and part_x:
            axes.fill_between(part_x, part, edge, color=look.colour("high"), alpha=0.3, linewidth=0, zorder=2.5)
        start, end = (one.from_ms - from_ms) / 1000, (one.to_ms - from_ms) / 1000
        place = 0.0 if one.side == "low" else 1.0
        end = max(end, start + axes.get_xlim()[1] / 400)
        axes.plot([start, end], [place] * 2, transform=axes.get_xaxis_transform(), color=look.colours()["text"],
                  linewidth=3.2 if one.extreme else 1.6, solid_capstyle="butt", clip_on=False, zorder=5)  # fmt: skip


def _lonely(values: Sequence[float], n: int) -> bool:
    before = n > 0 and values[n - 1] == values[n - 1]
    after = n + 1 < len(values) and values[n + 1] == values[n + 1]
    return not before and not after


def draw_limits(axes: Axes, trend: Trend) -> None:
    """The plain limits, each with its number at the edge."""
    if trend.vital is Vital.DIASTOLIC:
        return
    style: Any = (0, (5, 2)) if trend.vital is not Vital.MEAN_PRESSURE else (0, (1, 1.5))
    for name in ("low", "high"):
        edge = trend.limits.get(name)
        if edge is not None:
            axes.axhline(edge, color=look.colours()["muted"], linewidth=0.7, linestyle=style, zorder=1.5)
            word = {Vital.MEAN_PRESSURE: "MAP ", Vital.SYSTOLIC: "SBP "}.get(trend.vital, "")
            axes.annotate(f"{word}{edge:g}", (1, edge), (1.5, 0), xycoords=("axes fraction", "data"),
                          textcoords="offset points", fontsize=5.2, va="center", annotation_clip=False,
                          color=look.colours()["muted"])  # fmt: skip


def draw_bands(axes: Axes, bands: Iterable[Band], vital: Vital, from_ms: int) -> None:
    """The forecasts of one vital: between the outer quantiles, with the middle one."""
    ink = look.colours()["edge"]
    for band in bands:
        if band.vital is vital:
            x = [(at - from_ms) / 1000 for at in band.at_ms]
            axes.fill_between(x, band.low, band.high, facecolor=ink, alpha=0.20, linewidth=0, zorder=1)
            axes.plot(x, band.low, color=ink, linewidth=0.35, zorder=1.1)
            axes.plot(x, band.high, color=ink, linewidth=0.35, zorder=1.1)
            axes.plot(x, band.middle, color=ink, linewidth=0.6, linestyle=(0, (3, 2)), zorder=1.2)


def draw_gaps(axes: Axes, gaps: Sequence[tuple[int, int]], from_ms: int) -> None:
    """Hatched, for nothing is known there."""
    for start, end in gaps:
        axes.axvspan((start - from_ms) / 1000, (end - from_ms) / 1000, facecolor="none", hatch="//////",
                     edgecolor=look.colours()["line"], linewidth=0, zorder=0.6)  # fmt: skip


def in_all(of: Sequence[Trend]) -> list[tuple[int, int]]:
    """Where none of these is known."""
    edges = sorted({at for trend in of for gap in trend.gaps for at in gap})
    found = []
    for start, end in pairwise(edges):
        if all(any(a <= start and end <= b for a, b in trend.gaps) for trend in of):
            found.append((start, end))
    return found


def scale(axes: Axes, of: Sequence[Trend]) -> None:
    """So that readings and the limits near them are seen, and noise does not fill the panel."""
    from matplotlib.ticker import MaxNLocator

    lows = [trend.least for trend in of if trend.least is not None]
    highs = [trend.greatest for trend in of if trend.greatest is not None]
    edges = [edge for trend in of for name in ("low", "high") if (edge := trend.limits.get(name)) is not None]
    low, high = min([*lows, *edges], default=0.0), max([*highs, *edges], default=1.0)
    if of[0].vital is Vital.SPO2:
        high = max(high, 100.0)
    spare = max(LEAST_SPAN.get(of[0].vital, 40) - (high - low), 0) / 2
    margin = (high - low + 2 * spare) * 0.07
    axes.set_ylim(
        low - spare - margin, min(high + spare + margin, 101.0) if of[0].vital is Vital.SPO2 else high + spare + margin
    )
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=of[0].vital is not Vital.TEMPERATURE))
