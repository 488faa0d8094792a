"""The models of the registry at work: which are in force, and what they answer to a ward.

Knows no broker and no event loop: one thread answers, another may bring the champions up to date meanwhile.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Literal, NamedTuple

from contracts.errors import Poison, WardError
from contracts.records import ModelRef
from models.ports import ANOMALY, DETERIORATION, FORECAST, Answers, Ask, Memory
from models.registry import Bundle, Registry

LOADERS: Final[Mapping[str, str]] = {
    ANOMALY: "models.vitals.anomaly",
    FORECAST: "models.vitals.forecast",
    DETERIORATION: "models.vitals.deterioration",
}
"""The module of each model; its ``load(bundle)`` makes the model. Imported when first needed: some take a second."""
KEPT: Final = 4
"""So many versions of a model are kept in memory: the log may name older ones while a worker catches up."""
AGAIN_S: Final = 60.0
"""A version that could not be had is tried again, and a fault is said again, after this time."""

What = Literal["loaded", "refused", "absent", "forgot", "fault"]


class Event(NamedTuple):
    """Something about a model that somebody should hear of.

    ``loaded``: in force from the next tick on. ``refused``: promoted, but not to be trusted or not to be had; the one
    before goes on. ``absent``: named in a ward's log and not to be had; it says nothing there. ``forgot``: it cannot
    read what was remembered by its name and begins afresh. ``fault``: it failed at an ask and said nothing to it.
    """

    what: What
    name: str
    version: str
    why: str = ""


@dataclass(frozen=True)
class _Missing:
    """A version that could not be had, and when that was."""

    why: str
    at_s: float


class VitalsModels:
    """Champions of ``registry``, each optional. ``told`` hears of events, from whichever thread they happen in."""

    def __init__(
        self,
        registry: Registry,
        told: Callable[[Event], None] = lambda event: None,
        load: Callable[[str, Bundle], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._told = told
        self._load = load or _load
        self._clock = clock
        self._lock = Lock()
        self._had: dict[tuple[str, str], Any | _Missing] = {}
        self._serving: dict[str, str] = {}
        self._said: dict[tuple[What, str, str], float] = {}
        self.refused: Mapping[str, tuple[str, str]] = {}
        """By name: the champion that is refused, and why."""

    def champions(self) -> tuple[ModelRef, ...]:
        """What is in force now: loaded, and every byte as it was made. No I/O."""
        return tuple(ModelRef(name=name, version=version) for name, version in sorted(self._serving.items()))

    def refresh(self) -> None:
        """Bring the champions up to date with the registry. Reads files and may take seconds: not for an event loop.

        One that cannot be loaded is refused and the version before goes on serving; at the start, when none serves yet,
        that is the latest former champion that can be had.
        """
        refused: dict[str, tuple[str, str]] = {}
        for name in LOADERS:
            try:
                wanted = self._candidates(name)
            except (WardError, OSError) as unreadable:
                refused[name] = ("?", str(unreadable))
                self._tell(Event("refused", name, "?", str(unreadable)))
                continue
            if wanted:
                self._follow(name, wanted, refused)
            elif name in self._serving:
                self._serving = {n: v for n, v in self._serving.items() if n != name}
        self.refused = refused

    def _candidates(self, name: str) -> list[str]:
        """The champion, then former ones, latest first."""
        aliases = self._registry.aliases(name)
        if aliases.champion is None:
            return []
        former = [change.from_ for change in reversed(aliases.changes) if change.alias == "champion" and change.from_]
        return list(dict.fromkeys([aliases.champion, *former]))

    def _follow(self, name: str, wanted: list[str], refused: dict[str, tuple[str, str]]) -> None:
        champion, serving = wanted[0], self._serving.get(name)
        if serving == champion:
            return
        for version in wanted if serving is None else wanted[:1]:
            model = self._have(name, version)
            if not isinstance(model, _Missing):
                self._serving = {**self._serving, name: version}
                if version != serving:
                    self._tell(Event("loaded", name, version))
                break
            if version == champion:
                refused[name] = (champion, model.why)
                self._tell(Event("refused", name, champion, model.why))

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
        model = self._have(name, version)
        if isinstance(model, _Missing):
            self._tell(Event("absent", name, version, model.why))
            return None
        try:
            try:
                found = question(model, ask.memories[name])
            except Poison as foreign:  # another version's memory, or damage: whoever asks again must fare the same
                self._tell(Event("forgot", name, version, str(foreign)))
                found = question(model, Memory((b"",) * len(ask.patients)))
            if len(found[0]) != len(ask.patients) or (len(found) > 1 and len(found[1].beds) != len(ask.patients)):
                raise ValueError(f"{len(found[0])} answers for {len(ask.patients)} beds")
        except Exception as fault:  # the guard around models: one that fails costs its answer, never the ward
            self._tell(Event("fault", name, version, f"{type(fault).__name__}: {fault}"))
            return None
        return found

    def _have(self, name: str, version: str) -> Any | _Missing:
        """The model, or why it is not to be had; what was not is tried again after a while."""
        place = (name, version)
        had = self._had.get(place)
        if had is not None and not (isinstance(had, _Missing) and self._clock() - had.at_s >= AGAIN_S):
            return had
        got = self._got(name, version)  # outside the lock: whoever answers must not wait for a champion's files
        with self._lock:
            others = [p for p in self._had if p != place and p[0] == name and p[1] != self._serving.get(name)]
            kept = {p: model for p, model in self._had.items() if p not in others[:-KEPT]}
            self._had = {**kept, place: got}
        return got

    def _got(self, name: str, version: str) -> Any | _Missing:
        if name not in LOADERS:
            return _Missing(f"nothing here knows a model {name}", self._clock())
        try:
            return self._load(name, self._registry.load(name, version))
        except (WardError, OSError) as unfit:
            return _Missing(str(unfit), self._clock())
        except Exception as fault:  # as above: what a damaged or foreign file makes a library raise is its own affair
            return _Missing(f"it does not load: {type(fault).__name__}: {fault}", self._clock())

    def _tell(self, event: Event) -> None:
        """Once a minute for the same thing of the same version; faults are told each time, to be counted."""
        place = event[:3]
        now = self._clock()
        if event.what == "loaded" or event.what == "fault" or now - self._said.get(place, -AGAIN_S) >= AGAIN_S:
            self._said[place] = now
            self._told(event)


def _load(name: str, bundle: Bundle) -> Any:
    return importlib.import_module(LOADERS[name]).load(bundle)
