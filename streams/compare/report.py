"""What a comparison found: one document for machines, one table for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from models.burden import quantile
from streams.compare.burden import burden
from streams.compare.episodes import Book
from streams.compare.matching import Pair, match
from streams.compare.sides import Decided
from streams.compare.span import Span
from streams.compare.truth import Event, judged
from streams.compare.written import held_against

FATES: Final = ("same", "earlier", "later", "changed", "lost", "new")
SHOWN: Final = 20
NO_ALARMS: Final = "no alarm in this span on either side"


@dataclass(frozen=True)
class Comparison:
    """Both sides of one span. ``missing`` are models that the log or a side names and that are not to be had.

    ``written`` is what was written live, where it is known; ``took_s`` how long deciding both sides took.
    """

    span: Span
    champion: Decided
    candidate: Decided
    took_s: float
    with_models: bool
    events: Sequence[Event] | None = None
    written: Book | None = None
    missing: frozenset[tuple[str, str]] = frozenset()
    pairs: list[Pair] = field(default_factory=list)

    @classmethod
    def of(cls, span: Span, sides: Sequence[Decided], took_s: float, with_models: bool, **known: Any) -> Comparison:
        """The comparison of champion and candidate, their alarms matched."""
        champion, candidate = sides
        pairs = match(champion.book.alerts.values(), candidate.book.alerts.values())
        return cls(span, champion, candidate, took_s, with_models, pairs=pairs, **known)

    @property
    def equal(self) -> bool:
        """Whether both sides decided the same, to the byte."""
        return self.champion.book.hash() == self.candidate.book.hash()


def document(found: Comparison) -> dict[str, Any]:
    """Everything, as plain values."""
    champion, candidate, span = found.champion, found.candidate, found.span
    alarms = [list(side.book.alerts.values()) for side in (champion, candidate)]
    return {
        "equal": found.equal,
        "span": {
            "topic": span.topic,
            "from": iso(span.from_ms if span.from_ms is not None else champion.first_ms),
            "to": iso(span.to_ms if span.to_ms is not None else champion.last_ms),
            "start_state": span.since,
            "partitions": len(span.parts),
            "records": champion.records,
            "warm_up_records": span.records - champion.records,
            "readings": champion.readings,
            "late": champion.late,
            "duplicates": champion.duplicates,
            "unreadable": champion.unreadable,
        },
        "with_models": found.with_models,
        "models_not_to_be_had": [f"{name}@{version}" for name, version in sorted(found.missing)],
        "champion": _side(champion),
        "candidate": _side(candidate),
        "fates": totals(found.pairs),
        "by_condition": _grouped(found.pairs, lambda pair: (pair.either.episode.condition,), ("condition",)),
        "by_bed": _grouped(found.pairs, lambda pair: (pair.either.episode.ward, pair.either.bed), ("ward", "bed")),
        "differences": [_difference(pair) for pair in found.pairs if pair.fate != "same"],
        "truth": None if found.events is None else judged(found.events, *alarms),
        "written": None if found.written is None else held_against(champion.book, found.written),
        "took": {
            "seconds": round(found.took_s, 2),
            "records_per_s": _per(2 * span.records, found.took_s),
            "readings_per_s": _per(champion.readings + candidate.readings, found.took_s),
        },
    }


def totals(pairs: Sequence[Pair]) -> dict[str, Any]:
    """How many alarms met which fate; ``shift_s`` is of those raised at another time (above 0: later)."""
    fates = Counter(pair.fate for pair in pairs)
    shifts = sorted(shift for pair in pairs if (shift := pair.shift_s))
    return {
        "champion": sum(pair.champion is not None for pair in pairs),
        "candidate": sum(pair.candidate is not None for pair in pairs),
        "matched": sum(pair.champion is not None and pair.candidate is not None for pair in pairs),
        **{fate: fates[fate] for fate in FATES},
        "reprioritised": sum(pair.reprioritised for pair in pairs),
        "shift_s": {"p50": quantile(shifts, 0.5), "least": shifts[0], "most": shifts[-1]} if shifts else None,
    }


def _side(decided: Decided) -> dict[str, Any]:
    book = decided.book
    return {
        "policy": {"name": decided.side.policy.name, "hash": decided.side.policy.hash},
        "models": [f"{name}@{version}" for name, version in sorted(decided.models)],
        "models_asked_for": dict(decided.side.models),
        "hash": book.hash(),
        "hash_without_advisories": book.hash_without_advisories(),
        "transitions": book.transitions,
        "conflicts": len(book.conflicts),
        "burden": burden(list(book.alerts.values()), decided.heard_s),
    }


def _grouped(
    pairs: Sequence[Pair], key: Callable[[Pair], tuple[str, ...]], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    groups: defaultdict[tuple[str, ...], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[key(pair)].append(pair)
    return [dict(zip(names, group, strict=True)) | totals(of) for group, of in sorted(groups.items())]


def _difference(pair: Pair) -> dict[str, Any]:
    either = pair.either

    def side(name: str) -> dict[str, Any] | None:
        alert = getattr(pair, name)
        if alert is None:
            return None
        return {
            "alert_id": alert.alert_id,
            "raised": iso(alert.raised_ms),
            "ended": iso(alert.ended_ms),
            "priority": str(alert.priority),
            "message": alert.message,
        }

    return {
        "fate": pair.fate,
        "ward": either.episode.ward,
        "bed": either.bed,
        "patient": either.episode.patient,
        "condition": either.episode.condition,
        "onset": iso(either.episode.onset_ms),
        "shift_s": pair.shift_s,
        "champion": side("champion"),
        "candidate": side("candidate"),
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report for people."""
    span, took = report["span"], report["took"]
    yield f"{span['topic']} {span['from']} to {span['to']}: {span['records']} records, {span['readings']} readings"
    yield f"state at its start: {span['start_state']} ({span['warm_up_records']} records); models {_asked(report)}"
    for missing in report["models_not_to_be_had"]:
        yield f"not to be had, so it says nothing: {missing}"
    yield ""
    yield from _table(report)
    yield ""
    yield from _fates(report)
    if report["truth"] is not None:
        yield from _truth(report["truth"])
    if report["written"] is not None:
        yield _live(report["written"])
    verdict = "the same decisions, to the byte" if report["equal"] else "the decisions differ"
    yield f"{verdict} ({took['seconds']} s, {took['readings_per_s']} readings/s decided)"


