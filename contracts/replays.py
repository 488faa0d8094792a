"""What a replay, the program that decides over it and the feed that shows it tell each other.

Topics of decisions are named after the replay; how far it is and what is wanted of it are two small files in its
folder, written whole or not at all: only one machine runs a replay, and none of this belongs into a log.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.topology import ALERTS, FORECASTS, SCORES, Topic

PROGRESS: Final = "progress.json"
WANTED: Final = "wanted.json"
DECISIONS: Final = "decisions.json"
DECIDED: Final[tuple[Topic[Any], ...]] = (ALERTS, SCORES, FORECASTS)
"""The topics whose like a decided replay has."""


def decided(replay: str, topic: Topic[Any]) -> str:
    """The name of the topic into which decisions over that replay go in place of ``topic``."""
    return f"{replay}_decided_{topic.name}"


def folder(state_dir: str | None, replay: str) -> Path:
    """Where a replay's files are: in WARD_STATE_DIR, else in .ward beside the packages."""
    state = Path(state_dir).expanduser().resolve() if state_dir else Path(__file__).resolve().parents[1] / ".ward"
    return state / "replays" / replay


class ReplayProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a replay is. ``at_ms``, ``from_ms`` and ``to_ms`` are the source log's; ``speed`` None: unpaced.

    ``vitals`` is the target that holds frames, None where none does; ``heeded`` the number of the newest wish heeded.
    """

    replay: str
    sources: tuple[str, ...]
    vitals: str | None
    from_ms: int
    to_ms: int
    speed: float | None
    shift_ms: int | None
    state: str
    paused: bool
    at_ms: int
    sent: int
    of: int
    late_ms: float | None
    heeded: int
    told_ms: int


class Want(StrEnum):
    """What may be wanted of a running replay."""

    PAUSE = "pause"
    GO_ON = "go_on"
    SEEK = "seek"
    STOP = "stop"


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The newest wish; ``number`` grows by one with each. ``to_ms``: of a seek, ahead in the source log's time."""

    number: int
    what: Want
    to_ms: int | None = None
    by: str
    at_ms: int


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay led to: ``hash`` is that of the canonical ledger, ``same_as_live`` None where no live one is there.

    ``alarms`` counts alarms raised by priority, advisories apart; ``models`` name@version as they were asked.
    """

    replay: str
    policy: str
    policy_hash: str
    models: tuple[str, ...]
    records: int
    transitions: int
    alarms: dict[str, int]
    hash: str
    hash_without_advisories: str
    same_as_live: bool | None
    over: bool
    told_ms: int
