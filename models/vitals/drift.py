"""Whether a patient's usual level has changed for good: river's ADWIN over what was learned lately, kept in bytes.

ADWIN cannot be written down without pickle, so the values it has seen are: in small steps around an anchor, a byte
each. It is built anew from them each time it is asked, which takes some 30 us and makes it a function of what is kept.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.vitals.baseline import Doubles

KEPT: Final = 160
"""Values a channel; when they are full, the older half is let go."""
EVERY: Final = 6
"""Minutes from one question to the next; which ones differs by channel, so that the work is even."""
_EMPTY: Final = 0


class Trace(NamedTuple):
    """What was learned lately of beds: so many values (beds, channels), as ``steps`` (beds, channels, KEPT) from an
    ``anchor`` in tenths (beds, channels)."""

    filled: NDArray[np.uint8]
    anchor: NDArray[np.int16]
    steps: NDArray[np.int8]


class Drift:
    """``unit``: a step's size by channel; ``scale``: the deviation that ADWIN sees as 1; ``delta``: its confidence.

    ``least``: the fewest values on either side of a change.
    """

    def __init__(self, unit: Doubles, scale: Doubles, delta: float, least: int) -> None:
        from river.drift import ADWIN  # takes a while: when a model is loaded, not when a ward waits

        self._make = partial(ADWIN, delta=delta, clock=4, min_window_length=least, grace_period=2 * least)
        self.unit, self.least = unit, least
        self._size = (unit / scale).tolist()

    def noted(self, trace: Trace, values: Doubles) -> Trace:
        """With one more value a bed and channel; NaN is none."""
        known = np.isfinite(values)
        first = known & (trace.filled == _EMPTY)
        x = np.where(known, values, 0.0)
        anchor = np.where(first, np.rint(x * 10), trace.anchor).astype(np.int16)
        full = known & (trace.filled == KEPT)
        steps, count = trace.steps.copy(), trace.filled.copy()
        if full.any():
            steps[full, : KEPT // 2] = steps[full, KEPT // 2 :]
            count[full] = KEPT // 2
        bed, channel = np.nonzero(known)
        away = np.clip(np.rint((x - anchor / 10.0) / self.unit), -127, 127).astype(np.int8)
        steps[bed, channel, count[bed, channel]] = away[bed, channel]
        count[bed, channel] += 1
        return Trace(count, anchor, steps)

    def found(self, trace: Trace, minute: int, asked: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Trace]:
        """Which channels of the beds ``asked`` about have drifted, and what is kept: of those, nothing."""
        drifted = np.zeros(trace.filled.shape, np.bool_)
        for channel in range(minute % EVERY, trace.filled.shape[1], EVERY):
            for bed in np.flatnonzero(asked & (trace.filled[:, channel] >= 2 * self.least)):
                values = trace.steps[bed, channel, : trace.filled[bed, channel]].tolist()
                drifted[bed, channel] = self.tells(values, self._size[channel])
        if drifted.any():
            trace = Trace(np.where(drifted, _EMPTY, trace.filled).astype(np.uint8), trace.anchor, trace.steps)
        return drifted, trace

    def tells(self, values: list[int], size: float) -> bool:
        """Whether ADWIN finds a change anywhere in these values."""
        window = self._make()
        changed = False
        for value in values:
            window.update(value * size)
            changed = changed or window.drift_detected
        return changed
