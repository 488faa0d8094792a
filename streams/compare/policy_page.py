"""The sweep as one HTML page: alarms against missed events and delay, what nothing beats, the policy taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from typing import Any, Final

from streams.compare.page import table

WIDTH, HEIGHT, LEFT, FOOT, TOP = 860, 380, 64, 46, 16
ROWS: Final = 40
STUDIES: Final = (
    (6.0, 50.0, "Rheineck-Leyssius 1998"),
    (15.0, 60.0, "BI&T 45(s1) 46"),
    (18.0, 82.0, "Rheineck-Leyssius 1998"),
)
"""(delay in s, % fewer SpO2 alarms at a limit of 90 %), as published."""


def page(told: dict[str, Any]) -> str:
    """The page; ``told`` is the sweep as ``policy_report.document`` tells it."""
    style = resources.files("streams.compare").joinpath("page.css").read_text("utf-8")
    body = "".join(part for section in (_head, _plots, _delays, _front, _foot) for part in section(told))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Alarm policies weighed</title><style>{style}</style><main>{body}</main></html>\n"
    )


def _head(told: dict[str, Any]) -> Iterator[str]:
    span, truth = told["span"], told["truth"]
    kept = told["picked"] == 0
    verdict = "The policy in force stays." if kept else f"Taken: {told['policies'][told['picked']]['name']}"
    yield f'<h1>Alarm policies weighed</h1><p class="verdict good">{escape(verdict)}</p>'
    yield (
        f"<p>{escape(told['source'])}, {escape(str(span['from']))} to {escape(str(span['to']))}: {span['beds']} beds, "
        f"{span['bed_days']} bed-days, {span['readings']:,} readings, {len(told['policies'])} policies.</p>"
    )
    yield f"<p>{truth['events']} events, {truth['severe']} of them severe: {escape(truth['what'])}.</p>"
    yield "".join(f"<p>{escape(line)}</p>" for line in told["explained"])


def _plots(told: dict[str, Any]) -> Iterator[str]:
    every = told["policies"]
    for field, label in (("missed", "events missed"), ("added_s_p95", "seconds later, 95th percentile")):
        dots = [(one["alarms_per_bed_day"] or 0.0, float(one[field] or 0.0), one["name"]) for one in every]
        yield f"<h2>Alarms per bed-day against {label}</h2>"
        yield f'<div class="wide">{_scatter(dots, told, label)}</div>'


def _scatter(dots: Sequence[tuple[float, float, str]], told: dict[str, Any], label: str) -> str:
    scale = _Scale([x for x, _, _ in dots], [y for _, y, _ in dots])
    parts = [*scale.axes("limit alarms per bed-day", label)]
    front = sorted({dots[n][:2] for n in told["front"]})
    parts.append(_line([(scale.x(x), scale.y(y)) for x, y in front], "grid"))
    for n, (x, y, name) in enumerate(dots):
        kind = (
            "odd high" if n == told["picked"] else "medium" if n == 0 else "side-b" if n in told["front"] else "side-a"
        )
        radius = 7 if n in (0, told["picked"]) else 3.5
        words = f"{name}: {x:g} alarms a bed-day, {label} {y:g}"
        parts.append(
            f'<circle class="alarm {kind}" cx="{scale.x(x)}" cy="{scale.y(y)}" r="{radius}">'
            f"<title>{escape(words)}</title></circle>"
        )
    key = "grey: tried; blue: nothing beats it; yellow: in force; red: taken"
    return f"{''.join(parts)}</svg><p>{key}</p>"


def _delays(told: dict[str, Any]) -> Iterator[str]:
    curve = delay_curve(told)
    if len(curve) < 2:
        return
    yield "<h2>SpO2 alarms left by delay</h2><div class='wide'>"
    most = max(max(delay for delay, _ in curve), 20.0)
    scale = _Scale([0.0, most], [0.0, max(100.0, *(share for _, share in curve))])
    parts = [*scale.axes("delay, s", "% of the alarms at the shortest delay")]
    parts.append(_line([(scale.x(x), scale.y(y)) for x, y in curve], "side-b"))
    for x, y in curve:
        parts.append(f'<circle class="side-b" cx="{scale.x(x)}" cy="{scale.y(y)}" r="4"/>')
    for delay, fewer, who in STUDIES:
        at = f'x="{scale.x(delay) - 5}" y="{scale.y(100 - fewer) - 5}" width="10" height="10"'
        parts.append(f'<rect class="alarm high" {at}><title>{escape(who)}: {fewer:g} % fewer</title></rect>')
    yield "".join(parts) + "</svg></div>"
    yield (
        "<p>Red squares: published, at a limit of 90 % (Rheineck-Leyssius 1998: about half at 6 s and 18 % at 18 s; "
        "BI&amp;T 45(s1) 46: 40 % at 15 s), counted on values of every second or so. Recordings of a value a minute, "
        "held or joined by lines, have no shorter dips: below a minute their curve is flatter than a ward's.</p>"
    )


def delay_curve(told: dict[str, Any]) -> list[tuple[float, float]]:
    """(delay in s, % of the low saturation alarms at the shortest delay), all else as in the policy in force."""
    first = told["policies"][0]
    alike: dict[float, int] = {}
    for one in told["policies"]:
        spo2, base = one["limits"].get("spo2"), first["limits"].get("spo2")
        if spo2 is not None and base is not None and spo2[:5] == base[:5] and one["latch"] == first["latch"]:
            alike[spo2[5]] = one["by_condition"].get("spo2_low", 0)
    least = alike[min(alike)] if alike else 0
    return [(delay, round(100 * count / least, 1)) for delay, count in sorted(alike.items())] if least else []


def _front(told: dict[str, Any]) -> Iterator[str]:
    rows = [0, *(n for n in told["front"] if n)]
    yield f"<h2>What nothing beats ({len(told['front'])} of {len(told['policies'])})</h2>"
    names = ("alarms_per_bed_day", "high_per_bed_day", "missed", "missed_severe", "added_s_p50", "added_s_p95")
    head = ("policy", "alarms a bed-day", "high", "missed", "severe", "later s, p50", "p95", "top tenth", "hash")
    yield table(
        head,
        (
            [one["name"], *(one[name] for name in names), one["top_tenth_share"], one["hash"]]
            for one in (told["policies"][n] for n in rows[:ROWS])
        ),
        "wide",
    )
    if len(rows) > ROWS:
        yield f"<p>And {len(rows) - ROWS} more, in the JSON report.</p>"


def _foot(told: dict[str, Any]) -> Iterator[str]:
    took = told["took"]
    yield (
        f"<footer>{took['policies']} policies in {took['seconds']} s. Limit alarms alone: technical and NEWS2 alarms "
        "are what they are. Nobody acknowledges here, so a latched alarm stands until its patient leaves. Research "
        "software, not a medical device; the figures are those of this span.</footer>"
    )


class _Scale:
    """Places in the plot."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self.most_x, self.most_y = max(xs, default=0) * 1.05 or 1.0, max(ys, default=0) * 1.05 or 1.0

    def x(self, value: float) -> float:
        return round(LEFT + value / self.most_x * (WIDTH - LEFT - 16), 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - FOOT - value / self.most_y * (HEIGHT - FOOT - TOP), 1)

    def axes(self, across: str, up: str) -> Iterator[str]:
        yield (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(up)} against {escape(across)}" '
            f'style="width:100%;max-width:{WIDTH}px">'
        )
        for n in range(6):
            x, y = self.most_x * n / 5, self.most_y * n / 5
            yield f'<line class="grid" x1="{self.x(x)}" x2="{self.x(x)}" y1="{TOP}" y2="{HEIGHT - FOOT}"/>'
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 16}" y1="{self.y(y)}" y2="{self.y(y)}"/>'
            yield f'<text class="tick" x="{self.x(x)}" y="{HEIGHT - FOOT + 16}">{x:.3g}</text>'
            yield f'<text class="bed" x="{LEFT - 8}" y="{self.y(y) + 4}">{y:.3g}</text>'
        yield f'<text class="tick" x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 8}">{escape(across)}</text>'


def _line(points: Iterable[tuple[float, float]], kind: str) -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}" style="fill:none;stroke:currentColor;stroke-opacity:.35"/>'
