"""``ward bench stream``: what our worker spends on a reading, against others that do the same work on the same topic.

Rivals: a plain confluent-kafka loop and Quix Streams. All import the same work (``infra.bench.work``: decode, the core,
encode), read the same bytes and must emit the same transitions, else the run is void. CPU is counted over the process
tree between the first and the last score, so start-up is left out; it hardly depends on what else the machine does,
unlike the drained beds a second. Compare only within a class: state that is ``durable`` survives kill -9.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from contracts.errors import Misconfigured, Transient, WardError
from contracts.topology import ALERTS, PARTITIONS, SCORES
from infra.bench.backlog import Answer, Backlog, answer, identify, make
from infra.bench.broker import POLL_S, Broker, own_stack
from infra.bench.meter import Meter
from infra.bench.rivals.job import Alone, Job
from infra.site import CHECKOUT
from infra.stack import Say, wait_until

SEED: Final = 20260102
OURS, LOOP, QUIX, ALONE = "ward", "loop", "quix", "alone"
RIVALS: Final = (OURS, LOOP, QUIX)
LAYOUTS: Final = {"frames50": 50, "frames1": 1}
CLASSES: Final = ("durable", "volatile")
SNAPSHOT_EVERY_S: Final = 2.0
"""How often state is made durable, by every rival; the worker's own default is 5 s."""
NEVER_S: Final = 86_400.0
DRAIN_S: Final = 600.0
START_S: Final = 90.0
STOP_S: Final = 15.0


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """Our CPU a bed-reading is at most ``at_most`` times that of ``rival``."""

    rival: str
    at_most: float


PROMISES: Final = (Promise(rival=QUIX, at_most=0.5), Promise(rival=LOOP, at_most=3.0))
PROMISED: Final = ("frames50", "durable")
"""Layout and class that the promises speak of."""


class Spread(msgspec.Struct, frozen=True):
    """Median, least and most of the rounds."""

    median: float
    least: float
    most: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One rival in one layout and class. ``framework_us``: what is left of ``cpu_us`` without the shared work."""

    layout: str
    durability: str
    rival: str
    cpu_us: Spread
    framework_us: float
    beds_per_s: Spread
    rss_mb: float
    identical: bool
    void: str | None


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Our CPU a bed-reading over a rival's, round by round; of the whole and of the framework's part alone."""

    layout: str
    durability: str
    rival: str
    whole: Spread
    framework: float | None
    promised: float | None
    reached: bool | None


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The backlog of one layout, and the work alone on it, in CPU us a bed-reading."""

    layout: str
    frames: int
    records: int
    bed_readings: int
    bytes: int
    sha256: str
    transitions: int
    alert_ids: int
    work_us: Spread
    decode_us: float
    encode_us: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench stream --json`` prints. ``reached`` is None where nothing promised was measured."""

    beds: int
    rounds: int
    cores: int
    python: str
    load_average: float
    snapshot_every_s: float
    layouts: list[Layout]
    results: list[Result]
    ratios: list[Ratio]
    void: bool
    reached: bool | None


@dataclass(frozen=True)
class Run:
    """One drained backlog."""

    cpu_us: float
    beds_per_s: float
    rss_mb: float
    void: str | None


@dataclass
class Measured:
    """What was seen of one layout: the work alone, and the runs of each class and rival."""

    name: str
    backlog: Backlog
    expected: Answer
    alone: list[Alone]
    runs: dict[tuple[str, str], list[Run]]

    @property
    def work_us(self) -> Spread:
        """CPU us a bed-reading of the work alone."""
        return _spread([each.cpu_s / self.backlog.bed_readings * 1e6 for each in self.alone])


@dataclass(frozen=True)
class Plan:
    """What is measured. ``seconds`` of ward time a layout."""

    beds: int
    rounds: int
    seconds: Mapping[str, int]
    layouts: Sequence[str]
    classes: Sequence[str]
    rivals: Sequence[str] = RIVALS


