"""What one record leads to, as records of topics: the worker's words, whoever decides and wherever it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from contracts import codec
from contracts.topology import ALERTS, DEAD_LETTERS, FORECASTS, SCORES, Topic, partition_for
from streams.wardlog import Effects, LogRecord


class Outgoing(NamedTuple):
    """A record to be written. ``partition`` None: the one that the key has."""

    topic: Topic[Any]
    key: bytes
    value: bytes
    partition: int | None = None

    @property
    def place(self) -> int:
        """The partition, for a client that would choose another one for the key."""
        return partition_for(self.key.decode(), self.topic.partitions) if self.partition is None else self.partition


def outgoing(record: LogRecord, effects: Effects) -> Iterator[Outgoing]:
    """All of it, always in the same order."""
    for letter in effects.letters:
        yield Outgoing(DEAD_LETTERS, record.topic.encode(), codec.encode(letter))
    for transition in effects.transitions:
        yield Outgoing(ALERTS, transition.alert_id.encode(), codec.encode(transition))
    # scores and forecasts have the ward as key and as many partitions, so it is the record's own
    for forecast in effects.forecasts:
        yield Outgoing(FORECASTS, forecast.ward.encode(), codec.encode(forecast), record.partition)
    for scores in effects.scores:
        yield Outgoing(SCORES, scores.ward.encode(), codec.encode(scores), record.partition)
