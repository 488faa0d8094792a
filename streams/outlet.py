"""Writes what a replay leads to into its own topics, each record once, whatever was killed when."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final

from contracts import codec
from contracts.errors import Misconfigured, Transient
from contracts.records import AlertTransition
from contracts.replays import DECIDED, decided
from contracts.topology import ALERTS
from streams.compare.span import ends
from streams.ledger import read
from streams.outgoing import Outgoing

SETTLED_S: Final = 0.5
"""Between two looks at the topics: nothing else tells that what a killed process had on its way has arrived."""
SILENCE_S: Final = 30.0
_SLICE_S: Final = 0.1
_LINGER_MS: Final = 5
_LARGEST_BYTES: Final = 16 * 1024 * 1024

Lane = tuple[int, str, int]
"""The partition a record was decided in, the topic it goes to, and the partition there: what one log leads to comes
into each of them always in the same order, whatever other partitions do meanwhile."""


class Outlet:
    """One idempotent producer that leaves out, of each lane, as many records as are there.

    Raises Misconfigured when a topic is missing or not like its live one, Transient without a broker.
    """

    def __init__(self, bootstrap: str, replay: str, resumed: bool) -> None:
        from confluent_kafka import Producer

        self._bootstrap = bootstrap
        self._topics = {topic.name: decided(replay, topic) for topic in DECIDED}
        self._ends = self._settled() if resumed else self._look()
        self._leave = self._lanes()
        self.left_out = self._leave.total()
        self._failure: str | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "ward-replayed",
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "acks": "all",
                "compression.type": "zstd",  # a bed's score is a kilobyte of the same words again and again
                "linger.ms": _LINGER_MS,
                "message.timeout.ms": 0,
                "queue.buffering.max.messages": 0,
                "queue.buffering.max.kbytes": 64 * 1024,
                "message.max.bytes": _LARGEST_BYTES,
                "delivery.report.only.error": True,
                "on_delivery": self._on_failure,
                "log_level": 0,
            }
        )

    def put(self, partition: int, out: Outgoing) -> None:
        """Hand over what a record of that partition led to; other topics than those of decisions are passed by.

        Waits while the spool is full. Raises Transient for a record that the broker refuses.
        """
        topic = self._topics.get(out.topic.name)
        if topic is None:
            return
        lane = (partition, out.topic.name, out.place)
        if self._leave[lane] > 0:
            self._leave[lane] -= 1
            return
        while True:
            try:
                self._producer.produce(topic, out.value, out.key, out.place)
            except BufferError:
                self._producer.poll(_SLICE_S)
                self._watch()
            else:
                break
        self._ends[out.topic.name, out.place] += 1

    def flush(self) -> None:
        """Wait until the broker has everything. Raises Transient when it refuses, or takes nothing for long."""
        waiting, since_s = len(self._producer), time.monotonic()
        while left := self._producer.flush(_SLICE_S):
            self._watch()
            if left < waiting:
                waiting, since_s = left, time.monotonic()
            elif time.monotonic() - since_s > SILENCE_S:
                raise Transient(f"the broker at {self._bootstrap} has taken no record for {SILENCE_S:.0f} s")
        self._watch()

    def check(self) -> None:
        """Everything is there once, and nothing else. Raises Transient when it is not."""
        self.flush()
        if self._look() != self._ends or self._leave.total():
            raise Transient("the topics of the decisions hold other records than were decided: decide anew")

    def serve(self) -> None:
        """Now and then: hear whether the broker refuses. Raises Transient when it does."""
        self._producer.poll(0)
        self._watch()

    def _watch(self) -> None:
        if self._failure is not None:
            raise Transient(f"the broker at {self._bootstrap} refuses: {self._failure}")

    def _on_failure(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failure = error.str()

    def _look(self) -> Counter[tuple[str, int]]:
        """How many records each partition holds."""
        found: Counter[tuple[str, int]] = Counter()
        for topic in DECIDED:
            there = ends(self._bootstrap, self._topics[topic.name])
            if len(there) != topic.partitions:
                raise Misconfigured(f"topic {self._topics[topic.name]} has {len(there)} partitions: decide anew")
            found.update({(topic.name, p): end for p, end in there.items()})
        return found

    def _settled(self) -> Counter[tuple[str, int]]:
        seen = self._look()
        while True:
            time.sleep(SETTLED_S)
            again = self._look()
            if again == seen:
                return seen
            seen = again

    def _lanes(self) -> Counter[Lane]:
        """How many records of each lane are there: an alarm tells itself where it was decided, the others by where
        they stand."""
        lanes: Counter[Lane] = Counter()
        for (topic, place), end in self._ends.items():
            if topic != ALERTS.name:
                lanes[place, topic, place] = end
        if any(end for (topic, _), end in self._ends.items() if topic == ALERTS.name):
            for record in read(self._bootstrap, self._topics[ALERTS.name]):
                source = codec.decode(record.value, AlertTransition).source
                lanes[source.partition, ALERTS.name, record.partition] += 1
        return lanes
