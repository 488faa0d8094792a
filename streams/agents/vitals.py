"""The vitals agent: every record of the owned partitions of patient_vitals, once and in order, through the core.

Faust brings records; what it skips, repeats or brings late is set right here by offset (``streams.sequence``), and
after a restart the state comes from the last cut and the log. Outputs are pipelined: a record counts as done once
everything it led to is acknowledged, and that is what a cut (``streams.snapshots``) and Faust's commit wait for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

import structlog

from contracts.errors import Transient
from contracts.topology import SCORES, VITALS
from streams.counsel import Counsel, Outspoken
from streams.logreader import LogReader
from streams.metrics import WorkerMetrics
from streams.outbox import Outbox
from streams.outgoing import outgoing
from streams.sequence import Verdict
from streams.snapshots import Snapshots
from streams.wardlog import Core, Effects, LogRecord, Newcomer, WardLog

log = structlog.get_logger(__name__)

PATIENCE_S: Final = (0.1, 2.0)
Halt = Callable[[str], None]


class Arrivals(Protocol):
    """Who wants to hear of newcomers (``streams.backfill``)."""

    def admitted(self, newcomers: Iterable[Newcomer]) -> None: ...
    def told(self, of: Iterable[tuple[str, str]]) -> None: ...


class VitalsShell:
    """State and outputs of the owned partitions. Only ``handle`` changes a partition's state, one record at a time."""

    def __init__(
        self,
        core: Core,
        outbox: Outbox,
        snapshots: Snapshots,
        reader: LogReader,
        metrics: WorkerMetrics,
        halt: Halt,
        poison_limit: int,
        counsel: Counsel | None = None,
        arrivals: Arrivals | None = None,
    ) -> None:
        self.logs: dict[int, WardLog] = {}
        self.owned: frozenset[int] = frozenset()
        self._parked: dict[int, WardLog] = {}
        self._core = core
        self._outbox = outbox
        self._snapshots = snapshots
        self._reader = reader
        self._metrics = metrics
        self._halt = halt
        self._poison_limit = poison_limit
        self._counsel = counsel
        self._arrivals = arrivals
        self._outspoken = Outspoken(metrics)
        self._poison_run = 0
        self._halted = False

    # -- ownership -----------------------------------------------------------------------------------------------------

    def revoked(self, partitions: Iterable[int]) -> None:
        """These partitions may be another worker's from now on. Their state is set aside until the next assignment:
        it is a function of the log alone, so it still holds if they come straight back."""
        for partition in partitions:
            wards = self.logs.pop(partition, None)
            if wards is not None:
                self._parked[partition] = wards
        self.owned = self.owned - frozenset(partitions)

    def assigned(self, partitions: Iterable[int]) -> None:
        """These partitions, and no others, are ours."""
        self.owned = frozenset(partitions)
        for partition in self.logs.keys() - self.owned:
            self._parked[partition] = self.logs.pop(partition)
        parked, self._parked = self._parked, {}
        for partition, wards in parked.items():
            if partition in self.owned:
                self.logs.setdefault(partition, wards)
            else:
                self._snapshots.forget(partition)

    # -- records -------------------------------------------------------------------------------------------------------

    async def handle(self, record: LogRecord) -> None:
        """Take a delivered record, and before it whatever was not delivered. Never raises but when cancelled."""
        try:
            if not self._halted:
                await self._handle(record)
        except Exception as fault:  # the guard of the agent: Faust would drop the record and go on
            self.stop(f"record {record.partition}/{record.offset} cannot be processed: {fault!r}")
        if self._halted:
            await asyncio.Event().wait()  # nothing may be acknowledged any more; the worker is being stopped

    def stop(self, reason: str) -> None:
        """Take nothing more and ask the worker to end, loudly."""
        if not self._halted:
            self._halted = True
            self._halt(reason)

    def rest(self) -> None:
        """Take nothing more and cut nothing more: the worker is leaving in good order."""
        self._halted = True

    async def _handle(self, record: LogRecord) -> None:
        partition = record.partition
        wards = self.logs.get(partition)
        if wards is None:
            if partition not in self.owned:
                return
            await self._restore()
            wards = self.logs.get(partition)
            if wards is None:
                return
        verdict = wards.sequence.judge(record.offset)
        if verdict is Verdict.SEEN:
            self._metrics.redelivered.inc()
            return
        if verdict is Verdict.GAP:
            await self._catch_up(wards, record.offset)
            if wards.sequence.judge(record.offset) is not Verdict.NEXT:
                return  # taken away meanwhile
        await self._take(wards, record)

    async def _restore(self) -> None:
        """Load every owned partition that has no state yet, trying again while the broker is away."""
        started = time.monotonic()
        for partition in sorted(self.owned - self.logs.keys()):
            restored = await self._patiently(partial(self._load, partition))
            if partition in self.owned:
                self.logs[partition] = WardLog(
                    partition,
                    self._core,
                    restored.start,
                    restored.wards,
                    restored.own,
                    VITALS.partitions,
                    self._counsel,
                )
        log.info("state restored", partitions=len(self.logs), seconds=round(time.monotonic() - started, 3))

    async def _load(self, partition: int) -> Any:
        bounds = await self._reader.bounds(VITALS.name, [partition])
        return await self._snapshots.load(partition, bounds[partition][0])

    async def _catch_up(self, wards: WardLog, stop: int) -> None:
        """Read [expected, stop) from the log itself."""
        first = wards.sequence.expected
        await self._patiently(partial(self._reread, wards, stop))
        if self.logs.get(wards.partition) is wards:
            wards.sequence.pass_over(stop)
            log.info("gap read from the log", partition=wards.partition, start=first, stop=stop)

    async def _reread(self, wards: WardLog, stop: int) -> None:
        async for records in self._reader.span(VITALS.name, wards.partition, wards.sequence.expected, stop):
            for record in records:
                if self.logs.get(wards.partition) is not wards or self._halted:
                    return
                if record.offset >= wards.sequence.expected:
                    self._metrics.gap_records.inc()
                    await self._take(wards, record)

    async def _patiently(self, attempt: Callable[[], Any]) -> Any:
        from aiokafka.errors import KafkaError

        pause, longest = PATIENCE_S
        while True:
            try:
                return await attempt()
            except (KafkaError, OSError) as failure:
                log.warning("waiting for the broker", failure=repr(failure))
                await self._reader.close()
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)

    async def _take(self, wards: WardLog, record: LogRecord) -> None:
        metrics = self._metrics
        began = time.perf_counter()
        async with wards.lock:
            effects = await wards.take(record)
            metrics.step_seconds.observe(time.perf_counter() - began)
            await self._send(record, effects)
        metrics.frames.labels(effects.kind).inc()
        for asked_s in effects.asked_s:
            metrics.model_seconds.observe(asked_s)
        if self._arrivals is not None and (effects.newcomers or effects.told_of):
            self._arrivals.admitted(effects.newcomers)
            self._arrivals.told(effects.told_of)
        if effects.kind == "poison":
            self._poison_run += 1
            if self._poison_run >= self._poison_limit:
                await self._outbox.drained()
                self.stop(f"{self._poison_run} unreadable records in a row: this is not a few bad devices")
        elif effects.kind != "tick":
            self._poison_run = 0

    async def _send(self, record: LogRecord, effects: Effects) -> None:
        self._count(record, effects)
        at_s = record.at_ms / 1000

        def on_time(_: Any) -> None:
            self._metrics.log_delay_seconds.observe(max(0.0, time.time() - at_s))

        for out in outgoing(record, effects):
            acked = on_time if out.topic is SCORES else None
            await self._outbox.put(record.partition, out.topic.name, out.key, out.value, out.partition, acked)

    def _count(self, record: LogRecord, effects: Effects) -> None:
        metrics = self._metrics
        for letter in effects.letters:
            log.warning(
                "record set aside",
                reason=letter.reason,
                field=letter.field,
                partition=record.partition,
                offset=record.offset,
            )
            metrics.dead_letters.labels(letter.reason).inc()
        for transition in effects.transitions:
            metrics.transitions.labels(transition.event, transition.priority, transition.category).inc()
        if effects.readings:
            metrics.readings.labels("all").inc(effects.readings)
            metrics.readings.labels("late").inc(effects.late)
            metrics.readings.labels("duplicate").inc(effects.duplicates)
        for forecast in effects.forecasts:
            self._outspoken.forecast(forecast)
        for scores in effects.scores:
            metrics.scores.inc(len(scores.beds))
            if scores.outlooks:
                self._outspoken.scores(scores)

    # -- cuts ----------------------------------------------------------------------------------------------------------

    async def cut(self, partition: int) -> int | None:
        """Write a cut of the partition; the ward records in it, None without state or when it failed."""
        wards = self.logs.get(partition)
        if wards is None:
            return None
        began = time.perf_counter()
        try:
            written = await self._snapshots.write(wards)
        except Transient as failure:
            log.error("cut given up", partition=partition, failure=str(failure))
            return None
        self._metrics.snapshot_seconds.observe(time.perf_counter() - began)
        self._metrics.next_offset.labels(str(partition)).set(wards.sequence.expected)
        packed = sum(self._snapshots.sizes.get(ward, 0) for ward in wards.wards)
        self._metrics.snapshot_bytes.labels(str(partition)).set(packed)
        return written

    async def keep_cutting(self, every_s: float) -> None:
        """Cut the owned partitions one after another, evenly over ``every_s``, for ever."""
        while True:
            round_began = time.monotonic()
            partitions = sorted(self.logs)
            for i, partition in enumerate(partitions):
                if not self._halted:
                    await self.cut(partition)
                due = round_began + every_s * (i + 1) / len(partitions)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            if not partitions:
                await asyncio.sleep(every_s)
