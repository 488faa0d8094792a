"""``ward bench images``: from a C-STORE to the result on its topic, beside a hospital whose alarms must not wait.

A scanner sends images at a steady pace while 1,000 beds tick; then nobody sends any, and nothing of images runs. Both
on real servers: scanner -> gateway -> HDFS and Kafka -> imaging -> worker -> Kafka, beside the chain that
``ward bench latency`` measures. An image counts from its last byte at the gateway to its model's result.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from contracts import codec
from contracts.errors import Transient
from contracts.records import ImageArrival, ImageRefusal, ImageResult, Record
from contracts.topology import IMAGE_ARRIVALS, IMAGE_REFUSALS, IMAGE_RESULTS, Topic
from infra.bench import latency
from infra.bench.broker import Broker, own_stack
from infra.bench.latency import Step
from infra.bench.source import Form
from infra.site import CHECKOUT
from infra.stack import Say, Stack, wait_until

P95_S: Final = 5.0
RATIO: Final = 1.5
FORM: Final[Form] = "spread"
LEAD_S: Final = 8
"""The scanner sends for so long before and after the beds tick: they never tick without it."""
FIRST_S: Final = 120.0
DRAIN_S: Final = 120.0
ANSWER_S: Final = 60.0
SCANNERS_NICE: Final = 10
"""It stands for a device of its own and shares these cores only here."""
CHAIN: Final = ("vitals", "feed")
OF_IMAGES: Final = ("gateway", "imaging", "image-worker")

R = TypeVar("R", bound=Record)


class Latency(msgspec.Struct, frozen=True):
    """Seconds."""

    p50: float
    p95: float
    most: float


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the images of one run.

    ``sent``: answered C-STOREs, ``stored`` of them with success. ``lost``: stored ones without a result, and refused
    ones without a word on ``image_refusals``. ``results`` by model, or by reason where the gates refused.
    """

    rate: float
    sent: int
    stored: int
    refused: int
    failed: int
    retries: int
    lost: int
    results: dict[str, int]
    latency_s: Latency


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench images --json`` prints. ``ratio``: of the medians of the runs' tile p99."""

    cores: int
    python: str
    load_average: float
    beds: int
    seconds: int
    images: list[Images]
    vitals_with: list[Step]
    vitals_without: list[Step]
    ratio: float
    kept: dict[str, bool]


def measure(beds: int, rate: float, seconds: int, rounds: int, say: Say) -> Report:
    """Run both, ``rounds`` times in turn. Raises Transient when a topology does not come up or a scanner fails."""
    images, with_images, without = [], list[Step](), list[Step]()
    for _ in range(rounds):
        with own_stack(say) as stack:
            stack.up(CHAIN, extra_env={"WARD_FEED_DEMO": "true"})
            without.append(latency.one_step(stack, beds, FORM, seconds))
        say(f"without images: {latency.line(without[-1])}")
        with own_stack(say) as stack:
            stack.up([*CHAIN, *OF_IMAGES], extra_env={"WARD_FEED_DEMO": "true"})
            beside, came = _beside(stack, beds, rate, seconds)
        with_images.append(beside)
        images.append(came)
        say(f"with images: {latency.line(beside)}")
        say(line(came))
    ratio = float(np.median([s.tile_ms.p99 for s in with_images]) / np.median([s.tile_ms.p99 for s in without]))
    return Report(
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        beds=beds,
        seconds=seconds,
        images=images,
        vitals_with=with_images,
        vitals_without=without,
        ratio=round(ratio, 2),
        kept={
            f"arrival to result p95 <= {P95_S:g} s": all(one.latency_s.p95 <= P95_S for one in images),
            "none lost": all(one.lost == one.failed == 0 for one in images),
            f"vitals' p99 <= {RATIO:g} times that without images": ratio <= RATIO,
        },
    )


def _beside(stack: Stack, beds: int, rate: float, seconds: int) -> tuple[Step, Images]:
    """The beds, and the images that come meanwhile."""
    broker = Broker(stack.environment()["WARD_KAFKA"])
    first_round = _play(stack, rate, 8)  # every model is loaded, every child started
    told = _answered(first_round)
    before = told["stored"], told["refused"]
    if not wait_until(lambda: not _lost(broker, *before), FIRST_S):
        raise Transient(f"the first images were not read in {FIRST_S:.0f} s\n{stack.tail('image-worker')}")
    since_ms = time.time() * 1000
    with _playing(stack, rate, round(rate * (seconds + 2 * LEAD_S))) as scanner:
        step = latency.one_step(stack, beds, FORM, seconds)
        told = _answered(scanner)
    whole = before[0] + told["stored"], before[1] + told["refused"]
    wait_until(lambda: not _lost(broker, *whole), DRAIN_S)
    results = [one for one in _all(broker, IMAGE_RESULTS, ImageResult) if (one.arrived_ms or 0) >= since_ms]
    return step, _judged(rate, told, results, _lost(broker, *whole))


