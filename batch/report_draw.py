"""The patient-shift page drawn: trends under one another on one clock, then alarms, then what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Final

from batch import report_look as look
from batch.report_axes import draw_bands, draw_gaps, draw_limits, draw_trend, in_all, scale
from batch.report_draw_alarms import lanes_high, rows_high, tables, timeline
from batch.report_shift import ShiftPage, Step
from batch.report_time import length_shown, shown, ticks
from batch.trends import Trend
from contracts.clinical.codes import VITALS
from contracts.look import OF_VITAL
from contracts.records import Vital

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT = 0.16, 0.80
TOP, GAP = 0.893, 0.0085
LOWEST: Final = 0.047
"""Where the foot begins."""
MOST_STRETCH: Final = 1.5
PANELS: Final[tuple[tuple[str, tuple[Vital, ...], float], ...]] = (
    ("heart_rate", (Vital.HEART_RATE,), 0.079),
    ("respiration", (Vital.RESPIRATION,), 0.063),
    ("spo2", (Vital.SPO2,), 0.063),
    ("pressure", (Vital.SYSTOLIC, Vital.MEAN_PRESSURE, Vital.DIASTOLIC), 0.095),
    ("temperature", (Vital.TEMPERATURE,), 0.050),
    ("news2", (), 0.050),
    ("anomaly", (), 0.038),
    ("alarms", (), 0.0),
)
JOINED_MS: Final = 1000
"""So short a while between two scores is none."""


def draw(page: ShiftPage, zone: tzinfo) -> Figure:
    """The page. Call it within ``report_look.pages``."""
    figure = look.sheet()
    name = look.plain(page.patient, 40)
    look.head(figure, f"Patient-shift: {name}", _about(page, zone), _wide(page), page.notes, page.zone)
    axes = _panels(figure, page, zone)
    for what, vitals, _ in PANELS[:5]:
        _vital_panel(axes[what], page, vitals, figure)
    _news2(axes["news2"], page, figure)
    _anomaly(axes["anomaly"], page, figure)
    timeline(axes["alarms"], page, figure)
    tables(figure, page, zone, axes["alarms"].get_position().y0 - GAP - 0.022)
    look.foot(figure, page.foot, zone)
    return figure


def _about(page: ShiftPage, zone: tzinfo) -> list[tuple[str, str]]:
    same_day = shown(page.from_ms, zone, "%Y-%m-%d") == shown(page.to_ms, zone, "%Y-%m-%d")
    end = shown(page.to_ms, zone, "%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S")
    span = f"{shown(page.from_ms, zone, '%Y-%m-%d %H:%M:%S')} to {end} ({length_shown(page.to_ms - page.from_ms)})"
    beds = ", ".join(bed.partition("/")[2] for bed in page.beds)
    waits = page.burden.acknowledge
    answered = f", {waits.acknowledged} acknowledged"
    answered += "" if waits.median_s is None else f" (median {length_shown(waits.median_s * 1000)})"
    return [
        ("Bed", look.plain(beds, 40) or look.NO_NUMBER),
        ("Ward", look.plain(", ".join(page.wards), 40)),
        ("Span", span),
        ("Heard for", length_shown(page.heard_s * 1000)),
        ("Policy", ", ".join(page.policies) or look.NO_NUMBER),
        ("Alarms", f"{page.burden.alarms} raised{answered}; advisories {page.burden.advisories}"),
    ]


def _wide(page: ShiftPage) -> list[tuple[str, str]]:
    models = ", ".join(f"{name} {version[:8]}" for name, _, version in (m.partition("@") for m in page.models))
    return [("Models", look.plain(models, 150) or "none spoke")]


def _panels(figure: Figure, page: ShiftPage, zone: tzinfo) -> dict[str, Axes]:
    tokens, top, found = look.colours(), TOP, {}
    stretch = _stretch(page)
    marks = ticks(page.from_ms, page.ends_ms, zone, most=14)
    for what, _, usual in PANELS:
        height = usual * stretch or lanes_high(page)
        axes = figure.add_axes((LEFT, top - height, RIGHT - LEFT, height))
        axes.set_xlim(0, (page.ends_ms - page.from_ms) / 1000)
        axes.set_xticks([(at - page.from_ms) / 1000 for at, _ in marks], [])
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if page.ends_ms > page.to_ms:
            ends = (page.to_ms - page.from_ms) / 1000, (page.ends_ms - page.from_ms) / 1000
            axes.axvspan(*ends, color=tokens["raised"], linewidth=0, zorder=0.1)
            axes.axvline(ends[0], color=tokens["edge"], linewidth=0.6, zorder=0.5)
        found[what] = axes
        top -= height + GAP
    found["alarms"].set_xticklabels([text for _, text in marks])
    if page.ends_ms > page.to_ms:
        middle = ((page.to_ms + page.ends_ms) / 2 - page.from_ms) / 1000
        found["heart_rate"].annotate(
            "ahead", (middle, 1), (0, 1.5), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", fontsize=5.5, color=tokens["muted"],
        )  # fmt: skip
    return found


def _stretch(page: ShiftPage) -> float:
    """How much higher than usual the panels can be, where the tables below are short."""
    room = TOP - LOWEST - len(PANELS) * GAP - 0.022 - 0.03 - rows_high(page) - lanes_high(page)
    return min(MOST_STRETCH, room / sum(height for *_, height in PANELS))


# -- vitals ----------------------------------------------------------------------------------------------------------


def _vital_panel(axes: Axes, page: ShiftPage, vitals: Sequence[Vital], figure: Figure) -> None:
    tokens = look.colours()
    shown_of = [page.trends[vital] for vital in vitals]
    ink = tokens[OF_VITAL[vitals[0]]]
    for trend in shown_of:
        if trend.vital is not Vital.DIASTOLIC:
            draw_bands(axes, page.bands, trend.vital, page.from_ms)
        draw_trend(axes, trend, page.from_ms, ink)
        draw_limits(axes, trend)
        if len(vitals) > 1 and trend.at_ms:
            axes.annotate(VITALS[trend.vital].short, ((trend.at_ms[0] - page.from_ms) / 1000, trend.middle[0]), (2, 0),
                          textcoords="offset points", fontsize=5, va="center", zorder=6,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85})  # fmt: skip
    lead = shown_of[0]
    draw_gaps(axes, lead.gaps if len(vitals) == 1 else in_all(shown_of), page.from_ms)
    scale(axes, shown_of)
    code = VITALS[lead.vital]
    title = "BP" if len(vitals) > 1 else code.short
    _label(figure, axes, title, code.shown_unit)
    _aside(figure, axes, _summary(shown_of))
    if not any(trend.readings for trend in shown_of):
        axes.text(0.5, 0.5, "no reading in this span", transform=axes.transAxes, ha="center", va="center", fontsize=7,
                  bbox={"facecolor": "white", "edgecolor": tokens["edge"], "linewidth": 0.5, "pad": 2})  # fmt: skip


def _summary(of: Sequence[Trend]) -> list[str]:
    if len(of) > 1:
        systolic, mean, diastolic = of
        last = "/".join(look.number(trend.last) for trend in (systolic, diastolic))
        ranges = [f"{word} {_range(trend)}" for word, trend in (("SBP", systolic), ("DBP", diastolic), ("MAP", mean))]
        return [f"last {last} ({look.number(mean.last)})", *ranges, *_lost([systolic, mean])]
    return [f"last {look.number(of[0].last, _digits(of[0]))}", _range(of[0]), *_lost(of)]


def _lost(of: Sequence[Trend]) -> list[str]:
    found = []
    for trend in of:
        word = f" {VITALS[trend.vital].short}" if len(of) > 1 else ""
        if trend.beyond_ms:
            found.append(f"out{word} {length_shown(trend.beyond_ms)}")
    if of[0].missing_ms:
        found.append(f"missing {length_shown(of[0].missing_ms)}")
    return found


def _digits(trend: Trend) -> int:
    return VITALS[trend.vital].decimals


def _range(trend: Trend) -> str:
    if trend.least is None:
        return look.NO_NUMBER
    return f"{look.number(trend.least, _digits(trend))} to {look.number(trend.greatest, _digits(trend))}"


def _label(figure: Figure, axes: Axes, title: str, unit: str) -> None:
    box = axes.get_position()
    look.write(figure, 0.06, box.y1 - 0.010, title, size=8, weight="bold")
    look.write(figure, 0.06, box.y1 - 0.020, unit, size=6, color=look.colours()["muted"])


def _aside(figure: Figure, axes: Axes, words: Sequence[str]) -> None:
    top = axes.get_position().y1 - 0.007
    for n, line in enumerate(words):
        look.write(figure, 0.85, top - 0.0102 * n, line, size=7 if not n else 6, weight="bold" if not n else "normal")


# -- scores, alarms --------------------------------------------------------------------------------------------------


def _news2(axes: Axes, page: ShiftPage, figure: Figure) -> None:
    tokens = look.colours()
    for part in _unbroken(page):
        x = [(at - page.from_ms) / 1000 for step in part for at in (step.from_ms, step.to_ms)]
        least, most = [step.least for step in part for _ in "ab"], [step.most for step in part for _ in "ab"]
        axes.fill_between(x, least, most, color=tokens["edge"], alpha=0.4, linewidth=0)
        axes.plot(x, most, color=tokens["edge"], linewidth=0.5)
        axes.plot(x, least, color=tokens["text"], linewidth=1.0)
    previous = page.from_ms
    unknown = []
    for step in page.news2:
        if step.from_ms - previous > JOINED_MS:
            unknown.append((previous, step.from_ms))
        previous = step.to_ms
    if page.to_ms - previous > JOINED_MS:
        unknown.append((previous, page.to_ms))
    draw_gaps(axes, unknown, page.from_ms)
    top = max([8, *(step.most for step in page.news2)])
    axes.set_ylim(0, top + 0.5)
    axes.set_yticks([0, 5, 7, *([15, 20] if top > 12 else [])])
    for edge in (5, 7):
        axes.axhline(edge, color=tokens["muted"], linewidth=0.6, linestyle=(0, (5, 2)))
    _label(figure, axes, "NEWS2", "interval")
    if page.news2:
        last = page.news2[-1]
        interval = f"{last.least}" if last.least == last.most else f"{last.least} to {last.most}"
        _aside(figure, axes, [f"last {interval}", f"highest certain {max(step.least for step in page.news2)}"])


def _unbroken(page: ShiftPage) -> list[list[Step]]:
    """The steps in parts within which each begins where the one before it ends."""
    parts: list[list[Step]] = []
    for step in page.news2:
        if parts and step.from_ms - parts[-1][-1].to_ms <= JOINED_MS:
            parts[-1].append(step)
        else:
            parts.append([step])
    return parts


def _anomaly(axes: Axes, page: ShiftPage, figure: Figure) -> None:
    tokens, x, y = look.colours(), list[float](), list[float]()
    for at, score, begins in zip(page.anomaly_ms, page.anomaly, page.anomaly_begins, strict=True):
        if begins and x:
            x.append(x[-1])
            y.append(float("nan"))
        x.append((at - page.from_ms) / 1000)
        y.append(score)
    axes.plot(x, y, color=tokens["text"], linewidth=0.8, marker="o" if len(x) < 30 else "", markersize=1.5)
    axes.axhline(page.anomaly_from, color=tokens["muted"], linewidth=0.6, linestyle=(0, (5, 2)))
    axes.set_ylim(0, 1.05)
    axes.set_yticks([0, 0.5, 1])
    _label(figure, axes, "Anomaly", "0 to 1")
    peak = max(page.anomaly, default=None)
    _aside(
        figure,
        axes,
        [f"highest {look.number(peak, 2)}", f"advised from {page.anomaly_from:g}"] if x else ["no model spoke"],
    )
