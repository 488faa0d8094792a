"""scikit-learn's IsolationForest as one ONNX graph of four nodes.

skl2onnx writes some 27 nodes a tree (2,170 for 80 trees); a forest is a sum over trees, which is one node. Same scores
(the tests hold it against both scikit-learn and skl2onnx), several times faster, so that scoring fits a bed's budget.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.ports import Floats

INPUT: Final = "features"
OUTPUT: Final = "score"


def fitted(features: Floats, trees: int, samples: int, seed: int) -> Any:
    """An ``IsolationForest`` whose thresholds are float32, so that every runtime compares the same numbers."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=trees, max_samples=min(samples, len(features)), random_state=seed, n_jobs=1)
    forest.fit(features)
    for tree in forest.estimators_:
        threshold = tree.tree_.threshold
        threshold[:] = threshold.astype(np.float32)
    return forest


def exported(forest: Any) -> bytes:
    """An ONNX model: ``features`` (n, features) to ``score`` (n,), float32: minus ``score_samples``, in [0, 1]."""
    from onnx import TensorProto, checker, helper

    width = forest.n_features_in_
    nodes = _trees(forest)
    trees = len(forest.estimators_)
    scale = -1.0 / (trees * float(_mean_path(np.array([forest.max_samples_]))[0]))
    graph = helper.make_graph(
        [
            helper.make_node("TreeEnsembleRegressor", [INPUT], ["paths"], domain="ai.onnx.ml", **nodes),
            helper.make_node("Mul", ["paths", "scale"], ["exponent"]),
            helper.make_node("Pow", ["two", "exponent"], ["column"]),
            helper.make_node("Reshape", ["column", "flat"], [OUTPUT]),
        ],
        "isolation_forest",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None])],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [1], [scale]),
            helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0]),
            helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="wardstream")
    checker.check_model(model)
    written: bytes = model.SerializeToString()
    return written


def _trees(forest: Any) -> dict[str, Any]:
    """The attributes of the ensemble: each leaf's value is the length of the path to an observation in it."""
    parts: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("tree", "node", "feature", "value", "mode", "true", "false", "weight")
    }
    for number, (estimator, columns) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        tree = estimator.tree_
        leaf = tree.children_left < 0
        parts["tree"].append(np.full(tree.node_count, number))
        parts["node"].append(np.arange(tree.node_count))
        parts["feature"].append(np.where(leaf, 0, columns[np.maximum(tree.feature, 0)]))
        parts["value"].append(np.where(leaf, 0.0, tree.threshold))
        parts["mode"].append(np.where(leaf, "LEAF", "BRANCH_LEQ"))
        parts["true"].append(np.where(leaf, 0, tree.children_left))
        parts["false"].append(np.where(leaf, 0, tree.children_right))
        parts["weight"].append(np.where(leaf, _depths(tree) + _mean_path(tree.n_node_samples), np.nan))
    flat = {name: np.concatenate(values) for name, values in parts.items()}
    leaves = np.isfinite(flat["weight"])
    return {
        "nodes_treeids": flat["tree"].tolist(),
        "nodes_nodeids": flat["node"].tolist(),
        "nodes_featureids": flat["feature"].tolist(),
        "nodes_values": flat["value"].tolist(),
        "nodes_modes": flat["mode"].tolist(),
        "nodes_truenodeids": flat["true"].tolist(),
        "nodes_falsenodeids": flat["false"].tolist(),
        "target_treeids": flat["tree"][leaves].tolist(),
        "target_nodeids": flat["node"][leaves].tolist(),
        "target_ids": [0] * int(leaves.sum()),
        "target_weights": flat["weight"][leaves].tolist(),
        "n_targets": 1,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
    }


def _depths(tree: Any) -> NDArray[np.float64]:
    """Edges from the root to each node; a parent stands before its children."""
    depth = np.zeros(tree.node_count)
    for node in np.flatnonzero(tree.children_left >= 0):
        depth[tree.children_left[node]] = depth[tree.children_right[node]] = depth[node] + 1
    return depth


def _mean_path(samples: NDArray[Any]) -> NDArray[np.float64]:
    """The mean length of an unsuccessful search in a tree of so many samples (Liu, Ting and Zhou 2008)."""
    n = samples.astype(np.float64)
    many = 2.0 * (np.log(np.maximum(n - 1.0, 1.0)) + np.euler_gamma) - 2.0 * (n - 1.0) / np.maximum(n, 1.0)
    found: NDArray[np.float64] = np.where(n <= 1, 0.0, np.where(n == 2, 1.0, many))
    return found
