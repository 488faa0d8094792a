"""The forecaster's networks as ONNX graphs that take raw windows: scaling, masks and persistence are inside.

The LSTM op is built from the Keras weights by hand: Keras orders gates i, f, c, o; ONNX i, o, f, c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.training.forecast_net import BENDS, FAR, LEVELS, MEDIAN, Settle, Shape

OPSET: Final = 17
IR_VERSION: Final = 9
Floats = NDArray[np.float32]
Weights = Mapping[str, Sequence[Floats]]


class _Graph:
    """Nodes and constants as they are added; ``add`` returns the name of what a node gives."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        from onnx import helper

        out = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def constant(self, values: Any, kind: type = np.float32) -> str:
        from onnx import numpy_helper

        name = f"c_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name


def exported(shape: Shape, nets: Sequence[Weights], settle: Settle) -> bytes:
    """One graph: (windows (n, steps, 6), age_years (n), stay_h (n)) -> quantiles (n, 6, horizons, 5) in the vitals'
    units, last (n, 6) and ago (n, 6) as ``forecast_grid.last_known``, and ``moves``, the mean of what the nets say
    before it is ``settled``.
    """
    graph = _Graph()
    known, z, raw = _known(graph, shape)
    place, ever, ago = _places(graph, shape, known)
    held = graph.add("GatherElements", z, graph.add("Cast", place, to=7), axis=2)
    anchor = _newest(graph, shape, held)
    sequence = _sequence(graph, known, held, anchor, ever, ago)
    facts = _facts(graph, shape, known, z, anchor, ever, ago)
    said = [_net(graph, shape, weights, sequence, facts) for weights in nets]
    mean = said[0] if len(said) == 1 else graph.add("Mean", *said)
    graph.add("Identity", mean, name="moves")
    _outputs(graph, shape, _settled(graph, shape, mean, settle), raw, place, ever, ago)
    return _model(graph, shape)


def _known(graph: _Graph, shape: Shape) -> tuple[str, str, str]:
    """(known as 0 and 1, scaled values, raw values), (n, 6, steps) each, 0 where unknown."""
    windows = graph.add("Transpose", "windows", perm=[0, 2, 1])
    unknown = graph.add("IsNaN", windows)
    known = graph.add("Cast", graph.add("Not", unknown), to=1)
    raw = graph.add("Where", unknown, graph.constant(0), windows)
    off = graph.add("Sub", raw, graph.constant(shape.mean[:, None]))
    scaled = graph.add("Div", off, graph.constant(shape.deviation[:, None]))
    clipped = graph.add("Clip", scaled, graph.constant(-FAR), graph.constant(FAR))
    return known, graph.add("Mul", clipped, known), raw


def _places(graph: _Graph, shape: Shape, known: str) -> tuple[str, str, str]:
    """(place of the last known step up to each, whether there is one, steps since as a share of all)."""
    steps = np.arange(shape.steps, dtype=np.float32)
    # a running maximum of 1 + place, 0 for none yet; each shift doubles its reach
    first = graph.add("Mul", known, graph.constant(steps + 1))
    shift = 1
    while shift < shape.steps:
        first = graph.add("Max", first, _shifted(graph, first, shift, shape.steps))
        shift *= 2
    ever = graph.add("Min", first, graph.constant(1))
    place = graph.add("Sub", first, ever)
    # steps since: step - place, or all of them where there is none
    since = graph.add("Sub", graph.constant(steps), place)
    missing = graph.add("Mul", graph.add("Sub", ever, graph.constant(1)), graph.constant(steps - shape.steps))
    since = graph.add("Add", since, missing)
    return place, ever, graph.add("Div", since, graph.constant(shape.steps))


def _shifted(graph: _Graph, values: str, by: int, steps: int) -> str:
    cut = graph.add("Slice", values, *(graph.constant([v], np.int64) for v in (0, steps - by, 2)))
    return graph.add("Pad", cut, graph.constant([0, 0, by, 0, 0, 0], np.int64))


def _newest(graph: _Graph, shape: Shape, values: str) -> str:
    """The last step, (n, 6, 1)."""
    return graph.add("Slice", values, *(graph.constant([v], np.int64) for v in (shape.steps - 1, shape.steps, 2)))


def _sequence(graph: _Graph, known: str, held: str, anchor: str, ever: str, ago: str) -> str:
    moved = graph.add("Mul", graph.add("Sub", held, anchor), ever)
    joined = graph.add("Concat", moved, known, ago, axis=1)
    return graph.add("Transpose", joined, perm=[2, 0, 1])


def _facts(graph: _Graph, shape: Shape, known: str, z: str, anchor: str, ever: str, ago: str) -> str:
    parts = [anchor, _newest(graph, shape, ever), _newest(graph, shape, ago)]
    parts += [graph.add("Relu", graph.add("Sub", anchor, graph.constant(bend))) for bend in BENDS]
    axis = graph.constant([2], np.int64)
    for span in shape.spans:
        bounds = [graph.constant([v], np.int64) for v in (shape.steps - span, shape.steps, 2)]
        value = graph.add("Slice", z, *bounds)
        seen = graph.add("Slice", known, *bounds)
        count = graph.add("ReduceSum", seen, axis, keepdims=1)
        some = graph.add("Min", count, graph.constant(1))
        count = graph.add("Max", count, graph.constant(1))
        mean = graph.add("Div", graph.add("ReduceSum", value, axis, keepdims=1), count)
        off = graph.add("Mul", graph.add("Sub", value, mean), seen)
        squares = graph.add("ReduceSum", graph.add("Mul", off, off), axis, keepdims=1)
        spread = graph.add("Add", graph.add("Div", squares, count), graph.constant(1e-4))
        parts += [graph.add("Mul", graph.add("Sub", mean, anchor), some), graph.add("Sqrt", spread)]
    vitals = graph.add("Flatten", graph.add("Concat", *parts, axis=1), axis=1)
    return graph.add("Concat", vitals, *_told(graph, shape), axis=1)


