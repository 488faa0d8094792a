"""The report as one HTML page of its own: no script, no font, no file from elsewhere; in the reader's light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib import resources
from typing import Any, Final

from streams.compare.plots import BEDS_SHOWN, bars, burden_rows, condition_rows, timeline
from streams.compare.report import FATES, ROWS, Comparison

DIFFERENCES_SHOWN: Final = 300
PRIORITIES: Final = ("high", "medium", "low", "advisory")
WORDS: Final = {
    "same": "alike in every step",
    "earlier": "raised earlier",
    "later": "raised later",
    "changed": "other words or steps",
    "lost": "champion alone",
    "new": "candidate alone",
}


def page(document: dict[str, Any], found: Comparison) -> str:
    """The page; ``document`` is the comparison as ``report.document`` tells it."""
    style = resources.files("streams.compare").joinpath("page.css").read_text("utf-8")
    body = "".join(
        part
        for section in (_head, _sides, _fates, _burden, _truth, _timeline, _beds, _differences, _foot)
        for part in section(document, found)
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Decisions compared</title><style>{style}</style><main>{body}</main></html>\n"
    )


def _head(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    span = document["span"]
    if document["equal"]:
        verdict, kind = "Both sides decide the same, to the byte.", "good"
    else:
        verdict, kind = "The candidate decides otherwise.", "odd"
    yield f'<h1>Decisions compared</h1><p class="verdict {kind}">{verdict}</p>'
    yield (
        f"<p>{escape(span['topic'])}, {escape(str(span['from']))} to {escape(str(span['to']))}: "
        f"{span['records']:,} records, {span['readings']:,} readings of {document['champion']['burden']['beds']} beds. "
        f"State at its start: {escape(span['start_state'])} ({span['warm_up_records']:,} records, not counted). "
        f"Models {'asked as in the log' if document['with_models'] else 'not asked'}.</p>"
    )
    for missing in document["models_not_to_be_had"]:
        yield f'<p class="verdict odd">Not to be had, so it says nothing here: {escape(missing)}</p>'


def _sides(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    sides = [document["champion"], document["candidate"]]
    rows: list[tuple[str, list[Any]]] = [
        ("policy", [f"{s['policy']['name']} {s['policy']['hash']}" for s in sides]),
        ("models in force", [", ".join(s["models"]) or "none" for s in sides]),
        ("decision hash", [s["hash"][:24] for s in sides]),
    ]
    rows += [(label, [side["burden"][name] for side in sides]) for name, label in ROWS]
    waits = [side["burden"]["acknowledge_s"] for side in sides]
    rows.append(("acknowledged (s, p50 / p95)", [_waited(wait) for wait in waits]))
    yield "<h2>The two sides</h2>"
    yield table(("", "champion (A)", "candidate (B)"), ([label, *values] for label, values in rows), "sides")


def _waited(wait: dict[str, Any]) -> str:
    return f"{wait['n']} ({wait['p50']:g} / {wait['p95']:g})" if wait["n"] else "none"


def _fates(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    alerts = document["fates"]
    yield "<h2>What becomes of the alarms</h2><ul class='fates'>"
    for fate in FATES:
        kind = fate if alerts[fate] else "none"
        yield f"<li class='{kind}'><b>{alerts[fate]}</b> {fate}<small>{WORDS[fate]}</small></li>"
    yield f"<li><b>{alerts['reprioritised']}</b> priority<small>another highest one</small></li></ul>"
    if shift := alerts["shift_s"]:
        yield (
            f"<p>Of those raised at another time the median is {shift['p50']:+g} s, "
            f"from {shift['least']:+g} s to {shift['most']:+g} s.</p>"
        )


def _burden(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    a, b = document["champion"]["burden"], document["candidate"]["burden"]
    yield '<p class="key"><span class="side-a">champion (A)</span> <span class="side-b">candidate (B)</span></p>'
    yield f"<h2>Alarms per bed-day</h2><div class='wide'>{bars('Alarms per bed-day', burden_rows(a, b))}</div>"
    if rows := condition_rows(a["by_condition"], b["by_condition"]):
        yield f"<h2>Raised, by condition</h2><div class='wide'>{bars('Raised, by condition', rows)}</div>"


def _truth(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    truth = document["truth"]
    if truth is None:
        return
    yield (
        f"<h2>Against what really happened</h2><p>Of {truth['events']} episodes of patients both sides found "
        f"{truth['both']}, the champion alone {truth['champion_only']}, the candidate alone {truth['candidate_only']}, "
        f"neither {truth['neither']}. McNemar's exact test: p = {truth['mcnemar_p']}.</p>"
    )
    sides = [truth["champion"], truth["candidate"]]
    ppv = [side["precision"]["physiological"] for side in sides]
    technical = [side["precision"]["technical"] for side in sides]
    yield table(
        ("", "champion (A)", "candidate (B)"),
        [
            ["sensitivity", *(side["sensitivity"] for side in sides)],
            ["seconds to the first alarm, p50", *(side["delay_s_p50"] for side in sides)],
            ["seconds to the first alarm, p95", *(side["delay_s_p95"] for side in sides)],
            ["PPV of physiological alarms", *(f"{one['ppv']} ({one['true']} of {one['n']})" for one in ppv)],
            ["technical ones with a fault", *(f"{one['true']} of {one['n']}" for one in technical)],
            *([kind, each["champion"], each["candidate"]] for kind, each in _kinds(truth)),
        ],
    )


def _kinds(truth: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, each in truth["by_kind"].items():
        yield f"found of {each['events']} {kind.replace('_', ' ')}", each


def _timeline(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    if not found.pairs:
        return
    span, decided = found.span, found.champion
    from_ms = span.from_ms if span.from_ms is not None else decided.first_ms or 0
    to_ms = span.to_ms if span.to_ms is not None else decided.last_ms or 0
    key = " ".join(f'<span class="alarm {name}">{name}</span>' for name in PRIORITIES)
    yield f'<h2>Each bed over time</h2><p class="key">{key} <span class="alarm odd">differs</span>'
    yield ' <span class="truth">what happened</span></p>' if found.events else "</p>"
    yield (
        f"<p>Champion above (A), candidate below (B); from raised to over, in UTC. The {BEDS_SHOWN} beds that differ "
        "most come first. Point at a bar for its words.</p>"
    )
    yield f'<div class="wide">{timeline(found.pairs, found.events or (), from_ms, to_ms)}</div>'


def _beds(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    rows = [one for one in document["by_bed"] if one["champion"] or one["candidate"]]
    if not rows:
        return
    names = ("champion", "candidate", *FATES)
    yield f"<details><summary>By bed ({len(rows)})</summary>"
    yield table(("ward", "bed", *names), ([one["ward"], one["bed"], *(one[n] for n in names)] for one in rows))
    yield "</details>"


def _differences(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    differences = document["differences"]
    if not differences:
        return
    yield f"<h2>Every difference ({len(differences)})</h2>"
    yield table(
        ("", "bed", "patient", "condition", "onset", "shift s", "champion", "candidate"),
        (
            [*(one[name] for name in ("fate", "bed", "patient", "condition", "onset", "shift_s")), *_both(one)]
            for one in differences[:DIFFERENCES_SHOWN]
        ),
        "wide",
    )
    if len(differences) > DIFFERENCES_SHOWN:
        yield f"<p>And {len(differences) - DIFFERENCES_SHOWN} more, in the JSON report.</p>"


def _both(one: dict[str, Any]) -> list[str | None]:
    return [_told(one["champion"]), _told(one["candidate"])]


def _told(side: dict[str, Any] | None) -> str | None:
    if side is None:
        return None
    return f"{side['message']} ({side['priority']}, {(side['raised'] or 'before')[11:19] or 'before'})"


def _foot(document: dict[str, Any], found: Comparison) -> Iterator[str]:
    written, took = document["written"], document["took"]
    if written is not None:
        yield (
            "<p>What was written live is what the champion decides, to the byte.</p>"
            if written["same"]
            else f"<p>What was written live is not what the champion decides here: {written['missing']} transitions "
            f"missing, {written['unexplained']} unexplained, {written['otherwise']} said otherwise.</p>"
        )
    yield (
        f"<footer>Decided in {took['seconds']} s, {took['readings_per_s']:,} readings a second over both sides. "
        "Research software, not a medical device. Alarms per bed-day, sensitivity and PPV are those of this span; "
        "they say nothing of another ward.</footer>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], kind: str = "") -> str:
    """A table; numbers to the right, what is not known as a dash."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="{kind or "narrow"}"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    if value is None:
        return "<td>&ndash;</td>"
    if isinstance(value, int | float):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"
