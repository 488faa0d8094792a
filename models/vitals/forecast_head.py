"""One head of the forecaster: its network, which vitals it may speak of, and what it does with what comes true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from contracts.clinical.plausibility import PLAUSIBLE
from contracts.errors import Poison
from models.ports import Windows
from models.vitals import conformal
from models.vitals.conformal import HORIZONS, WIDTH, Book, CameTrue, Start
from models.vitals.forecast_memory import PER_UNIT, STEPS, UNKNOWN, Beds, Plan, whole
from models.vitals.history import CHANNELS

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LOW: Final = np.array([PLAUSIBLE[vital].low for vital in CHANNELS])[:, None, None]
HIGH: Final = np.array([PLAUSIBLE[vital].high for vital in CHANNELS])[:, None, None]
_STEPS3: Final = STEPS[:, None, None]
_PER_UNIT3: Final = PER_UNIT[:, None, None]


class Said(NamedTuple):
    """What a head says of each bed. ``quantiles`` (beds, 6, 4, 5) conformal and in whole steps' values; ``speaks``
    (beds, 6, 4); ``below`` and ``above`` (beds, 6, 4), NaN where not told. ``network`` and ``last`` are what its
    intervals are made from. ``unsettled`` (beds, 6): persistence speaks, from where the vital is now.
    """

    quantiles: Floats
    speaks: Flags
    below: Floats
    above: Floats
    network: Floats
    last: Floats
    unsettled: Flags


class Head:
    """``parameters`` are those of this head in the manifest, see ``models.training.forecast``.

    ``tells_crossings``: whether it tells the chance that a limit is crossed.
    """

    def __init__(
        self, onnx: bytes, parameters: Mapping[str, Any], plan: Plan, where: str, tells_crossings: bool = True
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self.plan = plan
        self.tells_crossings = tells_crossings
        self.start = Start.read(parameters, where)
        self.reach = _table(parameters, "reach", (WIDTH, HORIZONS), where)
        self.apart = _table(parameters, "apart", (2, WIDTH), where)
        self.may_speak = _table(parameters, "speaks", (WIDTH, HORIZONS), where) > 0
        self.stale = float(parameters["stale_steps"])
        self.least = float(parameters["least_known"])
        self.silent_when_fallen = bool(parameters["silent_when_fallen"])
        self.horizons_s = tuple(minutes * 60 for minutes in plan.ahead)

    def opened(self) -> Book:
        """The book of a new ward."""
        return conformal.opened(self.start, self.reach)

    def network(self, window: NDArray[np.float32], windows: Windows) -> tuple[Floats, Floats, Floats]:
        """(quantiles in the vital's steps, last known value, steps since then); NaN where a vital was never known."""
        inputs = {"windows": window, "age_years": windows.age_years, "stay_h": windows.stay_h}
        quantiles, last, ago = self._session.run(["quantiles", "last", "ago"], inputs)
        return _stepped(quantiles.astype(np.float64)), last.astype(np.float64), ago.astype(np.float64)

    def say(
        self, window: NDArray[np.float32], windows: Windows, book: Book, now: NDArray[np.float32] | None = None
    ) -> Said:
        """The forecasts of all beds, by whichever engine has been the better one lately.

        ``now`` (beds, 6) is where each vital has been in the last minutes. Where that is further from the last step
        than nine in ten steps move, the network has not seen what is going on: persistence speaks, from there. And
        what is beyond a limit now is beyond it at some time up to every horizon.
        """
        quantiles, last, ago = self.network(window, windows)
        band = conformal.network_band(book, self.start, quantiles)
        unsettled = np.zeros(last.shape, np.bool_)
        if now is not None:
            moved = now - last
            unsettled = (moved < self.start.offsets[0, :, 0]) | (moved > self.start.offsets[-1, :, 0])
        if book.fallen.any() or unsettled.any():
            present = last if now is None else np.where(unsettled, now, last)
            naive = conformal.persistence_band(book, self.start, present)
            band = np.where((book.fallen | unsettled[:, :, None])[..., None], naive, band)
        band = _stepped(band)
        enough = (ago < self.stale) & (np.isfinite(window).sum(1) >= self.least)
        speaks = enough[:, :, None] & (self.may_speak & ~book.fallen if self.silent_when_fallen else self.may_speak)
        if self.tells_crossings:
            chances = self.crossings(band, windows.limits)
            if now is not None:
                past = np.stack([now < windows.limits[..., 0], now > windows.limits[..., 1]], -1)
                chances = np.where(past[:, :, None], 1.0, chances)
        else:
            chances = np.full((*band.shape[:3], 2), np.nan)
        return Said(
            band, speaks, chances[..., 0], chances[..., 1], quantiles, np.where(enough, last, np.nan), unsettled
        )

    def crossings(self, band: Floats, limits: NDArray[np.float32]) -> Floats:
        """``conformal.beyond`` of what was told, with how crossings hang together for this head."""
        return conformal.beyond(band, limits.astype(np.float64), self.apart)

    def learn(self, slots: Beds, minute: NDArray[np.int64], window: NDArray[np.float32], book: Book) -> Book:
        """The book after what has come true since each bed's last tick; ``slots`` are the beds' rings."""
        width = slots["last"].shape[-1]
        row = np.arange(len(slots))
        shape = (len(slots), WIDTH, HORIZONS)
        known = np.zeros(shape, np.bool_)
        truth, last = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        said = np.zeros((*shape, 3), np.int64)
        for horizon, (due, ahead) in enumerate(zip(self.plan.due, self.plan.ahead, strict=True)):
            tick = minute // self.plan.tick
            slot = slots[row, (tick - due) % self.plan.slots]
            made = slot["made"].astype(np.int64)
            late = minute - made - ahead
            value = self._came(window, late, made // self.plan.tick == tick - due)
            truth[:, :, horizon] = whole(value, PER_UNIT)
            last[:, :width, horizon] = slot["last"]
            said[:, :width, horizon] = slot["said"][:, :, horizon]
            known[:, :width, horizon] = np.isfinite(value[:, :width]) & (slot["last"] != UNKNOWN)
        if not known.any():
            return book
        seen = CameTrue(known, truth, said[..., 0], said[..., 1], said[..., 2], last)
        return conformal.learned(book, seen, self.start, STEPS)

    def remembered(self, slots: Beds, minute: NDArray[np.int64], due: Flags, said: Said) -> None:
        """Write what the network said now into the rings of the beds that are ``due``."""
        width = slots["last"].shape[-1]
        beds = np.flatnonzero(due)
        place = (minute[beds] // self.plan.tick) % self.plan.slots
        new = np.zeros(len(beds), slots.dtype)
        new["made"] = minute[beds]
        new["last"] = whole(said.last[beds, :width], PER_UNIT[:width])
        kept = said.network[beds, :width][..., [0, 2, 4]]
        new["said"] = whole(kept, PER_UNIT[:width, None, None])
        slots[beds, place] = new

    def _came(self, window: NDArray[np.float32], late: NDArray[np.int64], meant: Flags) -> NDArray[np.float32]:
        """The vitals at the moment that was forecast: ``late`` minutes before now. NaN where it cannot be said."""
        back = late if self.plan.tick < 60 else np.where((late >= -1) & (late <= 5), 0, -1)
        # the newest minute is still running: what is to be scored has closed
        there = meant & (back >= (1 if self.plan.tick < 60 else 0)) & (back < window.shape[1])
        steps = window.shape[1] - 1 - np.where(there, back, 0)
        value = window[np.arange(len(window)), steps]
        return np.where(there[:, None], value, np.float32(np.nan))


def _stepped(values: Floats) -> Floats:
    """What can be, in whole steps of each vital; the array given is written over."""
    np.minimum(values, HIGH, out=values)
    np.maximum(values, LOW, out=values)
    values *= _PER_UNIT3
    np.rint(values, out=values)
    values *= _STEPS3
    return values


def ticked(slots: Beds, minute: NDArray[np.int64], plan: Plan) -> Flags:
    """Beds for which a new tick has begun since the last thing remembered."""
    made = slots["made"][np.arange(len(slots)), (minute // plan.tick) % plan.slots].astype(np.int64)
    result: Flags = made // plan.tick != minute // plan.tick
    return result


def _table(parameters: Mapping[str, Any], name: str, shape: tuple[int, ...], where: str) -> Floats:
    try:
        values = np.array(parameters[name], np.float64)
    except (KeyError, TypeError, ValueError) as wrong:
        raise Poison("bad_model", f"{name} is missing or no table: {wrong}", f"{where}.{name}") from wrong
    if values.shape != shape:
        raise Poison("bad_model", f"{name} is {values.shape}, expected {shape}", f"{where}.{name}")
    return values
