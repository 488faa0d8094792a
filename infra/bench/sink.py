"""``ward bench sink``: points a second into a real InfluxDB, what each costs the client, and what a line saves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx
import msgspec
from confluent_kafka import Producer
from influxdb_client import Point, WritePrecision

from contracts import codec
from contracts.errors import Transient
from contracts.metrics import SINK_POINTS
from contracts.records import ScoreFrame, SourceOffset
from contracts.topology import ALERTS, SCORES, VITALS, partition_for
from infra.bench.backlog import SCRIPT
from infra.bench.broker import own_stack
from infra.bench.meter import Meter
from infra.bench.work import Output
from infra.site import free_ports
from infra.stack import Say, Stack, wait_until
from models.ward.core import WardCore, WardState
from models.ward.policy import load_policy
from producers.ward import Hospital
from streams.sink import lines as lined

SIZES: Final = (1_000, 10_000)
POINTS: Final = 120_000
"""About so many of each size."""
SEED: Final = 20_260_102
FRAME_BEDS: Final = 50
PATIENCE_S: Final = 300.0
SHARE: Final = 0.25
"""A line may cost the client at most this share of what a Point() costs."""
CORES: Final = 0.25
"""The sink may take at most so much of a core, whatever the number of beds. Points a second tell of the machine's load
as much as of the sink, so they are printed and nothing is promised of them."""


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """CPU of making the text of one point of a bed, in microseconds: our lines, the client's own objects."""

    line_us: float
    point_us: float
    share: float


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """One hospital's backlog drained. ``live_cores``: what the sink would take of a core at one second a bed."""

    beds: int
    points: int
    points_per_s: float
    client_cpu_us: float
    influx_cpu_us: float
    live_cores: float
    rss_mb: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench sink --json`` prints."""

    cores: int
    python: str
    load_average: float
    making: Making
    sizes: list[Size]
    reached: bool


def measure(sizes: Sequence[int], say: Say) -> Report:
    """Drain a backlog of each size. Raises Transient when points do not arrive."""
    making = compare(_outputs(200, 10))
    say(f"a point of a bed: {making.line_us:.1f} us as a line, {making.point_us:.1f} us as a Point()")
    found = []
    with own_stack(say) as stack:
        stack.up(["topics", "influx-setup"])
        for beds in sizes:
            found.append(_drain(stack, beds, max(3, POINTS // beds)))
            say(f"{beds} beds: {found[-1].points_per_s:.0f} points/s, {found[-1].client_cpu_us:.1f} us CPU a point")
    reached = making.share <= SHARE and all(size.live_cores <= CORES for size in found)
    return Report(
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        making=making,
        sizes=found,
        reached=reached,
    )


def compare(outputs: Sequence[Output]) -> Making:
    """Make the points of the same frames both ways."""
    frames = [codec.decode(output.value, ScoreFrame) for output in outputs if output.topic == SCORES.name]
    beds = sum(len(frame.beds) for frame in frames)
    began = time.process_time()
    for frame in frames:
        lined.of_scores(frame)
    line_us = (time.process_time() - began) / beds * 1e6
    began = time.process_time()
    for frame in frames:
        _points(frame)
    point_us = (time.process_time() - began) / beds * 1e6
    return Making(line_us=line_us, point_us=point_us, share=line_us / point_us)


def _points(frame: ScoreFrame) -> list[str]:
    """The same points as the client's own objects make them."""
    made = []
    for bed in frame.beds:
        point: Any = Point("beds").tag("bed", bed.bed).tag("ward", frame.ward)
        for scored in bed.values:
            if scored.value is not None and scored.tag in lined.BELIEVED:
                point = point.field(scored.vital.value, scored.value)
        if bed.news2 is not None:
            point = point.field("news2_min", bed.news2.minimum).field("news2_max", bed.news2.maximum)
            point = point.field("news2_red", int(bed.news2.single_red))
        for name in ("alarms_high", "alarms_medium", "alarms_low", "alarms_technical", "alarms_advisory", "state"):
            point = point.field(name, len(bed.alarms))
        point = point.field("unbelieved", 0).field("silent_s", (frame.now_ms - bed.heard_ms) / 1000)
        made.append(point.time(frame.now_ms, WritePrecision.MS).to_line_protocol())
    return made


