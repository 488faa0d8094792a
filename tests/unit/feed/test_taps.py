"""Where reading begins: no record is passed over, whenever it was written."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition

from streams.feed.taps import from_time, newest

ALERTS = TopicPartition("alerts", 0)


@dataclass
class Log:
    """A partition to which somebody writes between any two questions; ``times`` are those of its records."""

    times: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def _written_meanwhile(self, question: str) -> None:
        if self.asked:
            self.times.append(1_000 + len(self.times))
        self.asked.append(question)

    async def offsets_for_times(self, moments: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        self._written_meanwhile("times")
        since = moments[ALERTS]
        found = next((offset for offset, at_ms in enumerate(self.times) if at_ms >= since), None)
        return {ALERTS: None if found is None else Found(found)}

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 2)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self._written_meanwhile("ends")
        return dict.fromkeys(partitions, len(self.times))


@dataclass
class Found:
    offset: int


@pytest.mark.parametrize("times", [[], [1, 2, 3], [1, 2, 1_000]])
def test_a_record_written_while_the_place_is_looked_up_is_read(times: list[int]) -> None:
    log = Log(list(times))

    async def looked_up() -> dict[int, int]:
        return await from_time(lambda: 900)(log, [ALERTS])

    begins = asyncio.run(looked_up())[0]
    assert begins == sum(at_ms < 900 for at_ms in times), "all that is younger is still to come"
    assert len(log.asked) == 2


@pytest.mark.parametrize(("records", "begins"), [(3, 2), (12, 2), (13, 3), (100, 90)])
def test_the_newest_records_begin_no_earlier_than_the_log(records: int, begins: int) -> None:
    async def looked_up() -> dict[int, int]:
        return await newest(10)(Log(list(range(records))), [ALERTS])

    assert asyncio.run(looked_up()) == {0: begins}
