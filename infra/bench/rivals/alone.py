"""The work alone, without a framework and without writing: what all rivals have in common.

Reads the whole log into memory, works it off once, and prints what the work itself cost as one JSON line.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Final

import msgspec
from confluent_kafka import Consumer, TopicPartition

from contracts import codec
from contracts.errors import Transient
from contracts.records import ScoreFrame
from contracts.topology import PARTITIONS, SCORES, VITALS
from infra.bench.rivals.job import Alone, Job
from infra.bench.work import Partition
from models.ward.core import WardCore
from models.ward.policy import load_policy

Record = tuple[int, int, int, bytes]
"""(partition, offset, log time, value)."""
SAMPLE: Final = 5


def run(job: Job) -> None:
    """Read, work, print."""
    records = _read(job.kafka)
    gc.collect()
    gc.freeze()
    partitions = _partitions()
    scores: list[bytes] = []
    began = time.process_time()
    for number, offset, at_ms, value in records:
        for output in partitions[number].take(VITALS.name, offset, at_ms, value):
            if output.topic == SCORES.name:
                scores.append(output.value)
    spent_s = time.process_time() - began
    decode_s, encode_s, share = _parts(records, scores)
    report = Alone(cpu_s=spent_s, decode_s=decode_s * share, encode_s=encode_s * share)
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")


def _partitions() -> list[Partition]:
    core = WardCore(load_policy())
    return [Partition(core, number) for number in range(PARTITIONS)]


def _parts(records: list[Record], scores: list[bytes]) -> tuple[float, float, int]:
    """CPU seconds of decoding and of encoding a part of it, and how many such parts there are."""
    share = min(SAMPLE, len(records), len(scores))
    values = [value for _, _, _, value in records[::share]]
    decoded = [codec.decode(raw, ScoreFrame) for raw in scores[::share]]
    began = time.process_time()
    for value in values:
        codec.decode_frame(value)
    between = time.process_time()
    for frame in decoded:
        codec.encode(frame)
    return between - began, time.process_time() - between, share


def _read(kafka: str) -> list[Record]:
    """Everything in patient_vitals, in the log's order of time."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "bench-alone",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    records: list[Record] = []
    try:
        consumer.assign([TopicPartition(VITALS.name, p, 0) for p in range(PARTITIONS)])
        left: set[int | None] = set(range(PARTITIONS))
        while left:
            for message in consumer.consume(1000, 1.0):
                partition, offset, value = message.partition(), message.offset(), message.value()
                if message.error() is not None:
                    left.discard(partition)
                elif partition is None or offset is None or value is None:
                    raise Transient("a record without a place")
                else:
                    records.append((partition, offset, message.timestamp()[1], value))
    finally:
        consumer.close()
    records.sort(key=lambda record: (record[2], record[0], record[1]))
    return records
