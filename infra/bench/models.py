"""``ward bench models``: what a bed's answer costs in a batch through ONNX Runtime, against a call an event.

Rivals get the same rows and must say the same. All run in this process, interleaved round by round; what is counted is
CPU, so that another program's work does not tell. The forest and the networks have the size of the shipped ones and
are fitted here (what is shipped cannot be turned back into scikit-learn or Keras objects); the whole answers come from
the shipped models themselves.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from contracts.errors import Misconfigured
from infra.bench.stream import Spread
from infra.stack import Say

SEED: Final = 20260102
BATCH: Final = 256
WIDTH: Final = 24
"""Features of the forest's rows."""
INPUTS: Final = 8
"""Inputs of the half-space trees."""
WINDOWS: Final = 10_000
"""Windows on which the forecasts of both runtimes are compared."""


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """``ours`` costs at least ``times`` less CPU a row than ``rival``, and says the same within ``apart``."""

    ours: str
    rival: str
    times: float
    apart: float | None = None


FOREST, FOREST_EVENT, FOREST_ROWS = (
    "forest, ONNX, 256 a call",
    "forest, scikit-learn, 1 a call",
    "forest, scikit-learn, 256",
)
TREES, TREES_EVENT = "half-space trees, 256 a call", "half-space trees, river, 1 a call"
LSTM, LSTM_ONE = "forecast, ONNX, 256 a call", "forecast, ONNX, 1 a call"
KERAS_ONE, KERAS = "forecast, Keras predict, 1 a call", "forecast, Keras predict, 256"
PROMISES: Final = (
    Promise(ours=FOREST, rival=FOREST_EVENT, times=100, apart=1e-6),
    Promise(ours=TREES, rival=TREES_EVENT, times=3, apart=1e-9),
    Promise(ours=LSTM, rival=KERAS_ONE, times=500, apart=1e-5),
    Promise(ours=LSTM, rival=LSTM_ONE, times=1 / 0.8),
)
"""P5 and P6. The rest is measured and promises nothing."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU us a row of one contender, over the rounds."""

    name: str
    rows_a_call: int
    cpu_us: Spread


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """How many times dearer the rival is, round by round; ``apart``: the largest difference between what they say."""

    ours: str
    rival: str
    times: Spread
    promised: float
    apart: float | None
    apart_promised: float | None
    reached: bool


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A shipped model's whole answer to 256 beds, memory and all: CPU us a bed, and bytes remembered."""

    model: str
    version: str
    cpu_us: Spread
    bed_bytes: int
    ward_bytes: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ``ward bench models --json`` prints. ``missing``: models of which no version is shipped."""

    cores: int
    python: str
    load_average: float
    rounds: int
    costs: list[Cost]
    ratios: list[Ratio]
    whole: list[Whole]
    missing: list[str]
    reached: bool


@dataclass
class Contender:
    """``call`` answers ``rows`` rows; it is called ``calls`` times a round."""

    name: str
    rows: int
    calls: int
    call: Callable[[], Any]
    cpu_us: list[float] = field(default_factory=list)

    def run(self) -> None:
        """One round."""
        began = time.process_time()
        for _ in range(self.calls):
            self.call()
        self.cpu_us.append((time.process_time() - began) / (self.calls * self.rows) * 1e6)


def measure(rounds: int, short: bool, say: Say) -> Report:
    """All contenders in each round. Raises Misconfigured without the training libraries."""
    for library in ("tensorflow", "sklearn", "river", "onnx"):
        if importlib.util.find_spec(library) is None:
            raise Misconfigured(
                f"{library} is not installed: `./ward bench` installs it, or pip install 'wardstream[training]'"
            )
    apart: dict[str, float] = {}
    contenders: list[Contender] = []
    for what, made in (("forest", _forest), ("half-space trees", _trees), ("forecast", _forecast)):
        say(f"{what}: fitting and comparing")
        found, difference = made(short)
        contenders += found
        apart[found[0].name] = difference
    shipped, missing = _shipped()
    for each in (*contenders, *(one for one, _ in shipped)):
        each.call()  # what is made at the first call is not the cost of a call
    for number in range(rounds):
        for each in (*contenders, *(one for one, _ in shipped)):
            each.run()
        say(
            f"round {number + 1} of {rounds}: " + ", ".join(f"{c.cpu_us[-1]:.1f}" for c in contenders) + " us CPU a row"
        )
    ratios = [_ratio(promise, {c.name: c for c in contenders}, apart) for promise in PROMISES]
    return Report(
        cores=os.cpu_count() or 0,
        python=sys.version.split()[0],
        load_average=round(os.getloadavg()[0], 2),
        rounds=rounds,
        costs=[Cost(name=c.name, rows_a_call=c.rows, cpu_us=spread(c.cpu_us)) for c in contenders],
        ratios=ratios,
        whole=[msgspec.structs.replace(whole, cpu_us=spread(one.cpu_us)) for one, whole in shipped],
        missing=missing,
        reached=all(ratio.reached for ratio in ratios),
    )


def spread(values: list[float]) -> Spread:
    """Median, least and most."""
    return Spread(statistics.median(values), min(values), max(values))


def _ratio(promise: Promise, by_name: Mapping[str, Contender], apart: Mapping[str, float]) -> Ratio:
    ours, rival = by_name[promise.ours].cpu_us, by_name[promise.rival].cpu_us
    times = spread([theirs / mine for mine, theirs in zip(ours, rival, strict=True)])
    difference = apart[promise.ours] if promise.apart is not None else None
    return Ratio(
        ours=promise.ours,
        rival=promise.rival,
        times=times,
        promised=promise.times,
        apart=difference,
        apart_promised=promise.apart,
        reached=times.median >= promise.times and (difference is None or difference <= (promise.apart or 0)),
    )


def _session(onnx: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def _forest(short: bool) -> tuple[list[Contender], float]:
    from models.training import anomaly, anomaly_forest

    chance = np.random.default_rng(SEED)
    forest = anomaly_forest.fitted(
        chance.normal(size=(20_000, WIDTH)).astype(np.float32), anomaly.TREES, anomaly.SAMPLES, SEED
    )
    session = _session(anomaly_forest.exported(forest))
    rows = chance.normal(scale=1.5, size=(BATCH * 20, WIDTH)).astype(np.float32)
    batch, one = rows[:BATCH], rows[:1]
    said = session.run([anomaly_forest.OUTPUT], {anomaly_forest.INPUT: rows})[0]
    difference = float(np.abs(said + forest.score_samples(rows)).max())
    return [
        Contender(FOREST, BATCH, 40, lambda: session.run([anomaly_forest.OUTPUT], {anomaly_forest.INPUT: batch})),
        Contender(FOREST_EVENT, 1, 5 if short else 40, lambda: forest.score_samples(one)),
        Contender(FOREST_ROWS, BATCH, 2 if short else 10, lambda: forest.score_samples(batch)),
    ], difference


def _trees(short: bool) -> tuple[list[Contender], float]:
    from river.anomaly import HalfSpaceTrees

    from models.training.anomaly import HALF_SPACE_TREES
    from models.vitals.halfspace import HalfSpace

    chance = np.random.default_rng(SEED)
    rival = HalfSpaceTrees(**HALF_SPACE_TREES, seed=SEED)
    window = int(HALF_SPACE_TREES["window_size"])
    for row in chance.beta(2, 5, size=(window, INPUTS)):
        rival.learn_one(dict(enumerate(row)))
    ours = HalfSpace.from_river(rival)
    rows = chance.beta(2, 5, size=(BATCH, INPUTS))
    events = [dict(enumerate(row)) for row in rows.tolist()]
    kept = ours.mass(b"")
    difference = float(np.abs(ours.score(ours.paths(rows), kept) - [rival.score_one(event) for event in events]).max())
    turn = iter(range(sys.maxsize))

    def batch() -> None:
        nonlocal kept
        paths = ours.paths(rows)
        ours.score(paths, kept)
        kept = ours.learned(paths, kept)

    def event() -> None:
        seen = events[next(turn) % BATCH]
        rival.score_one(seen)
        rival.learn_one(seen)

    return [
        Contender(TREES, BATCH, 5 if short else 20, batch),
        Contender(TREES_EVENT, 1, BATCH if short else 4 * BATCH, event),
    ], difference


def _forecast(short: bool) -> tuple[list[Contender], float]:
    from models.training import forecast, forecast_net
    from models.training.forecast_export import exported
    from models.training.forecast_grid import AHEAD_H
    from models.vitals.history import CHANNELS, HOURS

    chance = np.random.default_rng(SEED)
    windows = _windows(chance, WINDOWS)
    age, stay = chance.uniform(18, 90, WINDOWS).astype(np.float32), chance.uniform(0, 200, WINDOWS).astype(np.float32)
    middle, deviation = np.nanmean(windows, axis=(0, 1)), np.nanstd(windows, axis=(0, 1))
    reach = np.ones((len(CHANNELS), len(AHEAD_H)), np.float32)
    shape = forecast_net.Shape(HOURS, AHEAD_H, middle, deviation, reach, (3, 12, 24))
    recipe = forecast.HOUR
    net = forecast_net.network(shape, recipe.units, recipe.wide, recipe.dropout, SEED)
    raw = net.get_layer("raw")  # starts at zero: an untrained head would say nothing to compare
    raw.set_weights([chance.normal(scale=0.05, size=part.shape).astype(np.float32) for part in raw.get_weights()])
    settle = forecast_net.Settle(np.zeros_like(reach), np.ones_like(reach))
    session = _session(exported(shape, [forecast_net.weights(net)], settle))
    inputs = {"windows": windows, "age_years": age, "stay_h": stay}
    sequence, facts = forecast_net.features(shape, windows, age, stay)
    theirs = net.predict([sequence, facts], batch_size=BATCH, verbose=0)
    difference = float(np.abs(session.run(["moves"], inputs)[0] - theirs).max())
    batch = {name: values[:BATCH] for name, values in inputs.items()}
    one = {name: values[:1] for name, values in inputs.items()}
    calls = 2 if short else 10
    return [
        Contender(LSTM, BATCH, 4 * calls, lambda: session.run(["quantiles"], batch)),
        Contender(LSTM_ONE, 1, 40 * calls, lambda: session.run(["quantiles"], one)),
        Contender(KERAS_ONE, 1, calls, lambda: net.predict([sequence[:1], facts[:1]], batch_size=1, verbose=0)),
        Contender(
            KERAS, BATCH, calls, lambda: net.predict([sequence[:BATCH], facts[:BATCH]], batch_size=BATCH, verbose=0)
        ),
    ], difference


def _windows(chance: np.random.Generator, many: int) -> Any:
    """Hourly windows (many, 24, 6) that wander about a usual level, with a third unknown."""
    from models.vitals.history import HOURS

    usual = np.array([85, 18, 96, 120, 80, 37.0])
    step = np.array([3, 1, 0.7, 5, 4, 0.1])
    walks = usual + np.cumsum(chance.normal(size=(many, HOURS, len(usual))), axis=1) * step
    return np.where(chance.random(walks.shape) < 1 / 3, np.nan, walks).astype(np.float32)


def _shipped() -> tuple[list[tuple[Contender, Whole]], list[str]]:
    """The shipped champions answering 256 beds of one ward, each with what it remembers."""
    from models.ports import ANOMALY, DETERIORATION, FORECAST, Memory
    from models.registry import Registry
    from models.vitals.engine import LOADERS

    registry, found, missing = Registry(), [], []
    windows = _beds()
    for name in (ANOMALY, FORECAST, DETERIORATION):
        version = registry.aliases(name).champion
        if version is None:
            missing.append(name)
            continue
        model = importlib.import_module(LOADERS[name]).load(registry.load(name, version))
        memory = Memory((b"",) * BATCH)
        if name == DETERIORATION:
            call: Callable[[], Any] = partial(model.assess, windows)
        else:
            verb = model.judge if name == ANOMALY else model.forecast
            _, memory = verb(windows, memory)
            call = partial(verb, windows, memory)
        whole = Whole(
            model=name,
            version=version,
            cpu_us=Spread(0, 0, 0),
            bed_bytes=max(map(len, memory.beds)),
            ward_bytes=len(memory.ward),
        )
        found.append((Contender(name, BATCH, 5, call), whole))
    return found, missing


def _beds() -> Any:
    from models.ports import Windows
    from models.vitals.history import MINUTES

    chance = np.random.default_rng(SEED)
    hours = _windows(chance, BATCH)
    minutes = hours[:, -1:, :] + chance.normal(scale=0.5, size=(BATCH, MINUTES, hours.shape[-1]))
    limits = np.tile(
        np.array([[50, 130], [8, 25], [90, 100], [90, 180], [60, 120], [35, 39]], np.float32), (BATCH, 1, 1)
    )
    return Windows(
        minutes.astype(np.float32),
        hours,
        np.full(BATCH, 1_767_323_000_000, np.int64),
        chance.uniform(18, 90, BATCH).astype(np.float32),
        (chance.random(BATCH) < 0.5).astype(np.float32),
        chance.uniform(0, 200, BATCH).astype(np.float32),
        limits,
        np.zeros(BATCH, np.bool_),
    )


def lines(report: Report) -> list[str]:
    """The report in columns."""
    out = [
        f"CPU us a row; {report.rounds} rounds, {report.cores} cores, Python {report.python}, "
        f"load {report.load_average}",
        f"{'':36} {'median':>10} {'least':>10} {'most':>10}",
    ]
    out += [f"{c.name:36} {c.cpu_us.median:10.2f} {c.cpu_us.least:10.2f} {c.cpu_us.most:10.2f}" for c in report.costs]
    out += ["", "how many times cheaper"]
    for ratio in report.ratios:
        verdict = "reached" if ratio.reached else "NOT reached"
        apart = "" if ratio.apart is None else f"; apart {ratio.apart:.1e}, promised <= {ratio.apart_promised:g}"
        out.append(
            f"{ratio.ours} than {ratio.rival}: {ratio.times.median:.1f} "
            f"({ratio.times.least:.1f} to {ratio.times.most:.1f}), promised >= {ratio.promised:g}{apart}: {verdict}"
        )
    out += ["", f"the shipped models, {BATCH} beds of one ward, whole answers"]
    out += [
        f"{w.model} {w.version}: {w.cpu_us.median:.1f} us CPU a bed ({w.cpu_us.least:.1f} to {w.cpu_us.most:.1f}); "
        f"remembers {w.bed_bytes} B a bed, {w.ward_bytes} B a ward"
        for w in report.whole
    ]
    return out + [f"{name}: none is shipped" for name in report.missing]


def exit_code(report: Report) -> int:
    """0 when the promises are kept, else 6."""
    return 0 if report.reached else 6
