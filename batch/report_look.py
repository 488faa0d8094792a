"""The look of pages on paper: A4, the feed's colours for light ground, marks beside every colour, a head and a foot."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from batch.burden import Alarm
from batch.report_lake import Provenance
from batch.report_time import shown
from contracts.look import MARKS, TECHNICAL_MARK
from contracts.records import Category

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOKENS: Final = Path(__file__).resolve().parent.parent / "streams" / "feed" / "static" / "tokens.json"
A4: Final = (8.27, 11.69)
"""Inches, upright."""
PNG_DPI: Final = 150
FOOT: Final = "Research software, not a medical device."
NO_NUMBER: Final = "–"
ADVISORY: Final = "~"
HATCHES: Final = {"high": "", "medium": "////", "low": "....", "technical": "xxxx", "advisory": ""}
FORMATS: Final = ("pdf", "png")


@cache
def colours() -> Mapping[str, str]:
    """The colours of the light theme, by the names that the feed's style sheets use; the ground is paper."""
    return {**json.loads(TOKENS.read_text(encoding="utf-8"))["light"], "ground": "#ffffff"}


def kind(alarm: Alarm) -> str:
    """The word that colour, mark and hatch of an alarm go by."""
    if alarm.category is Category.ADVISORY:
        return "advisory"
    return "technical" if alarm.category is Category.TECHNICAL else str(alarm.priority)


def colour(kind_of: str) -> str:
    """The colour of a kind of alarm; advisories are drawn in the colour of text that is less important."""
    return colours()["muted" if kind_of == "advisory" else kind_of]


def mark(alarm: Alarm) -> str:
    """As on the feed and in the terminal: *** high, ** medium, * low, ! technical, ~ advisory."""
    return {Category.TECHNICAL: TECHNICAL_MARK, Category.ADVISORY: ADVISORY}.get(alarm.category, MARKS[alarm.priority])


@cache
def _glyphs() -> frozenset[int]:
    from matplotlib import font_manager, ft2font

    face = ft2font.FT2Font(font_manager.findfont("DejaVu Sans"))
    return frozenset(face.get_charmap())


