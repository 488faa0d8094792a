"""A ward whose log also says which models are in force, and models beside it: small real ones, or ones with a line."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from math import isfinite, isnan
from typing import Any, Final

import msgspec
import numpy as np

from contracts.records import (
    AlertTransition,
    Anomaly,
    Driver,
    Engine,
    ModelRef,
    PastSeries,
    PastVitals,
    PatientFacts,
    Risk,
    SourceOffset,
    Vital,
    VitalForecast,
    VitalsFrame,
)
from contracts.topology import CLOCK_KEY
from models.ports import ANOMALY, DETERIORATION, FORECAST, Answers, Ask, Memory
from tests.unit.models.bedside import REAL, T0, Bedside, Lab, as_bytes

SERVING: Final[Mapping[str, str]] = {ANOMALY: "aaaaaaaaaaaa", DETERIORATION: "dddddddddddd", FORECAST: "ffffffffffff"}
LEVELS: Final = (0.05, 0.5, 0.95)


QUICKLY: Final = {
    "anomaly_from": 0.95,
    "anomaly_until": 0.8,
    "anomaly_sustained_s": 60.0,
    "early_warning_from": 0.8,
    "early_warning_until": 0.6,
}


def _quick() -> str:
    """The built-in policy with thresholds of the tests' own: the rules do not hang on where a ward puts them."""
    text = resources.files("models.ward").joinpath("policies", "adult.toml").read_text(encoding="utf-8")
    for name, value in QUICKLY.items():
        text, found = re.subn(rf"^{name} = \S+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1
    return text


QUICK: Final = _quick()
Models = Callable[[Ask], Answers]


def running_means(ask: Ask) -> Answers:
    """Small models that are real: they learn a mean of the heart rate unless the bed is alarming, and count asks.

    A function of the windows and the memories alone.
    """
    rate = ask.windows.minutes[:, -1, 0].tolist()
    anomalies, beds = [], []
    for i, raw in enumerate(ask.memories[ANOMALY].beds if ANOMALY in ask.models else ()):
        count, mean = struct.unpack("<id", raw) if raw else (0, 0.0)
        learns = not ask.windows.alarming[i] and isfinite(rate[i])
        if learns:
            count, mean = count + 1, mean + (rate[i] - mean) / (count + 1)
        score = round(min(1.0, abs(rate[i] - mean) / 20), 4) if count and isfinite(rate[i]) else None
        driver = Driver(what=f"level {rate[i]:.0f}, usually {mean:.0f}", share=1.0, vital=Vital.HEART_RATE)
        anomalies.append(
            None
            if score is None
            else Anomaly(score=score, learning=bool(learns), baseline_s=10 * count, drivers=(driver,))
        )
        beds.append(struct.pack("<id", count, mean))
    memories = {}
    if ANOMALY in ask.models:
        asked = int.from_bytes(ask.memories[ANOMALY].ward, "little")
        memories[ANOMALY] = Memory(tuple(beds), (asked + 1).to_bytes(4, "little"))
    forecasts = tuple(
        (() if isnan(last) else (heart_rate_ahead(last, float(limits[1])),))
        for last, limits in zip(rate, ask.windows.limits[:, 0], strict=True)
    )
    known = np.isfinite(ask.windows.hours).mean((1, 2))
    risks = tuple(
        () if not share else (Risk(name="hypotension", probability=round(float(share), 4), horizon_s=14_400),)
        for share in known
    )
    return Answers(
        LEVELS,
        tuple(anomalies) if ANOMALY in ask.models else None,
        forecasts if FORECAST in ask.models else None,
        risks if ask.risks else None,
        memories,
    )


def heart_rate_ahead(last: float, high: float) -> VitalForecast:
    """A forecast that goes on as it was; the nearer the limit, the likelier it is crossed."""
    above = round(max(0.0, min(1.0, 1 - (high - last) / 20)), 4) if isfinite(high) else None
    return VitalForecast(
        vital=Vital.HEART_RATE,
        engine=Engine.PERSISTENCE,
        horizons_s=(600, 1800),
        quantiles=((last - 5, last, last + 5), (last - 9, last, last + 9)),
        above=None if above is None else (round(above / 2, 4), above),
    )


@dataclass
class Saying:
    """Models that say what a test wants to hear, of every bed; None or empty: nothing. ``asked``: every ask so far."""

    anomaly: float | None = None
    below: Sequence[tuple[int, float]] = ()
    above: Sequence[tuple[int, float]] = ()
    vital: Vital = Vital.SPO2
    risks: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, Memory] = field(default_factory=dict)
    asked: list[Ask] = field(default_factory=list)

    def __call__(self, ask: Ask) -> Answers:
        self.asked.append(ask)
        drivers = (
            Driver(what="level 134, usually 82", share=0.6, vital=Vital.HEART_RATE),
            Driver(what="swings", share=0.3, vital=Vital.HEART_RATE),
            Driver(what="quiet night", share=-0.1),
        )
        anomaly = None if self.anomaly is None else Anomaly(score=self.anomaly, learning=True, drivers=drivers)
        sides = [side for side in (self.below, self.above) if side]
        forecasts = tuple(
            VitalForecast(
                vital=self.vital,
                engine=Engine.LSTM,
                horizons_s=tuple(horizon_s for horizon_s, _ in side),
                quantiles=tuple((90.0, 92.0, 94.0) for _ in side),
                below=tuple(chance for _, chance in side) if side is self.below else None,
                above=tuple(chance for _, chance in side) if side is self.above else None,
            )
            for side in sides
        )
        risks = tuple(Risk(name=name, probability=chance, horizon_s=14_400) for name, chance in self.risks.items())
        beds = len(ask.patients)
        return Answers(
            LEVELS,
            (anomaly,) * beds if ANOMALY in ask.models else None,
            (forecasts,) * beds if FORECAST in ask.models else None,
            (risks,) * beds if ask.risks else None,
            self.memory,
        )


