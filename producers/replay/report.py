"""What came of a replay: a JSON document, and a page that needs nothing else."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.replays import Decisions, decisions
from producers.replay.journal import REPORT_HTML, REPORT_JSON, Entry, Journal, Run
from producers.replay.pacing import LatenessFigures
from producers.replay.plan import Plan
from producers.replay.window import rfc3339

_WIDTH, _HEIGHT, _LEFT, _LOW = 640, 200, 64, 24
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1b2733;"
    "background:#fff}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #d5dde5;vertical-align:top}th{font-weight:600;white-space:nowrap}td.n{text-align:right}"
    "svg{max-width:100%;height:auto}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "@media(prefers-color-scheme:dark){body{color:#e4ebf1;background:#12181f}td,th{border-color:#33404d}}"
)


def told(plan: Plan) -> dict[str, Any]:
    """The plan as a document."""
    wish = plan.wish
    return {
        "replay": wish.to,
        "from": rfc3339(plan.first_ms),
        "to": rfc3339(plan.last_ms),
        "asked": {
            "from": None if wish.window.start_ms is None else rfc3339(wish.window.start_ms),
            "to": None if wish.window.end_ms is None else rfc3339(wish.window.end_ms),
        },
        "span_s": plan.span_ms / 1000,
        "speed": wish.speed,
        "estimated_s": None if plan.seconds is None else round(plan.seconds, 1),
        "records": plan.records,
        "counted_by": plan.counted,
        "keys": list(wish.keys),
        "shift_ms": plan.shift_ms,
        "topics": [
            {
                "source": of,
                "target": name,
                "partitions": sum(log.target == name for log in plan.logs),
                "records": sum(log.records for log in plan.logs if log.target == name),
            }
            for name, of in plan.targets.items()
        ],
        "partitions": [msgspec.to_builtins(log) for log in plan.logs if log.records],
        "notes": list(plan.notes),
    }


def document(entry: Entry, found: Decisions | None = None) -> dict[str, Any]:
    """The whole replay as a document; figures of the last go on top, every go under ``runs``, ``found`` as it is."""
    last = entry.runs[-1] if entry.runs else None
    late = None if last is None else last.lateness
    return {
        **told(entry.plan),
        "state": str(entry.state),
        "sent": sum(run.records for run in entry.runs),
        "seconds": None if last is None else last.seconds,
        "estimate_off": _off(entry.plan, last),
        "records_per_s": None if last is None else round(last.rate, 1),
        "lateness_ms": None if late is None else {"p50": late.p50_ms, "p99": late.p99_ms, "max": late.max_ms},
        "seeks": [{"from": rfc3339(seek.from_ms), "to": rfc3339(seek.to_ms)} for seek in entry.seeks],
        "runs": [msgspec.to_builtins(run) for run in entry.runs],
        "decisions": None if found is None else msgspec.to_builtins(found),
    }


def outcome(entry: Entry, found: dict[str, Any]) -> str:
    """What came of the last go, and what it led to where it was decided, in a line each."""
    run, late, told = entry.runs[-1], found["lateness_ms"], found["decisions"]
    words = (
        f"{found['state']}: {found['sent']:,} of {found['records']:,} records, {run.seconds:.1f} s, {run.rate:,.0f}/s"
    )
    if late:
        words += f"; late p50 {late['p50']} ms, p99 {late['p99']} ms, max {late['max']} ms"
    if run.unshifted:
        words += f"; {run.unshifted:,} could not be read to move their times"
    return words if told is None else f"{words}\n{decided_words(told)}"


def decided_words(told: dict[str, Any]) -> str:
    """What was decided, in a line."""
    alarms = ", ".join(f"{count:,} {priority}" for priority, count in told["alarms"].items())
    live = {True: "; the same as live, to the byte", False: "; not the same as live", None: ""}[told["same_as_live"]]
    far = "decided" if told["over"] else "decided so far"
    return f"{far}: {alarms} alarms, hash {told['hash'][:16]}, policy {told['policy_hash']}, from {told['since']}{live}"


def _off(plan: Plan, run: Run | None) -> float | None:
    """By what share a whole, unbroken go took longer than was planned; negative when shorter."""
    if run is None or not plan.seconds or run.records != plan.records or run.paused_s:
        return None
    return round(run.seconds / plan.seconds - 1, 4)


def write(entry: Entry, journal: Journal) -> tuple[Path, Path]:
    """Put both into the replay's folder; where they are."""
    found = document(entry, decisions(journal.place(entry.name)))
    as_json = journal.write(entry.name, REPORT_JSON, msgspec.json.format(msgspec.json.encode(found), indent=2))
    return as_json, journal.write(entry.name, REPORT_HTML, page(entry, found).encode())


