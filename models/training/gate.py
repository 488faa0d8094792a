"""May a version become champion: not while it is worse than the one in force, beyond what chance explains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from models.registry import Bundle, Interval, Registry
from models.training import evaluation
from models.training.evaluation import Evaluation, direction, rival_in

TRUSTED: Final = ("test", "validation")
"""Splits to compare on, the first that both were judged on."""


class Worse(msgspec.Struct, frozen=True):
    """A figure of the candidate that lies beyond the champion's interval on the wrong side."""

    metric: str
    candidate: Interval
    champion: Interval

    def __str__(self) -> str:
        ours, theirs = self.candidate, self.champion
        champion = f"the champion has {theirs.value:.4g} [{theirs.low:.4g}, {theirs.high:.4g}]"
        return f"{self.metric}: {ours.value:.4g}, {champion}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """On which split the two were compared (None: on nothing), by how many figures, and which are worse."""

    split: str | None
    compared: int
    worse: tuple[Worse, ...]

    @property
    def passed(self) -> bool:
        """Compared, and nothing is worse."""
        return self.compared > 0 and not self.worse


def evaluations(registry: Registry, bundle: Bundle) -> dict[str, Evaluation]:
    """What is known of a version, by split: the evaluations kept beside it, else the figures in its manifest.

    One of another version (a folder copied by hand) is left out. Raises Poison for one that is not readable.
    """
    found = {
        split: Evaluation(
            model=bundle.name,
            version=bundle.version,
            sha256=bundle.sha256,
            split=split,
            n=max((interval.n for interval in metrics.values()), default=0),
            metrics=metrics,
        )
        for split, metrics in bundle.manifest.metrics.items()
    }
    for file, text in registry.notes(bundle.name, bundle.version).items():
        if file.endswith(".json"):
            kept = evaluation.read(text, f"{bundle.name}/{bundle.version}/{file}")
            if kept.sha256 == bundle.sha256:
                found[kept.split] = kept
    return found


def compare(candidate: Mapping[str, Evaluation], champion: Mapping[str, Evaluation]) -> Verdict:
    """The candidate's own figures (no baseline's) against the champion's, on the first trusted split that both have."""
    for split in TRUSTED:
        if split in candidate and split in champion:
            ours, theirs = candidate[split].metrics, champion[split].metrics
            own = [name for name in ours if not rival_in(name, ours)[1] and not name.startswith("gain_")]
            shared = [name for name in own if name in theirs and direction(name)]
            worse = [
                Worse(name, ours[name], theirs[name]) for name in shared if _beyond(name, ours[name], theirs[name])
            ]
            return Verdict(split=split, compared=len(shared), worse=tuple(worse))
    return Verdict(split=None, compared=0, worse=())


def _beyond(name: str, ours: Interval, theirs: Interval) -> bool:
    return ours.value < theirs.low if direction(name) > 0 else ours.value > theirs.high
