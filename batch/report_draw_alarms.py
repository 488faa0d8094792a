"""The alarms of the patient-shift page: lanes over time, then a table, and the advisories apart from them."""

from __future__ import annotations

from datetime import tzinfo
from typing import TYPE_CHECKING, Final

from batch import report_look as look
from batch.burden import Alarm
from batch.report_shift import ShiftPage
from batch.report_time import length_shown, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LANES: Final = 9
APART: Final = 0.03
"""Marks nearer to one another than this share of the axis would overlap."""
ROWS: Final = 13
ADVISED: Final = 5
ROW_HIGH: Final = 0.0112


def lanes_high(page: ShiftPage) -> float:
    """The height of the alarms' panel: a lane a condition, and room for the legend beside it."""
    return 0.074 + 0.005 * min(len({alarm.condition for alarm in (*page.alarms, *page.advisories)}), LANES)


def rows_high(page: ShiftPage) -> float:
    """The height of the tables' rows."""
    return ROW_HIGH * max(min(len(page.alarms), ROWS), 2 * min(len(page.advisories), ADVISED), 1)


def timeline(axes: Axes, page: ShiftPage, figure: Figure) -> None:
    """A lane a condition: each alarm from raised to over, what it was, when it was acknowledged."""
    every = [*page.alarms, *page.advisories]
    names = list(dict.fromkeys(alarm.condition for alarm in every))
    lanes = names if len(names) <= LANES else [*names[: LANES - 1], f"{len(names) - LANES + 1} others"]
    rows = max(len(lanes), 1)
    axes.set_ylim(rows - 0.45, -0.55)
    axes.set_yticks(range(len(lanes)), [look.plain(lane.replace("_", " "), 25) for lane in lanes], fontsize=5.2)
    axes.tick_params(axis="y", length=0)
    marked: dict[int, float] = {}
    for alarm in every:
        _bar(axes, alarm, min(names.index(alarm.condition), LANES - 1), page, rows, marked)
    look.write(figure, 0.06, axes.get_position().y1 + 0.001, "Alarms", size=8.5, weight="bold")
    if not every:
        axes.text(0.5, 0.5, "no alarm in this span", transform=axes.transAxes, ha="center", va="center", fontsize=7)
        axes.set_yticks([])
    legend = ["*** high", "** medium", "* low", "! technical", "~ advisory", "✓ acknowledged", "▸ still on"]
    top = axes.get_position().y1 - 0.006
    for n, line in enumerate(legend):
        look.write(figure, 0.845, top - 0.0098 * n, line, size=6)


def _bar(axes: Axes, alarm: Alarm, lane: int, page: ShiftPage, rows: int, marked: dict[int, float]) -> None:
    """One alarm; where marks of a lane would lie on one another, the first one stands for them."""
    what, width = look.kind(alarm), page.ends_ms - page.from_ms
    start = max(alarm.start_ms, page.from_ms)
    known_ms = min(max(page.foot.to_ms or start, start), page.to_ms)
    end = known_ms if alarm.ended_ms is None else min(alarm.ended_ms, page.to_ms)
    x, length = (start - page.from_ms) / 1000, max(end - start, width / 250) / 1000
    height = min(0.62, 0.12 * rows + 0.2)
    face = "white" if what == "advisory" else look.colour(what)
    axes.barh(lane, length, height, left=x, facecolor=face, edgecolor=look.colours()["text"], linewidth=0.5,
              hatch=look.HATCHES[what], linestyle="--" if what == "advisory" else "-", zorder=3)  # fmt: skip
    if x - marked.get(lane, -1e12) > width / 1000 * APART:
        marked[lane] = x
        early = x < width / 1000 * APART  # no room before it
        axes.annotate(look.mark(alarm), (x + length if early else x, lane), (5 if early else -1, 0), va="center",
                      textcoords="offset points", ha="left" if early else "right", fontsize=5.5, zorder=4,
                      annotation_clip=False)  # fmt: skip
    if alarm.acknowledged_ms is not None and alarm.acknowledged_ms < page.to_ms:
        at = max(alarm.acknowledged_ms - page.from_ms, 0) / 1000
        axes.annotate("✓", (at, lane), ha="center", va="center", fontsize=7, weight="bold", zorder=5,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8})  # fmt: skip
    if alarm.ended_ms is None or alarm.ended_ms > page.to_ms:
        axes.annotate("▸", (x + length, lane), (0.5, 0), textcoords="offset points", va="center", fontsize=6, zorder=5)


def tables(figure: Figure, page: ShiftPage, zone: tzinfo, top: float) -> None:
    """The alarms, and apart from them the advisories, from ``top`` downwards."""
    alarms = sorted(page.alarms, key=_weight)[:ROWS]
    columns = [
        (0.06, "raised", "left"), (0.125, "", "left"), (0.155, "alarm", "left"), (0.48, "acknowledged after", "right"),
        (0.57, "over after", "right"),
    ]  # fmt: skip
    look.write(figure, 0.06, top, _heading("Alarms", len(alarms), len(page.alarms)), size=8, weight="bold")
    rows = [_row(alarm, page, zone, 34) for alarm in sorted(alarms, key=lambda alarm: alarm.start_ms)]
    look.table(figure, top - 0.0135, columns, rows or [("", "", "none", "", "")], ROW_HIGH)
    advised = list(page.advisories)[:ADVISED]
    columns = [
        (0.60, "raised", "left"),
        (0.66, "", "left"),
        (0.675, "advisory (silent), probability, model", "left"),
        (0.945, "", "right"),
    ]
    look.write(figure, 0.60, top, _heading("Advisories", len(advised), len(page.advisories)), size=8, weight="bold")
    rows = [cells for alarm in advised for cells in _advised(alarm, page, zone)]
    look.table(figure, top - 0.0135, columns, rows or [("", "", "none", "")], ROW_HIGH)


def _weight(alarm: Alarm) -> tuple[int, int]:
    """Most urgent first, then by time."""
    return ("high", "medium", "low", "technical", "advisory").index(look.kind(alarm)), alarm.start_ms


def _heading(name: str, shown_of: int, all_of: int) -> str:
    return name if shown_of == all_of else f"{name} ({shown_of} of {all_of}; --json has all)"


def _clock(alarm: Alarm, page: ShiftPage, zone: tzinfo) -> str:
    return ("< " if alarm.start_ms < page.from_ms else "") + shown(alarm.start_ms, zone, "%H:%M:%S")


def _row(alarm: Alarm, page: ShiftPage, zone: tzinfo, most: int) -> tuple[str, ...]:
    wait = alarm.acknowledged_s
    over = "still on" if alarm.ended_ms is None else length_shown(alarm.ended_ms - alarm.start_ms)
    escalated = f" (told {alarm.escalation} more)" if alarm.escalation else ""
    return (
        _clock(alarm, page, zone),
        look.mark(alarm),
        look.plain(alarm.message, most) + escalated,
        "not" if wait is None else length_shown(wait * 1000),
        over,
    )


def _advised(alarm: Alarm, page: ShiftPage, zone: tzinfo) -> list[tuple[str, ...]]:
    model, _, version = (alarm.model or "").partition("@")
    chance = "" if alarm.probability is None else f"{alarm.probability:.2f} "
    lead = "" if alarm.lead_s is None else f"within {length_shown(alarm.lead_s * 1000)}, "
    return [
        (_clock(alarm, page, zone), look.mark(alarm), look.plain(alarm.message, 46), ""),
        ("", "", f"{chance}{lead}{look.plain(model, 24)} {version[:8]}", ""),
    ]