def _asked(report: dict[str, Any]) -> str:
    return "asked as in the log" if report["with_models"] else "not asked"


def _table(report: dict[str, Any]) -> Iterator[str]:
    sides = (report["champion"], report["candidate"])
    burdens = [side["burden"] for side in sides]
    yield f"{'':28} {'champion':>16} {'candidate':>16}"
    yield _row("policy", *(side["policy"]["hash"] for side in sides))
    yield _row("decision hash", *(side["hash"][:16] for side in sides))
    for name, label in ROWS:
        yield _row(label, *(each[name] for each in burdens))
    for priority in ("high", "medium", "low"):
        yield _row(f"  {priority}", *(each["by_priority"].get(priority, 0) for each in burdens))
    waits = [each["acknowledge_s"] for each in burdens]
    if any(wait["n"] for wait in waits):
        yield _row("acknowledged", *(wait["n"] for wait in waits))
        yield _row("  after s, p50", *(wait["p50"] for wait in waits))
        yield _row("  after s, p95", *(wait["p95"] for wait in waits))


ROWS: Final = (
    ("bed_days", "bed-days"),
    ("alarms_per_bed_day", "alarms per bed-day"),
    ("advisories", "advisories (silent)"),
    ("technical_share", "technical share"),
    ("flood_minutes", "minutes in flood"),
    ("top_tenth_share", "share of the top tenth"),
    ("signals", "times it sounded"),
    ("alarms", "alarms"),
)


def _row(label: str, *values: Any) -> str:
    return f"{label:28} " + " ".join(f"{'-' if value is None else value:>16}" for value in values)


def _fates(report: dict[str, Any]) -> Iterator[str]:
    alerts, differences = report["fates"], report["differences"]
    if not alerts["champion"] and not alerts["candidate"]:
        yield NO_ALARMS
        return
    told = ", ".join(f"{alerts[fate]} {fate}" for fate in FATES)
    yield f"{alerts['matched']} matched: {told}; {alerts['reprioritised']} at another priority"
    for one in report["by_condition"]:
        if any(one[fate] for fate in FATES[1:]):
            yield f"  {one['condition']:24} " + ", ".join(f"{one[fate]} {fate}" for fate in FATES if one[fate])
    for one in differences[:SHOWN]:
        yield f"  {one['fate']:8} {one['bed']:10} {one['condition']:22} {_told(one)}"
    if len(differences) > SHOWN:
        yield f"  and {len(differences) - SHOWN} more: --json and --html tell them all"


def _told(one: dict[str, Any]) -> str:
    sides = [side for side in (one["champion"], one["candidate"]) if side is not None]
    shift = f" {one['shift_s']:+g} s" if one["shift_s"] else ""
    words = list(dict.fromkeys(f"{side['message']} ({side['priority']})" for side in sides))
    return f"{one['onset']}{shift}  {' -> '.join(words)}"


def _truth(truth: dict[str, Any]) -> Iterator[str]:
    yield (
        f"of {truth['events']} true episodes: both found {truth['both']}, champion alone {truth['champion_only']}, "
        f"candidate alone {truth['candidate_only']}, neither {truth['neither']}; McNemar exact p {truth['mcnemar_p']}"
    )
    for name in ("champion", "candidate"):
        side = truth[name]
        ppv = side["precision"]["physiological"]
        yield (
            f"  {name:9} sensitivity {side['sensitivity']}, delay p50 {side['delay_s_p50']} s, "
            f"PPV {ppv['ppv']} of {ppv['n']} physiological alarms"
        )


def _live(written: dict[str, Any]) -> str:
    if written["same"]:
        return f"what was written live is what the champion decides, to the byte ({written['transitions']} transitions)"
    return (
        f"written live was something else: {written['missing']} missing, {written['unexplained']} unexplained, "
        f"{written['otherwise']} said otherwise (another policy or code, or not yet written)"
    )


def iso(at_ms: int | None) -> str | None:
    """The moment in RFC 3339, to the millisecond, UTC."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _per(count: int, seconds: float) -> int:
    return round(count / seconds) if seconds else 0
