"""Who deteriorates: the highest NEWS2 of each patient lately, from the scores as they come, by pseudonym of images."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog

from contracts.pseudonyms import Pseudonyms
from contracts.topology import SCORES
from models.imaging.findings import Deterioration, Patients

log = structlog.get_logger(__name__)

EVERY_S: Final = 5.0
"""A ward's scores are looked at so often: NEWS2 changes slowly, and most of a frame is of no interest here."""
PATIENCE_S: Final = 1.0
FETCH_MS: Final = 500


class _News2(msgspec.Struct):
    minimum: int


class _Bed(msgspec.Struct):
    patient: str
    news2: _News2 | None = None


class _Scores(msgspec.Struct):
    """As much of a ScoreFrame as is needed: the rest is not even decoded."""

    at_ms: int
    beds: tuple[_Bed, ...] = ()


class Deteriorating:
    """Follows vitals_scores beside any group: every imaging process must know of every patient."""

    def __init__(
        self,
        bootstrap: str,
        names: Pseudonyms | None,
        rule: Deterioration,
        worse: Callable[[str, int], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bootstrap = bootstrap
        self._names = names
        self._rule = rule
        self._worse = worse
        self._clock = clock
        self._pseudonyms: dict[str, str] = {}
        self._highest: dict[str, tuple[int, float]] = {}
        self._looked: dict[bytes, float] = {}
        self._decoder = msgspec.json.Decoder(_Scores)

    def patients(self) -> Patients:
        """Who deteriorates now."""
        since = self._clock() - self._rule.lately_min * 60
        self._highest = {patient: one for patient, one in self._highest.items() if one[1] >= since}
        return Patients({patient: news2 for patient, (news2, _) in self._highest.items()})

    async def scored(self, key: bytes, value: bytes) -> None:
        """A frame of scores came. What cannot be read tells nothing: the vitals have their own dead letters."""
        now = self._clock()
        if self._names is None or now - self._looked.get(key, -EVERY_S) < EVERY_S:
            return
        self._looked[key] = now
        try:
            frame = self._decoder.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as wrong:
            log.warning("scores passed over", why=type(wrong).__name__)
            return
        for bed in frame.beds:
            if bed.news2 is not None and bed.news2.minimum >= self._rule.medium_from:
                await self._note(self._pseudonym(bed.patient), bed.news2.minimum, frame.at_ms, now)

    async def _note(self, patient: str, news2: int, at_ms: int, now: float) -> None:
        before = self._highest.get(patient)
        fresh = before is not None and now - before[1] <= self._rule.lately_min * 60
        if before is not None and fresh and before[0] > news2:
            return
        self._highest[patient] = (news2, now)
        if before is None or not fresh or news2 > before[0]:
            await self._worse(patient, at_ms)

    def _pseudonym(self, patient: str) -> str:
        found = self._pseudonyms.get(patient)
        if found is None:
            assert self._names is not None  # noqa: S101  # asked for only with names
            found = self._pseudonyms[patient] = self._names.patient(patient)
        return found

    async def keep_following(self) -> None:
        """Read scores as they come, for ever; from now on whenever the broker comes back."""
        from aiokafka.errors import KafkaError

        while self._names is not None:
            consumer = _consumer(self._bootstrap)
            try:
                await consumer.start()
                await self._follow(consumer)
            except (KafkaError, OSError) as failure:
                log.warning("waiting for the broker", failure=repr(failure))
                await asyncio.sleep(PATIENCE_S)
            finally:
                await consumer.stop()

    async def _follow(self, consumer: Any) -> None:
        from aiokafka import TopicPartition

        places = [TopicPartition(SCORES.name, partition) for partition in range(SCORES.partitions)]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        while True:
            for records in (await consumer.getmany(timeout_ms=FETCH_MS)).values():
                for record in records:
                    await self.scored(record.key or b"", record.value or b"")


def _consumer(bootstrap: str) -> Any:
    from aiokafka import AIOKafkaConsumer

    return AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, request_timeout_ms=10_000)
