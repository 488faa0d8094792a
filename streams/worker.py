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

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from contracts.topology import ALERT_ACTIONS, ALERTS, DEAD_LETTERS, FORECASTS, SCORES, SNAPSHOTS, VITALS
from streams.logs import set_up
from streams.running import Outcome, check_topics, serve_metrics, until_stopped

log = structlog.get_logger(__name__)

LEAVE_S: Final = 6.0
"""Faust may still be joining its group and not listen to a stop; all that matters is in the log by then."""
SWITCH_S: Final = 0.001
"""How long the models' thread may keep the interpreter from the event loop, which needs it many times a frame."""
NEEDED: Final = (VITALS, ALERT_ACTIONS, ALERTS, SCORES, FORECASTS, DEAD_LETTERS, SNAPSHOTS)


def main() -> int:
    """Run until told to stop; the exit code."""
    try:
        settings = Settings.from_env(os.environ)
        set_up(settings.log_level, settings.log_format)
        asyncio.run(check_topics(settings.kafka, NEEDED))
        return run(settings)
    except Misconfigured as wrong:
        print(f"ward worker: {wrong}", file=sys.stderr)
        return 2
    except Transient as away:
        print(f"ward worker: {away}", file=sys.stderr)
        return 4


def run(settings: Settings) -> int:
    """The Faust worker on an event loop of its own, with the watchdog beside it."""
    import faust

    from streams.app import build_worker
    from streams.pulse import watch

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    outcome = Outcome()
    parts = build_worker(settings, halt=lambda reason: outcome.halted(reason))
    health = dict if parts.models is None else parts.models.health
    serve_metrics(parts.metrics, "worker_metrics_port", settings, health)
    runner = faust.Worker(parts.app, loop=loop, quiet=True, override_logging=False)
    runner.spinner = None
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
        loop.run_until_complete(until_stopped(runner, outcome))
        loop.run_until_complete(asyncio.wait_for(_leave(runner, parts, outcome.code == 0), LEAVE_S))
    except TimeoutError:
        log.warning("left without waiting any longer", seconds=LEAVE_S)
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
