"""EfficientNet-lite0 as a Keras network that is filled from the backbone's weights, tuned, and read out again.

Batch norm keeps the statistics that it came with: it is folded into each convolution's kernel at every step, which is
the same function as a frozen layer behind it and leaves nothing to keep between the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from models.training.backbone import DEVIATION, EPSILON, MEAN, blocks

PARTS: Final = ("weight", "bias", "running_mean", "running_var")
CEILING: Final = 6.0
Weights = Mapping[str, NDArray[Any]]


class Convolved(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A convolution with its frozen batch norm and ReLU6, named as in the backbone: ``of`` and ``norm``."""

    def __init__(self, of: str, norm: str, weights: Weights, stride: int = 1, bend: bool = True) -> None:
        super().__init__(name=f"{of}_".replace(".", "_").strip("_"))
        self.of, self.norm, self._stride, self._bend = of, norm, stride, bend
        self._depthwise = of.endswith("_depthwise_conv")
        kernel = np.asarray(weights[f"{of}.weight"], np.float32)
        self._given = kernel.transpose((2, 3, 0, 1) if self._depthwise else (2, 3, 1, 0))
        self._norms = [np.asarray(weights[f"{norm}.{part}"], np.float32) for part in PARTS]

    def build(self, shape: Any) -> None:
        """Makes the variables; batch norm's mean and variance are never trained."""

        def variable(name: str, values: NDArray[Any], trained: bool = True) -> Any:
            start = keras.initializers.Constant(values) if values.ndim == 0 else (lambda *_, **__: values)
            return self.add_weight(name=name, shape=values.shape, initializer=start, trainable=trained)

        self.kernel = variable("kernel", self._given)
        gamma, beta, mean, var = self._norms
        self.gamma, self.beta = variable("gamma", gamma), variable("beta", beta)
        self.mean, self.var = variable("mean", mean, False), variable("var", var, False)
        super().build(shape)

    def call(self, x: Any) -> Any:
        """Padding is TensorFlow's: what is odd goes to the right and below."""
        scale = self.gamma * ops.rsqrt(self.var + EPSILON)
        shift = ops.cast(self.beta - self.mean * scale, x.dtype)
        if self._depthwise:
            kernel = ops.cast(self.kernel * scale[:, None], x.dtype)
            x = ops.depthwise_conv(x, kernel, strides=self._stride, padding="same") + shift
        else:
            kernel = ops.cast(self.kernel * scale, x.dtype)
            x = ops.conv(x, kernel, strides=self._stride, padding="same") + shift
        return ops.clip(x, 0.0, CEILING) if self._bend else x

    def read(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Its tensors by the backbone's names, in the backbone's order of axes."""
        kernel = np.asarray(self.kernel, np.float32)
        yield f"{self.of}.weight", kernel.transpose((2, 3, 0, 1) if self._depthwise else (3, 2, 0, 1))
        for part, values in zip(PARTS, (self.gamma, self.beta, self.mean, self.var), strict=True):
            yield f"{self.norm}.{part}", np.asarray(values, np.float32)


class Linear(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """What is told of pooled features (n, width): ``features @ (kernel + sex x by_sex) + bias + sex x bias_by_sex``.

    Linear in the features for either sex, so that each place's part in the answer is told exactly. ``sex`` is -1 for
    female, 1 for male, 0 for unknown; without it only ``kernel`` and ``bias`` are there.
    """

    def __init__(self, outputs: int, wants_sex: bool = False) -> None:
        super().__init__(name="told")
        self.outputs, self.wants_sex = outputs, wants_sex

    def build(self, shape: Any) -> None:
        """Kernels start at zero: before any training nothing is said."""
        width = (shape[0] if self.wants_sex else shape)[-1]
        self.kernel = self.add_weight(name="kernel", shape=(width, self.outputs), initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(self.outputs,), initializer="zeros")
        if self.wants_sex:
            self.by_sex = self.add_weight(name="by_sex", shape=(width, self.outputs), initializer="zeros")
            self.bias_by_sex = self.add_weight(name="bias_by_sex", shape=(self.outputs,), initializer="zeros")
        super().build(shape)

    def call(self, x: Any) -> Any:
        """Features, or features and sex."""
        if not self.wants_sex:
            return ops.matmul(x, self.kernel) + self.bias
        features, sex = x
        by = ops.matmul(features, self.by_sex) + self.bias_by_sex
        return ops.matmul(features, self.kernel) + self.bias + sex[:, None] * by

    def read(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """``told.kernel`` and the others, as they stand."""
        for variable in self.weights:
            yield f"told.{variable.name}", np.asarray(variable, np.float32)


def network(
    weights: Weights,
    size: int,
    outputs: int,
    *,
    wants_sex: bool = False,
    frozen: int = 5,
    dropout: float = 0.3,
    seed: int = 0,
) -> Any:
    """(images (n, size, size) grey in [0, 1], with ``wants_sex`` also sex (n,)) -> (n, outputs).

    Stem and the first ``frozen`` blocks stay as they are; what they give is its layer ``seen``. Its layer ``last``
    gives the last convolution. ``seed`` is of the dropout before the head.
    """
    images = keras.Input((size, size), name="images")
    grey = ops.repeat((images[..., None] - MEAN[0]) / DEVIATION[0], 3, axis=-1)
    x = _still(Convolved("_conv_stem", "_bn0", weights, 2))(grey)
    for number, stage, stride, added in blocks():
        name, start = f"_blocks.{number}", x
        layers = [Convolved(f"{name}._expand_conv", f"{name}._bn0", weights)] if stage.expand > 1 else []
        layers.append(Convolved(f"{name}._depthwise_conv", f"{name}._bn1", weights, stride))
        layers.append(Convolved(f"{name}._project_conv", f"{name}._bn2", weights, bend=False))
        for layer in layers:
            x = (_still(layer) if number < frozen else layer)(x)
        x = x + start if added else x
        x = keras.layers.Identity(name="seen")(x) if number == frozen - 1 else x
    x = keras.layers.Identity(name="last")(Convolved("_conv_head", "_bn1", weights)(x))
    pooled = keras.layers.GlobalAveragePooling2D(name="features")(x)
    pooled = keras.layers.Dropout(dropout, seed=seed, name="dropped")(pooled)
    if not wants_sex:
        return keras.Model(images, Linear(outputs)(pooled))
    sex = keras.Input((), name="sex")
    return keras.Model([images, sex], Linear(outputs, wants_sex=True)([pooled, sex]))


def read(model: Any) -> dict[str, NDArray[np.float32]]:
    """All tensors of a network, by the backbone's names and ``told.*``: what it is filled from, and exported from."""
    layers = [layer for layer in model.layers if isinstance(layer, Convolved | Linear)]
    return {name: values for layer in layers for name, values in layer.read()}


def backbone_weights(graph: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of the backbone's graph (``image_backbone``), by name."""
    import onnx
    from onnx import numpy_helper

    made = onnx.load_from_string(graph)
    return {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}


def _still(layer: Convolved) -> Convolved:
    layer.trainable = False
    return layer
