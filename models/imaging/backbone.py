"""Images as vectors: what a network that was trained on everyday pictures sees in them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.registry import NotThere, Registry

NAME: Final = "image_backbone"
FILE: Final = "backbone.onnx"
SIZE: Final = 224
WIDTH: Final = 1280
AT_ONCE: Final = 16


def shipped(registry: Registry) -> Bundle:
    """The version in force: the champion where there is one, else the only version. Raises NotThere, Poison."""
    versions = registry.versions(NAME)
    champion = registry.aliases(NAME).champion
    if champion is None and len(versions) != 1:
        raise NotThere(f"{NAME} has {len(versions)} versions and no champion: `ward model promote {NAME} VERSION`")
    return registry.load(NAME, champion or versions[0])


class Backbone:
    """The network of a version. The same images give the same vectors, however many are asked for at once."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            bundle.read(FILE), options, providers=["CPUExecutionProvider"]
        )

    def features(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 224, 224) grey in [0, 1], as ``models.imaging.pixels.resized`` makes them -> (n, 1280), pooled."""
        parts = [
            self._session.run(["features"], {"images": images[at : at + AT_ONCE].astype(np.float32)})[0]
            for at in range(0, len(images), AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, WIDTH), np.float32)
