"""The graph that finds the knee joint: a planted one is found, shown, and its map laid back where it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.backbone import IR_VERSION, OPSET, Graph
from models.training.knee_joint import CUT, SIZE, Joints, scaled

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def joint() -> Floats:
    """Two bright ends of bone with a dark gap between, and something above that tells up from down."""
    made = np.full((96, 96), 0.2, np.float32)
    made[8:44, 20:76] = 0.8
    made[50:88, 26:70] = 0.7
    made[14:24, 40:56] = 1.0
    return made


@pytest.fixture(scope="module")
def session(joint: Floats) -> Any:
    import onnxruntime
    from onnx import TensorProto, helper

    graph = Graph({}, half=False)
    joints = Joints(graph, joint)
    for at in (0, 1):
        graph.add("Identity", joints.cut(at, 1.0), out=f"cut_{at}")
        graph.add("Identity", joints.weights[at], out=f"weight_{at}")
    graph.add("Identity", joints.laid_back("maps", 0, 1.0, 7), out="laid")
    graph.add("Identity", joints.width, out="width")
    outputs = ["cut_0", "cut_1", "weight_0", "weight_1", "laid", "width"]
    made = helper.make_graph(
        graph.nodes,
        "joints",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", SIZE, SIZE]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["n", 1, 7, 7]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    raw = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
    return onnxruntime.InferenceSession(raw, providers=["CPUExecutionProvider"])


def leg(joint: Floats, *corners: tuple[int, int], side: int = 80) -> Floats:
    made = np.full((SIZE, SIZE), 0.05, np.float32)
    for top, left in corners:
        made[top : top + side, left : left + side] = scaled(joint, side)
    return made


def asked(session: Any, image: Floats, maps: Floats | None = None) -> dict[str, Floats]:
    given = {"images": image[None], "maps": np.ones((1, 1, 7, 7), np.float32) if maps is None else maps}
    return {out.name: value[0] for out, value in zip(session.get_outputs(), session.run(None, given), strict=True)}


def alike(one: Floats, other: Floats) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_one_joint_is_found_where_it_is_and_the_other_leg_is_not_made_up(session: Any, joint: Floats) -> None:
    found = asked(session, leg(joint, (120, 60)))
    assert found["width"] == pytest.approx(20)
    assert alike(found["cut_0"], scaled(joint, CUT)) > 0.9
    assert (float(found["weight_0"]), float(found["weight_1"])) == (1, 0)


def test_both_joints_of_two_legs_are_seen_and_count_the_same(session: Any, joint: Floats) -> None:
    found = asked(session, leg(joint, (120, 20), (124, 216)))
    assert all(alike(found[f"cut_{at}"], scaled(joint, CUT)) > 0.9 for at in (0, 1))
    assert (float(found["weight_0"]), float(found["weight_1"])) == (0.5, 0.5)


def test_a_map_is_laid_back_where_the_joint_is_and_its_sum_is_kept(session: Any, joint: Floats) -> None:
    found = asked(session, leg(joint, (120, 60)))
    laid = found["laid"][0]
    assert laid.shape == (20, 20)
    rows, columns = np.nonzero(laid > 0.1)
    assert rows.min() * 16 >= 100
    assert rows.max() * 16 <= 208
    assert columns.min() * 16 >= 40
    assert columns.max() * 16 <= 148
    assert laid.sum() == pytest.approx(49, rel=0.15)


def test_several_images_at_once_are_as_one_by_one(session: Any, joint: Floats) -> None:
    images = np.stack([leg(joint, (120, 60)), leg(joint, (60, 180), side=104)])
    maps = np.ones((2, 1, 7, 7), np.float32)
    together = session.run(["cut_0", "width"], {"images": images, "maps": maps})
    for at in (0, 1):
        alone = asked(session, images[at])
        assert np.allclose(together[0][at], alone["cut_0"], atol=1e-5)
        assert together[1][at] == alone["width"]


def test_an_image_without_any_joint_still_gives_something_finite(session: Any) -> None:
    for level in (0.0, 1.0):
        found = asked(session, np.full((SIZE, SIZE), level, np.float32))
        assert all(np.isfinite(value).all() for value in found.values())
