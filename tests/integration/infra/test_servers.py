"""The real servers start, answer, come back when killed, and leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable

import psutil
import pytest

from infra import topics
from infra.launch import kafka as kafka_launch
from infra.launch.hdfs import superuser
from infra.processes import BY_NAME
from infra.site import LOOPBACK
from infra.stack import Stack
from infra.supervisor import MARK


def processes_of(stack: Stack) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(stack.state):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def listening_addresses(stack: Stack) -> set[str]:
    return {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in processes_of(stack)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.kafka
def test_topics_are_made_once_and_made_again_changes_nothing(kafka: str) -> None:
    topics.make(kafka)
    assert topics.make(kafka) == []


@pytest.mark.stack
@pytest.mark.kafka
def test_a_killed_broker_is_back_with_its_topics_and_listens_on_loopback_only(stack: Callable[..., Stack]) -> None:
    one = stack("topics")
    killed = one.kill("kafka", signal.SIGKILL)
    one.await_return("kafka", killed)
    assert topics.make(one.environment()["WARD_KAFKA"]) == []
    assert listening_addresses(one) == {LOOPBACK}


@pytest.mark.stack
@pytest.mark.kafka
def test_down_leaves_nothing_even_when_the_supervisor_was_killed(stack: Callable[..., Stack]) -> None:
    one = stack("kafka")
    supervisor = psutil.Process(json.loads((one.state / "supervisor.json").read_text())["pid"])
    supervisor.kill()
    supervisor.wait()
    assert not one.supervised()
    one.down()
    assert processes_of(one) == []
    assert {row.state for row in one.status() if not BY_NAME[row.name].once} == {"stopped"}


@pytest.mark.stack
@pytest.mark.kafka
def test_a_new_supervisor_takes_over_what_runs(stack: Callable[..., Stack]) -> None:
    one = stack("kafka")
    broker = one.pid("kafka")
    supervisor = psutil.Process(json.loads((one.state / "supervisor.json").read_text())["pid"])
    supervisor.kill()
    supervisor.wait()
    one.up(["kafka"])
    assert one.supervised()
    assert one.pid("kafka") == broker
    killed = one.kill("kafka")
    one.await_return("kafka", killed)


@pytest.mark.kafka
def test_kafkas_own_console_consumer_reads_a_topic(session_stack: Stack, make_topic: Callable[..., str]) -> None:
    from confluent_kafka import Producer

    name = make_topic("console")
    producer = Producer({"bootstrap.servers": session_stack.environment()["WARD_KAFKA"]})
    producer.produce(name, b"hello", key=b"W1")
    assert producer.flush(20) == 0
    site = session_stack.site().with_java()
    command = kafka_launch.console_consumer(site, "--topic", name, "--from-beginning", "--max-messages", "1")
    read = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert read.stdout.strip() == "hello"


@pytest.mark.kafka
@pytest.mark.skipif(shutil.which("kcat") is None and not os.environ.get("CI"), reason="no kcat: apt-get install kcat")
def test_a_strangers_client_reads_a_topic(kafka: str, make_topic: Callable[..., str]) -> None:
    name = make_topic("kcat")
    common = ["kcat", "-b", kafka, "-t", name]
    subprocess.run([*common, "-P", "-k", "W1"], input=b"hello", timeout=60, check=True)
    read = subprocess.run([*common, "-C", "-e", "-q", "-f", "%k=%s"], capture_output=True, timeout=60, check=True)
    assert read.stdout == b"W1=hello"


@pytest.mark.hdfs
def test_hdfs_writes_and_reads_over_webhdfs(hdfs: str) -> None:
    from hdfs import InsecureClient

    client = InsecureClient(hdfs, user=superuser())
    client.write("/probe/file", data=b"ward", overwrite=True)
    with client.read("/probe/file") as reader:
        assert reader.read() == b"ward"


@pytest.mark.influx
def test_influxdb_takes_a_point_and_gives_it_back_by_flux(influx: dict[str, str]) -> None:
    from influxdb_client import InfluxDBClient
    from influxdb_client.client.write_api import SYNCHRONOUS

    bucket = influx["WARD_INFLUX_BUCKET"]
    with InfluxDBClient(
        url=influx["WARD_INFLUX_URL"], token=influx["WARD_INFLUX_TOKEN"], org=influx["WARD_INFLUX_ORG"]
    ) as client:
        client.write_api(write_options=SYNCHRONOUS).write(bucket=bucket, record="probe value=42")
        tables = client.query_api().query(
            f'from(bucket: "{bucket}") |> range(start: -5m) |> filter(fn: (r) => r._measurement == "probe")'
        )
    assert [record.get_value() for table in tables for record in table.records] == [42.0]