def plan(beds: int, rounds: int, short: bool, layouts: Sequence[str], classes: Sequence[str]) -> Plan:
    """A full plan, or a short one that still raises alarms and takes several snapshots."""
    if short:
        return Plan(min(beds, 200), 1, {"frames50": 120, "frames1": 60}, layouts, classes)
    return Plan(beds, rounds, {"frames50": 300, "frames1": 90}, layouts, classes)


def measure(wanted: Plan, say: Say) -> Report:
    """Run the plan on a broker of its own.

    Raises Misconfigured where Quix Streams is not installed, Transient when the broker or a rival does not come up.
    """
    if QUIX in wanted.rivals and importlib.util.find_spec("quixstreams") is None:
        raise Misconfigured("Quix Streams is not installed: `./ward bench` installs it, or uv sync --group bench")
    layouts: list[Measured] = []
    with own_stack(say) as stack:
        stack.up(["kafka"])
        broker = Broker(stack.environment()["WARD_KAFKA"])
        for name in wanted.layouts:
            backlog = make(wanted.beds, wanted.seconds[name], LAYOUTS[name], SEED)
            layout = Measured(name, backlog, answer(backlog), [], {})
            layouts.append(layout)
            if not layout.expected.identities:
                raise WardError("the backlog raises no alarm: there is nothing to compare")
            say(f"{name}: {backlog.bed_readings} bed-readings, {len(layout.expected.identities)} transitions")
            for number in range(wanted.rounds):
                _round(broker, wanted, layout, number, say)
    return _report(wanted, layouts)


def _round(broker: Broker, wanted: Plan, layout: Measured, number: int, say: Say) -> None:
    """Every class and rival once, another rival first in each round; the work alone first."""
    broker.renew()
    broker.fill(layout.backlog.records)
    layout.alone.append(_alone(broker))
    say(f"{layout.name} round {number + 1}: the work alone {layout.work_us.median:.1f} us CPU")
    for durability in wanted.classes:
        for i in range(len(wanted.rivals)):
            rival = wanted.rivals[(number + i) % len(wanted.rivals)]
            run = drain(broker, layout.backlog, layout.expected, rival, durability)
            layout.runs.setdefault((durability, rival), []).append(run)
            say(
                f"{layout.name} round {number + 1} {durability} {rival}: "
                + (run.void or f"{run.cpu_us:.1f} us CPU, {run.beds_per_s:.0f} beds/s, {run.rss_mb:.0f} MB")
            )


