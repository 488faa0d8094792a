"""The actions agent: what people did, checked and put into the log of their ward, where the core sees it in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from contracts import codec
from contracts.codec import EARLIEST_MS, LATEST_MS
from contracts.errors import Poison
from contracts.records import SCHEMA_VERSION, AlertAction, VitalsFrame
from contracts.topology import CLOCK_KEY, DEAD_LETTERS, VITALS, partition_for
from streams.metrics import WorkerMetrics
from streams.outbox import Outbox
from streams.wardlog import LogRecord, dead_letter

log = structlog.get_logger(__name__)

GATEWAY: Final = "~actions"
LANE: Final = "actions"
NAME_MAX: Final = 128
TEXT_MAX: Final = 2_000


def frame_of(record: LogRecord) -> VitalsFrame:
    """The record's action as a frame for its ward's log. Raises Poison when it cannot be used.

    The same record gives the same frame, and the core applies an ``action_id`` once, so forwarding twice is harmless.
    """
    action = codec.decode(record.value, AlertAction)
    for field in ("action_id", "ward", "bed", "actor"):
        name = getattr(action, field)
        if not 1 <= len(name) <= NAME_MAX or not name.isprintable():
            raise Poison("bad_name", f"{field} must have 1 to {NAME_MAX} printable characters", f"$.{field}")
    if action.ward == CLOCK_KEY:
        raise Poison("reserved_ward", f"{CLOCK_KEY} names the clock", "$.ward")
    if not EARLIEST_MS <= action.at_ms <= LATEST_MS:
        raise Poison("bad_time", f"{action.at_ms} is not a time in ms between 1990 and 2100", "$.at_ms")
    if action.pause_s is not None and action.pause_s <= 0:
        raise Poison("bad_value", f"a pause of {action.pause_s} s", "$.pause_s")
    if action.text is not None and len(action.text) > TEXT_MAX:
        raise Poison("too_large", f"text of {len(action.text)} characters; at most {TEXT_MAX}", "$.text")
    return VitalsFrame(
        version=SCHEMA_VERSION,
        ward=action.ward,
        gateway=GATEWAY,
        seq=record.offset,
        at_ms=action.at_ms,
        actions=(action,),
    )


class ActionsShell:
    """Forwards actions; an action counts as handled when its frame, or its dead letter, is acknowledged."""

    def __init__(self, outbox: Outbox, metrics: WorkerMetrics, halt: Callable[[str], None]) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._halt = halt

    async def handle(self, record: LogRecord) -> None:
        """Take one record of alert_actions. Never raises but when cancelled."""
        try:
            await self._handle(record)
        except Exception as fault:  # the guard of the agent: Faust would drop the action and go on
            self._halt(f"action {record.partition}/{record.offset} cannot be forwarded: {fault!r}")
            await asyncio.Event().wait()

    async def _handle(self, record: LogRecord) -> None:
        try:
            frame = frame_of(record)
        except Poison as poison:
            log.warning("action set aside", reason=poison.reason, field=poison.field, offset=record.offset)
            self._metrics.dead_letters.labels(poison.reason).inc()
            letter = dead_letter(record, poison)
            await self._outbox.put(LANE, DEAD_LETTERS.name, record.topic.encode(), codec.encode(letter))
        else:
            partition = partition_for(frame.ward, VITALS.partitions)
            await self._outbox.put(LANE, VITALS.name, frame.ward.encode(), codec.encode(frame), partition)
        await self._outbox.settled(LANE)
