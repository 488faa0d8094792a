"""What the wall, the boards and the printed pages share besides the colours of the feed's tokens.json."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from contracts.records import Priority, Vital

MARKS: Final[Mapping[str, str]] = MappingProxyType({Priority.HIGH: "***", Priority.MEDIUM: "**", Priority.LOW: "*"})
"""Beside every alarm colour stands its mark, as on the feed: colour is never the only cue."""
TECHNICAL_MARK: Final = "!"
OF_VITAL: Final[Mapping[Vital, str]] = MappingProxyType(
    {
        Vital.HEART_RATE: "heart-rate",
        Vital.SPO2: "spo2",
        Vital.RESPIRATION: "respiration",
        Vital.SYSTOLIC: "pressure",
        Vital.DIASTOLIC: "pressure",
        Vital.MEAN_PRESSURE: "pressure",
        Vital.TEMPERATURE: "temperature",
    }
)
"""The colour of each vital, by its name in the tokens."""
