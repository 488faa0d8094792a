"""Boosted trees for the deterioration model: grown by scikit-learn, kept as one ONNX graph that routes as they do.

Written node by node because skl2onnx 1.20 fails on histogram boosting under onnx 1.23 (it hands over flags that are no
integers), and so that all risks and seeds are one graph and one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.ports import Flags, Floats

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

OPSETS: Final = (("", 18), ("ai.onnx.ml", 3))
IR_VERSION: Final = 8
REACH: Final = 4.0
_SHRINK: Final = 0.01


class Recipe(NamedTuple):
    """How trees are grown: chosen on validation patients (death: by cross-validation within training patients)."""

    rate: float = 0.03
    leaves: int = 8
    rounds: int = 400
    l2: float = 10.0
    least: int = 100  # rows in a leaf
    share: float = 0.3  # of the columns, drawn at each split


class Forest(NamedTuple):
    """The trees of one risk, one ensemble a seed; they read ``columns`` of the rows."""

    ensembles: tuple[HistGradientBoostingClassifier, ...]
    columns: NDArray[np.intp]

    def log_odds(self, rows: Floats) -> NDArray[np.float64]:
        """The mean over seeds, not calibrated."""
        told = [np.asarray(e.decision_function(rows[:, self.columns]), np.float64) for e in self.ensembles]
        return np.asarray(np.mean(told, axis=0), np.float64)


class Line(NamedTuple):
    """A straight line beside the trees: it goes on where they end, and wants fewer events.

    A row's columns, NaN as ``middle``, are taken from the middle in units of ``spread``, held within ``REACH``, and
    weighed.
    """

    middle: Floats
    spread: Floats
    weights: Floats
    intercept: float

    def log_odds(self, rows: Floats) -> NDArray[np.float64]:
        """What it adds to the trees' log odds."""
        filled = np.where(np.isfinite(rows), rows, self.middle)
        scaled = np.clip((filled - self.middle) / self.spread, -REACH, REACH)
        return np.asarray(scaled @ self.weights + self.intercept, np.float64)


def draw(rows: Floats, truth: Flags, part: float) -> Line:
    """A logistic regression of the truth, of which ``part`` counts."""
    from sklearn.linear_model import LogisticRegression

    known = np.where(np.isfinite(rows).any(axis=0), rows, 0.0).astype(np.float64)  # a column never known has no middle
    middle = np.nanmedian(known, axis=0)
    low, high = np.nanpercentile(known, [5, 95], axis=0)
    spread = np.maximum((high - low) / 2, 1e-3)
    if not part:
        return Line(_single(middle), _single(spread), np.zeros(rows.shape[1], np.float32), 0.0)
    plain = Line(_single(middle), _single(spread), np.eye(rows.shape[1], dtype=np.float32), 0.0)
    fit = LogisticRegression(C=_SHRINK, max_iter=500).fit(plain.log_odds(rows), truth)
    return Line(plain.middle, plain.spread, _single(fit.coef_[0] * part), float(fit.intercept_[0] * part))


def _single(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)


def grow(rows: Floats, truth: Flags, recipe: Recipe, seeds: Sequence[int], columns: NDArray[np.intp]) -> Forest:
    """A forest that tells the truth of rows from these columns; same rows and seeds, same trees."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = columns[np.isfinite(rows[:, columns]).any(axis=0)]  # scikit-learn stumbles over one never known
    seen = rows[:, columns]
    with one_thread():
        ensembles = [
            HistGradientBoostingClassifier(
                learning_rate=recipe.rate,
                max_leaf_nodes=recipe.leaves,
                max_iter=recipe.rounds,
                l2_regularization=recipe.l2,
                min_samples_leaf=recipe.least,
                max_features=recipe.share,
                early_stopping=False,
                random_state=seed,
            ).fit(seen, truth)
            for seed in seeds
        ]
    return Forest(tuple(ensembles), columns)


def one_thread() -> AbstractContextManager[Any]:
    """OpenMP's threads wait for each other by spinning: on a busy machine two are many times slower than one."""
    limited: AbstractContextManager[Any] = import_module("threadpoolctl").threadpool_limits(1)
    return limited


