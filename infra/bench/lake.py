"""``ward bench lake``: what landing a record costs, how soon it is readable, and what a lake ten times as large costs.

The real stream lands backlogs of the simulated hospital, one after the other, so that the lake grows; after the first
and after the last of them the same is measured. Then live readings at the promised rate, then compaction.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from typing import Final

import httpx
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from batch.compact import MB, TARGET_MB, compact
from batch.manifests import BATCH, Manifest
from batch.storage import Storage
from batch.topics import Topics
from batch.verify import Wish, summary, verify
from batch.view import folder_of, view
from contracts.errors import Transient
from contracts.lake import RECORDS, VITALS_TABLE
from contracts.metrics import LAKE_ROWS
from contracts.settings import Settings
from contracts.topology import VITALS
from infra.bench.backlog import SCRIPT
from infra.bench.broker import own_stack
from infra.bench.meter import Meter
from infra.site import CHECKOUT
from infra.stack import Say, Stack, wait_until
from producers.publish import Publisher
from producers.ward import Hospital

PROMISED_P95_S: Final = 25.0
PROMISED_RATE: Final = 10_000
"""Readings a second that are to be landed live."""
PROMISED_HEADROOM: Final = 2.0
"""How much faster than that the stream must be."""
BACKLOGS: Final = 10
LARGE: Final = 1_000
"""Beds of a backlog from which on the rate is judged: smaller ones are mostly a batch's fixed cost."""
GROWING: Final = ("rows", "files", "manifests", "view_s", "summary_s", "verify_s", "verify_us_a_row")
PATIENCE_S: Final = 900.0
SEED: Final = 20_260_102


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """One backlog landed: rows of ``vitals``, rows a second and CPU seconds a million of the driver, JVM and Python."""

    rows: int
    seconds: float
    rows_per_s: float
    cpu_s_per_million: float
    rss_mb: float


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """The lake at one size, and what looking at it costs. ``land`` is the backlog that was landed last before it."""

    records: int
    rows: int
    files: int
    manifests: int
    bytes: int
    view_s: float
    summary_s: float
    verify_s: float
    verify_us_a_row: float
    reconciled: bool
    land: Landed


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Readings at a live rate: from the reading to its file being told in a manifest, in seconds."""

    beds: int
    rows: int
    rate: float
    p50_s: float
    p95_s: float
    most_s: float


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """Files before and after. ``small``: files below 16 MB in partitions that have another file besides."""

    seconds: float
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    largest_mb: float
    small: int
    reconciled: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench lake --json`` prints. ``growth``: each figure at ten times over that at one."""

    cores: int
    python: str
    load_average: float
    once: Size
    tenfold: Size
    growth: dict[str, float]
    live: Live
    headroom: float
    compacted: Compacted
    kept: dict[str, bool]


def measure(beds: int, ticks: int, live_s: int, say: Say, backlogs: int = BACKLOGS) -> Report:
    """Land ``backlogs`` times ``ticks`` seconds of ``beds`` beds. Raises Transient when the stream does not come up."""
    with own_stack(say) as stack:
        stack.up(["topics", "zones"])
        settings = Settings.from_env(_lake_settings(stack))
        storage = Storage.of(settings)
        lake = _started(stack)
        try:
            meter = Meter(lake.pid)
            _land(stack, storage, meter, 50, 5, "warm-up", say)  # code is compiled, classes are loaded
            sizes = []
            for number in range(backlogs):
                landed = _land(stack, storage, meter, beds, ticks, f"backlog {number + 1} of {backlogs}", say)
                if number in (0, backlogs - 1):
                    sizes.append(_sized(settings, storage, landed))
            a_bed = sizes[0].land.rows / beds / ticks
            live = _live(stack, storage, round(PROMISED_RATE / a_bed) if beds >= LARGE else beds, live_s, say)
        finally:
            lake.terminate()
            lake.wait(60)
        compacted = _compacted(settings, storage, say)
    return _report(sizes[0], sizes[-1], live, compacted, beds >= LARGE)


def _lake_settings(stack: Stack) -> dict[str, str]:
    return {name: value for name, value in stack.environment().items() if name.startswith("WARD_")}


def _started(stack: Stack) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    quiet = {"WARD_LOG_LEVEL": "WARNING", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "batch.lake"]
    environ = kept | _lake_settings(stack) | quiet
    return subprocess.Popen(command, cwd=CHECKOUT, env=environ, stdout=subprocess.DEVNULL)  # noqa: S603


