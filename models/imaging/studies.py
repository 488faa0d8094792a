"""When a study is complete as far as anyone can tell: it has been quiet for a while. Pure, in log time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from contracts.records import SCHEMA_VERSION, ImageArrival, StudyRevision

MOST: Final = 20_000
"""So many studies of one partition are remembered."""


@dataclass
class _Study:
    """Instances that have come. ``heard_ms`` is the log's time of the last one that nobody was told of yet."""

    patient: str
    instances: set[str] = field(default_factory=set)
    first_ms: int | None = None
    last_ms: int = 0
    heard_ms: int | None = None
    told: StudyRevision | None = None


class Studies:
    """The studies of one partition. ``quiet_ms``: without a new instance for so long a study is complete.

    The same arrivals give the same revisions, whenever ``due`` is asked; an arrival or a revision that comes again
    changes nothing.
    """

    def __init__(self, quiet_ms: int) -> None:
        self._quiet_ms = quiet_ms
        self._studies: dict[str, _Study] = {}

    def arrived(self, arrival: ImageArrival, log_ms: int) -> None:
        """An instance came. Late is what comes after its study was told: then there is a next revision."""
        study = self._of(arrival.study, arrival.patient)
        told = study.told
        if told is not None and arrival.instance in told.instances and arrival.at_ms <= told.last_ms:
            return
        study.instances.add(arrival.instance)
        study.first_ms = arrival.at_ms if study.first_ms is None else min(study.first_ms, arrival.at_ms)
        study.last_ms = max(study.last_ms, arrival.at_ms)
        study.heard_ms = max(study.heard_ms or log_ms, log_ms)

    def wrote(self, revision: StudyRevision) -> None:
        """A revision as it stands in the log; an older one than is known is passed over."""
        study = self._of(revision.study, revision.patient)
        if study.told is not None and study.told.revision >= revision.revision:
            return
        study.told = revision
        study.first_ms = revision.first_ms if study.first_ms is None else min(study.first_ms, revision.first_ms)
        if study.instances <= set(revision.instances) and study.last_ms <= revision.last_ms:
            study.heard_ms = None
        study.instances |= set(revision.instances)
        study.last_ms = max(study.last_ms, revision.last_ms)

    def due(self, now_ms: int) -> list[StudyRevision]:
        """The next revision of every study that has been quiet for long enough."""
        made = []
        for name, study in self._studies.items():
            if study.heard_ms is None or now_ms - study.heard_ms < self._quiet_ms:
                continue
            made.append(
                StudyRevision(
                    version=SCHEMA_VERSION,
                    study=name,
                    patient=study.patient,
                    revision=0 if study.told is None else study.told.revision + 1,
                    instances=tuple(sorted(study.instances)),
                    at_ms=study.heard_ms + self._quiet_ms,
                    first_ms=study.first_ms or study.last_ms,
                    last_ms=study.last_ms,
                )
            )
        return made

    def _of(self, name: str, patient: str) -> _Study:
        study = self._studies.get(name)
        if study is None:
            study = self._studies[name] = _Study(patient)
            while len(self._studies) > MOST:
                del self._studies[next(iter(self._studies))]
        return study
