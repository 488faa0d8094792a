"""One calibrated measure of oddness from several: a forest, half-space trees and plain distances, each as a tail.

A tail is -log10 of the share of normal steps that are at least as odd: 2 is one step in a hundred.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from contracts.errors import Poison
from models.vitals.baseline import Doubles, Population
from models.vitals.portrait import Portrait, Shape

FOREST: Final = "forest"
HALF_SPACE: Final = "half_space"
MOST: Final = 9.0


class Knots(NamedTuple):
    """Raw values, ascending, and the tail at each; in between straight lines, beyond the last its line goes on."""

    raw: Doubles
    tail: Doubles

    @classmethod
    def of(cls, normal: Doubles, per_decade: int = 8) -> Knots:
        """From the raw values of normal steps: the tail is known as far as twenty of them reach."""
        ordered = np.sort(normal)
        most = np.log10(len(ordered) / 20)
        tails = np.linspace(0.0, most, max(2, int(most * per_decade) + 1))
        raw, kept = np.unique(np.quantile(ordered, 1 - 10.0**-tails), return_index=True)
        return cls(raw, tails[kept])

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Knots:
        """From a manifest."""
        return cls(np.array(raw["raw"], np.float64), np.array(raw["tail"], np.float64))

    def at(self, raw: Doubles) -> Doubles:
        """The tail of raw values, at most ``MOST``."""
        if len(self.raw) < 2:
            return np.zeros(np.shape(raw))
        inside: Doubles = np.interp(raw, self.raw, self.tail)
        back = min(5, len(self.raw))
        rise = (self.tail[-1] - self.tail[-back]) / (self.raw[-1] - self.raw[-back])
        found: Doubles = np.minimum(inside + np.maximum(raw - self.raw[-1], 0.0) * rise, MOST)
        return found

    def plain(self) -> dict[str, list[float]]:
        """For a manifest."""
        return {"raw": [float(x) for x in self.raw], "tail": [float(x) for x in self.tail]}


class Part(NamedTuple):
    """A measure that counts with a weight: a feature by name, or ``forest`` or ``half_space``."""

    name: str
    weight: float
    knots: Knots


class Head(NamedTuple):
    """The detector on one cadence. ``fading`` is the baseline's; ``forest`` reads the features at ``columns``."""

    names: tuple[str, ...]
    shape: Shape
    population: Population
    fading: float
    columns: NDArray[np.intp]
    forest: onnxruntime.InferenceSession
    parts: tuple[Part, ...]
    knots: Knots

    def raw(self, portrait: Portrait, half_space: Doubles | None = None) -> dict[str, Doubles]:
        """Each part's raw value of each bed."""
        found: dict[str, Doubles] = {}
        for part in self.parts:
            if part.name == FOREST:
                (score,) = self.forest.run(None, {"features": portrait.features[:, self.columns]})
                found[part.name] = score.astype(np.float64)
            elif part.name == HALF_SPACE:
                if half_space is None:
                    raise ValueError("this head wants half-space trees")
                found[part.name] = half_space
            else:
                found[part.name] = portrait.features[:, self.names.index(part.name)].astype(np.float64)
        return found

    def tail(self, portrait: Portrait, half_space: Doubles | None = None) -> Doubles:
        """How odd each bed is, as a tail among normal steps."""
        return self.knots.at(self.mixed(self.raw(portrait, half_space)))

    def mixed(self, raw: Mapping[str, Doubles]) -> Doubles:
        """The weighted sum of the parts' tails."""
        total = np.zeros(len(next(iter(raw.values()))))
        for part in self.parts:
            total = total + part.weight * part.knots.at(raw[part.name])
        return total


def read(raw: Mapping[str, Any], names: tuple[str, ...], forest: bytes, where: str) -> Head:
    """A head from its part of the manifest. Raises Poison (``bad_model``) naming what is missing or wrong."""
    try:
        shape = raw["shape"]
        return Head(
            names,
            Shape(shape["recent"], shape["slope"], shape["spread"], tuple(shape["stale"])),
            population(raw["population"]),
            float(raw["fading"]),
            np.array([names.index(name) for name in raw["forest"]["features"]], np.intp),
            session(forest),
            tuple(Part(part["name"], part["weight"], Knots.read(part["knots"])) for part in raw["parts"]),
            Knots.read(raw["knots"]),
        )
    except (KeyError, TypeError, ValueError) as wrong:
        raise Poison("bad_model", f"{where}: {wrong}", where) from wrong


def population(raw: Mapping[str, Any]) -> Population:
    """From a manifest."""
    mean, between, within, floor = (np.array(raw[name], np.float64) for name in ("mean", "between", "within", "floor"))
    return Population(mean, between, within, floor, float(raw["mean_steps"]), float(raw["spread_steps"]))


def session(model: bytes) -> onnxruntime.InferenceSession:
    """One thread: the worker's executor decides what runs beside what."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
