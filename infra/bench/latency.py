"""``ward bench latency``: from the tick that is due at a gateway to the tile parsed by a client of the feed.

The whole chain runs on real servers: simulated hospital -> Kafka -> worker -> Kafka -> feed -> SSE client, on one
host and so on one clock. A frame's event time is when its tick was due, thus the producer's own work counts too. Two
forms: ``at_once``, all wards tick at the same moment (the simulator's way, and the worst case: every ward waits for
those before it), and ``spread``, each ward at its own phase of the second (the way of gateways that do not know each
other). The promise is judged for both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import httpx
import msgspec
import numpy as np

from contracts.errors import Transient
from contracts.topology import FORECASTS, PARTITIONS
from infra.bench.broker import Broker, own_stack
from infra.bench.listener import Arrival, Listener
from infra.bench.meter import Meter
from infra.bench.source import Form, Played, phase_ms
from infra.site import CHECKOUT
from infra.stack import Say, Stack, wait_until

PROMISED_BEDS: Final = 1_000
P50_MS, P99_MS, MOST_MS = 50.0, 250.0, 1_000.0
"""At 1,000 beds."""
KNEE_MS: Final = 1_000.0
STEPS: Final = (1_000, 2_500, 5_000, 7_500, 10_000)
WARM_UP_S: Final = 5
"""Ticks at the start that are not counted: code is loaded, buffers grow."""
GRACE_S: Final = 30
ARRIVAL_S: Final = 5.0
ATTEMPTS: Final = 2
"""A number of beds that was not carried is tried again: a neighbour's burst on a shared machine is not the knee."""
MEASURED: Final = ("kafka", "vitals", "feed", "gateway", "imaging", "image-worker")
"""Those of them that run are looked at while it lasts."""
FORMS: Final[tuple[Form, ...]] = ("at_once", "spread")


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p99: float
    most: float


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One process while it was measured: cores in use and resident memory."""

    cores: float
    rss_mb: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One number of beds in one form.

    ``tile_ms``: tick due -> tiles of its ward parsed, one value a frame. ``log_ms``: the same from the broker's append
    on. ``alarm_ms``: the reading that raised an alarm -> the alarm parsed. ``gap_ms``: the longest time in which a ward
    got no tiles (ticks are 1,000 apart). ``growth_ms``: by how much the median of the last third exceeds the first's.
    ``forecasts``: records of vitals_forecasts, one a ward every ten seconds where models are in force.
    """

    beds: int
    form: Form
    seconds: int
    frames: int
    lost_frames: int
    tile_ms: Spread
    log_ms: Spread
    alarm_ms: Spread | None
    alarms: int
    gap_ms: float
    growth_ms: float
    producer_behind_p99_ms: float
    processes: dict[str, Load]
    forecasts: int

    @property
    def holds(self) -> bool:
        """Whether this many beds are carried live: nothing lost, p99 within the knee, no backlog that grows."""
        return self.lost_frames == 0 and self.tile_ms.p99 <= KNEE_MS and self.growth_ms <= KNEE_MS / 2


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench latency --json`` prints.

    ``kept``: whether the promise for 1,000 beds is. ``knee``: the most beds that were carried live, 0 for none;
    ``beyond_knee``: whether more were tried, twice, and were too many. All by form. ``models``: the worker's, by name.
    """

    cores: int
    python: str
    load_average: float
    steps: list[Step]
    kept: dict[Form, bool]
    knee: dict[Form, int]
    beyond_knee: dict[Form, bool]
    models: dict[str, str]


def sizes(beds: int) -> list[int]:
    """The numbers of beds to go through: up to 1,000 just that many, above it a staircase that finds the knee."""
    return [step for step in STEPS if step < beds] + [beds] if beds > PROMISED_BEDS else [beds]


def measure(beds: Sequence[int], forms: Sequence[Form], seconds: int, say: Say, models: bool = True) -> Report:
    """Run the chain with so many beds in turn, ``seconds`` each. Raises Transient when it does not come up."""
    steps: list[Step] = []
    serving: dict[str, str] = {}
    for form in forms:
        for each in beds:
            for _ in range(ATTEMPTS):
                with own_stack(say) as stack:  # a fresh one: the beds of the step before would be silent, and alarm
                    wanted = {"WARD_FEED_DEMO": "true", "WARD_MODELS_ENABLED": str(models).lower()}
                    stack.up(["vitals", "feed"], extra_env=wanted)
                    serving = httpx.get(stack.site().url("vitals_metrics") + "/healthz").json().get("models", {})
                    steps.append(one_step(stack, each, form, seconds))
                say(line(steps[-1]))
                if steps[-1].holds:
                    break
            else:
                break
    of_form = {form: [step for step in steps if step.form == form] for form in forms}
    return Report(
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        steps=steps,
        kept={step.form: _keeps(step) for step in steps if step.beds == PROMISED_BEDS},
        knee={form: max((s.beds for s in each if s.holds), default=0) for form, each in of_form.items()},
        beyond_knee={form: not each[-1].holds for form, each in of_form.items()},
        models=serving,
    )


def _keeps(step: Step) -> bool:
    tile = step.tile_ms
    return step.lost_frames == 0 and tile.p50 <= P50_MS and tile.p99 <= P99_MS and tile.most <= MOST_MS


def one_step(stack: Stack, beds: int, form: Form, seconds: int) -> Step:
    """Play so many beds through a topology that is up, and measure. Raises Transient when it does not come to that."""
    environment = stack.environment()
    broker = Broker(environment["WARD_KAFKA"])
    forecasts = -broker.count(FORECASTS.name, PARTITIONS)
    listener = Listener(stack.endpoints["feed"])
    listener.start()
    command = [sys.executable, "-m", "infra.bench.source", environment["WARD_KAFKA"], str(beds), str(seconds), form]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WARD_")}
    source = subprocess.Popen(  # noqa: S603
        command, cwd=CHECKOUT, env=inherited | {"PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.PIPE, text=True
    )
    try:
        if source.stdout is None or not (first := source.stdout.readline()):
            raise Transient(f"the simulated hospital does not start (it ended with {source.wait()})")
        start_ms = int(first)
        meters = {name: Meter(pid) for name in MEASURED if (pid := stack.pid(name))}
        meters["producer"] = Meter(source.pid)
        before = {name: meter.cpu_s() for name, meter in meters.items()}
        client_s = listener.cpu_s
        rest, loads = _follow(source, seconds, meters, before)
        played = msgspec.json.decode(rest.strip().splitlines()[-1], type=Played)
        wait_until(lambda: len(_live(listener, start_ms, form)) >= played.frames, ARRIVAL_S)
        forecasts += broker.count(FORECASTS.name, PARTITIONS)
        loads["client"] = Load(cores=round((listener.cpu_s - client_s) / seconds, 3), rss_mb=0.0)
    finally:
        source.kill()
        source.communicate()
        listener.stop()
    return _judge(beds, form, seconds, start_ms, listener, played, loads, forecasts)


def _live(listener: Listener, start_ms: int, form: Form) -> list[Arrival]:
    """The arrivals of this run's own frames; what the worker's clock led to (silent beds) has other times."""
    arrivals = [a for a in tuple(listener.arrivals) if a.at_ms >= start_ms]
    wards = sorted({a.ward for a in arrivals}, key=lambda ward: int(ward[1:]))
    phases = {ward: phase_ms(ward, wards) if form == "spread" else 0 for ward in wards}
    return [a for a in arrivals if (a.at_ms - start_ms) % 1000 == phases[a.ward]]


def _follow(
    source: subprocess.Popen[str], seconds: int, meters: dict[str, Meter], before: dict[str, float]
) -> tuple[str, dict[str, Load]]:
    """Wait for the last tick, reading the meters just before the producer is gone; what it said, and the loads."""
    spent = dict(before)
    memory = dict.fromkeys(meters, 0.0)
    for _ in range(int(seconds) + GRACE_S):
        for name, meter in meters.items():
            spent[name] = max(spent[name], meter.cpu_s())
            memory[name] = max(memory[name], meter.rss_mb())
        try:
            source.wait(1.0)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        raise Transient("the simulated hospital does not keep its pace of a tick a second")
    rest = source.stdout.read() if source.stdout is not None else ""
    if not rest.strip():
        raise Transient(f"the simulated hospital ended with {source.returncode}")
    return rest, {
        name: Load(cores=round((spent[name] - before[name]) / seconds, 3), rss_mb=round(memory[name], 1))
        for name in meters
    }


def _judge(
    beds: int,
    form: Form,
    seconds: int,
    start_ms: int,
    listener: Listener,
    played: Played,
    loads: dict[str, Load],
    forecasts: int,
) -> Step:
    live = _live(listener, start_ms, form)
    counted = [a for a in live if a.at_ms >= start_ms + WARM_UP_S * 1000]
    if not counted:
        raise Transient("no tile of this run reached the client")
    tile_ms = [a.seen_ms - a.at_ms for a in counted]
    third = max(1, len(counted) // 3)
    raised = {r.alert_id: r for r in listener.raised if r.reading_ms >= start_ms + WARM_UP_S * 1000}.values()
    ticks = {a.at_ms for a in counted}
    alarm_ms = [r.seen_ms - r.reading_ms for r in raised if r.reading_ms in ticks]
    return Step(
        beds=beds,
        form=form,
        seconds=seconds,
        frames=len(live),
        lost_frames=played.undelivered + played.failed + max(0, played.frames - len(live)),
        tile_ms=_spread(tile_ms),
        log_ms=_spread([a.seen_ms - a.now_ms for a in counted]),
        alarm_ms=_spread(alarm_ms) if alarm_ms else None,
        alarms=len(alarm_ms),
        gap_ms=_longest_gap(counted),
        growth_ms=round(float(np.median(tile_ms[-third:]) - np.median(tile_ms[:third])), 1),
        producer_behind_p99_ms=played.behind_p99_ms,
        processes=loads,
        forecasts=forecasts,
    )


def _longest_gap(arrivals: Sequence[Arrival]) -> float:
    seen: defaultdict[str, list[float]] = defaultdict(list)
    for arrival in arrivals:
        seen[arrival.ward].append(arrival.seen_ms)
    return round(max((float(np.max(np.diff(times))) for times in seen.values() if len(times) > 1), default=0.0), 1)


def _spread(values: Sequence[float]) -> Spread:
    p50, p99 = np.percentile(values, (50, 99))
    return Spread(round(float(p50), 1), round(float(p99), 1), round(max(values), 1))


def line(step: Step) -> str:
    """One step in words."""
    tile, log = step.tile_ms, step.log_ms
    alarm = f", {step.alarms} alarms p50 {step.alarm_ms.p50:.0f} most {step.alarm_ms.most:.0f}" if step.alarm_ms else ""
    cores = ", ".join(f"{name} {load.cores:.2f}" for name, load in step.processes.items())
    return (
        f"{step.beds} beds {step.form}: tile p50 {tile.p50:.0f}, p99 {tile.p99:.0f}, most {tile.most:.0f} ms "
        f"(from the log p50 {log.p50:.0f}, p99 {log.p99:.0f}){alarm}; longest gap {step.gap_ms:.0f} ms, "
        f"growth {step.growth_ms:.0f} ms, {step.lost_frames} frames lost, {step.forecasts} forecasts of wards; "
        f"cores: {cores}"
    )


def lines(report: Report) -> list[str]:
    """The report in words."""
    out = [f"{report.cores} cores, Python {report.python}, load {report.load_average}; a tick a second in every ward"]
    out.append("models: " + (", ".join(f"{n}@{v}" for n, v in sorted(report.models.items())) or "none"))
    out += [line(step) for step in report.steps]
    for form, kept in report.kept.items():
        out.append(
            f"promised at {PROMISED_BEDS} beds, p50 <= {P50_MS:g}, p99 <= {P99_MS:g}, most <= {MOST_MS:g} ms, {form}: "
            + ("reached" if kept else "NOT reached")
        )
    for form, knee in report.knee.items():
        if report.beyond_knee[form] or knee > PROMISED_BEDS:
            bound = "and not more" if report.beyond_knee[form] else "or more"
            out.append(
                f"carried live, {form} (p99 <= {KNEE_MS:g} ms, no loss, no growing backlog): {knee} beds {bound}"
            )
    return out


def exit_code(report: Report) -> int:
    """0 when the promise is kept or was not measured, else 6."""
    return 0 if all(report.kept.values()) else 6
