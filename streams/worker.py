"""The vitals worker: ``python -m streams.worker``. Settings come from WARD_* variables.

Exit codes: 0 after SIGTERM or SIGINT, 1 when it must not or cannot go on (the supervisor starts it again), 2 for a
wrong setting, 4 when no broker answers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from typing import Any, Final

import structlog

from contracts.settings import Settings
from contracts.topology import ALERT_ACTIONS, ALERTS, DEAD_LETTERS, FORECASTS, SCORES, SNAPSHOTS, VITALS
from streams.running import Outcome, carried, entered, serve_metrics

log = structlog.get_logger(__name__)

SWITCH_S: Final = 0.001
"""How long the models' thread may keep the interpreter from the event loop, which needs it many times a frame."""
NEEDED: Final = (VITALS, ALERT_ACTIONS, ALERTS, SCORES, FORECASTS, DEAD_LETTERS, SNAPSHOTS)


def main() -> int:
    """Run until told to stop; the exit code."""
    return entered("worker", lambda: Settings.from_env(os.environ), NEEDED, run)


def run(settings: Settings) -> int:
    """The Faust worker on an event loop of its own, with the watchdog beside it."""
    from streams.app import build_worker
    from streams.pulse import watch

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    outcome = Outcome()
    parts = build_worker(settings, halt=lambda reason: outcome.halted(reason))
    health = dict if parts.models is None else parts.models.health
    serve_metrics(parts.metrics, "worker_metrics_port", settings, health)
    stopped = threading.Event()
    watch(
        parts.pulse,
        lambda: {p: (w.sequence.expected, w.took_at) for p, w in tuple(parts.vitals.logs.items())},
        settings.kafka,
        stopped,
    )
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    log.info("worker starts", kafka=settings.kafka, group=settings.worker_group, pid=os.getpid())
    try:
        carried(parts.app, loop, outcome, lambda runner: _leave(runner, parts, outcome.code == 0))
    finally:
        stopped.set()
    log.info("worker ends", code=outcome.code)
    sys.stderr.flush()
    os._exit(outcome.code)  # Faust's consumer thread may still be joining the group and would hold the process


async def _leave(runner: Any, parts: Any, orderly: bool) -> None:
    """Leave the state where the next worker finds it, then the group."""
    if orderly:
        for partition in sorted(parts.vitals.logs):
            await parts.vitals.cut(partition)
    parts.vitals.rest()
    parts.clock.rest()
    await runner.stop()
    await parts.reader.close()


if __name__ == "__main__":
    sys.exit(main())
