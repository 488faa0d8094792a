"""The ward-day page drawn: beds by hours, what the alarms cost, who answered when, what the models were worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, Final

from batch import report_look as look
from batch.burden import Alarm, Waits
from batch.report_day import TOP, BedRow, DayPage
from batch.report_time import length_shown, shown, ticks
from contracts.look import MARKS, TECHNICAL_MARK
from contracts.records import Category, Priority
from models.burden import FLOOD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT = 0.06, 0.945
MAP_TOP: Final = 0.868
ROW: Final = 0.0145
MOST_HIGH: Final = 0.42
MOST_BEDS: Final = 60
ASIDE: Final = 0.10
"""How wide the bars of completeness are."""


def draw(page: DayPage, zone: tzinfo) -> Figure:
    """The page. Call it within ``report_look.pages``."""
    figure = look.sheet()
    look.head(figure, f"Ward-day: {look.plain(page.ward, 30)}, {page.date}", _about(page), [], page.notes, page.zone)
    bottom = _maps(figure, page)
    bottom = _flood(figure, page, zone, bottom - 0.040)
    _tables(figure, page, zone, bottom - 0.038)
    look.foot(figure, page.foot, zone)
    return figure


def _about(page: DayPage) -> list[tuple[str, str]]:
    told = page.burden
    waits = told.acknowledge
    median, p90 = (look.NO_NUMBER if s is None else length_shown(s * 1000) for s in (waits.median_s, waits.p90_s))
    share = look.NO_NUMBER if told.technical_share is None else f"{told.technical_share:.0%}"
    top = look.NO_NUMBER if told.top_tenth_share is None else f"{told.top_tenth_share:.0%}"
    return [
        ("Beds", f"{told.beds}; {told.bed_days:.2f} bed-days heard"),
        ("Alarms", f"{told.alarms}, {look.number(told.alarms_per_bed_day, 1)} a bed-day, {share} of them technical"),
        ("Answered", f"{waits.acknowledged} of {waits.alarms}; median {median}, p90 {p90}"),
        ("Floods", f"{told.flood_minutes} minutes ({FLOOD} alarms in 10 minutes: EEMUA 191)"),
        ("Busiest", f"{top} of the alarms on a tenth of the beds"),
        ("Policy", ", ".join(page.policies) or look.NO_NUMBER),
    ]


# -- beds by hours ---------------------------------------------------------------------------------------------------


def _maps(figure: Figure, page: DayPage) -> float:
    """Two heat maps and the bars of completeness side by side, a row a bed. The place below them."""
    beds, left_out = _chosen(page.beds)
    high = min(max(ROW * max(len(beds), 1), 0.06), MOST_HIGH)
    wide = (RIGHT - LEFT - 0.05 - ASIDE - 0.03) / 2
    places = [LEFT + 0.05, LEFT + 0.05 + wide + 0.012, RIGHT - ASIDE]
    titles = ("Alarms raised", "Highest certain NEWS2", "Data, share")
    for x, title in zip(places, titles, strict=True):
        look.write(figure, x, MAP_TOP + 0.016, title, size=8, weight="bold")
    size = 5.6 if len(beds) <= 34 else 4.4
    worst = max((n or 0 for bed in beds for n in bed.alarms), default=0)
    left = _heat(figure, (places[0], MAP_TOP - high, wide, high), page, [bed.alarms for bed in beds],
                 lambda n: min(n / max(worst, 5), 1.0), size)  # fmt: skip
    left.set_yticks(range(len(beds)), [look.plain(bed.bed, 9) for bed in beds], fontsize=min(size + 0.4, 6))
    _heat(figure, (places[1], MAP_TOP - high, wide, high), page, [bed.news2 for bed in beds], _news2_shade, size)
    _whole(figure.add_axes((places[2], MAP_TOP - high, ASIDE, high)), beds, size)
    words = "blank: not heard in that hour, which is not 0"
    words += f"; {left_out} beds with fewer alarms are not shown (--json has all)" if left_out else ""
    look.write(figure, places[0], MAP_TOP - high - 0.009, words, size=6, color=look.colours()["muted"])
    look.write(figure, places[2], MAP_TOP - high - 0.009, "heard", size=6, color=look.colours()["muted"])
    look.write(figure, RIGHT, MAP_TOP - high - 0.009, "filled: whole", size=6, ha="right")
    return MAP_TOP - high - 0.009


def _chosen(beds: Sequence[BedRow]) -> tuple[list[BedRow], int]:
    """All beds, or those with the most alarms where they are more than a page holds; in order of name."""
    most = sorted(beds, key=lambda bed: (-bed.raised, bed.bed))[:MOST_BEDS]
    return sorted(most, key=lambda bed: bed.bed), len(beds) - len(most)


def _news2_shade(total: int) -> float:
    """Steps at which the RCP's thresholds lie: 5 is urgent, 7 an emergency."""
    return 0.0 if total == 0 else 0.2 if total < 5 else 0.55 if total < 7 else 1.0


