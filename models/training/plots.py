"""Plots of evaluations as PNG bytes: readable in print and without colour vision, labelled where the line is."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from models.registry import Interval
from models.training.intervals import BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INKS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's, which colour-blind readers can tell apart."""
STROKES: Final = ("-", "--", "-.", ":")
MARKS: Final = ("o", "s", "^", "D", "v", "P")
GREY: Final = "#5A5A5A"
FOOT: Final = "Research software, not a medical device"


def reliability(cases: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str) -> bytes:
    """What was told against what came true: name -> (truth, probability), in ten parts of equally many cases.

    Both axes are logarithmic where most probabilities are small.
    """
    figure, axes = page(title, "probability told", "share that came true")
    told_all = np.concatenate([np.asarray(told, np.float64) for _, told in cases.values()])
    small = float(np.median(told_all)) < 0.1
    seen: list[float] = []
    for at, (name, (truth, told)) in enumerate(cases.items()):
        true, p = np.asarray(truth, np.float64), np.asarray(told, np.float64)
        parts = [part for part in np.array_split(np.argsort(p, kind="stable"), BINS) if len(part)]
        x, y = [float(p[part].mean()) for part in parts], [float(true[part].mean()) for part in parts]
        seen += [value for value in (*x, *y) if value > 0]
        shown = [value if value > 0 or not small else np.nan for value in y]  # none came true: no place on a log axis
        axes.plot(x, shown, STROKES[at % 4], marker=MARKS[at % 6], color=INKS[at % 6], label=name, markersize=4)
    ends = (min(seen, default=0.001) / 1.5, min(1.0, max(seen, default=1.0) * 1.5)) if small else (0.0, 1.0)
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    axes.annotate("as told", ends[1:] * 2, (-14, -6), textcoords="offset points", ha="right", color=GREY, fontsize=8)
    if small:
        axes.set(xscale="log", yscale="log")
    axes.set(xlim=ends, ylim=ends)
    axes.legend(frameon=False, loc="upper left")
    return png(figure)


