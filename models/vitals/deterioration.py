"""What may happen to a patient soon: calibrated probabilities and what drives each, by trees on a day of vitals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import Poison
from contracts.records import Driver, Risk, Vital
from models.bundle import Bundle
from models.ports import Flags, Floats, Windows
from models.vitals.deterioration_features import LAST, NAMES, SLOPE, features
from models.vitals.history import CHANNELS
from models.vitals.instability import CONDITIONS, HORIZON_H, last_known, met, observed

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Doubles = NDArray[np.float64]

DEATH: Final = "death"
RISKS: Final = (*CONDITIONS, DEATH)
"""The names of the risks, in the order of the model's columns."""
GRAPH: Final = "risks.onnx"
"""float32 (rows, ``NAMES``) to float32 (rows, ``RISKS``): log odds, not yet calibrated."""

_DIGITS: Final = 4
_NOW_MIN: Final = 5  # minutes whose newest value is the present
_DEATH_NEEDS: Final = 3  # vitals known, of six
_MOST_DRIVERS: Final = 3
_LEAST_SHARE: Final = 0.05
_FACTS: Final = len(CHANNELS)  # the occlusion after those of the vitals
_SHOWN: Final[Mapping[Vital, tuple[str, int, float]]] = {  # name, decimals, an hourly change worth a word
    Vital.HEART_RATE: ("HR", 0, 2.0),
    Vital.RESPIRATION: ("RR", 0, 1.0),
    Vital.SPO2: ("SpO2", 0, 0.5),
    Vital.SYSTOLIC: ("SBP", 0, 2.0),
    Vital.MEAN_PRESSURE: ("MAP", 0, 2.0),
    Vital.TEMPERATURE: ("temperature", 1, 0.2),
}


class Calibration(msgspec.Struct, frozen=True):
    """Calibrated log odds = ``intercept`` + ``slope`` x the trees' log odds, fitted on validation patients. Rising."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        """ValueError when more of the score would mean less of the risk."""
        if not self.slope > 0:
            raise ValueError("the slope of a calibration is above 0")


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What the model needs besides its trees.

    ``calibration`` and ``explain_from`` (the probability from which drivers are worked out) are by risk; ``usual`` is
    each vital's middle value in stable patients, ``usual_age`` their middle age: what an input is replaced by to see
    what it did.
    """

    features: tuple[str, ...]
    risks: tuple[str, ...]
    calibration: dict[str, Calibration]
    explain_from: dict[str, float]
    usual: dict[Vital, float]
    usual_age: float


class Deterioration:
    """A ``RiskModel``. Each bed is judged by itself; nothing is remembered."""

    def __init__(self, graph: bytes, parameters: Parameters) -> None:
        self._session = session(graph)
        self._input = self._session.get_inputs()[0].name
        calibrations = [parameters.calibration[name] for name in RISKS]
        self._slopes = np.array([c.slope for c in calibrations])
        self._intercepts = np.array([c.intercept for c in calibrations])
        self._explain_from = np.array([parameters.explain_from[name] for name in RISKS])
        self._usual = np.array([parameters.usual[vital] for vital in CHANNELS], np.float32)
        self._usual_age = np.float32(parameters.usual_age)

    def assess(self, windows: Windows) -> tuple[tuple[Risk, ...], ...]:
        """The risks of each bed.

        Nothing is said of a condition that the last known hour or the last minutes meet already, nor of one none of
        whose vitals was known in the last day; nothing of death where fewer than three vitals were known. Drivers only
        from the probability on at which a risk is well above the usual (``explain_from``): the others would explain
        nothing.
        """
        beds = len(windows.hours)
        if not beds:
            return ()
        rows = features(windows.hours, windows.age_years, windows.female, windows.stay_h)
        odds = self.log_odds(rows)
        probability = np.round(_probability(odds), _DIGITS)
        carried = last_known(windows.hours)[:, -1]
        said = speaks(carried)
        said[:, : len(CONDITIONS)] &= ~met(last_known(windows.minutes[:, -_NOW_MIN:])[:, -1])
        drivers = self._drivers(windows, rows, odds, said & (probability >= self._explain_from))
        known = np.round(np.isfinite(carried).mean(axis=1), 2)
        return tuple(
            tuple(
                Risk(
                    name=name,
                    probability=float(probability[bed, place]),
                    horizon_s=0 if name == DEATH else HORIZON_H * 3600,
                    known=float(known[bed]),
                    drivers=drivers.get((bed, place), ()),
                )
                for place, name in enumerate(RISKS)
                if said[bed, place]
            )
            for bed in range(beds)
        )

    def log_odds(self, rows: Floats) -> Doubles:
        """Calibrated log odds of ``features`` rows: (rows, ``RISKS``), said or not."""
        (raw,) = self._session.run(None, {self._input: rows})
        odds: Doubles = np.asarray(raw, np.float64) * self._slopes + self._intercepts
        return odds

    def probabilities(self, rows: Floats) -> Doubles:
        """``log_odds`` as probabilities."""
        return _probability(self.log_odds(rows))

    def _drivers(
        self, windows: Windows, rows: Floats, odds: Doubles, wanted: Flags
    ) -> dict[tuple[int, int], tuple[Driver, ...]]:
        """By bed and risk, by occlusion: what the log odds would lose if an input had been usual all day."""
        beds = np.flatnonzero(wanted.any(axis=1))
        if not len(beds):
            return {}
        gains = odds[beds, None] - self.log_odds(self._occluded(windows, beds)).reshape(len(beds), -1, len(RISKS))
        found = {}
        for place, bed in enumerate(beds):
            for risk in np.flatnonzero(wanted[bed]):
                age = float(windows.age_years[bed])
                found[int(bed), int(risk)] = _told(gains[place, :, risk], rows[bed], age)
        return found

    def _occluded(self, windows: Windows, beds: NDArray[np.intp]) -> Floats:
        """Rows of these beds with one vital after the other as usual, where it was known, and then the facts."""
        ways = len(CHANNELS) + 1
        hours = np.repeat(windows.hours[beds, None], ways, axis=1)
        for channel, usual in enumerate(self._usual):
            seen = hours[:, channel, :, channel]
            hours[:, channel, :, channel] = np.where(np.isfinite(seen), usual, seen)
        age = np.repeat(windows.age_years[beds, None], ways, axis=1)
        age[:, _FACTS] = np.where(np.isfinite(age[:, _FACTS]), self._usual_age, age[:, _FACTS])
        female, stay = (np.repeat(fact[beds], ways) for fact in (windows.female, windows.stay_h))
        return features(hours.reshape(-1, *windows.hours.shape[1:]), age.reshape(-1), female, stay)


