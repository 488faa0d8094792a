"""river's HalfSpaceTrees for a whole batch at once, its masses in bytes.

river builds the trees and one observation at a time walks them; here the same trees are walked by all beds of a ward
together, and what was learned is taken from bytes and given back as bytes. Scores and masses equal river's (a test).
"""

from __future__ import annotations

import io
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.vitals.baseline import Doubles

Masses = NDArray[np.uint16]
_LEAST: Final = 0.1
"""Of a window: fewer observations than this in a node end the walk (Tan, Ting and Liu 2011; river's ``size_limit``)."""


class Mass(NamedTuple):
    """What a ward has taught: masses (trees, nodes) of the last full window and of the running one, ``seen`` so far."""

    last: Masses
    running: Masses
    seen: int

    def packed(self) -> bytes:
        """As bytes; ``HalfSpace.mass`` is the way back."""
        return self.seen.to_bytes(4, "little") + self.last.tobytes() + self.running.tobytes()


class HalfSpace:
    """Trees over inputs in [0, 1]: ``feature`` and ``threshold`` (trees, inner nodes) in heap order."""

    def __init__(self, feature: NDArray[np.int64], threshold: Doubles, window: int, start: Masses) -> None:
        self.feature, self.threshold, self.window, self.start = feature, threshold, window, start
        self.trees, inner = feature.shape
        self.nodes = 2 * inner + 1
        self.height = self.nodes.bit_length() - 1
        self._tree = np.arange(self.trees)[None, :]

    @classmethod
    def from_river(cls, model: Any) -> HalfSpace:
        """The trees of a ``river.anomaly.HalfSpaceTrees`` that has learned, over inputs named 0, 1, 2, ..."""
        size = 2 ** (model.height + 1) - 1
        feature = np.zeros((model.n_trees, size // 2), np.int64)
        threshold = np.zeros((model.n_trees, size // 2))
        last = np.zeros((model.n_trees, size), np.uint16)
        for tree, root in enumerate(model.trees):
            queue = [root]
            for place in range(size):
                node = queue[place]
                last[tree, place] = node.r_mass
                if place < size // 2:
                    feature[tree, place], threshold[tree, place] = node.feature, node.threshold
                    queue += node.children
        return cls(feature, threshold, model.window_size, last)

    @classmethod
    def read(cls, raw: bytes) -> HalfSpace:
        """From the bytes of ``written``."""
        with np.load(io.BytesIO(raw), allow_pickle=False) as kept:
            return cls(kept["feature"].astype(np.int64), kept["threshold"], int(kept["window"]), kept["start"])

    def written(self) -> bytes:
        """The trees and the masses that a new ward starts from, as an npz file."""
        out = io.BytesIO()
        np.savez_compressed(
            out,
            feature=self.feature.astype(np.uint8),
            threshold=self.threshold,
            window=np.int64(self.window),
            start=self.start,
        )
        return out.getvalue()

    def mass(self, raw: bytes) -> Mass:
        """What a ward has taught, from ``Mass.packed``; from bytes of another form, what every new ward starts from."""
        size = self.trees * self.nodes
        if len(raw) != 4 + 4 * size:
            return Mass(self.start, np.zeros_like(self.start), 0)
        masses = np.frombuffer(raw, "<u2", offset=4).reshape(2, self.trees, self.nodes)
        return Mass(masses[0], masses[1], int.from_bytes(raw[:4], "little"))

    def paths(self, x: Doubles) -> NDArray[np.int64]:
        """The nodes that observations (n, inputs) pass in each tree: (height + 1, n, trees)."""
        rows = np.arange(len(x))[:, None]
        path = np.zeros((self.height + 1, len(x), self.trees), np.int64)
        for depth in range(self.height):
            node = path[depth]
            right = x[rows, self.feature[self._tree, node]] >= self.threshold[self._tree, node]
            path[depth + 1] = 2 * node + 1 + right
        return path

    def score(self, paths: NDArray[np.int64], mass: Mass) -> Doubles:
        """river's ``score_one`` of each observation: in [0, 1], higher is odder."""
        held = mass.last[self._tree, paths].astype(np.float64)
        thin = held[:-1] < _LEAST * self.window
        passed = np.concatenate([np.ones((1, *held.shape[1:]), np.bool_), ~np.logical_or.accumulate(thin, axis=0)])
        total = (held * passed * (2.0 ** np.arange(self.height + 1))[:, None, None]).sum(axis=(0, 2))
        most = self.trees * self.window * (2 ** (self.height + 1) - 1)
        score: Doubles = 1.0 - total / most
        return score

    def learned(self, paths: NDArray[np.int64], mass: Mass) -> Mass:
        """With these observations learned in their order, as by river's ``learn_one``."""
        last, running, count = mass.last, mass.running, mass.seen
        places = self._tree * self.nodes + paths
        at = 0
        while at < paths.shape[1]:
            upto = min(paths.shape[1], at + self.window - count)
            added = np.bincount(places[:, at:upto].ravel(), minlength=self.trees * self.nodes)
            running = (running + added.reshape(self.trees, self.nodes)).astype(np.uint16)
            count += upto - at
            at = upto
            if count == self.window:
                last, running, count = running, np.zeros_like(running), 0
        return Mass(last, running, count)
