"""Which alarm of one side is which of the other: same patient, same condition, at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Literal

from streams.compare.episodes import Alert

Fate = Literal["same", "earlier", "later", "changed", "lost", "new"]


@dataclass(frozen=True)
class Pair:
    """An alarm of the champion and the candidate's of the same matter; one of them may be missing."""

    champion: Alert | None
    candidate: Alert | None

    @property
    def either(self) -> Alert:
        """The champion's, else the candidate's."""
        found = self.champion or self.candidate
        if found is None:
            raise ValueError("a pair of nothing")
        return found

    @property
    def shift_s(self) -> float | None:
        """How much later the candidate raises it; None unless both raise it within the span."""
        a, b = self.champion, self.candidate
        if a is None or b is None or a.raised_ms is None or b.raised_ms is None:
            return None
        return (b.raised_ms - a.raised_ms) / 1000

    @property
    def reprioritised(self) -> bool:
        """Whether the highest priority is another."""
        a, b = self.champion, self.candidate
        return a is not None and b is not None and a.priority is not b.priority

    @property
    def fate(self) -> Fate:
        """What became of the champion's alarm. ``changed``: raised at the same time, with other words or steps."""
        if self.champion is None:
            return "new"
        if self.candidate is None:
            return "lost"
        if self.shift_s:
            return "later" if self.shift_s > 0 else "earlier"
        return "same" if self.champion.lines == self.candidate.lines else "changed"


def match(champion: Iterable[Alert], candidate: Iterable[Alert]) -> list[Pair]:
    """Every alarm of both sides, once, in order of time.

    Of one patient and condition alarms never overlap within a side, so going through both in order of time pairs as
    many as can be paired.
    """
    ours, theirs = _by_matter(champion), _by_matter(candidate)
    pairs: list[Pair] = []
    for matter in ours.keys() | theirs.keys():
        pairs += _matched(ours.get(matter, []), theirs.get(matter, []))
    return sorted(pairs, key=lambda pair: (pair.either.episode.onset_ms, pair.either.episode))


def _by_matter(alerts: Iterable[Alert]) -> dict[tuple[str, str, str], list[Alert]]:
    found: defaultdict[tuple[str, str, str], list[Alert]] = defaultdict(list)
    for alert in sorted(alerts, key=lambda one: one.episode):
        found[alert.episode[:3]].append(alert)
    return found


def _matched(ours: list[Alert], theirs: list[Alert]) -> Iterable[Pair]:
    i = j = 0
    while i < len(ours) and j < len(theirs):
        a, b = ours[i], theirs[j]
        if a.episode.onset_ms <= _end(b) and b.episode.onset_ms <= _end(a):
            yield Pair(a, b)
            i, j = i + 1, j + 1
        elif _end(a) < _end(b):
            yield Pair(a, None)
            i += 1
        else:
            yield Pair(None, b)
            j += 1
    yield from (Pair(a, None) for a in ours[i:])
    yield from (Pair(None, b) for b in theirs[j:])


def _end(alert: Alert) -> float:
    return inf if alert.ended_ms is None else alert.ended_ms
