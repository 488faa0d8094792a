"""The worker's composition root: the only place where Faust, the shells and the core are put together."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import faust
import structlog

from contracts.settings import Settings
from contracts.topology import ALERT_ACTIONS, VITALS, Topic
from models.registry import Registry, own_folder
from models.vitals.engine import VitalsModels
from models.ward.core import WardCore
from models.ward.policy import load_policy
from streams.agents.actions import ActionsShell
from streams.agents.clock import Clock
from streams.agents.vitals import VitalsShell
from streams.backfill import BackFill
from streams.counsel import ModelThread, teller
from streams.logreader import LogReader
from streams.metrics import WorkerMetrics
from streams.outbox import Outbox
from streams.pulse import Pulse
from streams.quiet import Quiet
from streams.snapshots import Snapshots
from streams.wardlog import Core, LogRecord

log = structlog.get_logger(__name__)

LINGER_S: Final = 0.002
RECORD_MAX: Final = 16 * 1024 * 1024
FETCH_MAX: Final = 4 * 1024 * 1024

Handler = Callable[[LogRecord], Awaitable[None]]


@dataclass(frozen=True)
class Worker:
    """What a worker is made of; ``app`` carries the rest."""

    app: Any
    vitals: VitalsShell
    actions: ActionsShell
    clock: Clock
    outbox: Outbox
    reader: LogReader
    pulse: Pulse
    metrics: WorkerMetrics
    models: ModelThread | None


def build_app(settings: Settings, halt: Callable[[str], None] | None = None) -> faust.App:
    """The Faust app of the vitals worker under these settings. Raises Misconfigured for a bad policy file."""
    return build_worker(settings, halt).app


def build_worker(settings: Settings, halt: Callable[[str], None] | None = None, core: Core | None = None) -> Worker:
    """The app and its parts; ``halt`` is called with a reason when the worker must not go on (default: crash)."""
    app = faust_app(settings, settings.worker_group, settings.worker_metrics_port)

    def crash(reason: str) -> None:
        log.critical("worker stops", reason=reason)
        app.loop.create_task(app.crash(RuntimeError(reason)))

    stop = halt or crash
    core = WardCore(load_policy(settings.policy)) if core is None else core
    metrics, pulse = WorkerMetrics(), Pulse()
    models = model_thread(settings, metrics)
    outbox, reader = Outbox(lambda: app.producer, stop), LogReader(settings.kafka)
    snapshots = Snapshots(core, outbox, reader)
    backfill = BackFill(core, outbox, LogReader(settings.kafka), metrics)
    vitals = VitalsShell(core, outbox, snapshots, reader, metrics, stop, settings.poison_limit, models, backfill)
    actions = ActionsShell(outbox, metrics, stop)
    clock = Clock(outbox, lambda: vitals.owned, pulse, champions=tuple if models is None else models.champions)
    attach(app, VITALS, "vitals", vitals.handle)
    attach(app, ALERT_ACTIONS, "actions", actions.handle)
    _follow_assignment(app, vitals, pulse)

    async def tick() -> None:
        await clock.run(settings.tick_every_s)

    async def cut() -> None:
        await vitals.keep_cutting(settings.snapshot_every_s)

    async def beat() -> None:
        await pulse.keep_beating()

    async def fill() -> None:
        await backfill.keep_filling()

    for task in (beat, tick, cut, fill):
        app.task(task)
    if models is not None:
        _follow_registry(app, models)
    return Worker(app, vitals, actions, clock, outbox, reader, pulse, metrics, models)


def model_thread(settings: Settings, metrics: WorkerMetrics) -> ModelThread | None:
    """The models under these settings, their champions loaded; None when they are switched off."""
    if not settings.models_enabled:
        return None
    models = ModelThread(VitalsModels(Registry(own_folder(settings)), teller(metrics)), metrics)
    models.refresh()
    return models


def _follow_registry(app: Any, models: ModelThread) -> None:
    async def follow() -> None:
        await models.keep_current()

    app.task(follow)


def faust_app(settings: Settings, group: str, place: int) -> Any:
    """Faust at least once, without its web server, tables, leader topic or topic creation.

    ``place`` names this member of the group across restarts (its metrics port); 0 where two could share it.
    """
    return faust.App(
        group,
        broker=[f"kafka://{address}" for address in settings.kafka.split(",")],
        autodiscover=False,
        Monitor=Quiet,
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        datadir=settings.state_dir or tempfile.gettempdir(),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
        broker_commit_interval=0.5,
        broker_rebalance_timeout=15.0,
        broker_request_timeout=30.0,
        broker_check_crcs=True,
        consumer_max_fetch_size=FETCH_MAX,
        consumer_auto_offset_reset="earliest",
        # a name that outlives the process: a restarted worker takes over at once instead of waiting for the session of
        # its dead self to end
        consumer_group_instance_id=f"{group}-{platform.node()}-{place}" if place else None,
        stream_wait_empty=False,
        stream_buffer_maxsize=1024,
        producer_acks=-1,
        producer_linger=LINGER_S,
        producer_compression_type="zstd",  # aiokafka runs lz4 at its slowest level: three times the CPU, larger
        producer_max_batch_size=256 * 1024,
        producer_max_request_size=RECORD_MAX,
    )


def attach(app: Any, topic: Topic[Any], name: str, handle: Handler) -> None:
    """Bytes of a topic to a handler that never raises."""

    async def agent(stream: Any) -> AsyncIterable[None]:
        async for value in stream:
            message = stream.current_event.message
            await handle(
                LogRecord(
                    topic.name,
                    message.partition,
                    message.offset,
                    round(message.timestamp * 1000),
                    message.key,
                    value,
                )
            )
            yield

    channel = app.topic(topic.name, key_type=bytes, value_type=bytes, internal=False)
    app.agent(channel, name=name)(agent)


def _follow_assignment(app: Any, vitals: VitalsShell, pulse: Pulse) -> None:
    def ours(tps: Any) -> list[int]:
        return [tp.partition for tp in tps if tp.topic == VITALS.name]

    async def revoked(sender: Any, tps: Any, **_: Any) -> None:
        vitals.revoked(ours(tps))
        pulse.waiting_for_group()

    async def assigned(sender: Any, tps: Any, **_: Any) -> None:
        vitals.assigned(ours(tps))
        pulse.assigned()
        log.info("partitions assigned", partitions=sorted(vitals.owned))

    # Faust keeps weak references to receivers unless told otherwise
    app.on_partitions_revoked.connect(revoked, weak=False)
    app.on_partitions_assigned.connect(assigned, weak=False)