class Beside(Bedside):
    """A ward with models beside it. ``heeded``: what each answer led to, by the offset of its tick."""

    def __init__(
        self,
        lab: Lab = REAL,
        models: Models = running_means,
        serving: Mapping[str, str] = SERVING,
        policy: str | None = None,
        ward: str = "W1",
    ) -> None:
        super().__init__(lab, QUICK if policy is None else policy, ward)
        self.models = models
        self.serving = dict(serving)
        self.heeded: dict[int, Any] = {}

    def tick(self, second: float) -> Any:
        """A clock tick of the log, which names the champions; then the models are asked what is due."""
        now_ms = T0 + int(second * 1000)
        champions = tuple(ModelRef(name=name, version=version) for name, version in self.serving.items())
        frame = VitalsFrame(version=1, ward=CLOCK_KEY, gateway=CLOCK_KEY, seq=0, at_ms=now_ms, models=champions)
        out = self.put(frame, now_ms)
        self.state, heeded = self.asked(self.state, now_ms, len(self.log) - 1)
        if heeded is not None:
            self.heeded[len(self.log) - 1] = heeded
            self.told.extend(heeded.transitions)
        return out

    def asked(self, state: Any, now_ms: int, offset: int) -> tuple[Any, Any]:
        """The state after the models were asked, if that was due."""
        core: Any = self.core
        before = core.dump(state)
        ask = core.ask(state, now_ms)
        if ask is None:
            return state, None
        after, heeded = core.heed(state, ask, self.models(ask), now_ms, self._source(offset))
        assert core.dump(state) == before, "the state that was handed in has changed"
        return after, heeded

    def tell(self, second: float, past: Sequence[PastVitals] = (), facts: Sequence[PatientFacts] = ()) -> Any:
        """What is known of patients besides readings."""
        now_ms = T0 + int(second * 1000)
        self.sent += 1
        frame = VitalsFrame(
            version=1,
            ward=self.ward,
            gateway="past",
            seq=self.sent,
            at_ms=now_ms,
            past=tuple(past),
            facts=tuple(facts),
        )
        return self.put(frame, now_ms)

    def replay(self) -> list[bytes]:
        """The outputs of the whole log from its start, as bytes."""
        state, written = self.core.fresh(self.ward), []
        for offset, (frame, now_ms) in enumerate(self.log):
            state, out = self.core.step(state, frame, now_ms, self._source(offset))
            written.append(as_bytes(out))
            if frame.ward == CLOCK_KEY:
                state, heeded = self.asked(state, now_ms, offset)
                written += [] if heeded is None else [msgspec.json.encode(heeded)]
        assert self.core.dump(state) == self.core.dump(self.state), "a replay ends in another state"
        return written

    @property
    def written(self) -> list[bytes]:
        """The outputs so far, as bytes, in the order in which a replay writes them."""
        written = []
        for offset, out in enumerate(self.outputs):
            written.append(as_bytes(out))
            if offset in self.heeded:
                written.append(msgspec.json.encode(self.heeded[offset]))
        return written

    def outlooks(self, patient: str = "p-1") -> list[Any]:
        """What was told of a patient's outlook, in order."""
        frames = [heeded.scores for heeded in self.heeded.values() if heeded.scores is not None]
        return [outlook for frame in frames for outlook in frame.outlooks if outlook.patient == patient]


def a_past(second: float, minutes: int, value: float, patient: str = "p-1", bed: str = "B1") -> PastVitals:
    """Heart rates of so many minutes up to ``second``."""
    start_ms = T0 + int(second * 1000) - minutes * 60_000
    series = (PastSeries(vital=Vital.HEART_RATE, values=(value,) * minutes),)
    return PastVitals(bed=bed, patient=patient, start_ms=start_ms, step_s=60, origin="recording", series=series)


def advisories(ward: Bedside, condition: str) -> list[AlertTransition]:
    """The transitions of one advisory; each must name its model and never sound."""
    told = ward.of(condition)
    for t in told:
        assert t.category.value == "advisory"
        assert t.model is not None
        assert "@" in t.model
        assert t.probability is not None
        assert t.audio_until_ms is None
        assert t.escalation == 0
    return told


def source(offset: int) -> SourceOffset:
    """A place in the log."""
    return SourceOffset(topic="log", partition=0, offset=offset)