def page(entry: Entry, found: dict[str, Any]) -> str:
    """The report as one HTML file without scripts, fonts or pictures from elsewhere."""
    late = found["lateness_ms"]
    rows = [
        ("State", found["state"]),
        ("Log time", f"{found['from']} to {found['to']} ({found['span_s']:,.1f} s)"),
        ("Speed", "as fast as possible" if found["speed"] is None else f"{found['speed']:g} x"),
        ("Times", "kept" if found["shift_ms"] is None else f"moved by {found['shift_ms']:,} ms, inside records too"),
        ("Records", f"{found['sent']:,} sent of {found['records']:,}"),
        ("Keys", ", ".join(found["keys"]) or "all"),
        ("Took", "-" if found["seconds"] is None else f"{found['seconds']:,.1f} s in the last go"),
        ("Planned", "unknown" if found["estimated_s"] is None else f"{found['estimated_s']:,.1f} s"),
        ("Rate", "-" if found["records_per_s"] is None else f"{found['records_per_s']:,.0f} records/s"),
        ("Lateness", f"p50 {late['p50']} ms, p99 {late['p99']} ms, max {late['max']} ms" if late else "not paced"),
        ("Left out by seeking", "; ".join(f"{s['from']} to {s['to']}" for s in found["seeks"]) or "nothing"),
        ("Remarks", "; ".join(found["notes"]) or "none"),
    ]
    topics = [(t["source"], t["target"], f"{t['partitions']}", f"{t['records']:,}") for t in found["topics"]]
    goes = [
        (rfc3339(run.began_ms), str(run.state), f"{run.records:,}", f"{run.seconds:,.1f} s", run.why or "")
        for run in entry.runs
    ]
    last = entry.runs[-1] if entry.runs else None
    name = html.escape(entry.name)
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Replay {name}</title>',
            '<meta name="viewport" content="width=device-width">',
            f"<style>{_STYLE}</style><h1>Replay {name}</h1>",
            _table(None, rows),
            "<h2>Topics</h2>",
            _table(("Source", "Target", "Partitions", "Records"), topics),
            "<h2>Goes</h2>",
            _table(("Began", "State", "Records", "Took", "Why"), goes),
            *_decided(found["decisions"]),
            *([] if last is None else _charts(last)),
            "<p>Research software, not a medical device.</p></html>\n",
        ]
    )


_LIVE: Final = {True: "yes, to the byte", False: "no", None: "the live worker never saw these records so"}


def _decided(told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return []
    alarms = ", ".join(f"{count:,} {priority}" for priority, count in told["alarms"].items())
    rows = [
        ("Policy", f"{told['policy']} ({told['policy_hash']})"),
        ("Models", ", ".join(told["models"]) or "none spoke"),
        ("Not to be had", ", ".join(told["missing"]) or "nothing"),
        ("Start state", told["since"]),
        ("Decided", f"{told['records']:,} records{'' if told['over'] else ' so far'}"),
        ("Alarms raised", f"{alarms}; {told['advisories']:,} advisories (silent)"),
        ("Transitions", f"{told['transitions']:,}"),
        ("Hash", told["hash"]),
        ("Without advisories", told["hash_without_advisories"]),
        ("Same as live", _LIVE[told["same_as_live"]]),
    ]
    return ["<h2>Decisions</h2>", _table(None, rows)]


def _charts(run: Run) -> list[str]:
    parts = []
    if len(run.pace) > 1:
        parts += ["<h2>Records acknowledged over time</h2>", _line([(float(s), float(n)) for s, n in run.pace], "s")]
    if run.lateness is not None:
        parts += ["<h2>Share of records by lateness</h2>", _line(_shares(run.lateness), "ms")]
    return parts


def _shares(late: LatenessFigures) -> list[tuple[float, float]]:
    seen, points = 0, [(0.0, 0.0)]
    for up_to, count in late.bins:
        seen += count
        points.append((up_to, 100 * seen / late.records))
        if seen >= 0.999 * late.records:
            break
    return points


def _line(points: list[tuple[float, float]], unit: str) -> str:
    right = max(x for x, _ in points) or 1.0
    top = max(y for _, y in points) or 1.0
    path = " ".join(
        f"{_LEFT + x / right * (_WIDTH - _LEFT - 8):.1f},{8 + (1 - y / top) * (_HEIGHT - _LOW - 8):.1f}"
        for x, y in points
    )
    base = _HEIGHT - _LOW
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="rises to {top:,.6g} at {right:,.6g} {unit}">'
        f'<path d="M{_LEFT} 8V{base}H{_WIDTH - 8}" fill="none" stroke="#8a99a8"/>'
        f'<polyline points="{path}" fill="none" stroke="#1f7ab8" stroke-width="2"/>'
        f'<g font-size="12" fill="currentColor"><text x="{_LEFT - 6}" y="16" text-anchor="end">{top:,.6g}</text>'
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">0</text>'
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 6}" text-anchor="end">{right:,.6g} {unit}</text></g></svg>'
    )


def _table(head: tuple[str, ...] | None, rows: list[Any]) -> str:
    if head is None:
        body = "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in rows)
        return f"<table>{body}</table>"
    top = "".join(f"<th>{html.escape(word)}</th>" for word in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