def _outputs(beds: int, seconds: int) -> list[Output]:
    """What the core says of a simulated hospital in the last so many seconds."""
    start_ms = (int(time.time()) - seconds) * 1000
    hospital = Hospital(beds, seed=SEED, script=SCRIPT, start_ms=start_ms, frame_beds=FRAME_BEDS)
    core, wards, outputs = WardCore(load_policy()), dict[str, WardState](), list[Output]()
    for second in range(seconds):
        for number, frame in enumerate(hospital.tick()):
            source = SourceOffset(topic=VITALS.name, partition=0, offset=second * beds + number)
            state = wards.get(frame.ward)
            state = core.fresh(frame.ward) if state is None else state
            wards[frame.ward], out = core.step(state, frame, start_ms + second * 1000 + 40, source)
            outputs += [Output(ALERTS.name, t.alert_id.encode(), codec.encode(t)) for t in out.transitions]
            if out.scores is not None:
                outputs.append(Output(SCORES.name, frame.ward.encode(), codec.encode(out.scores)))
    return outputs


def _drain(stack: Stack, beds: int, seconds: int) -> Size:
    outputs = _outputs(beds, seconds)
    expected = sum(len(codec.decode(o.value, ScoreFrame).beds) if o.topic == SCORES.name else 1 for o in outputs)
    environ = stack.environment()
    _fill(environ["WARD_KAFKA"], outputs)
    port = free_ports(["sink"])["sink"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    ours = {k: v for k, v in environ.items() if k.startswith("WARD_INFLUX") or k == "WARD_KAFKA"}
    group = {"WARD_SINK_GROUP": "bench", "WARD_SINK_METRICS_PORT": str(port), "WARD_LOG_LEVEL": "WARNING"}
    influx = stack.pid("influxdb")
    if influx is None:
        raise Transient("InfluxDB does not run")
    sink = subprocess.Popen([sys.executable, "-m", "streams.influx"], env={**kept, **ours, **group})
    try:
        return _watch(sink, influx, f"http://127.0.0.1:{port}/metrics", beds, expected)
    finally:
        sink.terminate()
        sink.wait(20)


def _watch(sink: subprocess.Popen[bytes], influx: int, page: str, beds: int, expected: int) -> Size:
    client, server = Meter(sink.pid), Meter(influx)
    if not wait_until(lambda: _given(page) is not None, PATIENCE_S):
        raise Transient("the sink does not start")
    began, cpu, influx_cpu, first = time.monotonic(), client.cpu_s(), server.cpu_s(), _given(page) or 0
    if not wait_until(lambda: (_given(page) or 0) >= expected, PATIENCE_S):
        raise Transient(f"{_given(page)} of {expected} points were given in {PATIENCE_S:.0f} s")
    points = expected - first
    client_us = (client.cpu_s() - cpu) / points * 1e6
    return Size(
        beds=beds,
        points=expected,
        points_per_s=points / (time.monotonic() - began),
        client_cpu_us=client_us,
        influx_cpu_us=(server.cpu_s() - influx_cpu) / points * 1e6,
        live_cores=client_us * beds / 1e6,
        rss_mb=client.rss_mb(),
    )


def _fill(bootstrap: str, outputs: Sequence[Output]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 0})
    for output in outputs:
        partition = partition_for(output.key.decode(), SCORES.partitions)
        while True:
            try:
                producer.produce(output.topic, output.value, output.key, partition)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(PATIENCE_S):
        raise Transient("the broker does not take the backlog")


def _given(page: str) -> int | None:
    """How many points of beds and alarms the sink has given to InfluxDB; None before it tells."""
    try:
        text = httpx.get(page, trust_env=False, timeout=5).text
    except httpx.HTTPError:
        return None
    found = re.findall(rf'^{SINK_POINTS.name}{{measurement="(?:beds|alarms)"}} (\S+)$', text, re.MULTILINE)
    return int(sum(map(float, found)))


def lines(report: Report) -> list[str]:
    """The report in columns."""
    making = report.making
    out = [
        f"the sink; {report.cores} cores, Python {report.python}, load {report.load_average}",
        f"a point of a bed: {making.line_us:.1f} us CPU as a line, {making.point_us:.1f} us as a Point(): "
        f"{making.share:.2f}, promised <= {SHARE:g}",
        f"{'beds':>7} {'points':>8} {'points/s':>9} {'client us':>10} {'influxd us':>11} {'cores live':>11} {'MB':>7}",
    ]
    for size in report.sizes:
        out.append(
            f"{size.beds:7} {size.points:8} {size.points_per_s:9.0f} {size.client_cpu_us:10.1f} "
            f"{size.influx_cpu_us:11.1f} {size.live_cores:11.2f} {size.rss_mb:7.0f}"
        )
    out.append(f"cores live, promised <= {CORES:g}: " + ("reached" if report.reached else "NOT reached"))
    return out


def exit_code(report: Report) -> int:
    """0 when the promises are kept, else 6."""
    return 0 if report.reached else 6
