"""What can be the matter with a bed: the names of its alarm conditions."""

from __future__ import annotations

from typing import Final, NamedTuple

from models.ward.state import VITALS


class Conditions(NamedTuple):
    """The conditions of one vital."""

    low: str
    high: str
    implausible: str
    frozen: str
    no_signal: str


CONDITIONS: Final = tuple(
    Conditions(*(f"{vital.value}_{word}" for word in ("low", "high", "implausible", "frozen", "no_signal")))
    for vital in VITALS
)
"""By place of the vital in the state."""
NEWS2: Final = "news2"
SILENCE: Final = "silence"
CLOCK: Final = "clock"
