"""Snapshots of wards in the compacted topic ``ward_snapshots``, so that a restart resumes within seconds.

A *cut* of a partition is one record a ward (its state after every record below the cut's offset), acknowledged, and
then a marker under the key ``~cut`` that lists every ward with its offset. Only a marker makes a cut count:

- outputs of all records below a cut are acknowledged before its first record is written;
- a crash inside a cut leaves the old marker: reading starts at the old offset, and a ward whose newer record was
  already written skips what that record holds;
- a ward that appeared after the last marker has no record; its first frames lie above the marker's offset, so they are
  read again;
- a late writer (a worker that lost the partition and does not know yet) may overwrite a newer record by an older one:
  the marker's list shows it, and reading starts as early as that ward needs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog

from contracts import codec
from contracts.errors import Poison
from contracts.records import SCHEMA_VERSION, WardSnapshot
from contracts.topology import SNAPSHOTS
from streams.logreader import LogReader
from streams.outbox import Outbox
from streams.wardlog import Core, WardLog

log = structlog.get_logger(__name__)

CUT_KEY: Final = "~cut"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
TAIL: Final = 256
"""How many of the newest snapshot records are read first; fourfold until a whole cut is found."""


def _packed(state: bytes) -> bytes:
    """A bed's day of vitals is mostly air: a third is left of it, for a millisecond a ward."""
    from aiokafka.codec import zstd_encode

    packed: bytes = zstd_encode(state, 1)
    return packed


def unpacked(state: bytes) -> bytes:
    """The core's bytes in a snapshot's, which were not always packed. Raises Poison when they are damaged."""
    if not state.startswith(_ZSTD):
        return state
    from aiokafka.codec import zstd_decode

    try:
        whole: bytes = zstd_decode(state)
    except Exception as damage:  # the codec's own error has no name that it exports
        raise Poison("bad_snapshot", f"the state does not unpack: {damage}") from damage
    return whole


class _Listed(msgspec.Struct, frozen=True):
    """What a marker lists: next offset of each ward of the partition."""

    wards: dict[str, int]


@dataclass(frozen=True)
class Restored:
    """Where a partition goes on: from ``start``, with these states; ``own`` is each ward's own next offset."""

    start: int
    wards: dict[str, Any] = field(default_factory=dict)
    own: dict[str, int] = field(default_factory=dict)


