"""A backbone of the right shapes, with nothing learned: enough to test what is built on one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.imaging.backbone import WIDTH
from models.training import backbone


def random_weights(seed: int = 3) -> dict[str, NDArray[Any]]:
    """Its tensors by name; another seed, other tensors."""
    rng = np.random.default_rng(seed)
    made: dict[str, NDArray[Any]] = {}

    def layer(name: str, norm: str, shape: tuple[int, ...]) -> None:
        made[f"{name}.weight"] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        for part, low, high in (("weight", 0.8, 1.2), ("bias", 0, 0.2), ("running_mean", 0, 0), ("running_var", 1, 1)):
            made[f"{norm}.{part}"] = rng.uniform(low, high, shape[0]).astype(np.float32)

    layer("_conv_stem", "_bn0", (32, 3, 3, 3))
    before = 32
    for number, stage, _, _ in backbone.blocks():
        name, inner = f"_blocks.{number}", before * stage.expand
        if stage.expand > 1:
            layer(f"{name}._expand_conv", f"{name}._bn0", (inner, before, 1, 1))
        layer(f"{name}._depthwise_conv", f"{name}._bn1", (inner, 1, stage.kernel, stage.kernel))
        layer(f"{name}._project_conv", f"{name}._bn2", (stage.out, inner, 1, 1))
        before = stage.out
    layer("_conv_head", "_bn1", (WIDTH, before, 1, 1))
    return made
