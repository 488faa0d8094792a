"""The same work on Quix Streams, written to its advantage.

Volatile: state in a plain dict, which is cheaper than any of its stores. Durable: its RocksDB store with a changelog
topic. A clock tick concerns every ward of a partition, so all records of a partition share one key and with it one
state. Decoded states are kept beside the store and used as long as the store's bytes are the same, so that a record
costs one dump and no load.
"""

from __future__ import annotations

import signal
from typing import Any, Final

from quixstreams import Application, message_context
from quixstreams.models import Deserializer, SerializationContext, Serializer

from contracts.topology import ALERTS, SCORES, VITALS
from infra.bench.rivals.job import COMMIT_EVERY_S, FETCH_MAX, LINGER_MS, Job
from infra.bench.work import Output, Partition
from models.ward.core import WardCore, WardState
from models.ward.policy import load_policy

WARDS: Final = "~wards"


class OneKey(Deserializer):  # type: ignore[misc]  # quixstreams ships types, but they are not followed here
    """Every record of a partition belongs to one state."""

    def __call__(self, value: bytes, ctx: SerializationContext) -> bytes:
        """The key of that state."""
        return b"~"


class Value(Serializer):  # type: ignore[misc]  # as above
    """The bytes of an output."""

    def __call__(self, value: Output, ctx: SerializationContext) -> bytes:
        """As they are."""
        return value.value


class Durable:
    """Partitions whose state is what the store holds."""

    def __init__(self, core: WardCore) -> None:
        self.core = core
        self.known: dict[tuple[int, str], tuple[bytes, WardState]] = {}

    def __call__(self, value: bytes, _key: Any, timestamp: int, _headers: Any, state: Any) -> list[Output]:
        """The outputs of one record."""
        where = message_context()
        partition = Partition(self.core, where.partition)
        names = state.get_bytes(WARDS, default=b"")
        for ward in names.decode().split("\n") if names else ():
            raw = state.get_bytes(ward)
            known = self.known.get((where.partition, ward))
            partition.wards[ward] = known[1] if known is not None and known[0] == raw else self.core.load(raw)
        before = dict(partition.wards)
        outputs = partition.take(VITALS.name, where.offset, timestamp, value)
        for ward, after in partition.wards.items():
            if before.get(ward) is not after:
                raw = self.core.dump(after)
                state.set_bytes(ward, raw)
                self.known[where.partition, ward] = (raw, after)
        if len(partition.wards) > len(before):
            state.set_bytes(WARDS, "\n".join(partition.wards).encode())
        return outputs


class Volatile:
    """Partitions whose state is lost with the process."""

    def __init__(self, core: WardCore) -> None:
        self.core = core
        self.partitions: dict[int, Partition] = {}

    def __call__(self, value: bytes, _key: Any, timestamp: int, _headers: Any) -> list[Output]:
        """The outputs of one record."""
        where = message_context()
        partition = self.partitions.get(where.partition)
        if partition is None:
            partition = self.partitions[where.partition] = Partition(self.core, where.partition)
        return partition.take(VITALS.name, where.offset, timestamp, value)


def run(job: Job) -> None:
    """Until SIGTERM."""
    app = Application(
        broker_address=job.kafka,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        commit_interval=job.snapshot_every_s if job.durable else COMMIT_EVERY_S,
        state_dir=job.state_dir,
        auto_create_topics=True,  # the changelog; all others are there
        use_changelog_topics=job.durable,
        loglevel="WARNING",
        consumer_poll_timeout=0.1,
        consumer_extra_config={
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 2000,
            "fetch.message.max.bytes": FETCH_MAX,
            "check.crcs": True,
        },
        producer_extra_config={"acks": "all", "linger.ms": LINGER_MS, "compression.type": "lz4"},
    )
    source = app.topic(VITALS.name, key_deserializer=OneKey(), value_deserializer="bytes")
    sinks = {
        name: app.topic(name, key_serializer="bytes", value_serializer=Value()) for name in (SCORES.name, ALERTS.name)
    }
    core = WardCore(load_policy())
    frame = app.dataframe(source)
    if job.durable:
        outputs = frame.apply(Durable(core), stateful=True, metadata=True, expand=True)
    else:
        outputs = frame.apply(Volatile(core), metadata=True, expand=True)
    outputs.to_topic(lambda output, _key, _timestamp, _headers: sinks[output.topic], key=lambda output: output.key)
    signal.signal(signal.SIGTERM, lambda _number, _frame: app.stop())
    app.run()
