"""Image models small enough to be made in a test, each a real ONNX graph behind a real bundle of a real registry.

What they say can be worked out by hand: the first label's map is the mean brightness of each of 8 by 8 places, the
others' its opposite, so a bright image has the first label; heat lies where it is bright (or dark).
"""

from __future__ import annotations

import io
from typing import Any, Final

import msgspec
import numpy as np

from models.imaging import gate
from models.imaging.backbone import WIDTH, shipped
from models.imaging.gate import OTHER, ScopeSettings
from models.imaging.settings import MODEL_FILE, SETTINGS_FILE, ImageSettings
from models.registry import Registry

PLACES: Final = 8
SIZE: Final = 64
GAIN: Final = 40.0
TUMOUR: Final = ImageSettings(
    kind="classes",
    size=SIZE,
    body_part="brain",
    labels=("glioma", "notumor"),
    positive=("glioma",),
    caveats=("A test's own model.",),
)
AGE: Final = ImageSettings(kind="measure", size=SIZE, body_part="hand", unit="months", half_width=12.0, wants_sex=True)


def graph(settings: ImageSettings) -> bytes:
    """The ONNX file: average pooling to 8 by 8 places; classes by brightness above or below one half; a measure is
    100 times the mean brightness, and 10 more for a male."""
    from onnx import TensorProto, checker, helper, numpy_helper

    size, count = settings.size, max(1, len(settings.labels))
    signs = np.asarray([1.0] + [-1.0] * (count - 1), np.float32)
    constants: dict[str, Any] = {"axes": np.asarray([1], np.int64), "mean_axes": np.asarray([1, 2], np.int64)}
    measure = settings.kind == "measure"
    constants["middle"] = np.asarray(0.0 if measure else 0.5, np.float32)
    constants["gains"] = np.asarray([100.0], np.float32) if measure else GAIN * signs
    step = size // PLACES
    nodes = [
        helper.make_node("Unsqueeze", ["images", "axes"], ["grey"]),
        helper.make_node("AveragePool", ["grey"], ["pooled"], kernel_shape=[step, step], strides=[step, step]),
        helper.make_node("Transpose", ["pooled"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Sub", ["last", "middle"], ["centred"]),
        helper.make_node("Mul", ["centred", "gains"], ["maps"]),
        helper.make_node("ReduceMean", ["maps", "mean_axes"], ["spoken"], keepdims=0),
        helper.make_node("ReduceMean", ["last", "mean_axes"], ["features"], keepdims=0),
    ]
    if measure:
        constants["last_axis"] = np.asarray([1], np.int64)
        nodes.append(
            helper.make_node("Squeeze", ["spoken", "last_axis"], ["value" if not settings.wants_sex else "of"])
        )
    else:
        nodes.append(helper.make_node("Identity", ["spoken"], ["logits"]))
    if settings.wants_sex:
        constants["by_sex"] = np.asarray(10.0, np.float32)
        nodes += [
            helper.make_node("Mul", ["sex", "by_sex"], ["more"]),
            helper.make_node("Add", ["of", "more"], ["value"]),
        ]
    one = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("images", one, ["n", size, size])]
    if settings.wants_sex:
        inputs.append(helper.make_tensor_value_info("sex", one, ["n"]))
    said = helper.make_tensor_value_info("value", one, ["n"])
    if not measure:
        said = helper.make_tensor_value_info("logits", one, ["n", count])
    outputs = [
        said,
        helper.make_tensor_value_info("maps", one, ["n", PLACES, PLACES, count]),
        helper.make_tensor_value_info("features", one, ["n", 1]),
    ]
    kept = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    made = helper.make_graph(nodes, "small", inputs, outputs, kept)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def kept(registry: Registry, name: str, settings: ImageSettings, champion: bool = True, **fields: Any) -> str:
    """Keep a version of this model, its champion unless told otherwise; the version."""
    files = {MODEL_FILE: graph(settings), SETTINGS_FILE: msgspec.json.encode(settings)}
    version = registry.add(name, files, code="tests", seed=1, data=(), **{"made": "2026-01-02", **fields})
    if champion:
        registry.promote(name, version, by="tests", reason="a test's own model")
    return version


def kept_scope(registry: Registry, seen: str = "brain") -> str:
    """A gate that takes every image for this body part, in place of the one that is shipped; its version."""
    backbone = shipped(registry)
    arrays = {
        "centre": np.zeros(WIDTH, np.float32),
        "axes": np.eye(2, WIDTH, dtype=np.float32),
        "spread": np.ones(2, np.float32),
        "bank": np.eye(2, dtype=np.float32),
        "weights": np.zeros((2, WIDTH), np.float32),
        "bias": np.asarray([9.0, -9.0], np.float32),
    }
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # its stubs take no mapping of arrays
    settings = ScopeSettings(
        seen=(seen, OTHER),
        backbone=backbone.version,
        least_side=8,
        least_range=0.0,
        low_range=0.0,
        neighbours=1,
        oddest=1e6,
        other_from=0.5,
    )
    files = {gate.SETTINGS_FILE: msgspec.json.encode(settings), gate.ARRAYS_FILE: content.getvalue()}
    version = registry.add(gate.NAME, files, code="tests", seed=1, data=(), made="2026-01-02")
    registry.promote(gate.NAME, version, by="tests", reason="a test's own gate")
    return version
