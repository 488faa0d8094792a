"""The knee joint found in an X-ray of the leg, inside the graph of the model: no place is marked in the data.

The mean of joints that fill their picture (the OAI's) is laid over the image in several sizes; where it correlates best
is the joint, and where it does so beside it almost as well, the other leg's. What the network sees are cut-outs there.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.imaging.pixels import read
from models.training.backbone import IR_VERSION, OPSET, Graph

SIZE: Final = 320
"""The sides of the images as the model takes them."""
SHRUNK: Final = 4
LOOKED: Final = SIZE // SHRUNK
"""The joint is looked for in an image so many times smaller: its texture does not help to find it."""
BORDER: Final = 8
CANVAS: Final = LOOKED + 2 * BORDER
WIDTHS: Final = (10, 12, 14, 16, 18, 20, 24, 26, 30)
"""Of the joint, in pixels of the shrunk image; even, so that it has a middle."""
ALMOST: Final = 0.75
CUT: Final = 224
PLACES: Final = 20
TEMPLATES: Final = 300
FLAT: Final = 1e-3
Floats = NDArray[np.float32]


def template(folder: Path) -> Floats:
    """(96, 96): the mean of knee joints without arthrosis, and of their mirror images. ``folder`` is that of the OAI.

    Raises Misconfigured without it.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        raise Misconfigured(f"{folder} is not there: the joint is looked for as the knees of knee_oa_kl look")
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train" and row["kl_grade"] in ("0", "1")]
    joints = [scaled(read((folder / row["image"]).read_bytes()).pixels, 96) for row in rows[:TEMPLATES]]
    mean = np.mean(joints, axis=0)
    return np.asarray((mean + mean[:, ::-1]) / 2, np.float32)


