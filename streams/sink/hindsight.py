"""What forecasts and risks were worth, as points, and where it is kept over a restart.

A point's time is the moment that was spoken of and it sums up a ward, so no reading of the log writes it twice: what is
read again is known, and what a restart lost is missing from the sums, never in them twice.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import msgspec
import structlog

from contracts.records import ScoreFrame, VitalsForecast
from models.vitals.hindsight import Hindsight, Outcome, Worth
from streams.sink.lines import NS, tag

log = structlog.get_logger(__name__)

FILE: Final = "hindsight.msgpack"
EVERY_S: Final = 300.0
"""So much can be lost when the sink is killed; nothing when it is told to stop."""


class Keeper:
    """Makes the points, and keeps what still waits in a file below ``folder``; None: in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self._place = None if folder is None else folder / FILE
        self._kept_s = time.monotonic()
        self._hindsight = self._read()

    def of_scores(self, frame: ScoreFrame) -> list[str]:
        """The points of what a frame has decided."""
        lines: list[str] = []
        for one in self._hindsight.scores(frame):
            lines += of_worth(one) if isinstance(one, Worth) else of_outcome(one)
        return lines

    def forecast(self, frame: VitalsForecast) -> None:
        """Remember what is told."""
        self._hindsight.forecast(frame)

    def keep(self, now: bool = False) -> None:
        """Write the file if it is time, or ``now``; where that fails the sink goes on, and a restart begins anew."""
        if self._place is None or not (now or time.monotonic() - self._kept_s >= EVERY_S):
            return
        self._kept_s = time.monotonic()
        draft = self._place.with_name(f".{self._place.name}.{os.getpid()}")
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self._hindsight.packed())
            draft.replace(self._place)
        except OSError as failure:
            log.warning("what forecasts were worth is not kept", place=str(self._place), why=str(failure))

    def _read(self) -> Hindsight:
        if self._place is None:
            return Hindsight()
        try:
            return Hindsight.unpacked(self._place.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ValueError, msgspec.MsgspecError) as bad:
            log.warning("what forecasts were worth begins anew", place=str(self._place), why=str(bad))
        return Hindsight()


def of_worth(worth: Worth) -> list[str]:
    """The points of forecasts whose moment has come: by engine, by band, by level."""
    head = f"horizon={worth.horizon_s}"
    rest, at = f"vital={worth.vital},ward={tag(worth.ward)}", f"{worth.at_ms}{NS}"
    lines = [
        f"hindsight,engine={worth.engine},{head},{rest} n={worth.n}i,error={worth.error!r},naive={worth.naive!r},"
        f"pinball={worth.pinball!r} {at}"
    ]
    lines += [
        f"coverage,band={percent(band)},engine={worth.engine},{head},{rest} n={worth.n}i,inside={inside}i,"
        f"width={width!r},nominal={round(band * worth.n, 4)!r} {at}"
        for band, inside, width in zip(worth.bands, worth.inside, worth.width, strict=True)
    ]
    lines += [
        f"calibration,engine={worth.engine},{head},level={percent(level)},{rest} n={worth.n}i,under={under!r} {at}"
        for level, under in zip(worth.levels, worth.under, strict=True)
    ]
    return lines


def of_outcome(outcome: Outcome) -> list[str]:
    """The point of risks whose hours are over."""
    return [
        f"reliability,chance={tag(outcome.chance)},risk={outcome.risk},ward={tag(outcome.ward)} n={outcome.n}i,"
        f"told={outcome.told!r},came={outcome.came}i,brier={outcome.brier!r} {outcome.at_ms}{NS}"
    ]


def percent(share: float) -> str:
    """A share as a tag: two digits, so that tags sort as numbers do.

    >>> percent(0.05), percent(0.9), percent(0.025)
    ('05', '90', '02.5')
    """
    whole, _, part = f"{share * 100:.6g}".partition(".")
    return f"{whole:0>2}" + (f".{part}" if part else "")
