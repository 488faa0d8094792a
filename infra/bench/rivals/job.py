"""What a rival is told to do."""

from __future__ import annotations

from typing import Final

import msgspec

COMMIT_EVERY_S: Final = 0.5
"""As the worker commits its offsets (streams/app.py)."""
FETCH_MAX: Final = 4 * 1024 * 1024
LINGER_MS: Final = 2


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Drain patient_vitals until stopped. ``durable``: state survives kill -9, written every ``snapshot_every_s``."""

    kafka: str
    group: str
    durable: bool
    snapshot_every_s: float
    state_dir: str


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """CPU seconds of the work alone on the whole log; decode and encode are parts of it."""

    cpu_s: float
    decode_s: float
    encode_s: float
