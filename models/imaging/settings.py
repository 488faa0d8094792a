"""What the bundle of an image model says of itself: ``settings.json`` beside ``model.onnx``.

The graph takes ``images`` (n, size, size) float32 grey in [0, 1], as ``models.imaging.pixels.resized`` makes them; one
that wants the sex takes ``sex`` (n,) float32 besides: 0 female, 1 male, 0.5 unknown. It gives

- ``logits`` (n, classes), before the temperature; of a measure ``value`` (n,) in ``unit``;
- ``maps`` (n, rows, columns, classes or 1): what each place of the last convolution adds to each logit (or the value).
  Behind global average pooling and one dense layer this, with its negative part cut off, is Grad-CAM exactly;
- ``features`` (n, width): the pooled last convolution.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

MODEL_FILE: Final = "model.onnx"
SETTINGS_FILE: Final = "settings.json"


class ImageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``labels`` in the order of the logits; ``positive`` those that are a finding, whose summed probability is held
    against ``threshold``. A measure has ``unit`` and ``half_width``, its 90 % band by split conformal prediction.

    ``body_part`` is what must be seen by the scope gate. ``unsure_below``: a most probable label that is less probable
    is not told. ``abstains`` says why the model never tells a label at all, None when it does.
    """

    kind: Literal["classes", "measure"]
    size: int
    body_part: Literal["brain", "knee", "hand"]
    labels: tuple[str, ...] = ()
    temperature: float = 1.0
    positive: tuple[str, ...] = ()
    threshold: float = 0.5
    unsure_below: float = 0.0
    unit: str | None = None
    half_width: float | None = None
    wants_sex: bool = False
    abstains: str | None = None
    caveats: tuple[str, ...] = ()
