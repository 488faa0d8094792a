"""What every worker process does around its work: wait for its topics, tell its metrics, end when told."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog

from contracts.errors import Misconfigured, Transient
from contracts.settings import PREFIX, Settings
from contracts.topology import Topic
from streams.logs import set_up
from streams.metrics import Exported

log = structlog.get_logger(__name__)

BROKER_S: Final = 15.0
LEAVE_S: Final = 6.0
"""Faust may still be joining its group and not listen to a stop; all that matters is in the log by then."""


def entered(
    name: str, settings: Callable[[], Settings], needed: Sequence[Topic[Any]], run: Callable[[Settings], int]
) -> int:
    """Run a program whose topics are there. Exit code: that of ``run``, 2 for a wrong setting, 4 without a broker."""
    try:
        found = settings()
        set_up(found.log_level, found.log_format)
        asyncio.run(check_topics(found.kafka, needed))
        return run(found)
    except Misconfigured as wrong:
        print(f"ward {name}: {wrong}", file=sys.stderr)
        return 2
    except Transient as away:
        print(f"ward {name}: {away}", file=sys.stderr)
        return 4


async def check_topics(bootstrap: str, needed: Sequence[Topic[Any]]) -> None:
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
            for topic in needed:
                client.add_topic(topic.name)
            await client.force_metadata_update()
            for topic in needed:
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


def serve_metrics(metrics: Exported, setting: str, settings: Settings, health: Callable[[], dict[str, Any]]) -> None:
    """Answer at the port of that setting, where there is one. Raises Misconfigured when it cannot be used."""
    port = getattr(settings, setting)
    if not port:
        return
    try:
        metrics.serve(port, health, settings.metrics_host)
    except OSError as taken:
        raise Misconfigured(f"{PREFIX}{setting.upper()}={port} cannot be used: {taken}") from taken


class Outcome:
    """Why a worker ends: with ``code``, once ``ending`` is set."""

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


def carried(
    app: Any, loop: asyncio.AbstractEventLoop, outcome: Outcome, leave: Callable[[Any], Coroutine[Any, Any, None]]
) -> None:
    """Run a Faust app until a signal, a halt, or its own end, and have it leave in good order if it does so in time."""
    import faust

    runner = faust.Worker(app, loop=loop, quiet=True, override_logging=False)
    runner.spinner = None
    try:
        loop.run_until_complete(until_stopped(runner, outcome))
        loop.run_until_complete(asyncio.wait_for(leave(runner), LEAVE_S))
    except TimeoutError:
        log.warning("left without waiting any longer", seconds=LEAVE_S)


async def until_stopped(runner: Any, outcome: Outcome) -> None:
    """Run a Faust worker until a signal, a halt, or its own end."""
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