def _alone(broker: Broker) -> Alone:
    job = Job(kafka=broker.address, group="-", durable=False, snapshot_every_s=NEVER_S, state_dir="-")
    command = [sys.executable, "-m", "infra.bench.rivals", ALONE, msgspec.json.encode(job).decode()]
    done = subprocess.run(command, cwd=CHECKOUT, env=_environ(), capture_output=True, timeout=DRAIN_S, check=False)  # noqa: S603
    if done.returncode:
        raise Transient(f"the work alone ended with {done.returncode}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Alone)


def drain(broker: Broker, backlog: Backlog, expected: Answer, rival: str, durability: str) -> Run:
    """Empty topics, the backlog, one rival until it is through. Raises Transient when it ends or takes too long."""
    broker.renew()
    broker.fill(backlog.records)
    with tempfile.TemporaryDirectory(prefix="ward-bench-") as folder, (Path(folder) / "log").open("wb") as log:
        began = time.monotonic()
        process = start(broker.address, rival, durability, Path(folder), log)
        try:
            run = _watch(broker, backlog, expected, process, began)
        except Transient as failure:
            log.flush()
            tail = (Path(folder) / "log").read_text(errors="replace")[-2000:]
            raise Transient(f"{rival}: {failure}\n--- end of its log\n{tail}") from failure
        finally:
            end(process)
    identities, digest = identify(broker.read(ALERTS.name, range(PARTITIONS)), backlog)
    if run.void is None and identities != expected.identities:
        missing, extra = len(expected.identities - identities), len(identities - expected.identities)
        return Run(run.cpu_us, run.beds_per_s, run.rss_mb, f"void: {missing} transitions missing, {extra} too many")
    if run.void is None and digest != expected.digest:
        return Run(run.cpu_us, run.beds_per_s, run.rss_mb, "void: the same transitions, but not the same bytes")
    return run


def start(address: str, rival: str, durability: str, folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A rival on that broker; one started again with the same folder goes on where it stood."""
    group = f"bench-{folder.name}"
    durable = durability == "durable"
    environ = _environ()
    if rival == OURS:
        command = [sys.executable, "-m", "streams.worker"]
        environ |= {
            "WARD_KAFKA": address,
            "WARD_WORKER_GROUP": group,
            "WARD_SNAPSHOT_EVERY_S": str(SNAPSHOT_EVERY_S if durable else NEVER_S),
            "WARD_STATE_DIR": str(folder),
            "WARD_LOG_LEVEL": "WARNING",
            "WARD_MODELS_ENABLED": "false",  # no rival asks models; `ward bench latency` has them on
        }
    else:
        job = Job(
            kafka=address,
            group=group,
            durable=durable,
            snapshot_every_s=SNAPSHOT_EVERY_S,
            state_dir=str(folder / "state"),
        )
        command = [sys.executable, "-m", "infra.bench.rivals", rival, msgspec.json.encode(job).decode()]
    return subprocess.Popen(command, cwd=CHECKOUT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603


def _environ() -> dict[str, str]:
    """This environment without settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    return kept | {"PYTHONPATH": str(CHECKOUT)}


def _watch(broker: Broker, backlog: Backlog, expected: Answer, process: subprocess.Popen[bytes], began: float) -> Run:
    """Measure from the first score to the last; wait for the last alert."""
    meter = Meter(process.pid)
    deadline = began + START_S
    while (first := broker.count(SCORES.name, PARTITIONS)) == 0:
        _alive(process, deadline, "no score")
    cpu_s, since = meter.cpu_s(), time.monotonic()
    deadline, rss_mb, seen = since + DRAIN_S, 0.0, first
    while seen < expected.scores:
        _alive(process, deadline, f"{seen} of {expected.scores} scores")
        seen = broker.count(SCORES.name, PARTITIONS)
        rss_mb = max(rss_mb, meter.rss_mb())
    spent_s, took_s = meter.cpu_s() - cpu_s, time.monotonic() - since
    wait_until(lambda: broker.count(ALERTS.name, PARTITIONS) >= len(expected.identities), STOP_S)
    measured = backlog.bed_readings * (expected.scores - first) / expected.scores
    void = None
    if measured < backlog.bed_readings / 2:
        void = "void: most of the backlog was drained before the first look; take a longer one"
    return Run(spent_s / max(measured, 1) * 1e6, measured / took_s, rss_mb, void)


def _alive(process: subprocess.Popen[bytes], deadline: float, standing: str) -> None:
    """One poll's pause. Raises Transient when the rival ended or takes too long."""
    try:
        code = process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        if time.monotonic() > deadline:
            raise Transient(f"too slow: {standing}") from None
    else:
        raise Transient(f"it ended with {code}: {standing}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the rival to stop, then make it."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _report(wanted: Plan, layouts: Sequence[Measured]) -> Report:
    results = [_result(layout, *key) for layout in layouts for key in layout.runs]
    ratios = [
        _ratio(layout, durability, rival)
        for layout in layouts
        for durability in wanted.classes
        for rival in wanted.rivals
        if rival != OURS
    ]
    judged = [ratio.reached for ratio in ratios if ratio.reached is not None]
    void = not all(result.identical for result in results)
    return Report(
        beds=wanted.beds,
        rounds=wanted.rounds,
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        snapshot_every_s=SNAPSHOT_EVERY_S,
        layouts=[_layout(layout) for layout in layouts],
        results=results,
        ratios=ratios,
        void=void,
        reached=None if void or not judged else all(judged),
    )


def _layout(layout: Measured) -> Layout:
    backlog, expected = layout.backlog, layout.expected
    each_us = 1e6 / backlog.bed_readings
    return Layout(
        layout=layout.name,
        frames=backlog.frames,
        records=len(backlog.records),
        bed_readings=backlog.bed_readings,
        bytes=backlog.size,
        sha256=backlog.sha256,
        transitions=len(expected.identities),
        alert_ids=len({ident for ident, _ in expected.identities}),
        work_us=layout.work_us,
        decode_us=statistics.median(alone.decode_s for alone in layout.alone) * each_us,
        encode_us=statistics.median(alone.encode_s for alone in layout.alone) * each_us,
    )


def _result(layout: Measured, durability: str, rival: str) -> Result:
    rounds = layout.runs[durability, rival]
    cpu_us = _spread([run.cpu_us for run in rounds])
    void = next((run.void for run in rounds if run.void), None)
    return Result(
        layout=layout.name,
        durability=durability,
        rival=rival,
        cpu_us=cpu_us,
        framework_us=cpu_us.median - layout.work_us.median,
        beds_per_s=_spread([run.beds_per_s for run in rounds]),
        rss_mb=max(run.rss_mb for run in rounds),
        identical=void is None,
        void=void,
    )


def _ratio(layout: Measured, durability: str, rival: str) -> Ratio:
    ours, theirs = layout.runs[durability, OURS], layout.runs[durability, rival]
    whole = _spread([mine.cpu_us / other.cpu_us for mine, other in zip(ours, theirs, strict=True)])
    work_us = layout.work_us.median
    our_rest = statistics.median(run.cpu_us for run in ours) - work_us
    their_rest = statistics.median(run.cpu_us for run in theirs) - work_us
    promised = next((p.at_most for p in PROMISES if p.rival == rival and (layout.name, durability) == PROMISED), None)
    valid = not any(run.void for run in (*ours, *theirs))
    return Ratio(
        layout=layout.name,
        durability=durability,
        rival=rival,
        whole=whole,
        framework=our_rest / their_rest if their_rest > 0 else None,
        promised=promised,
        reached=None if promised is None or not valid else whole.median <= promised,
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def lines(report: Report) -> list[str]:
    """The report in words and columns."""
    out = [
        f"{report.beds} beds, {report.rounds} round{'s' if report.rounds > 1 else ''}, {report.cores} cores, "
        f"Python {report.python}, load {report.load_average}; durable state written every "
        f"{report.snapshot_every_s:g} s by all. CPU in us a bed-reading."
    ]
    for layout in report.layouts:
        out += [
            "",
            f"{layout.layout}: {layout.bed_readings} bed-readings in {layout.frames} frames, "
            f"{layout.bytes / 1e6:.0f} MB, {layout.alert_ids} alert ids, {layout.transitions} transitions",
            f"  the work that all do, alone: {layout.work_us.median:.1f} us "
            f"({layout.work_us.least:.1f}-{layout.work_us.most:.1f}; "
            f"decode {layout.decode_us:.1f}, encode {layout.encode_us:.1f})",
            f"  {'class':9} {'rival':6} {'CPU us':>8} {'least-most':>13} {'framework':>10} {'beds/s':>9} {'RSS MB':>7}",
        ]
        for r in report.results:
            if r.layout == layout.layout:
                out.append(
                    f"  {r.durability:9} {r.rival:6} {r.cpu_us.median:8.1f} "
                    f"{f'{r.cpu_us.least:.1f}-{r.cpu_us.most:.1f}':>13} {r.framework_us:10.1f} "
                    f"{r.beds_per_s.median:9.0f} {r.rss_mb:7.0f}"
                    + ("  identical alerts" if r.identical else f"  {(r.void or 'void').upper()}")
                )
    out.append("")
    for ratio in report.ratios:
        whole = ratio.whole
        line = f"{ratio.layout} {ratio.durability}: ward / {ratio.rival} = {whole.median:.2f}"
        line += f" ({whole.least:.2f}-{whole.most:.2f})"
        if ratio.framework is not None:
            line += f", framework alone {ratio.framework:.2f}"
        if ratio.promised is not None:
            verdict = "void" if ratio.reached is None else "reached" if ratio.reached else "NOT reached"
            line += f"; promised <= {ratio.promised:g}: {verdict}"
        out.append(line)
    return out


def exit_code(report: Report) -> int:
    """0 when every promise in it is kept, 6 when one is not, 1 when the run is void."""
    return 1 if report.void else 6 if report.reached is False else 0
