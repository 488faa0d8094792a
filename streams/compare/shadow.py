"""A candidate beside what is in force: both decide the live log, silently, and the difference is told as it grows.

Nothing is written into any topic. A shadow that was killed begins again with the newest snapshot, and a new report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from models.vitals.engine import VitalsModels
from streams.compare import report
from streams.compare.page import page
from streams.compare.report import Comparison
from streams.compare.sides import Decider, Side
from streams.compare.span import Span, follow

REPORT_JSON: Final = "report.json"
REPORT_HTML: Final = "report.html"


class Shadow:
    """Champion and candidate at work on a span without end; ``found`` is the comparison so far."""

    def __init__(
        self,
        span: Span,
        sides: Sequence[Side],
        models: VitalsModels | None,
        missing: set[tuple[str, str]],
    ) -> None:
        self._span, self._models, self._missing = span, models, missing
        self._deciders = [Decider(side, span, models) for side in sides]
        self._began_s = time.monotonic()
        self.records = 0

    @property
    def behind_ms(self) -> int | None:
        """How old the newest record was when it was decided lately, by this machine's clock; None before any."""
        last_ms = self._deciders[0].decided.last_ms
        return None if last_ms is None else max(0, time.time_ns() // 1_000_000 - last_ms)

    def found(self) -> Comparison:
        """The comparison of what has been decided up to now."""
        took_s = time.monotonic() - self._began_s
        both = [decider.decided for decider in self._deciders]
        return Comparison.of(self._span, both, took_s, self._models is not None, missing=frozenset(self._missing))

    async def go(
        self, bootstrap: str, going: Callable[[], bool], every_s: float, tell: Callable[[Shadow], None]
    ) -> None:
        """Decide what comes while ``going`` says so; ``tell`` is called every so often."""
        due_s = time.monotonic() + every_s
        for record in follow(bootstrap, self._span):
            if record is not None:
                for decider in self._deciders:
                    await decider.take(record)
                self.records += 1
            if time.monotonic() >= due_s:
                tell(self)
                due_s = time.monotonic() + every_s
            if not going():
                return


def told(shadow: Shadow, folder: Path | None) -> dict[str, Any]:
    """The report so far as plain values, kept in ``folder`` as JSON and as a page, each whole or not at all."""
    found = shadow.found()
    document = report.document(found)
    # a span without end has no number of records to come, only of those that came
    document["span"] |= {"warm_up_records": shadow.records - found.champion.records, "behind_ms": shadow.behind_ms}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder / REPORT_JSON, msgspec.json.format(msgspec.json.encode(document), indent=2))
        _put(folder / REPORT_HTML, page(document, found).encode())
    return document


def line(document: dict[str, Any]) -> str:
    """What has come of it, in a line."""
    fates, span = document["fates"], document["span"]
    counted = ", ".join(f"{fates[fate]} {fate}" for fate in report.FATES if fates[fate]) or "no alarm on either side"
    behind = "" if span["behind_ms"] is None else f", {span['behind_ms'] / 1000:.1f} s behind"
    return f"{span['to'] or '-'}  {span['readings']:,} readings{behind}: {counted}"


def _put(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)
