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
ANOMALY: Final = "anomaly"


def warning_of(condition: str) -> str:
    """The early warning of a limit's condition.

    >>> warning_of("spo2_low")
    'forecast_spo2_low'
    """
    return f"forecast_{condition}"


def risk_of(name: str) -> str:
    """The condition of a risk that a model assesses."""
    return f"risk_{name}"
