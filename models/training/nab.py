"""The Numenta Anomaly Benchmark's score, and the detector's own code path on its series: one channel, any step.

Not medical: a check that baseline, portrait, forest and half-space trees find changes in series that nobody here chose.
Scoring as in Lavin and Ahmad 2015: the first detection in a labelled window earns a sigmoid of how early it is, one
outside costs by how far it lies behind the last window, a missed window costs. 0 is a detector that says nothing, 100 a
perfect one. As the benchmark does, each detector's threshold is the one that is best on these very series.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.registry import Interval
from models.training import anomaly_forest
from models.vitals import oddness, portrait
from models.vitals.baseline import Baseline, Population
from models.vitals.halfspace import HalfSpace, Mass
from models.vitals.oddness import FOREST, HALF_SPACE, Head, Knots, Part
from models.vitals.portrait import Portrait, Shape

Doubles = NDArray[np.float64]
_SHAPE: Final = Shape(recent=5, slope=48, spread=48, stale=(1,))
_FADING: Final = 1 - 2 ** (-1 / 500)
_INPUTS: Final = ("now x", "recent x", "slope x", "spread x")
SEEDS: Final = (1, 2, 3)
_WEIGHTS: Final = {FOREST: 1.0, HALF_SPACE: 0.5, "distance": 1.0}


class Profile(NamedTuple):
    """What a false detection and a missed window cost; a found one earns 1."""

    false: float
    missed: float


PROFILES: Final = {"standard": Profile(0.11, 1.0), "low_fp": Profile(0.22, 1.0), "low_fn": Profile(0.11, 2.0)}


class Series(NamedTuple):
    """``windows``: first and last row of each labelled anomaly. Rows before ``probation`` are not scored."""

    name: str
    values: Doubles
    windows: tuple[tuple[int, int], ...]
    probation: int


def read(folder: Path) -> list[Series]:
    """The series of a folder like ``shared/data/vitals/nab``. Raises Misconfigured when it is not there."""
    labels = folder / "anomaly_windows.json"
    if not labels.is_file():
        raise Misconfigured(f"no {labels.name} in {folder}; it is laid out as in shared/data/vitals/nab")
    found = []
    for name, spans in sorted(json.loads(labels.read_text(encoding="utf-8")).items()):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        at = np.array([row["timestamp"] for row in rows], "datetime64[s]")
        edges = [np.array([start.split(".")[0], end.split(".")[0]], "datetime64[s]") for start, end in spans]
        windows = tuple(
            (int(np.searchsorted(at, start)), int(np.searchsorted(at, end, "right")) - 1) for start, end in edges
        )
        values = np.array([row["value"] for row in rows], np.float64)
        found.append(Series(name.removesuffix(".csv"), values, windows, min(int(0.15 * len(values)), 750)))
    return found


def ours(series: Series, seed: int) -> Doubles:
    """The oddness of each row: the detector's features, forest and half-space trees, fitted on the probation only."""
    values = series.values.astype(np.float32)[:, None]
    past = values[: series.probation]
    spread = max(float(past.std()), 1e-9)
    step = np.array([spread])
    population = Population(np.array([float(past.mean())]), step, step, step / 20, 10.0, 100.0)
    usual = _usual(values.astype(np.float64), population)
    look = max(_SHAPE[:3])
    before = np.full((look - 1, 1), np.nan, np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([before, values]), look, axis=0)
    seen = portrait.drawn(windows.transpose(0, 2, 1), usual, population, _SHAPE)
    names = portrait.names(["x"])
    inputs = _squashed(seen, names)
    half_space = _half_space(inputs, series.probation, seed)
    head = _fitted(seen, half_space, names, population, series.probation, seed)
    return head.mixed(head.raw(seen, half_space))


def river_alone(series: Series, seed: int) -> Doubles:
    """river's HalfSpaceTrees as its documentation has it: scaled by the range so far, scored, then learned."""
    from river import anomaly, preprocessing

    scaler, model = preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=seed)
    scores = np.zeros(len(series.values))
    for row, value in enumerate(series.values.tolist()):
        scaler.learn_one({"x": value})
        x = scaler.transform_one({"x": value})
        scores[row] = model.score_one(x)
        model.learn_one(x)
    return scores


def robust_z(series: Series, window: int = 500) -> Doubles:
    """Distance to the median of the ``window`` rows before, in median absolute deviations."""
    scores = np.zeros(len(series.values))
    for row in range(20, len(series.values)):
        past = series.values[max(0, row - window) : row]
        middle = np.median(past)
        scores[row] = abs(series.values[row] - middle) / max(float(np.median(np.abs(past - middle))), 1e-9)
    return scores


def judged(
    series: Sequence[Series], scores: Sequence[Doubles], profile: Profile, draws: int = 500, seed: int = 0
) -> Interval:
    """The NAB score of a detector; its interval is by bootstrap over the series, at the same threshold."""
    swept = np.unique(np.quantile(np.concatenate(scores), 1 - np.logspace(-4.5, -0.5, 120)))
    candidates = np.r_[swept, np.inf]  # with the threshold that nothing reaches
    outside = [_outside(one) for one in series]
    points = np.array(
        [
            [
                _points(one, found, level, profile, costs)
                for one, found, costs in zip(series, scores, outside, strict=True)
            ]
            for level in candidates
        ]
    )
    windows = np.array([len(one.windows) for one in series], np.float64)
    best = points[points.sum(axis=1).argmax()]
    weights = np.random.default_rng(seed).multinomial(len(series), np.full(len(series), 1 / len(series)), draws)
    drawn = _normalised(weights @ best, weights @ windows, profile)
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = float(_normalised(best.sum(keepdims=True), windows.sum(keepdims=True), profile)[0])
    return Interval(value, float(low), float(high), len(series))