def _heat(
    figure: Figure,
    box: tuple[float, float, float, float],
    page: DayPage,
    rows: Sequence[Sequence[int | None]],
    shade: Callable[[int], float],
    size: float,
) -> Axes:
    """Cells darker the more there is, each with its number: to be read in grey too."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    axes, tokens = figure.add_axes(box), look.colours()
    dark = to_rgb(tokens["link"])
    axes.set_xlim(0, len(page.hours))
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            if value is None:
                continue
            weight = shade(value) * 0.85
            face = tuple(1 - weight * (1 - part) for part in dark)
            axes.add_patch(Rectangle((x, y - 0.5), 1, 1, facecolor=face, edgecolor=tokens["line"], linewidth=0.3))
            if value or len(rows) <= 34:
                ink = "white" if weight > 0.45 else tokens["text"] if value else tokens["muted"]
                axes.text(x + 0.5, y, str(value), fontsize=size, ha="center", va="center", color=ink)
    every = 1 if len(page.hours) <= 12 else 2
    axes.set_xticks([n + 0.5 for n in range(0, len(page.hours), every)], page.hours[::every], fontsize=5.5)
    axes.xaxis.tick_top()
    axes.tick_params(axis="both", length=0, pad=1)
    axes.set_yticks([])
    if not rows:
        axes.text(0.5, 0.5, "nothing was heard", transform=axes.transAxes, ha="center", va="center", fontsize=8)
        axes.set_xticks([])
    return axes


def _whole(axes: Axes, beds: Sequence[BedRow], size: float) -> None:
    tokens = look.colours()
    axes.set_xlim(0, 1.32)
    axes.set_ylim(max(len(beds), 1) - 0.5, -0.5)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for n, bed in enumerate(beds):
        axes.barh(n, min(bed.heard, 1), 0.7, facecolor="white", edgecolor=tokens["edge"], linewidth=0.5)
        axes.barh(n, min(bed.whole, 1), 0.7, facecolor=tokens["edge"], linewidth=0)
        axes.text(1.32, n, f"{bed.whole:.{0 if bed.whole >= 0.1 else 1}%}", fontsize=size, ha="right", va="center")


def _flood(figure: Figure, page: DayPage, zone: tzinfo, top: float) -> float:
    """How many alarms were raised in the last ten minutes, all day long. The place below it."""
    tokens, high = look.colours(), 0.062
    look.write(figure, LEFT, top + 0.004, "Alarms raised in ten minutes", size=8, weight="bold")
    axes = figure.add_axes((LEFT + 0.05, top - high, RIGHT - LEFT - 0.05, high))
    x = [n + 1 for n in range(len(page.flood))]
    axes.fill_between(x, page.flood, step="pre", color=tokens["edge"], alpha=0.45, linewidth=0)
    axes.step(x, page.flood, where="pre", color=tokens["text"], linewidth=0.7)
    axes.axhline(FLOOD, color=tokens["high"], linewidth=0.8, linestyle=(0, (5, 2)))
    axes.fill_between(x, [max(n, FLOOD) for n in page.flood], FLOOD, step="pre", color=tokens["high"], hatch="////",
                      facecolor="none", linewidth=0)  # fmt: skip
    axes.set_ylim(0, max([FLOOD * 1.25, *(n * 1.1 for n in page.flood)]))
    axes.set_xlim(0, (page.to_ms - page.from_ms) / 60_000)
    marks = ticks(page.from_ms, page.to_ms, zone, most=25)
    axes.set_xticks([(at - page.from_ms) / 60_000 for at, _ in marks], [text[:2] for _, text in marks])
    axes.spines[["top", "right"]].set_visible(False)
    axes.annotate("flood", (1, FLOOD), (-2, 1.5), xycoords=("axes fraction", "data"), textcoords="offset points",
                  ha="right", fontsize=6)  # fmt: skip
    first = page.to_ms if page.foot.from_ms is None else page.foot.from_ms
    for start, end in ((page.from_ms, min(first, page.to_ms)), (max(page.until_ms, first), page.to_ms)):
        if end - start > 60_000:
            axes.axvspan((start - page.from_ms) / 60_000, (end - page.from_ms) / 60_000, facecolor="none",
                         hatch="//////", edgecolor=tokens["line"], linewidth=0)  # fmt: skip
    return top - high - 0.010


# -- tables ----------------------------------------------------------------------------------------------------------


def _tables(figure: Figure, page: DayPage, zone: tzinfo, top: float) -> None:
    below = min(_rates(figure, page, top), _answers(figure, page, top), _conditions(figure, page, top)) - 0.018
    rows = max(int((below - 0.052 - 0.0135) / 0.0112), 1)
    _longest(figure, page, zone, below, rows)
    _advice(figure, page, below, rows)


def _rates(figure: Figure, page: DayPage, top: float) -> float:
    look.write(figure, LEFT, top, "Alarms a bed-day", size=8, weight="bold")
    columns = [
        (LEFT, "", "left"),
        (LEFT + 0.024, "", "left"),
        (0.235, "alarms", "right"),
        (0.315, "a bed-day", "right"),
    ]
    rows = [
        (_mark(category, priority), f"{category} {priority}", str(n), look.number(per, 1))
        for category, priority, n, per in page.burden.table
    ]
    return look.table(figure, top - 0.0135, columns, rows or [("", "none", "", "")], 0.0112)


def _mark(category: str, priority: str) -> str:
    marks = {Category.TECHNICAL: TECHNICAL_MARK, Category.ADVISORY: look.ADVISORY}
    return marks.get(Category(category), MARKS[Priority(priority)])


def _answers(figure: Figure, page: DayPage, top: float) -> float:
    """The distribution of waits as bars with numbers, then by priority."""
    left = 0.36
    look.write(figure, left, top, "Acknowledged after", size=8, weight="bold")
    most, tokens = max((n for _, n in page.waits), default=0) or 1, look.colours()
    for n, (words, count) in enumerate(page.waits):
        y = top - 0.0135 - 0.0112 * n
        look.write(figure, left + 0.105, y, words, size=6.5, ha="right")
        width = 0.10 * count / most
        _bar(figure, left + 0.112, y - 0.0012, width, 0.0078, tokens["edge"], "" if n < len(page.waits) - 1 else "////")
        look.write(figure, left + 0.116 + width, y, str(count), size=6.5)
    y = top - 0.0135 - 0.0112 * len(page.waits) - 0.004
    columns = [
        (left, "", "left"),
        (left + 0.13, "answered", "right"),
        (left + 0.185, "median", "right"),
        (left + 0.245, "p90", "right"),
    ]
    told = page.burden.acknowledge_by_priority
    rows = [(f"{MARKS[Priority(name)]} {name}", *_waited(waits)) for name, waits in told.items()]
    return look.table(figure, y, columns, rows, 0.0112)


def _waited(waits: Waits) -> tuple[str, ...]:
    times = (look.NO_NUMBER if s is None else length_shown(s * 1000) for s in (waits.median_s, waits.p90_s))
    return (f"{waits.acknowledged} of {waits.alarms}", *times)


def _bar(figure: Figure, x: float, y: float, width: float, height: float, ink: str, hatch: str = "") -> None:
    from matplotlib.patches import Rectangle

    figure.add_artist(
        Rectangle((x, y), width, height, transform=figure.transFigure, facecolor="white" if hatch else ink,
                  edgecolor=ink, hatch=hatch, linewidth=0.4)
    )  # fmt: skip


def _conditions(figure: Figure, page: DayPage, top: float) -> float:
    left = 0.645
    shown_of = page.conditions[:TOP]
    more = len(page.conditions) - len(shown_of)
    look.write(figure, left, top, "Most frequent" + (f" (and {more} more)" if more else ""), size=8, weight="bold")
    most = max((n for *_, n in shown_of), default=1)
    for n, (condition, category, count) in enumerate(shown_of):
        y = top - 0.0135 - 0.0112 * n
        look.write(figure, left + 0.155, y, look.plain(condition.replace("_", " "), 28), size=6.5, ha="right")
        width = 0.105 * count / most
        technical = category == Category.TECHNICAL
        _bar(figure, left + 0.162, y - 0.0012, width, 0.0078, look.colours()["technical" if technical else "link"],
             look.HATCHES["technical"] if technical else "")  # fmt: skip
        look.write(figure, left + 0.166 + width, y, str(count), size=6.5)
    if not shown_of:
        look.write(figure, left, top - 0.0135, "no alarm on this day")
    return top - 0.0135 - 0.0112 * max(len(shown_of), 1)


def _longest(figure: Figure, page: DayPage, zone: tzinfo, top: float, rows: int) -> None:
    look.write(figure, LEFT, top, "Longest without an answer", size=8, weight="bold")
    columns = [
        (LEFT, "raised", "left"), (LEFT + 0.062, "", "left"), (LEFT + 0.088, "bed", "left"),
        (LEFT + 0.16, "alarm", "left"),        (0.425, "stood", "right"), (0.50, "", "right"),
    ]  # fmt: skip
    told = [_stood(alarm, page, zone) for alarm in page.longest[:rows]]
    look.table(figure, top - 0.0135, columns, told or [("", "", "", "none", "", "")], 0.0112)


def _stood(alarm: Alarm, page: DayPage, zone: tzinfo) -> tuple[str, ...]:
    end = "answered" if alarm.acknowledged_ms is not None else "over" if alarm.ended_ms is not None else "still on"
    return (
        shown(alarm.start_ms, zone, "%H:%M:%S"),
        look.mark(alarm),
        look.plain(alarm.bed, 9),
        look.plain(alarm.message, 23),
        length_shown(alarm.stood_s(page.until_ms) * 1000),
        end,
    )


def _advice(figure: Figure, page: DayPage, top: float, rows: int) -> None:
    left = 0.53
    look.write(figure, left, top, "Advisories (silent) and what became of them", size=8, weight="bold")
    columns: list[tuple[float, str, Any]] = [
        (left, "advisory", "left"), (left + 0.195, "raised", "right"), (left + 0.255, "answered", "right"),
        (left + 0.315, "followed", "right"), (left + 0.365, "not", "right"), (RIGHT, "open", "right"),
    ]  # fmt: skip
    found = [
        (look.plain(one.condition.replace("_", " "), 30), *map(str, (one.raised, one.acknowledged, one.followed)),
         str(one.passed), str(one.open))
        for one in page.fates[: rows - 2]
    ]  # fmt: skip
    below = look.table(figure, top - 0.0135, columns, found or [("none", *[""] * 5)], 0.0112)
    words = "followed: an alarm of the same vital came within the lead; open: it still may"
    look.write(figure, left, below, words, size=5.5, color=look.colours()["muted"])