def graph(forests: Sequence[Forest], width: int, lines: Sequence[Line] = ()) -> bytes:
    """ONNX of the log odds of forests, with a line each or none: float32 ``rows`` (n, ``width``) to ``log_odds``
    (n, forests)."""
    from onnx import TensorProto, checker, helper, numpy_helper

    held = _held(lines)
    nodes = [*_trees(forests, "of_trees" if lines else "log_odds"), *(_linear() if lines else ())]
    taken = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, width])
    given = helper.make_tensor_value_info("log_odds", TensorProto.FLOAT, [None, len(forests)])
    kept = [numpy_helper.from_array(values, name) for name, values in held.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "deterioration", [taken], [given], kept),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS],
        ir_version=IR_VERSION,
    )
    checker.check_model(model)
    raw: bytes = model.SerializeToString()
    return raw


def _trees(forests: Sequence[Forest], output: str) -> list[Any]:
    """A node for each forest: the runtime walks trees of one target a third faster than those of many."""
    from onnx import helper

    names = [f"forest_{place}" for place in range(len(forests))]
    nodes = []
    for name, forest in zip(names, forests, strict=True):
        told, base = _told(forest)
        nodes.append(
            helper.make_node(
                "TreeEnsembleRegressor",
                ["rows"],
                [name],
                domain="ai.onnx.ml",
                aggregate_function="SUM",
                post_transform="NONE",
                n_targets=1,
                base_values=[base],
                **told,
            )
        )
    return [*nodes, helper.make_node("Concat", names, [output], axis=1)]


def _held(lines: Sequence[Line]) -> dict[str, Floats]:
    """The constants of lines that were drawn through the same columns, each with its own middle and spread."""
    if not lines:
        return {}
    return {
        "middle": np.stack([line.middle for line in lines])[:, None],
        "spread": np.stack([line.spread for line in lines])[:, None],
        "weights": np.stack([line.weights for line in lines])[:, :, None],
        "intercepts": np.array([line.intercept for line in lines], np.float32),
        "least": np.array(-REACH, np.float32),
        "most": np.array(REACH, np.float32),
        "last": np.array([2], np.int64),
    }


def _linear() -> list[Any]:
    """(n, width) is laid against (lines, 1, width): (lines, n, 1) in the end, turned into (n, lines)."""
    from onnx import helper

    steps: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("IsNaN", ["rows"], "unknown", {}),
        ("Where", ["unknown", "middle", "rows"], "filled", {}),
        ("Sub", ["filled", "middle"], "off", {}),
        ("Div", ["off", "spread"], "scaled", {}),
        ("Clip", ["scaled", "least", "most"], "near", {}),
        ("MatMul", ["near", "weights"], "weighed", {}),
        ("Squeeze", ["weighed", "last"], "flat", {}),
        ("Transpose", ["flat"], "turned", {"perm": [1, 0]}),
        ("Add", ["turned", "intercepts"], "of_lines", {}),
        ("Add", ["of_lines", "of_trees"], "log_odds", {}),
    )
    return [helper.make_node(kind, inputs, [output], **more) for kind, inputs, output, more in steps]


def _told(forest: Forest) -> tuple[dict[str, list[Any]], float]:
    """The forest's nodes as ONNX lists them, and what its sum starts from."""
    told: dict[str, list[Any]] = {}
    base, tree = 0.0, 0
    for ensemble in forest.ensembles:
        inside = vars(ensemble)
        base += float(inside["_baseline_prediction"][0, 0]) / len(forest.ensembles)
        for (predictor,) in inside["_predictors"]:
            leaves = np.flatnonzero(predictor.nodes["is_leaf"])
            parts = {
                **_nodes(predictor.nodes, forest.columns),
                "nodes_treeids": [tree] * len(predictor.nodes),
                "target_treeids": [tree] * len(leaves),
                "target_ids": [0] * len(leaves),
                "target_nodeids": leaves.tolist(),
                "target_weights": (predictor.nodes["value"][leaves] / len(forest.ensembles)).tolist(),
            }
            for name, values in parts.items():
                told.setdefault(name, []).extend(values)
            tree += 1
    return told, base


def _nodes(nodes: NDArray[Any], columns: NDArray[np.intp]) -> Mapping[str, list[Any]]:
    leaf = nodes["is_leaf"].astype(bool)
    return {
        "nodes_nodeids": list(range(len(nodes))),
        "nodes_featureids": np.where(leaf, 0, columns[nodes["feature_idx"]]).tolist(),
        "nodes_values": _at_most(np.where(leaf, 0.0, nodes["num_threshold"])).tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]).astype(int).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]).astype(int).tolist(),
        "nodes_missing_value_tracks_true": np.where(leaf, 0, nodes["missing_go_to_left"]).astype(int).tolist(),
    }


def _at_most(thresholds: NDArray[np.float64]) -> Floats:
    """The largest float32 not above each: a float32 is at most the one exactly when it is at most the other."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
