"""What the real stream lands is proved whole, by a decoder that knows nothing of Spark, also when it was compacted."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from kafka import KafkaProducer

from batch.compact import compact
from batch.gauges import LakeMetrics
from batch.lake import Lake
from batch.storage import Storage
from batch.verify import Wish, summary, verify
from contracts.codec import encode
from contracts.lake import LANDED
from contracts.settings import Settings
from contracts.topology import CLOCK_KEY, VITALS
from infra.bench.backlog import SCRIPT
from producers.ward import Hospital
from tests.contract.real_examples import EXAMPLES

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.hdfs]

DAMAGED = (
    b"",
    b"\xff\xfe",
    b'{"version":1,"ward":"W1","gateway":"g","seq":1,"at_ms":',
    b'{"version":9,"ward":"W1","gateway":"g","seq":1,"at_ms":1767340800000,"beds":[]}',
    b'{"version":1,"ward":"W9","gateway":"g","seq":1,"at_ms":1767340800000,"beds":[{"bed":"1","patient":"p",'
    b'"readings":[{"vital":"spo2","value":97},{"vital":"nothing","value":1},{"vital":"heart_rate","value":[1]}]}]}',
    b'{"version":1,"ward":"W9","gateway":"g","seq":1,"at_ms":1767340800000,"beds":[{"bed":"1","patient":"p",'
    b'"readings":[{"vital":"spo2","value":97}]},{"bed":"1","patient":"q","readings":[{"vital":"spo2","value":96}]}]}',
    b'{"version":1,"ward":"W9","gateway":"g","seq":1,"at_ms":1767340800000,"beds":[{"bed":2,"readings":5}]}',
)


def land(settings: Settings, spark: Any) -> None:
    lake = Lake(settings, spark, LakeMetrics(), threading.Event())
    query = lake.query(once=True)
    while query.isActive:
        query.awaitTermination(1)
    assert query.exception() is None, lake.batches.failure


def test_what_the_stream_lands_is_proved_whole_before_and_after_compaction(
    settings: Settings, spark: Any, lake: Storage
) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka)
    hospital = Hospital(60, seed=4, script=SCRIPT, start_ms=int(time.time()) * 1000, frame_beds=20, past=True)
    names = {topic.name for topic in LANDED}
    for turn in range(3):
        for frame in (frame for _ in range(4) for frame in hospital.tick()):
            producer.send(VITALS.name, encode(frame), key=frame.ward.encode())
        for path in sorted(EXAMPLES.glob("*.json")):
            if (topic := path.name.partition(".")[0]) in names:
                producer.send(topic, path.read_bytes(), key=b"k", headers=[("turn", str(turn).encode())])
        for value in DAMAGED:
            producer.send(VITALS.name, value, key=CLOCK_KEY.encode())
        producer.flush(20)
        land(settings, spark)
    producer.close()
    report = verify(lake, Wish(settings.kafka, full=True))
    assert report.findings == []
    assert report.compared == report.records
    assert report.rows["vitals"] > 0
    assert report.refused >= 3 * (len(DAMAGED) - 1)
    assert report.pending == 0
    assert summary(settings).reconciled
    compact(lake, grace_s=0)
    after = verify(lake, Wish(settings.kafka, full=True))
    assert after.findings == []
    assert (after.records, after.rows) == (report.records, report.rows)
    assert after.files < report.files
