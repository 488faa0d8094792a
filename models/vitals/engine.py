"""The models of vitals at work: what those in force answer to a ward."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from contracts.errors import Poison
from models.champions import Champions, Event, Missing
from models.ports import ANOMALY, DETERIORATION, FORECAST, Answers, Ask, Memory
from models.registry import Bundle, Registry

LOADERS: Final[Mapping[str, str]] = {
    ANOMALY: "models.vitals.anomaly",
    FORECAST: "models.vitals.forecast",
    DETERIORATION: "models.vitals.deterioration",
}
"""The module of each model; its ``load(bundle)`` makes the model. Imported when first needed: some take a second."""


class VitalsModels(Champions):
    """Champions of the models that a ward's core asks, each optional. ``told`` hears of events, in whichever thread."""

    def __init__(
        self,
        registry: Registry,
        told: Callable[[Event], None] = lambda event: None,
        load: Callable[[str, Bundle], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(registry, LOADERS, load or _load, told, clock)

    def answer(self, ask: Ask) -> Answers:
        """What the models that the ask names make of it. Never raises for a model's fault: that model says nothing.

        Synchronous, a function of the ask alone. A version that serves no longer, or not yet, is loaded for it.
        """
        windows, memories = ask.windows, dict[str, Memory]()
        anomalies = forecasts = risks = None
        levels: tuple[float, ...] = ()
        if ANOMALY in ask.models:
            judged = self._asked(ask, ANOMALY, lambda model, memory: model.judge(windows, memory))
            if judged is not None:
                anomalies, memories[ANOMALY] = judged
        if FORECAST in ask.models:
            said = self._asked(ask, FORECAST, lambda model, memory: (*model.forecast(windows, memory), model.levels))
            if said is not None:
                forecasts, memories[FORECAST], levels = said
        if DETERIORATION in ask.models and ask.risks:
            assessed = self._asked(ask, DETERIORATION, lambda model, _: (model.assess(windows),))
            if assessed is not None:
                (risks,) = assessed
        return Answers(levels, anomalies, forecasts, risks, memories)

    def _asked(self, ask: Ask, name: str, question: Callable[[Any, Memory], tuple[Any, ...]]) -> Any | None:
        version = ask.models[name]
        model = self.have(name, version)
        if isinstance(model, Missing):
            self.tell(Event("absent", name, version, model.why))
            return None
        try:
            try:
                found = question(model, ask.memories[name])
            except Poison as foreign:  # another version's memory, or damage: whoever asks again must fare the same
                self.tell(Event("forgot", name, version, str(foreign)))
                found = question(model, Memory((b"",) * len(ask.patients)))
            if len(found[0]) != len(ask.patients) or (len(found) > 1 and len(found[1].beds) != len(ask.patients)):
                raise ValueError(f"{len(found[0])} answers for {len(ask.patients)} beds")
        except Exception as fault:  # the guard around models: one that fails costs its answer, never the ward
            self.tell(Event("fault", name, version, f"{type(fault).__name__}: {fault}"))
            return None
        return found


def _load(name: str, bundle: Bundle) -> Any:
    return importlib.import_module(LOADERS[name]).load(bundle)