def _judged(rate: float, told: dict[str, Any], results: Sequence[ImageResult], lost: int) -> Images:
    took_s = [(one.at_ms - one.arrived_ms) / 1000 for one in results if one.arrived_ms is not None]
    if not took_s:
        raise Transient("no image of this run was read")
    p50, p95 = np.percentile(took_s, (50, 95))
    by: dict[str, int] = {}
    for one in results:
        word = one.model if one.refusal is None else one.refusal
        by[word] = by.get(word, 0) + 1
    return Images(
        rate=rate,
        sent=told["stored"] + told["refused"],
        stored=told["stored"],
        refused=told["refused"],
        failed=told["failed"],
        retries=told["retries"],
        lost=lost,
        results=dict(sorted(by.items())),
        latency_s=Latency(round(float(p50), 2), round(float(p95), 2), round(max(took_s), 2)),
    )


def _lost(broker: Broker, stored: int, refused: int) -> int:
    """Of so many images: those stored without an arrival or a result, and those refused without a word."""
    arrivals = {(one.instance, one.revision) for one in _all(broker, IMAGE_ARRIVALS, ImageArrival)}
    read = {(one.instance, one.revision) for one in _all(broker, IMAGE_RESULTS, ImageResult)}
    words = {one.refusal_id for one in _all(broker, IMAGE_REFUSALS, ImageRefusal)}
    return max(0, stored - len(arrivals)) + len(arrivals - read) + max(0, refused - len(words))


def _all(broker: Broker, topic: Topic[Any], kind: type[R]) -> list[R]:
    return [codec.decode(value, kind) for value in broker.read(topic.name, range(topic.partitions))]


def _play(stack: Stack, rate: float, count: int) -> subprocess.Popen[str]:
    """The scanner as a process of its own."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith("WARD_") or name == "WARD_DATA_DIR"
    }
    words = ["--rate", str(rate), "--count", str(count), "--patience", f"{ANSWER_S:g}s"]
    scanner = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "producers.scanner", *words],
        cwd=CHECKOUT,
        env=ours | stack.environment() | {"PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    os.setpriority(os.PRIO_PROCESS, scanner.pid, SCANNERS_NICE)
    group = Path(f"/proc/{scanner.pid}/autogroup")
    if group.exists():  # a kernel that shares the cores out among sessions weighs the session, not the process
        group.write_text(str(SCANNERS_NICE))
    return scanner


@contextmanager
def _playing(stack: Stack, rate: float, count: int) -> Iterator[subprocess.Popen[str]]:
    """A scanner that has sent for a while already; gone at the end, whatever happens."""
    broker = Broker(stack.environment()["WARD_KAFKA"])
    before = broker.count(IMAGE_ARRIVALS.name, IMAGE_ARRIVALS.partitions)
    scanner = _play(stack, rate, count)
    try:
        started = wait_until(lambda: broker.count(IMAGE_ARRIVALS.name, IMAGE_ARRIVALS.partitions) > before, ANSWER_S)
        if not started:
            raise Transient("no image of the scanner arrived")
        yield scanner
    finally:
        scanner.kill()
        scanner.communicate()


def _answered(scanner: subprocess.Popen[str]) -> dict[str, Any]:
    """What the scanner says at its end."""
    said, _ = scanner.communicate(timeout=DRAIN_S)
    try:
        return dict(msgspec.json.decode(said.strip().splitlines()[-1]))
    except (IndexError, msgspec.DecodeError) as nothing:
        raise Transient(f"the scanner ended with {scanner.returncode} and said nothing") from nothing


def line(one: Images) -> str:
    """The images of one run in words."""
    took, results = one.latency_s, ", ".join(f"{name} {number}" for name, number in one.results.items())
    return (
        f"{one.sent} images at {one.rate:g}/s: {one.stored} stored, {one.refused} refused, {one.lost} lost, "
        f"{one.failed} unanswered; arrival to result p50 {took.p50:.2f}, p95 {took.p95:.2f}, most {took.most:.2f} s; "
        f"results: {results}"
    )


def lines(report: Report) -> list[str]:
    """The report in words."""
    out = [f"{report.cores} cores, Python {report.python}, load {report.load_average}; {report.beds} beds tick"]
    out += [f"without images: {latency.line(step)}" for step in report.vitals_without]
    for step, one in zip(report.vitals_with, report.images, strict=True):
        out += [f"with images: {latency.line(step)}", line(one)]
    out.append(f"vitals' p99 with images over without: {report.ratio:.2f}")
    return out + [
        f"promised, {promise}: {'reached' if kept else 'NOT reached'}" for promise, kept in report.kept.items()
    ]


def exit_code(report: Report) -> int:
    """0 when the promises are kept, else 6."""
    return 0 if all(report.kept.values()) else 6
