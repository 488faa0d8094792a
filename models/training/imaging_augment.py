"""Keras layers that show a training image a little otherwise each time: moved, turned, scaled, lighter, noisier.

They come after the split, work on training images only, and are no part of what is exported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops


@dataclass(frozen=True)
class Augment:
    """How far each goes: turns in degrees, shifts as a share of the side, the others as a share of 1.

    ``flips`` is whether left and right may be exchanged. ``noise`` is a standard deviation of grey.
    """

    turn: float = 15.0
    shift: float = 0.08
    zoom: float = 0.15
    stretch: float = 0.05
    flips: bool = True
    contrast: float = 0.25
    brightness: float = 0.1
    gamma: float = 0.25
    noise: float = 0.02


class Moved(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Images (n, side, side) flipped, turned, scaled and shifted in one interpolation, black where nothing was."""

    def __init__(self, how: Augment, seed: int) -> None:
        super().__init__(name="moved")
        self.how, self.chance = how, keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """As they are unless ``training``."""
        if not training:
            return images
        side, how, n = float(images.shape[1]), self.how, ops.shape(images)[0]

        def drawn(reach: float) -> Any:
            return keras.random.uniform((n,), -reach, reach, seed=self.chance)

        angle = drawn(how.turn * np.pi / 180)
        scale = ops.exp(drawn(how.zoom))
        wide = scale * ops.exp(drawn(how.stretch))
        mirrored = ops.where(drawn(1.0) < 0, -1.0, 1.0) if how.flips else 1.0
        cos, sin = ops.cos(angle), ops.sin(angle)
        a, b, c, d = mirrored * cos / wide, -sin / wide, mirrored * sin / scale, cos / scale
        middle, nought = (side - 1) / 2, ops.zeros((n,))
        x, y = drawn(how.shift * side) + middle, drawn(how.shift * side) + middle
        # each place of the new image, as one of the old
        matrix = ops.stack([a, b, middle - a * x - b * y, c, d, middle - c * x - d * y, nought, nought], axis=1)
        return ops.image.affine_transform(images[..., None], matrix, fill_mode="constant", fill_value=0.0)[..., 0]


class Exposed(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Images of [0, 1] with another gamma, contrast and brightness, and some noise, cut to [0, 1] again."""

    def __init__(self, how: Augment, seed: int) -> None:
        super().__init__(name="exposed")
        self.how, self.chance = how, keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """As they are unless ``training``."""
        if not training:
            return images
        how, n = self.how, ops.shape(images)[0]

        def drawn(reach: float) -> Any:
            return keras.random.uniform((n, 1, 1), -reach, reach, seed=self.chance)

        x = ops.power(ops.clip(images, 1e-6, 1.0), ops.exp(drawn(how.gamma)))
        middle = ops.mean(x, axis=(1, 2), keepdims=True)
        x = (x - middle) * (1 + drawn(how.contrast)) + middle + drawn(how.brightness)
        loud = ops.abs(drawn(how.noise))
        x = x + loud * keras.random.normal(ops.shape(x), seed=self.chance)
        return ops.clip(x, 0.0, 1.0)
