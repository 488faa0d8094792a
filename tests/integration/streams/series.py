"""Records written to the sink's topics, a sink process of a test's own, and what InfluxDB holds afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, Producer, TopicPartition

from contracts import codec
from contracts.records import Record
from contracts.topology import ALERTS, FORECASTS, IMAGE_RESULTS, SCORES, Topic


def produce(bootstrap: str, records: Iterable[tuple[Topic[Any], str, Record | bytes]]) -> None:
    """Write (topic, key, record) and wait until the broker has them."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for topic, key, record in records:
        value = record if isinstance(record, bytes) else codec.encode(record)
        producer.produce(topic.name, value, key=key.encode())
        producer.poll(0)
    assert producer.flush(60) == 0


def ask(influx: Mapping[str, str], query: str, database: str = "ward") -> list[dict[str, Any]]:
    """The series that an InfluxQL query gives; each has columns, values and perhaps tags and a name."""
    user, _, password = influx["WARD_INFLUX_TOKEN"].partition(":")
    answer = httpx.post(
        influx["WARD_INFLUX_URL"] + "/query",
        data={"q": query, "db": database, "epoch": "ns"},
        auth=(user, password),
        timeout=30,
        trust_env=False,
    )
    result = answer.raise_for_status().json()["results"][0]
    assert "error" not in result, f"{query}: {result}"
    return list(result.get("series", []))


def number(influx: Mapping[str, str], measurement: str, field: str, where: str = "") -> int:
    """How many points hold the field."""
    series = ask(influx, f'SELECT count("{field}") FROM "live"."{measurement}" {where}')  # noqa: S608 - our own words
    return int(series[0]["values"][0][1]) if series else 0


def whole(influx: Mapping[str, str], measurement: str, where: str = "") -> list[list[Any]]:
    """Every point of a measurement."""
    series = ask(influx, f'SELECT * FROM "live"."{measurement}" {where}')  # noqa: S608 - our own words
    return list(series[0]["values"]) if series else []


def caught_up(bootstrap: str, group: str) -> bool:
    """Whether a sink has committed everything that stands in its topics now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0})
    try:
        wanted = [
            TopicPartition(t.name, p) for t in (SCORES, FORECASTS, ALERTS, IMAGE_RESULTS) for p in range(t.partitions)
        ]
        ends = [consumer.get_watermark_offsets(row, timeout=10)[1] for row in wanted]
        return all(max(0, row.offset) >= end for row, end in zip(consumer.committed(wanted, 10), ends, strict=True))
    finally:
        consumer.close()


class SinkProcess:
    """``python -m streams.influx``, its log in a file."""

    def __init__(self, bootstrap: str, influx: Mapping[str, str], folder: Path, group: str, **settings: str) -> None:
        self.log = folder / f"{group}.log"
        environ = {k: v for k, v in os.environ.items() if not k.startswith("WARD_")}
        environ |= {"WARD_KAFKA": bootstrap, "WARD_SINK_GROUP": group, "WARD_LOG_FORMAT": "json", **influx, **settings}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "streams.influx"], env=environ, stderr=out)

    def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within_s)


@contextmanager
def sink(bootstrap: str, influx: Mapping[str, str], folder: Path, group: str, **settings: str) -> Iterator[SinkProcess]:
    """A sink that is gone at the end, whatever happens."""
    one = SinkProcess(bootstrap, influx, folder, group, **settings)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(10)
        print(one.log.read_text()[-3000:])
