"""The backbone: tensors read without running anything, and a graph that does what its layers say."""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import Poison
from models.imaging.backbone import FILE, NAME, SIZE, WIDTH, Backbone, shipped
from models.registry import Bundle, Registry
from models.training import backbone
from models.training.tensors import MAGIC, tensors
from tests.unit.models.training.small import random_weights


def legacy(arrays: dict[str, NDArray[np.float32]], evil: bytes = b"") -> bytes:
    """A file of the first format, written by hand."""

    def text(value: str) -> bytes:
        raw = value.encode()
        return b"X" + struct.pack("<I", len(raw)) + raw

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    body = b"\x80\x02ccollections\nOrderedDict\n)R" + evil
    for key, array in arrays.items():
        steps = tuple(step // 4 for step in array.strides)
        storage = (
            b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(array.size) + b"NtQ"
        )
        rest = number(0) + numbers(array.shape) + numbers(steps) + b"\x89" + b"ccollections\nOrderedDict\n)R"
        body += text(key) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tRs"
    head = [pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True})]
    raw = [struct.pack("<q", array.size) + array.tobytes() for array in arrays.values()]
    return b"".join([*head, body + b".", pickle.dumps(list(arrays), 2), *raw])


def test_tensors_are_read_as_they_were_written() -> None:
    arrays = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.asarray([7, 8], np.float32)}
    found = tensors(io.BytesIO(legacy(arrays)))
    assert list(found) == list(arrays)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize(
    "evil",
    [
        b"cos\nsystem\n(X\x04\0\0\0truetR0",
        b"cbuiltins\neval\n(X\x01\0\0\x001tR0",
        b"(X\x04\0\0\0trueios\nsystem\n0",
        pickle.dumps(OrderedDict(a=1), 4)[2:-1],
    ],
)
def test_what_a_pickle_would_run_is_refused(evil: bytes) -> None:
    with pytest.raises(Poison, match="bad_tensors"):
        tensors(io.BytesIO(legacy({"a": np.ones(1, np.float32)}, evil)))


def test_a_cut_file_is_refused() -> None:
    whole = legacy({"a": np.ones(9, np.float32)})
    for end in (0, 30, len(whole) - 4):
        with pytest.raises(Poison, match="bad_tensors"):
            tensors(io.BytesIO(whole[:end]))


def test_the_graph_has_the_network_s_blocks_and_half_precision_changes_little() -> None:
    weights = random_weights()
    assert [number for number, *_ in backbone.blocks()] == list(range(16))
    assert sum(added for *_, added in backbone.blocks()) == 9
    images = np.random.default_rng(5).random((2, 64, 64)).astype(np.float32)
    made = []
    for half in (False, True):
        raw = backbone.exported(weights, half=half)
        bundle = Bundle.of(NAME, {FILE: raw}, code="t", seed=0, data=[])
        made.append(Backbone(bundle).features(images))
    assert made[0].shape == (2, WIDTH)
    assert made[0].std() > 0
    assert np.abs(made[0] - made[1]).max() < 0.02 * np.abs(made[0]).max()


def test_the_shipped_network_sees_the_same_one_by_one_and_tells_textures_apart() -> None:
    bundle = shipped(Registry())
    assert sum(len(bundle.read(file)) for file in bundle.manifest.files) < 20_000_000
    network = Backbone(bundle)
    rng = np.random.default_rng(1)
    stripes = np.tile((np.arange(SIZE) // 8 % 2).astype(np.float32), (SIZE, 1))
    images = np.stack([stripes, np.clip(stripes + rng.normal(0, 0.05, stripes.shape), 0, 1), rng.random((SIZE, SIZE))])
    found = network.features(images.astype(np.float32))
    assert np.allclose(found, np.concatenate([network.features(one[None]) for one in images]), atol=1e-4)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.1
    assert network.features(np.zeros((0, SIZE, SIZE), np.float32)).shape == (0, WIDTH)