def _land(stack: Stack, storage: Storage, meter: Meter, beds: int, ticks: int, name: str, say: Say) -> Landed:
    """Append a backlog and wait until all of it stands in the lake."""
    before = _rows(storage)
    readings = _backlog(stack.environment()["WARD_KAFKA"], beds, ticks)
    began, cpu_s = time.monotonic(), meter.cpu_s()
    if not wait_until(lambda: _landed(stack) >= _in_log(stack), PATIENCE_S):
        raise Transient(f"{name}: not all of it is in the lake after {PATIENCE_S:.0f} s")
    seconds, rows = time.monotonic() - began, _rows(storage) - before
    if rows != readings:
        raise Transient(f"{name}: {readings} readings were sent, {rows} rows landed")
    landed = Landed(
        rows=rows,
        seconds=round(seconds, 1),
        rows_per_s=round(rows / seconds),
        cpu_s_per_million=round((meter.cpu_s() - cpu_s) / rows * 1e6, 2),
        rss_mb=round(meter.rss_mb()),
    )
    say(f"{name}: {rows} rows in {seconds:.1f} s, {landed.cpu_s_per_million:.1f} CPU s a million")
    return landed


def _landed(stack: Stack) -> int:
    """How many records the stream has landed, by its own page; 0 before it tells."""
    try:
        text = httpx.get(stack.site().url("lake_metrics") + "/metrics", trust_env=False, timeout=5).text
    except httpx.HTTPError:
        return 0
    found = re.findall(rf'^{LAKE_ROWS.name}{{table="{RECORDS.name}"}} (\S+)$', text, re.MULTILINE)
    return int(sum(map(float, found)))


def _in_log(stack: Stack) -> int:
    with Topics(stack.environment()["WARD_KAFKA"]) as topics:
        return sum(end - begin for begin, end in topics.bounds([VITALS.name]).values())


def _rows(storage: Storage) -> int:
    return sum(file.rows for file in view(storage).of(VITALS_TABLE.name))


def _backlog(bootstrap: str, beds: int, ticks: int) -> int:
    """Append so many seconds of so many beds, the last of them now; how many readings."""
    publisher = Publisher(bootstrap, client_id="ward-bench-lake")
    publisher.connect()
    start_ms = (int(time.time()) - ticks) * 1000
    hospital = Hospital(beds, seed=SEED, script=SCRIPT, start_ms=start_ms, frame_beds=50)
    readings = 0
    for _ in range(ticks):
        for frame in hospital.tick():
            publisher.publish(frame)
            readings += sum(len(bed.readings) for bed in frame.beds)
    if left := publisher.flush():
        raise Transient(f"the broker did not take {left} records")
    return readings


def _sized(settings: Settings, storage: Storage, landed: Landed) -> Size:
    began = time.monotonic()
    now = view(storage)
    looked = time.monotonic()
    brief = summary(settings)
    summed = time.monotonic()
    proof = verify(storage, Wish(settings.kafka))
    return Size(
        records=proof.records,
        rows=sum(proof.rows.values()),
        files=len(now.files),
        manifests=len(now.manifests),
        bytes=brief.bytes,
        view_s=round(looked - began, 3),
        summary_s=round(summed - looked, 3),
        verify_s=proof.seconds,
        verify_us_a_row=round(proof.seconds / max(1, sum(proof.rows.values())) * 1e6, 2),
        reconciled=proof.reconciled,
        land=landed,
    )


