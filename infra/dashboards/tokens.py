"""Colours and marks of the wall: those of the feed's page, read from its own file and never written a second time."""

from __future__ import annotations

import json
from typing import Final, Literal

from contracts.records import Vital
from infra.site import CHECKOUT

Theme = Literal["dark", "light"]
THEMES: Final[tuple[Theme, ...]] = ("dark", "light")
TOKENS: Final = CHECKOUT / "streams" / "feed" / "static" / "tokens.json"

MARKS: Final = {"high": "***", "medium": "**", "low": "*", "technical": "!"}
"""Beside every alarm colour stands its mark, as on the feed: colour is never the only cue."""
OF_VITAL: Final = {
    Vital.HEART_RATE: "heart-rate",
    Vital.SPO2: "spo2",
    Vital.RESPIRATION: "respiration",
    Vital.SYSTOLIC: "pressure",
    Vital.DIASTOLIC: "pressure",
    Vital.MEAN_PRESSURE: "pressure",
    Vital.TEMPERATURE: "temperature",
}


def colours(theme: Theme) -> dict[str, str]:
    """Every colour of a theme, by the name that the feed's style sheets use."""
    return dict(json.loads(TOKENS.read_text())[theme])
