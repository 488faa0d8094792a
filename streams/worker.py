"""The vitals worker: ``python -m streams.worker``. Settings come from WARD_* variables.

Exit codes: 0 after SIGTERM or SIGINT, 1 when it must not or cannot go on (the supervisor starts it again), 2 for a
wrong setting, 4 when no broker answers.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from typing import Any, Final

import structlog

from contracts.errors import Misconfigured, Transient
from contracts.settings import Settings
from contracts.topology import ALERT_ACTIONS, ALERTS, DEAD_LETTERS, FORECASTS, SCORES, SNAPSHOTS, VITALS
from streams.logs import set_up

log = structlog.get_logger(__name__)

LEAVE_S: Final = 6.0
"""Faust may still be joining its group and not listen to a stop; all that matters is in the log by then."""
BROKER_S: Final = 15.0
SWITCH_S: Final = 0.001
"""How long the models' thread may keep the interpreter from the event loop, which needs it many times a frame."""
NEEDED: Final = (VITALS, ALERT_ACTIONS, ALERTS, SCORES, FORECASTS, DEAD_LETTERS, SNAPSHOTS)


def main() -> int:
    """Run until told to stop; the exit code."""
    try:
        settings = Settings.from_env(os.environ)
        set_up(settings.log_level, settings.log_format)
        asyncio.run(check_topics(settings.kafka))
        return run(settings)
    except Misconfigured as wrong:
        print(f"ward worker: {wrong}", file=sys.stderr)
        return 2
    except Transient as away:
        print(f"ward worker: {away}", file=sys.stderr)
        return 4


async def check_topics(bootstrap: str) -> None:
    """Wait for the broker and see that the topics are there with as many partitions as the topology says.

    Raises Misconfigured when they are not, Transient when no broker answers for a quarter of a minute.
    """
    from aiokafka import AIOKafkaClient
    from aiokafka.errors import KafkaError

    give_up = time.monotonic() + BROKER_S
    while True:
        client = AIOKafkaClient(bootstrap_servers=bootstrap)
        try:
            await client.bootstrap()
            for topic in NEEDED:
                client.add_topic(topic.name)
            await client.force_metadata_update()
            for topic in NEEDED:
                found = len(client.cluster.partitions_for_topic(topic.name) or ())
                if found == 0:
                    raise Misconfigured(f"no topic {topic.name} at {bootstrap}: make it with python -m infra.topics")
                if found != topic.partitions:
                    raise Misconfigured(
                        f"topic {topic.name} has {found} partitions, the topology says {topic.partitions}: "
                        "wards would move between them; replay into a fresh topic"
                    )
            return
        except (KafkaError, OSError) as failure:
            if time.monotonic() > give_up:
                raise Transient(f"no Kafka broker at {bootstrap}: {failure}; is it up?") from failure
            await asyncio.sleep(0.25)
        finally:
            await client.close()


def run(settings: Settings) -> int:
    """The Faust worker on an event loop of its own, with the watchdog beside it."""
    import faust

    from streams.app import build_worker
    from streams.pulse import watch

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    outcome = _Outcome()
    parts = build_worker(settings, halt=lambda reason: outcome.halted(reason))
    if settings.worker_metrics_port:
        try:
            health = dict if parts.models is None else parts.models.health
            parts.metrics.serve(settings.worker_metrics_port, health, settings.metrics_host)
        except OSError as taken:
            raise Misconfigured(
                f"WARD_WORKER_METRICS_PORT={settings.worker_metrics_port} cannot be used: {taken}"
            ) from taken
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
        loop.run_until_complete(_until_stopped(runner, outcome))
        loop.run_until_complete(asyncio.wait_for(_leave(runner, parts, outcome.code == 0), LEAVE_S))
    except TimeoutError:
        log.warning("left without waiting any longer", seconds=LEAVE_S)
    finally:
        stopped.set()
    log.info("worker ends", code=outcome.code)
    sys.stderr.flush()
    os._exit(outcome.code)  # Faust's consumer thread may still be joining the group and would hold the process


class _Outcome:
    """Why the worker ends."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.code = 0

    def halted(self, reason: str) -> None:
        """Something must not go on: leave with 1, unless already leaving."""
        if self.ending.is_set():
            return
        log.critical("worker stops", reason=reason)
        self.code = 1
        self.ending.set()

    def signalled(self, name: str) -> None:
        """Told to stop."""
        log.info("told to stop", signal=name)
        self.ending.set()


async def _until_stopped(runner: Any, outcome: _Outcome) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, outcome.signalled, number.name)
    runner.install_signal_handlers = lambda: None
    started = asyncio.ensure_future(runner.start())
    ending = asyncio.ensure_future(outcome.ending.wait())
    await asyncio.wait((started, ending), return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if started.done() and not outcome.ending.is_set():
        failure = started.exception() or runner.crash_reason
        log.critical("faust ended by itself", failure=repr(failure))
        outcome.code = 1


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