def _live(stack: Stack, storage: Storage, beds: int, seconds: int, say: Say) -> Live:
    """Play so many beds live, then ask of every row how long after its moment its batch was told."""
    known = {manifest.name for manifest in view(storage).manifests}
    command = [sys.executable, "-m", "infra.bench.source", stack.environment()["WARD_KAFKA"]]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    played = subprocess.run(  # noqa: S603
        [*command, str(beds), str(seconds), "at_once"],
        cwd=CHECKOUT,
        env=inherited | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if played.returncode:
        raise Transient(f"the simulated hospital ended with {played.returncode}: {played.stderr[-200:]}")
    start_ms = int(played.stdout.splitlines()[0])
    if not wait_until(lambda: _landed(stack) >= _in_log(stack), PATIENCE_S):
        raise Transient("what was played live does not arrive in the lake")
    told = [one for one in view(storage).manifests if one.kind == BATCH and one.name not in known]
    all_s = _delays_s(storage, told, start_ms)
    p50, p95 = np.percentile(all_s, (50, 95))
    say(f"live, {beds} beds: readable after p50 {p50:.1f} s, p95 {p95:.1f} s")
    return Live(
        beds=beds,
        rows=len(all_s),
        rate=round(len(all_s) / seconds),
        p50_s=round(float(p50), 1),
        p95_s=round(float(p95), 1),
        most_s=round(float(all_s.max()), 1),
    )


def _delays_s(storage: Storage, told: list[Manifest], start_ms: int) -> NDArray[np.float64]:
    """From its gateway's tick to its batch's manifest, of every live row, wherever the row stands by now."""
    arrow, tables = storage.arrow(), []
    for file in view(storage).of(VITALS_TABLE.name):
        with arrow.open_input_file(file.path) as opened:
            tables.append(pq.ParquetFile(opened).read(columns=["kafka_partition", "kafka_offset", "frame_ms"]))
    rows = pa.concat_tables(tables)
    partition, offset, frame_ms = (rows.column(n).to_numpy() for n in range(3))
    live = frame_ms >= start_ms
    found = [np.zeros(0)]
    for manifest in told:
        for span in manifest.spans:
            mine = (partition == span.partition) & (offset >= span.first) & (offset < span.until) & live
            if span.topic == VITALS.name:
                found.append((manifest.made_ms - frame_ms[mine]) / 1000)
    delays: NDArray[np.float64] = np.concatenate(found)
    return delays


def _compacted(settings: Settings, storage: Storage, say: Say) -> Compacted:
    before = view(storage)
    began = time.monotonic()
    compact(storage, grace_s=0)
    seconds = time.monotonic() - began
    after = view(storage)
    folders: dict[str, list[int]] = defaultdict(list)
    for file in after.files.values():
        folders[folder_of(file.path)].append(file.size)
    several = [size for sizes in folders.values() if len(sizes) > 1 for size in sizes]
    say(f"compaction: {len(before.files)} files became {len(after.files)} in {seconds:.1f} s")
    return Compacted(
        seconds=round(seconds, 1),
        files_before=len(before.files),
        files_after=len(after.files),
        bytes_before=sum(file.size for file in before.files.values()),
        bytes_after=sum(file.size for file in after.files.values()),
        largest_mb=round(max((file.size for file in after.files.values()), default=0) / MB, 2),
        small=sum(size < TARGET_MB * MB for size in several),
        reconciled=verify(storage, Wish(settings.kafka)).reconciled,
    )


def _report(once: Size, tenfold: Size, live: Live, compacted: Compacted, large: bool) -> Report:
    headroom = tenfold.land.rows_per_s / PROMISED_RATE
    growth = {name: _ratio(getattr(tenfold, name), getattr(once, name)) for name in GROWING}
    growth |= {
        name: _ratio(getattr(tenfold, name), getattr(once, name)) for name in ("view_s", "summary_s", "verify_s")
    }
    growth["land_seconds"] = _ratio(tenfold.land.seconds, once.land.seconds)
    growth["land_cpu"] = _ratio(tenfold.land.cpu_s_per_million, once.land.cpu_s_per_million)
    judged = {f"lands >= {PROMISED_HEADROOM:g} x {PROMISED_RATE} readings/s": headroom >= PROMISED_HEADROOM}
    judged = judged if large else {}
    return Report(
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        once=once,
        tenfold=tenfold,
        growth=growth,
        live=live,
        headroom=round(headroom, 2),
        compacted=compacted,
        kept=judged
        | {
            f"event to readable p95 <= {PROMISED_P95_S:g} s": live.p95_s <= PROMISED_P95_S,
            "files >= 16 MB after compaction, or one a partition": compacted.small == 0,
            "every record in exactly one row": once.reconciled and tenfold.reconciled and compacted.reconciled,
        },
    )


def _ratio(later: float, before: float) -> float:
    return round(later / before, 2) if before else 0.0


def lines(report: Report) -> list[str]:
    """The report in words."""
    out = [f"{report.cores} cores, Python {report.python}, load {report.load_average}"]
    for name, size in (("once", report.once), ("tenfold", report.tenfold)):
        land = size.land
        out.append(
            f"{name:8} {size.rows} rows in {size.files} files, {size.bytes / MB:.1f} MB: "
            f"landed {land.rows_per_s:.0f} rows/s, {land.cpu_s_per_million:.1f} CPU s a million rows, "
            f"{land.rss_mb:.0f} MB; look {size.view_s:.2f} s, "
            f"summary {size.summary_s:.2f} s, verify {size.verify_s:.1f} s ({size.verify_us_a_row:.1f} us a row)"
        )
    out.append("growth   " + ", ".join(f"{name} {ratio:g}x" for name, ratio in report.growth.items()))
    live, small = report.live, report.compacted
    out.append(
        f"live     {live.rate:.0f} readings/s of {live.beds} beds: readable after p50 {live.p50_s} s, "
        f"p95 {live.p95_s} s, most {live.most_s} s; it could land {report.headroom:.1f} x {PROMISED_RATE}/s"
    )
    out.append(
        f"compact  {small.files_before} files became {small.files_after} in {small.seconds} s, "
        f"{small.bytes_before / MB:.1f} MB became {small.bytes_after / MB:.1f} MB, "
        f"the largest has {small.largest_mb} MB"
    )
    return out + [f"{name}: {'reached' if kept else 'NOT reached'}" for name, kept in report.kept.items()]


def exit_code(report: Report) -> int:
    """0 when the promises are kept, else 6."""
    return 0 if all(report.kept.values()) else 6
