"""What the network sees at the knee joints of the osteoporosis images: its features, one row an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.imaging import backbone
from models.imaging.pixels import Grey, read, resized
from models.registry import Registry
from models.risk.knee import LABELS
from models.training.knee_data import Patients
from models.training.knee_joint import SIZE, looking, template
from models.training.recipes import Progress

WIDE: Final = (1.4, 1.8)
"""How much of the leg is cut out, in widths of the joint."""
OAI: Final = "knee_oa_kl"
Floats = NDArray[np.float32]


def graph(folder: Path, kernel: Floats | None = None, bias: Floats | None = None) -> bytes:
    """The model's graph with the shipped backbone and a head (without one, of nothing but zeros)."""
    import onnx
    from onnx import numpy_helper

    made = onnx.load_from_string(backbone.shipped(Registry()).read(backbone.FILE))
    weights = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
    none = np.zeros((backbone.WIDTH, len(LABELS)), np.float32)
    head = (none if kernel is None else kernel, none[0] if bias is None else bias)
    return looking(weights, template(folder.parent / OAI), WIDE, *head, half=True)


def with_image(of: Patients) -> Patients:
    """Those of whom there is an image that stands for them alone."""
    return of.of(np.asarray([bool(image) for image in of.images]))


def pictures(folder: Path, of: Patients) -> list[Grey]:
    """Each patient's image, as it is."""
    return [read((folder / image).read_bytes(), image).pixels for image in of.images]


def features(made: bytes, images: list[Grey], progress: Progress) -> Floats:
    """(n, 1280) at the joints, by the graph that is served."""
    session = running(made)
    found = []
    for at, image in enumerate(images):
        found.append(session.run(["features"], {"images": resized(image, SIZE)[None]})[0][0])
        progress("joints", at + 1, len(images))
    return np.asarray(found, np.float32)


def whole(images: list[Grey], progress: Progress) -> Floats:
    """(n, 1280) of the whole image, by the backbone as it is: what the joints are held against."""
    net = backbone.Backbone(backbone.shipped(Registry()))
    found = []
    for at, image in enumerate(images):
        found.append(net.features(resized(image, backbone.SIZE)[None])[0])
        progress("whole images", at + 1, len(images))
    return np.asarray(found, np.float32)


def running(made: bytes) -> Any:
    """A session on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(made, options, providers=["CPUExecutionProvider"])
