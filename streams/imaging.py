"""Which model reads which image, when a study is complete, what stands on the radiologist's list.

``python -m streams.imaging``; settings come from WARD_* variables. Exit codes as ``streams.worker``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from contracts.errors import Misconfigured
from contracts.pseudonyms import Pseudonyms
from contracts.settings import Settings
from contracts.topology import (
    DEAD_LETTERS,
    IMAGE_ARRIVALS,
    IMAGE_FEEDBACK,
    IMAGE_FINDINGS,
    IMAGE_JOBS,
    IMAGE_RESULTS,
    IMAGE_STUDIES,
    SCORES,
)
from models.imaging.findings import load_findings
from models.imaging.keyfile import pseudonyms
from models.imaging.rules import load_rules
from streams.image_metrics import ImagingMetrics
from streams.running import Outcome, carried, entered, serve_metrics

log = structlog.get_logger(__name__)

NEEDED: Final = (
    IMAGE_ARRIVALS,
    IMAGE_JOBS,
    IMAGE_RESULTS,
    IMAGE_STUDIES,
    IMAGE_FINDINGS,
    IMAGE_FEEDBACK,
    SCORES,
    DEAD_LETTERS,
)


@dataclass(frozen=True)
class Imaging:
    """What the process is made of; ``app`` carries the rest."""

    app: Any
    shell: Any
    reader: Any
    metrics: ImagingMetrics


def main() -> int:
    """Run until told to stop; the exit code."""
    return entered("imaging", lambda: Settings.from_env(os.environ), NEEDED, run)


def build_imaging(settings: Settings, halt: Callable[[str], None]) -> Imaging:
    """The Faust app and its parts. Raises Misconfigured for a bad file of rules, or of the findings policy."""
    from streams.agents.imaging import READ, ImagingShell
    from streams.app import attach, faust_app
    from streams.deterioration import Deteriorating
    from streams.logreader import LogReader, committed
    from streams.outbox import Outbox

    rules, policy = load_rules(settings.image_rules), load_findings(settings.image_policy)
    app = faust_app(settings, settings.imaging_group, settings.imaging_metrics_port)
    metrics, reader = ImagingMetrics(), LogReader(settings.kafka)

    def places() -> Awaitable[dict[tuple[str, int], int]]:
        return committed(settings.kafka, settings.imaging_group)

    async def worse(patient: str, at_ms: int) -> None:
        await shell.worse(patient, at_ms)

    deteriorating = Deteriorating(settings.kafka, _names(settings), policy.deterioration, worse)
    shell = ImagingShell(
        rules,
        policy,
        Outbox(lambda: app.producer, halt),
        reader,
        metrics,
        halt,
        quiet_s=settings.image_quiet_s,
        committed=places,
        patients=deteriorating.patients,
    )
    for topic in READ:
        attach(app, topic, topic.name, shell.handle)

    async def assigned(sender: Any, tps: Any, **_: Any) -> None:
        shell.assigned(tp.partition for tp in tps if tp.topic == IMAGE_ARRIVALS.name)
        log.info("partitions assigned", partitions=sorted(shell.owned))

    async def revoked(sender: Any, tps: Any, **_: Any) -> None:
        shell.assigned(())

    # Faust keeps weak references to receivers unless told otherwise
    app.on_partitions_assigned.connect(assigned, weak=False)
    app.on_partitions_revoked.connect(revoked, weak=False)

    async def sweep() -> None:
        await shell.keep_sweeping()

    async def follow() -> None:
        await deteriorating.keep_following()

    for task in (sweep, follow):
        app.task(task)
    log.info("rules in force", rules=rules.hash, policy=policy.hash)
    return Imaging(app, shell, reader, metrics)


def _names(settings: Settings) -> Pseudonyms | None:
    """How a patient of the vitals is called in images; None where nobody has named a key."""
    try:
        return pseudonyms(settings)
    except Misconfigured as unnamed:
        log.warning("images of deteriorating patients are not known as such", why=str(unnamed))
        return None


def run(settings: Settings) -> int:
    """The Faust app on an event loop of its own."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    outcome = Outcome()
    parts = build_imaging(settings, lambda reason: outcome.halted(reason))
    serve_metrics(parts.metrics, "imaging_metrics_port", settings, dict)
    log.info("imaging starts", kafka=settings.kafka, group=settings.imaging_group, pid=os.getpid())
    carried(parts.app, loop, outcome, lambda runner: _leave(runner, parts))
    log.info("imaging ends", code=outcome.code)
    sys.stderr.flush()
    os._exit(outcome.code)  # Faust's consumer thread may still be joining the group and would hold the process


async def _leave(runner: Any, parts: Imaging) -> None:
    parts.shell.rest()
    await runner.stop()
    await parts.reader.close()


if __name__ == "__main__":
    sys.exit(main())
