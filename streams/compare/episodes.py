"""Alarms as episodes, put together from their transitions, and the hash of all that was decided."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from contracts import codec
from contracts.records import AlarmEvent, AlarmState, AlertTransition, Category, Priority, SourceOffset
from models.ward.alarms import RANK

NOWHERE: Final = SourceOffset(topic="", partition=0, offset=0)
SIGNALS: Final = frozenset({AlarmEvent.RAISED, AlarmEvent.REALARMED, AlarmEvent.PRIORITY_RAISED})


class Episode(NamedTuple):
    """Whose alarm of what, and since when: the same under any policy, which an alert's id is not."""

    ward: str
    patient: str
    condition: str
    onset_ms: int


@dataclass
class Alert:
    """One episode as far as the span shows it. Event times; those of acknowledgements are log times.

    ``raised_ms`` is None when it was raised before the span, ``ended_ms`` when it lasts beyond it. ``priority`` is the
    highest it had, ``signals_ms`` when it sounded: raised, again, or at a higher priority.
    """

    episode: Episode
    bed: str
    category: Category
    priority: Priority
    message: str
    alert_id: str
    raised_ms: int | None = None
    ended_ms: int | None = None
    acknowledged_ms: int | None = None
    signals_ms: list[int] = field(default_factory=list)
    lines: dict[int, bytes] = field(default_factory=dict)

    @property
    def sounds(self) -> bool:
        """Advisories are silent."""
        return self.category is not Category.ADVISORY

    def note(self, transition: AlertTransition, line: bytes) -> None:
        """Takes in one more transition of the episode."""
        self.lines[transition.seq] = line
        self.priority = max(self.priority, transition.priority, key=RANK.__getitem__)
        if transition.event is AlarmEvent.RAISED:
            self.raised_ms, self.message = transition.at_ms, transition.message
        if transition.event in SIGNALS and self.sounds:
            self.signals_ms.append(transition.at_ms)
        if transition.event is AlarmEvent.ACKNOWLEDGED and self.acknowledged_ms is None:
            self.acknowledged_ms = transition.at_ms
        if transition.state is AlarmState.INACTIVE:
            self.ended_ms = transition.at_ms


def canonical(transition: AlertTransition) -> bytes:
    """What was decided, without where the record stood and what the policy, the model and so the alert were called.

    Two policies or models that decide the same thus have the same lines, and so have a log and its replay.
    """
    return codec.encode(msgspec.structs.replace(transition, source=NOWHERE, policy="", alert_id="", model=None))


class Book:
    """The alerts of one side of a comparison. ``conflicts`` are identities that were told with two contents."""

    def __init__(self) -> None:
        self.alerts: dict[Episode, Alert] = {}
        self.conflicts: list[tuple[Episode, int]] = []
        self.repeats = 0

    def add(self, transition: AlertTransition) -> None:
        """Enters one transition; one that is told again changes nothing."""
        episode = Episode(transition.ward, transition.patient, transition.condition, transition.onset_ms)
        alert = self.alerts.get(episode)
        if alert is None:
            alert = self.alerts[episode] = Alert(
                episode,
                transition.bed,
                transition.category,
                transition.priority,
                transition.message,
                transition.alert_id,
            )
        line = canonical(transition)
        known = alert.lines.get(transition.seq)
        if known is None:
            alert.note(transition, line)
        elif known == line:
            self.repeats += 1
        else:
            self.conflicts.append((episode, transition.seq))

    @property
    def transitions(self) -> int:
        """How many were entered."""
        return sum(len(alert.lines) for alert in self.alerts.values())

    def hash(self) -> str:
        """SHA-256 over all that was decided, whatever the order in which it was told and however often."""
        return hash_of(self.alerts.values())

    def hash_without_advisories(self) -> str:
        """The same over what sounds: equal when only the models' silent words differ."""
        return hash_of(alert for alert in self.alerts.values() if alert.sounds)


def hash_of(alerts: Iterable[Alert]) -> str:
    """SHA-256 of the canonical ledger of these alerts: one line a transition, by episode and number."""
    digest = hashlib.sha256()
    for alert in sorted(alerts, key=lambda one: one.episode):
        for _, line in sorted(alert.lines.items()):
            digest.update(line)
            digest.update(b"\n")
    return digest.hexdigest()
