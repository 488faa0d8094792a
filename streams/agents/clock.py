"""The clock agent: once a second one tick into each owned partition of patient_vitals, so that silence has a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from contracts import codec
from contracts.errors import Transient
from contracts.records import SCHEMA_VERSION, ModelRef, VitalsFrame
from contracts.topology import CLOCK_KEY, VITALS
from streams.outbox import Outbox
from streams.pulse import Pulse

log = structlog.get_logger(__name__)

LANE: Final = "clock"
SLOTS: Final = VITALS.partitions


class Clock:
    """Writes the ticks, each with the models that are ``champions`` at its moment.

    A partition whose last tick is not acknowledged yet gets no second one: after an outage of the broker there is one
    late tick, not a burst.
    """

    def __init__(
        self,
        outbox: Outbox,
        owned: Callable[[], frozenset[int]],
        pulse: Pulse,
        wall: Callable[[], float] = time.time,
        champions: Callable[[], tuple[ModelRef, ...]] = tuple,
    ) -> None:
        self._outbox = outbox
        self._owned = owned
        self._pulse = pulse
        self._wall = wall
        self._champions = champions
        self._waiting: set[int] = set()
        self._count = 0
        self._resting = False

    async def tick(self, slot: int | None = None) -> int:
        """One tick to each owned partition of that slot (all of them without one) that has none on its way; how many
        were sent."""
        self._count += 1
        frame = VitalsFrame(
            version=SCHEMA_VERSION,
            ward=CLOCK_KEY,
            gateway=CLOCK_KEY,
            seq=self._count,
            at_ms=int(self._wall() * 1000),
            models=self._champions(),
        )
        value = codec.encode(frame)
        due = sorted(p for p in self._owned() - self._waiting if slot is None or p % SLOTS == slot)
        for partition in due:
            self._waiting.add(partition)
            await self._outbox.put(LANE, VITALS.name, CLOCK_KEY.encode(), value, partition, self._acked)
        return len(due)

    def rest(self) -> None:
        """No more ticks: the worker is leaving."""
        self._resting = True

    def _acked(self, metadata: Any) -> None:
        self._waiting.discard(metadata.partition)
        self._pulse.appended(metadata.partition, metadata.offset)

    async def run(self, every_s: float) -> None:
        """Tick until told to rest; a late round is not made up for.

        Each partition has a moment of its own within ``every_s``, so that not all of them want the models at once.
        """
        loop = asyncio.get_running_loop()
        due, slot = loop.time(), 0
        while not self._resting:
            try:
                await self.tick(slot)
            except Transient as failure:
                log.error("the clock cannot write", failure=str(failure))
                return
            slot = (slot + 1) % SLOTS
            due = max(due + every_s / SLOTS, loop.time())
            await asyncio.sleep(due - loop.time())
