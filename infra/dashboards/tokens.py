"""Colours and marks of the wall: those of the feed's page, read from its own file and never written a second time."""

from __future__ import annotations

import json
from typing import Final, Literal

from contracts import look
from infra.site import CHECKOUT

Theme = Literal["dark", "light"]
THEMES: Final[tuple[Theme, ...]] = ("dark", "light")
TOKENS: Final = CHECKOUT / "streams" / "feed" / "static" / "tokens.json"

MARKS: Final = {**look.MARKS, "technical": look.TECHNICAL_MARK}


def colours(theme: Theme) -> dict[str, str]:
    """Every colour of a theme, by the name that the feed's style sheets use."""
    return dict(json.loads(TOKENS.read_text())[theme])