def compared(folder: Path, seeds: Sequence[int] = SEEDS) -> Mapping[str, Mapping[str, Interval]]:
    """detector -> profile -> NAB score: ours, river's half-space trees alone, a robust z.

    Trees are drawn by lot, and the score moves by several points with the draw: told is the median of ``seeds``.
    """
    series = read(folder)
    detectors = {
        "ours": [[ours(one, seed) for one in series] for seed in seeds],
        "river": [[river_alone(one, seed) for one in series] for seed in seeds],
        "zscore": [[robust_z(one) for one in series]],
    }
    return {
        name: {
            profile: _middle([judged(series, scores, costs) for scores in draws]) for profile, costs in PROFILES.items()
        }
        for name, draws in detectors.items()
    }


def _middle(draws: Sequence[Interval]) -> Interval:
    return sorted(draws, key=lambda draw: draw.value)[len(draws) // 2]


def _points(series: Series, scores: Doubles, level: float, profile: Profile, outside: Doubles) -> float:
    loud = scores >= level
    loud[: series.probation] = False
    total = float(outside[loud].sum()) * profile.false
    for first, last in series.windows:
        hits = np.flatnonzero(loud[first : last + 1])
        width = last - first + 1
        early = _sigmoid(np.array([-(width - hits[0]) / width, -1.0])) if len(hits) else None
        total += float(early[0] / early[1]) if early is not None else -profile.missed
    return total


def _outside(series: Series) -> Doubles:
    """What a detection at each row costs where it lies in no window, as a share of the profile's; 0 in a window."""
    rows = np.arange(len(series.values))
    costs = np.full(len(rows), -1.0)
    for first, last in series.windows:  # in order, so that the window just passed is the one that stands
        behind = rows > last
        costs[behind] = _sigmoid((rows[behind] - last) / max(last - first, 1))
    for first, last in series.windows:
        costs[first : last + 1] = 0.0
    return costs


def _sigmoid(place: Doubles) -> Doubles:
    """1 well before the end of a window (places below 0), -1 far behind it."""
    found: Doubles = np.where(place > 3.0, -1.0, 2.0 / (1.0 + np.exp(5.0 * np.minimum(place, 3.0))) - 1.0)
    return found


def _normalised(points: Doubles, windows: Doubles, profile: Profile) -> Doubles:
    null = -profile.missed * windows
    found: Doubles = 100.0 * (points - null) / (windows - null)
    return found


def _usual(values: Doubles, population: Population) -> tuple[Doubles, Doubles]:
    """(rows, 1) mean and deviation expected of each row, from the rows before it."""
    base = Baseline.new(1, 1)
    means, deviations = np.empty_like(values), np.empty_like(values)
    for row in range(len(values)):
        mean, deviation = base.usual(population)
        means[row], deviations[row] = mean[0], deviation[0]
        base = base.robustly(values[row : row + 1], _FADING, population)
    return means, deviations


def _squashed(seen: Portrait, names: Sequence[str]) -> Doubles:
    z = seen.features[:, [names.index(name) for name in _INPUTS]].astype(np.float64)
    found: Doubles = 0.5 + 0.5 * z / (2.0 + np.abs(z))
    return found


def _half_space(inputs: Doubles, probation: int, seed: int) -> Doubles:
    """Scored, then learned, a window at a time; the probation comes first and is the window's length."""
    from river.anomaly import HalfSpaceTrees

    model = HalfSpaceTrees(n_trees=25, height=6, window_size=probation, seed=seed)
    for row in inputs[:probation].tolist():
        model.learn_one(dict(enumerate(row)))
    trees = HalfSpace.from_river(model)
    mass: Mass = trees.mass(b"")
    scores = []
    for start in range(0, len(inputs), probation):
        paths = trees.paths(inputs[start : start + probation])
        scores.append(trees.score(paths, mass))
        mass = trees.learned(paths, mass)
    return np.concatenate(scores)


def _fitted(
    seen: Portrait, half_space: Doubles, names: tuple[str, ...], population: Population, probation: int, seed: int
) -> Head:
    start = slice(max(_SHAPE[:3]), probation)
    forest = anomaly_forest.fitted(seen.features[start], 80, 256, seed)
    columns = np.arange(len(names))
    blank = tuple(Part(name, weight, Knots(np.arange(2.0), np.arange(2.0))) for name, weight in _WEIGHTS.items())
    session = oddness.session(anomaly_forest.exported(forest))
    head = Head(names, _SHAPE, population, _FADING, columns, session, blank, blank[0].knots)
    raw = head.raw(seen, half_space)
    parts = tuple(part._replace(knots=Knots.of(raw[part.name][start])) for part in blank)
    return head._replace(parts=parts)