def scaled(pixels: Floats, side: int) -> Floats:
    """As (side, side)."""
    from PIL import Image

    made = Image.fromarray(np.ascontiguousarray(pixels, np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(made, np.float32)


class Joints:
    """Adds to a graph: where the joints of ``images`` (n, 320, 320) are, and what is to be seen there."""

    def __init__(self, graph: Graph, joint: Floats) -> None:
        self._graph, self._made = graph, 0
        self.images = self._add("Unsqueeze", "images", self._ints([1]))
        likeness = self._likeness(joint)
        first, self._scale = self._best(likeness)
        self.width = self._add("Gather", self._const(np.asarray(WIDTHS, np.float32)), self._scale)
        chosen = self._of_scale(likeness)
        second = self._beside(chosen, first)
        self.centres = (first[:2], second[:2])
        there = self._add("Greater", second[2], self._add("Mul", first[2], self._float(ALMOST)))
        other = self._add("Cast", there, to=1)
        whole = self._add("Add", other, self._float(1.0))
        self.weights = (self._add("Div", self._float(1.0), whole), self._add("Div", other, whole))
        """How much each of the two counts, (n,): a leg that is not there counts nothing."""

    def cut(self, joint: int, wide: float) -> str:
        """(n, 224, 224): ``wide`` times the joint's width around it; black beyond the image."""
        x, y = self._axes(joint, wide, CUT, straight=True)
        grid = self._grid(x, y, CUT)
        seen = self._add("GridSample", self.images, grid, mode="bilinear", padding_mode="zeros", align_corners=0)
        return self._add("Squeeze", seen, self._ints([1]))

    def laid_back(self, maps: str, joint: int, wide: float, rows: int) -> str:
        """Maps of a cut-out (n, outputs, rows, rows) as maps of the image (n, outputs, 20, 20), sums kept."""
        x, y = self._axes(joint, wide, PLACES, straight=False)
        grid = self._grid(x, y, PLACES)
        seen = self._add("GridSample", maps, grid, mode="bilinear", padding_mode="zeros", align_corners=0)
        # a place of the image holds so many of the cut-out's
        side = self._add("Div", self._float(LOOKED / wide * rows / PLACES), self.width)
        area = self._add("Reshape", self._add("Mul", side, side), self._ints([-1, 1, 1, 1]))
        return self._add("Mul", seen, area)

    def _likeness(self, joint: Floats) -> str:
        """(n, sizes, canvas, canvas): correlation of image and template around each place."""
        half = self._add("AveragePool", self.images, kernel_shape=[SHRUNK, SHRUNK], strides=[SHRUNK, SHRUNK])
        border = self._ints([0, 0, BORDER, BORDER, 0, 0, BORDER, BORDER])
        seen = self._add("Pad", half, border)
        squared = self._add("Mul", seen, seen)
        maps = []
        for width in WIDTHS:
            known = scaled(joint, width).astype(np.float64)
            known -= known.mean()
            known /= np.sqrt((known**2).sum())
            kernel = self._const(known.astype(np.float32)[None, None])
            both = self._add("Conv", seen, kernel, kernel_shape=[width, width])
            mean, mean_squared = (
                self._add("AveragePool", each, kernel_shape=[width, width], strides=[1, 1]) for each in (seen, squared)
            )
            spread = self._add("Sub", mean_squared, self._add("Mul", mean, mean))
            spread = self._add("Max", spread, self._float(FLAT))
            norm = self._add("Sqrt", self._add("Mul", spread, self._float(float(width**2))))
            before, after = width // 2, width - 1 - width // 2
            pads = self._ints([0, 0, before, before, 0, 0, after, after])
            maps.append(self._add("Pad", self._add("Div", both, norm), pads, self._float(-1.0)))
        return self._add("Concat", *maps, axis=1)

    def _best(self, likeness: str) -> tuple[tuple[str, str, str], str]:
        """((x, y, how alike) of the best place, its size), each (n,)."""
        flat = self._add("Reshape", likeness, self._ints([0, -1]))
        at = self._add("ArgMax", flat, axis=1, keepdims=0)
        area = self._ints([CANVAS**2])
        place = self._add("Mod", at, area)
        x, y = self._place(place)
        return (x, y, self._add("ReduceMax", flat, axes=[1], keepdims=0)), self._add("Div", at, area)

    def _of_scale(self, likeness: str) -> str:
        """(n, canvas, canvas): of the chosen size."""
        column = self._add("Unsqueeze", self._scale, self._ints([1]))
        mine = self._add("Equal", column, self._ints(list(range(len(WIDTHS)))))
        mine = self._add("Reshape", self._add("Cast", mine, to=1), self._ints([0, len(WIDTHS), 1, 1]))
        return self._add("ReduceSum", self._add("Mul", likeness, mine), self._ints([1]), keepdims=0)

    def _beside(self, chosen: str, first: tuple[str, str, str]) -> tuple[str, str, str]:
        """(x, y, how alike) of the best place that is a joint's width or more to the side, at about the same height."""
        along = np.arange(CANVAS, dtype=np.float32)
        width = self._column(self.width)
        across = self._add("Sub", self._const(along[None, None, :]), self._column(first[0]))
        down = self._add("Sub", self._const(along[None, :, None]), self._column(first[1]))
        beside = self._add("GreaterOrEqual", self._add("Abs", across), width)
        level = self._add("LessOrEqual", self._add("Abs", down), width)
        left = self._add("Where", self._add("And", beside, level), chosen, self._float(-1.0))
        flat = self._add("Reshape", left, self._ints([0, -1]))
        x, y = self._place(self._add("ArgMax", flat, axis=1, keepdims=0))
        return x, y, self._add("ReduceMax", flat, axes=[1], keepdims=0)

    def _place(self, flat: str) -> tuple[str, str]:
        side = self._ints([CANVAS])
        x, y = self._add("Mod", flat, side), self._add("Div", flat, side)
        return self._add("Cast", x, to=1), self._add("Cast", y, to=1)

    def _axes(self, joint: int, wide: float, places: int, straight: bool) -> tuple[str, str]:
        """Where to look, (n, places) each: in the image for places of the cut-out, or the other way round."""
        along = self._const(((np.arange(places, dtype=np.float32) + 0.5) * 2 / places - 1)[None])
        reach = self._add("Mul", self.width, self._float(wide / LOOKED))
        reach = self._add("Reshape", reach, self._ints([-1, 1]))
        found = []
        for centre in self.centres[joint]:
            # -1 and 1 are the image's edges
            middle = self._add("Div", self._add("Sub", centre, self._float(BORDER)), self._float(LOOKED / 2))
            middle = self._add("Reshape", self._add("Sub", middle, self._float(1.0)), self._ints([-1, 1]))
            if straight:
                found.append(self._add("Add", self._add("Mul", along, reach), middle))
            else:
                found.append(self._add("Div", self._add("Sub", along, middle), reach))
        return found[0], found[1]

    def _grid(self, x: str, y: str, places: int) -> str:
        """(n, places, places, 2) of x along rows and y down them."""
        both = []
        for axis, at in ((1, x), (2, y)):
            each = self._add("Unsqueeze", at, self._ints([axis, 3]))
            one = self._ints([1, places, 1, 1] if axis == 1 else [1, 1, places, 1])
            both.append(self._add("Expand", each, one))
        return self._add("Concat", *both, axis=3)

    def _column(self, x: str) -> str:
        return self._add("Reshape", x, self._ints([-1, 1, 1]))

    def _add(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self._graph.add(op, *inputs, **attributes)

    def _const(self, values: NDArray[Any]) -> str:
        self._made += 1
        return self._graph.constant(f"joint_{self._made}", values)

    def _ints(self, values: Sequence[int]) -> str:
        return self._const(np.asarray(values, np.int64))

    def _float(self, value: float) -> str:
        return self._const(np.asarray(value, np.float32))


def looking(
    weights: dict[str, NDArray[Any]], joint: Floats, wide: Sequence[float], kernel: Floats, bias: Floats, *, half: bool
) -> bytes:
    """The graph that ``models.imaging.settings`` describes: cut-outs of each width at each joint, the backbone, the
    mean of the features, ``kernel`` (1280, outputs) and ``bias``."""
    graph = Graph({}, half)
    joints = Joints(graph, joint)
    views = [(at, width) for at in range(len(joints.weights)) for width in wide]
    cuts = graph.add("Concat", *(joints.cut(at, width) for at, width in views), axis=0)
    last = graph.of(weights, "").last_convolution(graph.seen(cuts))
    pooled, maps = [], []
    rows = CUT // 32
    each_place = graph.constant("told.each", (kernel / rows**2).T[:, :, None, None].astype(np.float32))
    for (at, width), mine in zip(views, _split(graph, last, len(views)), strict=True):
        share = graph.add(
            "Mul", joints.weights[at], graph.constant(f"share_{at}_{width}", np.asarray(1 / len(wide), np.float32))
        )
        column = graph.add("Reshape", share, graph.constant(f"column_{at}_{width}", np.asarray([-1, 1], np.int64)))
        pooled.append(graph.add("Mul", graph.add("ReduceMean", mine, axes=[2, 3], keepdims=0), column))
        laid = joints.laid_back(graph.add("Conv", mine, each_place), at, width, rows)
        shape = graph.constant(f"square_{at}_{width}", np.asarray([-1, 1, 1, 1], np.int64))
        maps.append(graph.add("Mul", laid, graph.add("Reshape", share, shape)))
    graph.add("Sum", *pooled, out="features")
    told = graph.add("MatMul", "features", graph.constant("told.kernel", kernel.astype(np.float32)))
    graph.add("Add", told, graph.constant("told.bias", bias.astype(np.float32)), out="logits")
    graph.add("Transpose", graph.add("Sum", *maps), out="maps", perm=[0, 2, 3, 1])
    return _model(graph, kernel.shape)


def _split(graph: Graph, x: str, parts: int) -> list[str]:
    from onnx import helper

    names = [f"{x}_of{parts}_{at}" for at in range(parts)]
    graph.nodes.append(helper.make_node("Split", [x], names, axis=0))
    return names


def _model(graph: Graph, shape: tuple[int, ...]) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    def told(name: str, *sides: str | int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sides))

    width, outputs = shape
    given = [told("logits", "n", outputs), told("maps", "n", PLACES, PLACES, outputs), told("features", "n", width)]
    made = helper.make_graph(graph.nodes, "knee", [told("images", "n", SIZE, SIZE)], given, graph.constants)
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="wardstream"
    )
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString(deterministic=True)
    return raw