def plain(text: str, most: int | None = None) -> str:
    """The text as it can be printed: what steers the direction of writing, or has no glyph, is told by its number.

    A name written from right to left is kept apart from what stands beside it. Longer than ``most``: cut, with an
    ellipsis.

    >>> plain("W1-03"), plain("ab\\u202ecd", 4)
    ('W1-03', 'ab<…')
    """
    told = "".join(
        c if ord(c) in _glyphs() and unicodedata.category(c)[0] != "C" else f"<U+{ord(c):04X}>" for c in text
    )
    if most is not None and len(told) > most:
        told = told[: most - 1] + "…"
    aside = any(unicodedata.bidirectional(c) in ("R", "AL") for c in told)
    return f"\u2068{told}\u2069" if aside else told


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A figure with its unit, or a dash where there is none."""
    return NO_NUMBER if value is None else f"{value:.{digits}f}{unit}"


@contextmanager
def pages() -> Iterator[None]:
    """Settings under which pages are drawn: text as text, nothing read as mathematics."""
    import matplotlib as mpl

    tokens = colours()
    settings: dict[str, Any] = {
        "font.family": ["DejaVu Sans"],
        "font.size": 7,
        "text.parse_math": False,
        "text.color": tokens["text"],
        "axes.edgecolor": tokens["edge"],
        "axes.labelcolor": tokens["text"],
        "axes.linewidth": 0.5,
        "xtick.color": tokens["muted"],
        "ytick.color": tokens["muted"],
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6,
        "xtick.major.width": 0.5,
        "ytick.major.width": 0.5,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2,
        "hatch.linewidth": 0.5,
        "pdf.fonttype": 42,
        "grid.color": tokens["line"],
        "grid.linewidth": 0.4,
    }
    with mpl.rc_context(settings):
        yield


def sheet() -> Figure:
    """An empty upright A4 page."""
    from matplotlib.figure import Figure as Page

    return Page(figsize=A4, dpi=PNG_DPI, facecolor="white")


def head(
    figure: Figure,
    title: str,
    rows: Sequence[tuple[str, str]],
    wide: Sequence[tuple[str, str]],
    notes: Sequence[str],
    zone: str,
) -> None:
    """The page's title, then two columns of what it is of, then what is wide, then what must be said first."""
    tokens = colours()
    write(figure, 0.06, 0.970, title, size=13, weight="bold")
    write(figure, 0.945, 0.970, zone, size=6.5, ha="right", color=tokens["muted"])
    half = -(-len(rows) // 2)
    for n, (name, value) in enumerate(rows):
        x, y = (0.06, 0.505)[n // half], 0.9525 - 0.0125 * (n % half)
        write(figure, x, y, name, size=6.5, color=tokens["muted"])
        write(figure, x + 0.075, y, value, size=7.5)
    y = 0.9525 - 0.0125 * half
    for name, value in wide:
        write(figure, 0.06, y, name, size=6.5, color=tokens["muted"])
        write(figure, 0.135, y, value, size=7 if len(value) < 100 else 6)
        y -= 0.0125
    for n, note in enumerate(notes[:2]):
        write(figure, 0.06, y - 0.0115 * n, f"Note: {note}", size=6.5, style="italic")


def foot(figure: Figure, made: Provenance, zone: tzinfo) -> None:
    """What the page was made from, by which code and when."""
    tokens = colours()
    rule = figure.add_artist(_line([0.06, 0.945], [0.037, 0.037], color=tokens["line"], linewidth=0.6))
    rule.set_transform(figure.transFigure)
    span = "no readings"
    if made.from_ms is not None and made.to_ms is not None:
        span = (
            f"data {shown(made.from_ms, zone, '%Y-%m-%d %H:%M:%S')} to {shown(made.to_ms, zone, '%Y-%m-%d %H:%M:%S')}"
        )
    write(figure, 0.06, 0.0275, FOOT, size=7, weight="bold")
    write(figure, 0.945, 0.0275, f"{span} · {made.rows:,} rows of {made.files:,} files", size=6.5, ha="right")
    made_at = shown(made.made_ms, zone, "%Y-%m-%d %H:%M:%S %Z")
    told = f"lake snapshot {made.snapshot} · code {made.code} · page made {made_at}"
    write(figure, 0.06, 0.0165, "Missing is not normal: a gap is a gap.", size=6.5, color=tokens["muted"])
    write(figure, 0.945, 0.0165, told, size=6.5, ha="right", color=tokens["muted"])


def _line(x: Sequence[float], y: Sequence[float], **style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D(x, y, **style)


def write(figure: Figure, x: float, y: float, text: str, size: float = 7, **style: Any) -> None:
    """Text at a place of the page, in fractions of it."""
    figure.text(x, y, text, fontsize=size, va="baseline", **style)


def table(
    figure: Figure, top: float, columns: Sequence[tuple[float, str, str]], rows: Sequence[Sequence[str]], step: float
) -> float:
    """Rows under a heading; each column is (x, heading, left or right). The place below it."""
    tokens = colours()
    for x, name, side in columns:
        write(figure, x, top, name, size=6, ha=side, color=tokens["muted"])
    left, right = min(x for x, *_ in columns), max(x for x, *_ in columns)
    rule = figure.add_artist(
        _line([left, max(right, left + 0.05)], [top - 0.0035] * 2, color=tokens["line"], linewidth=0.5)
    )
    rule.set_transform(figure.transFigure)
    for n, row in enumerate(rows):
        for (x, _, side), cell in zip(columns, row, strict=True):
            write(figure, x, top - 0.0135 - step * n, cell, size=6.5, ha=side)
    return top - 0.0135 - step * len(rows)


def rendered(figure: Figure, title: str, made_ms: int, formats: Sequence[str]) -> dict[str, bytes]:
    """The page in each of these formats, whole."""
    at = datetime.fromtimestamp(made_ms / 1000, UTC)
    about: dict[str, dict[str, Any]] = {
        "pdf": {"Title": title, "Subject": FOOT, "Creator": "Wardstream", "CreationDate": at},
        "png": {"Title": title, "Description": FOOT, "Software": "Wardstream"},
    }
    found = {}
    for form in formats:
        page = io.BytesIO()
        figure.savefig(page, format=form, dpi=PNG_DPI, metadata=about[form])
        found[form] = page.getvalue()
    return found
