"""Plots that only image models need: figures in a column, Bland and Altman's, images under their heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Interval
from models.training.imaging_maps import heat
from models.training.plots import FOOT, GREY, INKS, MARKS, page, png

ACROSS: Final = 6


def dots(found: Mapping[str, Interval], title: str, x: str) -> bytes:
    """A figure under each name, one under another, with its interval; the first is the line that the others miss."""
    figure, axes = page(title, x, "")
    places = np.arange(len(found))[::-1]
    value = np.array([each.value for each in found.values()])
    spread = [value - [each.low for each in found.values()], [each.high for each in found.values()] - value]
    axes.errorbar(value, places, xerr=np.maximum(spread, 0), fmt="o", color=INKS[0], capsize=2, markersize=4)
    axes.axvline(float(value[0]), color=GREY, linewidth=0.8)
    axes.set_yticks(places, list(found), fontsize=8)
    return png(figure)


def agreement(
    truth: NDArray[np.floating], told: NDArray[np.floating], kinds: NDArray[np.str_], title: str, unit: str
) -> bytes:
    """Bland and Altman's plot: told less true over the mean of the two, with bias and limits of agreement."""
    off, middle = told - truth, (told + truth) / 2
    figure, axes = page(title, f"mean of told and true ({unit})", f"told less true ({unit})")
    for at, kind in enumerate(np.unique(kinds)):
        mine = kinds == kind
        axes.plot(middle[mine], off[mine], MARKS[at], color=INKS[at], markersize=4, alpha=0.75, label=str(kind))
    bias, spread = float(off.mean()), 1.96 * float(off.std(ddof=1))
    for level, name in ((bias, "bias"), (bias - spread, "- 1.96 SD"), (bias + spread, "+ 1.96 SD")):
        axes.axhline(level, color=GREY, linewidth=1, linestyle="-" if name == "bias" else "--")
        axes.annotate(
            f"{name} {level:+.1f}",
            (1, level),
            (-2, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return png(figure)


def scatter(
    truth: NDArray[np.floating], told: NDArray[np.floating], kinds: NDArray[np.str_], title: str, unit: str
) -> bytes:
    """What was told over what was so; the grey line is where they are the same."""
    figure, axes = page(title, f"true ({unit})", f"told ({unit})")
    for at, kind in enumerate(np.unique(kinds)):
        mine = kinds == kind
        axes.plot(truth[mine], told[mine], MARKS[at], color=INKS[at], markersize=4, alpha=0.75, label=str(kind))
    ends = [float(min(truth.min(), told.min())), float(max(truth.max(), told.max()))]
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return png(figure)


def sheet(images: NDArray[np.float32], maps: NDArray[np.float32], names: Sequence[str], title: str) -> bytes:
    """Images (n, side, side) under their maps (n, rows, columns), each with its name below."""
    from matplotlib.figure import Figure

    down = -(-len(images) // ACROSS)
    figure = Figure(figsize=(2.0 * ACROSS, 2.4 * down + 0.5), dpi=100, layout="constrained")
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    figure.supxlabel(FOOT, fontsize=7, color=GREY, x=0.99, ha="right")
    hot = heat(maps, images.shape[1])
    for at, axes in enumerate(np.ravel(figure.subplots(down, ACROSS))):
        axes.set_axis_off()
        if at < len(images):
            axes.imshow(images[at], cmap="gray", vmin=0, vmax=1)
            axes.imshow(hot[at] / max(float(hot[at].max()), 1e-9), cmap="inferno", alpha=0.45, vmin=0, vmax=1)
            axes.set_title(names[at], fontsize=6, y=-0.12)
    return png(figure)
