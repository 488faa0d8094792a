"""A tuned network as the ONNX graph that ``models.imaging.settings`` describes: answers, maps and features at once.

Each network sees the image and its mirror image, whose last convolution is turned back before the two are averaged:
what follows is linear, so answer, maps and features are all those of that one array.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.imaging.settings import ImageSettings
from models.training.backbone import IR_VERSION, OPSET, Graph

Weights = Mapping[str, NDArray[Any]]
REDUCES: Final = 32
"""The last convolution has so many times fewer rows and columns than the image."""
EACH: Final = "each"
START: Final = -(2**31)
"""As ONNX says "to the very beginning" of an axis that is read backwards."""


def exported(
    networks: Sequence[Weights], settings: ImageSettings, *, mirrored: bool = True, half: bool = True
) -> bytes:
    """The graph of one network, or of several whose mean is told; each as ``imaging_network.read`` gives it, with the
    ``told.*`` of a measure in its unit. ``half`` keeps the kernels as float16.

    Of several, the graph also gives what ``each`` says, (networks, n, outputs).
    """
    graph = Graph({}, half)
    images = graph.add("Concat", "images", _turned(graph, "images", 2), axis=0) if mirrored else "images"
    seen = graph.seen(images)
    if settings.wants_sex:
        _signed_sex(graph)
    told = []
    for at, weights in enumerate(networks):
        prefix = f"net{at}." if len(networks) > 1 else ""
        last = graph.of(weights, prefix).last_convolution(seen)
        told.append(_told(graph, weights, prefix, _folded(graph, last, prefix) if mirrored else last, settings))
    answers = [each[0] for each in told]
    if len(told) > 1:
        nought = graph.constant("each_axis", np.asarray([0], np.int64))
        graph.add("Concat", *(graph.add("Unsqueeze", one, nought) for one in answers), out=EACH, axis=0)
    answer = _mean(graph, answers)
    if settings.kind == "classes":
        graph.add("Identity", answer, out="logits")
    else:
        graph.add("Squeeze", answer, graph.constant("outputs_axis", np.asarray([1], np.int64)), out="value")
    graph.add("Transpose", _mean(graph, [each[1] for each in told]), out="maps", perm=[0, 2, 3, 1])
    graph.add("Concat", *(each[2] for each in told), out="features", axis=1)
    outputs = networks[0]["told.kernel"].shape[1]
    return _model(graph, settings, outputs, [len(weights["told.kernel"]) for weights in networks])


def _turned(graph: Graph, x: str, axis: int) -> str:
    """Left for right."""
    values = {f"from_{axis}": -1, f"to_{axis}": START, f"along_{axis}": axis, f"step_{axis}": -1}
    known = {constant.name for constant in graph.constants}
    for name, value in values.items():
        if name not in known:
            graph.constant(name, np.asarray([value], np.int64))
    return graph.add("Slice", x, *values)


def _folded(graph: Graph, last: str, prefix: str) -> str:
    """The mean of the first half of the batch and of the second, turned back."""
    from onnx import helper

    straight, mirror = f"{prefix}straight", f"{prefix}mirror"
    graph.nodes.append(helper.make_node("Split", [last], [straight, mirror], axis=0))
    return graph.add("Mean", straight, _turned(graph, mirror, 3))


def _signed_sex(graph: Graph) -> None:
    """0 and 1 become -1 and 1, unknown (0.5) 0; as a column, and shaped like maps."""
    two, one = (graph.constant(f"sex_{n}", np.asarray(n, np.float32)) for n in (2, 1))
    signed = graph.add("Sub", graph.add("Mul", "sex", two), one)
    for name, axes in (("sex_column", [1]), ("sex_of_maps", [1, 2, 3])):
        graph.add("Unsqueeze", signed, graph.constant(f"{name}_axes", np.asarray(axes, np.int64)), out=name)


def _told(graph: Graph, weights: Weights, prefix: str, last: str, settings: ImageSettings) -> tuple[str, str, str]:
    """(answer (n, outputs), maps (n, outputs, rows, columns), features (n, width)) of one network."""
    features = graph.add("ReduceMean", last, axes=[2, 3], keepdims=0)
    places = (-(-settings.size // REDUCES)) ** 2

    def linear(kernel: str, bias: str) -> tuple[str, str]:
        at = np.asarray(weights[kernel], np.float32)
        told = graph.add("MatMul", features, graph.constant(prefix + kernel, at))
        told = graph.add("Add", told, graph.constant(prefix + bias, np.asarray(weights[bias], np.float32)))
        each = graph.constant(f"{prefix}{kernel}_place", (at / places).T[:, :, None, None])
        return told, graph.add("Conv", last, each)

    answer, maps = linear("told.kernel", "told.bias")
    if settings.wants_sex:
        by_sex, maps_by_sex = linear("told.by_sex", "told.bias_by_sex")
        answer = graph.add("Add", answer, graph.add("Mul", "sex_column", by_sex))
        maps = graph.add("Add", maps, graph.add("Mul", "sex_of_maps", maps_by_sex))
    return answer, maps, features


def _mean(graph: Graph, each: Sequence[str]) -> str:
    return each[0] if len(each) == 1 else graph.add("Mean", *each)


def _model(graph: Graph, settings: ImageSettings, outputs: int, widths: Sequence[int]) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    def told(name: str, *shape: str | int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    rows = -(-settings.size // REDUCES)
    inputs = [told("images", "n", settings.size, settings.size)] + ([told("sex", "n")] if settings.wants_sex else [])
    answer = told("logits", "n", outputs) if settings.kind == "classes" else told("value", "n")
    given = [answer, told("maps", "n", rows, rows, outputs), told("features", "n", sum(widths))]
    given += [told(EACH, len(widths), "n", outputs)] if len(widths) > 1 else []
    made = helper.make_graph(graph.nodes, settings.body_part, inputs, given, graph.constants)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="wardstream"
    )
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString(deterministic=True)
    return raw