class Snapshots:
    """Writes and finds cuts."""

    def __init__(self, core: Core, outbox: Outbox, reader: LogReader, clock: Callable[[], float] = time.time) -> None:
        self._core = core
        self._outbox = outbox
        self._reader = reader
        self._clock = clock
        self._written: dict[int, dict[str, tuple[Any, int]]] = {}
        self.sizes: dict[str, int] = {}
        """Bytes of each ward's newest snapshot."""

    async def write(self, wards: WardLog) -> int:
        """Write a cut of the partition as it is now; the number of ward records written.

        Wards unchanged since the last cut are only listed. Hands the event loop back between wards. Raises Transient
        when an output or a record of the cut was not acknowledged; the last marker then stays the valid one.
        """
        partition = wards.partition
        async with wards.lock:
            at, states = wards.sequence.expected, dict(wards.wards)
        before = self._written.get(partition, {})
        await self._outbox.settled(partition)
        written: dict[str, tuple[Any, int]] = {}
        lane = f"{SNAPSHOTS.name}-{partition}"
        records = 0
        for ward, state in states.items():
            last = before.get(ward)
            if last is not None and last[0] is state:
                written[ward] = last
                continue
            own = max(at, wards.own.get(ward, 0))
            packed = _packed(self._core.dump(state))
            await self._put(lane, partition, ward, own, packed)
            written[ward] = (state, own)
            self.sizes[ward] = len(packed)
            records += 1
            await asyncio.sleep(0)
        await self._outbox.settled(lane)
        listed = _Listed({ward: own for ward, (_, own) in written.items()})
        await self._put(lane, partition, CUT_KEY, at, msgspec.json.encode(listed))
        await self._outbox.settled(lane)
        self._written[partition] = written
        return records

    def forget(self, partition: int) -> None:
        """The partition is no longer ours: the next cut of it writes every ward."""
        self._written.pop(partition, None)

    async def _put(self, lane: str, partition: int, key: str, next_offset: int, state: bytes) -> None:
        record = WardSnapshot(
            version=SCHEMA_VERSION,
            ward=key,
            partition=partition,
            next_offset=next_offset,
            at_ms=int(self._clock() * 1000),
            state=state,
        )
        await self._outbox.put(lane, SNAPSHOTS.name, key.encode(), codec.encode(record), partition)

    async def load(self, partition: int, log_start: int) -> Restored:
        """The last complete cut of the partition; ``log_start`` is the first offset that the log still holds.

        Without a cut, or where one cannot be read, the log is read from its start: for the damaged ward alone, or for
        all when the marker is damaged or a listed ward is missing. Raises KafkaError when the broker is away.
        """
        newest = await self._newest(partition)
        marker = newest.pop(CUT_KEY, None)
        if marker is None:
            if newest:
                log.warning("no complete cut; the log is read from its start", partition=partition, start=log_start)
            return Restored(log_start)
        try:
            cut = codec.decode(marker, WardSnapshot)
            listed = msgspec.json.decode(cut.state, type=_Listed).wards
        except (Poison, msgspec.MsgspecError) as damage:
            log.error("cut refused; the log is read from its start", partition=partition, damage=str(damage))
            return Restored(log_start)
        states: dict[str, Any] = {}
        own: dict[str, int] = {}
        start = cut.next_offset
        for ward in listed.keys() | newest.keys():
            try:
                state, next_offset = self._state(newest.get(ward), ward)
            except Poison as damage:
                if ward not in listed:
                    continue  # written after the marker: its frames are read again anyway
                log.error(
                    "snapshot refused; the ward is rebuilt from the log's start",
                    ward=ward,
                    partition=partition,
                    damage=str(damage),
                )
                start = min(start, log_start)
                continue
            states[ward] = state
            own[ward] = max(next_offset, cut.next_offset) if next_offset == listed.get(ward) else next_offset
            start = min(start, own[ward])
        if start < log_start:
            log.error(
                "the log no longer reaches back to the cut: records are lost to retention",
                partition=partition,
                wanted=start,
                start=log_start,
            )
            start = log_start
        return Restored(start, states, own)

    def _state(self, raw: bytes | None, ward: str) -> tuple[Any, int]:
        if raw is None:
            raise Poison("missing", f"the cut lists ward {ward!r} but holds no record of it")
        snapshot = codec.decode(raw, WardSnapshot)
        return self._core.load(unpacked(snapshot.state)), snapshot.next_offset

    async def _newest(self, partition: int) -> dict[str, bytes | None]:
        """The newest record of each key, reading only as much of the topic's tail as holds a whole cut."""
        first, end = (await self._reader.bounds(SNAPSHOTS.name, [partition]))[partition]
        tail = TAIL
        while True:
            start = max(first, end - tail)
            newest: dict[str, bytes | None] = {}
            if start < end:
                async for records in self._reader.span(SNAPSHOTS.name, partition, start, end):
                    for record in records:
                        if record.key is not None:
                            newest[record.key.decode(errors="replace")] = record.value
            if start == first or self._is_whole(newest):
                return newest
            tail *= 4

    @staticmethod
    def _is_whole(newest: dict[str, bytes | None]) -> bool:
        marker = newest.get(CUT_KEY)
        if marker is None:
            return False
        try:
            listed = msgspec.json.decode(codec.decode(marker, WardSnapshot).state, type=_Listed).wards
        except (Poison, msgspec.MsgspecError):
            return True  # reading further back cannot mend it
        return listed.keys() <= newest.keys()
