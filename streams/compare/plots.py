"""The report's plots as inline SVG: alarms of each bed over time on both sides, and bars of burden."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

from contracts.records import Category
from streams.compare.episodes import Alert
from streams.compare.matching import Pair
from streams.compare.truth import Event

WIDTH: Final = 1080
LEFT: Final = 128
LANE: Final = 11
ROW: Final = 2 * LANE + 8
TOP: Final = 26
BEDS_SHOWN: Final = 60
LEAST_PX: Final = 2.5
STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
TICKS: Final = 9
Bed = tuple[str, str]


def timeline(pairs: Sequence[Pair], events: Sequence[Event], from_ms: int, to_ms: int) -> str:
    """A row a bed, most different ones first: the champion's alarms above, the candidate's below, from raised to over.

    What really happened to the patient, where it is known, is the shade behind.
    """
    by_bed: defaultdict[Bed, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_bed[pair.either.episode.ward, pair.either.bed].append(pair)
    order = sorted(by_bed, key=lambda bed: (-sum(pair.fate != "same" for pair in by_bed[bed]), bed))[:BEDS_SHOWN]
    scale = _Scale(from_ms, max(to_ms, from_ms + 1000))
    height = TOP + ROW * len(order) + 6
    parts = [_svg(height, "Alarms of each bed on both sides over time"), *scale.axis(height)]
    for n, bed in enumerate(order):
        parts += _bed_row(bed, by_bed[bed], events, scale, TOP + n * ROW)
    parts.append("</svg>")
    return "".join(parts)


class _Scale:
    """Time across the plot."""

    def __init__(self, from_ms: int, to_ms: int) -> None:
        self.from_ms, self.to_ms = from_ms, to_ms
        self._px = (WIDTH - LEFT - 12) / (to_ms - from_ms)

    def x(self, at_ms: int) -> float:
        """Where a moment is; what lies outside is at the edge."""
        return round(LEFT + (min(max(at_ms, self.from_ms), self.to_ms) - self.from_ms) * self._px, 1)

    def axis(self, height: int) -> list[str]:
        """Lines and times at round moments."""
        step_ms = 1000 * next((s for s in STEPS_S if (self.to_ms - self.from_ms) / 1000 / s <= TICKS), STEPS_S[-1])
        parts = []
        for at_ms in range(-(-self.from_ms // step_ms) * step_ms, self.to_ms + 1, step_ms):
            x = self.x(at_ms)
            parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP - 6}" y2="{height}"/>')
            parts.append(f'<text class="tick" x="{x}" y="{TOP - 12}">{_clock(at_ms, step_ms)}</text>')
        return parts


def _bed_row(bed: Bed, pairs: Sequence[Pair], events: Sequence[Event], scale: _Scale, y: int) -> list[str]:
    ward, name = bed
    patients = {pair.either.episode.patient for pair in pairs}
    shown = name if name.startswith(ward) else f"{ward} {name}"
    parts = [f'<text class="bed" x="{LEFT - 24}" y="{y + LANE + 3}">{escape(shown[:16])}</text>']
    parts += [
        f'<text class="lane" x="{LEFT - 8}" y="{y + lane * LANE + 9}">{letter}</text>'
        for lane, letter in enumerate(("A", "B"))
    ]
    for event in events:
        if event.patient in patients and event.ward == ward:
            x, end = scale.x(event.start_ms), scale.x(event.end_ms)
            parts.append(
                f'<rect class="truth {escape(event.family)}" x="{x}" y="{y - 1}" width="{max(end - x, LEAST_PX):.1f}" '
                f'height="{2 * LANE + 3}"><title>what happened: {escape(event.kind)}</title></rect>'
            )
    for pair in pairs:
        for lane, alert in enumerate((pair.champion, pair.candidate)):
            if alert is not None:
                parts.append(_bar(alert, pair, scale, y + lane * (LANE + 1)))
    parts.append(f'<line class="row" x1="0" x2="{WIDTH}" y1="{y + ROW - 4}" y2="{y + ROW - 4}"/>')
    return parts


def _bar(alert: Alert, pair: Pair, scale: _Scale, y: int) -> str:
    start = scale.x(scale.from_ms if alert.raised_ms is None else alert.raised_ms)
    end = scale.x(scale.to_ms if alert.ended_ms is None else alert.ended_ms)
    advisory = alert.category is Category.ADVISORY
    kind = "advisory" if advisory else str(alert.priority)
    odd = "" if pair.fate == "same" else f" odd {pair.fate}"
    shift = f", {pair.shift_s:+g} s" if pair.shift_s else ""
    words = f"{alert.message} ({alert.episode.condition}, {alert.priority}): {pair.fate}{shift}"
    return (
        f'<rect class="alarm {kind}{odd}" x="{start}" y="{y}" width="{max(end - start, LEAST_PX):.1f}" '
        f'height="{LANE - 1}" rx="1.5"><title>{escape(words)}</title></rect>'
    )


def bars(title: str, rows: Sequence[tuple[str, float, float]], unit: str = "") -> str:
    """Two bars a row, champion (A) above candidate (B), on one scale."""
    most = max((max(a, b) for _, a, b in rows), default=0) or 1
    left, width, high = 220, 520, 30
    parts = [_svg(high * len(rows) + 8, title, 860)]
    for n, (label, *values) in enumerate(rows):
        y = 4 + n * high
        parts.append(f'<text class="bed" x="{left - 12}" y="{y + 16}">{escape(label)}</text>')
        for lane, (value, side) in enumerate(zip(values, ("a", "b"), strict=True)):
            top, length = y + lane * 12, value / most * width
            parts.append(
                f'<rect class="side-{side}" x="{left}" y="{top}" width="{length:.1f}" height="11" rx="1.5"/>'
                f'<text class="value" x="{left + length + 6:.1f}" y="{top + 9}">{value:g}{escape(unit)}</text>'
            )
    parts.append("</svg>")
    return "".join(parts)


def condition_rows(champion: Mapping[str, int], candidate: Mapping[str, int]) -> list[tuple[str, float, float]]:
    """Alarms raised of each condition, most first."""
    names = sorted(champion.keys() | candidate.keys(), key=lambda n: (-champion.get(n, 0) - candidate.get(n, 0), n))
    return [(name, champion.get(name, 0), candidate.get(name, 0)) for name in names]


def burden_rows(champion: Mapping[str, Any], candidate: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The measures that share a scale: alarms per bed-day, all and by priority."""
    days = (champion["bed_days"] or 0.0, candidate["bed_days"] or 0.0)
    rows = [("all that sound", champion["alarms_per_bed_day"] or 0.0, candidate["alarms_per_bed_day"] or 0.0)]
    for priority in ("high", "medium", "low"):
        counts = [side["by_priority"].get(priority, 0) for side in (champion, candidate)]
        rates = [round(count / day, 2) if day else 0.0 for count, day in zip(counts, days, strict=True)]
        rows.append((priority, rates[0], rates[1]))
    silent = [side["advisories_per_bed_day"] or 0.0 for side in (champion, candidate)]
    return [*rows, ("advisories (silent)", silent[0], silent[1])]


def _svg(height: int, title: str, width: int = WIDTH) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" '
        f'style="width:100%;max-width:{width}px">'
    )


def _clock(at_ms: int, step_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.strftime("%H:%M:%S" if step_ms < 60_000 else "%d %b" if step_ms >= 86_400_000 else "%H:%M")