def load(bundle: Bundle) -> Deterioration:
    """The model of a bundle. Raises Poison (``bad_model``) when the bundle is not one of this release."""
    try:
        parameters = msgspec.convert(dict(bundle.parameters), Parameters)
    except (msgspec.MsgspecError, ValueError) as wrong:
        raise _bad(bundle, str(wrong)) from wrong
    if parameters.features != NAMES or parameters.risks != RISKS:
        raise _bad(bundle, "it was trained on other inputs or for other risks than this release has")
    short = [n for n in RISKS if n not in parameters.calibration or n not in parameters.explain_from]
    if short or set(parameters.usual) != set(CHANNELS):
        raise _bad(bundle, f"incomplete: {short or 'usual'}")
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf

    try:
        return Deterioration(bundle.read(GRAPH), parameters)
    except (Fail, InvalidGraph, InvalidProtobuf) as wrong:
        raise _bad(bundle, f"{GRAPH} is no graph that can be run: {wrong}") from wrong


def session(graph: bytes) -> InferenceSession:
    """Runs a graph on the calling thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def speaks(carried: Floats) -> Flags:
    """Of which risks something is said, by the last known values (beds, 6): (beds, ``RISKS``)."""
    alive = np.isfinite(carried).sum(axis=1) >= _DEATH_NEEDS
    return np.concatenate([observed(carried) & ~met(carried), alive[:, None]], axis=1)


def _probability(odds: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def _told(gains: Doubles, row: Floats, age: float) -> tuple[Driver, ...]:
    """The largest gains as shares of all, in words."""
    whole = float(np.abs(gains).sum())
    if whole <= 0:
        return ()
    order = sorted(range(len(gains)), key=lambda i: (-abs(gains[i]), i))[:_MOST_DRIVERS]
    shares = [(i, round(float(gains[i]) / whole, 2)) for i in order]
    return tuple(
        Driver(what=f"age {age:.0f}", share=share)
        if i == _FACTS
        else Driver(what=_words(CHANNELS[i], row[LAST][i], row[SLOPE][i]), share=share, vital=CHANNELS[i])
        for i, share in shares
        if abs(share) >= _LEAST_SHARE
    )


def _words(vital: Vital, level: float, slope: float) -> str:
    """Such as ``MAP 63, falling 4/h``."""
    name, decimals, worth = _SHOWN[vital]
    text = f"{name} {level:.{decimals}f}"
    if abs(slope) >= worth:
        text += f", {'rising' if slope > 0 else 'falling'} {abs(slope):.{max(decimals, int(abs(slope) < 1))}f}/h"
    return text


def _bad(bundle: Bundle, what: str) -> Poison:
    return Poison("bad_model", what, f"{bundle.name}/{bundle.version}")


def settings(parameters: Parameters) -> dict[str, Any]:
    """As they go into a manifest."""
    plain: dict[str, Any] = msgspec.to_builtins(parameters)
    return plain
