"""Asks the graph of an image model about many images at once, as it is served."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from models.imaging.settings import MODEL_FILE, SETTINGS_FILE, ImageSettings
from models.registry import Bundle
from models.training.imaging_export import EACH

Floats = NDArray[np.float32]
AT_ONCE: Final = 16
UNKNOWN_SEX: Final = 0.5


def settings_of(bundle: Bundle) -> ImageSettings:
    """What the bundle says of itself. Raises Poison (``bad_settings``)."""
    try:
        return msgspec.json.decode(bundle.read(SETTINGS_FILE), type=ImageSettings)
    except msgspec.MsgspecError as wrong:
        raise Poison("bad_settings", str(wrong), f"{bundle.name}/{bundle.version}/{SETTINGS_FILE}") from wrong


def networks(bundle: Bundle) -> int:
    """How many networks it holds the mean of, each of which learned from another part of train."""
    return int(bundle.manifest.parameters.get("networks", 1))


class Asked:
    """A graph at work on two threads."""

    def __init__(self, graph: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._wants = {each.name for each in self._session.get_inputs()}
        self._answer = self._session.get_outputs()[0].name

    @classmethod
    def of(cls, bundle: Bundle) -> Asked:
        """The graph of a version."""
        return cls(bundle.read(MODEL_FILE))

    def answers(self, images: Floats, sex: Floats | None = None) -> Floats:
        """Logits (n, classes) or values (n,)."""
        return self._asked(self._answer, images, sex)

    def apart(self, images: Floats, network: NDArray[np.intp], sex: Floats | None = None) -> Floats:
        """The same, but of each image what the one ``network`` says that is named for it."""
        each = self._asked(EACH, images, sex, axis=1)[network, np.arange(len(images))]
        return each[:, 0] if self._answer == "value" else each

    def maps(self, images: Floats, sex: Floats | None = None) -> Floats:
        """(n, rows, columns, classes or 1): what each place adds to the answer."""
        return self._asked("maps", images, sex)

    def _asked(self, output: str, images: Floats, sex: Floats | None, axis: int = 0) -> Floats:
        told = np.full(len(images), UNKNOWN_SEX, np.float32) if sex is None else sex
        parts = []
        for at in range(0, len(images), AT_ONCE):
            given = {"images": images[at : at + AT_ONCE], "sex": told[at : at + AT_ONCE]}
            parts.append(self._session.run([output], {name: given[name] for name in self._wants})[0])
        made: Floats = np.concatenate(parts, axis)
        return made
