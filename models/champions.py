"""Which versions of models are in force: the registry's champions, followed; one that is refused takes nobody's place.

Knows no broker and no event loop: one thread may use the models, another may bring the champions up to date meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Literal, NamedTuple

from contracts.errors import WardError
from contracts.records import ModelRef
from models.registry import Bundle, Registry

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
class Missing:
    """A version that could not be had, why, and when that was by the clock of whoever asked."""

    why: str
    at_s: float


class Champions:
    """Champions of ``registry`` among ``names``, each optional; ``load`` makes a model of its name and bundle.

    ``told`` hears of events, from whichever thread they happen in.
    """

    def __init__(
        self,
        registry: Registry,
        names: Iterable[str],
        load: Callable[[str, Bundle], Any],
        told: Callable[[Event], None] = lambda event: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = tuple(names)
        self._registry = registry
        self._told = told
        self._load = load
        self._clock = clock
        self._lock = Lock()
        self._had: dict[tuple[str, str], Any | Missing] = {}
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
        for name in self._names:
            try:
                wanted = self._candidates(name)
            except (WardError, OSError) as unreadable:
                refused[name] = ("?", str(unreadable))
                self.tell(Event("refused", name, "?", str(unreadable)))
                continue
            if wanted:
                self._follow(name, wanted, refused)
            elif name in self._serving:
                self._serving = {n: v for n, v in self._serving.items() if n != name}
        self.refused = refused

    def serving(self, name: str) -> Any | Missing:
        """The model of that name which is in force, or why there is none. No I/O while it is in memory."""
        version = self._serving.get(name)
        if version is not None:
            return self.have(name, version)
        why = self.refused.get(name)
        return Missing(f"{name} has no champion" if why is None else why[1], self._clock())

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
            model = self.have(name, version)
            if not isinstance(model, Missing):
                self._serving = {**self._serving, name: version}
                if version != serving:
                    self.tell(Event("loaded", name, version))
                break
            if version == champion:
                refused[name] = (champion, model.why)
                self.tell(Event("refused", name, champion, model.why))

    def have(self, name: str, version: str) -> Any | Missing:
        """The model, or why it is not to be had; what was not is tried again after a while."""
        place = (name, version)
        had = self._had.get(place)
        if had is not None and not (isinstance(had, Missing) and self._clock() - had.at_s >= AGAIN_S):
            return had
        got = self._got(name, version)  # outside the lock: whoever answers must not wait for a champion's files
        with self._lock:
            others = [p for p in self._had if p != place and p[0] == name and p[1] != self._serving.get(name)]
            kept = {p: model for p, model in self._had.items() if p not in others[:-KEPT]}
            self._had = {**kept, place: got}
        return got

    def _got(self, name: str, version: str) -> Any | Missing:
        if name not in self._names:
            return Missing(f"nothing here knows a model {name}", self._clock())
        try:
            return self._load(name, self._registry.load(name, version))
        except (WardError, OSError) as unfit:
            return Missing(str(unfit), self._clock())
        except Exception as fault:  # as above: what a damaged or foreign file makes a library raise is its own affair
            return Missing(f"it does not load: {type(fault).__name__}: {fault}", self._clock())

    def tell(self, event: Event) -> None:
        """Once a minute for the same thing of the same version; faults are told each time, to be counted."""
        place = event[:3]
        now = self._clock()
        if event.what == "loaded" or event.what == "fault" or now - self._said.get(place, -AGAIN_S) >= AGAIN_S:
            self._said[place] = now
            self._told(event)