def _told(graph: _Graph, shape: Shape) -> list[str]:
    """Age, whether it is told, and the hours of the stay, (n, 1) each."""
    column = graph.constant([1], np.int64)
    found = []
    age = graph.add("Unsqueeze", "age_years", column)
    unknown = graph.add("IsNaN", age)
    scaled = graph.add("Sub", age, graph.constant(shape.age_mean))
    scaled = graph.add("Div", scaled, graph.constant(shape.age_deviation))
    found.append(graph.add("Where", unknown, graph.constant(0), scaled))
    found.append(graph.add("Cast", graph.add("Not", unknown), to=1))
    stay = graph.add("Unsqueeze", "stay_h", column)
    stay = graph.add("Where", graph.add("IsNaN", stay), graph.constant(24), stay)
    hours = graph.add("Log", graph.add("Add", graph.add("Relu", stay), graph.constant(1)))
    return [*found, graph.add("Sub", hours, graph.constant(3))]


def _net(graph: _Graph, shape: Shape, weights: Weights, sequence: str, facts: str) -> str:
    """One network: (n, 6, horizons, 5) quantiles in units of ``reach``."""
    kernel, recurrent, bias = weights["lstm"]
    units = recurrent.shape[0]

    def gates(values: Floats) -> Floats:
        i, f, c, o = np.split(values, 4, axis=-1)
        return np.concatenate([i, o, f, c], axis=-1)

    both = np.concatenate([gates(bias), np.zeros(4 * units, np.float32)])
    arrays = [graph.constant(each) for each in (gates(kernel).T[None], gates(recurrent).T[None], both[None])]
    state = f"state_{len(graph.nodes)}"
    graph.add("LSTM", sequence, *arrays, name="", hidden_size=units)
    graph.nodes[-1].output[:] = ["", state]
    state = graph.add("Squeeze", state, graph.constant([0], np.int64))
    row = graph.add("Concat", state, facts, axis=1)
    hidden = graph.add("Tanh", graph.add("Gemm", row, *(graph.constant(w) for w in weights["hidden"])))
    free = graph.add("Gemm", hidden, *(graph.constant(w) for w in weights["raw"]))
    sizes = graph.constant([-1, len(shape.mean), len(shape.horizons), len(LEVELS)], np.int64)
    return _ordered(graph, graph.add("Reshape", free, sizes))


def _one(graph: _Graph, values: str, place: int) -> str:
    return graph.add("Slice", values, *(graph.constant([v], np.int64) for v in (place, place + 1, 3)))


def _ordered(graph: _Graph, raw: str) -> str:
    step = graph.add("Softplus", raw)
    median = _one(graph, raw, MEDIAN)
    low = graph.add("Sub", median, _one(graph, step, 1))
    high = graph.add("Add", median, _one(graph, step, 3))
    lowest = graph.add("Sub", low, _one(graph, step, 0))
    return graph.add("Concat", lowest, low, median, high, graph.add("Add", high, _one(graph, step, 4)), axis=3)


def _settled(graph: _Graph, shape: Shape, moves: str, settle: Settle) -> str:
    """``forecast_net.settled`` of the moves, in the vitals' units."""
    scale = (shape.deviation[:, None] * shape.reach)[None, :, :, None]
    units = graph.add("Mul", moves, graph.constant(scale))
    median = _one(graph, units, MEDIAN)
    kept = graph.add(
        "Relu", graph.add("Sub", graph.add("Abs", median), graph.constant(settle.shrink[None, :, :, None]))
    )
    grain = graph.constant(settle.grain[None, :, :, None])
    grains = graph.add("Round", graph.add("Div", graph.add("Mul", graph.add("Sign", median), kept), grain))
    median = graph.add("Mul", grains, grain)
    under = graph.add("Min", graph.add("Slice", units, *(graph.constant([v], np.int64) for v in (0, 2, 3))), median)
    over = graph.add("Max", graph.add("Slice", units, *(graph.constant([v], np.int64) for v in (3, 5, 3))), median)
    return graph.add("Concat", under, median, over, axis=3)


def _outputs(graph: _Graph, shape: Shape, moved: str, raw: str, place: str, ever: str, ago: str) -> None:
    newest = graph.add("Cast", _newest(graph, shape, place), to=7)
    last = graph.add("GatherElements", raw, newest, axis=2)
    never = graph.add("Equal", _newest(graph, shape, ever), graph.constant(0))
    last = graph.add("Where", never, graph.constant(np.nan), last)
    column = graph.constant([2], np.int64)
    graph.add("Squeeze", last, column, name="last")
    steps = graph.add("Mul", _newest(graph, shape, ago), graph.constant(shape.steps))
    graph.add("Round", graph.add("Squeeze", steps, column), name="ago")
    graph.add("Add", graph.add("Unsqueeze", last, graph.constant([3], np.int64)), moved, name="quantiles")


def _model(graph: _Graph, shape: Shape) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    vitals, horizons = len(shape.mean), len(shape.horizons)

    def told(name: str, *size: str | int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(size))

    inputs = [told("windows", "n", shape.steps, vitals), told("age_years", "n"), told("stay_h", "n")]
    outputs = [told(name, "n", vitals, horizons, len(LEVELS)) for name in ("quantiles", "moves")]
    outputs += [told(name, "n", vitals) for name in ("last", "ago")]
    body = helper.make_graph(graph.nodes, "forecast", inputs, outputs, graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString()
    return raw