def finding(cases: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str) -> bytes:
    """ROC and precision-recall side by side: name -> (truth, score). The grey lines are chance."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    figure, axes = page(title, "1 - specificity", "sensitivity", columns=2)
    left, right = axes
    for at, (name, (truth, score)) in enumerate(cases.items()):
        true = np.asarray(truth, bool)
        style: dict[str, Any] = {"color": INKS[at % 6], "linestyle": STROKES[at % 4], "linewidth": 1.4}
        x, y, _ = roc_curve(true, np.asarray(score))
        left.plot(x, y, label=name, **style)
        precision, recall, _ = precision_recall_curve(true, np.asarray(score))
        right.step(recall[:-1], precision[:-1], where="post", **style)
        right.axhline(float(true.mean()), color=GREY, linewidth=0.8)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    right.set(xlabel="sensitivity", ylabel="precision (PPV)", xlim=(0, 1), ylim=(0, 1.02))
    left.set(xlim=(0, 1), ylim=(0, 1.02))
    left.legend(frameon=False, loc="lower right", fontsize=8)
    return png(figure)


def lines(
    series: Mapping[str, Sequence[tuple[float, Interval]]],
    title: str,
    x: str,
    y: str,
    zero: str | None = None,
) -> bytes:
    """Figures along something (hours ahead, alarms a day), each with its interval; ``zero`` names the line at 0."""
    figure, axes = page(title, x, y)
    stagger = _stagger(series)
    for at, (name, points) in enumerate(series.items()):
        if not points:
            continue
        centre = [place + stagger * (at - (len(series) - 1) / 2) for place, _ in points]
        value = np.array([found.value for _, found in points])
        spread = [value - [found.low for _, found in points], [found.high for _, found in points] - value]
        axes.errorbar(
            centre,
            value,
            yerr=np.maximum(spread, 0),
            fmt=MARKS[at % 6] + STROKES[at % 4],
            color=INKS[at % 6],
            label=name,
            capsize=2,
            linewidth=1.2,
            markersize=4,
        )
    axes.set_xticks(sorted({place for points in series.values() for place, _ in points}))
    if zero is not None:
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.annotate(
            zero,
            (1, 0),
            (-4, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def bars(
    groups: Mapping[str, Mapping[str, Interval]], title: str, y: str, floor: Mapping[str, float] | None = None
) -> bytes:
    """Groups of bars with intervals: group -> name -> figure. ``floor``: what each group was to reach, as a tick."""
    figure, axes = page(title, "", y)
    names = list(dict.fromkeys(name for found in groups.values() for name in found))
    width = 0.8 / max(len(names), 1)
    for at, name in enumerate(names):
        places = [i + (at - (len(names) - 1) / 2) * width for i, found in enumerate(groups.values()) if name in found]
        shown = [found[name] for found in groups.values() if name in found]
        value = np.array([each.value for each in shown])
        spread = [value - [each.low for each in shown], [each.high for each in shown] - value]
        axes.bar(
            places,
            value,
            width * 0.92,
            color=INKS[at % 6],
            label=name,
            hatch=("", "//", "..", "xx")[at % 4],
            alpha=0.85,
        )
        axes.errorbar(places, value, yerr=np.maximum(spread, 0), fmt="none", ecolor="black", capsize=2, linewidth=1)
    for i, group in enumerate(groups):
        if floor and group in floor:
            axes.hlines(
                floor[group], i - 0.45, i + 0.45, color="black", linewidth=1.6, label="to reach" if i == 0 else None
            )
    axes.set_xticks(range(len(groups)), list(groups))
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return png(figure)


def fan(
    past: ArrayLike, quantiles: Mapping[float, ArrayLike], ahead: ArrayLike, truth: ArrayLike, title: str, y: str
) -> bytes:
    """One forecast: hours up to now, the quantiles at the hours ahead, and what came."""
    figure, axes = page(title, "hours from now", y)
    before = np.asarray(past, np.float64)
    x = np.arange(-len(before) + 1, 1)
    axes.plot(x, before, "o-", color="black", markersize=3, linewidth=1, label="read")
    at = np.asarray(ahead, np.float64)
    levels = sorted(quantiles)
    pairs = zip(levels[: len(levels) // 2], reversed(levels[(len(levels) + 1) // 2 :]), strict=True)
    for (low, high), ink in zip(pairs, ("#BFDBEC", "#80B8D9", "#4095C5"), strict=False):
        axes.fill_between(
            at,
            np.asarray(quantiles[low]),
            np.asarray(quantiles[high]),
            color=ink,
            linewidth=0,
            label=f"{low:g} to {high:g}",
        )
    if len(levels) % 2:
        axes.plot(at, np.asarray(quantiles[levels[len(levels) // 2]]), "--", color=INKS[0], label="median")
    axes.plot(at, np.asarray(truth), "x", color=INKS[1], label="came")
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.legend(frameon=False, fontsize=8)
    return png(figure)


def page(title: str, x: str, y: str, columns: int = 1) -> tuple[Figure, Any]:
    """An empty figure with its axes (several side by side for ``columns``) and our foot line."""
    from matplotlib.figure import Figure as Page

    figure = Page(figsize=(6.4 if columns == 1 else 9.6, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots(1, columns)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    figure.supxlabel(FOOT, fontsize=7, color=GREY, x=0.99, ha="right")
    first: Axes = axes if columns == 1 else axes[0]
    first.set(xlabel=x, ylabel=y)
    for each in [axes] if columns == 1 else axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25, linewidth=0.5)
        each.set_axisbelow(True)
    return figure, axes


def _stagger(series: Mapping[str, Sequence[tuple[float, Interval]]]) -> float:
    """So much to the side that intervals at the same place do not hide each other."""
    places = sorted({place for points in series.values() for place, _ in points})
    steps = np.diff(places)
    return float(steps.min()) * 0.06 if len(steps) else 0.0


def png(figure: Figure) -> bytes:
    """The bytes of a figure."""
    page = io.BytesIO()
    figure.savefig(page, format="png", metadata={"Software": None})
    return page.getvalue()
