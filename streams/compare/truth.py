"""What really happened, where it is known: which side told of it, which alarms were true, and is that chance?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import Misconfigured
from contracts.records import Category
from models.burden import quantile
from streams.compare.episodes import Alert


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a truth file of the simulated hospital. ``family``: episode (the patient), sensor or transport."""

    kind: str
    family: str
    ward: str
    patient: str
    start_ms: int
    end_ms: int
    faded_ms: int


@dataclass(frozen=True)
class Detection:
    """One event and when each side first told of it, in seconds after its start; None: never."""

    event: Event
    champion_s: float | None
    candidate_s: float | None


def read_truth(path: Path, from_ms: int, to_ms: int) -> list[Event]:
    """The events of the file that begin within [from, to). Raises Misconfigured naming the line that is none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as failure:
        raise Misconfigured(f"--truth {path}: {failure.strerror}") from failure
    events = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(msgspec.json.decode(line, type=Event))
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise Misconfigured(f"--truth {path}, line {number}: {wrong}") from wrong
    return [event for event in events if from_ms <= event.start_ms < to_ms]


def detections(events: Iterable[Event], champion: Sequence[Alert], candidate: Sequence[Alert]) -> list[Detection]:
    """Of each event that changed a patient, when each side raised its first physiological alarm."""
    ours, theirs = _of_patients(champion), _of_patients(candidate)
    return [
        Detection(event, _told(event, ours.get(event.patient, ())), _told(event, theirs.get(event.patient, ())))
        for event in events
        if event.family == "episode"
    ]


def _of_patients(alerts: Iterable[Alert]) -> dict[str, list[Alert]]:
    found: defaultdict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        if alert.category is Category.PHYSIOLOGICAL:
            found[alert.episode.patient].append(alert)
    return found


def _told(event: Event, alerts: Sequence[Alert]) -> float | None:
    """Seconds until the first signal while it lasted; an alarm that stood unheeded before it tells nothing."""
    told = [at for alert in alerts for at in alert.signals_ms if event.start_ms <= at < event.faded_ms]
    return (min(told) - event.start_ms) / 1000 if told else None


def precision(alerts: Iterable[Alert], events: Sequence[Event]) -> dict[str, Any]:
    """The share of raised physiological alarms that an episode of that patient explains (PPV), and of technical ones
    that a fault explains."""
    spans: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for event in events:
        matter = Category.PHYSIOLOGICAL if event.family == "episode" else Category.TECHNICAL
        spans[event.patient, matter].append((event.start_ms, event.faded_ms))
    true: dict[str, list[bool]] = {Category.PHYSIOLOGICAL: [], Category.TECHNICAL: []}
    for alert in alerts:
        if alert.raised_ms is not None and alert.category in true:
            known = spans.get((alert.episode.patient, alert.category), ())
            true[alert.category].append(any(start <= alert.raised_ms < end for start, end in known))
    return {
        str(category): {"n": len(each), "true": sum(each), "ppv": round(sum(each) / len(each), 4) if each else None}
        for category, each in true.items()
    }


def mcnemar(champion_only: int, candidate_only: int) -> float:
    """Exact two-sided binomial p of McNemar's test: could the events that one side alone found be split by chance?

    >>> mcnemar(0, 6), mcnemar(3, 3)
    (0.03125, 1.0)
    """
    n, least = champion_only + candidate_only, min(champion_only, candidate_only)
    p: float = 2 * sum(comb(n, k) for k in range(least + 1)) / 2**n
    return min(1.0, p)


def judged(events: Sequence[Event], champion: Sequence[Alert], candidate: Sequence[Alert]) -> dict[str, Any]:
    """The whole comparison against the truth."""
    found = detections(events, champion, candidate)
    only = [d for d in found if (d.champion_s is None) != (d.candidate_s is None)]
    champion_only = sum(d.candidate_s is None for d in only)
    return {
        "events": len(found),
        "faults": len(events) - len(found),
        "both": sum(d.champion_s is not None and d.candidate_s is not None for d in found),
        "champion_only": champion_only,
        "candidate_only": len(only) - champion_only,
        "neither": sum(d.champion_s is None and d.candidate_s is None for d in found),
        "mcnemar_p": round(mcnemar(champion_only, len(only) - champion_only), 6),
        "champion": _detected([d.champion_s for d in found]) | {"precision": precision(champion, events)},
        "candidate": _detected([d.candidate_s for d in found]) | {"precision": precision(candidate, events)},
        "by_kind": {
            kind: {
                "events": len(of),
                "champion": sum(d.champion_s is not None for d in of),
                "candidate": sum(d.candidate_s is not None for d in of),
            }
            for kind in sorted({d.event.kind for d in found})
            for of in [[d for d in found if d.event.kind == kind]]
        },
    }


def _detected(waits: Sequence[float | None]) -> dict[str, Any]:
    told = sorted(wait for wait in waits if wait is not None)
    return {
        "detected": len(told),
        "missed": len(waits) - len(told),
        "sensitivity": round(len(told) / len(waits), 4) if waits else None,
        "delay_s_p50": quantile(told, 0.5),
        "delay_s_p95": quantile(told, 0.95),
    }
