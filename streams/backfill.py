"""Newcomers whose past is known elsewhere: looked for in the wards' snapshots, told to their new ward's log.

A patient who is moved to another ward, or back into one that has forgotten them, comes with what the last ward knew of
them. It is a frame like any other, so that replays see it too; the core fills only what it does not know, so that
telling it twice, or beside what a producer tells, changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog

from contracts import codec
from contracts.errors import Poison, Transient
from contracts.records import SCHEMA_VERSION, PastVitals, PatientFacts, VitalsFrame, WardSnapshot
from contracts.topology import SNAPSHOTS, VITALS, partition_for
from streams.logreader import LogReader
from streams.metrics import WorkerMetrics
from streams.outbox import Outbox
from streams.snapshots import CUT_KEY, unpacked
from streams.wardlog import Core, LogRecord, Newcomer

log = structlog.get_logger(__name__)

LANE: Final = "backfill"
GATEWAY: Final = "~backfill"
ORIGIN: Final = "topic"
GATHER_S: Final = 2.0
"""Newcomers are gathered for so long before one search is made for all of them: wards are often opened whole."""
SEARCH_S: Final = 20.0
"""A search that takes longer is given up; what it found by then is told."""
PATIENTS_A_FRAME: Final = 20
NAMED_AT_MOST: Final = 50
"""For so few, a state is searched for their names before it is decoded."""
REMEMBERED: Final = 20_000
WAITING_MAX: Final = 20_000

Known = tuple[tuple[PastVitals, ...], tuple[PatientFacts, ...]]


class BackFill:
    """Searches for the past of newcomers, off the hot path."""

    def __init__(
        self,
        core: Core,
        outbox: Outbox,
        reader: LogReader,
        metrics: WorkerMetrics,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._core = core
        self._outbox = outbox
        self._reader = reader
        self._metrics = metrics
        self._wall = wall
        self._waiting: dict[tuple[str, str], Newcomer] = {}
        self._arrived = asyncio.Event()
        self._seen: OrderedDict[Newcomer, None] = OrderedDict()

    def admitted(self, newcomers: Iterable[Newcomer]) -> None:
        """These came; each is searched for once as long as this worker lives."""
        for newcomer in newcomers:
            if newcomer not in self._seen and len(self._waiting) < WAITING_MAX:
                self._seen[newcomer] = None
                self._waiting[newcomer.ward, newcomer.patient] = newcomer
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        if self._waiting:
            self._arrived.set()

    def told(self, of: Iterable[tuple[str, str]]) -> None:
        """Somebody else told a (ward, patient) of their past: it need not be searched for."""
        for one in of:
            self._waiting.pop(one, None)

    async def keep_filling(self, gather_s: float = GATHER_S) -> None:
        """Serve newcomers for ever."""
        from aiokafka.errors import KafkaError

        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await asyncio.sleep(gather_s)
            waiting, self._waiting = [*self._waiting.values()], {}
            try:
                if waiting:
                    await self.fill(waiting)
            except (KafkaError, OSError, Transient) as failure:
                log.warning("no past for newcomers", patients=len(waiting), failure=repr(failure))
                self._metrics.backfills.labels("failed").inc(len(waiting))
            finally:
                await self._reader.close()

    async def fill(self, newcomers: Iterable[Newcomer]) -> int:
        """Look for them and tell their wards; how many were found."""
        wanted = {one.patient: one for one in newcomers}
        began = time.monotonic()
        found = await self._search(wanted)
        by_ward: dict[str, list[Known]] = {}
        for patient, known in found.items():
            by_ward.setdefault(wanted[patient].ward, []).append(known)
        for ward, every in sorted(by_ward.items()):
            for first in range(0, len(every), PATIENTS_A_FRAME):
                await self._tell(ward, every[first : first + PATIENTS_A_FRAME])
        self._metrics.backfills.labels("found").inc(len(found))
        self._metrics.backfills.labels("unknown").inc(len(wanted) - len(found))
        log.info(
            "newcomers looked for",
            patients=len(wanted),
            found=len(found),
            seconds=round(time.monotonic() - began, 2),
        )
        return len(found)

    async def _tell(self, ward: str, known: list[Known]) -> None:
        frame = VitalsFrame(
            version=SCHEMA_VERSION,
            ward=ward,
            gateway=GATEWAY,
            seq=0,
            at_ms=int(self._wall() * 1000),
            past=tuple(past for pasts, _ in known for past in pasts),
            facts=tuple(fact for _, facts in known for fact in facts),
        )
        partition = partition_for(ward, VITALS.partitions)
        await self._outbox.put(LANE, VITALS.name, ward.encode(), codec.encode(frame), partition)

    async def _search(self, wanted: Mapping[str, Newcomer]) -> dict[str, Known]:
        """What the newest snapshots that hold them know; of a patient in several wards, the newest one counts."""
        names = {patient.encode(): patient for patient in wanted}
        newest: dict[str, tuple[int, Known]] = {}
        give_up = time.monotonic() + SEARCH_S
        bounds = await self._reader.bounds(SNAPSHOTS.name, range(SNAPSHOTS.partitions))
        for partition, (first, end) in sorted(bounds.items()):
            if first >= end:
                continue
            latest: dict[bytes, LogRecord] = {}
            async for records in self._reader.span(SNAPSHOTS.name, partition, first, end):
                latest.update({r.key: r for r in records if r.key is not None and r.key != CUT_KEY.encode()})
                if time.monotonic() > give_up:
                    break
            for record in latest.values():
                held = await asyncio.to_thread(self._held, record, names, wanted)
                for patient, at_ms, known in held:
                    if patient not in newest or newest[patient][0] < at_ms:
                        newest[patient] = (at_ms, known)
            if time.monotonic() > give_up:
                log.warning("search for newcomers given up", seconds=SEARCH_S, partition=partition)
                break
        return {patient: known for patient, (_, known) in newest.items()}

    def _held(
        self, record: LogRecord, names: Mapping[bytes, str], wanted: Mapping[str, Newcomer]
    ) -> list[tuple[str, int, Known]]:
        """Who of them stands in one snapshot; runs beside the event loop, and decodes only states that name one."""
        try:
            snapshot = codec.decode(record.value, WardSnapshot)
            raw = unpacked(snapshot.state)
            few = len(names) <= NAMED_AT_MOST
            patients = [p for name, p in names.items() if wanted[p].ward != snapshot.ward and (not few or name in raw)]
            state: Any = self._core.load(raw) if patients else None
        except Poison as damage:
            log.warning("snapshot passed over", partition=record.partition, damage=str(damage))
            return []
        found = []
        for patient in patients:
            past, facts = self._core.past_of(state, patient, wanted[patient].bed, ORIGIN)
            if past or facts:
                found.append((patient, snapshot.at_ms, (past, facts)))
        return found
